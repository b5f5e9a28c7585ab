using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// A 256-bit key that seals envelopes, with the version by which they name it. Cipher and commitment use two keys
/// derived from it (HKDF-Expand, RFC 5869), so that no key serves two algorithms.
/// </summary>
internal sealed class SealingKey : IDisposable
{
    public const int Size = 32;

    /// <summary>What a sealing key takes of somebody's memory: itself, and the key of its commitments.</summary>
    public const int Room = Size + MacKey.Size;

    private readonly SecretBytes memory;
    private readonly int start;
    private readonly bool isOwner;
    private Xaes256Gcm? cipher;

    public SealingKey(uint version, ReadOnlySpan<byte> key) : this(version, key, SecretBytes.ForKeys(Room), 0) =>
        isOwner = true;

    /// <summary>The same in a place of memory that is another's, who disposes of it.</summary>
    public SealingKey(uint version, ReadOnlySpan<byte> key, SecretBytes memory, int start)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, Size);
        (Version, this.memory, this.start) = (version, memory, start);
        key.CopyTo(memory.Span[start..]);
        Commitment = MacKey.Derived(key, "coffer v1 envelope commitment"u8, memory, start + Size);
    }

    /// <summary>
    /// The key for the use that <paramref name="label"/> names, derived from another (HKDF-Expand, RFC 5869).
    /// </summary>
    public static SealingKey Derived(ReadOnlySpan<byte> from, ReadOnlySpan<byte> label, uint version = 1)
    {
        Span<byte> derived = stackalloc byte[Size];
        HKDF.Expand(HashAlgorithmName.SHA256, from, derived, label);
        var first = new SealingKey(version, derived);
        CryptographicOperations.ZeroMemory(derived);
        return first;
    }

    public uint Version { get; }

    /// <summary>Made when it is first needed: to prove an envelope takes the commitment alone.</summary>
    public Xaes256Gcm Cipher
    {
        get
        {
            if (Volatile.Read(ref cipher) is { } ready)
                return ready;
            Span<byte> derived = stackalloc byte[Xaes256Gcm.KeySize];
            HKDF.Expand(HashAlgorithmName.SHA256, memory.Span.Slice(start, Size), derived,
                "coffer v1 envelope cipher"u8);
            GC.KeepAlive(memory);
            var fresh = new Xaes256Gcm(derived);
            CryptographicOperations.ZeroMemory(derived);
            if (Interlocked.CompareExchange(ref cipher, fresh, null) is not { } first)
                return fresh;
            fresh.Dispose();
            return first;
        }
    }

    public MacKey Commitment { get; }

    /// <summary>SHA-256 of the key: says whether two are the same, and neither of them.</summary>
    public byte[] Hash()
    {
        var hash = SHA256.HashData(memory.Span.Slice(start, Size));
        GC.KeepAlive(memory);
        return hash;
    }

    /// <summary>A copy of the key, for the caller to dispose of.</summary>
    public SecretBytes Copy()
    {
        var copy = SecretBytes.Copy(memory.Span.Slice(start, Size));
        GC.KeepAlive(memory);
        return copy;
    }

    public void Dispose()
    {
        cipher?.Dispose();
        Commitment.Dispose();
        if (isOwner)
            memory.Dispose();
    }

    public override string ToString() => $"key version {Version} [redacted]";
}
