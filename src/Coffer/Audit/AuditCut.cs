using System.Buffers.Binary;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Where a node's log begins after its oldest rows were removed: the last entry that was, and what to continue both
/// chains from. Only someone with the keys can say so: a cut that is made by hand does not verify. Stored in meta, and
/// signed for those without the audit key; one of before is not (docs/envelope.md, "Public chain").
/// </summary>
internal static class AuditCut
{
    public const string MetaPrefix = AuditRow.CutPrefix;

    // What it states: of an entry without a public chain, and of one with it.
    private const int PlainSize = sizeof(long) + MacKey.Size,
        WholeSize = PlainSize + PublicChain.HashSize + StoreGeneration.Size;

    // What follows that, and what did before.
    private const int Tail = SignedStatement.Proof, ShortTail = SignedStatement.ProofBefore;

    private static readonly SignedStatement Statement =
        new("coffer v2 audit cut"u8.ToArray(), "coffer v1 audit cut"u8.ToArray());

    public static RowWrite.PutMeta Write(AuditKeys keys, string node, ChainPosition at)
    {
        var size = at.Public is null ? PlainSize : WholeSize;
        var value = new byte[size + Tail];
        BinaryPrimitives.WriteInt64BigEndian(value, at.Sequence);
        at.Mac.CopyTo(value, sizeof(long));
        if (at.Public is { } known)
        {
            known.Hash.CopyTo(value, PlainSize);
            known.Generation.ToBytes().CopyTo(value, PlainSize + PublicChain.HashSize);
        }

        Statement.Prove(keys, node, value);
        return new RowWrite.PutMeta(MetaPrefix + node, value);
    }

    /// <returns>
    /// Null if it was not written for this node of this store, or cannot be proven without the key.
    /// </returns>
    public static ChainPosition? Read(LogProof proof, string node, byte[] value)
    {
        if (value.Length is not (PlainSize + ShortTail or PlainSize + Tail or WholeSize + Tail)
            || BinaryPrimitives.ReadInt64BigEndian(value) <= 0
            || !Statement.IsProven(proof, node, value, IsSigned(value)))
            return null;
        var at = new ChainPosition(BinaryPrimitives.ReadInt64BigEndian(value), value[sizeof(long)..PlainSize]);
        return value.Length != WholeSize + Tail ? at : at with
        {
            Public = new PublicPlace(value[PlainSize..(PlainSize + PublicChain.HashSize)],
                StoreGeneration.Read(value.AsSpan((PlainSize + PublicChain.HashSize)..WholeSize))),
        };
    }

    /// <summary>
    /// A cut that is believed, proven by the newest pepper; null if it is so already, or is not whole.
    /// </summary>
    public static RowWrite? ProveAnew(AuditKeys keys, string node, byte[] value) =>
        Read(keys.Proof, node, value) is not { } at || Statement.IsProvenAnew(keys.Proof, node, value)
            ? null
            : Write(keys, node, at).InPlaceOf(value);

    /// <summary>Whether a stored cut is signed too, so that it can be proven without the key.</summary>
    public static bool IsSigned(byte[] value) => value.Length != PlainSize + ShortTail;
}
