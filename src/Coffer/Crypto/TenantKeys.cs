using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// The keys of one tenant: versioned keys that seal its records, and from one lasting seed the keys of its blind
/// indexes, its fingerprints and its cursors. Stored sealed under a root key as: format (1 byte, 1), seed (32), then
/// for each sealing key its version (4, big-endian) and key (32), oldest first.
/// </summary>
internal sealed class TenantKeys : IDisposable
{
    public const int IndexSize = 16;
    private const byte Format = 1;
    private const int SeedSize = 32;
    private const int EntrySize = sizeof(uint) + SealingKey.Size;

    // All that is secret here, in one place that is cleared at once: the seed, the key of blind indexes, the sealing
    // keys.
    private readonly SecretBytes memory;
    private readonly SealingKey[] sealing;
    private readonly MacKey index;

    // Not every request needs these: they are derived when one does.
    private MacKey? fingerprint;
    private MacKey? cursor;

    private TenantKeys(SecretBytes memory, ReadOnlySpan<byte> seed, SealingKey[] sealing)
    {
        (this.memory, this.sealing) = (memory, sealing);
        seed.CopyTo(memory.Span);
        index = MacKey.Derived(seed, "coffer v1 blind index"u8, memory, SeedSize);
    }

    /// <summary>The key that seals from now on.</summary>
    public SealingKey Newest => sealing[^1];

    /// <summary>Fresh keys in the form in which they are stored, to be sealed and cleared by the caller.</summary>
    public static SecretBytes Generate()
    {
        var stored = SecretBytes.Rent(1 + SeedSize + EntrySize);
        stored.Span[0] = Format;
        RandomNumberGenerator.Fill(stored.Span[1..]);
        BinaryPrimitives.WriteUInt32BigEndian(stored.Span[(1 + SeedSize)..], 1);
        return stored;
    }

    /// <returns>Null if the bytes are not tenant keys that this program knows.</returns>
    public static TenantKeys? Parse(ReadOnlySpan<byte> stored)
    {
        var entries = stored.Length - 1 - SeedSize;
        if (entries < EntrySize || entries % EntrySize != 0 || stored[0] != Format)
            return null;
        // Versions only grow: an envelope names its key by it.
        for (var (at, last) = (1 + SeedSize, 0u); at < stored.Length; at += EntrySize)
        {
            var version = BinaryPrimitives.ReadUInt32BigEndian(stored[at..]);
            if (version <= last)
                return null;
            last = version;
        }

        var keys = new SealingKey[entries / EntrySize];
        var room = SecretBytes.ForKeys(SeedSize + MacKey.Size + keys.Length * SealingKey.Room);
        for (var i = 0; i < keys.Length; i++)
        {
            var entry = stored.Slice(1 + SeedSize + i * EntrySize, EntrySize);
            keys[i] = new SealingKey(BinaryPrimitives.ReadUInt32BigEndian(entry), entry[sizeof(uint)..], room,
                SeedSize + MacKey.Size + i * SealingKey.Room);
        }

        return new TenantKeys(room, stored.Slice(1, SeedSize), keys);
    }

    /// <summary>The key that an envelope names: looked up, never tried. Null if the tenant has no such key.</summary>
    public SealingKey? For(ReadOnlySpan<byte> envelope)
    {
        var version = Envelope.KeyVersionOf(envelope);
        return Array.Find(sealing, key => key.Version == version);
    }

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
