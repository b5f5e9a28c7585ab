using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>What reads more than it gives takes turns, on a thread of its own.</summary>
[Trait("Reports from the field", "R2-26")]
public sealed class ScansTests : IDisposable
{
    private readonly Scans scans = new();

    public void Dispose() => scans.Dispose();

    [Fact]
    public async Task Scans_take_turns_step_by_step_on_one_thread()
    {
        var (steps, threads) = (new List<string>(), new HashSet<string?>());
        using var begin = new ManualResetEventSlim();
        var blocked = scans.RunAsync(() => !begin.Wait(TimeSpan.FromMinutes(1)), default);
        Task[] running = [blocked, .. ((string[])["a", "b", "c"]).Select(name =>
        {
            var left = 3;
            return scans.RunAsync(() =>
            {
                steps.Add(name);
                threads.Add(Thread.CurrentThread.Name);
                return --left > 0;
            }, default);
        })];
        begin.Set();
        await Task.WhenAll(running);
        Assert.Equal("a b c a b c a b c", string.Join(' ', steps));
        Assert.Equal(["scans"], threads);
    }

    [Fact]
    public async Task A_scan_more_than_may_run_is_429_and_one_is_taken_when_another_has_ended()
    {
        using var begin = new ManualResetEventSlim();
        var running = Enumerable.Range(0, Scans.Most)
            .Select(_ => scans.RunAsync(() => !begin.Wait(TimeSpan.FromMinutes(1)), default)).ToList();
        var refused = await Assert.ThrowsAsync<ApiError>(() => scans.RunAsync(() => false, default));
        Assert.Equal((429, "rate_limit", 1), (refused.Status, refused.Code, refused.RetryAfter?.Seconds));
        begin.Set();
        await Task.WhenAll(running);
        await scans.RunAsync(() => false, default);
    }

    [Fact]
    public async Task A_scan_ends_when_the_client_leaves_and_one_that_fails_tells_its_own_client_alone()
    {
        using var leaves = new CancellationTokenSource();
        var endless = scans.RunAsync(() => true, leaves.Token);
        var failing = scans.RunAsync(() => throw new InvalidOperationException("this one"), default);
        Assert.Equal("this one", (await Assert.ThrowsAsync<InvalidOperationException>(() => failing)).Message);
        Assert.False(endless.IsCompleted);
        await leaves.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => endless);
        await scans.RunAsync(() => false, default);
    }

    [Fact]
    public async Task A_server_that_stops_waits_for_no_scan()
    {
        var endless = scans.RunAsync(() => true, default);
        scans.Dispose();
        Assert.Equal(503, (await Assert.ThrowsAsync<ApiError>(() => endless)).Status);
        Assert.Equal(503, (await Assert.ThrowsAsync<ApiError>(() => scans.RunAsync(() => false, default))).Status);
    }
}
