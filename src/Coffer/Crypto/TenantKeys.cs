using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// The keys of one tenant: versioned keys that seal its records, and the seed that names hang on, with those that were
/// its seed before a compromise. Stored sealed under a root key, in the form that docs/envelope.md fixes.
/// </summary>
internal sealed class TenantKeys : IDisposable
{
    /// <summary>How many retired seeds are kept at most: their number is one byte.</summary>
    private const int MostRetired = byte.MaxValue;

    private const byte FormatOne = 1, FormatTwo = 2;

    /// <summary>Where in a counter the root key stands that its seed came with.</summary>
    private const int RootAt = 32;

    private const int SeedSize = TenantSeed.Size;
    private const int RetiredSize = SeedSize + 1 + sizeof(long);
    private const int EntrySize = sizeof(uint) + SealingKey.Size;
    private const int CounterAt = 1, SeedAt = CounterAt + sizeof(long), RetiredAt = SeedAt + SeedSize;

    // All that is secret here, in one place that is cleared at once: seeds with their keys of blind indexes, and the
    // sealing keys.
    private readonly SecretBytes memory;
    private readonly SealingKey[] sealing;

    private TenantKeys(
        SecretBytes memory, TenantSeed seed, IReadOnlyList<TenantSeed> retired, SealingKey[] sealing, long counter) =>
        (this.memory, Seed, Retired, this.sealing, Counter) = (memory, seed, retired, sealing, counter);

    /// <summary>What blind indexes, fingerprints and ids hang on.</summary>
    public TenantSeed Seed { get; }

    /// <summary>Its seeds of before a compromise, oldest first.</summary>
    public IReadOnlyList<TenantSeed> Retired { get; }

    /// <summary>Whether names may still stand under a retired seed.</summary>
    public bool HasOldNames => Retired.Any(static seed => seed.HasNames);

    /// <summary>
    /// One more at each change of the keys, and with another seed the first that <see cref="SeedRootOf"/> reads the
    /// root key of then in; 0 in format 1, which has none.
    /// </summary>
    public long Counter { get; }

    /// <summary>
    /// The version of the root key that sealed when the seed of keys was made, or of one before it: keys are never
    /// sealed under an older one.
    /// </summary>
    public static long SeedRootOf(long counter) => (counter >> RootAt) + 1;

    /// <summary>How many keys seal or open.</summary>
    public int Count => sealing.Length;

    /// <summary>
    /// Whether none of them was there before a root key sealed: the seed was not, and the key that was its
    /// predecessor's is dropped.
    /// </summary>
    public bool AreSince(long root) => HasSeedSince(root) && (Count == 1 || Counter != FirstOf(SeedRootOf(Counter)));

    /// <summary>Whether the seed was not there before a root key sealed.</summary>
    public bool HasSeedSince(long root) => SeedRootOf(Counter) >= root;

