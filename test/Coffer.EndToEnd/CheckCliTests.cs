using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary><c>coffer check</c> as the person uses it who has to keep a server running.</summary>
[Trait("Keys", "check")]
public sealed class CheckCliTests
{
    [Fact]
    public async Task A_fresh_store_is_ok_everywhere_beside_its_server_and_after_it()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        var beside = (await CheckAsync("--data", data.Path)).EndedWith(0);
        Assert.All(Lines(beside), line => Assert.StartsWith("ok ", line, StringComparison.Ordinal));
        Assert.Contains($"ok process: the server (process {coffer.Pid}) runs on this data directory", beside.Stdout,
            StringComparison.Ordinal);
        Assert.Empty(beside.Stderr);
        Assert.Equal(0, await coffer.StopAsync());
        var json = Parsed((await CheckAsync("--data", data.Path, "--json")).EndedWith(0));
        Assert.Equal("ok", json.GetProperty("status").GetString());
        Assert.All(json.GetProperty("checks").EnumerateArray(), check =>
        {
            Assert.Equal(["name", "status", "text", "hint"], check.EnumerateObject().Select(field => field.Name));
            Assert.Equal(("ok", JsonValueKind.Null), (Text(check, "status"), check.GetProperty("hint").ValueKind));
        });
    }

    [Fact]
    public async Task The_exit_code_and_the_status_are_those_of_the_worst()
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        File.Delete(data.File("coffer.anchor"));
        var warned = (await CheckAsync("--data", data.Path)).EndedWith(1);
        Assert.Equal($"warning anchor: there is no {data.File("coffer.anchor")}: that the store is the right one is "
            + "believed. Copy it from another node, or have the next start write it.",
            Assert.Single(Lines(warned), line => !line.StartsWith("ok ", StringComparison.Ordinal)));
        Assert.Equal("warning", Text(Parsed(await CheckAsync("--data", data.Path, "--json")), "status"));
        File.SetUnixFileMode(data.File("coffer.key"), UnixFileMode.UserRead | UnixFileMode.OtherRead);
        var broken = (await CheckAsync("--data", data.Path)).EndedWith(2);
        Assert.Contains("problem files: the key file ", broken.Stdout, StringComparison.Ordinal);
        Assert.Contains($"Run: chmod 600 {data.File("coffer.key")}", broken.Stdout, StringComparison.Ordinal);
        Assert.Equal("problem", Text(Parsed((await CheckAsync("--data", data.Path, "--json")).EndedWith(2)), "status"));
        (await CheckAsync("--data", data.Path, "--everything")).Refused(64, "--everything", "--help");
    }

    [Fact]
    public async Task It_takes_the_settings_of_serve_from_a_file_the_environment_and_flags_and_says_all_that_is_wrong()
    {
        using var data = new TemporaryDirectory();
        var file = data.File("coffer.conf");
        await File.WriteAllTextAsync(file, $"data = {data.Path}\nrate-per-kay = 5\n",
            TestContext.Current.CancellationToken);
        var ran = await Ran.ProgramAsync(Needs.Program, ["check", "--config", file, "--listen", "http://192.0.2.1:80"],
            new Dictionary<string, string>
            {
                ["COFFER_SECRETS_PER_SCOPE"] = "many",
                ["COFFER_STORE"] = "canary-of-the-password",
            });
        ran.EndedWith(2);
        foreach (var problem in (string[])["coffer.conf line 2: rate-per-kay is an unknown setting",
            "COFFER_SECRETS_PER_SCOPE 'many' is not a whole number", "--listen 'http://192.0.2.1:80' would send",
            "COFFER_STORE is not a connection string"])
            Assert.Contains(Lines(ran), line => line.StartsWith("problem settings: ", StringComparison.Ordinal)
                && line.Contains(problem, StringComparison.Ordinal));
        Assert.DoesNotContain("canary", ran.Stdout + ran.Stderr, StringComparison.Ordinal);
        var none = await Ran.CofferAsync("check");
        Assert.Contains("problem settings: no data directory is set", none.EndedWith(2).Stdout,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_store_whose_server_was_killed_is_looked_at_and_left_to_the_last_byte()
    {
        using var data = new TemporaryDirectory();
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await client.SetAsync("k", "p")).Is(200);
            await coffer.CrashAsync();
        }

        Assert.True(new FileInfo(data.File("coffer.db-wal")).Length > 0);
        var before = StateOf(data);
        var ran = (await CheckAsync("--data", data.Path)).EndedWith(0);
        Assert.Contains("ok chain: 4 entries verify", ran.Stdout, StringComparison.Ordinal);
        Assert.Equal(before, StateOf(data));
        await using var again = await CofferProcess.ServeAsync(data);
        using var after = new WireClient(again.Url, key);
        Assert.Equal("p", (await after.FindAsync("k")).Is(200).Payload);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Beside_a_server_under_load_nothing_fails_and_all_is_ok(bool onPostgres)
    {
        await using var cluster = onPostgres ? await PostgresCluster.StartAsync(hasStandby: true) : null;
        using var data = new TemporaryDirectory();
        string[] store = cluster is null ? [] : ["--store", cluster.Store(cluster.Primary.Port)];
        await using var coffer = await CofferProcess.ServeAsync(data, store);
        using var stop = new CancellationTokenSource();
        var sets = 0;
        var load = Enumerable.Range(0, 4).Select(worker => Task.Run(async () =>
        {
            using var client = new WireClient(coffer.Url, coffer.TestKey, $"acct_{worker}");
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                (await client.SetAsync($"k{i % 5}", new string('x', 500))).Is(200);
                Interlocked.Increment(ref sets);
            }
        })).ToArray();
        for (var i = 0; i < 4; i++)
        {
            var before = Volatile.Read(ref sets);
            var ran = await CheckAsync(["--data", data.Path, .. store]);
            // The tests' own server does not sync.
            Assert.All(Lines(ran), line => Assert.True(line.StartsWith("ok ", StringComparison.Ordinal)
                || line.StartsWith("problem postgresql: fsync is off", StringComparison.Ordinal), ran.Stdout));
            Assert.Contains("ok chain: ", ran.Stdout, StringComparison.Ordinal);
            Assert.Equal(onPostgres, ran.Stdout.Contains(", 1 replicas, ", StringComparison.Ordinal));
            Assert.True(Volatile.Read(ref sets) > before, "nothing was stored meanwhile");
        }

        await stop.CancelAsync();
        await Task.WhenAll(load);
        Assert.Empty(coffer.Complaints);
        Assert.Equal(0, await coffer.StopAsync());
        await AuditVerb.VerifiedAsync(data, store);
    }

    [Theory]
    [InlineData("-3d", 2, "problem clock: the clock says")]
    [InlineData("+400d", 1, "warning clock: the clock says")]
    public async Task A_clock_that_is_set_wrong_under_it_is_named(string offset, int code, string said)
    {
        var library = Needs.FakeTime();
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        var ran = await Ran.ProgramAsync(Needs.Program, ["check", "--data", data.Path], new Dictionary<string, string>
        {
            ["LD_PRELOAD"] = library,
            ["FAKETIME"] = offset,
            ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
        });
        Assert.Contains(said, ran.EndedWith(code).Stdout, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_that_is_nearly_full_is_named_with_its_figures()
    {
        await using var disk = await SmallDisk.MountAsync("800m");
        var data = Path.Combine(disk.Path, "data");
        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", data]))
            Assert.Equal(0, await coffer.StopAsync());
        (await CheckAsync("--data", data)).EndedWith(0);
        await disk.ResizeAsync("20m");
        Assert.Matches("problem disk: [0-9.]+ MB of 20 MB are free in .*Make room",
            (await CheckAsync("--data", data)).EndedWith(2).Stdout);
        await disk.ResizeAsync("800m");
        using (var filler = new FileStream(Path.Combine(disk.Path, "large"), FileMode.Create))
        {
            var megabyte = new byte[1024 * 1024];
            for (var i = 0; i < 717; i++)
                filler.Write(megabyte);
        }

        Assert.Matches(@"warning disk: [0-9.]+ MB of 800 MB are free in .* \(9 %\). Make room",
            (await CheckAsync("--data", data)).EndedWith(1).Stdout);
    }

    [Fact]
    public async Task A_disk_that_is_full_in_less_than_two_weeks_is_named()
    {
        var twoDaysAgo = new Dictionary<string, string>
        {
            ["LD_PRELOAD"] = Needs.FakeTime(),
            ["FAKETIME"] = "-2d",
            ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
        };
        await using var disk = await SmallDisk.MountAsync("20m");
        var data = Path.Combine(disk.Path, "data");
        string key;
        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", data], environment: twoDaysAgo))
        {
            key = coffer.TestKey;
            Assert.Equal(0, await coffer.StopAsync());
        }

        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", data]))
        {
            using var client = new WireClient(coffer.Url, key);
            for (var i = 0; i < 10; i++)
                (await client.SetAsync("k", "p")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        Assert.Matches("ok disk: the store has [0-9.]+ KB and grows by about [0-9.]+ KB a day",
            (await CheckAsync("--data", data)).EndedWith(2).Stdout); // 20 MB are too few
        File.Delete(Path.Combine(data, "coffer.reserve"));
        await disk.ResizeAsync("1m");
        Assert.Matches("warning disk: the store has [0-9.]+ KB and grows by about .* lasts [0-9]+ days. Make room",
            (await CheckAsync("--data", data)).EndedWith(2).Stdout);
    }

    [Fact]
    [Trait("Firm edges", "12")]
    public async Task A_server_that_may_open_too_few_files_or_be_dumped_is_named()
    {
        using var data = new TemporaryDirectory();
        (await Ran.ProgramAsync(Needs.OnPath("prlimit"),
            ["--nofile=300:300", Needs.Program, "serve", "--data", data.Path, "--listen", "http://127.0.0.1:0"]))
            .Refused(78, "this process may open 300 files at once, and needs 576 at least", "ulimit -n");
        Assert.False(File.Exists(data.File("coffer.db")));
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", data.Path],
            under: [Needs.OnPath("prlimit"), "--nofile=700:700", "--core=1000:1000"],
            environment: new Dictionary<string, string> { ["DOTNET_EnableDiagnostics"] = "1" });
        var ran = (await CheckAsync("--data", data.Path)).EndedWith(1);
        Assert.Contains($"warning process: the server (process {coffer.Pid}) may open 700 files", ran.Stdout,
            StringComparison.Ordinal);
        Assert.Contains("may leave a core dump", ran.Stdout, StringComparison.Ordinal);
        Assert.Contains("This process may open 700 files: there is room for 156 connections", coffer.Stderr,
            StringComparison.Ordinal);

        // More clients than it has files for: those that are there are served, and when they go so are the others.
        var idle = new List<TcpClient>();
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        try
        {
            for (var i = 0; i < 400; i++)
            {
                idle.Add(new TcpClient());
                try
                {
                    await idle[^1].ConnectAsync(
                        coffer.Url.Host, coffer.Url.Port, TestContext.Current.CancellationToken);
                }
                catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
                {
                    // One too many is closed at once, which may be before this side has seen that it is open.
                }
            }

            await UntilReadyAsync(client);
            Assert.InRange(Directory.GetFiles($"/proc/{coffer.Pid}/fd").Length, 1, 600);
        }
        finally
        {
            idle.ForEach(each => each.Dispose());
        }

        (await client.SetAsync("k", "p")).Is(200);
        Assert.DoesNotContain("   at ", coffer.Stderr, StringComparison.Ordinal);
    }

    [Fact]
    public async Task At_a_terminal_it_is_a_table_with_marks_and_a_sum()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        var shown = await new AdminCli(coffer).AtTerminalAsync("", "check", "--data", data.Path);
        Assert.Matches(@"CHECK +FOUND", shown.Stdout);
        Assert.Contains("root_keys", shown.Stdout, StringComparison.Ordinal);
        Assert.Contains("0 problems, 0 warnings", shown.Stdout, StringComparison.Ordinal);
    }

    // Who comes faster than a server's idle connections go is closed at first.
    private static async Task UntilReadyAsync(WireClient client)
    {
        for (var waited = Stopwatch.StartNew(); ; await Task.Delay(100, TestContext.Current.CancellationToken))
        {
            try
            {
                (await client.GetAsync("/readyz")).Is(200);
                return;
            }
            catch (HttpRequestException) when (waited.Elapsed < TimeSpan.FromSeconds(10))
            {
                // it is asked again
            }
        }
    }

    private static Task<Ran> CheckAsync(params string[] arguments) => Ran.CofferAsync(["check", .. arguments]);

    private static string[] Lines(Ran ran) => ran.Stdout.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private static JsonElement Parsed(Ran ran) => JsonElement.Parse(ran.Stdout);

    private static string? Text(JsonElement json, string field) => json.GetProperty(field).GetString();

    private static IEnumerable<string> StateOf(TemporaryDirectory data) =>
    [
        .. Directory.GetFiles(data.Path).Order(StringComparer.Ordinal).Select(file => string.Join(' ', file,
            Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file))),
            File.GetUnixFileMode(file), File.GetLastWriteTimeUtc(file).Ticks)),
    ];
}
