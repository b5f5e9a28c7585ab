using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Where a node's log begins after its oldest rows were removed: the last entry that was, and what to continue both
/// chains from. Only who has the keys can say so: a cut that is made by hand does not verify. Stored in meta; of an
/// entry without a public chain in a form that is not signed (docs/envelope.md, "Public chain").
/// </summary>
internal static class AuditCut
{
    public const string MetaPrefix = "audit cut ";

    private const int PlainSize = sizeof(long) + MacKey.Size, Size = PlainSize + MacKey.Size;

    private const int WholeSize = PlainSize + PublicChain.HashSize + StoreGeneration.Size,
        SignedSize = WholeSize + Signature.Size + MacKey.Size;

    public static RowWrite.PutMeta Write(AuditKeys keys, string node, ChainPosition at)
    {
        var isWhole = at.Public is not null;
        var value = new byte[isWhole ? SignedSize : Size];
        BinaryPrimitives.WriteInt64BigEndian(value, at.Sequence);
        at.Mac.CopyTo(value, sizeof(long));
        if (isWhole)
        {
            at.Public!.Hash.CopyTo(value, PlainSize);
            at.Public.Generation.ToBytes().CopyTo(value, PlainSize + PublicChain.HashSize);
            using var signed = Bound(keys.Store, node, value.AsSpan(..WholeSize), isWhole: true);
            Signature.Write(keys.Signing, signed.Span, value.AsSpan(WholeSize, Signature.Size));
        }

        Tag(keys.Proof, node, value).CopyTo(value, value.Length - MacKey.Size);
        return new RowWrite.PutMeta(MetaPrefix + node, value);
    }

    /// <returns>
    /// Null if it was not written for this node of this store. Without the key, one that is not signed is believed:
    /// what follows proves it, or is not proven.
    /// </returns>
    public static ChainPosition? Read(LogProof proof, string node, byte[] value)
    {
        if (value.Length is not (Size or SignedSize) || BinaryPrimitives.ReadInt64BigEndian(value) <= 0
            || !IsProven(proof, node, value))
            return null;
        var at = new ChainPosition(BinaryPrimitives.ReadInt64BigEndian(value), value[sizeof(long)..PlainSize]);
        return value.Length == Size ? at : at with
        {
            Public = new PublicPlace(value[PlainSize..(PlainSize + PublicChain.HashSize)],
                StoreGeneration.Read(value.AsSpan((PlainSize + PublicChain.HashSize)..WholeSize))),
        };
    }

    private static bool IsProven(LogProof proof, string node, byte[] value)
    {
        if (proof.Key is not null)
            return CryptographicOperations.FixedTimeEquals(value.AsSpan(^MacKey.Size..), Tag(proof, node, value));
        if (value.Length == Size)
            return true;
        using var signed = Bound(proof.Store, node, value.AsSpan(..WholeSize), isWhole: true);
        return Signature.Verify(proof.Signers, signed.Span, value.AsSpan(WholeSize, Signature.Size));
    }

    private static byte[] Tag(LogProof proof, string node, byte[] value)
    {
        using var bound = Bound(proof.Store, node, value.AsSpan(..^MacKey.Size), isWhole: value.Length == SignedSize);
        return proof.Key!.Compute(bound.Span);
    }

    private static AssociatedData Bound(byte[] store, string node, ReadOnlySpan<byte> value, bool isWhole)
    {
        var bound = new AssociatedData(isWhole ? "coffer v2 audit cut"u8 : "coffer v1 audit cut"u8);
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
