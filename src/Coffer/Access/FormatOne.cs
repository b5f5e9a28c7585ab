using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// Until when ephemeral keys of format 1 are accepted: while nodes run that mint no other, and a day longer. The store
/// keeps it, as Unix seconds and a MAC; a new store has never minted any.
/// </summary>
internal sealed class FormatOne(Engine engine, Committer committer, Instance instance, TimeProvider time)
{
    public const string MetaKey = "ephemeral keys of format 1";

    /// <summary>As long as a key lives, and some more, so that it is not written often.</summary>
    private const long Longer = EphemeralKey.LongestLife + 3_600;

    private long until;

    public bool IsAcceptedAt(long now) => engine.HasOlderNodes || now < Volatile.Read(ref until);

    /// <summary>The row that says it.</summary>
    public static RowWrite.PutMeta Row(Instance instance, long until)
    {
        var value = new byte[sizeof(long) + MacKey.Size];
        BinaryPrimitives.WriteInt64BigEndian(value, until);
        Mac(instance, until).CopyTo(value, sizeof(long));
        return new RowWrite.PutMeta(MetaKey, value);
    }

    /// <summary>
    /// The row that ends them all, if it is not proven by the newest pepper, under which none was ever minted; null if
    /// it is.
    /// </summary>
    public static RowWrite? ProveAnew(Instance instance, byte[] stored) =>
        IsWhole(instance, stored) ? null : Row(instance, until: 0).InPlaceOf(stored);

    /// <summary>Reads it; a store that does not say it is of the release before, and begins to say it now.</summary>
    public async Task StartAsync(CancellationToken ct)
    {
        if (await engine.FindMetaAsync(MetaKey, ct) is not { } value)
        {
            await ExtendAsync();
            return;
        }

        // What was changed outside Coffer accepts none.
        if (IsWhole(instance, value))
            Volatile.Write(ref until, BinaryPrimitives.ReadInt64BigEndian(value));
    }

    /// <summary>Call once in a while: as long as older nodes run, it moves on with the clock.</summary>
    public async Task SweepAsync()
    {
        if (engine.HasOlderNodes && Volatile.Read(ref until) < Now() + EphemeralKey.LongestLife)
            await ExtendAsync();
    }

    private async Task ExtendAsync()
    {
        var later = Now() + Longer;
        // Made when it is decided: a renewal may have begun another pepper since.
        await committer.CommitAsync(new Change.Plain(() => [Row(instance, later)]));
        Volatile.Write(ref until, later);
    }

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();

    private static bool IsWhole(Instance instance, byte[] value) => value.Length == sizeof(long) + MacKey.Size
        && CryptographicOperations.FixedTimeEquals(
            value.AsSpan(sizeof(long)), Mac(instance, BinaryPrimitives.ReadInt64BigEndian(value)));

    private static byte[] Mac(Instance instance, long until)
    {
        using var bound = new AssociatedData("coffer v1 format 1 of ephemeral keys"u8);
        bound.Add(instance.Id);
        bound.Add(until);
        return instance.ProofKey.Compute(bound.Span);
    }
}
