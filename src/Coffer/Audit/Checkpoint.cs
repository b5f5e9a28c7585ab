using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Crypto;
using Coffer.Transfer;

namespace Coffer.Audit;

/// <summary>
/// A signed statement that a node's chain had come this far at this time, and that those of other nodes had come as
/// far as it names. Kept outside the database, it shows a cut tail, a log that is gone and an old database put back.
/// Signed with ECDSA P-256 over SHA-256, so that who has only the public key can check it.
/// </summary>
/// <param name="Format">2; or 1, which knows neither roll-backs nor heads.</param>
/// <param name="At">How far the node's own chain had come.</param>
/// <param name="Heads">Other nodes, and how far their chains had come.</param>
/// <param name="Time">When, in whole seconds.</param>
/// <param name="Signature">r and s, 32 bytes each.</param>
internal sealed record Checkpoint(int Format, ChainPlace At, IReadOnlyList<ChainPlace> Heads, DateTimeOffset Time,
    byte[] Signature)
{
    /// <summary>All that it says, of whichever node.</summary>
    public IEnumerable<ChainPlace> Places => [At, .. Heads];

    public static Checkpoint Sign(AuditKeys keys, ChainPlace at, IReadOnlyList<ChainPlace> heads, DateTimeOffset time)
    {
        var unsigned = new Checkpoint(2, at, heads, DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds()), []);
        using var signed = unsigned.ToBeSigned(keys.Instance);
        return unsigned with { Signature = keys.SigningKey.SignData(signed.Span, HashAlgorithmName.SHA256) };
    }

    public bool IsSignedBy(ECDsa key, byte[] instance)
    {
        using var signed = ToBeSigned(instance);
        return key.VerifyData(signed.Span, Signature, HashAlgorithmName.SHA256);
    }

    /// <summary>One line of JSON without its line feed.</summary>
    public string ToLine() => new JsonObject
    {
        ["checkpoint"] = 2,
        ["node"] = At.Node,
        ["seq"] = At.Position.Sequence,
        ["mac"] = Convert.ToHexStringLower(At.Position.Mac),
        ["time"] = Time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
        ["rollback"] = At.Rollback,
        ["heads"] = new JsonArray([.. Heads.Select(head => new JsonArray(
            head.Node, head.Position.Sequence, Convert.ToHexStringLower(head.Position.Mac), head.Rollback))]),
        ["signature"] = Base64Url.EncodeToString(Signature),
    }.ToJsonString();

    /// <returns>Null if the line is no checkpoint.</returns>
    public static Checkpoint? Parse(string line)
    {
        try
        {
            var json = JsonNode.Parse(line);
            var format = (int)json.Part("checkpoint");
            if (format is not (1 or 2))
                return null;
            var own = Place(json.Part("node"), json.Part("seq"), json.Part("mac"),
                format == 1 ? 0L : json.Part("rollback"));
            ChainPlace[] heads = format == 1 ? [] :
                [.. json.Part("heads").AsArray().Select(head => head is JsonArray place
                    ? Place(place.Part(0), place.Part(1), place.Part(2), place.Part(3))
                    : throw new FormatException("a head is no array"))];
            var time = DateTimeOffset.Parse(json.Part("time").GetValue<string>(), CultureInfo.InvariantCulture);
            var signature = Base64Url.DecodeFromChars(json.Part("signature").GetValue<string>());
            return new Checkpoint(format, own, heads, time, signature);
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException)
        {
            return null; // of a line that was edited anything may be missing, twice there, or of another kind
        }
    }

    private static ChainPlace Place(JsonNode node, JsonNode sequence, JsonNode mac, JsonNode rollback) =>
        new(node.GetValue<string>(),
            new ChainPosition((long)sequence, Convert.FromHexString(mac.GetValue<string>())), (long)rollback);

    private AssociatedData ToBeSigned(byte[] instance)
    {
        var signed = new AssociatedData(Format == 1 ? "coffer v1 audit checkpoint"u8 : "coffer v2 audit checkpoint"u8);
        signed.Add(instance);
        signed.Add(At.Node);
        signed.Add(At.Position.Sequence);
        signed.Add(At.Position.Mac);
        signed.Add(Time.ToUnixTimeSeconds());
        if (Format == 1)
            return signed;
        signed.Add(At.Rollback);
        foreach (var head in Heads)
        {
            signed.Add(head.Node);
            signed.Add(head.Position.Sequence);
            signed.Add(head.Position.Mac);
            signed.Add(head.Rollback);
        }

        return signed;
    }
}
