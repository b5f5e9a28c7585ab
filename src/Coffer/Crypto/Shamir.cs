// Shamir's secret sharing, as SLIP-39 has it: byte by byte over GF(256) with the polynomial of AES. It is the one
// piece of cryptography that the framework lacks and Coffer has itself. What is done to a secret byte does not hang on
// its value: no table is looked up by it and nothing branches on it. Where shares stand, and how many there are, is no
// secret.

using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>Splits a secret so that as many shares as are set give it back, and fewer say nothing of it.</summary>
internal static class Shamir
{
    /// <summary>The most shares that a secret is split into.</summary>
    public const int Most = 16;

    private const byte SecretAt = 255, DigestAt = 254;
    private const int DigestSize = 4;

    /// <summary>A value of the polynomials.</summary>
    /// <param name="At">Where.</param>
    /// <param name="Value">As long as the secret; whoever has the point disposes of it.</param>
    public readonly record struct Point(byte At, SecretBytes Value);

    /// <summary>Splits a secret of 16 bytes or more.</summary>
    /// <param name="secret">The secret.</param>
    /// <param name="threshold">How many shares give it back.</param>
    /// <param name="count">How many there are: at 0, 1, 2 and so on.</param>
    public static IReadOnlyList<SecretBytes> Split(ReadOnlySpan<byte> secret, int threshold, int count)
    {
        if (threshold < 1 || threshold > count || count > Most)
            throw new ArgumentOutOfRangeException(nameof(threshold), $"{threshold} of {count} shares");
        var shares = new List<SecretBytes>();
        if (threshold == 1)
        {
            for (var i = 0; i < count; i++)
                shares.Add(SecretBytes.Copy(secret));
            return shares;
        }

        using var digest = SecretBytes.Rent(secret.Length);
        RandomNumberGenerator.Fill(digest.Span[DigestSize..]);
        Digest(digest.Span[DigestSize..], secret, digest.Span[..DigestSize]);
        using var whole = SecretBytes.Copy(secret);
        for (var i = 0; i < threshold - 2; i++)
        {
            shares.Add(SecretBytes.Rent(secret.Length));
            RandomNumberGenerator.Fill(shares[i].Span);
        }

        Point[] known =
            [.. shares.Select((share, at) => new Point((byte)at, share)), new(DigestAt, digest), new(SecretAt, whole)];
        for (var at = threshold - 2; at < count; at++)
            shares.Add(Interpolate(known, (byte)at));
        return shares;
    }

    /// <summary>The secret that shares give, as many as are needed and no two at one place.</summary>
    /// <returns>The secret, for the caller to dispose of; null if they do not belong together.</returns>
    public static SecretBytes? Combine(IReadOnlyList<Point> shares)
    {
        if (shares is [var only])
            return SecretBytes.Copy(only.Value.Span);
        var secret = Interpolate(shares, SecretAt);
        using var digest = Interpolate(shares, DigestAt);
        Span<byte> expected = stackalloc byte[DigestSize];
        Digest(digest.Span[DigestSize..], secret.Span, expected);
        if (CryptographicOperations.FixedTimeEquals(expected, digest.Span[..DigestSize]))
            return secret;
        secret.Dispose();
        return null;
    }

    private static void Digest(ReadOnlySpan<byte> key, ReadOnlySpan<byte> secret, Span<byte> digest)
    {
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key, secret, mac);
        mac[..DigestSize].CopyTo(digest);
        CryptographicOperations.ZeroMemory(mac);
    }

    // Lagrange: each value times what is 1 where it stands and 0 where the others do.
    private static SecretBytes Interpolate(IReadOnlyList<Point> points, byte at)
    {
        var value = SecretBytes.Rent(points[0].Value.Length);
        foreach (var point in points)
        {
            byte factor = 1;
            foreach (var other in points.Where(other => other.At != point.At))
            {
                var ratio = Multiply((byte)(at ^ other.At), Inverse((byte)(point.At ^ other.At)));
                factor = Multiply(factor, ratio);
            }

            for (var i = 0; i < value.Length; i++)
                value.Span[i] ^= Multiply(factor, point.Value.Span[i]);
        }

        return value;
    }

    private static byte Multiply(byte a, byte b)
    {
        var (product, shifted) = (0, (int)a);
        for (var bit = 0; bit < 8; bit++)
        {
            product ^= shifted & -((b >> bit) & 1);
            shifted = (shifted << 1) ^ (0x11b & -(shifted >> 7));
        }

        return (byte)product;
    }

    // a^254: all but 0 are 1 when raised to 255.
    private static byte Inverse(byte a)
    {
        byte inverse = 1;
        for (var bit = 7; bit >= 0; bit--)
        {
            inverse = Multiply(inverse, inverse);
            if (((254 >> bit) & 1) == 1)
                inverse = Multiply(inverse, a);
        }

        return inverse;
    }
}
