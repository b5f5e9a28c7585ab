using System.Text.Json.Nodes;
using Coffer.Hosting;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>
/// The audit log over HTTP, and that all of the management plane is in it (docs/management.md, "Audit log").
/// </summary>
public sealed class AuditApiTests : ServerTests
{
    private const string Audit = "/admin/v1/audit";

    private string app = null!;

    private TestServer.Caller Admin => Server.Admin;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    public async Task An_entry_has_the_fields_of_the_log_with_an_id()
    {
        var set = (await Server.Client(account: "acct_1").Set("k")).IsOk();
        var list = (await Admin.Get(Audit, ("limit", "1"))).IsOk();
        Assert.Equal(("list", true, Audit),
            ((string?)list.Json["object"], (bool)list.Json["has_more"]!, (string?)list.Json["url"]));
        var entry = list.Json["data"]!.AsArray().Single()!;
        Assert.Equal("id object seq node time verb outcome request remote key app mode account scope name version",
            entry.Fields());
        Assert.Equal(
            ("audit_entry", "set", "ok", "acct_1", app),
            ((string?)entry["object"], (string?)entry["verb"], (string?)entry["outcome"], (string?)entry["account"],
                (string?)entry["app"]));
        Assert.Equal(set.Header("Request-Id"), (string?)entry["request"]);
        Assert.Matches("^audit_[0-9]+_[0-9]+$", entry.Id());
    }

    [Fact]
    public async Task Pages_join_although_every_look_adds_an_entry()
    {
        for (var i = 0; i < 8; i++)
            await Server.Client(account: $"acct_{i}").Set("k");
        await Server.Client(account: "acct_1").List(null, ("expand[]", "data.payload")); // an entry in a row of its own
        (await Admin.Post($"{Apps}/{app}/accounts/acct_1/export", [("reason", "r")])).IsOk();
        var all = (await Admin.Get(Audit, ("limit", "100"))).IsOk();
        var sequence = all.Json["data"]!.AsArray().Select(entry => (long)entry!["seq"]!).ToList();
        Assert.Equal(Enumerable.Range(1, sequence.Count).Select(number => (long)number).Reverse(), sequence);
        foreach (var limit in (int[])[1, 3, 100])
        {
            var walked = await Admin.WalkAsync(Audit, limit);
            Assert.Equal(all.Ids(), walked.SkipWhile(id => id != all.Ids().First()));
        }
    }

    [Theory]
    [Trait("Firm ground", "17")]
    [InlineData("a b")]
    [InlineData("acct_1'")]
    [InlineData("acct_ü")]
    [InlineData("acct_1\n")]
    public async Task Filters_take_ids_and_no_free_text(string text)
    {
        foreach (var param in (string[])["app", "account", "verb", "outcome", "key"])
        {
            (await Admin.Get(Audit, (param, text))).IsError(400, null, param);
            (await Admin.Get(Audit, (param, new string('a', 256)))).IsError(400, null, param);
            (await Admin.Get(Audit, (param, new string('a', 255)))).IsOk();
        }

        foreach (var (path, param) in ((string, string)[])[
                     ("/admin/v1/secrets/search", "app"), ("/admin/v1/secrets/search", "account"),
                     ("/admin/v1/api_keys", "app")])
            (await Admin.Get(path, (param, text))).IsError(400, null, param);
    }

    [Fact]
    public async Task Every_filter_takes_its_part()
    {
        await Server.Client(account: "acct_1").Set("k");
        await Server.Client(Server.OtherAppKey, "acct_1").Set("k");
        await Server.Client(account: "acct_1").Delete("none");
        Server.Time.Move(TimeSpan.FromSeconds(10));
        await Server.Client(account: "acct_2").Set("k");
        var key = (await Server.KeyAsync("secret", livemode: false)).Id();

        Assert.Equal(3, await CountAsync(("verb", "set")));
        Assert.Equal(2, await CountAsync(("verb", "set"), ("app", app)));
        Assert.Equal(2, await CountAsync(("verb", "set"), ("account", "acct_1")));
        Assert.Equal(1, await CountAsync(("outcome", "absent")));
        Assert.Equal(3, await CountAsync(("key", key)));
        Assert.Equal(1, await CountAsync(("verb", "set"), ("since", $"{Server.Time.Seconds}")));
        Assert.Equal(2, await CountAsync(("verb", "set"), ("until", $"{Server.Time.Seconds}")));
        Assert.Equal(
            2,
            await CountAsync(("verb", "set"), ("since", $"{Server.Time.Seconds - 10}"),
                ("until", $"{Server.Time.Seconds}")));
        Assert.Equal(0, await CountAsync(("since", $"{Server.Time.Seconds + 1}")));
        Assert.Equal(3, await CountAsync(("verb", "set"), ("since", "0"), ("until", $"{UnixTime.Latest}")));
        Assert.Equal(0, await CountAsync(("verb", "none")));

        async Task<int> CountAsync(params (string, string)[] filter) =>
            (await Admin.Get(Audit, [("limit", "100"), .. filter])).Ids().Count();
    }

