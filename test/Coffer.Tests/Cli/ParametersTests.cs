using System.CommandLine;
using Coffer.Cli;
using Coffer.Tests.House;

namespace Coffer.Tests.Cli;

/// <summary>Times and durations as an operator writes them.</summary>
public sealed class ParametersTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("0s", 0)]
    [InlineData("90s", 90)]
    [InlineData("15m", 900)]
    [InlineData("24h", 86_400)]
    [InlineData("7d", 604_800)]
    [InlineData("100000d", 8_640_000_000)]
    public void A_duration_is_a_number_and_its_unit(string text, long seconds)
    {
        Assert.Equal(TimeSpan.FromSeconds(seconds), Parameters.ParseDuration(text));
        Assert.Equal($"{seconds}", Parameters.Seconds(Parameters.ParseDuration(text)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("90")] // seconds or minutes?
    [InlineData("s")]
    [InlineData("1.5h")]
    [InlineData("-1s")]
    [InlineData("+1s")]
    [InlineData(" 1s")]
    [InlineData("1 s")]
    [InlineData("1S")]
    [InlineData("1w")]
    [InlineData("1h30m")]
    [InlineData("00:15:00")]
    [InlineData("100001d")]
    [InlineData("9223372036854775807s")]
    [InlineData("9223372036854775808s")]
    public void A_duration_that_could_be_read_in_two_ways_or_none_is_none(string text) =>
        Assert.Null(Parameters.ParseDuration(text));

    [Theory]
    [InlineData("4105080000", 4_105_080_000)]
    [InlineData("2100-01-31T12:00:00Z", 4_105_080_000)]
    [InlineData("2100-01-31T14:00:00+02:00", 4_105_080_000)]
    [InlineData("2100-01-31T12:00", 4_105_080_000)]
    [InlineData("2100-01-31", 4_105_036_800)]
    public void A_time_is_Unix_seconds_or_ISO_8601_in_UTC(string text, long seconds) =>
        Assert.Equal($"{seconds}", Parameters.UnixSeconds(Parameters.ParseTime(text)));

    [Theory]
    [InlineData("")]
    [InlineData("soon")]
    [InlineData("-1")]
    [InlineData("01/02/2100")]
    [InlineData("12:00")]
    [InlineData("9223372036854775807")]
    [InlineData("2031")] // a year
    [InlineData("20310228")] // a date in the basic form of ISO 8601
    [InlineData("203102281200")]
    [InlineData("1795887533000")] // milliseconds
    [InlineData("0001-01-01")]
    [InlineData("1969-12-31")]
    public void A_time_that_is_neither_is_none(string text) => Assert.Null(Parameters.ParseTime(text));

    [Theory]
    [Trait("Firm ground", "16")]
    [InlineData("2031", "such as 2030-03-01, or Unix seconds")]
    [InlineData("20310228", "such as 2030-03-01, or Unix seconds")]
    [InlineData("1795887533000", "give the seconds, 1795887533")]
    [InlineData("99999999999999999999", "such as 2030-03-01, or Unix seconds")]
    [InlineData("soon", "is neither Unix seconds nor an ISO 8601 time")]
    public void A_time_that_is_none_is_told_what_to_write(string text, string said) =>
        Assert.Contains(said, Parameters.WhyNoTime(text), StringComparison.Ordinal);

    [Theory]
    [Trait("Firm ground", "16")]
    [InlineData("4105080000", "2100-01-31 12:00:00Z")]
    [InlineData("9223372036854775807", "9223372036854775807")]
    [InlineData("-9223372036854775808", "-9223372036854775808")]
    [InlineData("1795887533000", "1795887533000")]
    [InlineData("1e300", "1e300")]
    [InlineData("1.5", "1.5")]
    [InlineData("\"tomorrow\"", "tomorrow")]
    [InlineData("null", "never")]
    public void Whatever_a_server_sends_as_a_time_is_shown(string sent, string shown) =>
        Assert.Equal(shown, Listing.Time("at")(System.Text.Json.JsonElement.Parse($$"""{"at": {{sent}}}""")));

    [Fact]
    public void What_is_not_given_is_not_sent()
    {
        Assert.Null(Parameters.Seconds(null));
        Assert.Null(Parameters.UnixSeconds(null));
        Assert.Empty(Parameters.Elements("origins", null));
        Assert.Equal([("origins[]", "a"), ("origins[]", "b")], Parameters.Elements("origins", ["a", "b"]));
    }

    [Fact]
    [Trait("Reports from the field", "R2-10")]
    public void Every_option_that_is_a_moment_or_a_length_refuses_by_name_what_cannot_be_meant()
    {
        string[] noMoment =
            ["", "soon", "2031", "20310228", "1795887533000", "-1", "1e9", "1969-12-31", "'2030-01-31'"];
        string[] noLength = ["", "soon", "90", "1.5h", "1h30m", "-1h", "90S", "1w", "100001d"];
        var seen = 0;
        foreach (var option in DocumentCommands.AllOptions())
        {
            var bad = option.ValueType == typeof(DateTimeOffset?) ? noMoment : [];
            if (option.ValueType == typeof(TimeSpan?))
                bad = noLength;
            seen += bad.Length > 0 ? 1 : 0;
            var alone = new Command("alone") { option }; // what else the command lacks is not what is asked
            foreach (var value in bad)
            {
                Assert.Contains(alone.Parse([option.Name, value]).Errors, error =>
                    error.Message.StartsWith($"{option.Name} '{value}' is ", StringComparison.Ordinal));
            }
        }

        Assert.True(seen >= 8, $"{seen} options"); // of secrets, keys, apps and audit
    }
}
