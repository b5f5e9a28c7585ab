using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// The keys of one tenant: versioned keys that seal its records, and from one lasting seed the keys of its blind
/// indexes, its fingerprints and its cursors. Stored sealed under a root key, in the form that docs/envelope.md fixes.
/// </summary>
internal sealed class TenantKeys : IDisposable
{
    public const int IndexSize = 16;
    private const byte FormatOne = 1, FormatTwo = 2;
    private const int SeedSize = 32;
    private const int EntrySize = sizeof(uint) + SealingKey.Size;
    private const int CounterAt = 1, SeedAt = CounterAt + sizeof(long), RetiredAt = SeedAt + SeedSize;

    // All that is secret here, in one place that is cleared at once: the seed, the key of blind indexes, the sealing
    // keys.
    private readonly SecretBytes memory;
    private readonly SealingKey[] sealing;
    private readonly MacKey index;

    // Not every request needs these: they are derived when one does.
    private MacKey? fingerprint;
    private MacKey? cursor;

    private TenantKeys(SecretBytes memory, ReadOnlySpan<byte> seed, SealingKey[] sealing, long counter)
    {
        (this.memory, this.sealing, Counter) = (memory, sealing, counter);
        seed.CopyTo(memory.Span);
        index = MacKey.Derived(seed, "coffer v1 blind index"u8, memory, SeedSize);
    }

    /// <summary>One more at each change of the keys; 0 in format 1, which has none.</summary>
    public long Counter { get; }

    /// <summary>How many keys seal or open.</summary>
    public int Count => sealing.Length;

    /// <summary>The version of the key that seals from now on, as it stands in an envelope.</summary>
    public byte[] NewestVersion
    {
        get
        {
            var version = new byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32BigEndian(version, sealing[^1].Version);
            return version;
        }
    }

    /// <summary>Fresh keys in the form in which they are stored, to be sealed and cleared by the caller.</summary>
    /// <param name="isFormatOne">In the form of before, which older nodes read.</param>
    public static SecretBytes Generate(bool isFormatOne = false)
    {
        var head = isFormatOne ? 1 + SeedSize : RetiredAt + 1;
        var stored = SecretBytes.Rent(head + EntrySize);
        RandomNumberGenerator.Fill(stored.Span);
        stored.Span[0] = isFormatOne ? FormatOne : FormatTwo;
        if (!isFormatOne)
        {
            BinaryPrimitives.WriteInt64BigEndian(stored.Span[CounterAt..], 1);
            stored.Span[RetiredAt] = 0;
        }

        BinaryPrimitives.WriteUInt32BigEndian(stored.Span[head..], 1);
        return stored;
    }

    /// <returns>Null if the bytes are not tenant keys that this program knows.</returns>
    public static TenantKeys? Parse(ReadOnlySpan<byte> stored) => stored switch
    {
        [FormatOne, ..] when stored.Length > 1 + SeedSize =>
            Parse(stored.Slice(1, SeedSize), stored[(1 + SeedSize)..], 0),
        // Who does not know what a retired seed is for would not find what stands under it.
        [FormatTwo, ..] when stored.Length > RetiredAt + 1 && stored[RetiredAt] == 0
            && BinaryPrimitives.ReadInt64BigEndian(stored[CounterAt..]) is > 0 and var counter =>
            Parse(stored.Slice(SeedAt, SeedSize), stored[(RetiredAt + 1)..], counter),
        _ => null,
    };

    /// <summary>The same with a fresh key, which seals from then on, in the form in which they are stored.</summary>
    public SecretBytes WithNewKey()
    {
        using var fresh = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(fresh.Span);
        using var added = new SealingKey(sealing[^1].Version + 1, fresh.Span);
        return Stored([.. sealing, added]);
    }

    /// <summary>The same without the keys that do not seal any more, in the form in which they are stored.</summary>
    public SecretBytes WithNewestOnly() => Stored([sealing[^1]]);

    /// <summary>Seals under the newest key what is a tenant's.</summary>
    public byte[] Seal(SealedKind kind, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData)
    {
        kind.RequireUnder(SealedKind.Key.Tenant);
        return Envelope.Seal(kind, sealing[^1], plaintext, associatedData);
    }

