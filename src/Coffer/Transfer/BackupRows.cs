using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Coffer.Storage;

namespace Coffer.Transfer;

/// <summary>
/// Rows as they stand in the frames of a back-up: for each table a record with its name, columns and key, then a record
/// for each row, and at the end a closing text. Numbers are big-endian; text and bytes have their length before them.
/// </summary>
internal static class BackupRows
{
    private const byte TableRecord = 1, RowRecord = 2, ClosingRecord = 3;
    private const byte Null = 0, Number = 1, Text = 2, Bytes = 3;

    /// <summary>Coffer writes no value that is longer.</summary>
    private const int LongestValue = 64 << 20;

    private static readonly SearchValues<char> OfNames = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789_: ");

    /// <summary>Begins a table, in a frame of its own.</summary>
    /// <param name="to">Where it is written.</param>
    /// <param name="table">Its columns and key; its rows follow.</param>
    /// <param name="position">The greatest number that its rows have had; 0 if it numbers none.</param>
    public static void WriteTable(BackupWriter to, Table table, long position)
    {
        to.BeginFrame();
        to.Write([TableRecord]);
        WriteText(to, table.Name);
        WriteText(to, table.Form);
        WriteText(to, string.Join(' ', table.Key.Select(at => table.Columns[at].Name)));
        WriteNumber(to, position);
    }

    public static void WriteRow(BackupWriter to, object?[] row)
    {
        to.Write([RowRecord]);
        foreach (var value in row)
        {
            switch (value)
            {
                case long number:
                    to.Write([Number]);
                    WriteNumber(to, number);
                    break;
                case string text:
                    to.Write([Text]);
                    WriteText(to, text);
                    break;
                case byte[] bytes:
                    to.Write([Bytes]);
                    WriteBytes(to, bytes);
                    break;
                default:
                    to.Write([Null]);
                    break;
            }
        }
    }

    /// <summary>Ends a part.</summary>
    public static void WriteClosing(BackupWriter to, string text)
    {
        to.BeginFrame();
        to.Write([ClosingRecord]);
        WriteText(to, text);
        to.Finish();
    }

    /// <summary>One record of a part.</summary>
    /// <param name="Table">The table that begins here, or whose the row is; null at the end.</param>
    /// <param name="Position">Of a table that begins here: the greatest number that its rows have had.</param>
    /// <param name="Row">A row, or null.</param>
    /// <param name="Closing">The closing text, or null.</param>
    public readonly record struct Record(Table? Table, long Position, object?[]? Row, string? Closing)
    {
        /// <summary>The value of a row in a column, wherever the program that wrote it had that.</summary>
        public object? this[string column]
        {
            get
            {
                var (columns, name) = (Table!.Columns, column);
                return Row![Enumerable.Range(0, columns.Count).First(at => columns[at].Name == name)];
            }
        }
    }

    /// <summary>Reads record after record, from where the reader stands: the beginning of a table.</summary>
    /// <exception cref="BackupDamagedException">It is not as it was written.</exception>
    public static IEnumerable<Record> Read(BackupReader from)
    {
        Table? table = null;
        var kind = new byte[1];
        while (from.TryRead(kind))
        {
            switch (kind[0])
            {
                case TableRecord:
                    table = ReadTable(from);
                    yield return new Record(table, ReadNumber(from), null, null);
                    break;
                case RowRecord when table is not null:
                    yield return new Record(table, 0, ReadRow(from, table), null);
                    break;
                case ClosingRecord:
                    yield return new Record(null, 0, null, ReadText(from));
                    break;
                default:
                    throw from.Damaged("it has an unknown record");
            }
        }
    }

    private static Table ReadTable(BackupReader from)
    {
        var (name, columns, key) = (ReadText(from), ReadText(from), ReadText(from));
        // They become a part of statements, whoever wrote them.
        var names = $"{name} {columns} {key}";
        if (names.AsSpan().ContainsAnyExcept(OfNames)
            || Tables.All.All(known => known.Name != name) && name != BackupKeys.Table.Name)
            throw from.Damaged("it has a table that this program does not know");
        return new Table(name, columns, key);
    }

    private static object?[] ReadRow(BackupReader from, Table table)
    {
        var row = new object?[table.Columns.Count];
        var kind = new byte[1];
        for (var i = 0; i < row.Length; i++)
        {
            Fill(from, kind);
            row[i] = (kind[0], table.Columns[i].Type) switch
            {
                (Null, _) => null,
                (Number, SqlType.Number) => ReadNumber(from),
                (Text, SqlType.Text) => ReadText(from),
                (Bytes, SqlType.Bytes) => ReadBytes(from),
                _ => throw from.Damaged($"a row of {table.Name} has a value of another type"),
            };
        }

        return row;
    }

    private static void WriteNumber(BackupWriter to, long number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        to.Write(bytes);
    }

    private static void WriteText(BackupWriter to, string text) => WriteBytes(to, Encoding.UTF8.GetBytes(text));

    private static void WriteBytes(BackupWriter to, ReadOnlySpan<byte> bytes)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32BigEndian(length, bytes.Length);
        to.Write(length);
        to.Write(bytes);
    }

    private static long ReadNumber(BackupReader from)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        Fill(from, bytes);
        return BinaryPrimitives.ReadInt64BigEndian(bytes);
    }

    private static string ReadText(BackupReader from) => Encoding.UTF8.GetString(ReadBytes(from));

    private static byte[] ReadBytes(BackupReader from)
    {
        Span<byte> head = stackalloc byte[sizeof(int)];
        Fill(from, head);
        var length = BinaryPrimitives.ReadInt32BigEndian(head);
        if (length is < 0 or > LongestValue)
            throw from.Damaged("a value has no length that a value has");
        var bytes = new byte[length];
        Fill(from, bytes);
        return bytes;
    }

    private static void Fill(BackupReader from, Span<byte> to)
    {
        if (to.Length > 0 && !from.TryRead(to))
            throw from.Damaged("it ends within a row");
    }
}
