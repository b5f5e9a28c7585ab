using System.Runtime.InteropServices;

namespace Coffer.Hosting;

/// <summary>
/// Keeps what is in the memory of this process, opened keys and payloads, out of core dumps, and away from other
/// processes of the same user: no debugger attaches, and .NET's diagnostics socket is not there.
/// DOTNET_EnableDiagnostics=1 in the environment asks for all of it, DOTNET_DbgEnableMiniDump=1 too. On Linux;
/// elsewhere the system decides.
/// </summary>
internal static class ProcessPrivacy
{
    private const string Asked = "DOTNET_EnableDiagnostics", AskedForDumps = "DOTNET_DbgEnableMiniDump";

    /// <summary>
    /// Verbs that hold what opens a store. The others have an API key for a moment, and start faster.
    /// </summary>
    private static readonly string[] Holders = ["serve", "dev", "migrate", "audit"];

    /// <summary>
    /// Call first of all. It may begin the program again: the runtime reads what is asked of it before it runs any of
    /// ours.
    /// </summary>
    public static void Enter(string[] args)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess || IsOn(AskedForDumps))
            return;
        var asked = Environment.GetEnvironmentVariable(Asked)
            ?? Environment.GetEnvironmentVariable("COMPlus_EnableDiagnostics");
        if (asked is not null && asked != "0")
            return;

        const int CoreSize = 4, SetDumpable = 4;
        try
        {
            _ = SetLimit(CoreSize, [0, 0]);
            if (asked is null && args is [var verb, ..] && Holders.Contains(verb))
                BeginAgain();
            _ = Control(SetDumpable, 0, 0, 0, 0);
            if (asked == "0")
                RemoveLeftBehind();
        }
        catch (Exception e) when (e is TypeLoadException or IOException or UnauthorizedAccessException)
        {
            // What can be done was: a program that cannot turn them off still serves.
        }
    }

    private static bool IsOn(string variable) => Environment.GetEnvironmentVariable(variable) is not (null or "0");

    // The same process, with the same arguments and the same open files. It returns only if it cannot be done.
    private static void BeginAgain()
    {
        if (Environment.ProcessPath is not { } program || SetVariable(Asked, "0", 1) != 0)
            return;
        // To the byte: what is no UTF-8 may be a path all the same. Each argument ends in a zero.
        var line = GCHandle.Alloc(File.ReadAllBytes("/proc/self/cmdline"), GCHandleType.Pinned);
        try
        {
            var bytes = (byte[])line.Target!;
            var starts = Enumerable.Range(0, bytes.Length).Where(i => i == 0 || bytes[i - 1] == 0);
            _ = Execute(program, [.. starts.Select(start => line.AddrOfPinnedObject() + start), 0]);
        }
        finally
        {
            line.Free();
        }
    }

    // What the runtime had made before the program began again; nobody listens there now.
    private static void RemoveLeftBehind()
    {
        var status = File.ReadAllText("/proc/self/stat");
        const int StartedAt = 19; // of the fields behind the program's name, which may hold anything
        var key = $"{Environment.ProcessId}-{status[(status.LastIndexOf(')') + 2)..].Split(' ')[StartedAt]}";
        string[] names = [$"dotnet-diagnostic-{key}-socket", $"clr-debug-pipe-{key}-in", $"clr-debug-pipe-{key}-out"];
        foreach (var name in names)
            File.Delete(Path.Combine(Path.GetTempPath(), name));
    }

    [DllImport("libc", EntryPoint = "setrlimit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SetLimit(int resource, ulong[] softAndHard);

    [DllImport("libc", EntryPoint = "prctl")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Control(int option, nuint value, nuint unused1, nuint unused2, nuint unused3);

    [DllImport("libc", EntryPoint = "setenv")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SetVariable(
        [MarshalAs(UnmanagedType.LPUTF8Str)] string name,
        [MarshalAs(UnmanagedType.LPUTF8Str)] string value,
        int overwrite);

    [DllImport("libc", EntryPoint = "execv")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Execute([MarshalAs(UnmanagedType.LPUTF8Str)] string program, nint[] arguments);
}
