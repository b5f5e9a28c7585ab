namespace Coffer.Storage.Sqlite;

/// <summary>
/// A store that cannot be read where it is, for SQLite would have to write there: on a read-only medium, or in a
/// directory of another user. It is copied with its write-ahead log into a directory of this user's, and is gone from
/// there when it was read, or when its owner gives it up. What is in it is sealed as it is in the store.
/// </summary>
internal sealed class SqliteCopy : IDisposable
{
    private const int MostTries = 3;

    private readonly DirectoryInfo directory;
    private string state = "";

    private SqliteCopy(string original, DirectoryInfo directory)
    {
        (Original, this.directory) = (original, directory);
        File = Path.Combine(directory.FullName, Path.GetFileName(original));
    }

    /// <summary>The store.</summary>
    public string Original { get; }

    /// <summary>The copy of it.</summary>
    public string File { get; }

    /// <summary>Whether nobody has written the store since.</summary>
    public bool IsCurrent => FileStatus.StateOf(PartsOf(Original)) == state;

    /// <summary>Opens a store where it is, or the copy of it, which is the opener's to dispose of then.</summary>
    /// <param name="file">The store.</param>
    /// <param name="open">What opens it.</param>
    /// <param name="making">Is given the copy before it is made, and may refuse it.</param>
    /// <exception cref="ConfigurationException">It cannot be copied, or opened.</exception>
    public static T Open<T>(string file, Func<string, SqliteCopy?, T> open, Action<SqliteCopy>? making = null)
    {
        var copy = Of(file, making);
        try
        {
            return open(copy?.File ?? file, copy);
        }
        catch (ConfigurationException e) when (copy is not null)
        {
            copy.Dispose();
            throw new ConfigurationException(e.Message.Replace(copy.File, file, StringComparison.Ordinal), e.Hint);
        }
        catch
        {
            copy?.Dispose();
            throw;
        }
    }

    /// <returns>Null if the store can be read where it is.</returns>
    /// <exception cref="ConfigurationException">It cannot be copied, or is written meanwhile.</exception>
    private static SqliteCopy? Of(string file, Action<SqliteCopy>? making)
    {
        if (FileStatus.MayWrite(file) && FileStatus.MayWrite(Path.GetDirectoryName(Path.GetFullPath(file))!))
            return null;
        var copy = new SqliteCopy(file, Directory.CreateTempSubdirectory("coffer-read-"));
        try
        {
            making?.Invoke(copy);
            for (var tries = 0; tries < MostTries; tries++)
            {
                copy.state = FileStatus.StateOf(PartsOf(file));
                foreach (var part in PartsOf(file).Where(System.IO.File.Exists))
                    System.IO.File.Copy(part, Path.Combine(copy.directory.FullName, Path.GetFileName(part)), true);
                if (copy.IsCurrent)
                    return copy.Owned();
            }

            throw new ConfigurationException($"the store {file} is written while it is read, and not by this user",
                "Run this as the user that the server runs as.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            copy.Dispose();
            throw new ConfigurationException(
                $"the store {file} cannot be read where it is, nor copied to {copy.directory.FullName}: {Cause.Of(e)}",
                "Have TMPDIR name a directory with room for it, and check that this user may read the store.");
        }
        catch
        {
            copy.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        if (Directory.Exists(directory.FullName))
            directory.Delete(recursive: true);
    }

    // The index of the log is made again from it.
    private static string[] PartsOf(string file) => [file, file + "-wal"];

    // A copy has the mode of what was copied, which may be that nobody writes it.
    private SqliteCopy Owned()
    {
        if (!OperatingSystem.IsWindows())
        {
            foreach (var part in directory.EnumerateFiles())
                part.UnixFileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return this;
    }
}
