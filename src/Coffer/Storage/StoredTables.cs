using System.Data;
using System.Data.Common;
using System.Text.Unicode;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Coffer.Storage;

/// <summary>
/// The tables of a store row by row, whichever engine keeps them: what a migration reads and writes. One connection, used by
/// one thread. Failures of the medium surface as <see cref="ApiError.StorageUnavailable"/>.
/// </summary>
internal sealed class StoredTables : IDisposable
{
    private const int MostRows = 500;
    private const long MostBytes = 4 << 20;
    private const int StartLock = 2;

    private readonly DbConnection connection;
    private readonly NpgsqlDataSource? database;
    private readonly Dictionary<string, DbCommand> prepared = [];

    private StoredTables(DbConnection connection, NpgsqlDataSource? database) => (this.connection, this.database) = (connection, database);

    private bool IsPostgres => database is not null;

    // A statement costs PostgreSQL a round trip, and SQLite a step; SQLite looks for each parameter among all.
    private int RowsAStatement => IsPostgres ? MostRows : 1;

    /// <summary>Opens the store in a file, and brings its schema up to date; beside a running server, if there is one.</summary>
    /// <exception cref="ConfigurationException">The file is not a Coffer store, or was written by a newer Coffer.</exception>
    public static StoredTables OpenSqlite(string file)
    {
        SqliteEngine.Open(file).Dispose();
        return Guarded(() => new StoredTables(SqliteSession.Connect(file), null));
    }

    /// <summary>Opens the store in a database; beside running nodes, if there are any.</summary>
    /// <param name="store">An Npgsql connection string.</param>
    /// <param name="isNew">Whether it may be empty: then it is given its schema.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">It cannot be reached, holds no store, is not Coffer's, or was written by a newer Coffer.</exception>
    public static async Task<StoredTables> OpenPostgresAsync(string store, bool isNew, CancellationToken ct)
    {
        (await (isNew ? PostgresEngine.OpenAsync(store, ct) : PostgresEngine.OpenSnapshotAsync(store, ct))).Dispose();
        var lasting = PostgresAddress.Parse(store)!.Lasting();
        return Guarded(() => new StoredTables(lasting.OpenConnection(), lasting));
    }

    /// <summary>Holds a database against nodes: none is on it, and one that starts waits until this is disposed of. A file is held by its data directory.</summary>
    /// <returns>False if nodes are on it.</returns>
    public bool TryHold() => !IsPostgres || Guarded(() =>
    {
        if (Number("SELECT CASE WHEN pg_try_advisory_lock($1::int, $2::int) THEN 1 ELSE 0 END::bigint", PostgresTransaction.LockClass, StartLock) == 0)
            return false;
        const string Nodes = """
            SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """;
        if (Number(Nodes, PostgresNode.LockClass) == 0)
            return true;
        Number("SELECT CASE WHEN pg_advisory_unlock($1::int, $2::int) THEN 1 ELSE 0 END::bigint", PostgresTransaction.LockClass, StartLock);
        return false;
    });

