using System.Text;
using System.Text.Json.Nodes;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>Apps as an operator's tools send and see them (docs/management.md, "Apps").</summary>
public sealed class AppsTests : ServerTests
{
    private const string Shown = "id object account account_pattern account_required created disabled events installs "
        + "name origins secrets_per_scope";

    private TestServer.Caller Admin => Server.Admin;

    [Fact]
    public async Task A_new_app_has_what_it_was_given_and_a_signing_secret_of_each_mode_that_is_shown_once()
    {
        Server.Time.Move(TimeSpan.FromSeconds(1)); // so that it is the newest
        var made = (await Admin.Post(
            Apps,
            [("name", "Acme CRM"), ("secrets_per_scope", "3"), ("origins[]", "https://a.example"),
                ("origins[]", "http://localhost:3000")])).IsOk();
        Assert.Equal($"{Shown} signing_secret_live signing_secret_test signing_secrets uninstall_disabled",
            made.Json.Fields());
        Assert.Matches("^app_[0-9A-Za-z]{27}$", made.Id);
        Assert.Matches("^acct_[0-9A-Za-z]{16}$", (string?)made.Json["account"]);
        Assert.Matches("^absec_cfr[0-9A-Za-z]{39}$", (string?)made.Json["signing_secret_test"]);
        Assert.Matches("^absec_cfr[0-9A-Za-z]{39}$", (string?)made.Json["signing_secret_live"]);
        Assert.NotEqual((string?)made.Json["signing_secret_test"], (string?)made.Json["signing_secret_live"]);
        Assert.Equal($$"""
            {
              "id": "{{made.Id}}",
              "object": "app",
              "account": "{{made.Json["account"]}}",
              "account_pattern": null,
              "account_required": false,
              "created": {{Server.Time.Seconds}},
              "disabled": false,
              "events": false,
              "installs": "implicit",
              "name": "Acme CRM",
              "origins": [
                "https://a.example",
                "http://localhost:3000"
              ],
              "secrets_per_scope": 3,
              "signing_secret_live": "{{made.Json["signing_secret_live"]}}",
              "signing_secret_test": "{{made.Json["signing_secret_test"]}}",
              "signing_secrets": {
                "live": 1,
                "test": 1
              },
              "uninstall_disabled": false
            }

            """, made.Text);

        var shown = made.Json.AsObject();
        shown.Remove("signing_secret_live");
        shown.Remove("signing_secret_test");
        Assert.True(JsonNode.DeepEquals(shown, (await Admin.Get($"{Apps}/{made.Id}")).IsOk().Json));
        Assert.True(JsonNode.DeepEquals(shown, (await Admin.Get(Apps, ("limit", "1"))).IsOk().Json["data"]![0]));
    }

    [Fact]
    public async Task An_app_that_was_given_a_name_only_has_the_defaults()
    {
        var app = (await Admin.Post(Apps, [("name", "x")])).IsOk().Json;
        Assert.Null(app["secrets_per_scope"]);
        Assert.True(app.AsObject().ContainsKey("secrets_per_scope"));
        Assert.Empty(app["origins"]!.AsArray());
    }

    [Fact]
    public async Task Names_need_not_be_unique_and_have_up_to_200_characters()
    {
        var name = string.Concat(Enumerable.Repeat("𝄞", 200));
        Assert.Equal(name, (string?)(await Admin.Post(Apps, [("name", name)])).IsOk().Json["name"]);
        (await Admin.Post(Apps, [("name", name)])).IsOk();
        (await Admin.Post(Apps, [("name", name + "x")])).IsError(400, null, "name");
        (await Admin.Post($"{Apps}/{Server.OtherApp}", [("name", name + "x")])).IsError(400, null, "name");
    }

