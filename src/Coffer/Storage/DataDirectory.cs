namespace Coffer.Storage;

/// <summary>The directory that a store lives in, held by one process at a time.</summary>
internal sealed class DataDirectory : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>The name of <see cref="AnchorFile"/>.</summary>
    public const string Anchor = "coffer.anchor";

    private readonly DirectoryLock held;

    private readonly string path;

    private DataDirectory(string path, DirectoryLock held)
    {
        (this.path, this.held) = (path, held);
        (StoreFile, KeyFile, CheckpointFile) = FilesOf(path);
        AnchorFile = AnchorOf(path);
        SettingsFile = Path.Combine(path, "coffer.settings");
        ReserveFile = Path.Combine(path, "coffer.reserve");
    }

    public string StoreFile { get; }

    /// <summary>Where the key file is looked for, and made for a store that has none.</summary>
    public string KeyFile { get; }

    /// <summary>Where a node keeps which store it is of, and how far its control row had come.</summary>
    public string AnchorFile { get; }

    /// <summary>Where a node keeps what it was last started with of the store's settings.</summary>
    public string SettingsFile { get; }

    /// <summary>Where room is kept for what has to be stored on a full disk too.</summary>
    public string ReserveFile { get; }

    /// <summary>Where the audit log's checkpoints go unless told otherwise.</summary>
    public string CheckpointFile { get; }

    /// <summary>Where the store, its key file and its checkpoints are in a directory, whoever holds it.</summary>
    public static (string Store, string Key, string Checkpoints) FilesOf(string path) =>
        (Path.Combine(path, "coffer.db"), Path.Combine(path, "coffer.key"),
            Path.Combine(path, "audit-checkpoints.jsonl"));

    /// <summary>Where the anchor is in a directory, whoever holds it.</summary>
    public static string AnchorOf(string path) => Path.Combine(path, Anchor);

    /// <summary>The files of the store and the one that is held, in a directory, there or not.</summary>
    public static IReadOnlyList<string> StoreFilesOf(string path) =>
        [.. ((string[])["coffer.db", "coffer.db-wal", "coffer.db-shm", DirectoryLock.FileName])
            .Select(file => Path.Combine(path, file))];

    /// <summary>Which process holds a directory; null if none does, or this system does not tell.</summary>
    public static int? HolderOf(string path) => FileStatus.HolderOf(Path.Combine(path, DirectoryLock.FileName));

    /// <summary>Makes the directory if it is not there, readable by its owner alone, and holds it.</summary>
    /// <exception cref="ConfigurationException">It cannot be used, or another process holds it.</exception>
    /// <param name="path">The directory.</param>
    /// <param name="holdsStore">Whether the store is in it, and not in a database elsewhere.</param>
    public static DataDirectory Open(string path, bool holdsStore = true) => TryOpen(path, holdsStore)
        ?? throw new ConfigurationException(
            $"another process uses the data directory {Path.GetFullPath(path)}",
            "Stop it first, or choose another --data directory.");

    /// <summary>The same, or null if another process holds it.</summary>
    /// <inheritdoc cref="Open"/>
    public static DataDirectory? TryOpen(string path, bool holdsStore = true)
    {
        path = Path.GetFullPath(path);
        try
        {
            var isNew = !Directory.Exists(path);
            if (OperatingSystem.IsWindows())
                Directory.CreateDirectory(path);
            else
                Directory.CreateDirectory(path, OwnerOnly);
            if (isNew)
                DurableFile.SyncDirectoryOf(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"the data directory {path} cannot be created: {e.Message}",
                "Choose a --data directory that this user may write.");
        }

        DirectoryLock? taken = null;
        try
        {
            taken = DirectoryLock.TryTake(path);
            // SQLite gives its log and index the mode of the store file: the directory may be another's choice, the
            // files are not.
            if (taken is not null && holdsStore)
                OpenOwn(FilesOf(path).Store).Dispose();
            return taken is null ? null : new DataDirectory(path, taken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            taken?.Dispose();
            throw new ConfigurationException(
                e is IOException ? $"the data directory {path} cannot be written: {e.Message}"
                    : $"the data directory {path} cannot be written: this user may not write {WhichOf(path)}",
                Hint);
        }
        catch
        {
            taken?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The lock of a directory that this user cannot write, as it is; null if another process has it. Where there is
    /// none to be opened, nobody else can be found.
    /// </summary>
    public static IDisposable? TryHoldToRead(string path)
    {
        try
        {
            return DirectoryLock.TryTake(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Stream.Null;
        }
    }

    private const string Hint = "Give it to the user that runs Coffer, on a medium that can be written. A key that is "
        + "mounted read only is named by --root-key file:/PATH, and need not be in it.";

    private static string WhichOf(string path) =>
        StoreFilesOf(path).FirstOrDefault(file => File.Exists(file) && !FileStatus.MayWrite(file)) ?? path;

    /// <summary>
    /// Takes from others what they may do with the directory and the files in it, where those are this user's.
    /// </summary>
    /// <returns>What was changed, and what others may still touch, a sentence each.</returns>
    public IReadOnlyList<string> Tighten() => PrivateFiles.Tighten(
        path, [.. StoreFilesOf(path), AnchorFile, SettingsFile, CheckpointFile]);

    public void Dispose() => held.Dispose();

    private static FileStream OpenOwn(string file) =>
        DurableFile.Open(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
}
