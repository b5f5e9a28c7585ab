using System.Runtime.InteropServices;
using System.Text;

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
    public static IReadOnlyList<string> Holders { get; } = [
        "serve", "init", "dev", "migrate", "audit", "check", "backup", "restore", "root-keys", "receipt"];

    /// <summary>Options whose value may hold a password or a key; <c>--key</c> is one of dev's only.</summary>
    private static readonly string[] Private = ["--store", "--from-store", "--to-store", "--proxy", "--key"];

    /// <summary>
    /// What stands for such a value among the arguments, which everybody on the machine may list. The value itself is
    /// in the environment, under a name that ends in the argument's number.
    /// </summary>
    private const string Hidden = "[redacted]", HiddenIn = "_COFFER_ARGUMENT_";

    /// <summary>
    /// Call first of all. It may begin the program again: the runtime reads what is asked of it before it runs any of
    /// ours.
    /// </summary>
    /// <param name="args">The arguments of the program.</param>
    /// <returns>The same, with the values of those that were hidden.</returns>
    public static string[] Enter(string[] args)
    {
        args = WithHidden(args);
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess || IsOn(AskedForDumps))
            return args;
        var asked = Environment.GetEnvironmentVariable(Asked)
            ?? Environment.GetEnvironmentVariable("COMPlus_EnableDiagnostics");
        if (asked is not null && asked != "0")
            return args;

        const int CoreSize = 4, SetDumpable = 4;
        try
        {
            _ = SetLimit(CoreSize, [0, 0]);
            if ((asked is null && (HasPrivate(args) || (!Product.IsNative && Holds(args))))
                || (YoungMemory.Variable is not null && Holds(args)))
                BeginAgain(args);
            _ = Control(SetDumpable, 0, 0, 0, 0);
            if (asked == "0")
                RemoveLeftBehind();
        }
        catch (Exception e) when (e is TypeLoadException or IOException or UnauthorizedAccessException)
        {
            // What can be done was: a program that cannot turn them off still serves.
        }

        return args;
    }

    private static string[] WithHidden(string[] args)
    {
        var whole = args.ToArray();
        for (var i = 0; i < args.Length; i++)
        {
            if (!args[i].EndsWith(Hidden, StringComparison.Ordinal)
                || Environment.GetEnvironmentVariable($"{HiddenIn}{i}") is not { } value)
                continue;
            whole[i] = args[i][..^Hidden.Length] + value;
            Environment.SetEnvironmentVariable($"{HiddenIn}{i}", null);
        }

        return whole;
    }

    // A native build has no diagnostics to be turned off.
    private static bool Holds(string[] args) =>
        args is [var verb, ..] && (Holders.Contains(verb) || args.Contains("--offline"));

    private static bool HasPrivate(string[] args) =>
        args.Index().Any(each => ValueAt(args, each.Index) is not null);

    /// <summary>Where in an argument a value begins that is to be hidden; null if none does.</summary>
    private static int? ValueAt(string[] args, int i)
    {
        var name = args[i].Split('=', 2)[0];
        if (IsPrivate(name) && name.Length < args[i].Length)
            return name.Length + 1;
        return i > 0 && IsPrivate(args[i - 1]) ? 0 : null;

        bool IsPrivate(string option) => Private.Contains(option) && (option != "--key" || args[0] == "dev");
    }

    /// <summary>Whether a server that is started from here may be dumped, since that was asked for.</summary>
    public static bool IsTurnedOff => IsOn(AskedForDumps) || IsOn(Asked);

    private static bool IsOn(string variable) => Environment.GetEnvironmentVariable(variable) is not (null or "0");

    // The same process, with the same arguments and the same open files. It returns only if it cannot be done.
    private static void BeginAgain(string[] args)
    {
        var words = SameProcess.Words();
        var variables = new List<(string, string)> { (Asked, "0") };
        if (YoungMemory.Variable is { } young)
            variables.Add(young);
        var before = words.Count - args.Length; // the program itself
        for (var i = 0; i < args.Length; i++)
        {
            if (ValueAt(args, i) is not { } start)
                continue;
            variables.Add(($"{HiddenIn}{i}", args[i][start..]));
            words[before + i] = Encoding.UTF8.GetBytes($"{args[i][..start]}{Hidden}\0");
        }

        SameProcess.BeginAgain(words, variables);
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
}