    [Theory]
    [InlineData("", "parameter_missing", "name")]
    [InlineData("name=", "parameter_invalid_empty", "name")]
    [InlineData("name[]=x", null, "name")]
    [InlineData("name=x&name=y", null, "name")]
    [InlineData("name=x&disabled=true", "parameter_unknown", "disabled")]
    [InlineData("name=x&id=app_1", "parameter_unknown", "id")]
    [InlineData("name=x&secrets_per_scope=0", "parameter_invalid_integer", "secrets_per_scope")]
    [InlineData("name=x&secrets_per_scope=-1", "parameter_invalid_integer", "secrets_per_scope")]
    [InlineData("name=x&secrets_per_scope=10001", "parameter_invalid_integer", "secrets_per_scope")]
    [InlineData("name=x&secrets_per_scope=99999999999999999999", "parameter_invalid_integer", "secrets_per_scope")]
    [InlineData("name=x&secrets_per_scope=1.5", "parameter_invalid_integer", "secrets_per_scope")]
    [InlineData("name=x&secrets_per_scope=&secrets_per_scope=5", null, "secrets_per_scope")]
    [InlineData("name=x&secrets_per_scope[]=5", null, "secrets_per_scope")]
    [InlineData("name=x&origins[a]=https://a.example", null, "origins")]
    public async Task Bad_input_names_the_parameter(string form, string? code, string param)
    {
        (await Admin.Raw(HttpMethod.Post, Apps, form)).IsError(400, code, param);
        if (!form.Contains("disabled", StringComparison.Ordinal) && form.Length > 0)
            (await Admin.Raw(HttpMethod.Post, $"{Apps}/{Server.OtherApp}", form)).IsError(400, code, param);
    }

    [Theory]
    [InlineData("https://a.example/")]
    [InlineData("https://a.example/path")]
    [InlineData("https://a.example?x")]
    [InlineData("https://a.example#x")]
    [InlineData("https://a.example:443")]
    [InlineData("http://a.example:80")]
    [InlineData("HTTPS://a.example")]
    [InlineData("https://A.example")]
    [InlineData("https://user@a.example")]
    [InlineData("https://bücher.example")]
    [InlineData("https://*.example")]
    [InlineData("ftp://a.example")]
    [InlineData("file://")]
    [InlineData("capacitor://localhost/")]
    [InlineData("CAPACITOR://localhost")]
    [InlineData("a.example")]
    [InlineData("//a.example")]
    [InlineData("https://")]
    [InlineData(" https://a.example")]
    [InlineData("null")]
    [InlineData("*")]
    public async Task An_origin_that_no_browser_would_send_is_refused(string origin) =>
        (await Admin.Post(Apps, [("name", "x"), ("origins[]", origin)])).IsError(400, null, "origins");

    [Fact]
    public async Task There_are_at_most_20_origins_and_one_sent_twice_counts_once()
    {
        (string, string)[] twenty = [.. Enumerable.Range(0, 20).Select(i => ("origins[]", $"https://a{i}.example"))];
        Assert.Equal(
            20,
            (await Admin.Post(
                Apps,
                [("name", "x"), .. twenty,
                    ("origins[]", "https://a0.example")])).IsOk().Json["origins"]!.AsArray().Count);
        (await Admin.Post(Apps,
            [("name", "x"), .. twenty, ("origins[]", "https://b.example")])).IsError(400, null, "origins");
    }

