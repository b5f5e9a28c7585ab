// The form in which everything sealed is stored: records, kept replies, tenant keys, root keys.
// docs/envelope.md specifies it for other implementations; vectors/ holds known answers.
//
//   offset  length  field
//        0       1  version, 1
//        1       1  algorithm, 1 = XAES-256-GCM with HMAC-SHA256 commitment
//        2       4  key version, big-endian: which key of its kind opens this
//        6      24  nonce, random
//       30      32  commitment = HMAC-SHA256(K_com, nonce || key version || associated data)
//       62   64*n  ciphertext of the plaintext, padded with 0x80 00* (ISO/IEC 7816-4) to a multiple of 64
//   62+64n      16  tag
//
// The commitment covers the associated data, so that metadata can be proven without opening the envelope
// (docs/decisions/0002-commitment-covers-associated-data.md).

using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Coffer.Crypto;

internal static class Envelope
{
    private const byte Version = 1;
    private const byte Xaes256GcmWithCommitment = 1;
    private const int KeyVersionAt = 2;
    private const int NonceAt = 6;
    private const int CommitmentAt = NonceAt + Xaes256Gcm.NonceSize;
    private const int CiphertextAt = CommitmentAt + MacKey.Size;
    private const int PadTo = 64;

    /// <summary>Bytes that an envelope adds to its padded plaintext.</summary>
    public const int Overhead = CiphertextAt + Xaes256Gcm.TagSize;

    /// <summary>Seals what is in the register, bound as that, and nothing else.</summary>
    public static byte[] Seal(
        SealedKind kind, SealingKey key, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData)
    {
        kind.RequireBound(associatedData);
        Span<byte> nonce = stackalloc byte[Xaes256Gcm.NonceSize];
        Nonces.Next(nonce);
        return Seal(key, plaintext, associatedData, nonce);
    }

    /// <summary>
    /// For known answers, which a test alone makes: everything else says what it seals, and has a random nonce.
    /// </summary>
    internal static byte[] Seal(SealingKey key, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData,
        ReadOnlySpan<byte> nonce)
    {
        var padded = (plaintext.Length / PadTo + 1) * PadTo;
        var sealedBytes = new byte[Overhead + padded];
        var envelope = sealedBytes.AsSpan();
        envelope[0] = Version;
        envelope[1] = Xaes256GcmWithCommitment;
        BinaryPrimitives.WriteUInt32BigEndian(envelope[KeyVersionAt..], key.Version);
        nonce.CopyTo(envelope[NonceAt..]);
        Commit(key, envelope, associatedData, envelope.Slice(CommitmentAt, MacKey.Size));

        using var clear = SecretBytes.Rent(padded);
        plaintext.CopyTo(clear.Span);
        clear.Span[plaintext.Length] = 0x80;
        key.Cipher.Encrypt(nonce, clear.Span, envelope[CiphertextAt..], associatedData);
        return sealedBytes;
    }

    /// <summary>
    /// The key version that an envelope names, or null if it is not an envelope that this program knows.
    /// </summary>
    public static uint? KeyVersionOf(ReadOnlySpan<byte> envelope) =>
        envelope.Length >= Overhead + PadTo && (envelope.Length - Overhead) % PadTo == 0
        && envelope[0] == Version && envelope[1] == Xaes256GcmWithCommitment
            ? BinaryPrimitives.ReadUInt32BigEndian(envelope[KeyVersionAt..])
            : null;

    /// <summary>
    /// Proves the key and the associated data without making any plaintext. Takes the same time wherever they differ.
    /// </summary>
    public static bool Proves(SealingKey key, ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        if (KeyVersionOf(envelope) != key.Version)
            return false;
        Span<byte> expected = stackalloc byte[MacKey.Size];
        Commit(key, envelope, associatedData, expected);
        return CryptographicOperations.FixedTimeEquals(expected, envelope.Slice(CommitmentAt, MacKey.Size));
    }

    /// <returns>
    /// The plaintext, for the caller to dispose of; null when the key is another or anything was changed.
    /// </returns>
    public static SecretBytes? Open(SealingKey key, ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        if (!Proves(key, envelope, associatedData))
            return null;

        var clear = SecretBytes.Rent(envelope.Length - Overhead);
        if (key.Cipher.TryDecrypt(envelope.Slice(NonceAt, Xaes256Gcm.NonceSize), envelope[CiphertextAt..], clear.Span,
            associatedData))
        {
            var end = clear.Span.LastIndexOfAnyExcept((byte)0);
            if (end >= 0 && clear.Span[end] == 0x80)
            {
                clear.Shrink(end);
                return clear;
            }
        }

        clear.Dispose();
        return null;
    }

    private static void Commit(SealingKey key, ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData,
        Span<byte> commitment)
    {
        Span<byte> head = stackalloc byte[Xaes256Gcm.NonceSize + sizeof(uint)];
        envelope.Slice(NonceAt, Xaes256Gcm.NonceSize).CopyTo(head);
        envelope.Slice(KeyVersionAt, sizeof(uint)).CopyTo(head[Xaes256Gcm.NonceSize..]);
        key.Commitment.Compute(commitment, head, associatedData);
    }
}
