using System.Buffers.Binary;
using System.Security.Cryptography;
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
    public const string MetaPrefix = "audit cut ";

    // What it states: of an entry without a public chain, and of one with it.
    private const int PlainSize = sizeof(long) + MacKey.Size,
        WholeSize = PlainSize + PublicChain.HashSize + StoreGeneration.Size;

    // What follows that, and what did before.
    private const int Tail = Signature.Size + MacKey.Size, ShortTail = MacKey.Size;

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

        using (var signed = Bound(keys.Store, node, value.AsSpan(..size), isSigned: true))
            Signature.Write(keys.Signing, signed.Span, value.AsSpan(size, Signature.Size));
        Tag(keys.Proof, node, value).CopyTo(value, value.Length - MacKey.Size);
        return new RowWrite.PutMeta(MetaPrefix + node, value);
    }

    /// <returns>
    /// Null if it was not written for this node of this store, or cannot be proven without the key.
    /// </returns>
    public static ChainPosition? Read(LogProof proof, string node, byte[] value)
    {
        if (value.Length is not (PlainSize + ShortTail or PlainSize + Tail or WholeSize + Tail)
            || BinaryPrimitives.ReadInt64BigEndian(value) <= 0 || !IsProven(proof, node, value))
            return null;
        var at = new ChainPosition(BinaryPrimitives.ReadInt64BigEndian(value), value[sizeof(long)..PlainSize]);
        return value.Length != WholeSize + Tail ? at : at with
        {
            Public = new PublicPlace(value[PlainSize..(PlainSize + PublicChain.HashSize)],
                StoreGeneration.Read(value.AsSpan((PlainSize + PublicChain.HashSize)..WholeSize))),
        };
    }

    /// <summary>Whether a stored cut is signed too, so that it can be proven without the key.</summary>
    public static bool IsSigned(byte[] value) => value.Length != PlainSize + ShortTail;

    private static bool IsProven(LogProof proof, string node, byte[] value)
    {
        if (proof.Key is not null)
            return CryptographicOperations.FixedTimeEquals(value.AsSpan(^MacKey.Size..), Tag(proof, node, value));
        if (!IsSigned(value))
            return false;
        using var signed = Bound(proof.Store, node, value.AsSpan(..^Tail), isSigned: true);
        return Signature.Verify(proof.Signers, signed.Span, value.AsSpan(value.Length - Tail, Signature.Size));
    }

    private static byte[] Tag(LogProof proof, string node, byte[] value)
    {
        using var bound = Bound(proof.Store, node, value.AsSpan(..^MacKey.Size), IsSigned(value));
        return proof.Key!.Compute(bound.Span);
    }

    private static AssociatedData Bound(byte[] store, string node, ReadOnlySpan<byte> value, bool isSigned)
    {
        var bound = new AssociatedData(isSigned ? "coffer v2 audit cut"u8 : "coffer v1 audit cut"u8);
        bound.Add(store);
        bound.Add(node);
        bound.Add(value);
        return bound;
    }
}

/// <summary>A signature in a stored form: the number of the key, then r and s.</summary>
internal static class Signature
{
    public const int Size = sizeof(uint) + 64;

    public static void Write(SigningKeys keys, ReadOnlySpan<byte> signed, Span<byte> to)
    {
        BinaryPrimitives.WriteUInt32BigEndian(to, keys.Number);
        keys.Sign(signed).CopyTo(to[sizeof(uint)..]);
    }

    public static bool Verify(PublicKeys keys, ReadOnlySpan<byte> signed, ReadOnlySpan<byte> stored) =>
        keys.Verify(BinaryPrimitives.ReadUInt32BigEndian(stored), signed, stored[sizeof(uint)..]);
}
