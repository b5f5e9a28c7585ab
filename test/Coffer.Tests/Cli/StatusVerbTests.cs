using Coffer.Cli;

namespace Coffer.Tests.Cli;

[Trait("Firm ground", "1")]
public sealed class StatusVerbTests
{
    [Theory]
    [InlineData(0, "0s")]
    [InlineData(59, "59s")]
    [InlineData(60, "1m 0s")]
    [InlineData(3_599, "59m 59s")]
    [InlineData(3_600, "1h 0m")]
    [InlineData(86_399, "23h 59m")]
    [InlineData(86_400, "1d 0h")]
    [InlineData(400 * 86_400L + 7_261, "400d 2h")]
    public void An_uptime_is_shown_in_its_two_largest_units(long seconds, string shown) =>
        Assert.Equal(shown, StatusVerb.Uptime(seconds));
}
