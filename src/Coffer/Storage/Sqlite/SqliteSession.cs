using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// One connection with the statements that were prepared on it. Used by one thread at a time. Statements go to SQLite
/// without ADO.NET's commands and readers in between, which would take longer than SQLite itself does.
/// </summary>
internal sealed class SqliteSession : IDisposable
{
    private readonly SqliteConnection connection;
    private readonly Dictionary<string, SqliteRow> prepared = new(ReferenceEqualityComparer.Instance);
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

        // FULL: a commit is on the disk before it is acknowledged. secure_delete: what is deleted is overwritten. A log
        // that was long does not stay so.
        using var set = opened.CreateCommand();
        set.CommandText = """
            PRAGMA busy_timeout = 5000;
            PRAGMA synchronous = FULL;
            PRAGMA foreign_keys = ON;
            PRAGMA secure_delete = ON;
            PRAGMA journal_size_limit = 16777216;
            PRAGMA trusted_schema = OFF;
            PRAGMA cell_size_check = ON;
            """;
        set.ExecuteNonQuery();
        return opened;
    }

    /// <summary>Begins a transaction that reads one state from here on, whatever is committed meanwhile.</summary>
    public void BeginReading()
    {
        Run("BEGIN");
        // SQLite decides which state at the first read.
        using var row = Query("SELECT 1 FROM sqlite_master LIMIT 1");
        row.Read();
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
    public void Run(string sql, params ReadOnlySpan<SqlValue> values)
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
    public void Run(long rows, string sql, params ReadOnlySpan<SqlValue> values)
    {
        if (Change(sql, values) != rows)
            throw WriteProof.Broken(WriteProof.TableOf(sql));
    }

    /// <summary>Runs a statement that writes one row or none, and tells whether it did.</summary>
    /// <inheritdoc cref="Run"/>
    public bool RunsOne(string sql, params ReadOnlySpan<SqlValue> values) => Change(sql, values) switch
    {
        0 => false,
        1 => true,
        _ => throw WriteProof.Broken(WriteProof.TableOf(sql)),
    };

    // How many rows it changed; triggers and what they changed count in the total only.
    private int Change(string sql, ReadOnlySpan<SqlValue> values)
    {
        var before = raw.sqlite3_total_changes(connection.Handle);
        using (var row = Query(sql, values))
            row.Read();
        var total = unchecked(raw.sqlite3_total_changes(connection.Handle) - before);
        return total == 0 || total == raw.sqlite3_changes(connection.Handle) ? total
            : throw WriteProof.Broken(WriteProof.TableOf(sql));
    }

    private void RequireNone(string sql, ReadOnlySpan<SqlValue> values)
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
    public SqliteRow Query(string sql, params ReadOnlySpan<SqlValue> values)
    {
        if (!prepared.TryGetValue(sql, out var row))
        {
            SqliteException.ThrowExceptionForRC(
                raw.sqlite3_prepare_v3(connection.Handle, sql, raw.SQLITE_PREPARE_PERSISTENT, out var statement),
                connection.Handle);
            prepared.Add(sql, row = new SqliteRow(connection.Handle!, statement));
        }

        row.Bind(values);
        return row;
    }

    /// <summary>Ends the statement that runs, if one does, with SQLITE_INTERRUPT. Any thread may call it.</summary>
    public void Interrupt() => raw.sqlite3_interrupt(connection.Handle);

    public void Dispose()
    {
        foreach (var row in prepared.Values)
            row.Close();
        connection.Dispose();
    }
}
