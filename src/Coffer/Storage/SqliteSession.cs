using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Coffer.Storage;

/// <summary>
/// One connection with the statements that were prepared on it. Used by one thread at a time. Statements go to SQLite
/// without ADO.NET's commands and readers in between, which would take longer than SQLite itself does.
/// </summary>
internal sealed class SqliteSession : IDisposable
{
    private readonly SqliteConnection connection;
    private readonly Dictionary<string, sqlite3_stmt> prepared = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<string, WriteProof.Promise> promises = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<string, string> counterexamples = new(ReferenceEqualityComparer.Instance);

    public SqliteSession(string file) => connection = Connect(file);

    /// <summary>A connection that is set as all of Coffer's are.</summary>
    public static SqliteConnection Connect(string file)
    {
        SqliteNative.Load();
        var opened = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = file,
            Pooling = false, // the engine keeps its own sessions, with their statements
        }.ToString());
        opened.Open();

        // FULL: a commit is on the disk before it is acknowledged. secure_delete: what is deleted is overwritten.
        using var set = opened.CreateCommand();
        set.CommandText = """
            PRAGMA busy_timeout = 5000;
            PRAGMA synchronous = FULL;
            PRAGMA foreign_keys = ON;
            PRAGMA secure_delete = ON;
            PRAGMA trusted_schema = OFF;
            PRAGMA cell_size_check = ON;
            """;
        set.ExecuteNonQuery();
        return opened;
    }

    /// <summary>Runs SQL that is not worth preparing.</summary>
    public void Execute(string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    public long Scalar(string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return (long)command.ExecuteScalar()!;
    }

    /// <summary>
    /// Runs a statement that gives no rows, with its parameters $1, $2, …, and proves that it did what it says.
    /// </summary>
    /// <exception cref="ApiError">
    /// 503: it changed other rows than it had to. Its transaction is to be rolled back.
    /// </exception>
    public void Run(string sql, params ReadOnlySpan<SqliteValue> values)
    {
        var promise = PromiseOf(sql);
        var changed = Change(sql, values);
        if (promise == WriteProof.Promise.OneRow && changed != 1)
            throw WriteProof.Broken(WriteProof.TableOf(sql));
        if (promise == WriteProof.Promise.NothingLeft)
            RequireNone(sql, values);
    }

    /// <summary>Runs a statement that writes, and proves that it changed so many rows.</summary>
    /// <inheritdoc cref="Run"/>
    public void Run(long rows, string sql, params ReadOnlySpan<SqliteValue> values)
    {
        if (Change(sql, values) != rows)
            throw WriteProof.Broken(WriteProof.TableOf(sql));
    }

    // How many rows it changed; triggers and what they changed count in the total only.
    private int Change(string sql, ReadOnlySpan<SqliteValue> values)
    {
        var before = raw.sqlite3_total_changes(connection.Handle);
        using (var row = Query(sql, values))
            row.Read();
        var total = unchecked(raw.sqlite3_total_changes(connection.Handle) - before);
        return total == 0 || total == raw.sqlite3_changes(connection.Handle) ? total
            : throw WriteProof.Broken(WriteProof.TableOf(sql));
    }

    private void RequireNone(string sql, ReadOnlySpan<SqliteValue> values)
    {
        if (!counterexamples.TryGetValue(sql, out var query))
            counterexamples.Add(sql, query = WriteProof.CounterexampleTo(sql)!);
        using var row = Query(query, values);
        if (row.Read())
            throw WriteProof.Broken(WriteProof.TableOf(sql));
    }

    private WriteProof.Promise PromiseOf(string sql)
    {
        if (!promises.TryGetValue(sql, out var promise))
            promises.Add(sql, promise = WriteProof.Of(sql));
        return promise;
    }

    /// <summary>Runs a query; the caller disposes of the row before it uses the same statement again.</summary>
    /// <param name="sql">A constant: statements are kept by the identity of their text.</param>
    /// <param name="values">The parameters $1, $2, …</param>
    public SqliteRow Query(string sql, params ReadOnlySpan<SqliteValue> values)
    {
        if (!prepared.TryGetValue(sql, out var statement))
        {
            SqliteException.ThrowExceptionForRC(raw.sqlite3_prepare_v3(connection.Handle, sql, raw.SQLITE_PREPARE_PERSISTENT, out statement), connection.Handle);
            prepared.Add(sql, statement);
        }

        for (var i = 0; i < values.Length; i++)
            SqliteException.ThrowExceptionForRC(values[i].Bind(statement, i + 1), connection.Handle);
        return new SqliteRow(connection.Handle!, statement);
    }

    /// <summary>Ends the statement that runs, if one does, with SQLITE_INTERRUPT. Any thread may call it.</summary>
    public void Interrupt() => raw.sqlite3_interrupt(connection.Handle);

    public void Dispose()
    {
        foreach (var statement in prepared.Values)
            statement.Dispose();
        connection.Dispose();
    }
}

/// <summary>A parameter: a number, a text, bytes, or null.</summary>
internal readonly struct SqliteValue
{
    private readonly object? reference;
    private readonly long? number;

    private SqliteValue(object? reference, long? number) => (this.reference, this.number) = (reference, number);

    public static implicit operator SqliteValue(long value) => new(null, value);

    public static implicit operator SqliteValue(long? value) => new(null, value);

    public static implicit operator SqliteValue(bool value) => new(null, value ? 1 : 0);

    public static implicit operator SqliteValue(bool? value) => new(null, value is { } given ? given ? 1 : 0 : null);

    public static implicit operator SqliteValue(string? value) => new(value, null);

    public static implicit operator SqliteValue(byte[]? value) => new(value, null);

    public int Bind(sqlite3_stmt statement, int index) => (reference, number) switch
    {
        (_, { } value) => raw.sqlite3_bind_int64(statement, index, value),
        (byte[] bytes, _) => raw.sqlite3_bind_blob(statement, index, bytes),
        (string text, _) => raw.sqlite3_bind_text(statement, index, text),
        _ => raw.sqlite3_bind_null(statement, index),
    };
}

/// <summary>The row that a query stands at. Disposing of it makes the statement ready to run again.</summary>
internal readonly ref struct SqliteRow(sqlite3 database, sqlite3_stmt statement) : IRow, IDisposable
{
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

    private bool IsNull(int column) => raw.sqlite3_column_type(statement, column) == raw.SQLITE_NULL;
}
