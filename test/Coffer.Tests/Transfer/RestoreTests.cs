using System.Text.Json;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Tests.Access;
using Coffer.Transfer;

namespace Coffer.Tests.Transfer;

/// <summary>What a restored store does, and what it does not do, until its operator has finished it.</summary>
public sealed class RestoreTests(PostgresServer postgres) : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_restored_store_is_held_until_it_is_finished_and_then_serves_what_it_had(bool intoDatabase)
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var file = await BackupAsync(server);
        var options = await NewAsync(server, intoDatabase);
        var outcome = await RestoreAsync(file, options);
        Assert.Empty(outcome.Restored.Problems);
        var key = outcome.Key!.Value.GetProperty("secret").GetString()!;
        var keys = server.Keys;

        await using (var node = await StartAsync(options))
        {
            foreach (var held in (Answer[])[
                await node.Find(keys.TestSecretKey, "name 77", "acct_1"), await node.Set(keys.TestSecretKey, "k", "v")])
            {
                var error = held.Json["error"]!;
                Assert.Equal((503, "api_error", "store_held"),
                    (held.Status, (string?)error["type"], (string?)error["code"]));
            }

            // The admin key of the back-up may have been revoked since.
            Assert.Equal(503, (await node.Get(keys.AdminKey!, "/admin/v1/apps")).Status);
            (await node.Get(key, "/admin/v1/apps")).IsOk();
            var ready = await node.Get(key, "/readyz");
            Assert.Equal(503, ready.Status);
            Assert.Contains("is held: run coffer restore --finish", ready.Text, StringComparison.Ordinal);
            if (!intoDatabase)
            {
                await RefusedAsync(
                    () => FinishAsync(options), "a server runs on the store");
            }
        }

        Assert.Equal(0, await FinishAsync(options));
        await RefusedAsync(() => FinishAsync(options), "the store is not held");
        await using (var node = await StartAsync(options))
        {
            Assert.Equal("payload 77", (await node.Find(keys.TestSecretKey, "name 77", "acct_1")).IsOk().Payload);
            (await node.Find(keys.TestSecretKey, "name 1", "acct_1")).IsError(404, "resource_missing", "name");
            (await node.Set(keys.TestSecretKey, "new", "v")).IsOk();
            (await node.Get(keys.AdminKey!, "/admin/v1/apps")).IsOk();
            Assert.Equal(200, (await node.Get(key, "/readyz")).Status);
        }

        var report = await AuditArchive.VerifyStoreAsync(new(options.Data, options.Store), null, default);
        Assert.Empty(report.Problems);
    }

    [Fact]
    public async Task Where_nobody_knows_what_came_later_every_key_of_the_back_up_is_ended()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var options = await NewAsync(server);
        var outcome = await RestoreAsync(await BackupAsync(server), options);
        var key = outcome.Key!.Value.GetProperty("secret").GetString()!;
        Assert.InRange(await FinishAsync(options, isUnknown: true), 5, 100);
        StoreLocation of = new(options.Data, options.Store);
        var first = await PublicProofs.KeepAsync(of);
        await using (var node = await StartAsync(options))
        {
            foreach (var ended in (string[])[
                server.Keys.TestSecretKey, server.Keys.LiveSecretKey!, server.OtherAppKey, server.Keys.AdminKey!])
                Assert.Equal(401, (await node.Get(ended, "/v1/apps/secrets?scope[type]=account")).Status);
            (await node.Get(key, "/admin/v1/apps")).IsOk();

            // Nor does anybody know who has read the back-up: every tenant gets another seed, under another root key.
            var rotation = await RotatedAsync(node, key);
            Assert.Equal((null, true, 0), ((string?)rotation["app"], (bool)rotation["compromised"]!,
                (int)rotation["damaged"]!));
            Assert.Equal((int)rotation["tenants"]!, (int)rotation["tenants_done"]!);
            Assert.InRange((int)rotation["tenants"]!, 2, 1_000);
            var root = Assert.Single((await node.Get(key, "/admin/v1/root_keys")).IsOk().Json["keys"]!.AsArray())!;
            Assert.Equal((3, "done"), ((int)root["version"]!, (string?)root["state"]));
            // Nor who has the key that signed: another does, by the word of that one.
            Assert.Contains("signing key 2\n", (await node.Get(key, "/.well-known/coffer-audit-key")).Text,
                StringComparison.Ordinal);
        }

        Assert.Contains("\"key\":2,", File.ReadLines(AuditParts.CheckpointFile(options)).Last(),
            StringComparison.Ordinal);
        var report = await PublicProofs.VerifyAsync(of, first);
        Assert.Empty(report.Problems);
        Assert.Equal([$"entries 1 to {report.Entries} of node_1"], report.Proven);
    }

    /// <summary>Its entries after that are proven by a pepper that the back-up has not.</summary>
    [Fact]
    [Trait("Keys", "S36")]
    public async Task A_renewal_that_a_later_log_shows_is_repeated()
    {
        await using var server = await FilledAsync();
        var (file, log) = await RenewedSinceAsync(server);
        var options = await NewAsync(server);
        var outcome = await RestoreAsync(file, options);
        var key = outcome.Key!.Value.GetProperty("secret").GetString()!;
        var (_, shown, _) = await RestoredStore.FinishAsync(options, false, log, TimeProvider.System, default);
        Assert.True(shown!.IsRenewalAsked);
        await using var node = await StartAsync(options);
        await RenewedAsync(() => node.Get(key, "/admin/v1/root_keys"));
        Assert.Equal("payload 77", (await node.Find(server.Keys.TestSecretKey, "name 77", "acct_1")).IsOk().Payload);
    }

    /// <summary>It had just begun: nothing but the key that signs says so yet.</summary>
    [Fact]
    [Trait("Keys", "S36")]
    public async Task A_log_of_a_renewal_that_proves_rows_again_shows_what_came_after_the_back_up()
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        await server.StopAsync();
        var file = await BackupAsync(server);
        await AskAsync(server);
        await UntilAsync(server, RenewalState.Proving);
        await server.OnStoreAsync(async (_, committer, _) =>
        {
            await committer.CommitAsync(new Change.Noted(new AuditEntry("set", "ok"))); // by the second pepper
            return true;
        });
        var options = await NewAsync(server);
        await RestoreAsync(file, options);
        var (_, shown, _) = await RestoredStore.FinishAsync(
            options, false, await ExportedAsync(server), TimeProvider.System, default);
        Assert.Equal((true, 1L), (shown!.IsRenewalAsked, shown.Sets));
        var instance = await OpenedAsync(options);
        Assert.Equal((RenewalState.Asked, 2u), (instance.Facts!.Renewal!.State, instance.Facts.Renewal.Pepper));
    }

    /// <summary>The back-up's was past all tenants but the last.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Keys", "S36")]
    public async Task A_renewal_of_the_back_up_waits_for_what_has_to_rotate_since_the_back_up(bool isUnknown)
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        await server.StopAsync();
        await AskAsync(server);
        await UntilAsync(server, RenewalState.Listed);
        for (var tries = 0; !await server.OnStoreAsync(async (engine, _, instance) => TenantRotations.Read(
            instance, await engine.FindMetaAsync(TenantRotations.MetaKey, default)).All is [{ Done: > 0 }]); tries++)
        {
            Assert.InRange(tries, 0, 80);
            server.Time.Move(TimeSpan.FromSeconds(1)); // what is done in the second in which it was asked for is not
            await KilledProcess.AfterOneCommitAsync(server);
        }

        var file = await BackupAsync(server);
        await server.StartAgainAsync();
        await RenewedAsync(() => server.Admin.Get("/admin/v1/root_keys"));
        (await server.Admin.Post("/admin/v1/tenant_keys/rotate", [("app", await server.AppIdAsync()),
            ("compromised", "true")])).IsOk();
        await server.StopAsync();
        var options = await NewAsync(server);
        var key = (await RestoreAsync(file, options)).Key!.Value.GetProperty("secret").GetString()!;
        var (_, shown, _) = await RestoredStore.FinishAsync(options, isUnknown,
            isUnknown ? null : await ExportedAsync(server), TimeProvider.System, default);
        Assert.Equal((!isUnknown, false), (shown?.IsCompromised == true, shown?.IsRenewalAsked == true));
        await using var node = await StartAsync(options);
        await RenewedAsync(() => node.Get(key, "/admin/v1/root_keys"));
        var rotations = (await node.Get(key, "/admin/v1/tenant_keys")).IsOk().Json["rotations"]!.AsArray();
        Assert.Equal(2, rotations.Count);
        Assert.Equal(("done", 1), ((string?)rotations[^1]!["state"], (int)rotations[^1]!["tenants_done"]!));
    }

    /// <summary>The back-up's waits for an owner, who confirmed it later.</summary>
    [Fact]
    [Trait("Keys", "S36")]
    public async Task A_second_renewal_that_a_later_log_shows_is_repeated_whatever_the_back_up_has_of_the_first()
    {
        const string Root = "/admin/v1/root_keys";
        await using var server = await FilledAsync();
        (await server.Admin.Post($"{Root}/rotate", [("compromised", "true")])).IsOk();
        await RenewedAsync(() => server.Admin.Get(Root));
        await server.StopAsync();
        var file = await BackupAsync(server);
        var owner = (await OfflineKey.CreateAsync(new CofferOptions { Data = server.Data }, null, server.Time, default))
            .GetProperty("secret").GetString()!;
        await server.StartAgainAsync(secretsPerScope: 1_000);
        var listed = (string)(await server.Client(owner).Get($"{Root}/confirmation")).IsOk().Json["keys"]!;
        (await server.Client(owner).Post($"{Root}/confirmation", [("keys", listed)])).IsOk();
        (await server.Admin.Post($"{Root}/rotate", [("compromised", "true")])).IsOk();
        await RenewedAsync(() => server.Admin.Get(Root));
        await server.StopAsync();
        var options = await NewAsync(server);
        await RestoreAsync(file, options);
        await FinishAsync(options, log: await ExportedAsync(server));
        var instance = await OpenedAsync(options);
        Assert.Equal((RenewalState.Asked, 3u), (instance.Facts!.Renewal!.State, instance.Facts.Renewal.Pepper));
    }

    /// <summary>Such a node is not there when a store is restored, but may be started on it.</summary>
    [Fact]
    [Trait("Keys", "S36")]
    public async Task A_renewal_that_a_later_log_shows_is_not_dropped_while_a_node_of_before_runs()
    {
        await using var server = await FilledAsync();
        var (file, log) = await RenewedSinceAsync(server);
        var options = await NewAsync(server, inDatabase: true);
        await RestoreAsync(file, options);
        using (var engine = await PostgresEngine.OpenAsync(options.Store!, default))
        {
            var instance = await Instance.OpenAsync(
                engine, new StoreLocation(options.Data, options.Store).OpenWrappers(), default);
            using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
            await committer.CommitAsync(new ControlChange(instance,
                control => control with { Level = Control.StoredSettings }, [], []));
        }

        await PostgresServer.ExecuteAsync(options.Store!, """
            INSERT INTO nodes (number, holder, until, version, address, started, seen, clock_offset, draining, level,
                reads_format_2)
            VALUES (900, 'before', now() + interval '1 hour', '0.0.1', NULL, now(), now(), 0, 0, 6, 'before')
            """);
        await RefusedAsync(() => FinishAsync(options, log: log), "nodes of an earlier release run on this store");
        await PostgresServer.ExecuteAsync(options.Store!, "DELETE FROM nodes WHERE number = 900");
        await FinishAsync(options, log: log);
    }

    // The store as it is, without a server.
    private static async Task<Instance> OpenedAsync(CofferOptions options)
    {
        var location = new StoreLocation(options.Data, null);
        using var tables = await BackupFiles.OpenAsync(location, default);
        return await Instance.OpenAsync(StoredKeys.Read(tables), location.OpenWrappers(), default);
    }

    private static Task<bool> AskAsync(TestServer server) => server.OnStoreAsync(async (_, committer, instance) =>
    {
        var change = new ControlChange(instance, control => control with
        {
            Renewal = new Renewal(RenewalState.Asked, instance.Facts!.NewestVersion + 1, 2, server.Time.Seconds),
        }, [], [new AuditEntry("renew_store", StoreRenewal.Word(RenewalState.Asked))]);
        await committer.CommitAsync(change);
        return change.HasChanged;
    });

    // By processes that are killed after each commit.
    private static async Task UntilAsync(TestServer server, RenewalState state)
    {
        for (var tries = 0; ; tries++)
        {
            await KilledProcess.AfterOneCommitAsync(server);
            if (await server.OnStoreAsync((_, _, instance) =>
                Task.FromResult(instance.Facts!.Renewal!.State)) == state)
                return;
            Assert.InRange(tries, 0, 80);
        }
    }

    // The back-up, and the log of the store that was renewed after it.
    private async Task<(string Backup, string Log)> RenewedSinceAsync(TestServer server)
    {
        await server.StopAsync();
        var backup = await BackupAsync(server);
        await server.StartAgainAsync(secretsPerScope: 1_000);
        (await server.Admin.Post("/admin/v1/root_keys/rotate", [("compromised", "true")])).IsOk();
        await RenewedAsync(() => server.Admin.Get("/admin/v1/root_keys"));
        await server.StopAsync();
        return (backup, await ExportedAsync(server));
    }

    private async Task<string> ExportedAsync(TestServer server)
    {
        var log = directory.NewPath();
        await Exports.WriteAsync(server.Location, log);
        return log;
    }

    private static async Task RenewedAsync(Func<Task<Answer>> show)
    {
        for (var tries = 0; (string?)(await show()).IsOk().Json["renewal"]?["state"] != "waiting_for_owner"; tries++)
        {
            Assert.InRange(tries, 0, 400);
            await Task.Delay(50);
        }
    }

    [Fact]
    public async Task A_rotation_for_a_compromise_that_a_later_log_shows_is_repeated()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var file = await BackupAsync(server);
        await server.StartAgainAsync(secretsPerScope: 1_000);
        (await server.Admin.Post("/admin/v1/tenant_keys/rotate", [("app", await server.AppIdAsync()),
            ("compromised", "true")])).IsOk();
        for (var tries = 0; (string?)(await server.Admin.Get("/admin/v1/tenant_keys")).IsOk()
            .Json["rotations"]![0]!["state"] != "done"; tries++)
        {
            Assert.InRange(tries, 0, 300);
            await Task.Delay(50);
        }

        (await server.Client(account: "acct_1").Delete("name 3")).IsOk();
        await server.StopAsync();
        var log = await ExportedAsync(server);
        var options = await NewAsync(server);
        var key = (await RestoreAsync(file, options)).Key!.Value.GetProperty("secret").GetString()!;
        var (_, shown, _) = await RestoredStore.FinishAsync(options, false, log, TimeProvider.System, default);
        Assert.Equal((true, 1L), (shown!.IsCompromised, shown.Unmatched));
        await using var node = await StartAsync(options);
        Assert.True((bool)(await RotatedAsync(node, key))["compromised"]!);
    }

    [Fact]
    public async Task A_key_that_was_made_beside_the_server_before_the_back_up_opens_nothing_of_the_restored_store()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var made = await OfflineKey.CreateAsync(
            new CofferOptions { Data = server.Data }, null, TimeProvider.System, default);
        var options = await NewAsync(server);
        var outcome = await RestoreAsync(await BackupAsync(server), options);
        await using var node = await StartAsync(options);
        Assert.Equal(401, (await node.Get(made.GetProperty("secret").GetString()!, "/admin/v1/apps")).Status);
        (await node.Get(outcome.Key!.Value.GetProperty("secret").GetString()!, "/admin/v1/apps")).IsOk();
    }

    [Fact]
    public async Task What_a_later_log_shows_as_ended_forgotten_deleted_or_narrowed_does_not_come_back()
    {
        await using var server = await FilledAsync();
        var app = await server.AppIdAsync();
        (await server.Client(account: "acct_9").Set("k")).IsOk();
        var (revoked, live) = (await server.KeyAsync("secret", livemode: false), server.Keys.LiveSecretKey!);
        await server.StopAsync();
        var file = await BackupAsync(server);
        await server.StartAgainAsync(secretsPerScope: 1_000);
        (await server.Client(account: "acct_1").Delete("name 3")).IsOk();
        (await server.Client(account: "acct_1").Set("name 4", "later")).IsOk();
        var installed = (await server.Client(account: "acct_9").Get("/v1/apps/installs")).Ids().Single();
        (await server.Client().Post($"/v1/apps/installs/{installed}/uninstall", [])).IsOk();
        (await server.Admin.Post($"/admin/v1/apps/{app}/accounts/acct_2/forget", [])).IsOk();
        (await server.Admin.Post($"/admin/v1/apps/{server.OtherApp}", [("disabled", "true")])).IsOk();
        (await server.Admin.Post($"/admin/v1/api_keys/{revoked["id"]}/revoke", [])).IsOk();
        foreach (var change in ((string, string)[])[("account_pattern", "acct_*"), ("account_required", "true"),
            ("installs", "explicit"), ("uninstall_disabled", "true")])
            (await server.Admin.Post($"/admin/v1/apps/{app}", [change])).IsOk();
        foreach (var value in (string[])["700", "900"])
            (await server.Admin.Post("/admin/v1/settings", [("name", "secrets-per-scope"), ("value", value)])).IsOk();
        await server.StopAsync();
        var log = await ExportedAsync(server);

        var options = await NewAsync(server);
        await RestoreAsync(file, options);
        var lines = await File.ReadAllLinesAsync(log);
        foreach (var broken in (string[][])[[.. lines[..^3], .. lines[^1..]], lines[..^1], [lines[0], .. lines[^4..]]])
        {
            var path = directory.File("broken.jsonl");
            await File.WriteAllLinesAsync(path, broken);
            await RefusedAsync(
                () => FinishAsync(options, log: path), "does not show what came after");
        }

        Assert.Equal(1, await FinishAsync(options, log: log));
        await using (var node = await StartAsync(options))
        {
            Assert.Equal(401, (await node.Find(server.Keys.TestSecretKey, "name 77", "acct_1")).Status);
            Assert.Equal("live", (await node.Find(live, "k", "acct_1")).IsOk().Payload);
            Assert.Equal(403, (await node.Find(server.OtherAppKey, "k", "acct_3")).Status);
            var shown = (await node.Get(server.Keys.AdminKey!, $"/admin/v1/apps/{app}")).IsOk().Json;
            Assert.Equal(("acct_*", true), ((string)shown["account_pattern"]!, (bool)shown["account_required"]!));
            Assert.Equal(("explicit", true), ((string)shown["installs"]!, (bool)shown["uninstall_disabled"]!));
            var settings = (await node.Get(server.Keys.AdminKey!, "/admin/v1/settings")).IsOk().Json["settings"]!;
            Assert.Equal("900", settings.AsArray()
                .Single(setting => (string)setting!["name"]! == "secrets-per-scope")!["value"]!.ToString());
        }

        var dump = await StoreContents.DumpAsync(new(options.Data, null));
        Assert.Contains("secrets 623", dump, StringComparison.Ordinal); // without name 3, and acct_2's
        Assert.Contains("tenants 3", dump, StringComparison.Ordinal);
        Assert.Contains("uninstalls 1", dump, StringComparison.Ordinal);
        var report = await AuditArchive.VerifyStoreAsync(new(options.Data, null), null, default);
        Assert.Empty(report.Problems);
    }

    [Fact]
    public async Task A_restored_store_accepts_what_the_checkpoints_beside_it_say_is_lost_and_records_it()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var file = await BackupAsync(server);
        await server.StartAgainAsync(secretsPerScope: 1_000);
        (await server.Client(account: "acct_1").Set("later", "lost")).IsOk();
        await server.StopAsync();

        // The disk is lost; the key file, the checkpoints and the anchor are not.
        var options = await NewAsync(server);
        foreach (var name in (string[])["audit-checkpoints.jsonl", DataDirectory.Anchor])
            File.Copy(Path.Combine(server.Data, name), Path.Combine(options.Data, name));
        var outcome = await RestoreAsync(file, options);
        Assert.True(outcome.IsAnchored);
        await FinishAsync(options);
        await using (var node = await StartAsync(options))
            (await node.Find(server.Keys.TestSecretKey, "later", "acct_1")).IsError(404, "resource_missing", "name");
        var report = await AuditArchive.VerifyStoreAsync(new(options.Data, null), null, default);
        Assert.Empty(report.Problems);
        Assert.NotEmpty(report.Rollbacks);
        var entries = await AuditArchive.ListAsync(
            new(options.Data, null), new AuditFilter(null, null, "restore", null, null, null, null), 10, default);
        Assert.Contains(outcome.Backup.Id, Assert.Single(entries), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_held_store_removes_nothing_and_backs_nothing_up()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        await server.KeepAsync(new Dictionary<string, string> { ["audit-retention-days"] = "1" });
        var options = await NewAsync(server);
        var file = await BackupAsync(server);
        var outcome = await RestoreAsync(file, options);
        server.Time.Move(TimeSpan.FromDays(400));
        var backups = directory.File("scheduled");
        await using (var node = await StartAsync(options with
        {
            Backups = new CofferOptions.BackupOptions(backups, null),
        }))
        {
            await Task.Delay(TimeSpan.FromSeconds(12)); // a sweep comes every 10 seconds
        }

        Assert.False(Directory.Exists(backups));
        Assert.Contains(
            "secrets 625", await StoreContents.DumpAsync(new(options.Data, null)), StringComparison.Ordinal);
        Assert.NotNull(outcome.Key);
    }

    [Fact]
    public async Task Two_restorations_of_one_back_up_are_two_lives_of_the_store_under_new_root_keys()
    {
        await using var server = await FilledAsync();
        await server.StopAsync();
        var file = await BackupAsync(server);
        var marks = new List<string>();
        for (var i = 0; i < 2; i++)
        {
            var options = await NewAsync(server);
            await RestoreAsync(file, options);
            var instance = await OpenedAsync(options);
            Assert.Equal(2u, instance.Facts!.NewestVersion);
            marks.Add(Convert.ToHexString(instance.Facts.Generation.Mark));
        }

        Assert.NotEqual(marks[0], marks[1]);
    }

    [Fact]
    public async Task A_back_up_of_an_earlier_schema_is_restored_and_brought_up_to_date()
    {
        var fixture = Repository.File("test/fixtures/sqlite-5");
        foreach (var store in (string?[])[null, await postgres.NewDatabaseAsync()])
        {
            var data = directory.NewKeyed(fixture);
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(
                    Path.Combine(data, "coffer.key"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
            var options = new CofferOptions { Data = data, Store = store, Listen = "http://127.0.0.1:0" };
            Assert.Empty((await RestoreAsync(Path.Combine(fixture, "back-up"), options)).Restored.Problems);
            await FinishAsync(options);
            using var contents = JsonDocument.Parse(
                await File.ReadAllTextAsync(Path.Combine(fixture, "contents.json")));
            await using var node = new Nodes.Node(await Server.StartAsync(options, TimeProvider.System, default), data);
            foreach (var secret in contents.RootElement.GetProperty("secrets").EnumerateArray())
            {
                if (Text("user") is { Length: > 0 })
                    continue;
                var found = await node.Find(Text("key")!, Text("name")!, Text("account"));
                Assert.Equal(Text("payload"), found.IsOk().Payload);

                string? Text(string name) => secret.GetProperty(name).GetString() is { Length: > 0 } text ? text : null;
            }
        }
    }

    public void Dispose() => directory.Dispose();

    private static async Task RefusedAsync(Func<Task> act, string message) => Assert.Contains(
        message, (await Assert.ThrowsAsync<ConfigurationException>(act)).Message, StringComparison.Ordinal);

    private static async Task<TestServer> FilledAsync()
    {
        var server = await TestServer.StartAsync(secretsPerScope: 1_000);
        await StoreContents.FillAsync(server);
        return server;
    }

    private async Task<string> BackupAsync(TestServer server)
    {
        var path = directory.NewPath();
        await BackupFiles.CreateAsync(server.Location, path, null, path + BackupKeys.Suffix, static _ => { },
            TimeProvider.System.GetUtcNow().ToUnixTimeSeconds(), default);
        return path;
    }

    private async Task<CofferOptions> NewAsync(TestServer server, bool inDatabase = false)
    {
        return new CofferOptions
        {
            Data = directory.NewKeyed(server.Data),
            Store = inDatabase ? await postgres.NewDatabaseAsync() : null,
            Listen = "http://127.0.0.1:0",
            SecretsPerScope = 1_000,
            RatePerKey = 0,
        };
    }

    private static async Task<System.Text.Json.Nodes.JsonNode> RotatedAsync(Nodes.Node node, string key)
    {
        for (var tries = 0; ; tries++)
        {
            var last = (await node.Get(key, "/admin/v1/tenant_keys")).IsOk().Json["rotations"]!.AsArray()[^1]!;
            if ((string?)last["state"] == "done")
                return last;
            Assert.InRange(tries, 0, 300);
            await Task.Delay(50);
        }
    }

    private static async Task<Nodes.Node> StartAsync(CofferOptions options) =>
        new(await Server.StartAsync(options, TimeProvider.System, default), options.Data);

    private static Task<RestoredStore.Outcome> RestoreAsync(string file, CofferOptions options) =>
        RestoredStore.RestoreAsync(new(file), options, static _ => { }, TimeProvider.System, default);

    private static async Task<int> FinishAsync(
        CofferOptions options, bool isUnknown = false, string? log = null) =>
        (await RestoredStore.FinishAsync(options, isUnknown, log, TimeProvider.System, default)).Ended;
}
