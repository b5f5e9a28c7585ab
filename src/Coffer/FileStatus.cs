using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Microsoft.Win32.SafeHandles;

namespace Coffer;

/// <summary>
/// What the system says of a file beyond what the framework tells: owner, number, kind, who holds it. On Linux.
/// </summary>
internal static class FileStatus
{
    private const int CurrentDirectory = -100, AsLink = 0x100;
    private const uint Kind = 0x1, Mode = 0x2, User = 0x8, Group = 0x10, Written = 0x40, Number = 0x100, Size = 0x200;
    private const uint Mount = 0x1000;
    private const int ForWriting = 2, PermissionBits = 0xFFF;
    private const int KindBits = 0xF000, Regular = 0x8000, Link = 0xA000, Directory = 0x4000;

    /// <summary>The number of the user who owns it; null where this is not known.</summary>
    public static uint? OwnerOf(string path) =>
        Read(path, User) is { } status ? status.User : null;

    /// <summary>
    /// Which process holds a lock of the kind that .NET takes on a file; null if none does, or this system does not
    /// tell. The lock is not touched to find out: a server that starts at that moment would be refused.
    /// </summary>
    public static int? HolderOf(string path)
    {
        const string Locks = "/proc/locks";
        try
        {
            return Read(path, Number | Mount) is { } status && File.Exists(Locks)
                ? HolderIn(File.ReadLines(Locks), DeviceOf(status), status.Number)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <param name="locks">Lines such as <c>1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF</c>.</param>
    /// <param name="device">The device of the file, as they have it; null takes any.</param>
    /// <param name="number">Its number there.</param>
    internal static int? HolderIn(IEnumerable<string> locks, string? device, ulong number) => locks
        .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Where(parts => parts is [_, "FLOCK", _, "WRITE", _, var file, ..]
            && file.EndsWith($"{device}:{number}", StringComparison.Ordinal))
        .Select(parts => int.TryParse(parts[4], out var process) ? process : (int?)null)
        .FirstOrDefault();

    // By its mount: of btrfs and overlayfs, a file is said to be on another device than its locks are. Null before
    // Linux 5.8.
    private static string? DeviceOf(in Status status)
    {
        if ((status.Known & Mount) == 0)
            return null;
        var mount = status.Mount.ToString(CultureInfo.InvariantCulture);
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        var line = File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')).FirstOrDefault(
            parts => parts[0] == mount);
        return line is [_, _, var device, ..] && device.Split(':') is [var major, var minor]
            ? $"{HexOf(major)}:{HexOf(minor)}"
            : null;
    }

    private static string HexOf(string number) =>
        int.Parse(number, CultureInfo.InvariantCulture).ToString("x2", CultureInfo.InvariantCulture);

    /// <summary>
    /// Which file a name leads to, and what it had when it was last written: another file, or one that was written, has
    /// another. Null where this is not known, or there is none.
    /// </summary>
    public static (FileIdentity Identity, FileStamp Stamp)? StampOf(string path)
    {
        if (Read(path, Number | Written | Size) is not { } status)
            return null;
        var device = ((ulong)status.DeviceMajor << 32) | status.DeviceMinor;
        return (new FileIdentity(device, status.Number),
            new FileStamp(status.Written, status.WrittenNanoseconds, status.Size));
    }

    /// <summary>
    /// When files were last written and how long they are, to be compared: it is another once one was written. It is
    /// coarser than <see cref="StampOf"/>, and known on every system.
    /// </summary>
    public static string StateOf(IEnumerable<string> files) => string.Join(' ', files
        .Select(path => new FileInfo(path))
        .Select(info => info.Exists ? $"{info.LastWriteTimeUtc.Ticks} {info.Length}" : "none"));

    /// <summary>What <see cref="FileRule"/> goes by.</summary>
    /// <exception cref="IOException">It is not there, or cannot be looked at.</exception>
    [UnsupportedOSPlatform("windows")]
    public static FileRule.Facts FactsOf(string path)
    {
        if (Read(path, Mode | User | Group) is not { } status)
        {
            var mode = File.GetUnixFileMode(File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path);
            return FileRule.Facts.OfUnknown(mode, FileRule.Users.OfThisProcess);
        }

        var isFixed = Access(path, ForWriting) != 0 && Marshal.GetLastPInvokeError() == SystemError.ReadOnlyMedium;
        return new FileRule.Facts(
            status.User, status.Group, (UnixFileMode)(status.Mode & PermissionBits), isFixed);
    }

    /// <summary>The same of an open file.</summary>
    /// <inheritdoc cref="FactsOf(string)"/>
    [UnsupportedOSPlatform("windows")]
    public static FileRule.Facts FactsOf(SafeFileHandle file) => OperatingSystem.IsLinux()
        ? FactsOf($"/proc/self/fd/{file.DangerousGetHandle()}")
        : FileRule.Facts.OfUnknown(File.GetUnixFileMode(file), FileRule.Users.OfThisProcess);

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

        return (status.Mode & KindBits) switch
        {
            Regular => null,
            Link => "a link",
            Directory => "a directory",
            _ => "a device or a pipe",
        };
    }

    /// <summary>
    /// Whether this user may write a file, or make one in a directory: rights and medium allow it.
    /// </summary>
    public static bool MayWrite(string path) => OperatingSystem.IsWindows() || Access(path, ForWriting) == 0;

    private static Status? Read(string path, uint what, int flags = 0)
    {
        if (!OperatingSystem.IsLinux())
            return null;
        try
        {
            return Statx(CurrentDirectory, path, flags, what, out var status) == 0 ? status : null;
        }
        catch (EntryPointNotFoundException)
        {
            return null;
        }
    }

    // By the effective user would be faccessat with a flag; this program is never set-uid.
    [DllImport("libc", EntryPoint = "access", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Access([MarshalAs(UnmanagedType.LPUTF8Str)] string path, int what);

    [DllImport("libc", EntryPoint = "statx")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Statx(
        int directory, [MarshalAs(UnmanagedType.LPUTF8Str)] string path, int flags, uint mask, out Status status);

    /// <summary>The kernel's <c>struct statx</c>, as far as it is asked for.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private readonly struct Status
    {
        [FieldOffset(0)]
        public readonly uint Known;

        [FieldOffset(20)]
        public readonly uint User;

        [FieldOffset(24)]
        public readonly uint Group;

        [FieldOffset(28)]
        public readonly ushort Mode;

        [FieldOffset(32)]
        public readonly ulong Number;

        [FieldOffset(40)]
        public readonly ulong Size;

        [FieldOffset(112)]
        public readonly long Written;

        [FieldOffset(120)]
        public readonly uint WrittenNanoseconds;

        [FieldOffset(136)]
        public readonly uint DeviceMajor;

        [FieldOffset(140)]
        public readonly uint DeviceMinor;

        [FieldOffset(144)]
        public readonly ulong Mount;
    }
}

/// <summary>A file in the machine, under whatever name.</summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct FileIdentity(ulong Device, ulong Number);

/// <summary>What of a file changes when it is written.</summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct FileStamp(long Seconds, uint Nanoseconds, ulong Size);
