using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// The embedded engine: one SQLite file in WAL mode, one writing session, a stack of reading ones. Its calls take
/// microseconds, so they run on the caller's thread.
/// </summary>
internal sealed partial class SqliteEngine : Engine
{
    private readonly string file;
    private readonly SqliteSession writer;
    private readonly ConcurrentBag<SqliteSession> readers = [];
    private readonly SqliteGuard? guard;
    private readonly SqliteReadMark? mark;
    private long looked;
    private volatile string? trouble, givenUp;

    private SqliteCopy? copied;

    private SqliteEngine(string file, SqliteSession writer, SqliteGuard? guard)
    {
        (this.file, this.writer, this.guard) = (file, writer, guard);
        mark = guard is null ? null : new SqliteReadMark(file);
    }

    /// <summary>Opens the file, or makes it, and brings its schema up to date.</summary>
    /// <param name="file">The file.</param>
    /// <param name="upTo">The schema to stop at; null is the newest.</param>
    /// <param name="reserve">Where room is kept for a full disk; null keeps none.</param>
    /// <exception cref="ConfigurationException">
    /// The file is no Coffer store, a newer Coffer's, or its schema was changed.
    /// </exception>
    public static SqliteEngine Open(string file, int? upTo = null, string? reserve = null)
    {
        SqliteSession? session = null;
        try
        {
            session = new SqliteSession(file);
            SqliteSchema.Migrate(session, file, upTo);
            return new SqliteEngine(file, session, new SqliteGuard(file, session))
            {
                reserve = reserve is null ? null : new SqliteReserve(reserve),
            };
        }
        catch (SqliteException e)
        {
            session?.Dispose();
            throw new ConfigurationException(
                $"the store {file} cannot be opened: SQLite error {e.SqliteErrorCode} ({e.SqliteExtendedErrorCode})",
                HintOn(e)!);
        }
        catch
        {
            session?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The same for a mere reader: a store that cannot be written where it is, is copied first, and stays as it is.
    /// </summary>
    /// <inheritdoc cref="Open"/>
    public static SqliteEngine OpenAnywhere(string file) => SqliteCopy.Open(file, static (at, copy) =>
    {
        var engine = Open(at);
        engine.copied = copy;
        return engine;
    });

    public override string Name => "sqlite";

    public override ValueTask<string> FindReleaseAsync(CancellationToken ct) =>
        ValueTask.FromResult(SqliteNative.Release);

    public override ValueTask<(long? Database, long? Log)> FindSizesAsync(CancellationToken ct) =>
        new((SizeOf(file), SizeOf($"{file}-wal")));

    private static long? SizeOf(string path) =>
        new FileInfo(path) is { Exists: true, Length: var length } ? length : null;

    public override void Dispose()
    {
        mark?.Dispose();
        writer.Dispose();
        while (readers.TryTake(out var session))
            session.Dispose();
        pages?.Dispose(); // last: to close it ends the locks that SQLite has on the file in this process
        copied?.Dispose();
    }

    public override ValueTask<T?> FindAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) where T : class
    {
        using var span = StatementSpan.Begin(Name, query.Text.Sqlite);
        var session = TakeReader();
        try
        {
            return ValueTask.FromResult(First(session, query, values));
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
        finally
        {
            readers.Add(session);
        }
    }

    public override ValueTask<IReadOnlyList<T>> ListAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values)
    {
        using var span = StatementSpan.Begin(Name, query.Text.Sqlite);
        var session = TakeReader();
        try
        {
            // A scan may step over many rows before it gives one: who hangs up ends it wherever it is.
            using var hangsUp = ct.UnsafeRegister(static state => ((SqliteSession)state!).Interrupt(), session);
            ct.ThrowIfCancellationRequested();
            return ValueTask.FromResult<IReadOnlyList<T>>(All(session, query, values));
        }
        catch (SqliteException e)
            when (ct.IsCancellationRequested && e.SqliteErrorCode == SQLitePCL.raw.SQLITE_INTERRUPT)
        {
            throw new OperationCanceledException(e.Message, e, ct);
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
        finally
        {
            readers.Add(session);
        }
    }

    public override T? FindByWriter<T>(Query<T> query, params ReadOnlySpan<SqlValue> values) where T : class
    {
        try
        {
            return First(writer, query, values);
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
    }

    public override long? ForeignCommits => guard?.ForeignCommits;

    public override void GiveUp(string why) => givenUp = why;

    // What a commit finds at once, a read finds within this time.
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(100);

    /// <summary>Refuses what is to be written while the file is not the store that was opened.</summary>
    /// <exception cref="ApiError">503: it is not.</exception>
    private void RequireOwn()
    {
        try
        {
            trouble = guard?.FindBeforeCommit();
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }

        RequireWell();
    }

    private void RequireWell()
    {
        if ((givenUp ?? trouble) is { } found)
            throw ApiError.StorageUnavailable(new InvalidDataException(found));
    }

    private SqliteSession TakeReader()
    {
        var now = Environment.TickCount64;
        if (now - Volatile.Read(ref looked) >= BetweenLooks.TotalMilliseconds)
        {
            Volatile.Write(ref looked, now);
            trouble = guard?.Find();
        }

        RequireWell();
        mark?.Read();
        try
        {
            return readers.TryTake(out var session) ? session : new SqliteSession(file);
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
    }

    private static T? First<T>(SqliteSession session, Query<T> query, params ReadOnlySpan<SqlValue> values)
        where T : class
    {
        using var row = session.Query(query.Text.Sqlite, values);
        return row.Read() ? query.Map(row) : null;
    }

    private static List<T> All<T>(SqliteSession session, Query<T> query, params ReadOnlySpan<SqlValue> values)
    {
        var rows = new List<T>();
        using var row = session.Query(query.Text.Sqlite, values);
        while (row.Read())
            rows.Add(query.Map(row));
        return rows;
    }

    /// <summary>What to do about what SQLite met; null if it is not SQLite's.</summary>
    public static string? HintOn(Exception? failure) => Cause.Find<SqliteException>(failure)?.SqliteErrorCode switch
    {
        null => null,
        SQLitePCL.raw.SQLITE_BUSY or SQLitePCL.raw.SQLITE_LOCKED =>
            "Another program uses the store: end it, or wait until it has done its work.",
        SQLitePCL.raw.SQLITE_FULL => "Free space on its disk. Nothing that was stored is lost.",
        SQLitePCL.raw.SQLITE_READONLY or SQLitePCL.raw.SQLITE_CANTOPEN or SQLitePCL.raw.SQLITE_PERM =>
            "Check that this user may read and write the store and its directory, and that the disk may be written.",
        SQLitePCL.raw.SQLITE_CORRUPT or SQLitePCL.raw.SQLITE_NOTADB =>
            "Check that it is a Coffer store and that it is whole; if it is damaged, restore it from a back-up.",
        SQLitePCL.raw.SQLITE_IOERR => "Check the disk, and what the system's log says of it.",
        _ => "Check that it is a Coffer store, that it is whole, and that this user may read and write it and its "
            + "directory.",
    };

    // Whatever the medium's trouble, nothing was stored or given out and the request may be tried again.
    private static ApiError Translated(SqliteException e) => ApiError.StorageUnavailable(e);
}