    /// <summary>From here on all is read as it is at this moment, until <see cref="Leave"/>.</summary>
    /// <param name="still">Whether nobody may write meanwhile, where the engine can see to that.</param>
    public void Freeze(bool still) => Guarded(() =>
    {
        Execute(IsPostgres ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
        if (IsPostgres && still)
            Execute($"SET LOCAL lock_timeout = '10s'; LOCK TABLE {string.Join(", ", Tables.All.Select(table => table.Name))} IN SHARE MODE");
        return Number("SELECT count(*) FROM root_keys"); // SQLite takes its snapshot at the first read
    });

    public void Leave() => Guarded(() => Execute("COMMIT"));

    public long Count(Table table) => Guarded(() => Number($"SELECT count(*) FROM {table.Name}"));

    /// <summary>What <c>meta</c> holds under a key, or null.</summary>
    public byte[]? Meta(string key) => Guarded(() => (byte[]?)Command(Sql.MetaByKey, [('t', key)]).ExecuteScalar());

    /// <summary>All rows in the order of their keys, read in batches of a bounded size.</summary>
    public IEnumerable<object?[]> Read(Table table)
    {
        object?[]? after = null;
        while (Read(table, after) is { Count: > 0 } rows)
        {
            foreach (var row in rows)
                yield return row;
            after = table.KeyOf(rows[^1]);
        }
    }

    /// <summary>Removes rows and puts others in one transaction, whatever was there under their keys.</summary>
    public void Write(Table table, IReadOnlyList<object?[]> gone, IReadOnlyList<object?[]> put) => Guarded(() =>
    {
        Execute("BEGIN");
        try
        {
            foreach (var (below, row) in table.Below.SelectMany(below => gone.Select(row => (below, row))))
                Command(below, Values(table, table.Key, row)).ExecuteNonQuery();
            Each(gone, rows => Delete(table, table.Key, rows));
            if (table.Other.Count > 0)
                Each(put, rows => Delete(table, table.Other, rows));
            Each(put, rows => Put(table, rows));
            return Execute("COMMIT");
        }
        catch
        {
            Execute("ROLLBACK");
            throw;
        }
    });

    /// <summary>The greatest number that a table's rows have had, as far as the engine remembers.</summary>
    public long Position(Table table) => Guarded(() =>
    {
        var greatest = Number($"SELECT coalesce(max({table.Numbered}), 0) FROM {table.Name}");
        var remembered = IsPostgres ? Number($"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table.Name}_{table.Numbered}_seq")
            : Number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = $1", table.Name);
        return Math.Max(greatest, remembered);
    });

    /// <summary>Has rows that are added from now on be numbered after a position.</summary>
    public void Continue(Table table, long position) => Guarded(() =>
    {
        if (IsPostgres)
            return Number($"SELECT setval('{table.Name}_{table.Numbered}_seq', greatest($1, 1), $1 > 0)", position);
        // Of SQLite's tables, one remembers more than its greatest number.
        if (table == Tables.Tenants)
        {
            Command("DELETE FROM sqlite_sequence WHERE name = $1", [('t', table.Name)]).ExecuteNonQuery();
            Command("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)", [('t', table.Name), ('n', position)]).ExecuteNonQuery();
        }

        return position;
    });

    public void Dispose()
    {
        foreach (var command in prepared.Values)
            command.Dispose();
        connection.Dispose();
        database?.Dispose();
    }

    private List<object?[]> Read(Table table, object?[]? after) => Guarded(() =>
    {
        var key = string.Join(", ", table.Key.Select(at => table.Columns[at].Name));
        var sql = $"SELECT {string.Join(", ", table.Columns.Select(column => column.Name))} FROM {table.Name}"
            + (after is null ? "" : $" WHERE ({key}) > ({string.Join(", ", table.Key.Select((_, i) => $"${i + 1}"))})")
            + $" ORDER BY {key} LIMIT {MostRows}";
        using var reader = Command(sql, after is null ? [] : [.. table.Key.Select((at, i) => (table.Columns[at].Type, after[i]))]).ExecuteReader();
        var rows = new List<object?[]>();
        long bytes = 0;
        while (bytes < MostBytes && reader.Read())
        {
            var row = new object?[table.Columns.Count];
            for (var i = 0; i < row.Length; i++)
            {
                row[i] = ValueOf(reader, i, table.Columns[i].Type);
            }

            for (var i = 0; i < row.Length; i++)
            {
                if (row[i] is Unsound)
                    throw Damaged(table, row, table.Columns[i].Name);
            }

            rows.Add(row);
            bytes += Table.SizeOf(row);
        }

        return rows;
    });

    // SQLite holds no column to its type and no text to UTF-8: a word would be read, and copied, as the number 0.
    private static object? ValueOf(DbDataReader reader, int at, char type) => (type, reader.GetValue(at)) switch
    {
        (_, DBNull) => null,
        ('n', long number) => number,
        ('n', int number) => (long)number,
        ('t', string text) when text.Contains('\uFFFD', StringComparison.Ordinal) && reader is SqliteDataReader
            && !Utf8.IsValid(reader.GetFieldValue<byte[]>(at)) => new Unsound(text),
        // PostgreSQL has no NUL in text. No id holds one; in an app's name it is shown as what it is, no character.
        ('t', string text) => text.Replace('\0', '\uFFFD'),
        ('b', byte[] bytes) => bytes,
        (_, var wrong) => new Unsound(wrong),
    };

    private static ConfigurationException Damaged(Table table, object?[] row, string column) => new(
        $"{new DamagedRow(table.Name, table.Shown(row)[(table.Name.Length + 1)..], column)} is damaged: " +
        $"its column {column} holds what it may not",
        "Restore the source from a back-up, or delete there what is damaged. Nothing was changed in the source.");

    private sealed record Unsound(object Value)
    {
        public override string ToString() => Value.ToString() ?? "";
    }

    private void Each(IReadOnlyList<object?[]> rows, Action<object?[][]> write)
    {
        foreach (var some in rows.Chunk(RowsAStatement))
            write(some);
    }

    private void Delete(Table table, IReadOnlyList<int> by, object?[][] rows) =>
        Command($"DELETE FROM {table.Name} WHERE ({Names(table, by)}) IN (VALUES {Holders(rows.Length, by.Count)})",
            [.. rows.SelectMany(row => Values(table, by, row))]).ExecuteNonQuery();

    private void Put(Table table, object?[][] rows)
    {
        int[] all = [.. Enumerable.Range(0, table.Columns.Count)];
        Command($"""
            INSERT INTO {table.Name} ({Names(table, all)}) VALUES {Holders(rows.Length, all.Length)}
            ON CONFLICT ({Names(table, table.Key)}) DO UPDATE SET {string.Join(", ", all.Except(table.Key).Select(at => $"{table.Columns[at].Name} = excluded.{table.Columns[at].Name}"))}
            """, [.. rows.SelectMany(row => Values(table, all, row))]).ExecuteNonQuery();
    }

    private static string Names(Table table, IReadOnlyList<int> columns) => string.Join(", ", columns.Select(at => table.Columns[at].Name));

    private static string Holders(int rows, int columns) =>
        string.Join(", ", Enumerable.Range(0, rows).Select(row => $"({string.Join(", ", Enumerable.Range(1, columns).Select(column => $"${row * columns + column}"))})"));

    private static (char Type, object? Value)[] Values(Table table, IReadOnlyList<int> columns, object?[] row) => [.. columns.Select(at => (table.Columns[at].Type, row[at]))];

    private long Number(string sql, params object[] values) => (long)Command(sql, [.. values.Select(value => value is string text ? ('t', (object?)text) : ('n', Convert.ToInt64(value, null)))]).ExecuteScalar()!;

    private int Execute(string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteNonQuery();
    }

    private DbCommand Command(string sql, (char Type, object? Value)[] values)
    {
        if (!prepared.TryGetValue(sql, out var command))
        {
            if (prepared.Count > 100) // the last batch of each table is as long as it is
            {
                foreach (var known in prepared.Values)
                    known.Dispose();
                prepared.Clear();
            }

            command = connection.CreateCommand();
            command.CommandText = sql;
            command.CommandTimeout = 120;
            for (var i = 0; i < values.Length; i++)
            {
                var parameter = command.CreateParameter();
                if (!IsPostgres)
                    parameter.ParameterName = $"${i + 1}";
                parameter.DbType = values[i].Type switch { 'n' => DbType.Int64, 't' => DbType.String, _ => DbType.Binary };
                command.Parameters.Add(parameter);
            }

            prepared.Add(sql, command);
        }

        for (var i = 0; i < values.Length; i++)
            command.Parameters[i].Value = values[i].Value ?? DBNull.Value;
        return command;
    }

    private static T Guarded<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception e) when (e is SqliteException or NpgsqlException)
        {
            throw ApiError.StorageUnavailable(e);
        }
    }
}
