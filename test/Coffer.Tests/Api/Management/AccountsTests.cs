using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>
/// Accounts listed and exported, and secrets revealed (docs/management.md, "Accounts" and "Secrets").
/// </summary>
public sealed class AccountsTests : ServerTests
{
    private string app = null!;

    private TestServer.Caller Admin => Server.Admin;

    private string Accounts => $"{Apps}/{app}/accounts";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    public async Task An_account_is_there_once_something_was_stored_with_its_unexpired_secrets_counted()
    {
        Assert.Empty((await Admin.Get(Accounts)).Ids());
        var live = Server.Client(Server.Keys.LiveSecretKey, "acct_1");
        await live.Set("a");
        await live.Set("b", "p", "usr_1");
        Server.Time.Move(TimeSpan.FromSeconds(5));
        await Server.Client(account: "acct_1").Set("c", "p", null, ("expires_at", $"{Server.Time.Seconds + 10}"));
        await Server.Client(Server.OtherAppKey, "acct_1").Set("another app's");
        Assert.Equal($$"""
            {
              "object": "list",
              "data": [
                {
                  "id": "acct_1",
                  "object": "account",
                  "app": "{{app}}",
                  "created": {{Server.Time.Seconds - 5}},
                  "secrets": {
                    "live": 2,
                    "test": 1
                  }
                }
              ],
              "has_more": false,
              "url": "{{Accounts}}"
            }

            """, (await Admin.Get(Accounts)).IsOk().Text);

        Server.Time.Move(TimeSpan.FromSeconds(10));
        Assert.Equal((2, 0), await CountAsync());
        await live.Delete("a");
        await live.Delete("b", "usr_1");
        Assert.Equal((0, 0), await CountAsync()); // still there

        async Task<(int, int)> CountAsync() =>
            (await Admin.Get(Accounts)).IsOk().Json["data"]![0]!["secrets"] is { } counts
                ? ((int)counts["live"]!, (int)counts["test"]!)
                : default;
    }

    [Fact]
    public async Task Accounts_come_in_the_order_of_their_ids_in_pages_that_join()
    {
        string[] ids = ["B", "_1", "a", "a-1", "a1", "acct_10", "acct_2", "b"];
        foreach (var id in ids.Reverse())
            await Server.Client(account: id).Set("k");
        await Server.Client(Server.Keys.LiveSecretKey, "a1").Set("k"); // two tenants of one account
        foreach (var limit in (int[])[1, 3, 100])
            Assert.Equal(ids.Order(StringComparer.Ordinal), await Admin.WalkAsync(Accounts, limit));
        Assert.Equal(["acct_2", "b"], (await Admin.Get(Accounts, ("starting_after", "acct_1z"))).Ids());
        Assert.Single((await Admin.Get(Accounts, ("limit", "0"))).Ids());
        (await Admin.Get($"{Apps}/app_none/accounts")).IsError(404, "resource_missing", "id",
            "No such app: 'app_none'");
    }

    [Fact]
    public async Task An_export_gives_all_secrets_of_one_mode_with_their_payloads()
    {
        var caller = Server.Client(account: "acct_1");
        var one = (await caller.Set("a", "one", null, ("expires_at", $"{Server.Time.Seconds + 100}"))).IsOk().Json;
        await caller.Set("a", "two", "usr_1");
        await caller.Set("gone", "p", null, ("expires_at", $"{Server.Time.Seconds + 1}"));
        await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("a", "live");
        await Server.Client(account: "acct_2").Set("a", "another account's");
        Server.Time.Move(TimeSpan.FromSeconds(1));

        var page = (await Admin.Post($"{Accounts}/acct_1/export", [("reason", "ticket 7")])).IsOk();
        Assert.Equal(("list", false, $"{Accounts}/acct_1/export"),
            ((string?)page.Json["object"], (bool)page.Json["has_more"]!, (string?)page.Json["url"]));
        var data = page.Json["data"]!.AsArray();
        Assert.Equal(["one", "two"], data.Select(secret => (string?)secret!["payload"]).Order());
        Assert.Equal($$"""
            {"id":"{{one.Id()}}","object":"apps.secret","account":"acct_1","app":"{{app}}",
            "created":{{Server.Time.Seconds - 1}},"expires_at":{{Server.Time.Seconds + 99}},
            "livemode":false,"name":"a","payload":"one","scope":{"type":"account"},"version":1}
            """.ReplaceLineEndings(""), data.Single(secret => (string?)secret!["payload"] == "one")!.ToJsonString());
        Assert.Equal("usr_1", (string?)data.Single(secret => (string?)secret!["payload"] == "two")!["scope"]!["user"]);

        Assert.Equal(
            "live",
            (string?)(await Admin.Post($"{Accounts}/acct_1/export", [("reason", "r"), ("livemode", "true")]))
                .IsOk().Json["data"]!.AsArray().Single()!["payload"]);
        Assert.Empty((await Admin.Post($"{Accounts}/acct_none/export", [("reason", "r")])).Ids());
    }

