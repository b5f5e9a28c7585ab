// What the tests take from the machine. The program under test is always there: the build makes it beside the tests.
// Other people's programs may be missing on a laptop, where their tests skip; CI has no excuse, so there they fail.

using System.Runtime.Versioning;

[assembly: UnsupportedOSPlatform("windows")] // signals and file modes are part of what is tested

namespace Coffer.EndToEnd;

/// <summary>Where the parts are that a test needs.</summary>
public static class Needs
{
    private const string Install = "'make test' as root installs it";

    /// <summary>The checkout that the tests were built from.</summary>
    public static string Repository { get; } = FindRepository();

    private static readonly string Project = Path.Combine(Repository, "test", "Coffer.EndToEnd");

    /// <summary>The folder of the scripts that drive the official SDKs.</summary>
    public static string SdkFolder { get; } = Path.Combine(Project, "sdk");

    /// <summary>The .NET build of the program, of the configuration that the tests are built in.</summary>
    public static string DotNetProgram { get; } =
        Path.Combine(Repository, "src", "Coffer", Path.GetRelativePath(Project, AppContext.BaseDirectory), "coffer");

    /// <summary>The program: the file that TEST_PROGRAM names, such as a native build, or else the .NET one.</summary>
    public static string Program { get; } =
        Environment.GetEnvironmentVariable("TEST_PROGRAM") is { Length: > 0 } given
            ? Path.GetFullPath(given, Repository)
            : DotNetProgram;

    /// <summary>
    /// Whether it is the native build: its runtime is in it, and no file beside it says which one it needs.
    /// </summary>
    public static bool IsNative { get; } =
        !File.Exists(Path.Combine(Path.GetDirectoryName(Program)!, "coffer.runtimeconfig.json"));

    /// <summary>Node, with the official SDK installed where the script looks for it.</summary>
    public static string Node()
    {
        if (!Directory.Exists(Path.Combine(SdkFolder, "node_modules", "stripe")))
            Missing("the Node SDK (npm ci in test/Coffer.EndToEnd/sdk)");
        return OnPath("node");
    }

    /// <summary>
    /// Debian's Python with Debian's python3-stripe. Another Python that comes first on the path has other packages.
    /// </summary>
    public static string PythonWithStripe()
    {
        if (!File.Exists("/usr/lib/python3/dist-packages/stripe/__init__.py"))
            Missing("python3-stripe");
        return Python();
    }

    /// <summary>Debian's Python, whose sqlite3 module changes a store behind Coffer's back.</summary>
    public static string Python()
    {
        const string Path = "/usr/bin/python3";
        if (!File.Exists(Path))
            Missing(Path);
        return Path;
    }

    /// <summary>Kills a process at a named system call, or makes the call fail.</summary>
    public static string Strace() => OnPath("strace");

    public static string Curl() => OnPath("curl");

    /// <summary>What sets a program's clock, as a library that is loaded before its own.</summary>
    public static string FakeTime()
    {
        string[] folders = Directory.Exists("/usr/lib") ? Directory.GetDirectories("/usr/lib") : [];
        var found = folders.Select(folder => Path.Combine(folder, "faketime", "libfaketimeMT.so.1"))
            .FirstOrDefault(File.Exists);
        if (found is null)
            Missing("faketime");
        return found!;
    }

    /// <summary>A browser, headless.</summary>
    public static string Chromium() => OnPath("chromium");

    /// <summary>What makes one script of many for a browser, installed with the SDKs.</summary>
    public static string Bundler()
    {
        var bundler = Path.Combine(SdkFolder, "node_modules", ".bin", "esbuild");
        if (!File.Exists(bundler))
            Missing("esbuild (npm ci in test/Coffer.EndToEnd/sdk)");
        return bundler;
    }

    /// <summary>A program that a shell would find.</summary>
    public static string OnPath(string program)
    {
        var found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator,
            StringSplitOptions.RemoveEmptyEntries)
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(File.Exists);
        if (found is null)
            Missing(program);
        return found!;
    }

    /// <summary>Skips the test, or fails it in CI.</summary>
    internal static void Missing(string part)
    {
        if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("CI")))
            Assert.Skip($"{part} is not there: {Install}.");
        else
            Assert.Fail($"{part} is not there, and in CI it must be: {Install}.");
    }

    private static string FindRepository()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Coffer.slnx")))
                return folder.FullName;
        }

        throw new InvalidOperationException(
            $"No Coffer.slnx is above {AppContext.BaseDirectory}: the tests run from within the repository.");
    }
}
