using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Shared;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Keys;

/// <summary>The keys of tenants rotate while a store serves (docs/keys.md, "Tenant keys").</summary>
[Trait("Keys", "S2")]
public sealed class TenantKeysTests : ServerTests
{
    private const string Root = "/admin/v1/tenant_keys", Minting = "/v1/ephemeral_keys";

    [Fact]
    public async Task One_of_each_kind_that_is_a_tenants_is_sealed_again_and_the_key_before_is_gone()
    {
        var client = Server.Client(account: "acct_1");
        var id = (await client.Set("k", "payload")).IsOk().Id;
        (await client.Set("u", "of a user", "usr_1")).IsOk();
        var set = (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk();
        var minted = (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk();
        await AssertUnderAsync(1);
        var before = await KeysAsync();

        (await Server.Admin.Post($"{Root}/rotate", [("app", await Server.AppIdAsync())], "once")).IsOk();
        (await Server.Admin.Post($"{Root}/rotate", [("app", await Server.AppIdAsync())], "once")).IsOk(); // replayed
        var rotation = await DoneAsync();
        Assert.Equal("id object account app compromised created damaged ended livemode rows state tenants tenants_done",
            rotation.Fields());
        Assert.Equal((1, 1, 5, 0), ((int)rotation["tenants"]!, (int)rotation["tenants_done"]!, (int)rotation["rows"]!,
            (int)rotation["damaged"]!));
        await AssertUnderAsync(2);
        var after = await KeysAsync();
        Assert.Equal((1L, 3L, 1L), (before.Counter, after.Counter, after.Keys));

        for (var again = 0; again < 2; again++)
        {
            Assert.Equal((id, "payload"), await FoundAsync(client, "k"));
            Assert.Equal("of a user", (await client.Find("u", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
            Assert.Equal(["kept", "k"], (await client.List()).IsOk().Names);
            var replayed = (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk();
            Assert.Equal((set.Text, "true"), (replayed.Text, replayed.Header("Idempotent-Replayed")));
            Assert.Equal(minted.Text, (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk().Text);
            // A cursor of before stands where it stood.
            Assert.Empty((await client.List(more: ("starting_after", id!))).IsOk().Names);
            await Server.StopAsync();
            await Server.StartAgainAsync();
        }

        Assert.Equal(["finished", "done", "sealing", "ok"],
            (await OutcomesAsync()).Where(outcome => outcome != "replayed"));
    }

    [Fact]
    public async Task A_rotation_reaches_what_it_names_and_nothing_else()
    {
        var app = await Server.AppIdAsync();
        foreach (var account in (string[])["acct_1", "acct_2"])
        {
            (await Server.Client(account: account).Set("k")).IsOk();
            (await Server.Client(Server.Keys.LiveSecretKey, account).Set("k")).IsOk();
        }

        (await Server.Client(Server.OtherAppKey, "acct_1").Set("k")).IsOk();
        (await Server.Admin.Post($"{Root}/rotate", [])).IsError(400, "parameter_missing", "app");
        (await Server.Admin.Post($"{Root}/rotate", [("app", "app_none")])).IsError(404, "resource_missing", "id");
        (await Server.Admin.Post($"{Root}/rotate", [("app", app), ("account", "acct_none")]))
            .IsError(404, "resource_missing", "id");
        Assert.Empty((await ShowAsync())["rotations"]!.AsArray());

        await RotateAsync(("app", app), ("account", "acct_1"), ("livemode", "true"));
        Assert.Equal("acct_1 1", await RotatedAsync(3));
        await RotateAsync(("app", app), ("livemode", "false"));
        Assert.Equal("acct_1 0, acct_1 1, acct_2 0", await RotatedAsync(3));
        await RotateAsync(("app", app));
        Assert.Equal("acct_1 0, acct_1 1, acct_2 0", await RotatedAsync(5));
        Assert.Equal(1L, await CountAsync("counter = 1"));
        await RotateAsync(("app", app)); // one after the other, as often as anybody wants
        Assert.Equal(4, (await ShowAsync())["rotations"]!.AsArray().Count);
        async Task<string> RotatedAsync(long counter) => await Server.OnTheSideAsync(
            $"SELECT account || ' ' || livemode FROM tenants WHERE counter = {counter} ORDER BY account, livemode");
    }

    [Theory]
    [InlineData(6, "false")]
    [InlineData(3, "true")]
    public async Task Requests_go_on_while_tenant_keys_rotate_and_none_fails(int rounds, string isCompromised)
    {
        await using var load = new Load(4, async (worker, i) =>
        {
            var client = Server.Client(account: $"acct_{(worker + i) % 3}");
            var name = $"k{worker}{i % 2}";
            var text = $"payload {worker} {i}";
            (await client.Post("/v1/apps/secrets", Form(name, text), $"{worker} {i}")).IsOk();
            Assert.Equal(text, (await FoundAsync(client, name)).Payload);
            (await client.Post("/v1/apps/secrets", Form(name, text), $"{worker} {i}")).IsOk();
            Assert.Contains(name, (await client.List(more: ("expand[]", "data.payload"))).IsOk().Names);
            (await client.Post(Minting, [("user", "usr_1")], $"mint {worker} {i}")).IsOk();
            if (i % 5 == 4)
                (await client.Delete(name)).IsOk();
        });
        await load.MoreAsync(1); // there is something to rotate
        for (var round = 0; round < rounds; round++)
            await RotateAsync(("app", await Server.AppIdAsync()), ("compromised", isCompromised));
        await load.EndAsync();
        Assert.InRange(load.Done.Sum(), 10, int.MaxValue);
        Assert.Equal(0L, await CountAsync("keys > 1"));
        await AssertUnderAsync((byte)(rounds + 1));
    }

    [Fact]
    public async Task A_row_that_does_not_open_is_reported_and_keeps_no_rotation_from_its_end()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "the file is edited");
        var client = Server.Client(account: "acct_1");
        (await client.Set("whole", "kept")).IsOk();
        (await client.Set("damaged")).IsOk();
        var name = (byte[])Server.Scalar("SELECT name FROM secrets ORDER BY id DESC LIMIT 1")!;
        Server.Execute("UPDATE secrets SET created = created + 1 WHERE name = $b0", name);
        (await Server.Client(account: "acct_2").Set("k")).IsOk();
        Server.Execute("UPDATE tenants SET counter = 9 WHERE account = 'acct_2'");
        (await Server.Client(account: "acct_3").Set("k")).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        await RotateAsync(("app", await Server.AppIdAsync()));
        var rotation = (await ShowAsync())["rotations"]![0]!;
        Assert.Equal((3, 2), ((int)rotation["tenants_done"]!, (int)rotation["damaged"]!));
        Assert.Equal("kept", (await FoundAsync(client, "whole")).Payload);
        (await client.Find("damaged")).IsError(500, null, null, type: "api_error");
        (await Server.Client(account: "acct_2").Find("k")).IsError(500, null, null, type: "api_error");
        Assert.Equal("payload", (await FoundAsync(Server.Client(account: "acct_3"), "k")).Payload);
        Assert.Equal("acct_1, acct_3",
            await Server.OnTheSideAsync("SELECT account FROM tenants WHERE counter = 3 ORDER BY account"));
    }

    [Fact]
    public async Task Rows_of_another_type_or_with_an_empty_key_keep_no_rotation_from_its_end()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "SQLite keeps a text where bytes belong");
        var client = Server.Client(account: "acct_1");
        foreach (var key in (string[])["one", "two"])
        {
            (await client.Post("/v1/apps/secrets", Form(key), key)).IsOk();
            (await client.Post(Minting, [("user", key)], $"mint {key}")).IsOk();
        }

        (await Server.Client(account: "acct_2").Set("k")).IsOk();
        foreach (var (table, key, of) in ((string, string, string)[])[
            ("secrets", "name", "scope, id, version, created"),
            ("idempotency", "key", "fingerprint, created"), ("replies", "key", "fingerprint, created")])
        {
            foreach (var value in (string[])["'text'", "x''"])
            {
                var planted = of.Replace("id", $"'planted ' || {value}", StringComparison.Ordinal);
                Assert.Equal(1, Server.Execute($"""
                    INSERT INTO {table} (tenant, {key}, {of}, sealed)
                    SELECT tenant, {value}, {planted}, sealed FROM {table} WHERE tenant = 1 LIMIT 1
                    """));
            }

            // An envelope of the key that is to come, as a text.
            var at = (byte[])Server.Scalar($"SELECT max({key}) FROM {table} WHERE tenant = 1")!;
            var envelope = (byte[])Server.Scalar(
                $"SELECT sealed FROM {table} WHERE {key} = (SELECT max({key}) FROM {table} WHERE tenant = 1)")!;
            envelope[5] = 2;
            Assert.Equal(1,
                Server.Execute($"UPDATE {table} SET sealed = CAST($b0 AS TEXT) WHERE {key} = $b1", envelope, at));
        }

        await RotateAsync(("app", await Server.AppIdAsync()));
        var rotation = (await ShowAsync())["rotations"]![0]!;
        Assert.Equal((2, 3), ((int)rotation["tenants_done"]!, (int)rotation["damaged"]!));
        Assert.Equal(2, await CountAsync("counter = 3 AND keys = 1"));
    }

    [Fact]
    public async Task An_old_row_of_a_tenant_that_is_put_back_stops_the_tenant()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "the file is edited");
        var client = Server.Client(account: "acct_1");
        (await client.Set("k")).IsOk();
        var old = (byte[])Server.Scalar("SELECT sealed_keys FROM tenants")!;
        await RotateAsync(("app", await Server.AppIdAsync()));
        (await client.Find("k")).IsOk();
        Server.Execute("UPDATE tenants SET sealed_keys = $b0, counter = 1", old);
        (await client.Find("k")).IsError(500, null, null, type: "api_error");
        (await client.Set("k")).IsError(500, null, null, type: "api_error");
        (await client.List()).IsError(500, null, null, type: "api_error");
        (await client.Post(Minting, [("user", "u")], "key")).IsError(500, null, null, type: "api_error");
        Assert.Contains(await EntriesAsync(), entry => (string?)entry["verb"] == "check_row"
            && ((string?)entry["target"])!.Contains("tenants", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_tenant_of_format_1_serves_and_is_of_format_2_after_its_rotation()
    {
        var client = Server.Client(account: "acct_1");
        var id = (await client.Set("k", "payload")).IsOk().Id;
        await Server.StopAsync();
        await Server.OnStoreAsync(StoreEdits.MakeFormatOneAsync);
        await Server.StartAgainAsync();
        Assert.Equal((id, "payload"), await FoundAsync(client, "k"));
        (await Server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
        await RootDoneAsync(serial: 6);
        Assert.Equal((0L, 1L), await KeysAsync()); // in its own format, whatever the root key
        Assert.Equal((id, "payload"), await FoundAsync(client, "k"));
        await RotateAsync(("app", await Server.AppIdAsync()));
        Assert.Equal((2L, 1L), await KeysAsync());
        Assert.Equal((id, "payload"), await FoundAsync(client, "k"));
    }

    [Fact]
    public async Task What_an_account_keeps_is_gone_with_it_and_a_rotation_passes_by()
    {
        var app = await Server.AppIdAsync();
        var client = Server.Client(account: "acct_1");
        var minted = (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk();
        (await Server.Admin.Post($"/admin/v1/apps/{app}/accounts/acct_1/forget", [])).IsOk();
        Assert.Equal("", await Server.OnTheSideAsync("SELECT count(*) FROM replies HAVING count(*) > 0"));
        Assert.NotEqual(minted.Text, (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk().Text);
        await RotateAsync(("app", app));
        Assert.Equal((3L, 1L), await KeysAsync());
    }

    [Fact]
    public async Task All_accounts_of_an_app_rotate_at_no_more_than_the_rate_whatever_is_kept_open()
    {
        const int Many = 120, Each = 10;
        await Server.StopAsync();
        await Server.StartAgainAsync(openTenants: 10);
        await Parallel.ForEachAsync(Enumerable.Range(0, Many * Each), async (i, _) =>
            (await Server.Client(account: $"acct_{i % Many}").Set($"k{i / Many}", $"payload {i}")).IsOk());
        var began = System.Diagnostics.Stopwatch.StartNew();
        await RotateAsync(("app", await Server.AppIdAsync()));
        Assert.True(began.Elapsed >= TimeSpan.FromSeconds(Many * Each / 2_000.0), $"it took {began.Elapsed}");
        var rotation = (await ShowAsync())["rotations"]![0]!;
        Assert.Equal((Many, Many, Many * Each), ((int)rotation["tenants"]!, (int)rotation["tenants_done"]!,
            (int)rotation["rows"]!));
        Assert.Equal(Many, await CountAsync("counter = 3 AND keys = 1"));
        for (var i = 0; i < Many * Each; i += 7)
            Assert.Equal($"payload {i}", (await FoundAsync(Server.Client(account: $"acct_{i % Many}"), $"k{i / Many}"))
                .Payload);
    }

    [Fact]
    public async Task Of_keys_that_were_dropped_nothing_is_in_the_files_once_it_is_done()
    {
        Assert.SkipWhen(PostgresServer.IsChosen, "its files are not ours");
        var old = new List<byte[]>();
        for (var i = 0; i < 30; i++)
        {
            (await Server.Client(account: $"acct_{i}").Set("k", $"payload {i}")).IsOk();
            old.Add((byte[])Server.Scalar($"SELECT sealed_keys FROM tenants WHERE account = 'acct_{i}'")!);
        }

        Assert.Equal(30, InFiles());
        await RotateAsync(("app", await Server.AppIdAsync()));
        Assert.Equal(0, InFiles());
        int InFiles()
        {
            byte[] content = [.. Read(Server.StoreFile), .. Read(Server.StoreFile + "-wal")];
            return old.Count(keys => content.AsSpan().IndexOf(keys.AsSpan(0, 64)) >= 0);
        }

        static byte[] Read(string file)
        {
            using var stream = new FileStream(
                file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
    }

    [Fact]
    public async Task Root_keys_and_tenant_keys_rotate_at_once_and_neither_loses_the_other()
    {
        for (var i = 0; i < 30; i++)
            (await Server.Client(account: $"acct_{i}").Set("k", $"payload {i}")).IsOk();
        var app = await Server.AppIdAsync();
        for (var round = 1; round <= 3; round++)
        {
            (await Server.Admin.Post($"{Root}/rotate", [("app", app)])).IsOk();
            (await Server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
            await DoneAsync();
            await RootDoneAsync(serial: 1 + 5 * round);
        }

        await Server.StopAsync();
        await Server.StartAgainAsync();
        for (var i = 0; i < 30; i++)
            Assert.Equal($"payload {i}", (await FoundAsync(Server.Client(account: $"acct_{i}"), "k")).Payload);
        Assert.Equal(30, await CountAsync("counter = 7 AND keys = 1"));
    }

    /// <summary>What a node has not recorded is done once more by the next, and nothing is lost by it.</summary>
    [Fact]
    public async Task A_node_that_takes_over_before_a_tenant_is_recorded_and_is_killed_too_is_followed_by_another()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("k", "payload")).IsOk();
        var set = (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk();
        (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk();
        var id = new TenantId(await Server.AppIdAsync(), Livemode: false, "acct_1");
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, engine) =>
        {
            var number = (await engine.FindTenantAsync(id, default))!.Id;
            await committer.CommitAsync(new Change.Plain(new TenantRotations([
                new TenantRotation("tkr_1", id.App, null, null, Server.Time.Seconds, 1, number)])
                .Write(tenants.Instance)));
        });
        // Each lives for one commit: the last of these drops the key before, and the rotation does not say so.
        for (var steps = 0; await StoredAsync() != (3, 1, 0, null); steps++)
        {
            Assert.InRange(steps, 0, 10);
            await KilledProcess.AfterOneCommitAsync(Server);
        }

        await KilledProcess.AfterOneCommitAsync(Server);
        Assert.Equal((4, 2, 0, null), await StoredAsync());
        await Server.StartAgainAsync();
        var rotation = await DoneAsync();
        Assert.Equal((1, 0), ((int)rotation["tenants_done"]!, (int)rotation["damaged"]!));
        Assert.Equal((5L, 1L), await KeysAsync());
        await AssertUnderAsync(3);
        Assert.Equal("payload", (await FoundAsync(client, "k")).Payload);
        Assert.Equal(set.Text, (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk().Text);

        async Task<(long Counter, long Keys, long Done, long? Ended)> StoredAsync()
        {
            (long, long, long, long?) stored = default;
            await Server.StepsAsync(async (tenants, _, engine) =>
            {
                var row = (await engine.FindTenantAsync(id, default))!;
                var asked = TenantRotations.Read(
                    tenants.Instance, await engine.FindMetaAsync(TenantRotations.MetaKey, default)).All[0];
                stored = (row.Counter, row.Keys, asked.Done, asked.Ended);
            });
            return stored;
        }
    }

    /// <summary>A node that was restarted leads again while the one that led meanwhile is in its turn.</summary>
    [Fact]
    public async Task What_another_leader_ends_in_the_middle_of_a_turn_is_not_begun_again()
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        var id = new TenantId(await Server.AppIdAsync(), Livemode: false, "acct_1");
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var number = (await engine.FindTenantAsync(id, default))!.Id;
            await committer.CommitAsync(new Change.Plain(new TenantRotations([
                new TenantRotation("tkr_1", id.App, null, null, Server.Time.Seconds, 1, number)]).Write(instance)));
            using var refusals = new Refusals(Server.Time);
            using var other = Rotation(Server.Time);
            using var late = Rotation(new Interrupted(Server.Time, async () =>
            {
                Assert.Equal((2L, 2L), Now(await engine.FindTenantAsync(id, default)));
                Assert.True(await other.StepAsync(default));
            }));
            Assert.False(await late.StepAsync(default)); // that the tenant is done, the other has written
            Assert.Equal((3L, 1L), Now(await engine.FindTenantAsync(id, default)));
            return true;

            TenantKeyRotation Rotation(TimeProvider time) => new(engine, committer,
                new Tenants(engine, committer, instance, time, kept: 10), new Gate(refusals, null!, engine), time,
                NullLogger<TenantKeyRotation>.Instance)
            {
                Roots = new RootRotation(engine, committer, instance,
                    KeyWrappers.OfFile(Path.Combine(Server.Data, "coffer.key")), time),
                MostRowsASecond = 100, // so that it rests after each commit
            };
        });

        static (long Counter, long Keys) Now(TenantRow? row) => (row!.Counter, row.Keys);
    }

    [Fact]
    public async Task No_more_rotations_wait_than_twenty()
    {
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            var waiting = new Coffer.Management.TenantRotations([.. Enumerable.Range(0, 19).Select(
                i => new Coffer.Management.TenantRotation($"tkr_{i}", app, null, null, 1, 0, long.MaxValue - 1))]);
            await committer.CommitAsync(new Change.Plain(waiting.Write(instance)));
            var read = Coffer.Management.TenantRotations.Read(instance, waiting.Write(instance).Value);
            Assert.Equal(waiting.All, read.All);
            var full = read.With(read.All[0] with { Id = "tkr_19" });
            Assert.Throws<ApiError>(() => full.With(read.All[0] with { Id = "tkr_20" }));
            var ended = full.Replacing(full.All[3] with { Ended = 2 });
            Assert.DoesNotContain(ended.With(read.All[0] with { Id = "tkr_20" }).All, each => each.Id == "tkr_3");
            return true;
        });
        await Server.StartAgainAsync();
        await RotateAsync(("app", app)); // all before it are done first, at once: there is nothing to rotate
        Assert.All((await ShowAsync())["rotations"]!.AsArray(), each => Assert.Equal("done", (string?)each!["state"]));
    }

    private static (string, string)[] Form(string name, string payload = "payload") =>
        [("scope[type]", "account"), ("name", name), ("payload", payload)];

    private static async Task<(string? Id, string? Payload)> FoundAsync(TestServer.Caller client, string name)
    {
        var found = (await client.Find(name, more: ("expand[]", "payload"))).IsOk();
        return (found.Id, found.Payload);
    }

    private async Task RotateAsync(params (string, string)[] form)
    {
        (await Server.Admin.Post($"{Root}/rotate", form)).IsOk();
        await DoneAsync();
    }

    // The control row has one more for the new key, and for each step of its rotation.
    private Task RootDoneAsync(long serial) => Until.SoAsync("the rotation of the root key is done", async () =>
        (long)(await Server.Admin.Get("/admin/v1/root_keys")).IsOk().Json["serial"]! >= serial);

    private async Task<JsonNode> ShowAsync() => (await Server.Admin.Get(Root)).IsOk().Json;

    private async Task<JsonNode> DoneAsync()
    {
        JsonNode last = null!;
        await Until.SoAsync("the rotation is done", async () =>
            (string?)(last = (await ShowAsync())["rotations"]!.AsArray()[^1]!)["state"] == "done");
        return last;
    }

    private async Task AssertUnderAsync(byte version)
    {
        foreach (var table in (string[])["secrets", "idempotency", "replies"])
        {
            var rows = await Server.OnTheSideAsync($"SELECT count(*) FROM {table} WHERE tenant IS NOT NULL");
            Assert.NotEqual("0", rows);
            var under = version.ToString("x2", System.Globalization.CultureInfo.InvariantCulture);
            var isOther = PostgresServer.IsChosen
                ? $"encode(substr(sealed, 3, 4), 'hex') <> '000000{under}'"
                : $"substr(sealed, 3, 4) <> x'000000{under}'";
            var others = await Server.OnTheSideAsync(
                $"SELECT count(*) FROM {table} WHERE tenant IS NOT NULL AND {isOther}");
            Assert.Equal((table, "0"), (table, others));
        }
    }

    private async Task<(long Counter, long Keys)> KeysAsync()
    {
        var row = await Server.OnTheSideAsync("SELECT counter || ' ' || keys FROM tenants");
        return (long.Parse(row.Split(' ')[0]), long.Parse(row.Split(' ')[1]));
    }

    private async Task<long> CountAsync(string where) =>
        long.Parse(await Server.OnTheSideAsync($"SELECT count(*) FROM tenants WHERE {where}"));

    private async Task<List<JsonNode>> EntriesAsync() =>
        [.. (await Server.Admin.Get("/admin/v1/audit", ("limit", "100"))).IsOk().Json["data"]!.AsArray()
            .Select(entry => entry!)];

    private async Task<List<string>> OutcomesAsync() =>
        [.. (await EntriesAsync()).Where(entry => (string?)entry["verb"] == "rotate_tenant_keys")
            .Select(entry => (string)entry["outcome"]!)];

    /// <summary>A clock by which something else happens before the first rest.</summary>
    private sealed class Interrupted(TimeProvider time, Func<Task> meanwhile) : TimeProvider
    {
        private Func<Task>? left = meanwhile;

        public override long TimestampFrequency => time.TimestampFrequency;

        public override DateTimeOffset GetUtcNow() => time.GetUtcNow();

        public override long GetTimestamp() => time.GetTimestamp();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (Interlocked.Exchange(ref left, null) is { } now)
                now().GetAwaiter().GetResult();
            return base.CreateTimer(callback, state, dueTime, period);
        }
    }
}
