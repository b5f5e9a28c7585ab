using Coffer.Telemetry;

namespace Coffer.Tests.Telemetry;

public sealed class StripesTests
{
    [Fact]
    public void What_many_threads_add_is_there_whole()
    {
        var stripes = new Stripes(17);
        var threads = Enumerable.Range(0, 8).Select(thread => new Thread(() =>
        {
            for (var i = 0; i < 20_000; i++)
            {
                stripes.Add(thread, 2);
                stripes.Add(15, 1);
                stripes.Add(16, 0.5);
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        Assert.All(Enumerable.Range(0, 8), number => Assert.Equal(40_000, stripes.Sum(number)));
        Assert.All(Enumerable.Range(8, 7), number => Assert.Equal(0, stripes.Sum(number)));
        Assert.Equal(160_000, stripes.Sum(15));
        Assert.Equal(80_000, stripes.FractionalSum(16), 0.0);
    }
}
