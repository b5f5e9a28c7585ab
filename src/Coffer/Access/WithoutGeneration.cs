using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// Until when ephemeral keys that name no generation of the store are accepted: those of a release before, until the
/// last of them expires after the upgrade, and never after a step back. The store keeps it, as Unix seconds, the
/// generation that it is about, and a MAC; one that does not say it accepts none.
/// </summary>
internal sealed class WithoutGeneration(Engine engine, Instance instance)
{
    public const string MetaKey = "ephemeral keys without generation";

    private const int StatedSize = sizeof(long) + StoreGeneration.Size;

    private (long Until, StoreGeneration? Generation) accepted;

    public bool IsAcceptedAt(long now) =>
        now < accepted.Until && instance.Facts?.Generation.Is(accepted.Generation) == true;

    /// <summary>The row by which they are accepted as long as one lives that was minted before now.</summary>
    public static RowWrite.PutMeta From(Instance instance, long now) =>
        Row(instance, now + EphemeralKey.LongestLife);

    /// <summary>The row that says it.</summary>
    public static RowWrite.PutMeta Row(Instance instance, long until)
    {
        var value = new byte[StatedSize + MacKey.Size];
        BinaryPrimitives.WriteInt64BigEndian(value, until);
        instance.Facts?.Generation.ToBytes().CopyTo(value, sizeof(long));
        Mac(instance, value.AsSpan(..StatedSize)).CopyTo(value, StatedSize);
        return new RowWrite.PutMeta(MetaKey, value);
    }

    /// <inheritdoc cref="FormatOne.ProveAnew"/>
    public static RowWrite? ProveAnew(Instance instance, byte[] stored) =>
        IsWhole(instance, stored) ? null : Row(instance, until: 0).InPlaceOf(stored);

    public async Task StartAsync(CancellationToken ct)
    {
        if (await engine.FindMetaAsync(MetaKey, ct) is { } value && IsWhole(instance, value))
            accepted = (BinaryPrimitives.ReadInt64BigEndian(value),
                StoreGeneration.Read(value.AsSpan(sizeof(long)..StatedSize)));
    }

    private static bool IsWhole(Instance instance, byte[] value) => value.Length == StatedSize + MacKey.Size
        && CryptographicOperations.FixedTimeEquals(
            value.AsSpan(StatedSize), Mac(instance, value.AsSpan(..StatedSize)));

    private static byte[] Mac(Instance instance, ReadOnlySpan<byte> stated)
    {
        using var bound = new AssociatedData("coffer v1 ephemeral keys without generation"u8);
        bound.Add(instance.Id);
        bound.Add(stated);
        return instance.ProofKey.Compute(bound.Span);
    }
}
