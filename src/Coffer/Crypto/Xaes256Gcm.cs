// XAES-256-GCM as specified by C2SP (c2sp.org/XAES-256-GCM): AES-256-GCM under a key that is derived from the
// first half of a 192-bit nonce, so that random nonces never run out. Checked against the published vectors.
//
// Crypto: bytes in, bytes out. This room knows neither HTTP nor SQL and never meets Storage.

using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// One XAES-256-GCM key. Safe for use from several threads at once. While it is used often it keeps one prepared AES
/// context to spare: setting the key up for each derivation takes longer than the derivation.
/// </summary>
internal sealed class Xaes256Gcm : IDisposable
{
    public const int KeySize = 32;
    public const int NonceSize = 24;
    public const int TagSize = 16;
    private const int Block = 16;

    private readonly SecretBytes memory; // the key, then K1
    private ICryptoTransform? spare;
    private Heat heat; // not readonly: it counts

    public Xaes256Gcm(ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, KeySize);
        memory = SecretBytes.ForKeys(KeySize + Block);
        key.CopyTo(memory.Span);

        // K1 depends on the key alone (SP 800-38B subkey generation), so it is made once.
        var l = new byte[Block];
        EncryptBlocks(l);
        var carry = (byte)(l[0] >> 7);
        for (var i = 0; i < Block - 1; i++)
            l[i] = (byte)((l[i] << 1) | (l[i + 1] >> 7));
        l[^1] = (byte)((l[^1] << 1) ^ (carry * 0x87));
        l.CopyTo(memory.Span[KeySize..]);
        CryptographicOperations.ZeroMemory(l);
    }

    /// <param name="nonce">24 bytes, never used before with this key.</param>
    /// <param name="plaintext">Any length.</param>
    /// <param name="destination">The ciphertext, as long as the plaintext, then the 16 bytes of the tag.</param>
    /// <param name="associatedData">Bound, not stored.</param>
    public void Encrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plaintext, Span<byte> destination,
        ReadOnlySpan<byte> associatedData)
    {
        using var gcm = Derive(nonce);
        gcm.Encrypt(nonce[12..], plaintext, destination[..plaintext.Length],
            destination.Slice(plaintext.Length, TagSize), associatedData);
    }

    /// <returns>False, with <paramref name="plaintext"/> cleared, when anything was changed.</returns>
    public bool TryDecrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> ciphertextAndTag, Span<byte> plaintext,
        ReadOnlySpan<byte> associatedData)
    {
        using var gcm = Derive(nonce);
        try
        {
            gcm.Decrypt(nonce[12..], ciphertextAndTag[..^TagSize], ciphertextAndTag[^TagSize..], plaintext,
                associatedData);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        Interlocked.Exchange(ref spare, null)?.Dispose();
        memory.Dispose();
    }

    private AesGcm Derive(ReadOnlySpan<byte> nonce)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(nonce.Length, NonceSize);

        // M1 = 00 01 "X" 00 || N[0..12), M2 = 00 02 "X" 00 || N[0..12); Kx = AES(M1 ^ K1) || AES(M2 ^ K1)
        var m = new byte[2 * Block];
        var k1 = memory.Span[KeySize..];
        for (var half = 0; half < 2; half++)
        {
            var mi = m.AsSpan(half * Block, Block);
            (mi[0], mi[1], mi[2], mi[3]) = (0, (byte)(half + 1), (byte)'X', 0);
            nonce[..12].CopyTo(mi[4..]);
            for (var i = 0; i < Block; i++)
                mi[i] ^= k1[i];
        }

        GC.KeepAlive(memory);
        EncryptBlocks(m);
        var gcm = new AesGcm(m, TagSize);
        CryptographicOperations.ZeroMemory(m);
        return gcm;
    }

    // Plain AES on whole blocks, as the derivation is specified; this is not a mode that any data is sealed with.
    private void EncryptBlocks(byte[] blocks)
    {
        var context = Interlocked.Exchange(ref spare, null) ?? Prepare();
        context.TransformBlock(blocks, 0, blocks.Length, blocks, 0);
        (heat.Use() ? Interlocked.Exchange(ref spare, context) : context)?.Dispose();
    }

    private ICryptoTransform Prepare()
    {
        using var aes = Aes.Create();
        aes.Mode = CipherMode.ECB;
        aes.Padding = PaddingMode.None;
        aes.SetKey(memory.Span[..KeySize]);
        GC.KeepAlive(memory);
        return aes.CreateEncryptor();
    }
}
