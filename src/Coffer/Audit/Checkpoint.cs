using System.Buffers.Text;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Audit;

/// <summary>
/// A signed statement that a node's chain had come this far at this time, and that those of other nodes had come as
/// far as it names. Kept outside the database, it shows a cut tail, a log that is gone and an old database put back.
/// Signed with ECDSA P-256 over SHA-256, so that who has only the public key can check it.
/// </summary>
/// <param name="Format">
/// 3; or 2, which knows no public chain; or 1, which knows neither roll-backs nor heads.
/// </param>
/// <param name="At">How far the node's own chain had come.</param>
/// <param name="Heads">Other nodes, and how far their chains had come.</param>
/// <param name="Time">When, in whole seconds.</param>
/// <param name="Signature">r and s, 32 bytes each.</param>
internal sealed record Checkpoint(int Format, ChainPlace At, IReadOnlyList<ChainPlace> Heads, DateTimeOffset Time,
    byte[] Signature)
{
    /// <summary>The number of the key that has signed it.</summary>
    public uint Key { get; init; } = 1;

    /// <summary>The keys that another has signed, for someone who holds an earlier one.</summary>
    public IReadOnlyList<SignedKey> Keys { get; init; } = [];

    /// <summary>All that it says, of whichever node.</summary>
    public IEnumerable<ChainPlace> Places => [At, .. Heads];

    public static Checkpoint Sign(AuditKeys keys, ChainPlace at, IReadOnlyList<ChainPlace> heads, DateTimeOffset time)
    {
        var seconds = DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds());
        var signing = keys.Signing;
        var unsigned = new Checkpoint(3, at, heads, seconds, [])
        {
            Key = signing.Number,
            Keys = signing.Public.Later,
        };
        using var signed = unsigned.ToBeSigned(keys.Store);
        return unsigned with { Signature = signing.Sign(signed.Span) };
    }

    /// <summary>
    /// Whether a key has signed it that is believed, and still signed in the generations that it speaks of.
    /// </summary>
    public bool IsSignedBy(PublicKeys keys, byte[] store)
    {
        using var signed = ToBeSigned(store);
        return keys.Verify(Key, signed.Span, Signature)
            && Places.All(place => keys.Counts(Key, place.Position.Public?.Generation));
    }

    /// <summary>One line of JSON without its line feed.</summary>
    public string ToLine()
    {
        var json = new JsonObject
        {
            ["checkpoint"] = 3,
            ["node"] = At.Node,
            ["seq"] = At.Position.Sequence,
            ["mac"] = Convert.ToHexStringLower(At.Position.Mac),
            ["hash"] = HashOf(At),
            ["generation"] = GenerationOf(At),
            ["time"] = Time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
            ["rollback"] = At.Rollback,
            ["heads"] = new JsonArray([.. Heads.Select(head => new JsonArray(
                head.Node, head.Position.Sequence, Convert.ToHexStringLower(head.Position.Mac), head.Rollback,
                HashOf(head), GenerationOf(head)))]),
            ["key"] = Key,
        };
        if (Keys.Count > 0)
            json["keys"] = new JsonArray([.. Keys.Select(key => key.ToJson())]);
        json["signature"] = Base64Url.EncodeToString(Signature);
        return json.ToJsonString();
    }

    /// <returns>Null if the line is no checkpoint.</returns>
    public static Checkpoint? Parse(string line)
    {
        try
        {
            var json = JsonNode.Parse(line);
            var format = (int)json.Part("checkpoint");
            if (format is not (1 or 2 or 3))
                return null;
            var own = Place(json.Part("node"), json.Part("seq"), json.Part("mac"),
                format == 1 ? 0L : json.Part("rollback"));
            if (format == 3)
                own = With(own, json.Part("hash"), json.Part("generation"));
            ChainPlace[] heads = format == 1 ? [] :
                [.. json.Part("heads").AsArray().Select(head => Head(head, format))];
            var time = DateTimeOffset.Parse(json.Part("time").GetValue<string>(), CultureInfo.InvariantCulture);
            var signature = Base64Url.DecodeFromChars(json.Part("signature").GetValue<string>());
            return new Checkpoint(format, own, heads, time, signature)
            {
                Key = format == 3 ? (uint)json.Part("key") : 1,
                Keys = json!["keys"] is { } keys ? PublicKeys.Parse(keys) : [],
            };
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException or NullReferenceException)
        {
            return null; // of a line that was edited anything may be missing, twice there, or of another kind
        }
    }

    private static ChainPlace Place(JsonNode node, JsonNode sequence, JsonNode mac, JsonNode rollback) =>
        new(node.GetValue<string>(),
            new ChainPosition((long)sequence, Convert.FromHexString(mac.GetValue<string>())), (long)rollback);

    private static ChainPlace Head(JsonNode? head, int format)
    {
        if (head is not JsonArray parts)
            throw new FormatException("a head is no array");
        var place = Place(parts.Part(0), parts.Part(1), parts.Part(2), parts.Part(3));
        return format == 3 ? With(place, parts.Part(4), parts.Part(5)) : place;
    }

    private static ChainPlace With(ChainPlace place, JsonNode hash, JsonNode generation)
    {
        var (h, g) = (Convert.FromHexString(hash.GetValue<string>()),
            Convert.FromHexString(generation.GetValue<string>()));
        if (h.Length == 0 && g.Length == 0)
            return place;
        if (h.Length != PublicChain.HashSize || g.Length != StoreGeneration.Size)
            throw new FormatException("a hash or a generation has another length");
        return place with { Position = place.Position with { Public = new PublicPlace(h, StoreGeneration.Read(g)) } };
    }

    private static string HashOf(ChainPlace place) =>
        place.Position.Public is { } known ? Convert.ToHexStringLower(known.Hash) : "";

    private static string GenerationOf(ChainPlace place) => place.Position.Public?.Generation.ToString() ?? "";

    private static void AddPublic(ref AssociatedData signed, ChainPlace place)
    {
        signed.Add(place.Position.Public?.Hash ?? []);
        signed.Add(place.Position.Public?.Generation.ToBytes() ?? []);
    }

    private AssociatedData ToBeSigned(byte[] store)
    {
        var signed = new AssociatedData(Format switch
        {
            1 => "coffer v1 audit checkpoint"u8,
            2 => "coffer v2 audit checkpoint"u8,
            _ => "coffer v3 audit checkpoint"u8,
        });
        signed.Add(store);
        signed.Add(At.Node);
        signed.Add(At.Position.Sequence);
        signed.Add(At.Position.Mac);
        signed.Add(Time.ToUnixTimeSeconds());
        if (Format == 1)
            return signed;
        signed.Add(At.Rollback);
        if (Format == 3)
        {
            AddPublic(ref signed, At);
            signed.Add((long)Key);
        }

        foreach (var head in Heads)
        {
            signed.Add(head.Node);
            signed.Add(head.Position.Sequence);
            signed.Add(head.Position.Mac);
            signed.Add(head.Rollback);
            if (Format == 3)
                AddPublic(ref signed, head);
        }

        return signed;
    }
}
