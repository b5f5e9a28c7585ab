using System.Runtime.Versioning;
using System.Text.Json;
using Coffer.Checks;
using Coffer.Cli;
using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Tests.Checks;

/// <summary>A store that was broken, each time in one way: <c>coffer check</c> says that, and what to do.</summary>
[Trait("Keys", "check")]
[UnsupportedOSPlatform("windows")]
public sealed class CheckupTests : IAsyncLifetime
{
    private const UnixFileMode Own = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private TestServer server = null!;

    private string KeyFile => Path.Combine(server.Data, "coffer.key");

    private string Anchor => Path.Combine(server.Data, "coffer.anchor");

    private string Checkpoints => Path.Combine(server.Data, "audit-checkpoints.jsonl");

    private CofferOptions Options => new() { Data = server.Data };

    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "files are broken");
        server = await TestServer.StartAsync();
        for (var i = 0; i < 3; i++)
            (await server.Client(account: $"acct_{i}").Set("k")).IsOk();
    }

    public async ValueTask DisposeAsync()
    {
        if (server is not null)
            await server.DisposeAsync();
    }

    [Fact]
    public async Task A_store_that_is_well_is_ok_everywhere_beside_its_server_and_after_it()
    {
        // The process that serves is that of the tests, and may be dumped.
        (await CheckAsync()).AndNothingElseBut("process")
            .Says(Grade.Ok, "chain", "entries verify").Says(Grade.Ok, "rows", "open under their root key");
        var after = (await StoppedAsync()).AndNothingElseBut();
        Assert.Equal(["settings", "process", "files", "schema", "root_keys", "anchor", "clock", "disk", "checkpoints",
            "rows", "chain"], after.Found.Select(finding => finding.Check).Distinct());
        Assert.All(after.Found, finding => Assert.Null(finding.Hint));
    }

    [Fact]
    public async Task Nothing_is_changed_of_a_store_that_was_stopped_and_of_one_that_was_killed()
    {
        // As a process that is killed leaves it: with its log and the index of that.
        using var killed = new TemporaryDirectory();
        using (var copy = System.Diagnostics.Process.Start("cp", ["-p", "-r", $"{server.Data}/.", killed.Path]))
            await copy.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(new FileInfo(killed.File("coffer.db-wal")).Length > 0);
        await server.StopAsync();
        foreach (var data in (string[])[killed.Path, server.Data])
        {
            var before = StateOf(data);
            (await Checked.RunAsync(new CofferOptions { Data = data }, server.Time)).AndNothingElseBut()
                .Says(Grade.Ok, "chain", "entries verify");
            Assert.Equal(before, StateOf(data));
        }
    }

    [Fact]
    public async Task All_that_is_wrong_is_said_at_once()
    {
        await server.StopAsync();
        File.SetUnixFileMode(server.Data, Own | UnixFileMode.UserExecute | UnixFileMode.OtherRead);
        File.SetUnixFileMode(KeyFile, Own | UnixFileMode.OtherRead);
        File.Delete(Checkpoints);
        File.WriteAllText(Anchor, "nothing");
        server.Time.Move(TimeSpan.FromDays(3));
        var found = await CheckAsync(options => options with { Listen = "http://192.0.2.1:80", TlsCert = "/none" });
        found.Says(Grade.Problem, "settings", "would send secrets in plain text", "coffer settings")
            .Says(Grade.Problem, "settings", "--tls-cert needs --tls-key with it")
            .Says(Grade.Warning, "certificate", "it has no key, see settings")
            .Says(Grade.Warning, "files", $"{server.Data} can be used by others (mode 0704)", "chmod 700")
            .Says(Grade.Problem, "files", $"the key file {KeyFile} can be read or written by other users",
                $"chmod 600 {KeyFile}")
            .Says(Grade.Problem, "root_keys", "can be read or written by other users", "chmod 600")
            .Says(Grade.Warning, "anchor", "the store's keys are not open, see root_keys")
            .Says(Grade.Warning, "rows", "see root_keys").Says(Grade.Warning, "chain", "see root_keys")
            .Says(Grade.Warning, "checkpoints", "has no checkpoint", "the server's log")
            .Says(Grade.Warning, "clock", "and the store was last changed at", "removes nothing")
            .Says(Grade.Ok, "schema", "as this program makes it").Says(Grade.Ok, "disk", "are free in");
    }

    [Theory]
    [InlineData("coffer.db", Grade.Warning)]
    [InlineData("coffer.lock", Grade.Warning)]
    [InlineData("coffer.key", Grade.Problem)]
    [InlineData("coffer.anchor", Grade.Problem)]
    [InlineData("audit-checkpoints.jsonl", Grade.Problem)]
    internal async Task A_file_that_others_may_change_is_named(string name, Grade grade)
    {
        await server.StopAsync();
        var file = Path.Combine(server.Data, name);
        File.SetUnixFileMode(file, Own | UnixFileMode.OtherWrite);
        (await CheckAsync()).Says(grade, "files", file, $"chmod 600 {file}");
    }

    [Fact]
    public async Task A_file_of_another_user_is_named()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root gives files to others");
        await server.StopAsync();
        var file = Path.Combine(server.Data, "coffer.anchor");
        using (var chown = System.Diagnostics.Process.Start("chown", ["nobody", file]))
            await chown.WaitForExitAsync(TestContext.Current.CancellationToken);
        (await CheckAsync()).AndNothingElseBut("files")
            .Says(Grade.Problem, "files", $"{file} belongs to another user than the data directory", "chown");
    }

    [Fact]
    public async Task A_file_that_a_setting_names_is_there_and_its_owners_alone()
    {
        await server.StopAsync();
        using var other = new TemporaryDirectory();
        File.WriteAllText(other.File("token"), "t");
        File.SetUnixFileMode(other.File("token"), Own | UnixFileMode.OtherRead);
        (await CheckAsync(options => options with
        {
            RootKey = options.RootKey with { VaultTokenFile = other.File("token"), VaultSecretFile = "/none" },
        })).AndNothingElseBut("files").Says(Grade.Warning, "files", other.File("token"), "chmod 600")
            .Says(Grade.Problem, "files", "/none is not there");
    }

    [Fact]
    public async Task Before_the_first_start_it_says_what_that_will_do_and_where_a_store_was_lost_it_says_that()
    {
        await server.StopAsync();
        using var empty = new TemporaryDirectory();
        Directory.Delete(empty.Path);
        var found = await Checked.RunAsync(new CofferOptions { Data = empty.Path }, server.Time);
        found.Says(Grade.Warning, "files", "is not there", "The first start creates it")
            .Says(Grade.Warning, "schema", "there is no store", "The first start");
        Assert.DoesNotContain(found.Found, finding => finding.Grade == Grade.Problem);
        Assert.False(Directory.Exists(empty.Path));
        Directory.CreateDirectory(empty.Path);

        File.Delete(server.StoreFile);
        (await CheckAsync()).Says(Grade.Problem, "schema", "says that there was one", "Restore the store");
        File.Delete(Anchor);
        (await CheckAsync()).Says(Grade.Problem, "schema", "has checkpoints of one", "Restore the store");
        Assert.False(File.Exists(server.StoreFile));
    }

    [Theory]
    [InlineData("PRAGMA user_version = 99", Grade.Problem, "was written by a newer Coffer (schema 99", "a newer one")]
    [InlineData("PRAGMA user_version = 1", Grade.Warning, "has schema 1, and this program makes", "Take a back-up")]
    [InlineData("PRAGMA application_id = 1", Grade.Problem, "has Coffer's tables but not its marks", "Restore")]
    [InlineData("CREATE TRIGGER t AFTER INSERT ON secrets BEGIN SELECT 1; END", Grade.Problem,
        "trigger t of secrets is not Coffer's", "Take back what was changed")]
    internal async Task A_schema_that_is_another_is_named_and_left(string sql, Grade grade, string text, string hint)
    {
        await server.StopAsync();
        server.Execute(sql);
        var before = StateOf(server.Data);
        (await CheckAsync()).Says(grade, "schema", text, hint).Says(Grade.Warning, "chain", "see schema");
        Assert.Equal(before, StateOf(server.Data));
    }

    [Fact]
    public async Task A_file_that_is_no_database_and_a_log_without_its_index_are_named()
    {
        await server.StopAsync();
        File.WriteAllText(server.StoreFile + "-wal", "a log");
        (await CheckAsync()).Says(Grade.Problem, "schema", "log without its index", "Start the server");
        File.Delete(server.StoreFile + "-wal");
        File.WriteAllText(server.StoreFile, new string('x', 4096));
        (await CheckAsync()).Says(Grade.Problem, "schema", "SQLite error 26", "that it is whole");
    }

    [Theory]
    [InlineData("UPDATE tenants SET sealed_keys = (SELECT sealed_keys FROM tenants ORDER BY id DESC LIMIT 1)",
        "row 1 of tenants")]
    [InlineData("UPDATE apps SET account = 'acct_other'", "of apps")]
    [InlineData("INSERT INTO apps SELECT CAST('app_b' AS BLOB), name, account, created, sealed FROM apps LIMIT 1",
        ": blob 6170705F62 of apps")]
    public async Task A_row_that_does_not_open_is_named(string sql, string row)
    {
        await server.StopAsync();
        server.Execute(sql);
        (await CheckAsync()).AndNothingElseBut("rows")
            .Says(Grade.Problem, "rows", "do not open under the root key that they name: ", "from a back-up")
            .Says(Grade.Problem, "rows", row);
    }

    [Fact]
    public async Task A_log_that_was_edited_or_cut_or_is_yesterdays_is_named()
    {
        await server.StopAsync();
        File.Copy(server.StoreFile, server.StoreFile + ".yesterday");
        await server.StartAgainAsync();
        (await server.Client().Set("more")).IsOk();
        server.Time.Move(TimeSpan.FromMinutes(2));
        await server.StopAsync();
        File.Copy(server.StoreFile, server.StoreFile + ".today");
        server.Execute("UPDATE audit SET entries = CAST(replace(CAST(entries AS TEXT), 'set', 'get') AS BLOB)");
        (await CheckAsync()).AndNothingElseBut("chain")
            .Says(Grade.Problem, "chain", "were changed", "find out who changed");
        File.Copy(server.StoreFile + ".today", server.StoreFile, overwrite: true);
        server.Execute("DELETE FROM audit WHERE row = (SELECT max(row) FROM audit)");
        (await CheckAsync()).AndNothingElseBut("chain").Says(Grade.Problem, "chain", "its tail was cut, or", "newest");
        File.Copy(server.StoreFile + ".yesterday", server.StoreFile, overwrite: true);
        (await CheckAsync()).AndNothingElseBut("chain").Says(Grade.Problem, "chain", "an old copy was put back");
    }

    [Fact]
    public async Task An_anchor_of_another_store_or_a_later_one_or_none_is_named()
    {
        await server.StopAsync();
        var own = File.ReadAllText(Anchor);
        File.WriteAllText(Anchor, own.Replace(" 1\n", " 7\n", StringComparison.Ordinal));
        (await CheckAsync()).AndNothingElseBut("anchor")
            .Says(Grade.Problem, "anchor", "it has serial 1, this node has seen 7", "Restore the newest copy");
        File.WriteAllText(Anchor, own.Replace(own.Split(' ')[1], new string('0', 32), StringComparison.Ordinal));
        (await CheckAsync()).AndNothingElseBut("anchor")
            .Says(Grade.Problem, "anchor", "the store is not the one that", "Check --data");
        File.Delete(Anchor);
        (await CheckAsync()).AndNothingElseBut("anchor")
            .Says(Grade.Warning, "anchor", "is believed", "another node");
    }

    [Fact]
    public async Task A_clock_before_the_last_change_or_long_after_it_is_named()
    {
        await server.StopAsync();
        server.Time.Step(-TimeSpan.FromHours(1));
        (await CheckAsync()).AndNothingElseBut("clock")
            .Says(Grade.Problem, "clock", "what has expired is not removed until then", "chronyd");
        server.Time.Step(TimeSpan.FromDays(2));
        (await CheckAsync()).AndNothingElseBut("clock").Says(Grade.Warning, "clock", "was last changed at");
    }

    [Fact]
    public async Task Checkpoints_that_are_no_longer_written_are_noticed_while_the_server_runs()
    {
        await server.StopAsync();
        await server.StartAgainAsync();
        (await CheckAsync()).AndNothingElseBut("process").Says(Grade.Ok, "checkpoints", "the last checkpoint is of");
        var kept = await File.ReadAllTextAsync(Checkpoints, TestContext.Current.CancellationToken);
        (await server.Client().Set("more")).IsOk();
        server.Time.Move(TimeSpan.FromMinutes(10));
        await File.WriteAllTextAsync(Checkpoints, kept, TestContext.Current.CancellationToken);
        (await CheckAsync()).AndNothingElseBut("process", "checkpoints")
            .Says(Grade.Warning, "checkpoints", "the log has grown since", "the server's log");
    }

    [Fact]
    public async Task A_scheduled_back_up_that_is_missing_too_old_or_without_its_keys_is_named()
    {
        var backups = new CofferOptions.BackupOptions(Path.Combine(server.Data, "backups"), null);
        await server.StopAsync();
        (await CheckAsync(With)).Says(Grade.Problem, "backup", "no back-up was made");
        Directory.CreateDirectory(backups.Directory!);
        (await CheckAsync(With)).Says(Grade.Problem, "backup", "has no back-up of this store");
        var file = Path.Combine(backups.Directory!, "made.backup");
        await BackupFiles.CreateAsync(
            server.Location, file, null, file + ".keys", static _ => { }, server.Time.Seconds, default);
        (await CheckAsync(With)).Says(Grade.Ok, "backup", "is 0 hours old");
        server.Time.Move(TimeSpan.FromHours(49));
        (await CheckAsync(With)).Says(Grade.Problem, "backup", "is 49 hours old");
        File.Delete(file + ".keys");
        (await CheckAsync(With)).Says(Grade.Problem, "backup", "has no keys");

        CofferOptions With(CofferOptions options) => options with { Backups = backups };
    }

    [Fact]
    public async Task How_fast_it_grows_is_told_by_the_log_of_the_last_week()
    {
        for (var day = 0; day < 10; day++)
        {
            server.Time.Move(TimeSpan.FromDays(1));
            for (var i = 0; i < 4; i++)
                (await server.Client().Set($"k{i}", new string('x', 1000))).IsOk();
        }

        await server.StopAsync();
        var found = (await CheckAsync()).AndNothingElseBut();
        // 28 or 32 of some 45 rows are of the last week; the file has some 200 KB.
        found.Says(Grade.Ok, "disk", "and grows by about ");
        var text = found.Found.Last(finding => finding.Check == "disk").Text;
        var kilobytes = double.Parse(text.Split("about ")[1].Split(' ')[0],
            System.Globalization.CultureInfo.InvariantCulture);
        var size = new FileInfo(server.StoreFile).Length / 1024.0;
        Assert.InRange(kilobytes, size * 0.55 / 7, size * 0.80 / 7);
        await server.KeepAsync(new Dictionary<string, string> { ["audit-retention-days"] = "9" });
        (await CheckAsync()).Says(Grade.Ok, "disk", "grows by about 0 KB a day");
    }

    [Fact]
    public async Task A_certificate_is_named_before_its_end_and_after_it()
    {
        await server.StopAsync();
        using var files = new PemFiles();
        foreach (var (days, grade, text) in ((int, Grade, string)[])[
            (100, Grade.Ok, "is good until"), (20, Grade.Warning, "in 20 days"), (-1, Grade.Problem, "expired at")])
        {
            files.Renew("one", server.Time.Now.AddDays(days));
            (await CheckAsync(With)).AndNothingElseBut("certificate").Says(grade, "certificate", text);
        }

        // One that is good for days is not spoken of before the last quarter of them.
        foreach (var (hours, grade, text) in ((int, Grade, string)[])[
            (96, Grade.Ok, "is good until"), (119, Grade.Warning, "in 1 days"), (-1, Grade.Problem, "is good from")])
        {
            var from = server.Time.Now.AddHours(-hours);
            files.Write("days", from: from, until: from.AddDays(6));
            (await CheckAsync(With)).AndNothingElseBut("certificate").Says(grade, "certificate", text);
        }

        var key = File.ReadAllText(files.Key);
        files.Renew("another");
        File.WriteAllText(files.Key, key);
        (await CheckAsync(With)).AndNothingElseBut("certificate")
            .Says(Grade.Problem, "certificate", "is not the key of the first certificate", "tls-cert");
        File.Delete(files.Cert);
        (await CheckAsync(With)).AndNothingElseBut("certificate").Says(Grade.Problem, "certificate", "cannot be read");

        CofferOptions With(CofferOptions options) => options with
        {
            Listen = "https://127.0.0.1:0",
            TlsCert = files.Cert,
            TlsKey = files.Key,
        };
    }

    [Fact]
    public async Task A_check_that_hangs_or_fails_is_said_and_the_others_run()
    {
        await server.StopAsync();
        var hanging = new TaskCompletionSource();
        Checkup.Check[] checks =
        [
            new("hangs", 1, (_, _, _) => hanging.Task),
            new("fails", 5, (_, _, _) => throw new InvalidOperationException("sk_test_secret")),
            new("forbidden", 5, (_, _, _) => throw new UnauthorizedAccessException("no")),
            new("runs", 5, (_, found, _) =>
            {
                found.Ok("well");
                return Task.CompletedTask;
            }),
        ];
        var found = new Checked(await Checkup.RunAsync(
            checks, Options, server.Time, TestContext.Current.CancellationToken));
        found.Says(Grade.Warning, "hangs", "it takes longer than 1 seconds")
            .Says(Grade.Problem, "fails", "(InvalidOperationException)")
            .Says(Grade.Warning, "forbidden", "not looked at: no", "as the user that runs the server")
            .Says(Grade.Ok, "runs", "well");
        Assert.DoesNotContain("secret", $"{found}", StringComparison.Ordinal);
        hanging.SetResult();
    }

    [Fact]
    public void Every_check_has_a_row_in_its_page() => Assert.Equal(Checkup.Names, File.ReadLines(
        Repository.File("docs/check.md")).Where(line => line.StartsWith("| `", StringComparison.Ordinal))
        .Select(line => line.Split('`')[1]));

    [Fact]
    public void What_is_found_is_a_line_each_or_one_object_and_never_moves_a_terminal()
    {
        Finding[] found =
        [
            new("disk", Grade.Ok, "all is well", null), new("chain", Grade.Problem, "it \u001b[31m broke", "Mend it."),
        ];
        Assert.Equal("ok disk: all is well.\n", CheckVerb.Line(found[0]));
        Assert.Equal("problem chain: it \\u001b[31m broke. Mend it.\n", CheckVerb.Line(found[1]));
        Assert.Equal("{\"status\":\"problem\",\"checks\":["
            + "{\"name\":\"disk\",\"status\":\"ok\",\"text\":\"all is well\",\"hint\":null},"
            + "{\"name\":\"chain\",\"status\":\"problem\",\"text\":\"it \\u001B[31m broke\",\"hint\":\"Mend it.\"}]}\n",
            CheckVerb.Json(found));
        Assert.Equal("warning", JsonElement.Parse(CheckVerb.Json(
            [new("disk", Grade.Warning, "a", "B."), found[0]])).GetProperty("status").GetString());
    }

    private Task<Checked> CheckAsync(Func<CofferOptions, CofferOptions>? with = null) =>
        Checked.RunAsync(with?.Invoke(Options) ?? Options, server.Time);

    private async Task<Checked> StoppedAsync()
    {
        await server.StopAsync();
        return await CheckAsync();
    }

    // Each file: its bytes, its mode and when it was written.
    private static IEnumerable<string> StateOf(string data) =>
    [
        .. Directory.GetFiles(data).Order(StringComparer.Ordinal).Select(file => string.Join(' ', file,
            Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file))),
            File.GetUnixFileMode(file), File.GetLastWriteTimeUtc(file).Ticks)),
    ];
}
