using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests;

/// <summary>What is done beside requests lives on, whatever a round throws.</summary>
[Trait("Firm edges", "16")]
public sealed class LoopTests
{
    private static readonly Exception[] Thrown =
    [
        ApiError.StorageUnavailable(new IOException("the disk is gone")), new IOException("x"),
        new NotSupportedException(), new InvalidOperationException("a secret"), new TaskCanceledException(),
        new FormatException(), new ArgumentException("x"),
    ];

    private readonly KeptLog<Loop> log = new();

    [Fact]
    public async Task It_tries_again_says_that_it_is_behind_and_logs_once_each()
    {
        var (rounds, back) = (0, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        var seen = new ConcurrentQueue<string?>();
        Loop? loop = null;
        loop = new Loop("sweeps", _ =>
        {
            seen.Enqueue(loop!.Trouble);
            var round = rounds++;
            if (round < 3)
                throw Thrown[0];
            if (round < 3 + Thrown.Length)
                throw Thrown[round - 3];
            if (round == 4 + Thrown.Length)
                back.TrySetResult();
            return Task.FromResult(TimeSpan.FromMilliseconds(1));
        }, TimeProvider.System, log)
        { Pauses = (TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(2)) };
        using (loop)
        {
            loop.Start();
            await back.Task.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        }

        Assert.Null(seen.First());
        Assert.Equal("behind: the disk is gone", seen.ElementAt(1));
        Assert.DoesNotContain(seen, trouble => trouble?.Contains("a secret", StringComparison.Ordinal) == true);
        Assert.Null(seen.Last());
        Assert.Null(loop.Trouble);
        // What is foreseen, of each cause, what is not, and that it is over: however often they came in a row.
        Assert.Equal(
            [LogLevel.Warning, LogLevel.Warning, LogLevel.Error, LogLevel.Information],
            log.Lines.Select(line => line.Level));
        Assert.Contains("the disk is gone", log.Lines[0].Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_rests_until_it_is_woken_and_ends_when_it_is_told_to()
    {
        using var rounds = new SemaphoreSlim(0);
        var loop = new Loop("waits", _ =>
        {
            rounds.Release();
            return Task.FromResult(Timeout.InfiniteTimeSpan);
        }, TimeProvider.System, log);
        loop.Start(TimeSpan.FromHours(1));
        for (var i = 0; i < 3; i++)
        {
            loop.Wake();
            Assert.True(await rounds.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken));
        }

        loop.Dispose();
        loop.Wake();
        loop.Dispose();
        Assert.Equal(0, rounds.CurrentCount);
        Assert.Empty(log.Lines);
    }

    [Fact]
    public async Task One_that_is_behind_ends_at_once_too()
    {
        var began = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var loop = new Loop("fails", async ct =>
        {
            began.TrySetResult();
            await Task.Delay(Timeout.InfiniteTimeSpan, ct);
            return TimeSpan.Zero;
        }, TimeProvider.System, log);
        loop.Start();
        await began.Task.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        loop.Dispose();
        Assert.Null(loop.Trouble);
    }
}