    /// <summary>
    /// What is in an envelope, for the caller to dispose of; null if the key that it names does not open it, or the
    /// tenant has no such key.
    /// </summary>
    public SecretBytes? Open(ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData) =>
        For(envelope) is { } key ? Envelope.Open(key, envelope, associatedData) : null;

    /// <summary>The same sealed again under the newest key; null if it does not open.</summary>
    public byte[]? Reseal(SealedKind kind, ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        using var plaintext = Open(envelope, associatedData);
        return plaintext is null ? null : Seal(kind, plaintext.Span, associatedData);
    }

    /// <summary>Proves the key and the associated data without making any plaintext.</summary>
    public bool Proves(ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData) =>
        For(envelope) is { } key && Envelope.Proves(key, envelope, associatedData);

    /// <summary>Whether the tenant has the key that an envelope names, or it is no envelope.</summary>
    public bool MayOpen(ReadOnlySpan<byte> envelope) =>
        Envelope.KeyVersionOf(envelope) is null || For(envelope) is not null;

    /// <summary>Whether an envelope is under the key that seals.</summary>
    public bool IsUnderNewest(ReadOnlySpan<byte> envelope) => Envelope.KeyVersionOf(envelope) == sealing[^1].Version;

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
        foreach (var key in sealing)
            key.Dispose();
        memory.Dispose();
    }

    private static TenantKeys? Parse(ReadOnlySpan<byte> seed, ReadOnlySpan<byte> entries, long counter)
    {
        if (entries.Length < EntrySize || entries.Length % EntrySize != 0)
            return null;
        // Versions only grow: an envelope names its key by it.
        for (var (at, last) = (0, 0u); at < entries.Length; at += EntrySize)
        {
            var version = BinaryPrimitives.ReadUInt32BigEndian(entries[at..]);
            if (version <= last)
                return null;
            last = version;
        }

        var keys = new SealingKey[entries.Length / EntrySize];
        var room = SecretBytes.ForKeys(SeedSize + MacKey.Size + keys.Length * SealingKey.Room);
        for (var i = 0; i < keys.Length; i++)
        {
            var entry = entries.Slice(i * EntrySize, EntrySize);
            keys[i] = new SealingKey(BinaryPrimitives.ReadUInt32BigEndian(entry), entry[sizeof(uint)..], room,
                SeedSize + MacKey.Size + i * SealingKey.Room);
        }

        return new TenantKeys(room, seed, keys, counter);
    }

    private SecretBytes Stored(ReadOnlySpan<SealingKey> keys)
    {
        var stored = SecretBytes.Rent(RetiredAt + 1 + keys.Length * EntrySize);
        stored.Span[0] = FormatTwo;
        BinaryPrimitives.WriteInt64BigEndian(stored.Span[CounterAt..], Counter + 1);
        memory.Span[..SeedSize].CopyTo(stored.Span[SeedAt..]);
        GC.KeepAlive(memory);
        stored.Span[RetiredAt] = 0;
        var rest = stored.Span[(RetiredAt + 1)..];
        foreach (var key in keys)
        {
            using var copy = key.Copy();
            BinaryPrimitives.WriteUInt32BigEndian(rest, key.Version);
            copy.Span.CopyTo(rest[sizeof(uint)..]);
            rest = rest[EntrySize..];
        }

        return stored;
    }

    // The key that an envelope names: looked up, never tried.
    private SealingKey? For(ReadOnlySpan<byte> envelope)
    {
        var version = Envelope.KeyVersionOf(envelope);
        return Array.Find(sealing, key => key.Version == version);
    }

    private MacKey Derived(ref MacKey? key, ReadOnlySpan<byte> label)
    {
        if (Volatile.Read(ref key) is { } ready)
            return ready;
        var fresh = MacKey.Derived(memory.Span[..SeedSize], label);
        GC.KeepAlive(memory);
        if (Interlocked.CompareExchange(ref key, fresh, null) is not { } first)
            return fresh;
        fresh.Dispose();
        return first;
    }
}
