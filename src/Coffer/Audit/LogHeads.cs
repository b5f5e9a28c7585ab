using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// How far each node's log had come under the peppers of before: who has one of those can write entries that follow
/// these, or begin a log of a node that never was, and nobody believes them. Stored in meta; the control row has its
/// SHA-256, so that it is neither made up, nor put back, nor taken away.
/// </summary>
internal static class LogHeads
{
    public const string MetaKey = "audit heads";

    private const byte HeadTag = 1;

    private const int MacAt = sizeof(long), NodeAt = MacAt + MacKey.Size;

    /// <summary>
    /// Finds them in the log, which is read once from its beginning, while the pepper before the newest is believed for
    /// the last time. Of those before that one the store has said already how far each log had come: nobody's moves.
    /// </summary>
    public static async Task<RowWrite.PutMeta> FindAsync(Engine engine, LogProof proof, CancellationToken ct)
    {
        var (keys, heads) = (proof.Keys!, new SortedDictionary<string, ChainPosition>(StringComparer.Ordinal));
        if (keys.Heads is { } hash && Read(await engine.FindMetaAsync(MetaKey, ct), hash) is { } known)
        {
            foreach (var (node, head) in known)
                heads[node] = head;
        }

        foreach (var (name, value) in await engine.ListMetaAsync(AuditCut.MetaPrefix, ct))
        {
            var node = name[AuditCut.MetaPrefix.Length..];
            if (AuditCut.Read(proof, node, value) is { } cut && IsOfLast(cut))
                heads[node] = cut;
        }

        await foreach (var row in LogRows.ReadAsync(engine, ct))
        {
            var at = ChainPosition.Of(row);
            if (IsOfLast(at))
                heads[row.Node] = at;
        }

        return new RowWrite.PutMeta(MetaKey, Write(heads));

        bool IsOfLast(ChainPosition at) => keys.IndexOf(at.Public?.Generation) == keys.Newest - 1;
    }

    /// <returns>Null if it is not what the control row names.</returns>
    public static IReadOnlyDictionary<string, ChainPosition>? Read(byte[]? value, byte[] hash)
    {
        if (value is null || !CryptographicOperations.FixedTimeEquals(SHA256.HashData(value), hash))
            return null;
        var heads = new Dictionary<string, ChainPosition>(StringComparer.Ordinal);
        foreach (var at in Tlv.All(value, HeadTag))
        {
            var head = value.AsSpan(at);
            heads.Add(Encoding.UTF8.GetString(head[NodeAt..]), new ChainPosition(
                BinaryPrimitives.ReadInt64BigEndian(head), head[MacAt..NodeAt].ToArray()));
        }

        return heads;
    }

    private static byte[] Write(SortedDictionary<string, ChainPosition> heads) => Tlv.Of([.. heads.Select(
        head => (HeadTag, (byte[])
            [.. Tlv.Bytes(head.Value.Sequence), .. head.Value.Mac, .. Encoding.UTF8.GetBytes(head.Key)]))]);
}
