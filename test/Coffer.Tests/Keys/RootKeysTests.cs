using System.Text.Json.Nodes;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Transfer;

namespace Coffer.Tests.Keys;

/// <summary>Root keys are shown, rotated and wrapped by others while a store serves (docs/keys.md).</summary>
[Trait("Keys", "S31")]
public sealed class RootKeysTests : ServerTests
{
    private const string Root = "/admin/v1/root_keys", Wrappers = $"{Root}/wrappers";

    private string KeyFilePath => Path.Combine(Server.Data, "coffer.key");

    private string OtherKeyFile => Path.Combine(Server.Data, "other.key");

    [Fact]
    public async Task A_new_store_has_one_root_key_that_its_key_file_wraps()
    {
        var keys = await ShowAsync();
        Assert.Equal("object keys back_ups damaged left renewal serial waiting_for", keys.Fields());
        var root = Assert.Single(keys["keys"]!.AsArray())!;
        Assert.Equal("version object created state wrappers", root.Fields());
        Assert.Equal((1, "done"), ((int)root["version"]!, (string?)root["state"]));
        Assert.Equal($"file:{KeyFilePath}", (string?)Assert.Single(root["wrappers"]!.AsArray())!["url"]);
    }

    [Fact]
    public async Task Everything_is_under_the_new_root_key_after_a_rotation_and_opens_without_the_last_one()
    {
        for (var i = 0; i < 30; i++)
            (await Server.Client(account: $"acct_{i}").Set("k", $"payload {i}")).IsOk();
        var app = await Server.NewAppAsync();
        (await Server.Admin.Post($"{Root}/rotate", [], "once")).IsOk();
        (await Server.Admin.Post($"{Root}/rotate", [], "once")).IsOk(); // replayed
        var keys = await DoneAsync(version: 2);
        Assert.Equal("unused", (string?)keys["keys"]![0]!["state"]);
        Assert.Equal(0L, (long)keys["left"]!);
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Root}/2", null)).IsError(400, null, null);
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Root}/1", null)).IsOk();
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Root}/1", null)).IsError(404, "resource_missing", "id");
        Assert.Equal(2, (int)Assert.Single((await ShowAsync())["keys"]!.AsArray())!["version"]!);

        for (var again = 0; again < 2; again++)
        {
            for (var i = 0; i < 30; i++)
            {
                Assert.Equal($"payload {i}", (await Server.Client(account: $"acct_{i}").Find("k",
                    more: ("expand[]", "payload"))).IsOk().Payload);
            }

            (await Server.Admin.Get($"/admin/v1/apps/{app}")).IsOk();
            (await Server.Client(account: "acct_new").Set($"k{again}")).IsOk();
            await Server.StopAsync();
            await Server.StartAgainAsync();
        }

        var outcomes = await OutcomesAsync("rotate_root_key");
        Assert.Equal(["done", "rewrapping", "sealing", "opened", "made"],
            outcomes.Where(outcome => outcome != "replayed"));
        Assert.Single(outcomes, "replayed");
    }

    [Theory]
    [InlineData("Made")]
    [InlineData("Opened")]
    [InlineData("Sealing")]
    [InlineData("Rewrapping")]
    public async Task A_rotation_that_was_killed_in_any_state_is_continued_by_the_next_start(string state)
    {
        for (var i = 0; i < 5; i++)
            (await Server.Client(account: $"acct_{i}").Set("k", $"payload {i}")).IsOk();
        await Server.StopAsync();
        await Server.OnStoreAsync((engine, committer, instance) => StopAtAsync(
            engine, committer, instance, Enum.Parse<RootState>(state)));
        await Server.StartAgainAsync();
        await DoneAsync(version: 2);
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal($"payload {i}", (await Server.Client(account: $"acct_{i}").Find("k",
                more: ("expand[]", "payload"))).IsOk().Payload);
        }
    }

    [Fact]
    public async Task Requests_go_on_while_root_keys_rotate_and_none_fails()
    {
        await using var load = new Load(4, async (worker, i) =>
        {
            var client = Server.Client(account: $"acct_{worker}_{i}");
            (await client.Set("k", $"payload {i}")).IsOk();
            Assert.Equal($"payload {i}", (await client.Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
        });
        for (var version = 2; version <= 5; version++)
        {
            (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
            await DoneAsync(version);
        }

        await load.EndAsync();
        Assert.InRange(load.Done.Sum(), 10, int.MaxValue);
    }

    [Fact]
    public async Task One_rotation_at_a_time()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(
            (engine, committer, instance) => StopAtAsync(engine, committer, instance, RootState.Made));
        // Its new key is wrapped by a file that is not there: it cannot be opened, and nothing is sealed under it.
        await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync(with: options =>
            options with { RootKey = new KeySettings([WrapperUrl.Of(NewKeyFile())]) }));
        await Server.StartAgainAsync();
        var answers = new List<int>();
        for (var i = 0; i < 3; i++)
            answers.Add((await Server.Admin.Post($"{Root}/rotate", [])).Status);
        Assert.All(answers, status => Assert.Contains(status, (int[])[200, 400]));
    }

    /// <summary>Each got an answer that is true of the store, and it opens.</summary>
    [Fact]
    public async Task Two_operators_who_rotate_and_remove_at_once_leave_a_store_that_opens()
    {
        var (own, other) = (WrapperUrl.Of(KeyFilePath), WrapperUrl.Of(NewKeyFile()));
        await RestartAsync(own, other);
        (await Server.Admin.Post(Wrappers, [("wrapper", $"{other}")])).IsOk();
        var removed = await Task.WhenAll(((WrapperUrl[])[own, other]).Select(
            url => Server.Admin.Post($"{Wrappers}/remove", [("wrapper", $"{url}")])));
        Assert.Equal([200, 400], removed.Select(answer => answer.Status).Order());
        var rotated = await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Server.Admin.Post($"{Root}/rotate", [])));
        Assert.All(rotated, answer => Assert.Contains(answer.Status, (int[])[200, 400]));
        var made = rotated.Count(answer => answer.Status == 200);
        Assert.InRange(made, 1, 2);
        await DoneAsync(version: 1 + made);
        Assert.Equal(1 + made, (await ShowAsync())["keys"]!.AsArray().Count);
        await RestartAsync(own, other);
        (await Server.Client().Set("k")).IsOk();
    }

    [Fact]
    public async Task A_row_that_opens_under_no_root_key_is_named_and_keeps_no_rotation_from_its_end()
    {
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await Server.Client(account: "acct_2").Set("k", "whole")).IsOk();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, _) =>
        {
            // A byte of the envelope behind its version.
            var row = (await engine.ListAsync(TenantRow.NotUnder, default, new byte[4], 0L, 10))
                .Single(tenant => tenant.Tenant.Account == "acct_1");
            byte[] damaged = [.. row.Row.SealedKeys[..^1], (byte)(row.Row.SealedKeys[^1] ^ 1)];
            await committer.CommitAsync(new Change.Plain(
                new RowWrite.RewrapTenant(row.Id, row.Row.SealedKeys, damaged)));
            return true;
        });
        await Server.StartAgainAsync();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        var keys = await DoneAsync(version: 2);
        Assert.StartsWith("tenants ", (string?)Assert.Single(keys["damaged"]!.AsArray()), StringComparison.Ordinal);
        (await Server.Client(account: "acct_1").Find("k")).IsError(500, null, null, type: "api_error");
        Assert.Equal("whole",
            (await Server.Client(account: "acct_2").Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task What_was_read_before_its_root_key_went_is_read_again()
    {
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        var id = new TenantId(await Server.AppIdAsync(), Livemode: false, "acct_1");
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var tenant = (await engine.FindTenantAsync(id, default))!;
            var app = (await engine.FindAppAsync(id.App, default))!;
            // As they were under a root key that is gone; whoever rotated it has them under another by now.
            await committer.CommitAsync(new Change.Plain(
                new RowWrite.RewrapTenant(tenant.Id, tenant.SealedKeys, UnderNone(tenant.SealedKeys)),
                new RowWrite.RewrapApp(app.Id, app.Sealed!, UnderNone(app.Sealed!))));
            instance.Reload = _ => committer.CommitAsync(new Change.Plain(
                new RowWrite.RewrapTenant(tenant.Id, UnderNone(tenant.SealedKeys), tenant.SealedKeys),
                new RowWrite.RewrapApp(app.Id, UnderNone(app.Sealed!), app.Sealed!)));
            var tenants = new Coffer.Secrets.Tenants(engine, committer, instance, Server.Time, kept: 10);
            Assert.NotNull(await tenants.FindAsync(id, default));
            await committer.CommitAsync(new Change.Plain(
                new RowWrite.RewrapApp(app.Id, app.Sealed!, UnderNone(app.Sealed!))));
            using var apps = new Coffer.Access.Apps(engine, instance, new Coffer.Access.Epoch());
            Assert.False((await apps.FindAsync(id.App, default))!.IsDamaged);
            return true;
        });

        static byte[] UnderNone(byte[] envelope) => [.. envelope[..2], 0, 0, 0, 99, .. envelope[6..]];
    }

    [Fact]
    public async Task A_tenant_of_the_least_or_the_greatest_number_is_taken_over_too()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var tenants = new Coffer.Secrets.Tenants(engine, committer, instance, Server.Time, kept: 10);
            foreach (var account in (string[])["acct_1", "acct_2"])
                await tenants.FindOrAddAsync(new TenantId(Server.OtherApp, false, account), null, default);
            return true;
        });
        await Server.OnTheSideAsync($"UPDATE tenants SET id = {long.MinValue} WHERE account = 'acct_1'");
        await Server.OnTheSideAsync($"UPDATE tenants SET id = {long.MaxValue} WHERE account = 'acct_2'");
        await Server.StartAgainAsync();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        Assert.Empty((await DoneAsync(version: 2))["damaged"]!.AsArray());
    }

    [Fact]
    [Trait("Engine", "SQLite")] // SQLite keeps bytes where text belongs, and broken text
    public async Task Apps_that_are_planted_with_ids_that_read_alike_are_each_named_and_keep_no_rotation_from_its_end()
    {
        string[] ids =
        [
            "x'ff'", "x'fe'", "CAST(x'61ff' AS TEXT)", "CAST(x'61fe' AS TEXT)", "CAST(x'610062' AS TEXT)",
            "CAST(x'610063' AS TEXT)",
        ];
        foreach (var id in ids)
        {
            Server.Execute($"""
                INSERT INTO apps (id, name, account, created, sealed)
                SELECT {id}, name, account, created, sealed FROM apps ORDER BY id LIMIT 1
                """);
        }

        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        var damaged = (await DoneAsync(version: 2))["damaged"]!.AsArray().Select(row => (string)row!);
        Assert.Equal(["apps blob FE", "apps blob FF", "apps text 610062", "apps text 610063", "apps text 61FE",
            "apps text 61FF"], damaged.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_store_moves_to_another_wrapper_and_the_last_one_cannot_be_removed()
    {
        var other = WrapperUrl.Of(NewKeyFile());
        (await Server.Admin.Post(Wrappers, [("wrapper", $"{other}")])).IsError(400, null, "wrapper");
        await RestartAsync(WrapperUrl.Of(KeyFilePath), other);
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", $"file:{KeyFilePath}")]))
            .IsError(400, null, "wrapper");
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk(); // by what wraps it now, and not by what is set besides
        await DoneAsync(version: 2);
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", $"file:{KeyFilePath}")]))
            .IsError(400, null, "wrapper");
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Root}/1", null)).IsOk();
        (await Server.Admin.Post(Wrappers, [("wrapper", $"{other}")])).IsOk();
        (await Server.Admin.Post(Wrappers, [("wrapper", $"{other}")])).IsOk(); // it is there already
        Assert.Equal(2, (await ShowAsync())["keys"]![0]!["wrappers"]!.AsArray().Count);
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", $"file:{KeyFilePath}")])).IsOk();
        (await Server.Admin.Post($"{Wrappers}/remove", [("wrapper", $"file:{KeyFilePath}")]))
            .IsError(404, "resource_missing", "id");

        await Server.StopAsync();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Assert.Contains("the key file cannot open this store", refused.Message, StringComparison.Ordinal);
        await Server.StartAgainAsync(with: options => options with { RootKey = new KeySettings([other]) });
        (await Server.Client().Set("k")).IsOk();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        await DoneAsync(version: 3);
        var wrapper = Assert.Single((await ShowAsync())["keys"]![1]!["wrappers"]!.AsArray())!;
        Assert.Equal($"{other}", (string?)wrapper["url"]);
    }

    [Fact]
    public async Task A_key_file_that_is_set_is_made_for_a_new_store_and_for_no_other()
    {
        using var directory = new TemporaryDirectory();
        var options = new CofferOptions
        {
            Data = directory.File("data"),
            Listen = "http://127.0.0.1:0",
            RootKey = new KeySettings([WrapperUrl.Of(directory.File("root.key"))]),
        };
        var nowhere = options with { RootKey = new KeySettings([WrapperUrl.Of(directory.File("none/root.key"))]) };
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(nowhere));
        Assert.Contains("cannot be created", refused.Message, StringComparison.Ordinal);
        await (await StartAsync(options)).DisposeAsync();
        Assert.True(File.Exists(directory.File("root.key")) && !File.Exists(directory.File("data/coffer.key")));
        File.Move(directory.File("root.key"), directory.File("away"));
        await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(options));
        Assert.False(File.Exists(directory.File("root.key")));

        static Task<Coffer.Hosting.Server> StartAsync(CofferOptions options) =>
            Coffer.Hosting.Server.StartAsync(options, TimeProvider.System, default);
    }

    [Fact]
    public async Task The_newest_line_of_a_key_file_wraps_anew_and_older_ones_may_go()
    {
        var old = File.ReadAllText(KeyFilePath);
        var line = File.ReadLines(NewKeyFile()).Last();
        var fields = line.Split(' ');
        var second = $"{fields[0]} 2 {fields[2]} {fields[3]}";
        var checksum = System.IO.Hashing.Crc32.HashToUInt32(System.Text.Encoding.ASCII.GetBytes(second));
        File.WriteAllText(KeyFilePath, $"{old}{second} {checksum:x8}\n");
        await RestartAsync(WrapperUrl.Of(KeyFilePath));
        var before = (string?)(await ShowAsync())["keys"]![0]!["wrappers"]![0]!["id"];
        (await Server.Admin.Post($"{Root}/rewrap", [])).IsOk();
        var after = (string?)Assert.Single((await ShowAsync())["keys"]![0]!["wrappers"]!.AsArray())!["id"];
        Assert.NotEqual(before, after);

        File.WriteAllText(KeyFilePath, $"{second} {checksum:x8}\n");
        await RestartAsync(WrapperUrl.Of(KeyFilePath));
        (await Server.Client().Set("k")).IsOk();
    }

    [Fact]
    public async Task A_wrapper_that_is_set_and_not_there_does_not_stand_in_the_way_of_another()
    {
        await RestartAsync(WrapperUrl.Of(Path.Combine(Server.Data, "missing.key")), WrapperUrl.Of(KeyFilePath));
        (await Server.Client().Set("k")).IsOk();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        await DoneAsync(version: 2);
    }

    [Fact]
    public async Task An_old_control_row_that_is_put_back_alone_stops_the_start_and_so_does_another_store()
    {
        await Server.StopAsync();
        var old = await Server.OnStoreAsync(async (engine, _, _) => await StoredKeys.ReadAsync(engine, default));
        await Server.StartAgainAsync();
        (await Server.Admin.Post($"{Root}/rewrap", [])).IsOk();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (_, committer, _) =>
        {
            await committer.CommitAsync(new Change.Plain(
                [.. old.Writes.Where(row => row is not RowWrite.PutRootKey)]));
            return true;
        });
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Assert.Contains("is older than", refused.Message, StringComparison.Ordinal);

        await using var other = await TestServer.StartAsync(isOther: true);
        await other.StopAsync();
        File.Copy(Path.Combine(other.Data, "coffer.anchor"), Path.Combine(Server.Data, "coffer.anchor"),
            overwrite: true);
        refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Assert.Contains("is not the one that", refused.Message, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(Server.Data, "coffer.anchor"), "coffer-anchor-v1 00\n");
        refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Assert.Contains("is damaged", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_store_whose_root_key_was_rotated_moves_without_the_one_that_is_not_used()
    {
        (await Server.Client().Set("k", "kept")).IsOk();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        await DoneAsync(version: 2);
        await Server.StopAsync();
        using var directory = new TemporaryDirectory();
        // On PostgreSQL the sessions of a server that was stopped may end a little later.
        await Until.SoAsync("the copy is finished", async () => (await StoreCopy.RunAsync(
            Server.Location, directory.File("copy"), static _ => { }, TimeProvider.System, default)).IsFinished);
        var options = new CofferOptions { Data = directory.File("copy"), Listen = "http://127.0.0.1:0" };
        await using var node = new Nodes.Node(
            await Coffer.Hosting.Server.StartAsync(options, TimeProvider.System, default), "");
        (await node.Find(Server.Keys.TestSecretKey, "k")).IsOk();
        var keys = (await node.Get(Server.Keys.AdminKey!, Root)).IsOk().Json;
        Assert.Equal(2, (int)Assert.Single(keys["keys"]!.AsArray())!["version"]!);
    }

    [Fact]
    public async Task A_store_of_level_1_is_raised_once_and_keeps_all_it_has()
    {
        (await Server.Client(account: "acct_1").Set("k", "kept")).IsOk();
        await Server.StopAsync();
        await Server.MakeEarlierAsync(appsAreSealed: true);
        for (var starts = 0; starts < 2; starts++)
        {
            await Server.StartAgainAsync();
            Assert.Equal("kept",
                (await Server.Client(account: "acct_1").Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
            Assert.Equal(9L, (long)(await ShowAsync())["serial"]!);
            Assert.Equal(8, (await OutcomesAsync("raise_level")).Count);
            await Server.StopAsync();
        }

        Assert.True(File.Exists(Path.Combine(Server.Data, "coffer.anchor")));
        await Server.StartAgainAsync();
    }

    private Task<bool> StopAtAsync(Engine engine, Committer committer, Instance instance, RootState state) =>
        StopAtAsync(KeyFilePath, engine, committer, instance, state);

    // As a rotation leaves it that is killed once it has come so far.
    internal static async Task<bool> StopAtAsync(
        string keyFile, Engine engine, Committer committer, Instance instance, RootState state)
    {
        var wrappers = await engine.ListWrappingsAsync(default);
        var file = KeyFile.Load(keyFile);
        var key = RootKeys.Generate(2);
        var rows = await Instance.WrapAsync(instance.Id, key, [file], 1, default);
        Assert.Equal(wrappers[0].Wrapper, rows[0].Wrapper);
        await committer.CommitAsync(new ControlChange(instance, control => control with
        {
            Roots = [.. control.Roots, new Control.Root(2, RootState.Made, key.Hash())],
            Wrappings = [.. control.Wrappings, .. rows.Select(ControlFacts.Of)],
        }, [new RowWrite.PutRootKey(new RootKeyRow(2, 1, [])), new RowWrite.PutWrapping(rows[0])], []));
        await instance.FollowAsync(engine, KeyWrappers.Of(file), asksForNew: true, default);
        for (var next = RootState.Opened; next <= state; next++)
        {
            var to = next;
            var step = new ControlChange(instance, control => control with
            {
                Roots =
                [
                    control.Roots[0] with { State = to >= RootState.Sealing ? RootState.Opening : RootState.Done },
                    control.Roots[1] with { State = to },
                ],
            }, [], []);
            await committer.CommitAsync(step);
            Assert.True(step.HasChanged);
        }

        return true;
    }

    private string NewKeyFile()
    {
        File.Delete(OtherKeyFile);
        KeyFile.Create(OtherKeyFile, DateTimeOffset.UnixEpoch);
        return OtherKeyFile;
    }

    private async Task RestartAsync(params WrapperUrl[] urls)
    {
        await Server.StopAsync();
        await Server.StartAgainAsync(with: options => options with { RootKey = new KeySettings(urls) });
    }

    private async Task<JsonNode> ShowAsync() => (await Server.Admin.Get(Root)).IsOk().Json;

    private async Task<JsonNode> DoneAsync(int version)
    {
        JsonNode keys = null!;
        await Until.SoAsync($"the rotation to root key {version} is done", async () =>
        {
            var newest = (keys = await ShowAsync())["keys"]!.AsArray()[^1]!;
            return ((int)newest["version"]!, (string?)newest["state"]) == (version, "done");
        });
        return keys;
    }

    private async Task<List<string>> OutcomesAsync(string verb) =>
        [.. (await Server.Admin.Get("/admin/v1/audit", ("verb", verb), ("limit", "100"))).IsOk().Json["data"]!.AsArray()
            .Select(entry => (string)entry!["outcome"]!)];
}
