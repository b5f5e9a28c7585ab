using System.Buffers.Binary;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>That a node's log went back, and an operator accepted it.</summary>
/// <param name="Number">From 1; checkpoints of the node carry the newest number from then on.</param>
/// <param name="Shared">Up to which entry the log that was lost and the one that is left are known to be the
/// same.</param>
/// <param name="To">Where the log that is left had come when it was accepted.</param>
/// <param name="Lost">The last entry that a checkpoint says the lost log had.</param>
/// <param name="Time">When it was accepted, in whole seconds.</param>
internal sealed record Rollback(long Number, long Shared, ChainPosition To, long Lost, DateTimeOffset Time);

/// <summary>
/// The accepted roll-backs of a node, oldest first. Only who has the audit key can make the list, so who writes the
/// database cannot accept anything. Stored in meta, 72 bytes each, a signature for those without the key, and a
/// MAC; one of before is not signed.
/// </summary>
internal static class Rollbacks
{
    public const string MetaPrefix = "audit rollbacks ";

    /// <summary>The verb of the entry that each of them has in the log.</summary>
    public const string Verb = "accept_rollback";

    private const int Size = 5 * sizeof(long) + MacKey.Size;

    // What follows the records, of one that is signed and of one that is not: no multiple of a record apart.
    private const int Tail = SignedStatement.Proof, ShortTail = SignedStatement.ProofBefore;

    private static readonly SignedStatement Statement =
        new("coffer v2 audit rollbacks"u8.ToArray(), "coffer v1 audit rollbacks"u8.ToArray());

    public static RowWrite.PutMeta Write(AuditKeys keys, string node, IReadOnlyList<Rollback> rollbacks)
    {
        var value = new byte[rollbacks.Count * Size + Tail];
        for (var i = 0; i < rollbacks.Count; i++)
        {
            var record = value.AsSpan(i * Size, Size);
            var rollback = rollbacks[i];
            BinaryPrimitives.WriteInt64BigEndian(record, rollback.Number);
            BinaryPrimitives.WriteInt64BigEndian(record[8..], rollback.Shared);
            BinaryPrimitives.WriteInt64BigEndian(record[16..], rollback.To.Sequence);
            rollback.To.Mac.CopyTo(record[24..]);
            BinaryPrimitives.WriteInt64BigEndian(record[56..], rollback.Lost);
            BinaryPrimitives.WriteInt64BigEndian(record[64..], rollback.Time.ToUnixTimeSeconds());
        }

        Statement.Prove(keys, node, value);
        return new RowWrite.PutMeta(MetaPrefix + node, value);
    }

    /// <returns>Empty for a value that is not there; null if it was not written by this store for this node, or cannot
    /// be proven without the key.</returns>
    public static IReadOnlyList<Rollback>? Read(LogProof proof, string node, byte[]? value)
    {
        if (value is null)
            return [];
        if (value.Length < ShortTail || !(IsSigned(value) || value.Length % Size == ShortTail)
            || !Statement.IsProven(proof, node, value, IsSigned(value)))
            return null;
        var rollbacks = new Rollback[(value.Length - (IsSigned(value) ? Tail : ShortTail)) / Size];
        for (var i = 0; i < rollbacks.Length; i++)
        {
            var record = value.AsSpan(i * Size, Size);
            rollbacks[i] = new Rollback(
                BinaryPrimitives.ReadInt64BigEndian(record), BinaryPrimitives.ReadInt64BigEndian(record[8..]),
                new ChainPosition(BinaryPrimitives.ReadInt64BigEndian(record[16..]), record[24..56].ToArray()),
                BinaryPrimitives.ReadInt64BigEndian(record[56..]),
                DateTimeOffset.FromUnixTimeSeconds(BinaryPrimitives.ReadInt64BigEndian(record[64..])));
        }

        return rollbacks;
    }

    /// <summary>A list that is believed, proven by the newest pepper; null if it is so already, or not whole.</summary>
    public static RowWrite? ProveAnew(AuditKeys keys, string node, byte[] value) =>
        Read(keys.Proof, node, value) is not { } accepted || Statement.IsProvenAnew(keys.Proof, node, value)
            ? null
            : Write(keys, node, accepted).InPlaceOf(value);

    /// <summary>The number of the last one; 0 if there is none.</summary>
    public static long Newest(this IReadOnlyList<Rollback> rollbacks) => rollbacks.Count == 0 ? 0
        : rollbacks[^1].Number;

    /// <summary>Whether a place is of a log that was lost, and whose loss was accepted.</summary>
    public static bool Excuse(this IReadOnlyList<Rollback> rollbacks, ChainPlace place)
    {
        foreach (var rollback in rollbacks)
        {
            if (rollback.Number > place.Rollback && place.Position.Sequence > rollback.Shared)
                return true;
        }

        return false;
    }

    /// <summary>Whether a stored list is signed too, so that it can be proven without the key.</summary>
    public static bool IsSigned(byte[] value) => value.Length >= Tail && value.Length % Size == Tail % Size;
}
