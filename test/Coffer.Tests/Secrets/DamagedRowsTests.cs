using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Hosting;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Transfer;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Secrets;

/// <summary>A damaged row is refused and named, and hides nothing that stands beside it.</summary>
[Trait("Firm ground", "14")]
public sealed class DamagedRowsTests() : ServerTests(secretsPerScope: 100)
{
    private const string Search = "/admin/v1/secrets/search", Audit = "/admin/v1/audit";

    private string app = null!;
    private string[] ids = null!;

    private TestServer.Caller Client => Server.Client(account: "acct_1");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
        var made = new List<string>();
        for (var i = 0; i < 7; i++)
            made.Add((await Client.Set($"k{i}", $"payload {i}")).IsOk().Id!);
        ids = [.. made];
        (await Server.Client(account: "acct_2").Set("other", "another account's")).IsOk();
    }

    [Theory]
    [InlineData("version = 'seven'")]
    [InlineData("version = version || 'x'")] // SQLite reads 1x as the number 1
    [InlineData("created = created || 'x'")]
    [InlineData("expires_at = 'never'")]
    [InlineData("expires_at = x'00'")]
    [InlineData("created = -1")]
    [InlineData("expires_at = 9223372036854775807")]
    [InlineData("sealed = hex(sealed)")]
    [InlineData("sealed = zeroblob(300)")]
    [InlineData("id = CAST(id AS BLOB)")]
    public async Task A_damaged_secret_is_left_out_of_a_list_and_counted_and_the_rest_is_given(string edit)
    {
        Server.Execute($"UPDATE secrets SET {edit} WHERE id = '{ids[3]}'");
        var page = (await Client.List(null, ("limit", "100"))).IsOk();
        Assert.Equal(["k6", "k5", "k4", "k2", "k1", "k0"], page.Names);
        Assert.Equal("1", page.Header("Coffer-Damaged-Secrets"));
        var payloads = (await Client.List(null, ("limit", "100"), ("expand[]", "data.payload"))).IsOk();
        Assert.Equal(6, payloads.Json["data"]!.AsArray().Count(secret => secret!["payload"] is not null));

        (await Client.Find("k3")).IsError(500, null, null, type: "api_error");
        (await Client.Set("k3", "laundered")).IsError(500, null, null, type: "api_error");
        (await Client.Find("k2")).IsOk();
        var entry = Assert.Single(await NamedAsync())!;
        Assert.Equal(("check_row", "damaged", app, "acct_1"),
            ((string?)entry["verb"], (string?)entry["outcome"], (string?)entry["app"], (string?)entry["account"]));
        Assert.Contains("secrets appsecret_", (string?)entry["target"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Pages_of_any_size_join_around_damaged_rows_in_both_directions(int limit)
    {
        foreach (var damaged in (int[])[0, 3, 4, 6])
            Server.Execute($"UPDATE secrets SET sealed = zeroblob(300) WHERE id = '{ids[damaged]}'");
        Assert.Equal(["k5", "k2", "k1"], await WalkAsync("starting_after", limit));
        Assert.Equal(["k1", "k2", "k5"], await WalkAsync("ending_before", limit));
    }

    [Fact]
    public async Task A_list_whose_ids_were_made_to_go_round_in_a_circle_ends()
    {
        Server.Execute($"UPDATE secrets SET id = x'ff' WHERE id = '{ids[3]}'");
        Server.Execute($"UPDATE secrets SET id = id || char(0) WHERE id = '{ids[4]}'");
        foreach (var direction in (string[])["starting_after", "ending_before"])
        {
            var page = (await Client.List(null, ("limit", "2"), (direction, ids[2]))).IsOk();
            Assert.True(page.Names.Length <= 2);
        }
    }

    [Theory]
    [InlineData("UPDATE secrets SET sealed = zeroblob(300) WHERE id = '{0}'")]
    [InlineData("UPDATE secrets SET version = 'x' WHERE id = '{0}'")]
    [InlineData("UPDATE secrets SET version = version + 1 WHERE id = '{0}'")]
    public async Task A_search_shows_which_secret_is_damaged_and_gives_the_others(string edit)
    {
        Server.Execute(string.Format(null, edit, ids[3]));
        var found = (await Server.Admin.Get(Search, ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(8, found.Count);
        var damaged = Assert.Single(found, secret => secret!["damaged"] is not null)!;
        Assert.Equal((ids[3], true, app, "acct_1"),
            ((string?)damaged["id"], (bool)damaged["damaged"]!, (string?)damaged["app"], (string?)damaged["account"]));
        Assert.Null(damaged["name"]);
        Assert.Null(damaged["scope"]);
        Assert.False(damaged.AsObject().ContainsKey("payload"));
        Assert.Contains(ids[3], (string?)Assert.Single(await NamedAsync())!["target"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sealed_keys = zeroblob(length(sealed_keys))")]
    [InlineData("sealed_keys = hex(sealed_keys)")]
    [InlineData("livemode = 2")]
    [InlineData("livemode = 'live'")]
    public async Task A_damaged_tenant_hides_no_other_tenants_secrets(string edit)
    {
        await Server.StopAsync(); // its keys are kept in memory
        Server.Execute($"UPDATE tenants SET {edit} WHERE account = 'acct_1'");
        await Server.StartAgainAsync();
        var found = (await Server.Admin.Get(Search, ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(7, found.Count(secret => (bool?)secret!["damaged"] == true));
        Assert.Equal("other", (string?)Assert.Single(found, secret => secret!["damaged"] is null)!["name"]);
        Assert.NotEmpty(await NamedAsync());
        var other = await Server.Client(account: "acct_2").Find("other", null, ("expand[]", "payload"));
        Assert.Equal("another account's", other.IsOk().Payload);
        var accounts = (await Server.Admin.Get($"{Operator.Apps}/{app}/accounts")).IsOk().Json["data"]!.AsArray();
        Assert.Equal(["acct_1", "acct_2"], accounts.Select(account => (string?)account!["id"]));
        Assert.Equal(edit.StartsWith("livemode", StringComparison.Ordinal), accounts[0]!["damaged"] is not null);
        (await Server.ForgetAsync("acct_1")).IsOk(); // whatever its mode says
        Assert.Equal(0L, Server.Scalar("SELECT count(*) FROM tenants WHERE account = 'acct_1'"));
    }

    [Fact]
    public async Task An_export_names_the_damaged_secret_and_gives_the_others()
    {
        Server.Execute($"UPDATE secrets SET sealed = zeroblob(300) WHERE id = '{ids[3]}'");
        var export = $"{Operator.Apps}/{app}/accounts/acct_1/export";
        var answer = await Server.Admin.Post(export, [("reason", "r"), ("limit", "100")]);
        var page = answer.IsOk().Json["data"]!.AsArray();
        Assert.Equal(7, page.Count);
        Assert.Equal(6, page.Count(secret => secret!["payload"] is not null));
        Assert.Equal(ids[3], (string?)Assert.Single(page, secret => (bool?)secret!["damaged"] == true)!["id"]);
        var entries = await EntriesAsync("export");
        var entry = Assert.Single(entries, entry => (string?)entry!["outcome"] == "damaged");
        Assert.Equal(ids[3], (string?)entry!["target"]);
        var secrets = $"{Operator.Apps}/{app}/accounts/acct_1/secrets";
        var revealed = await Server.Admin.Post($"{secrets}/{ids[3]}/reveal", [("reason", "r")]);
        revealed.IsError(500, null, null, type: "api_error");
        (await Server.Admin.Post($"{secrets}/{ids[2]}/reveal", [("reason", "r")])).IsOk();
    }

    [Theory]
    [InlineData("secret", "kind = 'robot'")]
    [InlineData("secret", "kind = ''")]
    [InlineData("secret", "permissions = 'secret_read'")]
    [InlineData("secret", "pinned_account = 'acct_1'")]
    [InlineData("secret", "addresses = 'nonsense'")]
    [InlineData("secret", "addresses = ''")]
    [InlineData("secret", "addresses = '10.0.0.1/8'")]
    [InlineData("secret", "addresses = '127.0.0.0/8,'")]
    [InlineData("secret", "expires_at = 9223372036854775807")]
    [InlineData("restricted", "permissions = 'everything'")]
    [InlineData("restricted", "permissions = 'secret_read,'")]
    [InlineData("restricted", "permissions = ''")]
    [InlineData("restricted", "permissions = NULL, addresses = '127.0.0.0/8'")]
    [InlineData("restricted", "pinned_account = ''")]
    public async Task A_key_that_says_what_is_not_known_is_refused_though_its_proof_is_good(string type, string edit)
    {
        var key = await Server.NewKeyAsync(type, app, type == "restricted" ? [("permissions", "secret_read")] : []);
        await Server.StopAsync();
        Server.Execute($"UPDATE api_keys SET {edit} WHERE id = '{key.Id()}'");
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var row = ApiKey.Prove(instance, (await engine.FindApiKeyAsync(key.Id(), default))!);
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row)));
            return true;
        });
        await Server.StartAgainAsync();
        await KeyIsDamagedAsync(key);
    }

    [Theory]
    [InlineData("livemode = 2")]
    [InlineData("livemode = -1")]
    [InlineData("livemode = 'live'")]
    [InlineData("livemode = 0.5")]
    [InlineData("last_used = 'yesterday'")]
    [InlineData("last_used = 9223372036854775807")]
    [InlineData("created = created || 'x'")]
    [InlineData("kind = CAST('secret' AS BLOB)")]
    [InlineData("proof = hex(proof)")]
    public async Task A_key_whose_columns_hold_what_they_may_not_is_refused(string edit)
    {
        var key = await Server.NewKeyAsync("secret", app);
        await Server.StopAsync();
        Server.Execute($"UPDATE api_keys SET {edit} WHERE id = '{key.Id()}'");
        await Server.StartAgainAsync();
        await KeyIsDamagedAsync(key);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[]")]
    [InlineData("7")]
    [InlineData("{\"verb\":\"a\",\"verb\":\"b\"}")]
    [InlineData("{\"verb\":\"\\ud800\"}")]
    [InlineData("{\"verb\":[1]}")]
    public async Task A_damaged_audit_entry_does_not_hide_the_others(string line)
    {
        var row = (long)Server.Scalar("SELECT max(row) FROM audit")!;
        var entry = System.Text.Encoding.UTF8.GetBytes(line + "\n");
        Server.Execute($"UPDATE audit SET entries = $b0 WHERE row = {row}", entry);
        var entries = (await Server.Admin.Get(Audit, ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        var damaged = Assert.Single(entries, entry => (bool?)entry!["damaged"] == true)!;
        Assert.StartsWith($"audit_{row}_", damaged.Id(), StringComparison.Ordinal);
        Assert.True(entries.Count > 5);
        (await Server.Admin.Get(Audit, ("verb", "set"), ("account", "acct_1"))).IsOk();
        (await Server.Admin.Get(Audit, ("since", "100000000"))).IsOk();
        var sets = new AuditFilter(null, null, "set", null, null, null, null);
        Assert.NotEmpty(await AuditArchive.ListAsync(Server.Location, sets, 100, default));
    }

    [Fact]
    public async Task A_damaged_row_cannot_write_lines_of_its_own_into_a_log()
    {
        Server.Execute($"UPDATE secrets SET id = 'appsecret_' || char(10) || 'forged' WHERE id = '{ids[3]}'");
        (await Client.List()).IsOk();
        var target = (string?)Assert.Single(await NamedAsync())!["target"];
        Assert.Contains("appsecret_?forged", target, StringComparison.Ordinal);
    }

    private async Task KeyIsDamagedAsync(JsonNode key)
    {
        foreach (var account in (string?[])[null, "acct_1"])
        {
            (await Server.Client(key.Secret(), account).List()).IsError(500, null, null, type: "api_error");
            (await Server.Client(key.Secret(), account).Set("k")).IsError(500, null, null, type: "api_error");
        }

        var keys = (await Server.Admin.Get(KeysPath, ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(key.Id(), (string?)Assert.Single(keys, one => one!["damaged"] is not null)!["id"]);
        (await Server.Client().List()).IsOk();
        Assert.Equal($"api_keys {key.Id()}", (string?)Assert.Single(await NamedAsync())!["target"]);
        (await Server.Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsOk();
        (await Server.Client(key.Secret()).List()).IsError(401, null, null);
    }

    private async Task<List<string>> WalkAsync(string direction, int limit)
    {
        var (found, at) = (new List<string>(), direction == "ending_before" ? ids[0] : null);
        for (var pages = 0; pages < 10; pages++)
        {
            (string, string)[] query = at is null ? [("limit", $"{limit}")] : [("limit", $"{limit}"), (direction, at)];
            var page = (await Client.List(null, query)).IsOk();
            var names = direction == "ending_before" ? page.Names.Reverse() : page.Names;
            found.AddRange(names);
            if (!(bool)page.Json["has_more"]!)
                return found;
            Assert.Equal(limit, page.Names.Length); // an empty page with more behind it would stop an SDK
            var shown = page.Json["data"]!.AsArray();
            at = (string?)shown[direction == "ending_before" ? 0 : shown.Count - 1]!["id"];
        }

        throw new InvalidOperationException("the list does not end");
    }

    private Task<JsonArray> NamedAsync() => EntriesAsync("check_row");

    private async Task<JsonArray> EntriesAsync(string verb) =>
        (await Server.Admin.Get(Audit, ("verb", verb), ("limit", "100"))).IsOk().Json["data"]!.AsArray();
}