    [Fact]
    public async Task A_change_leaves_what_it_does_not_name()
    {
        (string, string)[] settings = [("name", "x"), ("secrets_per_scope", "3"), ("origins[]", "https://a.example")];
        var path = $"{Apps}/{(await Admin.Post(Apps, settings)).IsOk().Id}";
        var changed = (await Admin.Post(path, [("name", "y")])).IsOk();
        Assert.Equal($"{Shown} signing_secrets uninstall_disabled", changed.Json.Fields());
        Assert.Equal(
            ("y", 3, "https://a.example"),
            ((string?)changed.Json["name"], (int)changed.Json["secrets_per_scope"]!,
                (string?)changed.Json["origins"]![0]));
        Assert.True((bool)(await Admin.Post(path, [("disabled", "true")])).IsOk().Json["disabled"]!);
        var cleared = (await Admin.Post(path, [("origins", ""), ("secrets_per_scope", "")])).IsOk().Json;
        Assert.Empty(cleared["origins"]!.AsArray());
        Assert.Null(cleared["secrets_per_scope"]);
        Assert.True((bool)cleared["disabled"]!);
        Assert.Equal("y", (string?)cleared["name"]);
        (await Admin.Post(path, [("disabled", "yes")])).IsError(400, null, "disabled");
        (await Admin.Post(path, [("name", "")])).IsError(400, "parameter_invalid_empty", "name");
        Assert.True(JsonNode.DeepEquals(cleared, (await Admin.Get(path)).IsOk().Json));
    }

    [Fact]
    public async Task An_apps_quota_goes_before_the_servers_and_an_empty_value_takes_it_back()
    {
        var app = $"{Apps}/{await Server.AppIdAsync()}";
        (await Admin.Post(app, [("secrets_per_scope", "2")])).IsOk();
        (await Server.Client().Set("a")).IsOk();
        (await Server.Client().Set("b")).IsOk();
        Assert.Contains("already holds 2 secrets", (await Server.Client().Set("c")).IsError(400, null, null).Text,
            StringComparison.Ordinal);
        (await Server.Client().Set("c", "p", "usr_1")).IsOk(); // another scope

        (await Admin.Post(app, [("secrets_per_scope", "12")])).IsOk();
        for (var i = 0; i < 10; i++)
            (await Server.Client().Set($"k{i}")).IsOk();
        Assert.Contains("already holds 12 secrets", (await Server.Client().Set("c")).IsError(400, null, null).Text,
            StringComparison.Ordinal);
        (await Admin.Post(app, [("secrets_per_scope", "")])).IsOk();
        Assert.Contains("already holds 10 secrets", (await Server.Client().Set("c")).IsError(400, null, null).Text,
            StringComparison.Ordinal);
        (await Server.Client().Set("a", "a replacement does not count")).IsOk();
    }

