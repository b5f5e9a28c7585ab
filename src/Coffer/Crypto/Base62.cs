using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// Numbers in base62 of a fixed width. The alphabet is in ASCII order, so text sorts as the numbers do.
/// </summary>
internal static class Base62
{
    public const string Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    public static readonly SearchValues<char> Characters = SearchValues.Create(Alphabet);

    /// <summary>
    /// Fills <paramref name="destination"/>, most significant digit first; what does not fit is dropped from the top.
    /// </summary>
    public static void Write(ulong value, Span<char> destination)
    {
        for (var i = destination.Length - 1; i >= 0; i--)
        {
            destination[i] = Alphabet[(int)(value % 62)];
            value /= 62;
        }
    }

    /// <summary>
    /// Whether a text is a number as <see cref="Write"/> writes it; takes the same time wherever they differ.
    /// </summary>
    public static bool FixedTimeIs(ulong value, ReadOnlySpan<char> written)
    {
        Span<char> expected = stackalloc char[written.Length];
        Write(value, expected);
        return CryptographicOperations.FixedTimeEquals(MemoryMarshal.AsBytes(expected), MemoryMarshal.AsBytes(written));
    }

    /// <summary>
    /// The number that was written; null if a character is not of the alphabet or it is beyond 64 bits.
    /// </summary>
    public static ulong? Read(ReadOnlySpan<char> text)
    {
        UInt128 value = 0;
        foreach (var c in text)
        {
            var digit = Alphabet.IndexOf(c, StringComparison.Ordinal);
            if (digit < 0 || (value = value * 62 + (uint)digit) > ulong.MaxValue)
                return null;
        }

        return (ulong)value;
    }
}
