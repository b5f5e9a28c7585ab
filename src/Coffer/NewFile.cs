namespace Coffer;

/// <summary>
/// A file that is written under another name, readable by its owner alone, and gets its own once it is whole and on the
/// disk: under that it is there whole and for good, or not at all.
/// </summary>
internal sealed class NewFile : IDisposable
{
    /// <summary>What its name ends in until it is whole.</summary>
    public const string Unfinished = ".new";

    private readonly string path;
    private bool isKept;

    /// <exception cref="IOException">It cannot be created, or another process is writing it.</exception>
    public NewFile(string path)
    {
        this.path = path;
        // What a crash left behind, or somebody put there, is neither followed nor written to.
        if (FileStatus.SpecialAt(Written) is null && File.Exists(Written))
            RequireUnused();
        File.Delete(Written);
        Content = DurableFile.Open(Written, FileMode.CreateNew, FileAccess.Write, FileShare.None);
    }

    public FileStream Content { get; }

    private string Written => path + Unfinished;

    private void RequireUnused()
    {
        try
        {
            using var another = new FileStream(Written, FileMode.Open, FileAccess.Read, FileShare.None);
        }
        catch (UnauthorizedAccessException e)
        {
            // Another user's, root's for example: whether it may be removed is said by the directory.
            if (FileStatus.HolderOf(Written) is { } process)
                throw new IOException($"{Written} is being written by another user's process ({process})", e);
        }
    }

    /// <summary>Gives it its name. Nothing more can be written.</summary>
    /// <param name="overwrite">Whether it takes the place of one that is there.</param>
    /// <exception cref="IOException">It cannot be synced, or exists and is not to be replaced.</exception>
    public void Keep(bool overwrite)
    {
        DurableFile.Sync(Content);
        Content.Dispose(); // while it is open nobody else may open it
        File.Move(Written, path, overwrite);
        isKept = true;
        DurableFile.SyncDirectoryOf(path);
    }

    public void Dispose()
    {
        Content.Dispose();
        if (!isKept)
            File.Delete(Written);
    }
}
