using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Crypto;

namespace Coffer.Audit;

/// <summary>
/// A signed statement that a node's chain had come this far at this time. Kept outside the database, it shows a cut tail
/// and an old database put back. Signed with ECDSA P-256 over SHA-256, so that who has only the public key can check it.
/// </summary>
internal sealed record Checkpoint(string Node, long Sequence, byte[] Mac, DateTimeOffset Time, byte[] Signature)
{
    public static Checkpoint Sign(ECDsa key, byte[] instance, string node, ChainPosition at, DateTimeOffset time)
    {
        var unsigned = new Checkpoint(node, at.Sequence, at.Mac, DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds()), []);
        using var said = unsigned.Said(instance);
        return unsigned with { Signature = key.SignData(said.Span, HashAlgorithmName.SHA256) };
    }

    public bool IsSignedBy(ECDsa key, byte[] instance)
    {
        using var said = Said(instance);
        return key.VerifyData(said.Span, Signature, HashAlgorithmName.SHA256);
    }

    /// <summary>One line of JSON without its line feed.</summary>
    public string ToLine() => new JsonObject
    {
        ["checkpoint"] = 1,
        ["node"] = Node,
        ["seq"] = Sequence,
        ["mac"] = Convert.ToHexStringLower(Mac),
        ["time"] = Time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
        ["signature"] = Base64Url.EncodeToString(Signature),
    }.ToJsonString();

    /// <returns>Null if the line is no checkpoint.</returns>
    public static Checkpoint? Parse(string line)
    {
        try
        {
            if (JsonNode.Parse(line) is not JsonObject json || (int?)json["checkpoint"] != 1)
                return null;
            var (node, sequence) = ((string)json["node"]!, (long)json["seq"]!);
            var mac = Convert.FromHexString((string)json["mac"]!);
            var time = DateTimeOffset.Parse((string)json["time"]!, CultureInfo.InvariantCulture);
            return new Checkpoint(node, sequence, mac, time, Base64Url.DecodeFromChars((string)json["signature"]!));
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException)
        {
            return null;
        }
    }

    private AssociatedData Said(byte[] instance)
    {
        var said = new AssociatedData("coffer v1 audit checkpoint"u8);
        said.Add(instance);
        said.Add(Node);
        said.Add(Sequence);
        said.Add(Mac);
        said.Add(Time.ToUnixTimeSeconds());
        return said;
    }
}
