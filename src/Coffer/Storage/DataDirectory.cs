namespace Coffer.Storage;

/// <summary>The directory that a store lives in, held by one process at a time.</summary>
internal sealed class DataDirectory : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private const string Held = "coffer.lock";

    // EWOULDBLOCK: somebody else holds the lock.
    private const int LockedOnLinux = 11, LockedOnMacOS = 35;

    /// <summary>The name of <see cref="AnchorFile"/>.</summary>
    public const string Anchor = "coffer.anchor";

    private readonly FileStream held;

    private readonly string path;

    private DataDirectory(string path, FileStream held)
    {
        (this.path, this.held) = (path, held);
        (StoreFile, KeyFile, CheckpointFile) = FilesOf(path);
        AnchorFile = AnchorOf(path);
        SettingsFile = Path.Combine(path, "coffer.settings");
    }

    public string StoreFile { get; }

    /// <summary>Where the key file is looked for, and made for a store that has none.</summary>
    public string KeyFile { get; }

    /// <summary>Where a node keeps which store it is of, and how far its control row had come.</summary>
    public string AnchorFile { get; }

    /// <summary>Where a node keeps what it was last started with of the store's settings.</summary>
    public string SettingsFile { get; }

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
        [.. ((string[])["coffer.db", "coffer.db-wal", "coffer.db-shm", Held]).Select(file => Path.Combine(path, file))];

    /// <summary>Which process holds a directory; null if none does, or this system does not tell.</summary>
    public static int? HolderOf(string path) => PrivateFiles.LockerOf(Path.Combine(path, Held));

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

        try
        {
            // The file stays: removing it would let two processes hold two different ones.
            var directory = new DataDirectory(path, OpenOwn(Path.Combine(path, Held), FileShare.None));
            // SQLite gives its log and index the mode of the store file: the directory may be another's choice, the
            // files are not.
            if (holdsStore)
                OpenOwn(directory.StoreFile, FileShare.ReadWrite).Dispose();
            return directory;
        }
        catch (UnauthorizedAccessException)
        {
            throw new ConfigurationException($"the data directory {path} cannot be written",
                "Give its ownership to the user that runs Coffer.");
        }
        catch (IOException e) when (e.HResult is not (LockedOnLinux or LockedOnMacOS) && !OperatingSystem.IsWindows())
        {
            throw new ConfigurationException($"the data directory {path} cannot be written: {e.Message}",
                "Choose a --data directory on a medium that can be written.");
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>
    /// Takes from others what they may do with the directory and the store's files, where those are this user's.
    /// </summary>
    /// <returns>What was changed, a sentence each.</returns>
    public IReadOnlyList<string> Tighten() =>
        PrivateFiles.Tighten(path, [StoreFile, $"{StoreFile}-wal", $"{StoreFile}-shm", held.Name]);

    public void Dispose() => held.Dispose();

    private static FileStream OpenOwn(string file, FileShare share) =>
        DurableFile.Open(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, share);
}
