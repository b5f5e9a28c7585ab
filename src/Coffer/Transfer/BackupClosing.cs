using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Transfer;

/// <summary>
/// The end of a part of a back-up: how many rows of each table there are, and how far the log of each node had come.
/// The store's pepper proves it, and the store's signing key signs it: who has made a root key of his own has neither.
/// </summary>
/// <param name="Rows">How many rows each table has.</param>
/// <param name="Heads">The last entry of each node, and its MAC.</param>
internal sealed record BackupClosing(
    IReadOnlyDictionary<string, long> Rows, IReadOnlyDictionary<string, (long Last, byte[] Mac)> Heads)
{
    /// <param name="instance">Whose store it is.</param>
    /// <param name="header">SHA-256 of the header's line.</param>
    public string ToText(Instance instance, byte[] header)
    {
        using var bound = Bound(header);
        var json = new JsonObject
        {
            ["rows"] = new JsonObject(Rows.Select(table => KeyValuePair.Create(table.Key, (JsonNode?)table.Value))),
            ["heads"] = new JsonArray([.. Heads.Select(head => new JsonObject
            {
                ["node"] = head.Key,
                ["last"] = head.Value.Last,
                ["mac"] = Convert.ToHexStringLower(head.Value.Mac),
            })]),
            ["mac"] = Convert.ToHexStringLower(instance.BackupKey.Compute(bound.Span)),
            ["signature"] = Convert.ToBase64String(
                instance.AuditSigningKey.SignData(bound.Span, HashAlgorithmName.SHA256)),
        };
        return json.ToJsonString();
    }

    /// <returns>Null if it is no closing text, or not one of this store for this header.</returns>
    public static BackupClosing? Read(string text, Instance instance, byte[] header)
    {
        try
        {
            var json = JsonNode.Parse(text);
            var closing = new BackupClosing(
                json.Part("rows").AsObject().ToDictionary(table => table.Key, table => (long)table.Value!),
                json.Part("heads").AsArray().ToDictionary(head => (string)head.Part("node")!, head => (
                    (long)head.Part("last"), Convert.FromHexString((string)head.Part("mac")!))));
            using var bound = closing.Bound(header);
            var isProven = CryptographicOperations.FixedTimeEquals(
                    Convert.FromHexString((string)json.Part("mac")!), instance.BackupKey.Compute(bound.Span))
                && instance.AuditSigningKey.VerifyData(
                    bound.Span, Convert.FromBase64String((string)json.Part("signature")!), HashAlgorithmName.SHA256);
            return isProven ? closing : null;
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException
            or ArgumentException or OverflowException)
        {
            return null;
        }
    }

    private AssociatedData Bound(byte[] header)
    {
        var bound = new AssociatedData("coffer v1 backup"u8);
        bound.Add(header);
        bound.Add(Rows.Count);
        foreach (var (table, rows) in Rows.OrderBy(each => each.Key, StringComparer.Ordinal))
        {
            bound.Add(table);
            bound.Add(rows);
        }

        bound.Add(Heads.Count);
        foreach (var (node, head) in Heads.OrderBy(each => each.Key, StringComparer.Ordinal))
        {
            bound.Add(node);
            bound.Add(head.Last);
            bound.Add(head.Mac);
        }

        return bound;
    }
}
