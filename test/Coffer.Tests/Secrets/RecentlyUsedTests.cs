using System.Runtime.CompilerServices;
using Coffer.Secrets;

namespace Coffer.Tests.Secrets;

public sealed class RecentlyUsedTests
{
    [Fact]
    public void What_is_kept_is_found_until_it_is_removed()
    {
        var kept = new RecentlyUsed<int, string>(10);
        kept.Keep(1, "one", kept.Removals);
        kept.Keep(1, "uno", kept.Removals);
        Assert.Equal("uno", kept.Find(1));
        kept.Remove(1);
        Assert.Null(kept.Find(1));
    }

    [Fact]
    public void What_is_used_stays_while_others_come_and_go()
    {
        var kept = new RecentlyUsed<int, string>(10);
        kept.Keep(0, "often", kept.Removals);
        for (var i = 1; i < 1_000; i++)
        {
            kept.Keep(i, "once", kept.Removals);
            Assert.Equal("often", kept.Find(0));
        }

        Assert.Null(kept.Find(500));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(100)]
    public async Task As_many_are_kept_as_the_bound_says(int bound)
    {
        var kept = new RecentlyUsed<int, string>(bound);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            for (var i = 0; i < 5_000; i++)
                kept.Keep(4 * i + thread, "x", kept.Removals);
        })));
        // finding moves what is found, and lets nothing go before it is counted
        var found = Enumerable.Range(0, 20_000).Count(i => kept.Find(i) is not null);
        Assert.Equal(bound, found);
    }

    [Fact]
    public void Who_comes_again_and_again_is_kept_though_it_is_full()
    {
        var kept = new RecentlyUsed<int, string>(100);
        for (var i = 0; i < 1_000; i++)
            kept.Keep(i, "once", kept.Removals);
        for (var i = 0; kept.Find(-1) is null; i++)
        {
            Assert.InRange(i, 0, 2 * RecentlyUsed<int, string>.OneIn);
            kept.Keep(-1, "often", kept.Removals);
        }
    }

    [Fact]
    public void A_newer_value_takes_the_place_of_what_is_kept()
    {
        var kept = new RecentlyUsed<int, string>(5);
        foreach (var i in (int[])[1, 2, 3])
        {
            while (kept.Find(i) is null)
                kept.Keep(i, "old", kept.Removals);
            kept.Keep(i, "new", kept.Removals);
            Assert.Equal("new", kept.Find(i));
        }
    }

    [Fact]
    public void A_removed_value_does_not_come_back_from_the_older_generation()
    {
        var kept = Aged();
        foreach (var i in (int[])[1, 2, 3])
        {
            kept.Find(i); // moves to the younger one, if it was not let go
            kept.Remove(i);
        }

        Assert.All((int[])[1, 2, 3], i => Assert.Null(kept.Find(i)));
        Assert.Equal("four", kept.Find(4));
    }

    [Fact]
    public void All_that_fits_stays_however_often_it_is_used()
    {
        var kept = new RecentlyUsed<int, string>(100);
        for (var i = 0; i < 10_000; i++)
        {
            if (kept.Find(i * 37 % 100) is null)
                kept.Keep(i * 37 % 100, "x", kept.Removals);
        }

        Assert.All(Enumerable.Range(0, 100), i => Assert.NotNull(kept.Find(i)));
    }

    [Fact]
    public void What_was_read_before_something_was_removed_is_not_kept()
    {
        var kept = new RecentlyUsed<int, string>(10);
        var before = kept.Removals;
        kept.Remove(1);
        kept.Keep(1, "one as it was", before);
        Assert.Null(kept.Find(1));
        before = kept.Removals;
        kept.Clear();
        kept.Keep(1, "one as it was", before);
        Assert.Null(kept.Find(1));
    }

    /// <summary>The opened keys of a tenant are cleared once nothing refers to them.</summary>
    [Fact]
    [Trait("Firm ground", "2")]
    public void What_is_removed_replaced_or_let_go_is_not_held_any_more()
    {
        var kept = new RecentlyUsed<int, object>(3);
        WeakReference[] removed = [.. Enumerable.Range(0, 3).Select(i => Fill(kept, i))];
        kept.Remove(0);
        WeakReference[] cameLater = [.. Enumerable.Range(3, 200).Select(i => Fill(kept, i))];
        var found = Enumerable.Range(1, 202).Where(i => kept.Find(i) is not null).ToHashSet();
        Assert.Equal(3, found.Count);
        var replaced = Fill(kept, 500, times: 100);
        Fill(kept, 500);
        foreach (var i in found)
            kept.Remove(i);

        RequireCollected([.. removed, .. cameLater, replaced]);
        var cleared = Fill(kept, 1);
        kept.Clear();
        RequireCollected([cleared]);
        GC.KeepAlive(kept);
    }

    [Fact]
    public void All_is_gone_after_a_clearing_and_it_keeps_anew()
    {
        var kept = new RecentlyUsed<int, string>(4);
        for (var i = 0; i < 4; i++)
            kept.Keep(i, "old", kept.Removals);
        kept.Clear();
        Assert.All(Enumerable.Range(0, 4), i => Assert.Null(kept.Find(i)));
        for (var i = 0; i < 2; i++)
            kept.Keep(i, "new", kept.Removals);
        Assert.Equal("new", kept.Find(1));
    }

    [Fact]
    public void What_is_removed_while_it_is_found_and_others_come_does_not_come_back()
    {
        int[] old = [1, 2, 3];
        for (var round = 0; round < 5_000; round++)
        {
            var kept = Aged();
            Parallel.Invoke(
                () => Array.ForEach(old, i => kept.Find(i)),
                () => Array.ForEach(old, kept.Remove),
                () => Array.ForEach([11, 12, 13, 14, 15, 16, 17, 18], i => kept.Keep(i, "new", kept.Removals)));
            Assert.All(old, i => Assert.Null(kept.Find(i)));
        }
    }

    // In a method of its own, so that no variable of the test refers to what was kept.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference Fill(RecentlyUsed<int, object> kept, int key, int times = 1)
    {
        var value = new object();
        for (var i = 0; i < times; i++)
            kept.Keep(key, value, kept.Removals);
        return new WeakReference(value);
    }

    private static void RequireCollected(WeakReference[] values)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        Assert.DoesNotContain(true, values.Select(value => value.IsAlive));
    }

    /// <summary>Full: two of 1, 2 and 3 are in the older generation, and 4 is in the younger.</summary>
    private static RecentlyUsed<int, string> Aged()
    {
        var kept = new RecentlyUsed<int, string>(3);
        foreach (var i in (int[])[1, 2, 3])
            kept.Keep(i, "old", kept.Removals);
        while (kept.Find(4) is null)
            kept.Keep(4, "four", kept.Removals);
        return kept;
    }
}
