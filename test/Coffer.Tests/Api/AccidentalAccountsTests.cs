using System.Net.Http.Headers;
using Coffer.Keys;
using static Coffer.Tests.Support.Operator;
using App = Coffer.Access.App;

namespace Coffer.Tests.Api;

/// <summary>
/// Accounts that nobody meant: what a program sends that has lost the account, and what an app says of its own
/// (docs/management.md, "Accounts by accident").
/// </summary>
[Trait("Firm edges", "32")]
public sealed class AccidentalAccountsTests : ServerTests
{
    [Fact]
    public Task What_stands_for_no_account_is_refused_in_either_header() => Assert.AllAsync(
        (string[])["undefined", "null", "None", "nil", "NaN", "NULL", "[object Object]", "[object Promise]", " ", ""],
        async account =>
        {
            var refused = (await AskAsync("Stripe-Account", account)).IsError(400, null, "Stripe-Account");
            Assert.Contains("is what a program sends when it has no account", refused.Text, StringComparison.Ordinal);
            Assert.Null(refused.Header("Stripe-Account"));
            (await AskAsync("Stripe-Context", account)).IsError(400, null, "Stripe-Context");
            (await AskAsync("Stripe-Context", $"acct_1/{account}")).IsError(400, null, "Stripe-Context");
        });

    [Fact]
    public Task What_only_looks_like_it_is_an_account() => Assert.AllAsync(
        (string[])["undefined1", "acct_null", "nilsson"],
        async account => (await AskAsync("Stripe-Account", account)).IsOk());

    [Fact]
    public async Task No_key_is_pinned_to_one()
    {
        var app = await Server.AppIdAsync();
        foreach (var account in (string[])["undefined", "None", "nil"])
        {
            (await Server.Admin.Post(KeysPath, [("type", "restricted"), ("app", app),
                ("permissions[]", "secret_read"), ("account", account)])).IsError(400, null, "account");
        }
    }

    [Fact]
    public async Task An_app_may_say_what_its_accounts_look_like()
    {
        await SetAsync(("account_pattern", "acct_*"));
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await Server.Client().Set("k")).IsOk();
        (await Server.Client(account: await OwnAsync()).Find("k")).IsOk();
        foreach (var account in (string[])["installer-1", "ACCT_1", "xacct_1", "acct"])
        {
            (await Server.Client(account: account).Set("k")).IsError(400, null, "Stripe-Account",
                $"Invalid account: '{account}' is not one of this app, whose accounts look like 'acct_*'. Send the "
                    + "id of the account that the request is about.");
            (await Server.Client(account: account).Post(Ephemeral, [("user", "usr_1")]))
                .IsError(400, null, "Stripe-Account");
        }

        (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("k")).IsOk();
        (await Server.Client(Server.Keys.LiveSecretKey, "x").Set("k")).IsError(400, null, "Stripe-Account");
        (await Server.Client(Server.OtherAppKey, "installer-1").Set("k")).IsOk(); // another app's are its own
        await SetAsync(("account_pattern", ""));
        (await Server.Client(account: "installer-1").Set("k")).IsOk();
        await Server.StopAsync(); // refusals are written now and then, and at the end
        await Server.StartAgainAsync();
        Assert.Contains("account_not_of_pattern", (await Server.Admin.Get("/admin/v1/audit")).IsOk().Text,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_app_may_require_an_account_of_each_request()
    {
        (await Server.Client().Set("before", "p")).IsOk();
        var pinned = (await Server.NewKeyAsync("restricted", await Server.AppIdAsync(),
            ("permissions[]", "secret_write"), ("account", "acct_1"))).Secret();
        await SetAsync(("account_required", "true"));
        const string Message = "This app acts only in accounts that requests name, and this one names none. Send the "
            + "Stripe-Account header with the id of the account that it is about.";
        (await Server.Client().Set("k")).IsError(400, null, "Stripe-Account", Message);
        (await Server.Client().Find("before")).IsError(400, null, "Stripe-Account", Message);
        (await Server.Client().List()).IsError(400, null, "Stripe-Account", Message);
        (await Server.Client().Delete("before")).IsError(400, null, "Stripe-Account", Message);
        (await Server.Client().Post(Ephemeral, [("user", "usr_1")])).IsError(400, null, "Stripe-Account", Message);
        // What is wrong with the header itself is said first.
        (await AskAsync("Stripe-Account", "acct 1")).IsError(400, null, "Stripe-Account",
            "Invalid account in the Stripe-Account header: send one account id of 1 to 255 letters, digits, '_' and "
                + "'-'.");

        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await AskAsync("Stripe-Context", $"{await OwnAsync()}/acct_1")).IsOk();
        (await Server.Client(pinned).Set("k")).IsOk();
        (await Server.Client(account: await OwnAsync()).Find("before")).IsOk();
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        (await browser.Find("k")).IsOk();

        await Server.StopAsync();
        await Server.StartAgainAsync();
        (await Server.Client().List()).IsError(400, null, "Stripe-Account", Message);
        await SetAsync(("account_required", "false"));
        (await Server.Client().Find("before")).IsOk();
    }