    [Fact]
    public async Task A_rare_entry_is_found_behind_many_others()
    {
        await Server.Client(account: "acct_rare").Set("k");
        for (var i = 0; i < 30; i++)
            await Task.WhenAll(
                Enumerable.Range(0, 20).Select(client => Server.Client(account: $"acct_{client}").Set("k")));
        Assert.Single((await Admin.Get(Audit, ("account", "acct_rare"))).Ids());
        Assert.False((bool)(await Admin.Get(Audit, ("account", "acct_rare"))).Json["has_more"]!);
    }

    [Theory]
    [InlineData("starting_after=audit_1", "resource_missing", "starting_after")]
    [InlineData("starting_after=audit_x_1", "resource_missing", "starting_after")]
    [InlineData("starting_after=audit_-1_1", "resource_missing", "starting_after")]
    [InlineData("starting_after=audit_9223372036854775807_1", "resource_missing", "starting_after")]
    [InlineData("starting_after=audit_99999999999999999999_1", "resource_missing", "starting_after")]
    [InlineData("starting_after=key_1", "resource_missing", "starting_after")]
    [InlineData("since=-1", null, "since")]
    [InlineData("since=20260101", null, "since")]
    [InlineData("until=2030", null, "until")]
    [InlineData("until=1795887533000", null, "until")]
    [InlineData("until=9999999999999999999", null, "until")]
    [InlineData("since=yesterday", "parameter_invalid_integer", "since")]
    [InlineData("until=", "parameter_invalid_empty", "until")]
    [InlineData("verb[]=set", null, "verb")]
    [InlineData("limit=x", "parameter_invalid_integer", "limit")]
    [InlineData("node=node_1", "parameter_unknown", "node")]
    public async Task Bad_input_names_the_parameter(string query, string? code, string param) =>
        (await Admin.Raw(HttpMethod.Get, $"{Audit}?{query}", null)).IsError(400, code, param);

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task Every_request_to_the_plane_is_on_record_before_it_is_answered()
    {
        var key = (await Server.NewKeyAsync("secret", app)).Id();
        var id = (await Server.Client(account: "acct_1").Set("k")).Id;
        var accounts = $"{Apps}/{app}/accounts";
        (Func<Task<Answer>> Ask, string Verb)[] requests =
        [
            (() => Admin.Get(Apps), "list_apps"), (() => Admin.Get($"{Apps}/{app}"), "show_app"),
                (() => Admin.Post(Apps, [("name", "x")]), "create_app"),
            (() => Admin.Post($"{Apps}/{app}", [("name", "x")]), "change_app"), (() => Admin.Post($"{Apps}/{app}",
                [("disabled", "true")]), "disable_app"),
            (() => Admin.Post($"{Apps}/{app}", [("disabled", "false")]), "enable_app"),
            (() => Admin.Post($"{Apps}/{app}/signing_secret/roll", [("grace_period", "0")]), "roll_signing_secret"),
            (() => Admin.Get(KeysPath), "list_keys"), (() => Admin.Get($"{KeysPath}/{key}"), "show_key"),
                (() => Admin.Post(KeysPath, [("type", "admin")]), "create_key"),
            (() => Admin.Post($"{KeysPath}/{key}/roll", [("grace_period", "60")]), "roll_key"), (() => Admin.Post(
                $"{KeysPath}/{key}/revoke", []), "revoke_key"),
            (() => Admin.Get(accounts), "list_accounts"), (() => Admin.Post($"{accounts}/acct_1/export",
                [("reason", "r")]), "export"),
            (() => Admin.Post($"{accounts}/acct_none/export", [("reason", "r")]), "export"),
            (() => Admin.Post($"{accounts}/acct_1/secrets/{id}/reveal", [("reason", "r")]), "reveal"), (() => Admin.Get(
                "/admin/v1/secrets/search"), "search_secrets"),
            (() => Admin.Post(
                $"{accounts}/acct_1/forget",
                []), "forget_account"), (() => Admin.Get(Audit), "list_audit"),
                    (() => Admin.Get("/admin/v1/settings"), "show_settings"),
            (() => Admin.Get("/admin/v1/status"), "show_status"),
            (() => Admin.Raw(HttpMethod.Delete, $"{Apps}/{app}", null), "delete_app"),
        ];
        var admin = (await Server.KeyAsync("admin", null)).Id();
        foreach (var (ask, verb) in requests)
        {
            var answer = (await ask()).IsOk();
            // A receipt is signed behind the answer, at a moment of its own.
            AuditFilter all = new(null, null, null, null, null, null, null);
            var newest = await AuditArchive.ListAsync(Server.Data, all, 5, default);
            var entry = newest.Select(line => JsonNode.Parse(line)!).First(
                each => (string?)each["verb"] != "sign_receipt");
            Assert.Equal((verb, "ok", answer.Header("Request-Id"), admin, "127.0.0.1"),
                ((string?)entry["verb"], (string?)entry["outcome"], (string?)entry["request"], (string?)entry["key"],
                    (string?)entry["remote"]));
        }

        await Server.StopAsync();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems);
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task A_key_that_is_no_admin_key_is_refused_everywhere_and_counted()
    {
        foreach (var path in (string[])[Apps, $"{Apps}/{app}", KeysPath, $"{KeysPath}/key_none",
            $"{Apps}/{app}/accounts", "/admin/v1/secrets/search", Audit, "/admin/v1/settings"])
        {
            foreach (var token in (string[])[Server.Keys.TestSecretKey, Server.Keys.LiveSecretKey!,
                await Server.MintAsync("usr_1")])
                (await Server.Client(token).Get(path)).IsError(
                    403, null, null,
                    "The management plane accepts only admin keys (ak_…). Use the admin key that the server printed "
                        + "when it first started.");
            (await Server.Client("ak_none").Get(path)).IsError(401, null, null);
        }

        var account = $"{Apps}/{app}/accounts/acct_1";
        foreach (var (path, form) in ((string, (string, string)[])[])[
            (Apps, [("name", "x")]), ($"{Apps}/{app}", []), (KeysPath, [("type", "admin")]),
            ($"{Apps}/{app}/signing_secret/roll", [("grace_period", "0")]),
            ($"{KeysPath}/key_none/roll", [("grace_period", "0")]), ($"{KeysPath}/key_none/revoke", []),
            ($"{account}/export", [("reason", "r")]), ($"{account}/forget", []),
            ($"{account}/secrets/x/reveal", [("reason", "r")])])
            (await Server.Client().Post(path, form)).IsError(403, null, null);

        (await Server.Client().Raw(HttpMethod.Delete, $"{Apps}/{app}", null)).IsError(403, null, null);
        (await Admin.Get($"{Apps}/{app}")).IsOk();
        await Server.StopAsync(); // writes what was counted
        var counted = await AuditArchive.ListAsync(Server.Data,
            new(null, null, "authenticate", "not_an_admin_key", null, null, null), 1_000, default);
        Assert.Equal(8 * 3 + 9 + 1, counted.Sum(line => (long)JsonNode.Parse(line)!["count"]!));
    }

    [Fact]
    public async Task A_list_is_on_record_with_how_many_it_gave()
    {
        for (var i = 0; i < 3; i++)
            await Server.Client(account: $"acct_{i}").Set("k");
        foreach (var (path, verb) in ((string, string)[])[(Apps, "list_apps"), (KeysPath, "list_keys"),
            ($"{Apps}/{app}/accounts", "list_accounts"), (Audit, "list_audit")])
        {
            (await Admin.Get(path, ("limit", "1"))).IsOk();
            Assert.Equal(1,
                (int)(await Admin.Get(Audit, ("verb", verb), ("limit", "1"))).IsOk().Json["data"]![0]!["count"]!);
        }
    }
}
