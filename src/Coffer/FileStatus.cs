using System.Runtime.InteropServices;

namespace Coffer;

/// <summary>What the system says of a file beyond what the framework tells: owner, number and kind. On Linux.</summary>
internal static class FileStatus
{
    private const int CurrentDirectory = -100, AsLink = 0x100, SizeOfStatx = 256;
    private const int UserAt = 20, ModeAt = 28, NumberAt = 32;
    private const uint Kind = 0x1, User = 0x8, Number = 0x100;
    private const int KindBits = 0xF000, Regular = 0x8000, Link = 0xA000, Directory = 0x4000;

    /// <summary>The number of the user who owns it; null where this is not known.</summary>
    public static uint? OwnerOf(string path) =>
        Read(path, User) is { } status ? BitConverter.ToUInt32(status, UserAt) : null;

    /// <summary>Its number in its file system; null where this is not known.</summary>
    public static ulong? NumberOf(string path) =>
        Read(path, Number) is { } status ? BitConverter.ToUInt64(status, NumberAt) : null;

    /// <summary>
    /// What stands under a name and is no file that may be replaced: "a link", "a directory", "a device or a pipe";
    /// null if it is a regular file or nothing.
    /// </summary>
    public static string? SpecialAt(string path)
    {
        if (Read(path, Kind, AsLink) is not { } status)
        {
            if (System.IO.Directory.Exists(path))
                return "a directory";
            return new FileInfo(path).LinkTarget is null ? null : "a link";
        }

        return (BitConverter.ToUInt16(status, ModeAt) & KindBits) switch
        {
            Regular => null,
            Link => "a link",
            Directory => "a directory",
            _ => "a device or a pipe",
        };
    }

    private static byte[]? Read(string path, uint what, int flags = 0)
    {
        if (!OperatingSystem.IsLinux())
            return null;
        try
        {
            var status = new byte[SizeOfStatx];
            return Statx(CurrentDirectory, path, flags, what, status) == 0 ? status : null;
        }
        catch (EntryPointNotFoundException)
        {
            return null;
        }
    }

    [DllImport("libc", EntryPoint = "statx")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Statx(
        int directory, [MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags, uint mask, [Out] byte[] status);
}