    /// <summary>
    /// What all keys of a tenant have in common from its first ones on, which is no secret. Those of its account after
    /// it was forgotten have another.
    /// </summary>
    public Guid Life()
    {
        var life = new Guid(SHA256.HashData((Retired.Count > 0 ? Retired[0] : Seed).Span).AsSpan(0, 16));
        GC.KeepAlive(memory);
        return life;
    }

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
    /// <param name="root">The version of the root key that seals.</param>
    /// <param name="isFormatOne">In the form of before, which older nodes read.</param>
    public static SecretBytes Generate(long root = 1, bool isFormatOne = false)
    {
        var head = isFormatOne ? 1 + SeedSize : RetiredAt + 1;
        var stored = SecretBytes.Rent(head + EntrySize);
        RandomNumberGenerator.Fill(stored.Span);
        stored.Span[0] = isFormatOne ? FormatOne : FormatTwo;
        if (!isFormatOne)
        {
            BinaryPrimitives.WriteInt64BigEndian(stored.Span[CounterAt..], FirstOf(root));
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
        [FormatTwo, ..] when stored.Length > RetiredAt + 1
            && stored.Length > RetiredAt + 1 + stored[RetiredAt] * RetiredSize
            && BinaryPrimitives.ReadInt64BigEndian(stored[CounterAt..]) is > 0 and var counter =>
            Parse(stored.Slice(SeedAt, SeedSize), stored[(RetiredAt + 1 + stored[RetiredAt] * RetiredSize)..], counter,
                stored.Slice(RetiredAt + 1, stored[RetiredAt] * RetiredSize)),
        _ => null,
    };

    /// <summary>The same with a fresh key, which seals from then on, in the form in which they are stored.</summary>
    public SecretBytes WithNewKey()
    {
        using var added = FreshKey();
        return Stored(Counter + 1, [.. sealing, added], Seed.Span, Retired);
    }

    /// <summary>
    /// The same with a fresh key and a fresh seed, in the form in which they are stored: what stands under the seed of
    /// before is to be moved, and is under another key than what does not. Of more than 255 the oldest is no more.
    /// </summary>
    /// <param name="now">Unix seconds.</param>
    /// <param name="root">The version of the root key that seals.</param>
    public SecretBytes WithNewSeed(long now, long root)
    {
        using var added = FreshKey();
        using var seed = SecretBytes.Rent(SeedSize);
        RandomNumberGenerator.Fill(seed.Span);
        var stored = Stored(Math.Max(Counter + 1, FirstOf(root)), [.. sealing, added], seed.Span,
            [.. Retired.TakeLast(MostRetired - 1), Seed.As(SeedMarks.All, now)]);
        GC.KeepAlive(memory);
        return stored;
    }

    /// <summary>The same without the keys that do not seal any more, in the form in which they are stored.</summary>
    /// <param name="hasOldNames">Whether something still stands under a retired seed, and cannot be moved.</param>
    public SecretBytes WithNewestOnly(bool hasOldNames = false) => Stored(Counter + 1, [sealing[^1]], Seed.Span,
        hasOldNames ? Retired : [.. Retired.Select(seed => seed.As(seed.Marks & ~SeedMarks.Names, seed.Since))]);

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

    public void Dispose()
    {
        Seed.Dispose();
        foreach (var seed in Retired)
            seed.Dispose();
        foreach (var key in sealing)
            key.Dispose();
        memory.Dispose();
    }

    private static TenantKeys? Parse(
        ReadOnlySpan<byte> seed, ReadOnlySpan<byte> entries, long counter, ReadOnlySpan<byte> retired = default)
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

        // Who does not know what a retired seed is for would not find what stands under it.
        for (var at = 0; at < retired.Length; at += RetiredSize)
        {
            if ((retired[at + SeedSize] & ~(byte)SeedMarks.All) != 0
                || BinaryPrimitives.ReadInt64BigEndian(retired[(at + SeedSize + 1)..]) < 0)
                return null;
        }

        var (keys, seeds) = (new SealingKey[entries.Length / EntrySize], new TenantSeed[retired.Length / RetiredSize]);
        var room = SecretBytes.ForKeys((1 + seeds.Length) * TenantSeed.Room + keys.Length * SealingKey.Room);
        for (var i = 0; i < seeds.Length; i++)
        {
            var entry = retired.Slice(i * RetiredSize, RetiredSize);
            seeds[i] = new TenantSeed(entry[..SeedSize], room, (1 + i) * TenantSeed.Room, (SeedMarks)entry[SeedSize],
                BinaryPrimitives.ReadInt64BigEndian(entry[(SeedSize + 1)..]));
        }

        for (var i = 0; i < keys.Length; i++)
        {
            var entry = entries.Slice(i * EntrySize, EntrySize);
            keys[i] = new SealingKey(BinaryPrimitives.ReadUInt32BigEndian(entry), entry[sizeof(uint)..], room,
                (1 + seeds.Length) * TenantSeed.Room + i * SealingKey.Room);
        }

        return new TenantKeys(room, new TenantSeed(seed, room, 0), seeds, keys, counter);
    }

    private SealingKey FreshKey()
    {
        using var fresh = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(fresh.Span);
        return new SealingKey(sealing[^1].Version + 1, fresh.Span);
    }

    private static long FirstOf(long root) => ((root - 1) << RootAt) + 1;

    private SecretBytes Stored(
        long counter, ReadOnlySpan<SealingKey> keys, ReadOnlySpan<byte> seed, IReadOnlyList<TenantSeed> retired)
    {
        var stored = SecretBytes.Rent(RetiredAt + 1 + retired.Count * RetiredSize + keys.Length * EntrySize);
        stored.Span[0] = FormatTwo;
        BinaryPrimitives.WriteInt64BigEndian(stored.Span[CounterAt..], counter);
        seed.CopyTo(stored.Span[SeedAt..]);
        stored.Span[RetiredAt] = (byte)retired.Count;
        var rest = stored.Span[(RetiredAt + 1)..];
        foreach (var old in retired)
        {
            old.Span.CopyTo(rest);
            rest[SeedSize] = (byte)old.Marks;
            BinaryPrimitives.WriteInt64BigEndian(rest[(SeedSize + 1)..], old.Since);
            rest = rest[RetiredSize..];
        }

        GC.KeepAlive(memory);
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
}
