using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// A prepared statement, and the row that it stands at. Disposing of it makes it ready to run again.
/// </summary>
internal sealed class SqliteRow(sqlite3 database, sqlite3_stmt statement) : IRow, IDisposable
{
    /// <summary>Sets its parameters.</summary>
    public void Bind(ReadOnlySpan<SqlValue> values)
    {
        for (var i = 0; i < values.Length; i++)
            SqliteException.ThrowExceptionForRC(Bind(values[i], i + 1), database);
    }

    /// <summary>Goes to the next row; false when there is none.</summary>
    public bool Read()
    {
        var result = raw.sqlite3_step(statement);
        if (result == raw.SQLITE_ROW)
            return true;
        if (result != raw.SQLITE_DONE)
            SqliteException.ThrowExceptionForRC(result, database);
        return false;
    }

    public long Number(int column) => raw.sqlite3_column_int64(statement, column);

    public long? NumberOrNull(int column) => IsNull(column) ? null : Number(column);

    public string Text(int column) => raw.sqlite3_column_text(statement, column).utf8_to_string();

    public string? TextOrNull(int column) => IsNull(column) ? null : Text(column);

    public byte[]? BytesOrNull(int column) => IsNull(column) ? null : Bytes(column);

    public byte[] Bytes(int column) => raw.sqlite3_column_blob(statement, column).ToArray();

    public bool Has(string types)
    {
        for (var column = 0; column < types.Length; column++)
        {
            var type = raw.sqlite3_column_type(statement, column);
            var isRight = types[column] switch
            {
                'n' or 'N' => type == raw.SQLITE_INTEGER,
                't' or 'T' => type == raw.SQLITE_TEXT,
                _ => type == raw.SQLITE_BLOB,
            };
            if (!isRight && !(type == raw.SQLITE_NULL && char.IsAsciiLetterUpper(types[column])))
                return false;
        }

        return true;
    }

    public void Dispose() => raw.sqlite3_reset(statement);

    /// <summary>Ends the statement; it cannot run again.</summary>
    public void Close() => statement.Dispose();

    private int Bind(SqlValue value, int index) => (value.Type, value.Reference) switch
    {
        (_, null) => raw.sqlite3_bind_null(statement, index),
        (SqlType.Number, _) => raw.sqlite3_bind_int64(statement, index, value.Number),
        (_, string text) => raw.sqlite3_bind_text(statement, index, text),
        (_, byte[] bytes) => raw.sqlite3_bind_blob(statement, index, bytes),
        _ => throw new NotSupportedException("SQLite has no arrays"),
    };

    private bool IsNull(int column) => raw.sqlite3_column_type(statement, column) == raw.SQLITE_NULL;
}
