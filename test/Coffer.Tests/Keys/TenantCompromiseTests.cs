using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Shared;
using Coffer.Storage;

namespace Coffer.Tests.Keys;

/// <summary>The keys of tenants rotate because others may know them (docs/keys.md, "After a compromise").</summary>
[Trait("Keys", "S2")]
public sealed class TenantCompromiseTests() : ServerTests(secretsPerScope: 4)
{
    private const string Root = "/admin/v1/tenant_keys", Minting = "/v1/ephemeral_keys";

    [Fact]
    public async Task All_names_are_moved_under_another_seed_and_clients_see_nothing_of_it()
    {
        var client = Server.Client(account: "acct_1");
        var ids = new List<string>();
        foreach (var name in (string[])["a", "b", "c"])
            ids.Add((await client.Set(name, $"payload {name}")).IsOk().Id!);
        (await client.Set("u", "of a user", "usr_1")).IsOk();
        var set = (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk();
        var minted = (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk();
        var (names, roots) = (await NamesAsync(), await RootVersionsAsync());

        await RotateAsync(("app", await Server.AppIdAsync()), ("account", "acct_1"));
        var rotation = (await ShowAsync())["rotations"]![0]!;
        Assert.Equal((true, 1, 0), ((bool)rotation["compromised"]!, (int)rotation["tenants_done"]!,
            (int)rotation["damaged"]!));
        Assert.Empty(names.Intersect(await NamesAsync()));
        Assert.Equal(("1", "3"), (roots, await RootVersionsAsync()));
        Assert.Equal($"{Renewed(2)} 1", await CountersAsync());

        for (var again = 0; again < 2; again++)
        {
            Assert.Equal((ids[0], "payload a"), await FoundAsync(client, "a"));
            Assert.Equal("of a user", (await client.Find("u", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
            (await client.Find("none")).IsError(404, "resource_missing", "name");
            Assert.Equal(["kept", "c", "b", "a"], (await client.List()).IsOk().Names);
            Assert.Equal(["b", "a"], (await client.List(more: ("starting_after", ids[2]))).IsOk().Names);
            Assert.Equal(["kept", "c"], (await client.List(more: ("ending_before", ids[1]))).IsOk().Names);
            (await client.List(user: "usr_1", more: ("starting_after", ids[2])))
                .IsError(400, "resource_missing", "starting_after");
            var replayed = (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk();
            Assert.Equal((set.Text, "true"), (replayed.Text, replayed.Header("Idempotent-Replayed")));
            Assert.Equal(400, (await client.Post("/v1/apps/secrets", Form("kept", "other"), "set")).Status);
            Assert.Equal(minted.Text, (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk().Text);
            Assert.Equal(400, (await client.Set("one too many")).Status);
            await Server.StopAsync();
            await Server.StartAgainAsync(secretsPerScope: 4);
        }

        var last = (await client.Set("a", "changed")).IsOk();
        Assert.Equal(ids[0], last.Id);
        (await client.Delete("b")).IsOk();
        var fresh = (await client.Set("new")).IsOk().Id!; // its id is of the seed that is in use
        Assert.Equal(["kept", "c", "a"], (await client.List(more: ("starting_after", fresh))).IsOk().Names);
        Assert.Equal(["finished", "done", "sealing compromised", "ok compromised"], await OutcomesAsync());

        // A day later the seed of before finds nothing any more; an id of before is still where a page begins.
        Server.Time.Move(TimeSpan.FromHours(26));
        Assert.Null((await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk().Header("Idempotent-Replayed"));
        Assert.Equal(["a"], (await client.List(more: ("starting_after", ids[2]))).IsOk().Names);
    }

    [Fact]
    public async Task While_some_names_are_moved_and_some_are_not_every_request_is_answered_as_ever()
    {
        var client = Server.Client(account: "acct_1");
        var ids = new Dictionary<string, string>();
        foreach (var name in (string[])["a", "b", "c"])
            ids[name] = (await client.Set(name, $"payload {name}")).IsOk().Id!;
        (await client.Set("u", "of a user", "usr_1")).IsOk();
        var set = (await client.Post("/v1/apps/secrets", Form("c", "payload c"), "set")).IsOk();
        var id = new TenantId(await Server.AppIdAsync(), false, "acct_1");
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, engine) =>
        {
            await BeginAsync(tenants, committer, id);
            var tenant = (await tenants.RereadAsync(id, default))!;
            var row = (await StoredAsync(tenant, engine, "b"))!;
            var to = SealedSecret.Reseal(tenants.Instance, tenant, row)!.Key;
            var change = new TenantResealing.OfMovedSecret(tenants, tenant, row.Key, to);
            await committer.CommitAsync(change);
            Assert.True(change.HasChanged);
        });
        await Server.StartAgainAsync(secretsPerScope: 4);
        Assert.Equal("3", await Server.OnTheSideAsync($"SELECT count(*) FROM secrets WHERE {IsUnder(1)}"));

        foreach (var (name, of) in ids)
            Assert.Equal((of, $"payload {name}"), await FoundAsync(client, name));
        (await client.Find("none")).IsError(404, "resource_missing", "name");
        Assert.Equal(["c", "b", "a"], (await client.List()).IsOk().Names);
        var (walked, after) = (new List<string>(), (string?)null);
        do
        {
            var page = (await client.List(more: after is null ? [("limit", "1")]
                : [("limit", "1"), ("starting_after", after)])).IsOk().Json;
            walked.AddRange(page["data"]!.AsArray().Select(secret => (string)secret!["name"]!));
            after = (bool)page["has_more"]! ? (string)page["data"]![0]!["id"]! : null;
        }
        while (after is not null);
        Assert.Equal(["c", "b", "a"], walked);
        Assert.Equal(["c"], (await client.List(more: ("ending_before", ids["b"]))).IsOk().Names);
        var replayed = (await client.Post("/v1/apps/secrets", Form("c", "payload c"), "set")).IsOk();
        Assert.Equal((set.Text, "true"), (replayed.Text, replayed.Header("Idempotent-Replayed")));
        Assert.Equal(400, (await client.Post("/v1/apps/secrets", Form("c", "other"), "set")).Status);

        // Both places count, and what is stored is stored in one.
        (await client.Set("d")).IsOk();
        Assert.Equal(400, (await client.Set("e")).Status);
        foreach (var name in ids.Keys)
        {
            var version = name == "c" ? 2 : 1;
            (await client.Post("/v1/apps/secrets", [.. Form(name), ("if_version", $"{version + 1}")]))
                .IsError(409, "resource_version_mismatch", "if_version");
            var stored = (await client.Post(
                "/v1/apps/secrets", [.. Form(name, "changed"), ("if_version", $"{version}")])).IsOk();
            Assert.Equal(ids[name], stored.Id);
            Assert.Equal((ids[name], "changed"), await FoundAsync(client, name));
        }

        Assert.Equal("1", await Server.OnTheSideAsync($"SELECT count(*) FROM secrets WHERE {IsUnder(1)}")); // u
        (await client.Delete("u", "usr_1")).IsOk();
        (await client.Find("u", "usr_1")).IsError(404, "resource_missing", "name");
        Assert.Equal("4", await Server.OnTheSideAsync("SELECT count(*) FROM secrets"));

        // Begun by nobody who is known: it is ended, and then what was asked for is carried out.
        await RotateAsync(("app", await Server.AppIdAsync()));
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM tenants WHERE keys = 1"));
        Assert.Equal(["d", "c", "b", "a"], (await client.List()).IsOk().Names);
        Assert.Equal("changed", (await FoundAsync(client, "a")).Payload);
    }

    [Fact]
    public async Task Killed_after_each_commit_all_is_found_and_whoever_starts_next_goes_on()
    {
        var client = Server.Client(account: "acct_1");
        foreach (var name in (string[])["a", "b"])
            (await client.Set(name, $"payload {name}")).IsOk();
        var set = (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk();
        var id = new TenantId(await Server.AppIdAsync(), false, "acct_1");
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, _) =>
        {
            // As it is asked for; nothing of it is carried out yet.
            var number = (await tenants.FindAsync(id, default))!.Number;
            await committer.CommitAsync(new Change.Plain(new TenantRotations([new TenantRotation(
                "tkr_1", id.App, null, null, Server.Time.GetUtcNow().ToUnixTimeSeconds(), 1, number)
            {
                IsCompromised = true,
                FirstSigningKey = 2,
            }]).Write(tenants.Instance)));
        });
        var states = new List<string>();
        while (states.Count == 0 || !states[^1].EndsWith("ended", StringComparison.Ordinal))
        {
            Assert.True(states.Count < 40, string.Join("\n", states));
            Server.Time.Move(TimeSpan.FromSeconds(1));
            states.Add(await UntilKilledAsync(id));
        }

        // A root key named; made, opened, sealing and rewrapping, the tenant and the apps under it, and done; the one
        // before removed. A key that signs, which never stood under that one. A seed and a key; secrets and outcomes;
        // the key before dropped, and the place kept. A root key again.
        Assert.Equal(["1 key, 1 root from 1", "1 key, 2 roots from 1", "1 key, 1 root from 2",
            "1 key, 1 root from 2, signed by 2", "2 keys, 1 root from 2, signed by 2",
            "1 key, 1 root from 2, signed by 2", "1 key, 2 roots from 2, signed by 2",
            "1 key, 1 root from 3, signed by 2", "1 key, 1 root from 3, signed by 2, ended"],
            states.Where((state, i) => i == 0 || state != states[i - 1]));
        Assert.InRange(states.Count, 18, 40); // what is sealed again at once may be in several commits
        // Once: that a tenant is done is seen by its seed, whoever was killed before it was recorded.
        Assert.Equal($"{Renewed(2)} 1", await CountersAsync());
        await Server.StartAgainAsync(secretsPerScope: 4);
        Assert.Equal("payload b", (await FoundAsync(client, "b")).Payload);
        Assert.Equal(set.Text, (await client.Post("/v1/apps/secrets", Form("kept"), "set")).IsOk().Text);
        Assert.Equal("done", (string?)(await ShowAsync())["rotations"]![0]!["state"]);
    }

    [Fact]
    [Trait("Engine", "SQLite")] // the file is edited
    public async Task Who_has_the_keys_of_before_and_a_copy_of_the_store_forges_nothing_and_opens_nothing_new()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("k", "payload")).IsOk();
        var (app, scope) = (await Server.AppIdAsync(), Scope.Account);
        var id = new TenantId(app, false, "acct_1");
        // What the thief has: root keys and the tenant's keys, opened; and each row.
        Tenant stolen = null!;
        RootKeys roots = null!;
        TenantRow row = null!;
        Instance identity = null!;
        byte[] between = null!;
        SecretRow secret = null!;
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, engine) =>
        {
            row = (await engine.FindTenantAsync(id, default))!;
            (identity, roots) = (tenants.Instance, tenants.Instance.Roots);
            stolen = Tenants.Open(tenants.Instance, id, row);
            secret = (await StoredAsync(stolen, engine, "k"))!;
            await BeginAsync(tenants, committer, id); // of which a copy is made as well
            between = (await engine.FindTenantAsync(id, default))!.SealedKeys;
        });
        await Server.StartAgainAsync(secretsPerScope: 4);
        await RotateAsync(("app", app));
        (await client.Set("k", "secret of later")).IsOk();
        (await client.Set("later", "another")).IsOk();

        // It opens nothing of later, and does not see which names there are.
        var now = (byte[])Server.Scalar("SELECT sealed_keys FROM tenants")!;
        Assert.False(roots.MayOpen(now));
        await Server.StopAsync();
        await Server.StepsAsync(async (_, _, engine) =>
        {
            foreach (var name in (string[])["k", "later"])
                Assert.Null(await StoredAsync(stolen, engine, name));
        });
        await Server.StartAgainAsync(secretsPerScope: 4);
        var later = (byte[])Server.Scalar("SELECT sealed FROM secrets ORDER BY id LIMIT 1")!;
        Assert.False(stolen.Keys.MayOpen(later));

        // A secret that is put back, or made up, where it stood before: nobody looks there.
        var forged = SealedSecret.Seal(identity, stolen, secret with { Version = 9 }, new Secret(
            secret.Id, new SecretName("k"u8), scope, false, secret.Created, null, 9, "forged"u8.ToArray()));
        foreach (var planted in (SecretRow[])[secret, forged])
        {
            Server.Execute("DELETE FROM secrets WHERE name = $b0", planted.Key.Name);
            Server.Execute($"""
                INSERT INTO secrets (tenant, name, scope, id, version, created, sealed)
                VALUES ({planted.Key.Tenant}, $b0, $b1, '{planted.Id}', {planted.Version}, {planted.Created}, $b2)
                """, planted.Key.Name, planted.Scope, planted.Sealed);
            Assert.Equal("secret of later", (await FoundAsync(client, "k")).Payload);
            Assert.Equal(["later", "k"], (await client.List()).IsOk().Names);
        }

        Server.Execute("DELETE FROM secrets WHERE name = $b0", secret.Key.Name);
        // The forged one instead of the one that is there: it is damaged, and not believed.
        Server.Execute("UPDATE secrets SET sealed = $b0 WHERE id = (SELECT min(id) FROM secrets)", forged.Sealed);
        (await client.Find("k", more: ("expand[]", "payload"))).IsError(500, null, null, type: "api_error");
        Server.Execute("UPDATE secrets SET sealed = $b0 WHERE id = (SELECT min(id) FROM secrets)", later);
        Assert.Equal("secret of later", (await FoundAsync(client, "k")).Payload);

        // An old row of keys, of before or of the middle, by a server that has seen no later one.
        foreach (var (keys, counter, count) in ((byte[], int, int)[])[(row.SealedKeys, 1, 1), (between, 2, 2)])
        {
            await Server.StopAsync();
            var good = ((byte[])Server.Scalar("SELECT sealed_keys FROM tenants")!,
                (long)Server.Scalar("SELECT counter FROM tenants")!);
            Server.Execute($"UPDATE tenants SET sealed_keys = $b0, counter = {counter}, keys = {count}", keys);
            await Server.StartAgainAsync(secretsPerScope: 4);
            (await client.Find("k")).IsError(500, null, null, type: "api_error");
            (await client.Set("new")).IsError(500, null, null, type: "api_error");
            await Server.StopAsync();
            Server.Execute($"UPDATE tenants SET sealed_keys = $b0, counter = {good.Item2}, keys = 1", good.Item1);
            await Server.StartAgainAsync(secretsPerScope: 4);
            Assert.Equal("secret of later", (await FoundAsync(client, "k")).Payload);
        }
    }

    [Fact]
    [Trait("Engine", "SQLite")] // the file is edited
    public async Task A_damaged_secret_stays_damaged_where_it_stood_and_one_root_key_ends_several_rotations()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("whole", "kept")).IsOk();
        (await client.Set("damaged")).IsOk();
        (await Server.Client(Server.OtherAppKey, "acct_1").Set("k", "of another app")).IsOk();
        Server.Execute("UPDATE secrets SET created = created + 1 WHERE id = (SELECT max(id) FROM secrets WHERE tenant "
            + "= (SELECT min(id) FROM tenants))");
        (await Server.Admin.Post($"{Root}/rotate",
            [("app", await Server.AppIdAsync()), ("compromised", "true")])).IsOk();
        await RotateAsync(("app", Server.OtherApp));
        var rotations = (await ShowAsync())["rotations"]!.AsArray();
        Assert.Equal((2, 1, 0), (rotations.Count, (int)rotations[0]!["damaged"]!, (int)rotations[1]!["damaged"]!));
        Assert.Equal("kept", (await FoundAsync(client, "whole")).Payload);
        (await client.Find("damaged")).IsError(500, null, null, type: "api_error");
        (await client.Set("damaged")).IsError(500, null, null, type: "api_error");
        Assert.Equal("of another app", (await FoundAsync(Server.Client(Server.OtherAppKey, "acct_1"), "k")).Payload);
        Assert.InRange(int.Parse(await RootVersionsAsync()), 3, 4);
    }

    [Fact]
    [Trait("Engine", "SQLite")] // the file is edited
    public async Task A_tenant_that_is_given_another_number_meanwhile_is_not_left_out()
    {
        var app = await Server.AppIdAsync();
        foreach (var account in (string[])["acct_1", "acct_2", "acct_3"])
            (await Server.Client(account: account).Set("k", $"payload of {account}")).IsOk();
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, _) => await committer.CommitAsync(
            new Change.Plain(new TenantRotations([
                new TenantRotation("tkr_1", app, null, null, Server.Time.Seconds, 3, 3) { IsCompromised = true },
            ]).Write(tenants.Instance))));
        // One that it is not to reach, and one that it has passed before it began.
        foreach (var (from, to) in ((int, int)[])[(1, 100), (2, -5)])
        {
            Assert.Equal(1, Server.Execute($"UPDATE tenants SET id = {to} WHERE id = {from}"));
            Assert.Equal(1, Server.Execute($"UPDATE secrets SET tenant = {to} WHERE tenant = {from}"));
        }

        await Server.StartAgainAsync(secretsPerScope: 4);
        await Until.SoAsync("the rotation is done", async () =>
            (string?)(await ShowAsync())["rotations"]![0]!["state"] == "done");
        Assert.Equal($"-5 {Renewed(2)}, 3 {Renewed(2)}, 100 {Renewed(2)}",
            await Server.OnTheSideAsync("SELECT id || ' ' || counter FROM tenants ORDER BY id"));
        foreach (var account in (string[])["acct_1", "acct_2", "acct_3"])
        {
            Assert.Equal($"payload of {account}",
                (await FoundAsync(Server.Client(account: account), "k")).Payload);
        }
    }

    [Fact]
    public async Task What_a_clock_that_was_ahead_has_renewed_is_renewed_again()
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        var app = await Server.AppIdAsync();
        Server.Time.Step(TimeSpan.FromHours(1));
        await RotateAsync(("app", app));
        Server.Time.Step(TimeSpan.FromHours(-1));
        Assert.Equal($"{Renewed(2)} 1", await CountersAsync());
        await RotateAsync(("app", app));
        Assert.Equal($"{Renewed(4)} 1", await CountersAsync());
        Assert.Equal("payload", (await FoundAsync(Server.Client(account: "acct_1"), "k")).Payload);
    }

    [Fact]
    public void One_root_key_is_for_all_rotations_that_are_as_far_and_for_no_other()
    {
        TenantRotation Of(string id, long place = 0) =>
            new(id, "app_1", null, null, 1, 1, UpTo: 5) { Place = place, IsCompromised = true };
        var all = new TenantRotations([Of("begun") with { FirstRoot = 2 }, Of("waits"),
            Of("plain") with { IsCompromised = false }, Of("ended") with { Ended = 3 },
            Of("rotated", 5) with { FirstRoot = 2 }, Of("last", 5) with { FirstRoot = 2, LastRoot = 3 }]);
        Assert.Equal(["begun 2 ", "waits 7 ", "plain  ", "ended  ", "rotated 2 ", "last 2 3"], With("waits"));
        Assert.Equal(["begun 2 ", "waits  ", "plain  ", "ended  ", "rotated 2 7", "last 2 3"], With("rotated"));
        // First those of which tenants are left.
        Assert.Equal("plain", new TenantRotations([all.All[3], all.All[4], all.All[2]]).Current!.Id);

        IEnumerable<string> With(string waiting) =>
            all.With(all.All.Single(each => each.Id == waiting), root: 7).All
                .Select(each => $"{each.Id} {each.FirstRoot} {each.LastRoot}");
    }

    [Fact]
    public async Task Only_an_owner_asks_for_one_and_only_where_all_nodes_read_it()
    {
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        var app = await Server.AppIdAsync();
        (await Server.Admin.Post($"{Root}/rotate", [("app", app), ("compromised", "maybe")]))
            .IsError(400, null, "compromised");
        await Server.StopAsync();
        await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            await committer.CommitAsync(new ControlChange(instance,
                control => control with { Level = Control.OnlySecondKeyRows }, [], []));
            var asked = new TenantRotations([new TenantRotation("tkr_1", app, null, null, 1, 1, 1)
            {
                IsCompromised = true,
                FirstRoot = 7,
                LastRoot = 8,
                FirstSigningKey = 9,
            }]);
            Assert.Equal(asked.All, TenantRotations.Read(instance, asked.Write(instance).Value).All);
            return true;
        });
        await Server.StartAgainAsync(secretsPerScope: 4); // which raises it again
        await RotateAsync(("app", app));
    }

    private static (string, string)[] Form(string name, string payload = "payload") =>
        [("scope[type]", "account"), ("name", name), ("payload", payload)];

    private static async Task<(string? Id, string? Payload)> FoundAsync(TestServer.Caller client, string name)
    {
        var found = (await client.Find(name, more: ("expand[]", "payload"))).IsOk();
        return (found.Id, found.Payload);
    }

    // The counter of keys whose seed is of the time of a root key, once they have rotated.
    private static long Renewed(long root) => ((root - 1) << 32) + 2;

    private Task<string> CountersAsync() =>
        Server.OnTheSideAsync("SELECT counter || ' ' || keys FROM tenants");

    private static string IsUnder(int version) => PostgresServer.IsChosen
        ? $"encode(substr(sealed, 3, 4), 'hex') = '{version:x8}'"
        : $"substr(sealed, 3, 4) = x'{version:x8}'";

    private async Task RotateAsync(params (string, string)[] form)
    {
        (await Server.Admin.Post($"{Root}/rotate", [.. form, ("compromised", "true")])).IsOk();
        await Until.SoAsync("the rotations are done", async () =>
            (await ShowAsync())["rotations"]!.AsArray().All(each => (string?)each!["state"] == "done"));
    }

    private async Task<JsonNode> ShowAsync() => (await Server.Admin.Get(Root)).IsOk().Json;

    // Each name and scope.
    private async Task<string[]> NamesAsync()
    {
        var (name, scope) = PostgresServer.IsChosen
            ? ("encode(name, 'hex')", "encode(scope, 'hex')") : ("hex(name)", "hex(scope)");
        var all = await Server.OnTheSideAsync($"SELECT {name} || ' ' || {scope} FROM secrets");
        return all.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
    }

    private Task<string> RootVersionsAsync() =>
        Server.OnTheSideAsync("SELECT version FROM root_key_wrappings ORDER BY version");

    private async Task<List<string>> OutcomesAsync() =>
        [.. (await Server.Admin.Get("/admin/v1/audit", ("verb", "rotate_tenant_keys"), ("limit", "100"))).IsOk()
            .Json["data"]!.AsArray().Select(entry => $"{entry!["outcome"]} {entry["reason"]}".TrimEnd())];

    private async Task BeginAsync(Tenants tenants, Committer committer, TenantId id)
    {
        var change = new TenantResealing.Beginning(tenants, (await tenants.FindAsync(id, default))!,
            Server.Time.GetUtcNow().ToUnixTimeSeconds() - 100);
        await committer.CommitAsync(change);
        Assert.True(change.HasChanged);
    }

    private static async Task<SecretRow?> StoredAsync(Tenant tenant, Engine engine, string name)
    {
        SecretRow? found = null;
        foreach (var seed in tenant.Keys.Retired.Append(tenant.Keys.Seed))
        {
            found = (await engine.LookUpSecretAsync(SealedSecret.KeyOf(
                tenant, seed, Scope.Account, new SecretName(System.Text.Encoding.UTF8.GetBytes(name))), default))?.Row
                ?? found;
        }

        return found;
    }

    // What a process leaves that is killed after its first commit, and that all is found there.
    private async Task<string> UntilKilledAsync(TenantId id)
    {
        await KilledProcess.AfterOneCommitAsync(Server);
        var state = "";
        await Server.StepsAsync(async (tenants, _, engine) =>
        {
            var tenant = (await tenants.FindAsync(id, default))!;
            foreach (var name in (string[])["a", "b", "kept"])
            {
                var row = (await StoredAsync(tenant, engine, name))!;
                using var secret = SealedSecret.Open(tenants.Instance, tenant, row, Scope.Account, wantsPayload: true);
            }

            Assert.Null(await StoredAsync(tenant, engine, "none"));
            var roots = tenants.Instance.Facts!.Roots;
            var rotations = TenantRotations.Read(
                tenants.Instance, await engine.FindMetaAsync(TenantRotations.MetaKey, default));
            state = $"{tenant.Keys.Count} key{(tenant.Keys.Count == 1 ? "" : "s")}, "
                + $"{roots.Count} root{(roots.Count == 1 ? "" : "s")} from {roots[0].Version}"
                + (tenants.Instance.Signing.Number == 1 ? "" : $", signed by {tenants.Instance.Signing.Number}")
                + (rotations.All[0].Ended is null ? "" : ", ended");
        });
        return state;
    }
}
