namespace Coffer.Tests;

/// <summary>One range for all times, and what is shown of one that is outside of it.</summary>
[Trait("Firm ground", "16")]
public sealed class UnixTimeTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(0, true)]
    [InlineData(253_402_300_799, true)]
    [InlineData(-1, false)]
    [InlineData(253_402_300_800, false)]
    [InlineData(long.MinValue, false)]
    [InlineData(long.MaxValue, false)]
    public void What_is_stored_is_within_1970_and_9999(long seconds, bool isStorable)
    {
        Assert.Equal(isStorable, UnixTime.IsStorable(seconds));
        Assert.Equal(isStorable, UnixTime.IsStorable((long?)seconds));
        Assert.True(UnixTime.IsStorable(null));
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(2031, false)]
    [InlineData(20_310_228, false)]
    [InlineData(99_999_999, false)]
    [InlineData(100_000_000, true)]
    [InlineData(9_999_999_999, true)]
    [InlineData(1_795_887_533_000, false)] // milliseconds
    [InlineData(-1, false)]
    [InlineData(long.MaxValue, false)]
    public void A_date_without_hyphens_and_milliseconds_are_no_Unix_seconds(long seconds, bool isWritten) =>
        Assert.Equal(isWritten, UnixTime.IsWritten(seconds));

    [Theory]
    [InlineData(0, "1970-01-01 00:00:00Z")]
    [InlineData(4_105_080_000, "2100-01-31 12:00:00Z")]
    [InlineData(253_402_300_799, "9999-12-31 23:59:59Z")]
    [InlineData(253_402_300_800, "253402300800")]
    [InlineData(-1, "-1")]
    [InlineData(long.MinValue, "-9223372036854775808")]
    public void What_is_no_date_is_shown_as_its_number(long seconds, string shown) =>
        Assert.Equal(shown, UnixTime.Shown(seconds));

    [Fact]
    public void An_expiry_is_after_now_and_at_most_100_years_ahead()
    {
        Assert.Null(UnixTime.RequireExpiry(null, Now));
        var farthest = Now.AddYears(100).ToUnixTimeSeconds();
        Assert.Equal(farthest, UnixTime.RequireExpiry(farthest, Now));
        Assert.Equal(Now.ToUnixTimeSeconds() + 1, UnixTime.RequireExpiry(Now.ToUnixTimeSeconds() + 1, Now));
        foreach (var past in (long[])[Now.ToUnixTimeSeconds(), 0, -1, long.MinValue])
            Assert.Contains("timestamp in the future", Refusal(past), StringComparison.Ordinal);
        foreach (var far in (long[])[farthest + 1, Now.ToUnixTimeMilliseconds(), long.MaxValue])
            Assert.Contains("at most 100 years", Refusal(far), StringComparison.Ordinal);

        static string Refusal(long at) => Assert.Throws<ApiError>(() => UnixTime.RequireExpiry(at, Now)).Message;
    }

    [Fact]
    public void Near_the_end_of_dates_the_range_ends_before_the_100_years()
    {
        var late = new DateTimeOffset(9950, 1, 1, 0, 0, 0, TimeSpan.Zero);
        Assert.Equal(UnixTime.Latest, UnixTime.RequireExpiry(UnixTime.Latest, late));
        Assert.Throws<ApiError>(() => UnixTime.RequireExpiry(UnixTime.Latest + 1, late));
    }
}
