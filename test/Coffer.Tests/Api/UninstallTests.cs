using System.Buffers.Text;
using System.Text.Json.Nodes;
using Coffer.Shared;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>What an uninstall destroys, ends, closes and proves (docs/wire.md, "Uninstall").</summary>
[Trait("Keys", "S27")]
public sealed class UninstallTests : ServerTests
{
    private const string Installs = "/v1/apps/installs";

    private string app = null!;

    private TestServer.Caller Developer => Server.Client();

    private TestServer.Caller Installer => Server.Client(account: "acct_1");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
        (await Installer.Set("k")).IsOk();
    }

    [Fact]
    public async Task Everything_of_the_account_in_that_mode_is_gone_and_nothing_else()
    {
        (await Installer.Set("k", "p", "usr_1")).IsOk();
        var live = Server.Client(Server.Keys.LiveSecretKey, "acct_1");
        TestServer.Caller[] others = [live, Server.Client(account: "acct_2"),
            Server.Client(Server.OtherAppKey, "acct_1"), Developer];
        foreach (var other in others)
            (await other.Set("k")).IsOk();
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        (await browser.Find("k", "usr_1")).IsOk();
        var liveBrowser = (await live.Post(Ephemeral, [("user", "usr_1")])).IsOk().Json.Secret();
        var id = await IdAsync();

        var uninstalled = (await Developer.Post($"{Installs}/{id}/uninstall", [])).IsOk();
        Assert.Equal((id, "uninstalling"), (uninstalled.Id, (string?)uninstalled.Json["status"]));
        Assert.Equal(17, uninstalled.Json.AsObject().Count); // and no receipt
        Assert.Equal(401, (await browser.Find("k", "usr_1")).Status);
        await IsClosedAsync();
        foreach (var other in others)
            (await other.Find("k")).IsOk();
        (await Server.Client(liveBrowser).Find("k")).IsOk();
        Assert.Equal("0", await Server.OnTheSideAsync(
            $"SELECT count(*) FROM tenants WHERE app = '{app}' AND livemode = 0 AND account = 'acct_1'"));
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM uninstalls"));
        // By which nodes of before end the keys of format 1.
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM revocations"));
    }

    [Fact]
    public async Task It_is_shown_until_its_receipt_is_signed_and_is_then_gone()
    {
        var id = await IdAsync();
        string receipt;
        using (Blocked())
        {
            var first = (await Installer.Post($"{Installs}/{id}/uninstall", [])).IsOk();
            receipt = first.Header("Coffer-Receipt")!;
            Assert.StartsWith("rcpt_", receipt, StringComparison.Ordinal);
            // Again, by whichever way.
            foreach (var again in (Answer[])[await Installer.Post($"{Installs}/{id}/uninstall", []),
                await Developer.Post($"{Installs}/{id}/uninstall", [], "another")])
                Assert.Equal((first.Text, receipt), (again.IsOk().Text, again.Header("Coffer-Receipt")));
            Assert.Equal(first.Text, (await Developer.Get($"{Installs}/{id}")).IsOk().Text);
            (await Server.Client(account: "acct_2").Set("k")).IsOk();
            foreach (var (with, accounts) in (((string, string)[], string[])[])[([], ["acct_2", "acct_1"]),
                ([("status", "uninstalling")], ["acct_1"]), ([("status", "installed")], ["acct_2"]),
                ([("account", "acct_1")], ["acct_1"]), ([("limit", "1"), ("ending_before", id)], ["acct_2"]),
                ([("starting_after", id)], []), ([("created[gt]", $"{Server.Time.Seconds}")], [])])
                Assert.Equal(accounts, (await Developer.Get(Installs, [("app", app), .. with])).IsOk()
                    .Json["data"]!.AsArray().Select(install => (string)install!["account"]!));
            Assert.Equal([id], (await Installer.Get(Installs)).Ids());
            Assert.Equal([id], await Developer.WalkAsync(Installs, 1, ("app", app), ("account", "acct_1")));
            await IsClosedAsync(); // all the while
            Assert.Equal("pending", (string?)(await ReceiptAsync(receipt))["status"]);
        }

        await GoneAsync(id);
        (await Developer.Post($"{Installs}/{id}/uninstall", [])).IsError(404, "resource_missing", "id");
        // It marks its place for a walk over the list.
        Assert.Empty((await Developer.Get(Installs, ("app", app), ("starting_after", id))).Ids());
        Assert.Single((await Developer.Get(Installs, ("app", app), ("ending_before", id))).Ids());
        foreach (var (caller, of) in ((TestServer.Caller, string)[])[(Server.Client(Server.OtherAppKey),
            Server.OtherApp), (Server.Client(account: "acct_2"), app)])
            (await caller.Get(Installs, ("app", of), ("starting_after", id)))
                .IsError(400, "resource_missing", "starting_after");
        // As measured: the list as that account.
        (await Installer.Get(Installs)).IsError(403, "account_invalid", null);
        Assert.Empty((await Developer.Get(Installs, ("app", app), ("account", "acct_1"))).Ids());
        var signed = await ReceiptAsync(receipt);
        var statement = signed.Statement();
        Assert.Equal(("account.uninstalled", "acct_1", app, id, false, receipt, 1),
            ((string?)statement["object"], (string?)statement["account"], (string?)statement["app"],
                (string?)statement["install"], (bool)statement["livemode"]!, (string?)statement["id"],
                (int)statement["secrets"]!["test"]!));
        Assert.Equal((id, false), ((string?)signed["install"], (bool)signed["livemode"]!));
    }

    [Fact]
    public async Task One_that_is_being_removed_keeps_its_place_and_is_found_by_what_it_was()
    {
        (await Developer.Set("k")).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(10));
        foreach (var account in (string[])["acct_2", "acct_3"])
            (await Server.Client(account: account).Set("k")).IsOk();
        var own = (await Developer.Get(Installs)).Ids().Single();
        var second = (await Server.Client(account: "acct_2").Get(Installs)).Ids().Single();
        using var blocked = Blocked();
        foreach (var id in (string[])[second, own])
            (await Developer.Post($"{Installs}/{id}/uninstall", [])).IsOk();
        var all = (await Developer.Get(Installs, ("app", app))).Ids().ToList();
        Assert.Equal((4, second, own), (all.Count, all[1], all[2]));
        Assert.Equal(all, await Developer.WalkAsync(Installs, 1, ("app", app)));
        Assert.Equal([all[0]], await ListedAsync(("ending_before", second)));
        Assert.Equal([own, all[3]], await ListedAsync(("starting_after", second)));
        Assert.Equal([all[0], second, all[3]], await ListedAsync(("channel", "public")));
        Assert.Equal([all[0], second], await ListedAsync(("created", $"{Server.Time.Seconds}")));
        Assert.Equal([second], await ListedAsync(("account", "acct_2"), ("created", $"{Server.Time.Seconds}")));
        foreach (var (name, value) in ((string, string)[])[("status", "installed"), ("channel", "private_test"),
            ("created[gt]", $"{Server.Time.Seconds}"), ("starting_after", second), ("approval_required", "true")])
            Assert.Empty(await ListedAsync(("account", "acct_2"), (name, value)));

        async Task<IEnumerable<string>> ListedAsync(params (string, string)[] with) =>
            (await Developer.Get(Installs, [("app", app), .. with])).Ids();
    }

    [Fact]
    [Trait("Engine", "SQLite")] // the file is edited
    public async Task One_whose_receipt_or_row_was_edited_is_not_shown_and_the_receipt_is_reported()
    {
        var id = await IdAsync();
        using var blocked = Blocked();
        (await Installer.Post($"{Installs}/{id}/uninstall", [])).IsOk();
        (await Developer.Get($"{Installs}/{id}")).IsOk();
        Server.Execute("UPDATE uninstalls SET created = created - 1");
        Assert.Empty((await Developer.Get(Installs, ("app", app))).Ids());
        (await Developer.Get($"{Installs}/{id}")).IsError(404, "resource_missing", "id");
        Server.Execute("UPDATE uninstalls SET created = created + 1");
        Assert.Equal([id], (await Developer.Get(Installs, ("app", app))).Ids());
        Server.Execute("UPDATE receipts SET created = created - 1");
        (await Developer.Get($"{Installs}/{id}")).IsError(404, "resource_missing", "id");
        Assert.Contains("receipts ", (await Server.Admin.Get("/admin/v1/audit", ("verb", "check_row"))).IsOk().Text,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_answer_is_repeated_for_its_idempotency_key_also_when_all_is_gone_and_there_again()
    {
        var id = await IdAsync();
        var first = (await Installer.Post($"{Installs}/{id}/uninstall", [], "key")).IsOk();
        await GoneAsync(id);
        await ReplayedAsync();
        (await Installer.Post($"{Installs}/{id}1/uninstall", [], "key"))
            .IsError(400, null, null, type: "idempotency_error");
        var next = (await Installer.Post(Installs, [("app", app)])).IsOk();
        await ReplayedAsync();
        Assert.Equal("installed", (string?)(await Developer.Get($"{Installs}/{next.Id}")).IsOk().Json["status"]);
        // Until the account is forgotten: what is kept names it.
        (await Server.ForgetAsync("acct_1")).IsOk();
        (await Installer.Post($"{Installs}/{id}/uninstall", [], "key")).IsError(404, "resource_missing", "id");

        async Task ReplayedAsync()
        {
            var again = (await Installer.Post($"{Installs}/{id}/uninstall", [], "key")).IsOk();
            Assert.Equal((first.Text, first.Header("Coffer-Receipt"), "true"),
                (again.Text, again.Header("Coffer-Receipt"), again.Header("Idempotent-Replayed")));
        }
    }

    [Fact]
    public async Task A_closed_account_is_opened_by_an_install_alone_which_has_another_id_and_nothing_of_before()
    {
        var id = (await Installer.Post(Installs, [("app", app)], "create")).IsOk().Id!;
        var browser = await Server.MintAsync("usr_1", "acct_1");
        (await Installer.Post($"{Installs}/{id}/uninstall", [])).IsOk();
        await IsClosedAsync();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        await IsClosedAsync();
        (await Server.ForgetAsync("acct_1")).IsOk(); // to forget it opens nothing
        await IsClosedAsync();
        // Within the same second; what was answered to the first is no more.
        var again = (await Installer.Post(Installs, [("app", app)], "create")).IsOk();
        Assert.Null(again.Header("Idempotent-Replayed"));
        Assert.NotEqual(id, again.Id);
        (await Installer.Find("k")).IsError(404, "resource_missing", "name");
        (await Installer.Set("k", "new")).IsOk();
        Assert.Equal(401, (await Server.Client(browser).Find("k")).Status);
        (await Server.Client(await Server.MintAsync("usr_1", "acct_1")).Find("k")).IsOk();
        await GoneAsync(id);
        Assert.Equal([again.Id], (await Developer.Get(Installs, ("app", app))).Ids());
        Assert.Equal("0", await Server.OnTheSideAsync("SELECT count(*) FROM uninstalls"));
        // And the next one.
        (await Installer.Post($"{Installs}/{again.Id}/uninstall", [])).IsOk();
        Assert.DoesNotContain((await Installer.Post(Installs, [("app", app)])).IsOk().Id, (string?[])[id, again.Id]);
    }

    [Fact]
    public async Task An_app_may_have_to_be_installed_first()
    {
        var changed = await SetAsync(("installs", "explicit"));
        Assert.Equal("explicit", (string?)changed["installs"]);
        (await Installer.Find("k")).IsOk(); // what is there is installed
        var other = Server.Client(account: "acct_2");
        await IsClosedAsync("acct_2");
        (await other.Get(Installs)).IsError(403, "account_invalid", null);
        Assert.Equal("0", await Server.OnTheSideAsync("SELECT count(*) FROM tenants WHERE account = 'acct_2'"));
        (await other.Post(Installs, [("app", app)])).IsOk();
        (await other.Set("k")).IsOk();
        (await other.Find("k")).IsOk();
        (await Server.ForgetAsync("acct_2")).IsOk();
        await IsClosedAsync("acct_2");
        (await Server.Client(Server.OtherAppKey, "acct_2").Set("k")).IsOk(); // another app's rule is its own
        Assert.Empty((await Developer.Get(Installs)).Ids()); // its own account acts in no other's
        await SetAsync(("installs", "implicit"));
        (await other.Set("k")).IsOk();
        (await Server.Admin.Post($"{Apps}/{app}", [("installs", "none")])).IsError(400, null, "installs",
            "Invalid installs: must be one of implicit or explicit");
        await Server.StopAsync();
        await Server.StartAgainAsync();
        Assert.Contains("not_installed", (await Server.Admin.Get("/admin/v1/audit", ("limit", "100"))).IsOk().Text,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_app_that_may_not_uninstall_itself_is_uninstalled_by_the_operator()
    {
        Assert.True((bool)(await SetAsync(("uninstall_disabled", "true")))["uninstall_disabled"]!);
        var id = await IdAsync();
        (await Installer.Post($"{Installs}/{id}/uninstall", [])).IsError(403, null, null,
            "This app may not uninstall itself. Ask the operator to uninstall it, or to allow it; nothing was "
                + "removed.");
        (await Installer.Find("k")).IsOk();
        var path = $"{Apps}/{app}/installs";
        var uninstalled = (await Server.Admin.Post($"{path}/{id}/uninstall", [], "key")).IsOk();
        Assert.Equal((id, "uninstalling"), (uninstalled.Id, (string?)uninstalled.Json["status"]));
        await IsClosedAsync();
        Assert.Equal(uninstalled.Text, (await Server.Admin.Post($"{path}/{id}/uninstall", [], "key")).IsOk().Text);
        Assert.Equal("account.uninstalled", (string?)await KindAsync((string)uninstalled.Json["receipt_id"]!));

        var again = (await Server.Admin.Post(path, [("account", "acct_1")])).IsOk();
        Assert.Equal((null, "installed"), ((string?)again.Json["receipt_id"], (string?)again.Json["status"]));
        (await Installer.Set("k")).IsOk();
        var live = (await Server.Admin.Post(path, [("account", "acct_2"), ("livemode", "true")])).IsOk();
        Assert.Equal([again.Id], (await Server.Admin.Get(path)).Ids());
        Assert.Equal([live.Id], (await Server.Admin.Get(path, ("livemode", "true"))).Ids());
        Assert.Empty((await Server.Admin.Get(path, ("account", "acct_2"))).Ids());
        (await Server.Admin.Post($"{path}/{live.Id}/uninstall", [])).IsOk();
        (await Server.Admin.Post($"{path}/appinst_1/uninstall", [])).IsError(404, "resource_missing", "id");
        (await Server.Admin.Post($"{Apps}/{Server.OtherApp}/installs/{again.Id}/uninstall", []))
            .IsError(404, "resource_missing", "id");
        (await Server.Admin.Post($"{Apps}/app_1/installs", [("account", "acct_1")]))
            .IsError(404, "resource_missing", "id");
        (await Server.Admin.Post(path, [])).IsError(400, "parameter_missing", "account");
        (await Server.Admin.Post(path, [("account", "undefined")])).IsError(400, null, "account");
        await SetAsync(("account_pattern", "acct_*"));
        (await Server.Admin.Post(path, [("account", "x")])).IsError(400, null, "account");
        Assert.Equal(["create_install", "list_installs", "uninstall"],
            (await Server.Admin.Get("/admin/v1/audit", ("limit", "100"))).IsOk().Json["data"]!.AsArray()
                .Where(entry => ((string?)entry!["key"])?.StartsWith("key_", StringComparison.Ordinal) == true)
                .Select(entry => (string)entry!["verb"]!).Distinct()
                .Where(verb => verb.Contains("install", StringComparison.Ordinal)).Order());
    }

    [Fact]
    public async Task A_deleted_app_leaves_nothing_of_closed_accounts()
    {
        var other = await Server.NewAppAsync();
        var key = (await Server.NewKeyAsync("secret", other)).Secret();
        var mine = Server.Client(key, "acct_9");
        (await mine.Set("k")).IsOk();
        (await mine.Post($"{Installs}/{(await mine.Get(Installs)).Ids().Single()}/uninstall", [])).IsOk();
        Assert.Equal("1", await Server.OnTheSideAsync("SELECT count(*) FROM uninstalls"));
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Apps}/{other}", null)).IsOk();
        Assert.Equal("0", await Server.OnTheSideAsync("SELECT count(*) FROM uninstalls"));
    }

    [Fact]
    [Trait("Engine", "SQLite")]
    public async Task Nothing_in_the_files_names_an_account_that_was_uninstalled_but_its_log_and_receipt()
    {
        var named = Server.Client(account: "acct_canary_77");
        (await named.Set("k")).IsOk();
        var id = (await named.Get(Installs)).Ids().Single();
        (await named.Post($"{Installs}/{id}/uninstall", [])).IsOk();
        await GoneAsync(id);
        foreach (var table in (string[])["tenants", "uninstalls", "generations", "replies", "receipts"])
        {
            Assert.Equal("0", await Server.OnTheSideAsync($"SELECT count(*) FROM (SELECT * FROM {table}) t WHERE "
                + string.Join(" OR ", (await Server.OnTheSideAsync($"SELECT name FROM pragma_table_info('{table}')"))
                    .Split(", ").Where(column => table != "generations" || column != "account")
                    .Select(column => $"instr({column}, 'acct_canary_77') > 0"))));
        }
    }

    private async Task IsClosedAsync(string account = "acct_1")
    {
        var closed = Server.Client(account: account);
        foreach (var answer in (Answer[])[await closed.Set("k"), await closed.Find("k"), await closed.List(),
            await closed.Delete("k"), await closed.Post("/v1/apps/secrets/delete",
                [("scope[type]", "account"), ("name", "k")], $"delete in {account}"),
            await closed.Post(Ephemeral, [("user", "usr_1")]),
            await closed.Post(Ephemeral, [("user", "usr_1")], account)])
            answer.IsError(403, "account_invalid", null,
                "The app is not installed in this account, or was uninstalled from it. Install it first (POST "
                    + "/v1/apps/installs); nothing of this request was done.");
    }

    // On PostgreSQL nodes are waited for by a clock that stands still here: it moves by less than a minute, after which
    // a node signs what another has left.
    private async Task GoneAsync(string id)
    {
        var end = Server.Time.Seconds + 50;
        await Until.SoAsync("the receipt is signed", async () =>
        {
            if (Server.Time.Seconds < end)
                Server.Time.Move(TimeSpan.FromMilliseconds(500));
            return (await Developer.Get($"{Installs}/{id}")).Status == 404;
        }, TimeSpan.FromSeconds(30));
    }

    // What keeps a receipt from being signed: on SQLite somebody who reads an old state.
    private Microsoft.Data.Sqlite.SqliteConnection? Blocked() =>
        Server.Location.Store is null ? StoreEdits.BeginToRead(Server.StoreFile) : null;

    private async Task<JsonNode> ReceiptAsync(string id) =>
        (await Server.Admin.Get($"/admin/v1/receipts/{id}")).IsOk().Json;

    private async Task<JsonNode?> KindAsync(string receipt)
    {
        JsonNode found = null!;
        await Until.SoAsync("it is signed", async () =>
        {
            Server.Time.Move(TimeSpan.FromSeconds(6));
            return (string?)(found = await ReceiptAsync(receipt))["status"] == "signed";
        });
        return found.Statement()["object"];
    }

    private async Task<string> IdAsync() => (await Installer.Get(Installs)).Ids().Single();

    private async Task<JsonNode> SetAsync(params (string, string)[] settings) =>
        (await Server.Admin.Post($"{Apps}/{app}", settings)).IsOk().Json;
}
