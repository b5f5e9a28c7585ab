using System.Security.Cryptography;
using System.Text;

namespace Coffer.Crypto;

/// <summary>
/// API keys as text: a Stripe-like prefix, the marker <c>cfr</c>, 33 base62 characters of randomness (196 bits) and
/// 6 base62 characters of CRC32 over all before them. The checksum finds typos and fakes without a look-up, and with the
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

    /// <summary>Whether a token could have been made by <see cref="Generate"/>: form and checksum, no look-up.</summary>
    public static bool IsWellFormed(ReadOnlySpan<char> token)
    {
        var tail = token.Length - Marker.Length - RandomLength - ChecksumLength;
        return tail > 0 && token[tail..].StartsWith(Marker)
            && !token[tail..].ContainsAnyExcept(Base62.Characters)
            && token[^ChecksumLength..].SequenceEqual(Checksum(token[..^ChecksumLength]));
    }

    private static string Checksum(ReadOnlySpan<char> head)
    {
        Span<byte> bytes = stackalloc byte[128];
        Span<char> checksum = stackalloc char[ChecksumLength];
        if (!Encoding.UTF8.TryGetBytes(head, bytes, out var length))
            return "";
        Base62.Write(Crc32.Compute(bytes[..length]), checksum);
        return new string(checksum);
    }
}
