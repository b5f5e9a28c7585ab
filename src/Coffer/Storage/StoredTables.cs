using System.Data;
using System.Data.Common;

namespace Coffer.Storage;

/// <summary>
/// The tables of a store row by row, whichever engine keeps them: what a copy of a store reads and writes. One
/// connection, used by one thread. Failures of the medium surface as <see cref="ApiError.StorageUnavailable"/>.
/// </summary>
/// <param name="connection">An open one.</param>
internal abstract class StoredTables(DbConnection connection) : IDisposable
{
    /// <summary>The most rows of a batch, and about the most bytes.</summary>
    protected const int MostRows = 500;
    private const long MostBytes = 4 << 20;

    private readonly Dictionary<string, DbCommand> prepared = [];
    private bool isInTransaction;

    /// <summary>Whether it is a copy of a store that cannot be written where it is.</summary>
    public virtual bool IsCopy => false;

    /// <summary>Whether the store is as it was when it was copied, if it was.</summary>
    public virtual bool IsCurrent => true;

    /// <summary>How many rows a statement writes.</summary>
    protected abstract int RowsAStatement { get; }

    /// <summary>
    /// Holds a database against nodes: none is on it, and one that starts waits until this is disposed of. A file is
    /// held by its data directory.
    /// </summary>
    /// <returns>False if nodes are on it.</returns>
    public virtual bool TryHold() => true;

    /// <summary>From here on all is read as it is at this moment, until <see cref="Leave"/>.</summary>
    /// <param name="still">Whether nobody may write meanwhile, where the engine can see to that.</param>
    public void Freeze(bool still)
    {
        isInTransaction = true;
        Guarded(() =>
        {
            Begin(still);
            return Number("SELECT count(*) FROM root_keys"); // SQLite takes its snapshot at the first read
        });
    }

    /// <summary>Ends it; what was written meanwhile is durable.</summary>
    public void Leave()
    {
        Guarded(() => Execute("COMMIT"));
        isInTransaction = false;
    }

    public long Count(Table table) => Guarded(() => Number($"SELECT count(*) FROM {table.Name}"));

