using Coffer.Crypto;

namespace Coffer.Tests.Crypto;

public sealed class HeatTests
{
    private static readonly long Window = (long)Heat.Window.TotalMilliseconds;

    [Fact]
    public void What_is_used_often_in_a_window_is_hot_through_the_next()
    {
        var heat = default(Heat);
        Assert.Equal(Heat.Often - 1, Uses(ref heat, 0, Heat.Often - 1));
        Assert.True(heat.Use(Window - 1));
        Assert.Equal(0, Uses(ref heat, Window, 3));
        Assert.Equal(3, Uses(ref heat, 2 * Window, 3)); // three in the window before were not often
    }

    [Fact]
    public void What_was_hot_and_rested_for_a_window_is_not()
    {
        var heat = default(Heat);
        Uses(ref heat, 0, 100);
        Assert.Equal(1, Uses(ref heat, 2 * Window, 1));
    }

    [Fact]
    public void What_is_used_now_and_then_is_never_hot()
    {
        var heat = default(Heat);
        for (var window = 1; window < 100; window++)
            Assert.Equal(Heat.Often - 1, Uses(ref heat, window * Window, Heat.Often - 1));
    }

    /// <returns>How many of the uses found it not hot.</returns>
    private static int Uses(ref Heat heat, long now, int times)
    {
        var cold = 0;
        for (var i = 0; i < times; i++)
            cold += heat.Use(now) ? 0 : 1;
        return cold;
    }
}
