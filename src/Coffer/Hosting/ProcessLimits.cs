using System.Runtime.InteropServices;

namespace Coffer.Hosting;

/// <summary>What the operating system lets this process have.</summary>
internal static class ProcessLimits
{
    private const int Files = 7; // RLIMIT_NOFILE

    /// <summary>
    /// What a server needs of files at least: for the program, the store or its database, and a few connections. One
    /// that runs out of them cannot load what it is made of either.
    /// </summary>
    public const int LeastFiles = 576;

    /// <summary>How many files, connections among them, the process may have open.</summary>
    public static long OpenFiles =>
        OperatingSystem.IsLinux() && GetLimit(Files, out var limit) == 0 && limit.Now <= long.MaxValue
            ? (long)limit.Now
            : int.MaxValue;

    [DllImport("libc", EntryPoint = "getrlimit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int GetLimit(int resource, out Limit limit);

    [StructLayout(LayoutKind.Sequential)]
    private struct Limit
    {
        public nuint Now;
        public nuint Most;
    }
}