    [Fact]
    public async Task An_export_goes_on_after_the_last_secret_of_the_page_before()
    {
        var made = new List<string>();
        for (var i = 0; i < 7; i++)
            made.Add((await Server.Client(account: "acct_1").Set($"k{i}", "p", $"usr_{i % 3}")).Id!);
        foreach (var limit in (int[])[1, 3, 7])
        {
            var walked = new List<string>();
            for (var more = true; more;)
            {
                var page = (await Admin.Post($"{Accounts}/acct_1/export",
                    [("reason", "r"), ("limit", $"{limit}"), .. walked.Count > 0 ? ((string, string)[])[
                        ("starting_after", walked[^1])] : []])).IsOk();
                walked.AddRange(page.Ids());
                more = (bool)page.Json["has_more"]!;
            }

            Assert.Equal(made.Order(), walked.Order());
        }

        (await Admin.Post($"{Accounts}/acct_1/export", [("reason", "r"), ("starting_after", "none")])).IsError(400,
            "resource_missing", "starting_after");
    }

    [Fact]
    public async Task A_reveal_gives_one_secret_of_either_mode()
    {
        var test = (await Server.Client(account: "acct_1").Set("k", "test", "usr_1")).Id;
        var live = (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Set("k", "live")).Id;
        var shown = (await Reveal("acct_1", test!)).IsOk();
        Assert.Equal("id object account app created expires_at livemode name payload scope version",
            shown.Json.Fields());
        Assert.Equal(("test", false, "usr_1"),
            (shown.Payload, (bool)shown.Json["livemode"]!, (string?)shown.Json["scope"]!["user"]));
        Assert.Equal("live", (await Reveal("acct_1", live!)).IsOk().Payload);

        foreach (var answer in (Answer[])[
            await Reveal("acct_2", test!), await Reveal("acct_1", "appsecret_none"),
            await Admin.Post($"{Apps}/{Server.OtherApp}/accounts/acct_1/secrets/{test}/reveal", [("reason", "r")])])
            answer.IsError(404, "resource_missing", "id");
        (await Admin.Post($"{Apps}/app_none/accounts/acct_1/secrets/{test}/reveal", [("reason", "r")])).IsError(404,
            "resource_missing", "id", "No such app: 'app_none'");

        await Server.Client(account: "acct_1").Set("brief", "p", null, ("expires_at", $"{Server.Time.Seconds + 1}"));
        var brief = (await Server.Client(account: "acct_1").Find("brief")).Id;
        (await Reveal("acct_1", brief!)).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Reveal("acct_1", brief!)).IsError(404, "resource_missing", "id");

        Task<Answer> Reveal(string account, string id) =>
            Admin.Post($"{Accounts}/{account}/secrets/{id}/reveal", [("reason", "ticket 7")]);
    }

    [Fact]
    public async Task What_is_revealed_or_exported_is_on_record_with_its_reason()
    {
        var one = (await Server.Client(account: "acct_1").Set("a", "p")).Id;
        var two = (await Server.Client(account: "acct_1").Set("b", "p", "usr_1")).Id;
        (await Admin.Post($"{Accounts}/acct_1/secrets/{one}/reveal", [("reason", "ticket é 7")])).IsOk();
        (await Admin.Post($"{Accounts}/acct_1/secrets/appsecret_none/reveal", [("reason", "r")])).IsError(404,
            "resource_missing", "id");
        (await Admin.Post($"{Accounts}/acct_1/export", [("reason", "leaving"), ("limit", "1")])).IsOk();
        (await Admin.Post($"{Accounts}/acct_1/export", [("reason", "leaving")])).IsOk();

        var revealed = (await Admin.Get("/admin/v1/audit", ("verb", "reveal"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(["absent", "ok"], revealed.Select(entry => (string?)entry!["outcome"]));
        Assert.Equal(("ticket é 7", one, app, "test", "acct_1", "account", 1), ((string?)revealed[1]!["reason"],
            (string?)revealed[1]!["target"], (string?)revealed[1]!["app"],
            (string?)revealed[1]!["mode"], (string?)revealed[1]!["account"], (string?)revealed[1]!["scope"],
                (int)revealed[1]!["version"]!));
        var exported = (await Admin.Get("/admin/v1/audit", ("verb", "export"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(1 + 2, exported.Count); // one for each that left, and none for what did not fit the page
        Assert.Equal([one, two], exported.Select(entry => (string?)entry!["target"]).Distinct().Order());
    }

    [Theory]
    [InlineData("", "parameter_missing", "reason")]
    [InlineData("reason=", "parameter_invalid_empty", "reason")]
    [InlineData("reason[]=x", null, "reason")]
    [InlineData("reason=LONG", null, "reason")]
    [InlineData("reason=x&user=y", "parameter_unknown", "user")]
    public async Task A_reason_of_1_to_500_characters_is_needed_and_without_it_nothing_leaves(string form, string? code,
        string param)
    {
        var id = (await Server.Client(account: "acct_1").Set("k", "canary")).Id;
        form = form.Replace("LONG", new string('r', 501), StringComparison.Ordinal);
        foreach (var path in (string[])[$"{Accounts}/acct_1/secrets/{id}/reveal", $"{Accounts}/acct_1/export"])
        {
            Assert.DoesNotContain(
                "canary", (await Admin.Raw(HttpMethod.Post, path, form)).IsError(400, code, param).Text,
                StringComparison.Ordinal);
            (await Admin.Post(path, [("reason", string.Concat(Enumerable.Repeat("𝄞", 500)))])).IsOk();
            (await Admin.Raw(HttpMethod.Get, $"{path}?reason=x", null)).IsError(404, null, null);
        }

        (await Admin.Post($"{Accounts}/acct_1/export",
            [("reason", "r"), ("livemode", "x")])).IsError(400, null, "livemode");
    }
}
