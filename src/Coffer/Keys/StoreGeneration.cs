using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Coffer.Keys;

/// <summary>Which life of the store this is: another one after each step back that was accepted.</summary>
/// <param name="Number">Greater than that of any before, and not less than Unix time when it began.</param>
/// <param name="Mark">8 random bytes: two that were restored from one back-up differ.</param>
internal sealed record StoreGeneration(long Number, byte[] Mark)
{
    private const int MarkSize = 8;

    public const int Size = sizeof(long) + MarkSize;

    /// <summary>One that begins now, after another.</summary>
    /// <param name="now">Unix seconds.</param>
    /// <param name="last">The greatest number that is known to have been given; 0 if there is none.</param>
    public static StoreGeneration After(long last, long now) =>
        new(Math.Max(now, last + 1), RandomNumberGenerator.GetBytes(MarkSize));

    /// <summary>As it is stored, and as what is given out names it.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteInt64BigEndian(bytes, Number);
        Mark.CopyTo(bytes, sizeof(long));
        return bytes;
    }

    /// <summary>Whether it is the same: of two numbers that are equal the marks tell.</summary>
    public bool Is(StoreGeneration? other) =>
        other is not null && Number == other.Number && Mark.AsSpan().SequenceEqual(other.Mark);

    /// <summary>Its bytes in hexadecimal.</summary>
    public override string ToString() => Convert.ToHexStringLower(ToBytes());

    public static StoreGeneration Read(ReadOnlySpan<byte> value) =>
        new(BinaryPrimitives.ReadInt64BigEndian(value), value[sizeof(long)..].ToArray());
}
