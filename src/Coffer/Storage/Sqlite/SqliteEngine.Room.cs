using System.Diagnostics;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// What keeps room on the disk: a reserve for what takes rights away, and a bound for the write-ahead log. Who calls it
/// holds <see cref="writing"/>.
/// </summary>
internal sealed partial class SqliteEngine
{
    /// <summary>The share of its longest at which a log that cannot be emptied is told of.</summary>
    private const int Share = 4;

    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromSeconds(1);
    private SqliteReserve? reserve;
    private long triedToEmpty;
    private bool isLogHeld;

    /// <summary>
    /// The most that the write-ahead log may come to, in bytes, while somebody reads an old state of the store; or as
    /// much as the store, if that is more.
    /// </summary>
    public long LongestLog { get; set; } = 256 * 1024 * 1024;

    /// <summary>From then on room is kept for a full disk.</summary>
    public override bool IsServing
    {
        get => base.IsServing;
        set
        {
            lock (writing)
            {
                base.IsServing = value;
                reserve?.Refill();
            }
        }
    }

    private long LogLength => SizeOf($"{file}-wal") ?? 0;

    // What is not urgent would use up what was given up for what is.
    private void RequireReserve()
    {
        reserve?.Refill();
        if (reserve is { IsGivenUp: true })
            throw ApiError.StorageUnavailable(new IOException("the disk is full, and the little that is left of it "
                + "is kept for what takes rights away", Cause.NoSpace));
    }

    // What somebody reads since long ago keeps the log from being emptied, however often it is tried.
    private void RequireShortLog()
    {
        var length = LogLength;
        // Mostly it is short whatever the store has.
        var most = length <= LongestLog / Share ? LongestLog : Math.Max(LongestLog, new FileInfo(file).Length);
        var isShort = length <= most / Share;
        var isDue = !isShort && Stopwatch.GetElapsedTime(triedToEmpty) >= BetweenAttempts;
        if (isShort || (isDue && TryEmptyLog()))
            SayLogIsShort();
        else if (isDue)
            SayLogIsHeld(length, most);
        if (isLogHeld && length > most)
            throw ApiError.StorageUnavailable(new IOException("a program reads the store since so long ago that the "
                + "write-ahead log cannot be emptied: it has reached its limit"));
    }

    private void SayLogIsHeld(long length, long most)
    {
        triedToEmpty = Stopwatch.GetTimestamp();
        if (!isLogHeld)
            Log.LogWarning("The write-ahead log has {Size} MB and cannot be emptied: a program reads {File} since "
                + "long ago. Find and end it. At {Most} MB only what takes rights away is stored",
                length >> 20, file, most >> 20);
        isLogHeld = true;
    }

    private void SayLogIsShort()
    {
        if (isLogHeld)
            Log.LogInformation("The write-ahead log could be emptied");
        isLogHeld = false;
    }

    private bool TryEmptyLog()
    {
        try
        {
            using var session = new SqliteSession(file);
            session.Execute("PRAGMA busy_timeout = 0");
            return Beside(session, () => Run(session, Empty) is (0, _, _));
        }
        catch (SqliteException)
        {
            return false;
        }
    }

    private bool MakeRoom(SqliteException e)
    {
        // Beyond a quota is reported as any failure to write.
        if (reserve is null || !(e.SqliteErrorCode == SQLitePCL.raw.SQLITE_FULL
            || e.SqliteExtendedErrorCode is SQLitePCL.raw.SQLITE_IOERR_WRITE or SQLitePCL.raw.SQLITE_IOERR_SHMSIZE))
            return false;
        // To empty the log into the store gives all of it back, and may first take as much: where there is not as much,
        // what there is goes further without. Without anything left the attempt costs nothing.
        var freed = reserve.GiveUp();
        if (freed > 0 && LogLength > freed)
            return true;
        TryEmptyLog(); // what was given up may be enough without it
        return true;
    }
}