    [Fact]
    public async Task What_is_no_such_rule_is_refused()
    {
        var app = $"{Apps}/{await Server.AppIdAsync()}";
        await Assert.AllAsync(
            ((string Field, string Value)[])[("account_pattern", "acct *"), ("account_pattern", "acct_?"),
                ("account_pattern", "*a*b*c*d*"), ("account_required", "yes")],
            async rule => (await Server.Admin.Post(app, [rule])).IsError(400, null, rule.Field));
    }

    [Fact]
    public async Task A_rule_is_sealed_with_the_app_and_its_change_is_recorded()
    {
        var changed = await SetAsync(("account_pattern", "acct_*"), ("account_required", "true"));
        Assert.Equal(("acct_*", true),
            ((string?)changed.Json["account_pattern"], (bool)changed.Json["account_required"]!));
        var entry = (await Server.Admin.Get("/admin/v1/audit", ("verb", "change_app"))).IsOk().Json["data"]![0]!;
        Assert.Equal("""{"account_pattern":[null,"acct_*"],"account_required":[false,true]}""",
            entry["changed"]!.ToJsonString());
        var id = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, _, instance) =>
        {
            var app = App.From((await engine.FindAppAsync(id, default))!, instance);
            Assert.Equal(("acct_*", true), (app.AccountPattern, app.IsAccountRequired));
            Assert.True(instance.Level >= Control.AccountRules);
            return true;
        });
    }

    [Fact]
    public async Task While_nodes_of_before_may_run_an_app_gets_no_rule_and_is_otherwise_written_as_they_read_it()
    {
        var id = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var app = App.From((await engine.FindAppAsync(id, default))!, instance);
            await committer.CommitAsync(new ControlChange(instance,
                control => control with { Level = Control.AccountRules - 1 }, [], []));
            foreach (var ruled in (App[])
                [app with { AccountPattern = "acct_*" }, app with { IsAccountRequired = true }])
            {
                var refused = Assert.Throws<ApiError>(() => ruled.ToRow(instance));
                Assert.Equal(400, refused.Status);
                Assert.Contains("do not know rules for accounts", refused.Message, StringComparison.Ordinal);
            }

            Assert.Equal(app.Account, App.From(app.ToRow(instance), instance).Account);
            return true;
        });
    }

    private async Task<Answer> SetAsync(params (string, string)[] settings) =>
        (await Server.Admin.Post($"{Apps}/{await Server.AppIdAsync()}", settings)).IsOk();

    private async Task<string> OwnAsync() =>
        (string)(await Server.Admin.Get($"{Apps}/{await Server.AppIdAsync()}")).IsOk().Json["account"]!;

    private Task<Answer> AskAsync(string header, string value)
    {
        var request = new HttpRequestMessage(HttpMethod.Get,
            new Uri("/v1/apps/secrets?scope[type]=account", UriKind.Relative));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Server.Keys.TestSecretKey);
        Assert.True(request.Headers.TryAddWithoutValidation(header, value));
        return Server.SendAsync(request);
    }
}
