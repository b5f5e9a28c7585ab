using System.Collections.Concurrent;
using System.Threading.Channels;
using SQLitePCL;

namespace Coffer.Baseline;

/// <summary>
/// The least that an API of this shape can do that keeps in SQLite what it is given: rows are looked up and written as
/// they came, many to a commit, which is synced before it is acknowledged. Nothing is encrypted, proven or chained.
/// </summary>
internal sealed class Ceiling
{
    private readonly string file;
    private readonly ConcurrentBag<Session> readers = [];

    private readonly Channel<Write> writes =
        Channel.CreateUnbounded<Write>(new UnboundedChannelOptions { SingleReader = true });

    public Ceiling(string file)
    {
        this.file = file;
        raw.SetProvider(new SQLite3Provider_e_sqlite3());
        var writer = new Session(file);
        foreach (var sql in (string[])[
            "PRAGMA journal_mode = WAL",
            "CREATE TABLE secrets (place TEXT PRIMARY KEY, payload TEXT NOT NULL) WITHOUT ROWID",
            "CREATE TABLE outcomes (key TEXT PRIMARY KEY, place TEXT NOT NULL) WITHOUT ROWID",
            "CREATE TABLE reads (id INTEGER PRIMARY KEY, entries TEXT NOT NULL)"])
        {
            writer.Run(sql);
        }

        _ = Task.Run(() => CommitAsync(writer));
    }

    /// <summary>Whether there is a row at a place.</summary>
    public bool Find(string place)
    {
        if (!readers.TryTake(out var session))
            session = new Session(file);
        var found = session.Run("SELECT payload FROM secrets WHERE place = ?", place);
        readers.Add(session);
        return found;
    }

    /// <summary>Writes a row, and under a key what came of it; returns once both are on the disk.</summary>
    public Task SetAsync(string place, string payload, string key) => AddAsync(new Write(place, payload, key));

    /// <summary>Writes that a row was read; returns once that is on the disk.</summary>
    public Task NoteAsync(string place) => AddAsync(new Write(place, null, null));

    private Task AddAsync(Write write)
    {
        writes.Writer.TryWrite(write);
        return write.Committed.Task;
    }

    private async Task CommitAsync(Session writer)
    {
        var batch = new List<Write>();
        while (await writes.Reader.WaitToReadAsync())
        {
            while (batch.Count < 256 && writes.Reader.TryRead(out var write))
                batch.Add(write);
            try
            {
                Commit(writer, batch);
                batch.ForEach(static write => write.Committed.SetResult());
            }
            catch (InvalidOperationException e)
            {
                batch.ForEach(write => write.Committed.SetException(e));
            }

            batch.Clear();
        }
    }

    // All entries of a commit are in one row, as they are in Coffer's log.
    private static void Commit(Session writer, List<Write> batch)
    {
        writer.Run("BEGIN IMMEDIATE");
        foreach (var write in batch)
        {
            if (write.Payload is null)
                continue;
            writer.Run("INSERT INTO secrets VALUES (?, ?) ON CONFLICT DO UPDATE SET payload = excluded.payload",
                write.Place, write.Payload);
            writer.Run("INSERT INTO outcomes VALUES (?, ?)", write.Key!, write.Place);
        }

        writer.Run("INSERT INTO reads (entries) VALUES (?)", string.Join(' ', batch.Select(static each => each.Place)));
        writer.Run("COMMIT");
    }

    private sealed record Write(string Place, string? Payload, string? Key)
    {
        public TaskCompletionSource Committed { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    // One connection, with the statements that were prepared on it; one thread uses it at a time.
    private sealed class Session
    {
        private readonly sqlite3 connection;
        private readonly Dictionary<string, sqlite3_stmt> prepared = new(ReferenceEqualityComparer.Instance);

        public Session(string file)
        {
            Check(raw.sqlite3_open(file, out connection));
            Run("PRAGMA busy_timeout = 5000");
            Run("PRAGMA synchronous = FULL");
        }

        /// <summary>Runs a statement up to its first row, and says whether there is one.</summary>
        public bool Run(string sql, params ReadOnlySpan<string> values)
        {
            if (!prepared.TryGetValue(sql, out var statement))
            {
                Check(raw.sqlite3_prepare_v3(connection, sql, raw.SQLITE_PREPARE_PERSISTENT, out statement));
                prepared.Add(sql, statement);
            }

            for (var i = 0; i < values.Length; i++)
                Check(raw.sqlite3_bind_text(statement, i + 1, values[i]));
            var step = raw.sqlite3_step(statement);
            Check(raw.sqlite3_reset(statement));
            return step == raw.SQLITE_ROW;
        }

        private void Check(int code)
        {
            if (code != raw.SQLITE_OK)
                throw new InvalidOperationException($"SQLite: {raw.sqlite3_errmsg(connection).utf8_to_string()}");
        }
    }
}
