using System.Runtime.Versioning;

namespace Coffer.Storage;

/// <summary>
/// Takes from others what they may do with a data directory and with files, where they are this user's to change, by
/// <see cref="FileRule"/>. What is another user's is left as it is, and so is a directory that is plainly for more than
/// Coffer.
/// </summary>
internal static class PrivateFiles
{
    private const UnixFileMode Directory = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode File = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Sets a directory to 0700 and files to 0600 if others may touch them.</summary>
    /// <param name="directory">The data directory.</param>
    /// <param name="files">Those in it; what is not there is skipped.</param>
    /// <returns>What was changed, and what others may still touch, a sentence each.</returns>
    public static IReadOnlyList<string> Tighten(string directory, IEnumerable<string> files)
    {
        if (OperatingSystem.IsWindows())
            return [];
        List<string?> said = [IsShared(directory) ? null : Tighten(directory, Directory)];
        foreach (var file in files)
            said.Add(Tighten(file, File));
        return [.. said.OfType<string>()];
    }

    /// <summary>
    /// Sets keys to 0600 that a group may touch. One that all may touch is refused, and not covered up.
    /// </summary>
    /// <param name="rootKeys">Key files; what is not there is skipped.</param>
    /// <param name="tlsKey">
    /// The key of the certificate. Root's own, with another group than root's, is shared with other servers, as keys of
    /// Debian's ssl-cert are, and stays so.
    /// </param>
    /// <returns>What was changed, a sentence each.</returns>
    public static IReadOnlyList<string> TightenKeys(IEnumerable<string> rootKeys, string? tlsKey)
    {
        if (OperatingSystem.IsWindows())
            return [];
        var isShared = tlsKey is not null && System.IO.File.Exists(tlsKey)
            && FileRule.Users.OfThisProcess.User == 0 && FileStatus.FactsOf(tlsKey) is { Owner: 0, Group: not 0 };
        IEnumerable<string> own = tlsKey is null || isShared ? [] : [tlsKey];
        var said = new List<string?>();
        foreach (var file in rootKeys.Concat(own).Distinct())
            said.Add(Tighten(file, File, isSecret: true));
        return [.. said.OfType<string>()];
    }

    [UnsupportedOSPlatform("windows")]
    private static string? Tighten(string path, UnixFileMode wanted, bool isSecret = false)
    {
        try
        {
            if (wanted == File && !System.IO.File.Exists(path))
                return null;
            var facts = FileStatus.FactsOf(path);
            var (verdict, wrong) = FileRule.Judge(facts, FileRule.Users.OfThisProcess, isSecret);
            if (verdict == FileRule.Verdict.Refused)
                return !isSecret && IsWarnedOf(facts, wanted == Directory) ? $"{path} {wrong}. {Advice}" : null;
            if (verdict != FileRule.Verdict.ToClose)
                return null;
            System.IO.File.SetUnixFileMode(path, wanted);
            return $"{path} could be used by others than its owner (mode {facts.Octal}). It is now {Octal(wanted)}";
        }
        catch (UnauthorizedAccessException)
        {
            return $"{path} can be used by others than its owner, and its mode cannot be changed. {Advice}";
        }
        catch (IOException)
        {
            return null; // gone
        }
    }

    private const string Advice = "Give it to the user that runs Coffer, or give Coffer a directory of its own";

    /// <summary>
    /// Whether what the rule refuses is worth a warning: in a directory that is root's, as the top of a volume is,
    /// others may see what there is.
    /// </summary>
    public static bool IsWarnedOf(FileRule.Facts facts, bool isDirectory) => !isDirectory || facts.Owner != 0
        || (facts.Mode & UnixFileMode.OtherWrite) != UnixFileMode.None;

    // A temporary directory, the root of a file system, or one with directories of other users: /tmp or /var, named
    // by mistake.
    [UnsupportedOSPlatform("windows")]
    private static bool IsShared(string directory)
    {
        try
        {
            return Path.GetPathRoot(directory) == directory
                || System.IO.File.GetUnixFileMode(directory).HasFlag(UnixFileMode.StickyBit)
                || System.IO.Directory.EnumerateDirectories(directory)
                    .Any(inner => Path.GetFileName(inner) != "lost+found" && !IsOwn(inner));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }

    /// <summary>Whether a file or directory belongs to root, or to the user that runs this process.</summary>
    [UnsupportedOSPlatform("windows")]
    public static bool IsOfRootOrOwn(string path) => FileStatus.FactsOf(path).Owner == 0 || IsOwn(path);

    [UnsupportedOSPlatform("windows")]
    private static bool IsOwn(string path) => FileStatus.FactsOf(path).Owner == FileRule.Users.OfThisProcess.User;

    private static string Octal(UnixFileMode mode) => new FileRule.Facts(0, 0, mode).Octal;
}
