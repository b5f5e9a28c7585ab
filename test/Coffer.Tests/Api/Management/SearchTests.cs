using System.Text.Json.Nodes;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>Secrets' metadata across accounts (docs/management.md, "Secrets").</summary>
public sealed class SearchTests : ServerTests
{
    private const string Search = "/admin/v1/secrets/search";

    private string app = null!;

    private TestServer.Caller Admin => Server.Admin;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    public async Task What_is_found_is_shown_with_whose_it_is_and_without_its_payload()
    {
        await Server.Client(account: "acct_1").Set("k", "canary", "usr_1");
        var set = (await Server.Client(account: "acct_1").Set("k", "canary", "usr_1",
            ("expires_at", $"{Server.Time.Seconds + 10}"))).IsOk();
        var found = (await Admin.Get(Search)).IsOk();
        Assert.Equal($$"""
            {
              "object": "search_result",
              "data": [
                {
                  "id": "{{set.Id}}",
                  "object": "apps.secret",
                  "account": "acct_1",
                  "app": "{{app}}",
                  "created": {{Server.Time.Seconds}},
                  "expires_at": {{Server.Time.Seconds + 10}},
                  "livemode": false,
                  "name": "k",
                  "scope": {
                    "type": "user",
                    "user": "usr_1"
                  },
                  "version": 2
                }
              ],
              "has_more": false,
              "next_page": null,
              "url": "/admin/v1/secrets/search"
            }

            """, found.Text);
        Server.Time.Move(TimeSpan.FromSeconds(10));
        Assert.Empty((await Admin.Get(Search)).Ids());
    }

