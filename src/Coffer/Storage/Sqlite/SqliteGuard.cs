using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// Whether the store that is open is still the one under its name, as this process left it. SQLite continues with a
/// file that was removed, replaced or overwritten, and answers as if nothing were. Who writes asks with each
/// transaction, one thread at a time; who reads now and then.
/// </summary>
internal sealed class SqliteGuard
{
    private const string DataVersion = "PRAGMA data_version", Progress = "PRAGMA wal_checkpoint(NOOP)";

    private const string Restore = "stop the server, and see docs/back-up.md, \"Restore\"";

    /// <summary>How long another program may need to write the log into the file.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private static readonly string[] Suffixes = ["", "-wal", "-shm"];

    private readonly string file;
    private readonly SqliteSession writer;
    private readonly (string Path, FileIdentity Identity)[] opened;
    private FileStamp? left;
    private (long Log, long Done) progress;
    private long version;
    private int unstill;
    private long commits;
    private volatile string? overwritten;

    /// <param name="file">The store's file.</param>
    /// <param name="writer">The session that writes, which has opened it.</param>
    public SqliteGuard(string file, SqliteSession writer)
    {
        (this.file, this.writer, version) = (file, writer, VersionOf(writer));
        opened = [.. Suffixes.Select(suffix => file + suffix)
            .Select(path => (path, FileStatus.StampOf(path)?.Identity))
            .Where(found => found.Identity is not null).Select(found => (found.path, found.Identity!.Value))];
    }

    /// <summary>
    /// Another number after each commit that was not this process's own: the store may not have what it had, or more.
    /// </summary>
    public long ForeignCommits => Interlocked.Read(ref commits);

    /// <summary>What is wrong before a transaction, in a sentence; null if nothing is.</summary>
    public string? FindBeforeCommit()
    {
        if (FindMoved(out var stamp) is { } moved)
            return moved;
        var isLeft = IsAsLeft(stamp)
            || (overwritten is null && SpinWait.SpinUntil(() => IsAsLeft(FileStatus.StampOf(file)?.Stamp), Patience));
        overwritten = isLeft ? null : $"{file} was written by another program while the server ran: {Restore}";
        return overwritten;
    }

    /// <summary>What is known to be wrong, or seen at once. Any thread may ask.</summary>
    public string? Find() => FindMoved(out _) ?? overwritten;

    /// <summary>Notices what others have committed. In a transaction that writes, nothing comes after it.</summary>
    public void SeeCommits()
    {
        var now = VersionOf(writer);
        if (version == now)
            return;
        version = now;
        CountCommit();
    }

    /// <summary>
    /// Call when the session that writes has committed. Never fails: what was stored is stored, whatever comes after.
    /// </summary>
    public void Remember()
    {
        if (unstill > 0)
            return;
        try
        {
            progress = ProgressOf();
            if (FileStatus.StampOf(file)?.Stamp is not { } now || now == left)
                return;
            // A whole second, which every file system keeps as it is: by its own time one may give another tomorrow.
            File.SetLastWriteTimeUtc(file, DateTime.UnixEpoch.AddSeconds(now.Seconds));
            left = FileStatus.StampOf(file)?.Stamp;
        }
        catch (Exception e) when (e is SqliteException or IOException or UnauthorizedAccessException
            or ArgumentException) // a time of which the framework has no date
        {
            left = null; // another's file, for example: it is not told by its time
        }
    }

    /// <summary>
    /// Has another session of this process commit, or empty the log: to the one that writes both look like a commit of
    /// others, and to the session that did it like none.
    /// </summary>
    public bool Beside(SqliteSession session, Func<bool> work)
    {
        var before = VersionOf(session);
        SeeCommits();
        var done = work();
        version = VersionOf(writer);
        if (VersionOf(session) != before)
            CountCommit();
        Remember();
        return done;
    }

    /// <summary>
    /// Until <see cref="End"/> this process may write to the file at any time, and the file's time says nothing.
    /// </summary>
    public void Begin()
    {
        unstill++;
        left = null;
    }

    public void End()
    {
        unstill--;
        Remember();
    }

    // Who writes the file through SQLite has committed before, or had the log written into the file, as some do that
    // copy a store while it runs: SQLite counts how far that has come, at its end.
    private bool IsAsLeft(FileStamp? now)
    {
        if (left is not { } known || now == known)
            return true;
        SeeCommits();
        if (left is null || ProgressOf() == progress)
            return left is null;
        left = null;
        return true;
    }

    private void CountCommit()
    {
        left = null;
        Interlocked.Increment(ref commits);
    }

    // With what the store's file was when it was last written.
    private string? FindMoved(out FileStamp? stamp)
    {
        stamp = null;
        foreach (var (path, known) in opened)
        {
            if (FileStatus.StampOf(path) is not { } found)
                return $"{path} was removed while the server ran: {Restore}";
            if (found.Identity != known)
                return $"{path} was replaced by another file while the server ran: {Restore}";
            stamp ??= found.Stamp; // of the first, which is the store's file
        }

        return null;
    }

    private (long Log, long Done) ProgressOf()
    {
        using var row = writer.Query(Progress);
        return row.Read() ? (row.Number(1), row.Number(2)) : (-1, -1);
    }

    private static long VersionOf(SqliteSession session)
    {
        using var row = session.Query(DataVersion);
        row.Read();
        return row.Number(0);
    }
}
