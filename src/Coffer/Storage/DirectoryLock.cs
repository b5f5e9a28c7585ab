using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Coffer.Storage;

/// <summary>
/// The lock by which one process at a time uses a data directory. The system call itself takes it, since the framework
/// can be set to take none, and continues where a file system has none; and it is proven: another descriptor must be
/// refused. On a file of its own, which stays: to remove it would let two processes hold two different ones.
/// </summary>
internal sealed class DirectoryLock : IDisposable
{
    /// <summary>The name of the file.</summary>
    public const string FileName = "coffer.lock";

    // EWOULDBLOCK: somebody else holds the lock.
    private const int LockedOnLinux = 11, LockedOnMacOS = 35;
    private const int Shared = 1, Exclusive = 2, AtOnce = 4;

    private readonly FileStream held;

    private DirectoryLock(FileStream held) => this.held = held;

    /// <summary>Takes the lock of a directory; null if another process has it.</summary>
    /// <exception cref="ConfigurationException">It cannot be had, or does not hold.</exception>
    /// <exception cref="IOException">There is no file for it, and it cannot be created.</exception>
    /// <exception cref="UnauthorizedAccessException">As before, because this user may not.</exception>
    public static DirectoryLock? TryTake(string directory)
    {
        var path = Path.Combine(directory, FileName);
        FileStream file;
        try
        {
            file = Open(path);
        }
        catch (IOException e) when (e.HResult is LockedOnLinux or LockedOnMacOS || OperatingSystem.IsWindows())
        {
            return null; // by the framework's own lock
        }

        try
        {
            if (!OperatingSystem.IsWindows())
            {
                if (!TryLock(file.SafeFileHandle, Exclusive, path))
                {
                    file.Dispose();
                    return null;
                }

                Prove(path);
            }

            return new DirectoryLock(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public void Dispose() => held.Dispose();

    // One that another user made, root for example, or on a medium that is read only, is good enough to be locked if it
    // can be read.
    private static FileStream Open(string path)
    {
        try
        {
            return DurableFile.Open(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (File.Exists(path)
            && e is UnauthorizedAccessException or IOException { HResult: SystemError.ReadOnlyMedium })
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.None);
        }
    }

    // Whoever else would come has another descriptor. That it can have the lock as well shows that nobody has it.
    private static void Prove(string path)
    {
        if (!OperatingSystem.IsLinux())
            return;
        using var other = DurableFile.OpenToRead(path);
        if (other.IsInvalid)
            throw Refused(path, Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError()));
        if (TryLock(other, Shared, path))
            throw Refused(path, "it keeps nobody else from it");
    }

    private static bool TryLock(SafeFileHandle file, int how, string path)
    {
        while (Flock(file, how | AtOnce) != 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error is LockedOnLinux or LockedOnMacOS)
                return false;
            if (error != SystemError.Interrupted)
                throw Refused(path, Marshal.GetPInvokeErrorMessage(error));
        }

        return true;
    }

    private static ConfigurationException Refused(string path, string why) => new(
        $"the lock {path}, by which one process at a time uses the data directory, does not work: {why}",
        "Choose a --data directory on a file system of this machine: not on a network, and not one without locks.");

    [DllImport("libc", EntryPoint = "flock", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Flock(SafeFileHandle file, int how);
}
