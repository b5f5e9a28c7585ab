namespace Coffer.Tests.Api;

/// <summary>A secret is gone the second it expires, whatever else happens (docs/wire.md, "Expiry").</summary>
public sealed class TimeTests : ServerTests
{
    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task A_secret_is_there_until_the_second_before_and_gone_at_the_very_second()
    {
        var set = (await SetFor(10)).IsOk();
        Server.Time.Move(TimeSpan.FromMilliseconds(9_999));
        (await Client.Find("k")).IsOk();
        Assert.Equal(["k"], (await Client.List()).Names);

        Server.Time.Move(TimeSpan.FromMilliseconds(1));
        (await Client.Find("k")).IsError(404, "resource_missing", "name");
        (await Client.Find("k", null, ("expand[]", "payload"))).IsError(404, "resource_missing", "name");
        Assert.Empty((await Client.List()).Names);
        (await Client.Delete("k")).IsError(404, "resource_missing", "name");
        (await Client.List(null, ("starting_after", set.Id!))).IsOk();
    }

    [Fact]
    public async Task Setting_an_expired_name_makes_a_new_secret()
    {
        var first = (await SetFor(1)).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        var second = (await Client.Set("k")).IsOk();
        Assert.NotEqual(first.Id, second.Id);
        Assert.Equal(Server.Time.Seconds, (long)second.Json["created"]!);
        Assert.Equal("1", second.Header("Coffer-Secret-Version"));
        (await Client.Find("k")).IsOk();
    }

    [Fact]
    public async Task Expired_secrets_free_their_place_in_the_quota_at_once()
    {
        for (var i = 0; i < 10; i++)
            (await Client.Set($"k{i}", "p", null, ("expires_at", $"{Server.Time.Seconds + 5}"))).IsOk();
        (await Client.Set("more")).IsError(400, null, null);
        Server.Time.Move(TimeSpan.FromSeconds(5));
        (await Client.Set("more")).IsOk();
    }

    [Fact]
    public async Task Setting_again_without_an_expiry_takes_it_away()
    {
        await SetFor(5);
        await Client.Set("k", "lasting");
        Server.Time.Move(TimeSpan.FromDays(365));
        Assert.Equal("lasting", (await Client.Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task A_clock_that_steps_back_loses_nothing_and_ids_still_grow()
    {
        var first = (await Client.Set("first")).IsOk();
        Server.Time.Move(TimeSpan.FromHours(-1));
        var second = (await Client.Set("second")).IsOk();
        Assert.True(string.CompareOrdinal(first.Id, second.Id) < 0);
        Assert.Equal(["second", "first"], (await Client.List()).Names);
        (await SetFor(10)).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(11));
        (await Client.Find("k")).IsError(404, "resource_missing", "name");
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-1")]
    [InlineData("1000000000")]
    [InlineData("-99999999999999999999")]
    public async Task An_expiry_in_the_past_is_refused(string at) =>
        (await SetAt(at)).IsError(400, null, "expires_at",
            "Invalid timestamp: must be an integer Unix timestamp in the future");

    [Fact]
    public async Task An_expiry_now_is_in_the_past_and_one_second_ahead_is_not()
    {
        (await SetFor(0)).IsError(400, null, "expires_at");
        (await SetFor(1)).IsOk();
    }

    [Fact]
    public async Task An_expiry_is_at_most_100_years_ahead()
    {
        var limit = Server.Time.Now.AddYears(100).ToUnixTimeSeconds();
        (await SetAt($"{limit}")).IsOk();
        (await SetAt($"{limit + 1}")).IsError(400, null, "expires_at",
            "Invalid timestamp: must be an integer Unix timestamp in seconds, at most 100 years in the future");
        // milliseconds by mistake
        (await SetAt($"{Server.Time.Now.ToUnixTimeMilliseconds()}")).IsError(400, null, "expires_at");
        (await SetAt("9223372036854775807")).IsError(400, null, "expires_at");
        (await SetAt("9223372036854775808")).IsError(400, null, "expires_at");
    }

    [Theory]
    [InlineData("tomorrow")]
    [InlineData("1.5")]
    [InlineData("2030-01-01T00:00:00Z")]
    public async Task An_expiry_that_is_no_integer_is_refused(string at) =>
        (await SetAt(at)).IsError(400, "parameter_invalid_integer", "expires_at", $"Invalid integer: {at}");

    private Task<Answer> SetFor(long seconds) => SetAt($"{Server.Time.Seconds + seconds}");

    private Task<Answer> SetAt(string at) => Client.Set("k", "p", null, ("expires_at", at));
}
