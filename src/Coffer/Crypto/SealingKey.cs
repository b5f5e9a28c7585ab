using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// A 256-bit key that seals envelopes, with the version by which they name it. Cipher and commitment use two keys
/// derived from it (HKDF-Expand, RFC 5869), so that no key serves two algorithms.
/// </summary>
internal sealed class SealingKey : IDisposable
{
    public const int Size = 32;

    public SealingKey(uint version, ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, Size);
        Version = version;
        Span<byte> cipherKey = stackalloc byte[Xaes256Gcm.KeySize];
        HKDF.Expand(HashAlgorithmName.SHA256, key, cipherKey, "coffer v1 envelope cipher"u8);
        Cipher = new Xaes256Gcm(cipherKey);
        CryptographicOperations.ZeroMemory(cipherKey);
        Commitment = MacKey.Derived(key, "coffer v1 envelope commitment"u8);
    }

    /// <summary>The first key for the use that <paramref name="label"/> names, derived from another (HKDF-Expand, RFC 5869).</summary>
    public static SealingKey Derived(ReadOnlySpan<byte> from, ReadOnlySpan<byte> label)
    {
        Span<byte> derived = stackalloc byte[Size];
        HKDF.Expand(HashAlgorithmName.SHA256, from, derived, label);
        var key = new SealingKey(1, derived);
        CryptographicOperations.ZeroMemory(derived);
        return key;
    }

    public uint Version { get; }

    public Xaes256Gcm Cipher { get; }

    public MacKey Commitment { get; }

    public void Dispose()
    {
        Cipher.Dispose();
        Commitment.Dispose();
    }

    public override string ToString() => $"key version {Version} [redacted]";
}
