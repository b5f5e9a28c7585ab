using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace Coffer.Crypto;

/// <summary>
/// Tagged fields in sealed plaintexts: tag (1 byte), length (4, big-endian), value. An absent field is left out, so
/// that a form can gain fields without a new version.
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

    /// <summary>
    /// Whether the bytes are whole fields and nothing else, each with a tag that is known and, but for some, only once.
    /// What is stored is read only if it is: a field that is not known may take away what the others allow.
    /// </summary>
    /// <param name="fields">The plaintext.</param>
    /// <param name="once">Tags that may stand once.</param>
    /// <param name="often">Tags that may stand more often.</param>
    public static bool AreSound(ReadOnlySpan<byte> fields, ReadOnlySpan<byte> once, ReadOnlySpan<byte> often = default)
    {
        Span<bool> seen = stackalloc bool[byte.MaxValue + 1];
        seen.Clear();
        while (!fields.IsEmpty)
        {
            if (fields.Length < Header)
                return false;
            var (tag, length) = (fields[0], BinaryPrimitives.ReadInt32BigEndian(fields[1..]));
            if (length < 0 || length > fields.Length - Header)
                return false;
            if (!often.Contains(tag) && (seen[tag] || !once.Contains(tag)))
                return false;
            seen[tag] = true;
            fields = fields[(Header + length)..];
        }

        return true;
    }

    /// <summary>Fields one after the other.</summary>
    public static byte[] Of(IReadOnlyCollection<(byte Tag, byte[] Value)> fields)
    {
        var bytes = new byte[fields.Sum(static field => SizeOf(field.Value))];
        var rest = bytes.AsSpan();
        foreach (var (tag, value) in fields)
            rest = Write(rest, tag, value);
        return bytes;
    }

    /// <summary>The value of a field that is a number: 8 bytes, big-endian.</summary>
    public static byte[] Bytes(long number)
    {
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }

    /// <summary>The value of a field that is 0 or 1: one byte.</summary>
    public static byte[] Bytes(bool flag) => [flag ? (byte)1 : (byte)0];

    /// <summary>A field as a flag; null if it is not there or is no flag.</summary>
    public static bool? Flag(ReadOnlySpan<byte> fields, byte tag) =>
        Find(fields, tag) is { } at && fields[at] is [var flag and (0 or 1)] ? flag == 1 : null;

    /// <summary>Whether a field is a flag, or not there.</summary>
    public static bool IsFlagOrNone(ReadOnlySpan<byte> fields, byte tag) =>
        Find(fields, tag) is null || Flag(fields, tag) is not null;

    /// <summary>A field as a number; null if it is not there or has another length.</summary>
    public static long? Number(ReadOnlySpan<byte> fields, byte tag) =>
        Find(fields, tag) is { } at && fields[at].Length == sizeof(long)
            ? BinaryPrimitives.ReadInt64BigEndian(fields[at])
            : null;

    /// <summary>Whether a field is a number, or not there.</summary>
    public static bool IsNumberOrNone(ReadOnlySpan<byte> fields, byte tag) =>
        Find(fields, tag) is null || Number(fields, tag) is not null;

    /// <summary>Whether a field is UTF-8, or not there.</summary>
    public static bool IsTextOrNone(ReadOnlySpan<byte> fields, byte tag) =>
        Find(fields, tag) is not { } at || Utf8.IsValid(fields[at]);

    /// <summary>A field as text; null if it is not there or is not UTF-8.</summary>
    public static string? Text(ReadOnlySpan<byte> fields, byte tag) =>
        Find(fields, tag) is { } at && Utf8.IsValid(fields[at]) ? Encoding.UTF8.GetString(fields[at]) : null;

    /// <summary>
    /// Where the value of a field stands, or null if there is no such field or the bytes are not well formed.
    /// </summary>
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
