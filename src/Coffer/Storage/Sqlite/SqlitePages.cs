using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// Reads the pages of a table in a SQLite file, as they stand in the file (sqlite.org/fileformat2.html, "B-tree
/// Pages"), and finds those whose unused part is not empty. Nothing may write to the file meanwhile.
/// </summary>
internal sealed class SqlitePages(string file) : IDisposable
{
    private const byte InteriorTable = 5, LeafTable = 13;

    /// <summary>
    /// So little is no key: 32 bytes of a sealed one open nothing, and a row cannot always be made to cover them.
    /// </summary>
    private const int Negligible = 32;

    private readonly SafeFileHandle handle =
        File.OpenHandle(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    /// <summary>A page with something in its unused part.</summary>
    /// <param name="Row">A row of the page; null if it has none.</param>
    /// <param name="Room">By how many bytes that row may grow without leaving the page, or how many a value of a row
    /// may have there.</param>
    public sealed record Remains(long? Row, int Room);

    /// <exception cref="InvalidDataException">The file is damaged.</exception>
    public List<Remains> RemainsIn(long root)
    {
        Span<byte> header = stackalloc byte[100];
        RandomAccess.Read(handle, header, 0);
        var size = BinaryPrimitives.ReadUInt16BigEndian(header[16..]) is var written && written == 1 ? 65_536 : written;
        var (usable, left) = (size - header[20], RandomAccess.GetLength(handle) / size);
        var page = new byte[size];
        var (found, waiting) = (new List<Remains>(), new Stack<long>([root]));
        while (waiting.TryPop(out var number))
        {
            if (number < 2 || left-- == 0 || RandomAccess.Read(handle, page, (number - 1) * size) != size)
                throw new InvalidDataException($"page {number} of the store's file is not where it should be");
            try
            {
                if (page[0] == InteriorTable)
                    AddBelow(page, waiting);
                else if (page[0] == LeafTable && RemainsOn(page.AsSpan(0, usable)) is { } remains)
                    found.Add(remains);
                else if (page[0] != LeafTable)
                    throw new InvalidDataException($"page {number} of the store's file is not of its table");
            }
            catch (Exception e) when (e is IndexOutOfRangeException or ArgumentOutOfRangeException)
            {
                throw new InvalidDataException($"page {number} of the store's file is damaged", e);
            }
        }

        return found;
    }

    public void Dispose() => handle.Dispose();

    private static void AddBelow(ReadOnlySpan<byte> page, Stack<long> waiting)
    {
        for (var cell = 0; cell < Short(page, 3); cell++)
            waiting.Push(BinaryPrimitives.ReadUInt32BigEndian(page[Short(page, 12 + 2 * cell)..]));
        waiting.Push(BinaryPrimitives.ReadUInt32BigEndian(page[8..]));
    }

    private static Remains? RemainsOn(ReadOnlySpan<byte> page)
    {
        var cells = Short(page, 3);
        var begin = 8 + 2 * cells;
        var end = Short(page, 5) is var written && written == 0 ? 65_536 : written;
        if (end - begin <= Negligible || !page[(begin + Negligible)..end].ContainsAnyExcept((byte)0))
            return null;

        // A payload that is longer than this is not on its page alone. Of an empty table's row, 8 bytes are not its
        // value.
        var most = page.Length - 35;
        if (cells == 0)
            return new Remains(null, most - 8);
        var free = end - begin + page[7];
        for (int at = Short(page, 1), last = 0; at > last; (last, at) = (at, Short(page, at)))
            free += Short(page, at + 2);
        var rest = page[Short(page, 8)..];
        var payload = (int)Varint(ref rest);
        return new Remains(Varint(ref rest), Math.Max(0, Math.Min(free - 6, most - payload)));
    }

    private static int Short(ReadOnlySpan<byte> page, int at) => BinaryPrimitives.ReadUInt16BigEndian(page[at..]);

    private static long Varint(ref ReadOnlySpan<byte> rest)
    {
        var value = 0L;
        for (var i = 0; i < 8; i++)
        {
            value = (value << 7) | (uint)(rest[i] & 0x7F);
            if (rest[i] < 0x80)
            {
                rest = rest[(i + 1)..];
                return value;
            }
        }

        value = (value << 8) | rest[8];
        rest = rest[9..];
        return value;
    }
}
