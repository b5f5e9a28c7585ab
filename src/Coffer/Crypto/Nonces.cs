using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// Random nonces, drawn for each thread in blocks: a call for one alone takes as long as to derive its key and encrypt.
/// They are no secret, since each is stored beside what it served. Each is given out once, unless the machine is copied
/// while it runs and both copies continue (docs/envelope.md).
/// </summary>
internal static class Nonces
{
    /// <summary>How many are drawn at once.</summary>
    public const int Ahead = 64;

    [ThreadStatic]
    private static byte[]? drawn;

    [ThreadStatic]
    private static int left;

    /// <summary>Writes the 24 bytes of one that nobody was given before.</summary>
    public static void Next(Span<byte> nonce)
    {
        drawn ??= new byte[Ahead * Xaes256Gcm.NonceSize];
        if (left == 0)
        {
            RandomNumberGenerator.Fill(drawn);
            left = Ahead;
        }

        drawn.AsSpan(--left * Xaes256Gcm.NonceSize, Xaes256Gcm.NonceSize).CopyTo(nonce);
    }
}
