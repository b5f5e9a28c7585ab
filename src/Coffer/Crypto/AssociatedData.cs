using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Coffer.Crypto;

/// <summary>
/// A canonical list of fields: each is its length as 4 big-endian bytes, then its bytes. No separators, so no two
/// different lists have the same encoding. The first field says what the list is for.
/// </summary>
internal ref struct AssociatedData
{
    private byte[] buffer;
    private int length;

    public AssociatedData(ReadOnlySpan<byte> purpose)
    {
        buffer = ArrayPool<byte>.Shared.Rent(512);
        Add(purpose);
    }

    public readonly ReadOnlySpan<byte> Span => buffer.AsSpan(0, length);

    public void Add(ReadOnlySpan<byte> field)
    {
        BinaryPrimitives.WriteInt32BigEndian(Room(sizeof(int)), field.Length);
        field.CopyTo(Room(field.Length));
    }

    public void Add(string field)
    {
        var size = Encoding.UTF8.GetByteCount(field);
        BinaryPrimitives.WriteInt32BigEndian(Room(sizeof(int)), size);
        Encoding.UTF8.GetBytes(field, Room(size));
    }

    /// <summary>A number is 8 big-endian bytes.</summary>
    public void Add(long field)
    {
        BinaryPrimitives.WriteInt32BigEndian(Room(sizeof(int)), sizeof(long));
        BinaryPrimitives.WriteInt64BigEndian(Room(sizeof(long)), field);
    }

    /// <summary>An absent number is a field of no bytes, which no number is.</summary>
    public void Add(long? field)
    {
        if (field is { } value)
            Add(value);
        else
            Add([]);
    }

    public readonly void Dispose() => ArrayPool<byte>.Shared.Return(buffer, clearArray: true);

    private Span<byte> Room(int size)
    {
        if (length + size > buffer.Length)
        {
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(2 * buffer.Length, length + size));
            Span.CopyTo(larger);
            ArrayPool<byte>.Shared.Return(buffer, clearArray: true);
            buffer = larger;
        }

        length += size;
        return buffer.AsSpan(length - size, size);
    }
}
