// What the system lets this process do, and lets others see of it. It has no room: the command line and the listeners use it.

using System.Runtime.InteropServices;
using System.Text;

namespace Coffer;

/// <summary>Limits that the operating system keeps for this process.</summary>
internal static class ProcessLimits
{
    /// <summary>The runtime's own switch. It reads the environment only, and before any of our code runs.</summary>
    private const string RuntimeVariable = "DOTNET_EnableDiagnostics";

    private const string CommandLine = "/proc/self/cmdline";
    private const int CoreSize = 4; // RLIMIT_CORE
    private const int Files = 7; // RLIMIT_NOFILE
    private const int Dumpable = 4; // PR_SET_DUMPABLE

    /// <summary>How many files, connections among them, the process may have open.</summary>
    public static long OpenFiles =>
        OperatingSystem.IsLinux() && GetLimit(Files, out var limit) == 0 && limit.Now <= long.MaxValue
            ? (long)limit.Now
            : int.MaxValue;

    /// <summary>
    /// Sees to it that nobody but root reads the memory of this process: no core dump is written, no debugger attaches, and
    /// there is no diagnostics socket. For the last the program is started once more in the same process, with the runtime's
    /// switch off; it returns the second time. On other systems than Linux it does nothing.
    /// </summary>
    public static void HideMemory()
    {
        if (!OperatingSystem.IsLinux())
            return;
        if (Environment.GetEnvironmentVariable(RuntimeVariable) != "0")
        {
            StartAgain();
            Warn("the diagnostics socket of .NET could not be turned off", $"Start it with {RuntimeVariable}=0.");
        }

        // The handlers of some systems write a dump whatever its size may be; what is not dumpable they leave alone.
        var none = default(Limit);
        if (SetLimit(CoreSize, in none) != 0 | Control(Dumpable, 0, 0, 0, 0) != 0)
            Warn("core dumps could not be turned off", "Turn them off with ulimit -c 0 where it is started.");
    }

    // Does not return if it works: same process, same number, same files, one variable more.
    private static void StartAgain()
    {
        if (Environment.ProcessPath is not { } program || !File.Exists(CommandLine))
            return;
        RemoveSockets();
        var arguments = new List<nint>();
        foreach (var argument in Split(File.ReadAllBytes(CommandLine)))
        {
            var copy = Marshal.AllocHGlobal(argument.Length + 1);
            Marshal.Copy((byte[])[.. argument, 0], 0, copy, argument.Length + 1);
            arguments.Add(copy);
        }

        _ = SetVariable(Text(RuntimeVariable), Text("0"), 1);
        _ = Execute(Text(program), [.. arguments, 0]);
    }

    // The first run's, which would be left behind: they are named after the process.
    private static void RemoveSockets()
    {
        foreach (var name in (string[])["dotnet-diagnostic-{0}-*", "clr-debug-pipe-{0}-*"])
        {
            foreach (var file in Directory.EnumerateFiles(Path.GetTempPath(), string.Format(null, name, Environment.ProcessId)))
            {
                try
                {
                    File.Delete(file);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // It stays, and nobody listens there any more.
                }
            }
        }
    }

    // Each argument ends with a zero.
    private static IEnumerable<byte[]> Split(byte[] line)
    {
        for (var at = 0; at < line.Length;)
        {
            var end = Array.IndexOf(line, (byte)0, at);
            if (end < 0)
                end = line.Length;
            yield return line[at..end];
            at = end + 1;
        }
    }

    private static void Warn(string what, string hint)
    {
        Console.Error.WriteLine($"coffer: warning: {what}");
        Console.Error.WriteLine($"coffer: hint: {hint}");
    }

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes($"{text}\0");

    [DllImport("libc", EntryPoint = "getrlimit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int GetLimit(int resource, out Limit limit);

    [DllImport("libc", EntryPoint = "setrlimit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SetLimit(int resource, in Limit limit);

    [DllImport("libc", EntryPoint = "prctl")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Control(int option, nuint argument, nuint third, nuint fourth, nuint fifth);

    [DllImport("libc", EntryPoint = "setenv")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SetVariable(byte[] name, byte[] value, int overwrite);

    [DllImport("libc", EntryPoint = "execv")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Execute(byte[] path, nint[] arguments);

    [StructLayout(LayoutKind.Sequential)]
    private struct Limit
    {
        public nuint Now;
        public nuint Most;
    }
}
