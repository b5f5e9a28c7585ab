using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// A store that is only read: no file of it is made or changed, as even a plain read of a write-ahead log would, and it
/// is let be by whoever reads it as another user.
/// </summary>
internal sealed partial class SqliteEngine
{
    private (string File, string State)? quiet;

    /// <summary>
    /// Opens the file as it is at this moment, beside a running server or not; <see cref="ProveSchemaAsync"/> tells
    /// whether it is a store.
    /// </summary>
    /// <param name="file">The file.</param>
    /// <param name="copying">Is given the copy, if one has to be read, before it is made.</param>
    /// <exception cref="ConfigurationException">It cannot be read, or not without a change.</exception>
    public static SqliteEngine OpenToRead(string file, Action<SqliteCopy>? copying = null)
    {
        // With the index of the log, of a server that runs or was killed, it is read by that, which stays as it is.
        // Without one there is no log, and nobody changes the file.
        var (log, index) = (new FileInfo($"{file}-wal"), new FileInfo($"{file}-shm"));
        if (!index.Exists && log is { Exists: true, Length: > 0 })
            return SqliteCopy.Open(file, OpenCopied, copying);
        var state = index.Exists ? null : StateOf(file);
        var way = state is null ? "mode=ro&readonly_shm=1" : "mode=ro&immutable=1";
        var path = string.Join('/', file.Split('/').Select(Uri.EscapeDataString));
        var engine = OpenToRead(file, $"file:{path}?{way}");
        engine.quiet = state is null ? null : (file, state);
        return engine;
    }

    // Where it can be written, a server makes the index. Elsewhere none can, and a copy is what can be changed.
    private static SqliteEngine OpenCopied(string file, SqliteCopy? copy)
    {
        if (copy is null)
        {
            throw new ConfigurationException(
                $"the store {file} has a write-ahead log without its index: to read it would change it",
                "Start the server on it, and check again.");
        }

        var engine = OpenToRead(file, file);
        engine.copied = copy;
        return engine;
    }

    private static SqliteEngine OpenToRead(string file, string address)
    {
        SqliteSession? first = null, second = null;
        try
        {
            first = Begin(address);
            second = Begin(address);
            var engine = new SqliteEngine(address, first, guard: null);
            engine.readers.Add(second);
            return engine;
        }
        catch (SqliteException e)
        {
            first?.Dispose();
            second?.Dispose();
            throw new ConfigurationException(
                $"the store {file} cannot be read: SQLite error {e.SqliteErrorCode} ({e.SqliteExtendedErrorCode})",
                "Check that it is a Coffer store, that it is whole, and that this user may read it and its directory.");
        }
    }

    /// <summary>
    /// Whether somebody began to change a file that nobody seemed to use: then what was read may be of no one moment.
    /// </summary>
    public bool WasDisturbed =>
        copied is { IsCurrent: false } || (quiet is { } found && StateOf(found.File) != found.State);

    public override ValueTask<(long Found, long Known)> ProveSchemaAsync(CancellationToken ct)
    {
        try
        {
            var found = SqliteSchema.Prove(writer, copied?.Original ?? file);
            return ValueTask.FromResult((found, (long)Migrations.Of("sqlite").Count));
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
    }

    private static SqliteSession Begin(string address)
    {
        var session = new SqliteSession(address);
        try
        {
            session.BeginReading();
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    private static string StateOf(string file) => FileStatus.StateOf([file, $"{file}-wal", $"{file}-shm"]);
}
