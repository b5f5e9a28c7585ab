using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>Every parameter that is a time, at every door: one range, and milliseconds are refused.</summary>
[Trait("Firm ground", "16")]
public sealed class TimeDoorsTests : ServerTests
{
    private const string Past = "Invalid timestamp: must be an integer Unix timestamp in the future";

    private const string TooFar =
        "Invalid timestamp: must be an integer Unix timestamp in seconds, at most 100 years in the future";

    private const string Range = "Invalid timestamp: must be an integer Unix timestamp in seconds: " +
        "0, or from 100000000 (in 1973) to 253402300799 (in 9999)";

    [Fact]
    public async Task A_key_and_a_secret_expire_within_the_same_100_years_and_are_refused_in_the_same_words()
    {
        var app = await Server.AppIdAsync();
        var farthest = Server.Time.Now.AddYears(100).ToUnixTimeSeconds();
        (string, string)[][] kinds =
        [
            [("type", "secret"), ("app", app)],
            [("type", "restricted"), ("app", app), ("permissions", "secret_read")],
            [("type", "admin")],
        ];
        foreach (var (at, said) in ((string, string)[])[
            ("9223372036854775807", TooFar), ("9223372036854775808", TooFar), ($"{farthest + 1}", TooFar),
            ($"{Server.Time.Now.ToUnixTimeMilliseconds()}", TooFar), ($"{Server.Time.Seconds}", Past),
            ("0", Past), ("20310228", Past), ("-1", Past)])
        {
            (await Server.Client().Set("k", "p", null, ("expires_at", at))).IsError(400, null, "expires_at", said);
            foreach (var kind in kinds)
                (await Server.Admin.Post(KeysPath, [.. kind, ("expires_at", at)])).IsError(400, null, "expires_at",
                    said);
        }

        var key = await Server.NewKeyAsync("secret", app, ("expires_at", $"{farthest}"));
        Assert.Equal(farthest, (long)key["expires_at"]!);
        (await Server.Client(key.Secret()).List()).IsOk();
        var all = (await Server.Admin.Get(KeysPath, ("limit", "100"))).IsOk().Text;
        Assert.DoesNotContain("9223372036854775807", all, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("3600000")] // milliseconds
    [InlineData("9223372036854775807")]
    [InlineData("9223372036854775808")]
    [InlineData("-9223372036854775809")]
    public async Task A_length_of_time_has_its_range_too(string length)
    {
        const string Code = "parameter_invalid_integer";
        var minted = await Server.Client().Post(Ephemeral, [("user", "usr_1"), ("expires_in", length)]);
        minted.IsError(400, Code, "expires_in");
        var key = (await Server.KeyAsync("secret", livemode: false)).Id();
        var app = await Server.AppIdAsync();
        foreach (var path in (string[])[$"{KeysPath}/{key}/roll", $"{Apps}/{app}/signing_secret/roll"])
            (await Server.Admin.Post(path, [("grace_period", length)])).IsError(400, Code, "grace_period");
    }

    [Fact]
    public async Task A_bound_of_a_search_may_be_any_moment_from_1973_to_9999_or_0()
    {
        (await Server.Client().Set("k", "p", null, ("expires_at", $"{Server.Time.Seconds + 10}"))).IsOk();
        foreach (var at in (string[])["0", "100000000", $"{Server.Time.Seconds}", "9999999999", "253402300799"])
        {
            (await Server.Admin.Get("/admin/v1/secrets/search", ("expiring_before", at))).IsOk();
            (await Server.Admin.Get("/admin/v1/audit", ("since", at))).IsOk();
            (await Server.Admin.Get("/admin/v1/audit", ("until", at))).IsOk();
        }

        var milliseconds = $"{Server.Time.Now.ToUnixTimeMilliseconds()}";
        foreach (var at in (string[])["-1", "2031", "20310228", "99999999", "253402300800", milliseconds])
        {
            foreach (var (path, param) in ((string, string)[])[
                ("secrets/search", "expiring_before"), ("audit", "since"), ("audit", "until")])
                (await Server.Admin.Get($"/admin/v1/{path}", (param, at))).IsError(400, null, param, Range);
        }
    }
}
