using System.Buffers;
using System.Buffers.Text;
using System.IO.Hashing;
using System.Security.Cryptography;
using System.Text;

namespace Coffer.Crypto;

/// <summary>
/// API keys as text: a Stripe-like prefix, the marker <c>cfr</c>, 33 base62 characters of randomness (196 bits) and 6
/// base62 characters of CRC32 over all before them. The checksum finds typos and fakes without a look-up, and with the
/// marker lets scanners recognise a leak; it proves nothing.
/// </summary>
internal static class Tokens
{
    private const string Marker = "cfr";
    private const int RandomLength = 33;
    private const int ChecksumLength = 6;

    public static string Generate(string prefix)
    {
        var head = prefix + Marker + RandomNumberGenerator.GetString(Base62.Alphabet, RandomLength);
        return head + Checksum(head);
    }

    /// <summary>
    /// Whether a token could have been made by <see cref="Generate"/>: form and checksum, no look-up.
    /// </summary>
    public static bool IsWellFormed(ReadOnlySpan<char> token)
    {
        var tail = token.Length - Marker.Length - RandomLength - ChecksumLength;
        return tail > 0 && token[tail..].StartsWith(Marker)
            && !token[tail..].ContainsAnyExcept(Base62.Characters)
            && token[^ChecksumLength..].SequenceEqual(Checksum(token[..^ChecksumLength]));
    }

    /// <summary>A token that is what it says: sealed bytes in base64url instead of randomness.</summary>
    public static string Seal(string prefix, ReadOnlySpan<byte> envelope)
    {
        var head = prefix + Marker + Base64Url.EncodeToString(envelope);
        return head + Checksum(head);
    }

    /// <summary>The sealed bytes; null if the form or the checksum is wrong.</summary>
    public static byte[]? Unseal(string prefix, string token)
    {
        var begin = prefix.Length + Marker.Length;
        if (token.Length <= begin + ChecksumLength || !token.StartsWith(prefix + Marker, StringComparison.Ordinal)
            || !Ascii.IsValid(token)
            || !token.AsSpan(token.Length - ChecksumLength).SequenceEqual(
                Checksum(token.AsSpan(0, token.Length - ChecksumLength))))
            return null;
        var text = token.AsSpan(begin..^ChecksumLength);
        return Base64Url.IsValid(text) ? Base64Url.DecodeFromChars(text) : null;
    }

    /// <summary>A token as it may be shown: its prefix and last four characters, as Stripe shows it.</summary>
    public static string Redact(string token)
    {
        const int Head = 8, Tail = 4, MostStars = 32;
        return token.Length <= Head + Tail
            ? new string('*', token.Length)
            : Plain(token[..Head])
                + new string('*', Math.Min(token.Length - Head - Tail, MostStars))
                + Plain(token[^Tail..]);

        static string Plain(string part) =>
            string.Concat(part.Select(c => char.IsAsciiLetterOrDigit(c) || c == '_' ? c : '*'));
    }

    private static string Checksum(ReadOnlySpan<char> head)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(head.Length));
        Span<char> checksum = stackalloc char[ChecksumLength];
        Base62.Write(Crc32.HashToUInt32(bytes.AsSpan(0, Encoding.UTF8.GetBytes(head, bytes))), checksum);
        ArrayPool<byte>.Shared.Return(bytes, clearArray: true);
        return new string(checksum);
    }
}
