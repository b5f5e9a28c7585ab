using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Microsoft.Win32.SafeHandles;

namespace Coffer;

/// <summary>
/// The one place that makes a file outlive the machine: written, synced, renamed, its directory synced, and each of
/// these by the system's own answer. On .NET 10 <c>FileStream.Flush(true)</c> and <c>RandomAccess.FlushToDisk</c>
/// return as usual when the system's <c>fsync</c> has failed. SQLite syncs its own files itself.
/// </summary>
internal static class DurableFile
{
    private const int Invalid = 22, CloseOnExec = 0x80000;

    /// <summary>
    /// Makes a file with this content, readable by its owner alone. Under its name it is there whole and for good, or
    /// not at all.
    /// </summary>
    /// <exception cref="IOException">It cannot be written or synced, or exists and is not to be replaced.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content, bool overwrite)
    {
        if (FileStatus.SpecialAt(path) is { } special and not "a link")
            throw new IOException($"{path} is {special}, and would be lost");
        using var file = new NewFile(path);
        file.Content.Write(content);
        file.Keep(overwrite);
    }

    /// <summary>Opens a file; one that is made is readable by its owner alone.</summary>
    /// <exception cref="IOException">It cannot be opened or made.</exception>
    public static FileStream Open(string path, FileMode mode, FileAccess access, FileShare share)
    {
        var options = new FileStreamOptions { Mode = mode, Access = access, Share = share };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        return new FileStream(path, options);
    }

    /// <summary>Has all that was written to a file on the disk.</summary>
    /// <exception cref="IOException">The system could not, or does not say that it could.</exception>
    public static void Sync(FileStream file)
    {
        file.Flush();
        if (OperatingSystem.IsLinux())
            Sync(file.SafeFileHandle, file.Name, isDirectory: false);
        else
#pragma warning disable RS0030 // elsewhere the framework knows more than fsync: it has disks empty their caches
            file.Flush(flushToDisk: true);
#pragma warning restore RS0030
    }

    /// <summary>Has the name of a file, or of a directory, on the disk: call it after it was made or renamed.</summary>
    /// <exception cref="IOException">As <see cref="Sync"/>.</exception>
    public static void SyncDirectoryOf(string path)
    {
        if (!OperatingSystem.IsLinux())
            return;
        var directory = Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
        if (directory is null)
            return; // the root
        using var handle = OpenToRead(directory);
        if (handle.IsInvalid)
            throw Failed(directory);
        Sync(handle, directory, isDirectory: true);
    }

    /// <summary>
    /// Opens a file or a directory by the system's own call: the framework opens no directory, and locks what it opens.
    /// </summary>
    /// <returns>An invalid one if that failed; the reason is the last error.</returns>
    [SupportedOSPlatform("linux")]
    public static SafeFileHandle OpenToRead(string path) => new(Open(path, CloseOnExec), ownsHandle: true);

    // Some file systems know no sync of a directory.
    private static void Sync(SafeFileHandle handle, string path, bool isDirectory)
    {
        while (Fsync(handle) != 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (isDirectory && error == Invalid)
                return;
            if (error != SystemError.Interrupted)
                throw Failed(path);
        }
    }

    private static IOException Failed(string path)
    {
        var error = Marshal.GetLastPInvokeError();
        return new IOException($"{path} cannot be synced to the disk: {Marshal.GetPInvokeErrorMessage(error)}", error);
    }

    [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Fsync(SafeFileHandle file);

    [DllImport("libc", EntryPoint = "open", SetLastError = true, CharSet = CharSet.Ansi, BestFitMapping = false,
        ThrowOnUnmappableChar = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Open([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags);
}

/// <summary>Errors of the system that mean the same on Linux and macOS, as it numbers them.</summary>
internal static class SystemError
{
    /// <summary>EINTR: a signal came, and the call is to be made again.</summary>
    public const int Interrupted = 4;

    /// <summary>EROFS: what is to be written is on a medium that is read only.</summary>
    public const int ReadOnlyMedium = 30;
}
