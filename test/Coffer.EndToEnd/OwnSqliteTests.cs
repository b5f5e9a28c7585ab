namespace Coffer.EndToEnd;

/// <summary>The program with another SQLite than its own, or with none: it does not start, and it says why.</summary>
[Trait("Build", "both")]
[Trait("Firm ground", "1")]
public sealed class OwnSqliteTests : IDisposable
{
    private const string Library = "libe_sqlite3.so";
    private const string NotLoaded = "the SQLite library that comes with Coffer cannot be loaded";

    private readonly TemporaryDirectory program = new();
    private readonly TemporaryDirectory data = new();

    /// <summary>A copy of the built program without the native libraries.</summary>
    public OwnSqliteTests()
    {
        foreach (var file in Directory.EnumerateFiles(Path.GetDirectoryName(Needs.Program)!))
        {
            if (Path.GetFileName(file) != Library) // which lies beside a native build
                File.Copy(file, program.File(Path.GetFileName(file)));
        }
    }

    [Fact]
    public async Task A_start_with_a_SQLite_that_is_too_old_is_refused_and_makes_no_store()
    {
        File.Copy(SystemSqlite(), program.File(Library));
        (await ServeAsync()).Refused(78, "and Coffer needs 3.53 or newer", "Nothing was changed");
        Assert.Equal(0, new FileInfo(data.File("coffer.db")).Length);
        Assert.False(File.Exists(data.File("coffer.key")));
    }

    [Fact]
    public async Task A_start_without_a_SQLite_is_refused()
    {
        (await ServeAsync()).Refused(78, NotLoaded, "Install Coffer again");
        Assert.False(File.Exists(data.File("coffer.key")));
    }

    [Fact]
    public async Task A_start_with_a_damaged_SQLite_is_refused()
    {
        await File.WriteAllTextAsync(program.File(Library), "not a library", TestContext.Current.CancellationToken);
        (await ServeAsync()).Refused(78, NotLoaded, "Install Coffer again");
    }

    [Fact]
    public async Task The_version_is_shown_though_there_is_no_SQLite()
    {
        var shown = (await Ran.ProgramAsync(program.File("coffer"), ["--version"])).EndedWith(0).Stdout;
        Assert.Contains($"SQLite unknown: {NotLoaded}\n", shown, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_systems_SQLite_is_not_used_where_the_loader_would_find_it()
    {
        using var elsewhere = new TemporaryDirectory();
        File.Copy(SystemSqlite(), elsewhere.File(Library));
        var environment = new Dictionary<string, string> { ["LD_LIBRARY_PATH"] = elsewhere.Path };
        var shown = (await Ran.ProgramAsync(Needs.Program, ["--version"], environment)).EndedWith(0).Stdout;
        Assert.Matches(@"(?m)^SQLite 3\.(5[3-9]|[6-9]\d|\d{3})\.\d+$", shown);
    }

    public void Dispose()
    {
        program.Dispose();
        data.Dispose();
    }

    private Task<Ran> ServeAsync() =>
        Ran.ProgramAsync(program.File("coffer"), ["serve", "--data", data.Path, "--listen", "http://127.0.0.1:0"]);

    /// <summary>The operating system's own library: a real one that is too old, on the systems of today.</summary>
    private static string SystemSqlite()
    {
        string[] folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
        var found = folders.Select(folder => Path.Combine(folder, "libsqlite3.so.0")).FirstOrDefault(File.Exists);
        if (found is null)
            Assert.Skip("The operating system has no SQLite of its own.");
        return found;
    }
}
