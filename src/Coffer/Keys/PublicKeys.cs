using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>A public key that a store signs with, and the word of the key before it that it does.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Key">SubjectPublicKeyInfo (RFC 5280), DER, curve P-256.</param>
/// <param name="Signature">r and s, 32 bytes each; none of the first key.</param>
internal sealed record SignedKey(uint Number, byte[] Key, byte[] Signature)
{
    /// <summary>
    /// The generation of the store that began with it, because the one before may have been stolen; or null.
    /// </summary>
    public StoreGeneration? Since { get; init; }

    public JsonArray ToJson()
    {
        var json = new JsonArray(Number, Base64Url.EncodeToString(Key), Base64Url.EncodeToString(Signature));
        if (Since is not null)
            json.Add((JsonNode)Since.ToString()); // of a string it would be by reflection
        return json;
    }

    /// <exception cref="FormatException">It is none.</exception>
    /// <exception cref="InvalidOperationException">It is none.</exception>
    public static SignedKey Parse(JsonNode? json)
    {
        if (json is not JsonArray { Count: 3 or 4 } parts)
            throw new FormatException("a key that signs is no list of three or four");
        var key = new SignedKey((uint)parts[0]!, Bytes(parts[1]), Bytes(parts[2]));
        return parts.Count == 3 ? key : key with
        {
            Since = Convert.FromHexString(parts[3]!.GetValue<string>()) is { Length: StoreGeneration.Size } since
                ? StoreGeneration.Read(since)
                : throw new FormatException("a generation has another length"),
        };
    }

    /// <summary>What the key before it signs.</summary>
    public static AssociatedData ToBeSigned(
        byte[] store, uint number, ReadOnlySpan<byte> key, StoreGeneration? since = null)
    {
        var bound = new AssociatedData(since is null ? "coffer v1 signing key"u8 : "coffer v2 signing key"u8);
        bound.Add(store);
        bound.Add((long)number);
        bound.Add(key);
        if (since is not null)
            bound.Add(since.ToBytes());
        return bound;
    }

    private static byte[] Bytes(JsonNode? text) => Base64Url.DecodeFromChars(text!.GetValue<string>());
}

/// <summary>
/// The public keys of a store that are believed: those that somebody holds, and each that the one before it has signed.
/// </summary>
internal sealed class PublicKeys
{
    /// <summary>Where <c>meta</c> has the keys in clear, for exports. Nobody believes them for that.</summary>
    public const string MetaKey = "signing keys";

    private const string Label = "PUBLIC KEY", Words = "signing key ";

    private readonly SortedDictionary<uint, (ECDsa Key, SignedKey Word)> believed = [];

    /// <param name="keys">Which are believed because of where they come from.</param>
    public PublicKeys(IEnumerable<SignedKey> keys)
    {
        foreach (var key in keys)
            Believe(key);
    }

    /// <summary>All of them, oldest first.</summary>
    public IReadOnlyList<SignedKey> All => [.. believed.Values.Select(each => each.Word)];

    /// <summary>Those that another has signed: what is given out with what a later key has signed.</summary>
    public IReadOnlyList<SignedKey> Later => [.. All.Where(key => key.Signature.Length > 0)];

    /// <summary>Whether a key that is believed has signed.</summary>
    public bool Verify(uint number, ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature) =>
        believed.TryGetValue(number, out var key) && key.Key.VerifyData(signed, signature, HashAlgorithmName.SHA256);

    /// <summary>
    /// Whether what a key has signed of a generation of the store counts: not of one that began with a later key.
    /// </summary>
    public bool Counts(uint number, StoreGeneration? generation) => generation is null || !believed.Values.Any(later =>
        later.Word.Number > number && later.Word.Since?.Number <= generation.Number);

    /// <summary>Believes those of a store that a key which is believed has signed, one after the other.</summary>
    public void Learn(byte[] store, IEnumerable<SignedKey> keys)
    {
        foreach (var key in keys.OrderBy(key => key.Number))
        {
            // Of one that is believed already, as who was given it by hand does, it may say since when it signs.
            if (key.Number < 2 || (believed.TryGetValue(key.Number, out var known)
                && (known.Word.Since is not null || key.Since is null || !known.Word.Key.SequenceEqual(key.Key))))
                continue;
            using var signed = SignedKey.ToBeSigned(store, key.Number, key.Key, key.Since);
            if (Verify(key.Number - 1, signed.Span, key.Signature))
                Believe(key);
        }
    }

    /// <summary>As PEM (RFC 7468), each under a line that says which it is.</summary>
    public string ToPem(byte[] store)
    {
        var text = new StringBuilder();
        foreach (var key in All)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"Coffer store {Convert.ToHexStringLower(store)}, {Words}{key.Number}\n");
            text.Append(PemEncoding.Write(Label, key.Key)).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>
    /// Reads <see cref="ToPem"/>. Keys under no such line are numbered from 1, in their order.
    /// </summary>
    /// <returns>Null if there is none, or one is of another kind.</returns>
    public static PublicKeys? FromPem(string text)
    {
        var rest = text.AsSpan();
        var (last, keys) = (0u, new List<SignedKey>());
        try
        {
            while (PemEncoding.TryFind(rest, out var found))
            {
                var (start, length) = found.Location.GetOffsetAndLength(rest.Length);
                if (rest[found.Label] is not Label)
                    return null;
                last = NumberIn(rest[..start]) ?? last + 1;
                keys.Add(new SignedKey(last, Convert.FromBase64String(rest[found.Base64Data].ToString()), []));
                rest = rest[(start + length)..];
            }

            return keys.Count == 0 ? null : new PublicKeys(keys);
        }
        catch (Exception e) when (e is FormatException or CryptographicException)
        {
            return null;
        }
    }

    /// <summary>The keys as <see cref="MetaKey"/> has them.</summary>
    public byte[] ToMeta() =>
        Encoding.UTF8.GetBytes(new JsonArray([.. All.Select(key => key.ToJson())]).ToJsonString());

    /// <summary>Reads <see cref="ToMeta"/>; nothing from what is not so.</summary>
    public static IReadOnlyList<SignedKey> FromMeta(byte[]? value)
    {
        try
        {
            return value is null ? [] : Parse(JsonNode.Parse(value));
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or OverflowException or NullReferenceException)
        {
            return [];
        }
    }

    /// <exception cref="FormatException">It is no list of keys.</exception>
    /// <exception cref="InvalidOperationException">It is no list of keys.</exception>
    public static IReadOnlyList<SignedKey> Parse(JsonNode? json) => json is JsonArray list
        ? [.. list.Select(SignedKey.Parse)]
        : throw new FormatException("the keys that sign are no list");

    private static uint? NumberIn(ReadOnlySpan<char> before)
    {
        var line = before.TrimEnd();
        line = line[(line.LastIndexOf('\n') + 1)..];
        var at = line.LastIndexOf(Words, StringComparison.Ordinal);
        return at >= 0 && uint.TryParse(
            line[(at + Words.Length)..], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : null;
    }

    private void Believe(SignedKey key)
    {
        var opened = ECDsa.Create();
        opened.ImportSubjectPublicKeyInfo(key.Key, out var read);
        if (read != key.Key.Length || opened.KeySize != 256)
            throw new CryptographicException("the key is not of the curve P-256");
        believed[key.Number] = (opened, key);
    }
}
