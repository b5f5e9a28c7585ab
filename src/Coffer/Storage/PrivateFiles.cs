using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace Coffer.Storage;

/// <summary>
/// Takes from others what they may do with a data directory and the store in it, where they are this user's to change.
/// What is another user's is left as it is, and so is a directory that is plainly for more than Coffer.
/// </summary>
internal static class PrivateFiles
{
    private const UnixFileMode Directory = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode File = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>Sets a directory to 0700 and files to 0600 if others may touch them.</summary>
    /// <param name="directory">The data directory.</param>
    /// <param name="files">Those of the store; what is not there is skipped.</param>
    /// <returns>What was changed, a sentence each.</returns>
    public static IReadOnlyList<string> Tighten(string directory, IEnumerable<string> files)
    {
        if (OperatingSystem.IsWindows())
            return [];
        List<string?> changed = [IsShared(directory) ? null : Tighten(directory, Directory)];
        foreach (var file in files)
            changed.Add(System.IO.File.Exists(file) ? Tighten(file, File) : null);
        return [.. changed.OfType<string>()];
    }

    [UnsupportedOSPlatform("windows")]
    private static string? Tighten(string path, UnixFileMode wanted)
    {
        try
        {
            var mode = System.IO.File.GetUnixFileMode(path);
            if ((mode & Others) == UnixFileMode.None || !IsOwn(path))
                return null;
            System.IO.File.SetUnixFileMode(path, wanted);
            return $"{path} could be used by others than its owner (mode {Octal(mode)}). It is now {Octal(wanted)}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // not ours to change, or gone
        }
    }

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
    public static bool IsOfRootOrOwn(string path) => Owner(path) is null or 0 || IsOwn(path);

    // Who is not root cannot change the mode of what is another's. Root can, and must not.
    private static bool IsOwn(string path) =>
        Owner(path) is { } owner ? owner == GetEffectiveUser() : !Environment.IsPrivilegedProcess;

    /// <summary>The mode of a file or directory, if others than its owner may touch it; else null.</summary>
    /// <exception cref="IOException">It is not there, or cannot be looked at.</exception>
    public static string? ModeForOthers(string path)
    {
        if (OperatingSystem.IsWindows())
            return null;
        var mode = Mode(path);
        return (mode & Others) == UnixFileMode.None ? null : Octal(mode);
    }

    /// <summary>The mode of a file or directory; of a link that of what it leads to.</summary>
    [UnsupportedOSPlatform("windows")]
    public static UnixFileMode Mode(string path) => System.IO.File.GetUnixFileMode(
        System.IO.File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path);

    /// <summary>
    /// Which process holds a lock of the kind that .NET takes on a file; null if none does, or this system does not
    /// tell. The lock is not touched to find out: a server that starts at that moment would be refused.
    /// </summary>
    public static int? LockerOf(string path)
    {
        const string Locks = "/proc/locks";
        try
        {
            // 1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF
            return FileStatus.NumberOf(path) is { } number && System.IO.File.Exists(Locks)
                ? System.IO.File.ReadLines(Locks)
                    .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                    .Where(parts => parts is [_, "FLOCK", _, "WRITE", _, var file, ..]
                        && file.EndsWith($":{number}", StringComparison.Ordinal))
                    .Select(parts => int.TryParse(parts[4], out var process) ? process : (int?)null)
                    .FirstOrDefault()
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The number of the user who owns a file; null where this system does not tell.</summary>
    public static uint? Owner(string path) => FileStatus.OwnerOf(path);

    private static string Octal(UnixFileMode mode) => "0" + Convert.ToString((int)mode, 8).PadLeft(3, '0');

    [DllImport("libc", EntryPoint = "geteuid")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint GetEffectiveUser();
}
