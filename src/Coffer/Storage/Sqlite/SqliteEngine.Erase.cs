using System.Diagnostics;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// What is done so that nothing is left of what was shredded. A page from which a row was deleted is overwritten
/// (secure_delete), but the page as it was stays in the log until that is emptied; and where SQLite has moved a row to
/// another page, its bytes may stay in the unused part of the page that it came from.
/// </summary>
internal sealed partial class SqliteEngine
{
    /// <summary>How long readers that began a moment ago are waited for, while writers wait.</summary>
    private static readonly TimeSpan LongestHold = TimeSpan.FromMilliseconds(20);

    /// <summary>How many pages are overwritten in a transaction.</summary>
    private const int PagesAtOnce = 50;

    /// <summary>While tenants come and go, pages that were clean may not be at the next look.</summary>
    private const int MostPasses = 5;

    private const string Checkpoint = "PRAGMA wal_checkpoint(PASSIVE)", Empty = "PRAGMA wal_checkpoint(TRUNCATE)";

    private SqlitePages? pages;

    public override Reach Reach => Reach.Files;

    public override ValueTask<bool> EraseAsync(CancellationToken ct)
    {
        using var released = mark?.Release();
        lock (writing)
        {
            if (reserve is { IsGivenUp: true })
                return ValueTask.FromResult(false); // it may need room
            RequireOwn();
            guard?.Begin();
        }

        try
        {
            using var session = new SqliteSession(file);
            // It waits for nobody, and adds a row of no app.
            session.Execute("PRAGMA busy_timeout = 0; PRAGMA foreign_keys = OFF");
            for (var pass = 0; pass < MostPasses && !ct.IsCancellationRequested; pass++)
            {
                if (!Freeze(session))
                    return ValueTask.FromResult(false);
                List<SqlitePages.Remains> remains;
                try
                {
                    pages ??= new SqlitePages(file);
                    remains = pages
                        .RemainsIn(session.Scalar("SELECT rootpage FROM sqlite_master WHERE name = 'tenants'"));
                }
                finally
                {
                    session.Run("ROLLBACK");
                }

                if (remains.Count == 0)
                    return ValueTask.FromResult(true);
                foreach (var some in remains.Chunk(PagesAtOnce))
                {
                    lock (writing)
                        Beside(session, () => Overwrite(session, some));
                }
            }

            return ValueTask.FromResult(false);
        }
        catch (SqliteException e) when (e.SqliteErrorCode == SQLitePCL.raw.SQLITE_BUSY)
        {
            return ValueTask.FromResult(false);
        }
        catch (Exception e) when (e is SqliteException or IOException or InvalidDataException)
        {
            throw ApiError.StorageUnavailable(e);
        }
        finally
        {
            lock (writing)
                guard?.End();
        }
    }

    /// <summary>
    /// Empties the log into the file, and has the file stay as it is: whoever reads the file itself keeps others from
    /// writing to it, while the log continues. False if somebody reads what is in the log.
    /// </summary>
    private bool Freeze(SqliteSession session)
    {
        // Most of the work, beside who writes.
        var isWhole = Run(session, Checkpoint) is var (_, log, done) && log == done;
        lock (writing)
        {
            if (writer.Scalar("PRAGMA secure_delete") != 1)
                return false;
            if (!Beside(session, () => IsEmptied(session, isWhole)))
                return false;
            session.BeginReading();
            if (LogLength == 0)
                return true;
            session.Run("ROLLBACK");
            return false;
        }
    }

    private static bool IsEmptied(SqliteSession session, bool isWhole)
    {
        var start = Stopwatch.GetTimestamp();
        while (Run(session, Empty) is not (0, 0, 0))
        {
            // Who reads since the log was copied reads the file, and is in nobody's way; the others end in a moment, or
            // do not.
            if (!isWhole || Stopwatch.GetElapsedTime(start) > LongestHold)
                return false;
            Thread.Yield();
        }

        return true;
    }

    // A row of the page takes up all that is free on it, filled with zeroes, and gives it back: SQLite overwrites what
    // a row leaves.
    private static bool Overwrite(SqliteSession session, IEnumerable<SqlitePages.Remains> remains)
    {
        session.Run("BEGIN IMMEDIATE");
        try
        {
            foreach (var page in remains)
            {
                if (page.Row is { } row)
                    Overwrite(session, row, page.Room);
                else if (session.Scalar("SELECT count(*) FROM tenants") == 0)
                    OverwriteEmpty(session, page.Room);
            }

            session.Run("COMMIT");
            return true;
        }
        catch
        {
            session.Run("ROLLBACK");
            throw;
        }
    }

    private static void Overwrite(SqliteSession session, long row, int room)
    {
        const string Put = "UPDATE tenants SET sealed_keys = $1 WHERE id = $2";
        if (First(session, TenantRow.ByNumber, row) is not { } tenant)
            return;
        byte[] grown = [.. tenant.SealedKeys, .. new byte[room]];
        session.Run(1, Put, grown, row);
        session.Run(1, Put, tenant.SealedKeys, row);
    }

    private static void OverwriteEmpty(SqliteSession session, int room)
    {
        session.Run("INSERT INTO tenants (id, app, livemode, account, created, sealed_keys) VALUES (1, '', 0, '', "
            + "0, $1)", new byte[room]);
        session.Run("DELETE FROM tenants WHERE id = 1");
    }

    private bool Beside(SqliteSession session, Func<bool> work) =>
        guard is null ? work() : guard.Beside(session, work);

    private static (long Busy, long Log, long Done) Run(SqliteSession session, string checkpoint)
    {
        using var row = session.Query(checkpoint);
        return row.Read() ? (row.Number(0), row.Number(1), row.Number(2)) : (1, -1, -1);
    }
}
