namespace Coffer.EndToEnd;

/// <summary>
/// One process a store, where the framework was set to take no locks, or the file system has none ("Firm edges", 9).
/// </summary>
[Trait("Firm edges", "9")]
public sealed class RefusedLockTests
{
    private static readonly Dictionary<string, string> WithoutLocks =
        new() { ["DOTNET_SYSTEM_IO_DISABLEFILELOCKING"] = "1" };

    [Fact]
    public async Task Without_the_frameworks_locks_a_second_server_is_refused_and_no_live_store_is_copied_or_changed()
    {
        using var data = new TemporaryDirectory();
        using var copy = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(
            ["serve", "--data", data.Path], environment: WithoutLocks);
        (await CofferAsync("serve", "--data", data.Path, "--listen", "http://127.0.0.1:0"))
            .Refused(78, "another process uses the data directory");
        (await CofferAsync("keys", "create", "--type", "admin", "--offline", "--data", data.Path))
            .Refused(78, "a server runs on the store");
        var migrated = (await CofferAsync("migrate", "--from", data.Path, "--to", copy.Path)).EndedWith(0);
        Assert.Contains("A server uses that, so the copy is not finished", migrated.Stdout, StringComparison.Ordinal);
        (await CofferAsync("serve", "--data", copy.Path, "--listen", "http://127.0.0.1:0"))
            .Refused(78, "unfinished migration");
        Assert.Equal(0, await coffer.StopAsync());
    }

    [Theory]
    [InlineData("retval=0", "it keeps nobody else from it")]
    [InlineData("error=ENOLCK", "No locks available")]
    [InlineData("error=EOPNOTSUPP", "not supported")]
    public async Task A_file_system_whose_locks_do_not_hold_is_refused(string fault, string why)
    {
        using var data = new TemporaryDirectory();
        var ran = await Strace.RunAsync(
            "flock", fault, file: null, ["serve", "--data", data.Path, "--listen", "http://127.0.0.1:0"]);
        ran.Refused(78, why, "Choose a --data directory on a file system of this machine");
        Assert.False(File.Exists(data.File("coffer.db")));
    }

    private static Task<Ran> CofferAsync(params string[] line) =>
        Ran.ProgramAsync(Needs.Program, line, WithoutLocks);
}