    /// <summary>What <c>meta</c> holds under a key, or null.</summary>
    public byte[]? Meta(string key) => Guarded(() => (byte[]?)Command(MetaRow.ByKey.Text.Sqlite, key).ExecuteScalar());

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
        foreach (var (below, row) in table.Below.SelectMany(below => gone.Select(row => (below, row))))
            Command(below, Values(table, table.Key, row)).ExecuteNonQuery();
        Each(gone, rows => Delete(table, table.Key, rows));
        if (table.Other.Count > 0 && IsUnique(table))
            Each(put, rows => Delete(table, table.Other, rows));
        Each(put, rows => Put(table, rows));
        return put.Count;
    }, writes: true);

    /// <summary>The greatest number that a table's rows have had, as far as the engine remembers.</summary>
    public long Position(Table table) => Guarded(() =>
        Math.Max(Number($"SELECT coalesce(max({table.Numbered}), 0) FROM {table.Name}"), Remembered(table)));

    /// <summary>Has rows that are added from now on be numbered after a position.</summary>
    public void Continue(Table table, long position) => Guarded(() =>
    {
        Remember(table, position);
        return position;
    });

    public virtual void Dispose()
    {
        foreach (var command in prepared.Values)
            command.Dispose();
        connection.Dispose();
    }

    /// <summary>Begins a transaction that reads one state of the store.</summary>
    protected abstract void Begin(bool still);

    /// <summary>
    /// Whether the engine has <see cref="Table.Other"/> in an index that no two rows share. Without one, to look for
    /// each row by it reads the whole table, and what is there of another key is removed by that.
    /// </summary>
    protected virtual bool IsUnique(Table table) => true;

    /// <summary>Begins a transaction of one step.</summary>
    protected virtual void BeginOne() => Execute("BEGIN");

    /// <summary>Whether a step that only reads needs a transaction too, for what that sets.</summary>
    protected virtual bool SetsEach => false;

    /// <summary>The greatest number that the engine remembers for a table beside its rows; 0 if it does not.</summary>
    protected abstract long Remembered(Table table);

    protected abstract void Remember(Table table, long position);

    /// <summary>Whether a failure is the medium's.</summary>
    protected abstract bool IsOfMedium(Exception e);

    /// <summary>Whether a text is one: its bytes are UTF-8.</summary>
    protected abstract bool IsText(DbDataReader reader, int column, string text);

    /// <summary>The name of a parameter, or null where they go by their places.</summary>
    protected abstract string? NameOf(int parameter);

    private List<object?[]> Read(Table table, object?[]? after) => Guarded(() =>
    {
        var key = table.Names(table.Key);
        var from = after is null ? "" : $" WHERE ({key}) > ({Table.Parameters(table.Key.Count)})";
        var sql = $"SELECT {table.Names()} FROM {table.Name}{from} ORDER BY {key} LIMIT {MostRows}";
        SqlValue[] values = after is null
            ? []
            : [.. table.Key.Select((at, i) => ValueOf(table.Columns[at].Type, after[i]))];
        using var reader = Command(sql, values).ExecuteReader();
        var rows = new List<object?[]>();
        long bytes = 0;
        while (bytes < MostBytes && reader.Read())
        {
            var row = new object?[table.Columns.Count];
            for (var i = 0; i < row.Length; i++)
                row[i] = Read(reader, i, table.Columns[i].Type);
            if (Array.FindIndex(row, value => value is Unsound) is var at and >= 0)
                throw Damaged(table, row, table.Columns[at].Name);
            rows.Add(row);
            bytes += Table.SizeOf(row);
        }

        return rows;
    });

    // SQLite holds no column to its type and no text to UTF-8: a word would be read, and copied, as the number 0.
    private object? Read(DbDataReader reader, int at, SqlType type) => (type, reader.GetValue(at)) switch
    {
        (_, DBNull) => null,
        (SqlType.Number, long number) => number,
        (SqlType.Number, int number) => (long)number,
        (SqlType.Text, string text) when !IsText(reader, at, text) => new Unsound(text),
        // PostgreSQL has no NUL in text. No id holds one; in an app's name it is shown as what it is, no character.
        (SqlType.Text, string text) => text.Replace('\0', '\uFFFD'),
        (SqlType.Bytes, byte[] bytes) => bytes,
        (_, var wrong) => new Unsound(wrong),
    };

    private static ConfigurationException Damaged(Table table, object?[] row, string column)
    {
        var id = table.Shown(row)[(table.Name.Length + 1)..];
        return new($"{new DamagedRow(table.Name, id, column)} is damaged: its column {column} holds what it may not",
            "Restore the source from a back-up, or delete there what is damaged. Nothing was changed in the source.");
    }

    private sealed record Unsound(object Value)
    {
        public override string ToString() => Value.ToString() ?? "";
    }

    private void Each(IReadOnlyList<object?[]> rows, Action<object?[][]> write)
    {
        foreach (var some in rows.Chunk(RowsAStatement))
            write(some);
    }

    private void Delete(Table table, IReadOnlyList<int> by, object?[][] rows) => Command(
        $"DELETE FROM {table.Name} WHERE ({table.Names(by)}) IN (VALUES {Holders(rows.Length, by.Count)})",
        [.. rows.SelectMany(row => Values(table, by, row))]).ExecuteNonQuery();

    private void Put(Table table, object?[][] rows)
    {
        int[] all = [.. Enumerable.Range(0, table.Columns.Count)];
        Command(
            $"INSERT INTO {table.Name} ({table.Names()}) VALUES {Holders(rows.Length, all.Length)} {table.OnConflict}",
            [.. rows.SelectMany(row => Values(table, all, row))]).ExecuteNonQuery();
    }

    private static string Holders(int rows, int columns) => string.Join(", ", Enumerable.Range(0, rows)
        .Select(row => $"({Table.Parameters(columns, first: (row * columns) + 1)})"));

    private static SqlValue[] Values(Table table, IReadOnlyList<int> columns, object?[] row) =>
        [.. columns.Select(at => ValueOf(table.Columns[at].Type, row[at]))];

    private static SqlValue ValueOf(SqlType type, object? value) => type switch
    {
        SqlType.Number => (long?)value,
        SqlType.Text => (string?)value,
        _ => (byte[]?)value,
    };

    protected long Number(string sql, params SqlValue[] values) => (long)Command(sql, values).ExecuteScalar()!;

    protected int Execute(string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteNonQuery();
    }

    protected DbCommand Command(string sql, params SqlValue[] values)
    {
        if (!prepared.TryGetValue(sql, out var command))
        {
            if (prepared.Count > 100) // the last batch of each table is as long as it is
            {
                foreach (var known in prepared.Values)
                    known.Dispose();
                prepared.Clear();
            }

            prepared.Add(sql, command = Prepare(sql, values));
        }

        for (var i = 0; i < values.Length; i++)
            command.Parameters[i].Value = values[i] is { IsNull: false } value ? Boxed(value) : DBNull.Value;
        return command;
    }

    private DbCommand Prepare(string sql, SqlValue[] values)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        command.CommandTimeout = 120;
        for (var i = 0; i < values.Length; i++)
        {
            var parameter = command.CreateParameter();
            if (NameOf(i + 1) is { } name)
                parameter.ParameterName = name;
            parameter.DbType = values[i].Type switch
            {
                SqlType.Number => DbType.Int64,
                SqlType.Text => DbType.String,
                _ => DbType.Binary,
            };
            command.Parameters.Add(parameter);
        }

        return command;
    }

    private static object Boxed(SqlValue value) => value.Type == SqlType.Number ? value.Number : value.Reference!;

    protected T Guarded<T>(Func<T> work, bool writes = false)
    {
        try
        {
            return isInTransaction || !(writes || SetsEach) ? work() : Alone(work);
        }
        catch (Exception e) when (IsOfMedium(e))
        {
            throw ApiError.StorageUnavailable(e);
        }
    }

    private T Alone<T>(Func<T> work)
    {
        BeginOne();
        isInTransaction = true;
        try
        {
            var done = work();
            Execute("COMMIT");
            return done;
        }
        catch
        {
            Execute("ROLLBACK");
            throw;
        }
        finally
        {
            isInTransaction = false;
        }
    }
}