    [Fact]
    public async Task Every_filter_takes_its_part_and_together_they_narrow()
    {
        var live = Server.Client(Server.Keys.LiveSecretKey, "acct_1");
        await Server.Client(account: "acct_1").Set("test 1", "p", null, ("expires_at", $"{Server.Time.Seconds + 10}"));
        await Server.Client(account: "acct_2").Set("test 2", "p", null, ("expires_at", $"{Server.Time.Seconds + 20}"));
        await live.Set("live 1");
        await Server.Client(Server.OtherAppKey, "acct_1").Set("other 1");

        Assert.Equal("live 1,other 1,test 1,test 2", await NamesAsync());
        Assert.Equal("live 1,test 1,test 2", await NamesAsync(("app", app)));
        Assert.Equal("live 1,other 1,test 1", await NamesAsync(("account", "acct_1")));
        Assert.Equal("live 1", await NamesAsync(("livemode", "true")));
        Assert.Equal("other 1,test 1,test 2", await NamesAsync(("livemode", "false")));
        Assert.Equal("test 1", await NamesAsync(("app", app), ("account", "acct_1"), ("livemode", "false")));
        Assert.Equal("", await NamesAsync(("app", "app_none")));
        Assert.Equal("test 1,test 2", await NamesAsync(("expiring_before", $"{Server.Time.Seconds + 21}")));
        Assert.Equal("test 1", await NamesAsync(("expiring_before", $"{Server.Time.Seconds + 20}")));
        Assert.Equal("test 2", await NamesAsync(("expiring_before", "9999999999"), ("account", "acct_2")));
        Assert.Equal("", await NamesAsync(("expiring_before", $"{Server.Time.Seconds}")));
        Assert.Equal("", await NamesAsync(("expiring_before", "0")));

        async Task<string> NamesAsync(params (string, string)[] filter) =>
            string.Join(',', (await Admin.Get(Search, filter)).IsOk().Names.Order());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Pages_join_whatever_is_added_and_removed_meanwhile(bool byExpiry)
    {
        for (var i = 0; i < 24; i++)
        {
            var key = (i % 6) switch
            {
                0 or 3 => Server.OtherAppKey,
                2 or 4 => Server.Keys.LiveSecretKey,
                _ => null,
            };
            var caller = Server.Client(key, $"acct_{i % 4}");
            // Several expire in one second.
            (await caller.Set($"k{i}", "p", null, ("expires_at", $"{Server.Time.Seconds + 1_000 + i % 5}"))).IsOk();
        }

        await Server.Client().Set("never expires");
        (string, string)[] filter = byExpiry ? [("expiring_before", "9999999999")] : [];
        var all = (await Admin.Get(Search, [.. filter, ("limit", "100")])).IsOk();
        Assert.Equal(byExpiry ? 24 : 25, all.Ids().Distinct().Count());
        if (byExpiry)
            Assert.Equal(Expiries(all).Order(), Expiries(all));
        else
            // none comes in two parts
            Assert.Equal(Tenants(all).Distinct().Count(),
                Tenants(all).Zip(Tenants(all).Skip(1)).Count(two => two.First != two.Second) + 1);

        foreach (var limit in (int[])[1, 5, 24])
            Assert.Equal(all.Ids(), (await WalkAsync(limit)).SelectMany(page => page.Ids()));

        // What was on the first page goes and others come: what was there all the time is on the pages once.
        var first = (await Admin.Get(Search, [.. filter, ("limit", "6")])).IsOk();
        Assert.True((bool)first.Json["has_more"]!);
        foreach (var secret in first.Json["data"]!.AsArray())
        {
            await Server.Client(KeyOf(secret!), (string?)secret!["account"])
                .Delete((string)secret["name"]!);
        }

        string? KeyOf(JsonNode secret)
        {
            if ((string?)secret["app"] != app)
                return Server.OtherAppKey;
            return (bool)secret["livemode"]! ? Server.Keys.LiveSecretKey : null;
        }

        var rest = await WalkAsync(6, (string)first.Json["next_page"]!);
        Assert.Equal(all.Ids().Skip(6), rest.SelectMany(page => page.Ids()));

        async Task<List<Answer>> WalkAsync(int limit, string? page = null)
        {
            var pages = new List<Answer>();
            do
            {
                pages.Add(
                    (await Admin.Get(
                        Search,
                        [.. filter, ("limit", $"{limit}"),
                            .. page is null ? ((string, string)[])[] : [("page", page)]])).IsOk());
                page = (string?)pages[^1].Json["next_page"];
                Assert.Equal((bool)pages[^1].Json["has_more"]!, page is not null);
            }
            while (page is not null);
            return pages;
        }

        static List<long> Expiries(Answer page) =>
            [.. page.Json["data"]!.AsArray().Select(secret => (long)secret!["expires_at"]!)];

        static List<string> Tenants(Answer page) =>
            [.. page.Json["data"]!.AsArray().Select(
                secret => $"{secret!["app"]} {secret["livemode"]} {secret["account"]}")];
    }

    [Fact]
    public async Task What_expires_between_two_pages_is_absent_from_the_second()
    {
        for (var i = 1; i <= 6; i++)
            await Server.Client(account: $"acct_{7 - i}").Set($"k{i}", "p", null,
                ("expires_at", $"{Server.Time.Seconds + i}"));
        (string, string)[] filter = [("expiring_before", "9999999999"), ("limit", "2")];
        var first = (await Admin.Get(Search, filter)).IsOk();
        Assert.Equal(["k1", "k2"], first.Names);
        Server.Time.Move(TimeSpan.FromSeconds(4));
        Assert.Equal(["k5", "k6"],
            (await Admin.Get(Search, [.. filter, ("page", (string)first.Json["next_page"]!)])).IsOk().Names);
    }

    [Theory]
    [InlineData("page=x", null, "page")]
    [InlineData("page=", "parameter_invalid_empty", "page")]
    [InlineData("page=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!", null, "page")]
    [InlineData("page=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", null, "page")]
    [InlineData("page=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%20", null, "page")]
    [InlineData("page=+++++++++++++++++++++++++++++++++++++++++++", null, "page")]
    [InlineData("livemode=yes", null, "livemode")]
    [InlineData("expiring_before=-1", null, "expiring_before")]
    [InlineData("expiring_before=20310228", null, "expiring_before")]
    [InlineData("expiring_before=1795887533000", null, "expiring_before")]
    [InlineData("expiring_before=9223372036854775807", null, "expiring_before")]
    // It says that it expires after all dates.
    [InlineData("page=f_________8AAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAA", null, "page")]
    [InlineData("expiring_before=soon", "parameter_invalid_integer", "expiring_before")]
    [InlineData("limit=ten", "parameter_invalid_integer", "limit")]
    [InlineData("starting_after=appsecret_1", "parameter_unknown", "starting_after")]
    [InlineData("app[]=x", null, "app")]
    [InlineData("name=k", "parameter_unknown", "name")]
    public async Task Bad_input_names_the_parameter(string query, string? code, string param) =>
        (await Admin.Raw(HttpMethod.Get, $"{Search}?{query}", null)).IsError(400, code, param);

    [Fact]
    public async Task A_limit_is_clamped()
    {
        for (var i = 0; i < 12; i++)
            await Server.Client(account: $"acct_{i}").Set("k");
        Assert.Equal(10, (await Admin.Get(Search)).Ids().Count());
        Assert.Single((await Admin.Get(Search, ("limit", "-1"))).Ids());
        Assert.Equal(12, (await Admin.Get(Search, ("limit", "101"))).Ids().Count());
    }

    [Fact]
    public async Task It_is_on_record_with_how_many_were_given()
    {
        for (var i = 0; i < 3; i++)
            await Server.Client(account: "acct_1").Set($"k{i}");
        (await Admin.Get(Search, ("account", "acct_1"), ("limit", "2"))).IsOk();
        JsonNode entry = (await Admin.Get("/admin/v1/audit", ("verb", "search_secrets")))
            .IsOk().Json["data"]!.AsArray().Single()!;
        Assert.Equal(("ok", "acct_1", 2), ((string?)entry["outcome"], (string?)entry["account"], (int)entry["count"]!));
    }
}
