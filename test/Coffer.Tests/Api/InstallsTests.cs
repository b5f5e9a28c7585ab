using System.Text.Json.Nodes;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Shared;
using Coffer.Storage;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>Installs of an app, for its backend (docs/wire.md, "Installs").</summary>
public sealed class InstallsTests : ServerTests
{
    private const string Installs = "/v1/apps/installs";

    private string app = null!;

    private string own = null!;

    private TestServer.Caller Developer => Server.Client();

    private TestServer.Caller Installer => Server.Client(account: "acct_1");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
        own = (string)(await Server.Admin.Get($"{Apps}/{app}")).IsOk().Json["account"]!;
    }

    [Fact]
    public async Task An_install_is_an_account_for_which_something_is_stored()
    {
        (await Installer.Set("k")).IsOk();
        var list = (await Installer.Get(Installs)).IsOk();
        var id = list.Ids().Single();
        Assert.Matches("^appinst_test_[0-9A-Za-z]{32}$", id);
        Assert.Equal($$"""
            {
              "id": "{{id}}",
              "object": "apps.install",
              "account": "acct_1",
              "app": "{{app}}",
              "approval_required": false,
              "auth_code": null,
              "channel": "public",
              "content_security_policy_granted": {
                "connect_src": [],
                "image_src": []
              },
              "content_security_policy_pending": {
                "connect_src": [],
                "image_src": []
              },
              "created": {{Server.Time.Seconds}},
              "created_by": null,
              "endpoints_granted": [],
              "endpoints_pending": [],
              "livemode": false,
              "permissions_granted": [
                "secret_write"
              ],
              "permissions_pending": [],
              "status": "installed"
            }

            """, (await Installer.Get($"{Installs}/{id}")).IsOk().Text);
        Assert.Equal("object data has_more url", list.Json.Fields());
        Assert.Equal(("list", false, Installs),
            ((string?)list.Json["object"], (bool)list.Json["has_more"]!, (string?)list.Json["url"]));
        (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("k")).IsOk();
        var live = (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Get(Installs)).Ids().Single();
        Assert.Matches("^appinst_[0-9A-Za-z]{32}$", live);
        // One that is updated stays as it is.
        Assert.Equal((await Installer.Get($"{Installs}/{id}")).Text,
            (await Installer.Post($"{Installs}/{id}", [])).Text);
    }

    [Fact]
    public async Task A_developer_that_names_the_app_sees_all_accounts_and_everybody_else_the_own_one()
    {
        foreach (var account in (string[])["acct_1", "acct_2"])
            (await Server.Client(account: account).Set("k")).IsOk();
        (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("k")).IsOk();
        (await Server.Client(Server.OtherAppKey, "acct_1").Set("k")).IsOk();
        Assert.Equal(["acct_2", "acct_1"], await AccountsAsync(Developer, ("app", app)));
        Assert.Equal(["acct_2"], await AccountsAsync(Developer, ("app", app), ("account", "acct_2")));
        Assert.Empty(await AccountsAsync(Developer, ("app", app), ("account", "acct_3")));
        Assert.Empty(await AccountsAsync(Developer)); // the app's own has nothing
        Assert.Equal(["acct_1"], await AccountsAsync(Installer, ("app", app)));
        Assert.Equal(["acct_1"], await AccountsAsync(Installer));
        Assert.Empty(await AccountsAsync(Installer, ("app", app), ("account", "acct_2")));

        var (mine, others) = (await IdOfAsync("acct_1"), await IdOfAsync("acct_2"));
        (await Developer.Get($"{Installs}/{others}")).IsOk();
        (await Installer.Get($"{Installs}/{mine}")).IsOk();
        foreach (var (caller, id) in ((TestServer.Caller, string)[])[(Installer, others),
            (Server.Client(Server.OtherAppKey), mine), (Server.Client(Server.Keys.LiveSecretKey), mine),
            (Developer, mine[..^1] + (mine[^1] == 'x' ? 'y' : 'x')), (Developer, "appinst_1")])
        {
            (await caller.Get($"{Installs}/{id}")).IsError(404, "resource_missing", "id", $"No such install: '{id}'");
            (await caller.Post($"{Installs}/{id}", [])).IsError(404, "resource_missing", "id");
            (await caller.Post($"{Installs}/{id}/uninstall", [])).IsError(404, "resource_missing", "id");
        }

        // Whether or not there is one.
        foreach (var foreign in (string[])[Server.OtherApp, "app_absent"])
        {
            foreach (var answer in (Answer[])[await Developer.Get(Installs, ("app", foreign)),
                await Installer.Post(Installs, [("app", foreign)])])
                answer.IsError(400, "resource_missing", "app", $"No such app: '{foreign}'");
        }
    }

    [Fact]
    public async Task Create_installs_once_and_gives_what_is_there()
    {
        var created = (await Installer.Post(Installs, [("app", app)], "key")).IsOk();
        Assert.Equal(("acct_1", "public", "installed"), Said(created.Json));
        Assert.Equal(created.Text, (await Installer.Post(Installs, [("app", app)])).IsOk().Text);
        (await Installer.Set("k")).IsOk();
        Server.Time.Move(TimeSpan.FromHours(1));
        Assert.Equal(created.Text, (await Installer.Post(Installs, [("app", app), ("channel", "public")])).Text);
        var replayed = (await Installer.Post(Installs, [("app", app)], "key")).IsOk();
        Assert.Equal((created.Text, "true"), (replayed.Text, replayed.Header("Idempotent-Replayed")));
        (await Installer.Post(Installs, [("app", app), ("channel", "public")], "key"))
            .IsError(400, null, null, type: "idempotency_error");
        // What the keys of an app keep, they share with what is kept of mints.
        (await Installer.Post(Ephemeral, [("user", "usr_1")], "mint")).IsOk();
        (await Installer.Post(Installs, [("app", app)], "mint")).IsError(400, null, null, type: "idempotency_error");
        (await Installer.Post(Ephemeral, [("user", "usr_1")], "key"))
            .IsError(400, null, null, type: "idempotency_error");

        var mine = (await Developer.Post(Installs, [("app", app), ("channel", "private_test")])).IsOk();
        Assert.Equal((own, "private_test", "installed"), Said(mine.Json));
        var live = Server.Client(Server.Keys.LiveSecretKey);
        Assert.Equal((own, "private_live", "installed"),
            Said((await live.Post(Installs, [("app", app), ("channel", "private_live")])).IsOk().Json));
        foreach (var (caller, channel) in ((TestServer.Caller, string)[])[(Developer, "public"),
            (Developer, "private_live"), (live, "private_test"), (Installer, "private_test"), (Installer, "testing")])
            (await caller.Post(Installs, [("app", app), ("channel", channel)])).IsError(400, null, "channel");
        (await Developer.Post(Installs, [("app", app)])).IsError(400, null, "channel"); // public is meant
    }

    [Fact]
    public async Task Parameters_are_looked_at_as_the_reference_has_them()
    {
        (await Installer.Post(Installs, [])).IsError(400, "parameter_missing", "app", "Missing required param: app.");
        (await Installer.Post(Installs, [("app", app), ("account", "acct_1")]))
            .IsError(400, "parameter_unknown", "account");
        (await Developer.Get(Installs, ("name", "x"))).IsError(400, "parameter_unknown", "name");
        (await Developer.Get(Installs, ("status", "gone"))).IsError(400, null, "status", "Invalid status: must be one "
            + "of install_failed, installed, installing, uninstall_failed, or uninstalling");
        (await Developer.Get(Installs, ("channel", "x"))).IsError(400, null, "channel");
        (await Developer.Get(Installs, ("created[x]", "1"))).IsError(400, "parameter_unknown", "created[x]");
        (await Developer.Get(Installs, ("created", "x"))).IsError(400, "parameter_invalid_integer", "created");
        (await Developer.Get(Installs, ("approval_required", "x"))).IsError(400, null, "approval_required");
        (await Developer.Get(Installs, ("expand[]", "data.account"))).IsError(400, null, null);
        (await Developer.Get(Installs, ("expand[]", "data.content_security_policy_granted"), ("expand[]", "data")))
            .IsOk();
        (await Installer.Post(Installs, [("app", app), ("expand[]", "content_security_policy_pending")])).IsOk();
        (await Developer.Get(Installs, ("starting_after", "appinst_test_1")))
            .IsError(400, "resource_missing", "starting_after", "No such install: 'appinst_test_1'");
        var good = new string('a', 43);
        foreach (var (fields, param) in (((string, string)[], string?)[])[
            ([("code_challenge", good), ("code_challenge_method", "S256")], null),
            ([("code_challenge", new string('~', 128)), ("code_challenge_method", "S256")], null),
            ([("code_challenge", good)], "code_challenge_method"), ([("code_challenge_method", "S256")],
                "code_challenge"), ([("code_challenge", good), ("code_challenge_method", "plain")],
                "code_challenge_method"),
            ([("code_challenge", good[1..]), ("code_challenge_method", "S256")], "code_challenge"),
            ([("code_challenge", new string('a', 129)), ("code_challenge_method", "S256")], "code_challenge"),
            ([("code_challenge", good + "+"), ("code_challenge_method", "S256")], "code_challenge")])
        {
            var answer = await Installer.Post(Installs, [("app", app), .. fields]);
            Assert.Equal((param is null ? 200 : 400, param),
                (answer.Status, param is null ? null : (string?)answer.Json["error"]!["param"]));
        }
    }

    [Fact]
    public async Task A_list_is_narrowed_and_walked_newest_first()
    {
        var began = Server.Time.Seconds;
        (await Developer.Set("k")).IsOk(); // the app's own account
        for (var i = 1; i <= 5; i++)
        {
            Server.Time.Move(TimeSpan.FromSeconds(10));
            (await Server.Client(account: $"acct_{i}").Set("k")).IsOk();
        }

        string[] all = ["acct_5", "acct_4", "acct_3", "acct_2", "acct_1", own];
        Assert.Equal(all, await AccountsAsync(Developer, ("app", app)));
        Assert.Equal(all[..^1], await AccountsAsync(Developer, ("app", app), ("channel", "public")));
        Assert.Equal([own], await AccountsAsync(Developer, ("app", app), ("channel", "private_test")));
        foreach (var (name, value) in ((string, string)[])[("channel", "private_live"), ("channel", "testing"),
            ("status", "uninstalling"), ("status", "installing"), ("approval_required", "true"),
            ("created_by", "usr_1"), ("created", $"{began + 1}"), ("created[gt]", $"{began + 50}")])
            Assert.Empty(await AccountsAsync(Developer, ("app", app), (name, value)));
        foreach (var (name, value) in ((string, string)[])[("status", "installed"), ("approval_required", "false"),
            ("created[gte]", $"{began}")])
            Assert.Equal(all, await AccountsAsync(Developer, ("app", app), (name, value)));
        Assert.Equal(["acct_2"], await AccountsAsync(Developer, ("app", app), ("created", $"{began + 20}")));
        Assert.Equal(["acct_3", "acct_2"], await AccountsAsync(
            Developer, ("app", app), ("created[gt]", $"{began + 10}"), ("created[lt]", $"{began + 40}")));
        Assert.Equal(["acct_4", "acct_3", "acct_2", "acct_1"], await AccountsAsync(
            Developer, ("app", app), ("created[gte]", $"{began + 10}"), ("created[lte]", $"{began + 40}")));

        Assert.Equal((await Developer.Get(Installs, ("app", app), ("limit", "100"))).Ids(),
            await Developer.WalkAsync(Installs, 2, ("app", app)));
        var third = await IdOfAsync("acct_3");
        var before = (await Developer.Get(Installs, ("app", app), ("limit", "1"), ("ending_before", third))).IsOk();
        Assert.Equal(["acct_4"], Accounts(before));
        Assert.True((bool)before.Json["has_more"]!);
        Assert.Equal(["acct_2", "acct_1", own],
            await AccountsAsync(Developer, ("app", app), ("starting_after", third)));
        (await Developer.Get(Installs, ("app", app), ("starting_after", third), ("ending_before", third)))
            .IsError(400, null, null,
                "Received both starting_after and ending_before parameters. Please pass in only one.");
        (await Server.Client(account: "acct_1").Get(Installs, ("starting_after", third)))
            .IsError(400, "resource_missing", "starting_after");
    }

    [Fact]
    public async Task Restricted_keys_need_permissions_of_their_own_and_browsers_have_none()
    {
        (await Installer.Set("k")).IsOk();
        var id = await IdOfAsync("acct_1");
        var (reader, writer, neither, pinned) = (
            await RestrictedAsync("app_install_read"), await RestrictedAsync("app_install_write"),
            await RestrictedAsync("secret_write", "secret_read"),
            await RestrictedAsync("app_install_read", "account=acct_2"));
        (await reader.Get(Installs, ("app", app))).IsOk();
        (await reader.Get($"{Installs}/{id}")).IsOk();
        Refused(await reader.Post($"{Installs}/{id}", []), "app_install_write");
        Refused(await reader.Post(Installs, [("app", app)]), "app_install_write");
        (await writer.Post($"{Installs}/{id}", [])).IsOk();
        (await writer.Post(Installs, [("app", app), ("channel", "private_test")])).IsOk();
        Refused(await writer.Get(Installs, ("app", app)), "app_install_read");
        Refused(await writer.Get($"{Installs}/{id}"), "app_install_read");
        Refused(await neither.Get(Installs), "app_install_read");
        (await reader.Find("k")).IsError(403, "more_permissions_required", null); // and nothing of secrets
        (await pinned.Get($"{Installs}/{id}")).IsError(404, "resource_missing", "id");
        Assert.Empty(await AccountsAsync(pinned, ("app", app)));
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        foreach (var caller in (TestServer.Caller[])[reader, writer, neither, browser, Server.Admin])
            (await caller.Post($"{Installs}/{id}/uninstall", [])).IsError(403, null, null);
        foreach (var caller in (TestServer.Caller[])[browser, Server.Admin])
        {
            (await caller.Get(Installs)).IsError(403, null, null);
            (await caller.Get($"{Installs}/{id}")).IsError(403, null, null);
            (await caller.Post($"{Installs}/{id}", [])).IsError(403, null, null);
            (await caller.Post(Installs, [("app", app)])).IsError(403, null, null);
        }

        (await Installer.Find("k")).IsOk();
        // Nobody mints what a browser may not.
        (await Installer.Post(Ephemeral, [("user", "usr_1"), ("permissions[]", "app_install_read")])).IsError(400, null,
            "permissions", "Invalid permissions: must be one of secret_read or secret_write");

        static void Refused(Answer answer, string permission) => answer.IsError(403, "more_permissions_required", null,
            $"The provided key does not have the permission '{permission}', which this request needs. Use a key that "
                + "has it.");
    }

    [Fact]
    public async Task An_id_is_of_its_account_whatever_the_database_says()
    {
        foreach (var account in (string[])["acct_1", "acct_2"])
            (await Server.Client(account: account).Set("k")).IsOk();
        var ids = (await IdOfAsync("acct_1"), await IdOfAsync("acct_2"));
        await Server.OnTheSideAsync("UPDATE tenants SET install = CASE account WHEN 'acct_1' THEN "
            + $"'{ids.Item2["appinst_test_".Length..]}' ELSE '{ids.Item1["appinst_test_".Length..]}' END");
        (await Developer.Post($"{Installs}/{ids.Item1}/uninstall", [])).IsError(404, "resource_missing", "id");
        // What is listed is found again; so is what a node of the release before has made.
        await ListedAsync();
        await Server.OnTheSideAsync("UPDATE tenants SET install = NULL");
        (await Developer.Get($"{Installs}/{ids.Item1}")).IsError(404, "resource_missing", "id");
        await ListedAsync();
        await Server.OnTheSideAsync("UPDATE tenants SET install = NULL");
        (await Installer.Get(Installs)).IsOk();
        (await Developer.Get($"{Installs}/{ids.Item1}")).IsOk();
        await Server.OnTheSideAsync("UPDATE tenants SET install = NULL");
        Assert.Equal(ids.Item1, (await Installer.Post(Installs, [("app", app)])).IsOk().Id);
        (await Developer.Get($"{Installs}/{ids.Item1}")).IsOk();

        async Task ListedAsync()
        {
            Assert.Equal([ids.Item2, ids.Item1], (await Developer.Get(Installs, ("app", app))).Ids());
            foreach (var id in (string[])[ids.Item1, ids.Item2])
                Assert.Equal(id, (await Developer.Get($"{Installs}/{id}")).IsOk().Id);
        }
    }

    [Fact]
    [Trait("Engine", "SQLite")] // which keeps what it is given
    public async Task A_row_of_other_types_is_no_install_and_is_reported()
    {
        foreach (var account in (string[])["acct_1", "acct_2"])
            (await Server.Client(account: account).Set("k")).IsOk();
        var ids = (await IdOfAsync("acct_1"), await IdOfAsync("acct_2"));
        Server.Execute("UPDATE tenants SET account = CAST(account AS BLOB) WHERE account = 'acct_1'");
        (await Developer.Get($"{Installs}/{ids.Item1}")).IsError(404, "resource_missing", "id");
        Server.Execute("UPDATE tenants SET account = CAST(account AS TEXT), install = x'01' WHERE account <> 'acct_2'");
        Assert.Equal([ids.Item2], (await Developer.Get(Installs, ("app", app))).Ids());
        Assert.Contains("tenants ", (await Server.Admin.Get("/admin/v1/audit", ("verb", "check_row"))).IsOk().Text,
            StringComparison.Ordinal);
        (await Installer.Get(Installs)).IsError(500, null, null, type: "api_error");
    }

    [Fact]
    public async Task What_is_done_to_installs_is_recorded()
    {
        var id = (await Installer.Post(Installs, [("app", app)])).IsOk().Id!;
        (await Installer.Post(Installs, [("app", app)])).IsOk();
        (await Installer.Post($"{Installs}/{id}", [])).IsOk();
        (await Installer.Set("k")).IsOk();
        (await Developer.Post($"{Installs}/{id}/uninstall", [], "key")).IsOk();
        (await Developer.Post($"{Installs}/{id}/uninstall", [], "key")).IsOk();
        var entries = (await Server.Admin.Get("/admin/v1/audit", ("account", "acct_1"), ("limit", "100"))).IsOk()
            .Json["data"]!.AsArray().Reverse().Select(entry => entry!)
            .Where(entry => ((string)entry["verb"]!).Contains("install", StringComparison.Ordinal)).ToList();
        Assert.Equal(["create_install ok  ", "create_install unchanged  ", $"update_install ok {id} ",
            $"uninstall ok {id} 1", $"uninstall replayed {id} "],
            entries.Select(entry => $"{entry["verb"]} {entry["outcome"]} {entry["target"]} {entry["count"]}"));
        Assert.All(entries, entry => Assert.Equal((app, "test", "acct_1"),
            ((string?)entry["app"], (string?)entry["mode"], (string?)entry["account"])));
    }

    [Fact]
    public async Task While_nodes_of_before_may_run_nothing_is_uninstalled_and_no_key_is_made_for_it()
    {
        (await Installer.Set("k")).IsOk();
        var id = await IdOfAsync("acct_1");
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            await committer.CommitAsync(new ControlChange(
                instance, control => control with { Level = Control.Installs - 1 }, [], []));
            var row = (await engine.FindAppAsync(app, default))!;
            var before = Coffer.Access.App.From(row, instance);
            foreach (var ruled in (Coffer.Access.App[])[before with { AreInstallsExplicit = true },
                before with { IsUninstallDisabled = true }])
                Assert.Equal(400, Assert.Throws<ApiError>(() => ruled.ToRow(instance)).Status);
            var key = (await engine.ListApiKeysAsync(app, null, newer: false, 1, default))[0];
            Assert.Contains("permissions for installs", Assert.Throws<ApiError>(() => Coffer.Access.ApiKey.Prove(
                instance, key with { Kind = "restricted", Permissions = "app_install_read" })).Message,
                StringComparison.Ordinal);
            var gate = new Coffer.Access.Gate(null!, null!, engine);
            var tenants = new Tenants(engine, committer, instance, Server.Time, kept: 10);
            var installs = new Coffer.Management.Installs(
                engine, tenants, gate, new Coffer.Management.ManagementWriter(committer, tenants, Server.Time), null!);
            var caller = new Coffer.Access.Caller("key_1", Coffer.Access.KeyKind.Secret,
                new TenantId(app, Livemode: false, own), Coffer.Access.Origin.Internal)
            { App = before };
            var refused = await Assert.ThrowsAsync<ApiError>(() => installs.UninstallAsync(
                new(caller, null, [], static _ => throw new InvalidOperationException()), id));
            Assert.Contains("do not know accounts that an app was uninstalled from", refused.Message,
                StringComparison.Ordinal);
            return true;
        });
        await Server.StartAgainAsync(); // which raises the level again
        (await Developer.Post($"{Installs}/{id}/uninstall", [])).IsOk();
    }

    private static (string?, string?, string?) Said(JsonNode install) =>
        ((string?)install["account"], (string?)install["channel"], (string?)install["status"]);

    private static string[] Accounts(Answer list) =>
        [.. list.IsOk().Json["data"]!.AsArray().Select(install => (string)install!["account"]!)];

    private static async Task<string[]> AccountsAsync(TestServer.Caller caller, params (string, string)[] with) =>
        Accounts(await caller.Get(Installs, with));

    private async Task<string> IdOfAsync(string account) =>
        (await Developer.Get(Installs, ("app", app), ("account", account))).Ids().Single();

    private async Task<TestServer.Caller> RestrictedAsync(params string[] permissions)
    {
        var pins = permissions.Where(word => word.Contains('=', StringComparison.Ordinal));
        return Server.Client((await Server.NewKeyAsync("restricted", app,
            [.. permissions.Except(pins).Select(word => ("permissions[]", word)),
                .. pins.Select(pin => ("account", pin.Split('=')[1]))])).Secret());
    }
}
