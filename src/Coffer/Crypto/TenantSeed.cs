using System.Buffers.Binary;

namespace Coffer.Crypto;

/// <summary>What a retired seed is still for (docs/envelope.md).</summary>
[Flags]
internal enum SeedMarks : byte
{
    None = 0,

    /// <summary>For a day it finds what idempotency keys have kept.</summary>
    Records = 1,

    /// <summary>It recognises an id, where a page of a list begins, and proves nothing else.</summary>
    Ids = 2,

    /// <summary>It says which secret an entry of the audit log is about.</summary>
    Audit = 4,

    /// <summary>It finds names that were not moved under the seed after it yet, or do not open.</summary>
    Names = 8,

    All = Records | Ids | Audit | Names,
}

/// <summary>
/// A seed of a tenant: from it come the keys of its blind indexes, its fingerprints and its cursors. Its memory is that
/// of the tenant's keys.
/// </summary>
internal sealed class TenantSeed : IDisposable
{
    public const int Size = 32, IndexSize = 16;

    /// <summary>What it takes of the memory of keys: itself, and the key of blind indexes.</summary>
    public const int Room = Size + MacKey.Size;

    /// <summary>How long a retired one is asked for records: a day, and an hour that clocks may differ by.</summary>
    private static readonly long RecordsLast = (long)TimeSpan.FromHours(25).TotalSeconds;

    private readonly SecretBytes memory;
    private readonly int start;
    private readonly MacKey index;

    // Not every request needs these: they are derived when one does.
    private MacKey? fingerprint;
    private MacKey? cursor;

    /// <param name="seed">Its bytes.</param>
    /// <param name="memory">Where they are kept.</param>
    /// <param name="start">At which place.</param>
    /// <param name="marks">What it is still for, once it is retired.</param>
    /// <param name="since">Unix seconds since when.</param>
    public TenantSeed(
        ReadOnlySpan<byte> seed, SecretBytes memory, int start, SeedMarks marks = SeedMarks.None, long since = 0)
    {
        (this.memory, this.start, Marks, Since) = (memory, start, marks, since);
        seed.CopyTo(memory.Span[start..]);
        index = MacKey.Derived(seed, "coffer v1 blind index"u8, memory, start + Size);
    }

    private TenantSeed(TenantSeed of, SeedMarks marks, long since) =>
        (memory, start, index, Marks, Since) = (of.memory, of.start, of.index, marks, since);

    /// <summary>What it is still for; nothing of the one that is in use.</summary>
    public SeedMarks Marks { get; }

    /// <summary>When it was retired, in Unix seconds.</summary>
    public long Since { get; }

    /// <summary>Its bytes, as long as the tenant's keys are held.</summary>
    public ReadOnlySpan<byte> Span => memory.Span.Slice(start, Size);

    /// <summary>Whether names may stand under it, though it is retired.</summary>
    public bool HasNames => Marks.HasFlag(SeedMarks.Names);

    /// <summary>Whether records may stand under it at a Unix second, though it is retired.</summary>
    public bool HasRecordsAt(long now) => Marks.HasFlag(SeedMarks.Records) && now < Since + RecordsLast;

    /// <summary>The same seed, retired.</summary>
    public TenantSeed As(SeedMarks marks, long since) => new(this, marks, since);

    /// <summary>A deterministic pseudonym of 16 bytes, different in every tenant.</summary>
    public byte[] BlindIndex(ReadOnlySpan<byte> canonical) => index.Compute(canonical, IndexSize);

    /// <summary>16 bytes that tell whether two requests are the same, without keeping either.</summary>
    public byte[] Fingerprint(ReadOnlySpan<byte> canonical) =>
        Derived(ref fingerprint, "coffer v1 fingerprint"u8).Compute(canonical, IndexSize);

    /// <summary>The first 8 bytes of the MAC that shows an id to be of this tenant.</summary>
    public ulong CursorMac(ReadOnlySpan<byte> canonical) =>
        BinaryPrimitives.ReadUInt64BigEndian(Derived(ref cursor, "coffer v1 cursor"u8).Compute(canonical));

    public void Dispose()
    {
        index.Dispose();
        fingerprint?.Dispose();
        cursor?.Dispose();
    }

    public override string ToString() => "[redacted]";

    private MacKey Derived(ref MacKey? key, ReadOnlySpan<byte> label)
    {
        if (Volatile.Read(ref key) is { } ready)
            return ready;
        var fresh = MacKey.Derived(Span, label);
        GC.KeepAlive(memory);
        if (Interlocked.CompareExchange(ref key, fresh, null) is not { } first)
            return fresh;
        fresh.Dispose();
        return first;
    }
}