    [Fact]
    public async Task While_an_app_is_disabled_all_its_keys_are_refused_and_nothing_is_lost()
    {
        var app = $"{Apps}/{await Server.AppIdAsync()}";
        await Server.Client().Set("k", "kept", "usr_1");
        var browser = Server.Client(await Server.MintAsync("usr_1"));
        (await browser.Find("k", "usr_1")).IsOk();
        (await Admin.Post(app, [("disabled", "true")])).IsOk();
        foreach (var caller in (TestServer.Caller[])[Server.Client(), Server.Client(Server.Keys.LiveSecretKey),
            browser])
            (await caller.Find("k", "usr_1")).IsError(403, null, null,
                "The app of the provided key is disabled. Ask the operator to enable it; nothing was deleted.");
        (await Server.Client(Server.OtherAppKey).List()).IsOk();

        (await Admin.Post(app, [("disabled", "false")])).IsOk();
        Assert.Equal("kept", (await Server.Client().Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        // What was minted before ended with it: MintedKeysTests.
        (await browser.Find("k", "usr_1")).IsError(401, null, null);
    }

    [Fact]
    public async Task The_list_is_newest_first_in_pages_that_join()
    {
        var made = new List<string>();
        for (var i = 0; i < 7; i++)
        {
            if (i % 2 == 0)
                Server.Time.Move(TimeSpan.FromSeconds(1)); // some in the same second
            made.Add(await Server.NewAppAsync($"app {i}"));
        }

        var first = (await Admin.Get(Apps, ("limit", "3"))).IsOk();
        Assert.Equal("object data has_more url", first.Json.Fields());
        Assert.Equal(("list", true, Apps),
            ((string?)first.Json["object"], (bool)first.Json["has_more"]!, (string?)first.Json["url"]));
        Assert.Equal(made[^1], first.Ids().First());
        foreach (var limit in (int[])[1, 2, 3, 100])
        {
            var walked = await Admin.WalkAsync(Apps, limit);
            Assert.Equal(9, walked.Distinct().Count());
            Assert.Equal(made.Order(), walked.Take(7).Order());
            Assert.Equal(made[^1], walked[0]);
        }

        var times = (await Admin.Get(Apps)).IsOk().Json["data"]!.AsArray().Select(app => (long)app!["created"]!)
            .ToList();
        Assert.Equal(times.OrderDescending(), times);
    }

    [Fact]
    public async Task A_limit_is_clamped_and_a_cursor_must_be_known()
    {
        for (var i = 0; i < 10; i++)
            await Server.NewAppAsync($"app {i}");
        Assert.Equal(10, (await Admin.Get(Apps)).Ids().Count());
        Assert.Single((await Admin.Get(Apps, ("limit", "0"))).Ids());
        Assert.Single((await Admin.Get(Apps, ("limit", "-7"))).Ids());
        Assert.Equal(12, (await Admin.Get(Apps, ("limit", "1000000000000"))).Ids().Count());
        (await Admin.Get(Apps, ("limit", "x"))).IsError(400, "parameter_invalid_integer", "limit");
        (await Admin.Get(Apps, ("starting_after", "app_none"))).IsError(400, "resource_missing", "starting_after",
            "No such app: 'app_none'");
        (await Admin.Get(Apps, ("page", Server.OtherApp))).IsError(400, "parameter_unknown", "page");
    }

    [Fact]
    public async Task What_is_not_there_is_404()
    {
        foreach (var answer in (Answer[])[
            await Admin.Get($"{Apps}/app_none"),
            await Admin.Post($"{Apps}/app_none", [("name", "x")]),
            await Admin.Raw(HttpMethod.Delete, $"{Apps}/app_none", null),
            await Admin.Post($"{Apps}/app_none/signing_secret/roll", [("grace_period", "0")])])
            answer.IsError(404, "resource_missing", "id", "No such app: 'app_none'");
        (await Admin.Get($"{Apps}/app%20none")).IsError(404, null, null);
        (await Admin.Get($"{Apps}/{new string('a', 256)}")).IsError(404, null, null);
        (await Admin.Raw(HttpMethod.Get, $"{Apps}/", null)).IsError(404, null, null);
        (await Admin.Raw(HttpMethod.Put, $"{Apps}/{Server.OtherApp}", "name=x")).IsError(404, null, null);
    }

    [Fact]
    public async Task An_app_is_deleted_once_nothing_is_stored_for_it_and_its_keys_go_with_it()
    {
        var app = $"{Apps}/{await Server.AppIdAsync()}";
        await Server.Client(account: "acct_1").Set("k");
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        (await Admin.Raw(HttpMethod.Delete, app, null)).IsError(400, null, null);
        (await Server.Client(account: "acct_1").Find("k")).IsOk();

        await Server.Client(account: "acct_1").Delete("k");
        (await Admin.Raw(HttpMethod.Delete, app, null)).IsError(400, null, null); // its keys are still there
        (await Server.ForgetAsync("acct_1")).IsOk();
        browser = Server.Client(await Server.MintAsync("usr_1", "acct_2"));
        var deleted = (await Admin.Raw(HttpMethod.Delete, app, null)).IsOk().Json;
        Assert.Equal($"{Shown} signing_secrets uninstall_disabled".Replace(
            " disabled", " deleted disabled", StringComparison.Ordinal),
            deleted.Fields());
        Assert.True((bool)deleted["deleted"]!);

        foreach (var caller in (TestServer.Caller[])[Server.Client(), Server.Client(Server.Keys.LiveSecretKey),
            browser])
            (await caller.List()).IsError(401, null, null);
        (await Admin.Get(app)).IsError(404, "resource_missing", "id");
        (await Admin.Raw(HttpMethod.Delete, app, null)).IsError(404, "resource_missing", "id");
        Assert.DoesNotContain((await Admin.Get(KeysPath, ("limit", "100"))).IsOk().Json["data"]!.AsArray(),
            key => (string?)key!["app"] == deleted.Id());
        (await Server.Client(Server.OtherAppKey).List()).IsOk();
    }

    [Theory]
    [InlineData("", "parameter_missing")]
    [InlineData("grace_period=", "parameter_invalid_empty")]
    [InlineData("grace_period=-1", "parameter_invalid_integer")]
    [InlineData("grace_period=604801", "parameter_invalid_integer")]
    [InlineData("grace_period=1d", "parameter_invalid_integer")]
    public async Task A_grace_period_is_0_to_604800_seconds_and_has_no_default(string form, string code)
    {
        (await Admin.Raw(HttpMethod.Post, $"{Apps}/{Server.OtherApp}/signing_secret/roll", form)).IsError(400, code,
            "grace_period");
        (await Admin.Raw(HttpMethod.Post, $"{KeysPath}/{(await Server.KeyAsync("secret", livemode: false)).Id()}/roll",
            form)).IsError(400, code, "grace_period");
        (await Server.Client().List()).IsOk();
    }

    [Fact]
    public async Task Rolled_signing_secrets_are_counted_while_they_sign()
    {
        var made = (await Admin.Post(Apps, [("name", "x")])).IsOk().Json;
        var roll = $"{Apps}/{made.Id()}/signing_secret/roll";
        var rolled = (await Admin.Post(roll, [("grace_period", "60")])).IsOk().Json;
        Assert.Equal($"{Shown} signing_secret_test signing_secrets uninstall_disabled", rolled.Fields());
        Assert.NotEqual((string?)made["signing_secret_test"], (string?)rolled["signing_secret_test"]);
        Assert.Equal(2, (int)rolled["signing_secrets"]!["test"]!);
        Assert.Equal(1, (int)rolled["signing_secrets"]!["live"]!);
        Server.Time.Move(TimeSpan.FromSeconds(59));
        Assert.Equal(2, await CountAsync());
        Server.Time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal(1, await CountAsync());

        // However often it is rolled, only the last one still signs beside the new one.
        for (var i = 0; i < 3; i++)
            Assert.Equal(2, Count(await Admin.Post(roll, [("grace_period", "604800")])));
        Assert.Equal(1, Count(await Admin.Post(roll, [("grace_period", "0")])));

        // Live mode rolls alone too, and what is asked for without livemode is test mode's.
        var live = (await Admin.Post(roll, [("grace_period", "60"), ("livemode", "true")])).IsOk().Json;
        Assert.Equal($"{Shown} signing_secret_live signing_secrets uninstall_disabled", live.Fields());
        Assert.Equal((2, 1), ((int)live["signing_secrets"]!["live"]!, (int)live["signing_secrets"]!["test"]!));
        (await Admin.Post(roll, [("grace_period", "60"), ("livemode", "yes")])).IsError(400, null, "livemode");

        async Task<int> CountAsync() => Count(await Admin.Get($"{Apps}/{made.Id()}"));

        static int Count(Answer answer) => (int)answer.IsOk().Json["signing_secrets"]!["test"]!;
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task Neither_a_signing_secret_nor_an_idempotency_key_is_in_the_files_in_clear()
    {
        var made = (await Admin.Post(Apps, [("name", "x")], "canary-idempotency-key")).IsOk();
        await Server.StopAsync();
        Assert.False(Server.IsInFiles(Encoding.ASCII.GetBytes((string)made.Json["signing_secret_test"]!)));
        Assert.False(Server.IsInFiles("canary"u8));
        Assert.True(Server.IsInFiles(Encoding.ASCII.GetBytes(made.Id!))); // the search does find what is there
    }
}
