using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Where a node's log begins after its oldest rows were removed: the last entry that was, and the MAC to continue from.
/// Only who has the audit key can say so: a cut that is made by hand does not verify. Stored in meta as sequence (8
/// bytes, big-endian), chain MAC (32), and a MAC over both, the store and the node (32).
/// </summary>
internal static class AuditCut
{
    public const string MetaPrefix = "audit cut ";

    private const int Size = sizeof(long) + 2 * MacKey.Size;

    public static RowWrite.PutMeta Write(MacKey key, byte[] instance, string node, ChainPosition at)
    {
        var value = new byte[Size];
        BinaryPrimitives.WriteInt64BigEndian(value, at.Sequence);
        at.Mac.CopyTo(value, sizeof(long));
        Tag(key, instance, node, value).CopyTo(value, sizeof(long) + MacKey.Size);
        return new RowWrite.PutMeta(MetaPrefix + node, value);
    }

    /// <returns>Null if it was not written with this key, for this node of this store.</returns>
    public static ChainPosition? Read(MacKey key, byte[] instance, string node, byte[] value) =>
        value.Length == Size && BinaryPrimitives.ReadInt64BigEndian(value) > 0
        && CryptographicOperations.FixedTimeEquals(
            value.AsSpan(sizeof(long) + MacKey.Size), Tag(key, instance, node, value))
            ? new ChainPosition(BinaryPrimitives.ReadInt64BigEndian(value),
                value[sizeof(long)..(sizeof(long) + MacKey.Size)])
            : null;

    private static byte[] Tag(MacKey key, byte[] instance, string node, byte[] value)
    {
        using var bound = new AssociatedData("coffer v1 audit cut"u8);
        bound.Add(instance);
        bound.Add(node);
        bound.Add(value.AsSpan(0, sizeof(long) + MacKey.Size));
        return key.Compute(bound.Span);
    }
}
