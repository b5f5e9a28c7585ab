using System.Buffers.Binary;

namespace Coffer.Crypto;

/// <summary>
/// Tagged fields in sealed plaintexts: tag (1 byte), length (4, big-endian), value. An absent field is left out, so that
/// a form can gain fields without a new version.
/// </summary>
internal static class Tlv
{
    private const int Header = 1 + sizeof(int);

    public static int SizeOf(ReadOnlySpan<byte> value) => Header + value.Length;

    /// <summary>Writes a field and gives what is left of <paramref name="destination"/>.</summary>
    public static Span<byte> Write(Span<byte> destination, byte tag, ReadOnlySpan<byte> value)
    {
        destination[0] = tag;
        BinaryPrimitives.WriteInt32BigEndian(destination[1..], value.Length);
        value.CopyTo(destination[Header..]);
        return destination[SizeOf(value)..];
    }

    /// <summary>Where the value of a field stands, or null if there is no such field or the bytes are not well formed.</summary>
    public static Range? Find(ReadOnlySpan<byte> fields, byte tag) => Find(fields, tag, 0);

    /// <summary>Where the values of all fields of a tag stand, in their order.</summary>
    public static IReadOnlyList<Range> All(ReadOnlySpan<byte> fields, byte tag)
    {
        var found = new List<Range>();
        while (Find(fields, tag, found.Count == 0 ? 0 : found[^1].End.Value) is { } next)
            found.Add(next);
        return found;
    }

    private static Range? Find(ReadOnlySpan<byte> fields, byte tag, int from)
    {
        for (var at = from; fields.Length - at >= Header;)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(fields[(at + 1)..]);
            var value = at + Header;
            if (length < 0 || length > fields.Length - value)
                return null;
            if (fields[at] == tag)
                return value..(value + length);
            at = value + length;
        }

        return null;
    }
}
