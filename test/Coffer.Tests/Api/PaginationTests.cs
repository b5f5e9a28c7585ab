namespace Coffer.Tests.Api;

/// <summary>Lists: order, both directions, limits and cursors (docs/wire.md, "List").</summary>
public sealed class PaginationTests() : ServerTests(secretsPerScope: 200)
{
    private string[] ids = [];

    private TestServer.Caller Client => Server.Client();

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        var made = new List<string>();
        for (var i = 0; i < 12; i++)
        {
            made.Add((await Client.Set($"k{i:00}")).IsOk().Id!);
            if (i % 3 == 0)
                Server.Time.Move(TimeSpan.FromMilliseconds(1)); // several share a millisecond
        }

        ids = [.. made];
    }

    [Fact]
    public async Task Newest_comes_first_ten_by_default()
    {
        var page = (await Client.List()).IsOk();
        Assert.Equal(Enumerable.Range(2, 10).Reverse().Select(i => $"k{i:00}"), page.Names);
        Assert.True((bool)page.Json["has_more"]!);
        Assert.Equal(("list", "/v1/apps/secrets"), ((string?)page.Json["object"], (string?)page.Json["url"]));
        Assert.Equal(["object", "data", "has_more", "url"], page.Json.AsObject().Select(field => field.Key));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(12)]
    [InlineData(100)]
    public async Task Walking_either_way_gives_each_secret_once(int limit)
    {
        var forward = new List<string>();
        for (string? cursor = null; ;)
        {
            var page = (await Client.List(null,
                [("limit", $"{limit}"), .. cursor is null ? [] : new[] { ("starting_after", cursor) }])).IsOk();
            forward.AddRange(page.Names);
            if (!(bool)page.Json["has_more"]!)
                break;
            cursor = (string?)page.Json["data"]!.AsArray()[^1]!["id"];
        }

        Assert.Equal(Enumerable.Range(0, 12).Reverse().Select(i => $"k{i:00}"), forward);

        var backward = new List<string>();
        for (var cursor = ids[0]; ;)
        {
            var page = (await Client.List(null, ("limit", $"{limit}"), ("ending_before", cursor))).IsOk();
            backward.InsertRange(0, page.Names);
            if (!(bool)page.Json["has_more"]!)
                break;
            cursor = (string)page.Json["data"]![0]!["id"]!;
        }

        Assert.Equal(Enumerable.Range(1, 11).Reverse().Select(i => $"k{i:00}"), backward);
    }

    [Fact]
    public async Task A_page_before_a_cursor_is_the_one_next_to_it()
    {
        var page = (await Client.List(null, ("limit", "2"), ("ending_before", ids[5]))).IsOk();
        Assert.Equal(["k07", "k06"], page.Names);
        Assert.True((bool)page.Json["has_more"]!);
    }

    [Fact]
    public async Task A_full_last_page_has_no_more_and_the_end_is_empty()
    {
        Assert.False((bool)(await Client.List(null, ("limit", "12"))).Json["has_more"]!);
        var end = (await Client.List(null, ("starting_after", ids[0]))).IsOk();
        Assert.Contains("\"data\": []", end.Text, StringComparison.Ordinal);
        Assert.False((bool)end.Json["has_more"]!);
    }

    [Theory]
    [InlineData("0", 1)]
    [InlineData("-1", 1)]
    [InlineData("1", 1)]
    [InlineData("101", 12)]
    [InlineData("1000000000", 12)]
    [InlineData("99999999999999999999999", 12)]
    [InlineData("-99999999999999999999999", 1)]
    public async Task A_limit_out_of_range_is_clamped(string limit, int rows) =>
        Assert.Equal(rows, (await Client.List(null, ("limit", limit))).IsOk().Names.Length);

    [Theory]
    [InlineData("abc")]
    [InlineData("1.5")]
    [InlineData("٣")]
    [InlineData("1e9")]
    [InlineData(" 1")]
    [InlineData("0x10")]
    [InlineData("-")]
    public async Task A_limit_that_is_no_integer_is_refused(string limit) =>
        (await Client.List(null, ("limit", limit))).IsError(400, "parameter_invalid_integer", "limit",
            $"Invalid integer: {limit}");

    [Fact]
    public async Task The_cursor_of_a_deleted_or_expired_secret_still_marks_its_place()
    {
        await Client.Set("k06", "p", null, ("expires_at", $"{Server.Time.Seconds + 1}"));
        await Client.Delete("k05");
        Server.Time.Move(TimeSpan.FromSeconds(2));
        Assert.Equal(["k04", "k03"],
            (await Client.List(null, ("limit", "2"), ("starting_after", ids[5]))).IsOk().Names);
        Assert.Equal(["k04", "k03"],
            (await Client.List(null, ("limit", "2"), ("starting_after", ids[6]))).IsOk().Names);
        Assert.Equal(["k08", "k07"], (await Client.List(null, ("limit", "2"), ("ending_before", ids[6]))).IsOk().Names);
    }

    [Fact]
    public async Task A_walk_over_a_list_that_shrinks_skips_and_repeats_nothing()
    {
        var seen = new List<string>();
        for (string? cursor = null; ;)
        {
            var page = (await Client.List(null,
                [("limit", "3"), .. cursor is null ? [] : new[] { ("starting_after", cursor) }])).IsOk();
            seen.AddRange(page.Names);
            cursor = (string?)page.Json["data"]!.AsArray().LastOrDefault()?["id"];
            foreach (var name in page.Names)
                await Client.Delete(name);
            if (!(bool)page.Json["has_more"]!)
                break;
        }

        Assert.Equal(12, seen.Distinct().Count());
        Assert.Equal(12, seen.Count);
    }

    [Theory]
    [InlineData("starting_after")]
    [InlineData("ending_before")]
    public async Task A_foreign_or_made_up_cursor_is_refused(string param)
    {
        var otherUser = (await Client.Set("k", user: "usr_1")).Id!;
        var otherAccount = (await Server.Client(account: "acct_2").Set("k")).Id!;
        var otherMode = (await Server.Client(Server.Keys.LiveSecretKey).Set("k")).Id!;
        var otherApp = (await Server.Client(Server.OtherAppKey).Set("k")).Id!;
        var typo = ids[0][..^1] + (ids[0][^1] == 'a' ? 'b' : 'a');
        foreach (var cursor in (string[])[otherUser, otherAccount, otherMode, otherApp, typo, "appsecret_x", "x",
            "appsecret_" + new string('0', 30), ids[0] + "0", "' OR 1=1 --"])
            (await Client.List(null, (param, cursor))).IsError(400, "resource_missing", param,
                $"No such secret: '{cursor}'");

        // An app without any secret has no list to point into.
        (await Server.Client(account: "acct_empty").List(null, (param, ids[0]))).IsError(400, "resource_missing",
            param);
    }

    [Fact]
    public async Task Both_cursors_are_refused_each_having_been_checked()
    {
        (await Client.List(null, ("starting_after", ids[1]), ("ending_before", ids[5]))).IsError(400, null, null,
            "Received both starting_after and ending_before parameters. Please pass in only one.");
        (await Client.List(null, ("starting_after", ids[1]), ("ending_before", "x"))).IsError(400, "resource_missing",
            "ending_before");
    }

    [Fact]
    public async Task An_empty_list_is_a_list()
    {
        var page = (await Server.Client(account: "acct_none").List()).IsOk();
        Assert.Empty(page.Names);
        Assert.False((bool)page.Json["has_more"]!);
    }
}
