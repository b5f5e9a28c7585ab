namespace Coffer.Shared;

/// <summary>
/// Workers beside a test that each ask for one thing after another: until they are told to stop, until one of them is
/// refused, or until what they ask is gone. They end with the test, also when it fails.
/// </summary>
internal sealed class Load : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly CancellationTokenSource stop = new();
    private readonly int[] done;
    private readonly Task[] working;

    /// <param name="workers">How many ask at once.</param>
    /// <param name="ask">
    /// What one does again and again, by its number and by how often it has done it; its failure ends it.
    /// </param>
    public Load(int workers, Func<int, int, Task> ask) : this(workers, async (worker, number) =>
    {
        await ask(worker, number);
        return true;
    })
    {
    }

    /// <param name="workers">How many ask at once.</param>
    /// <param name="ask">The same, and whether that worker has something left to ask.</param>
    public Load(int workers, Func<int, int, Task<bool>> ask)
    {
        done = new int[workers];
        working = [.. Enumerable.Range(0, workers).Select(worker => Task.Run(() => WorkAsync(worker, ask)))];
    }

    /// <summary>How often each has done it.</summary>
    public IReadOnlyList<int> Done => [.. Enumerable.Range(0, done.Length).Select(i => Volatile.Read(ref done[i]))];

    /// <summary>Returns once each worker has done it some times more.</summary>
    public Task MoreAsync(int times)
    {
        var before = Done;
        return UntilAsync(now => now.Zip(before).All(worker => worker.First >= worker.Second + times));
    }

    /// <summary>Returns once they have done it so often together.</summary>
    public Task UntilAsync(int times) => UntilAsync(now => now.Sum() >= times);

    /// <summary>Tells them to stop, and returns when they have. What one has failed with is thrown.</summary>
    public async Task EndAsync()
    {
        await stop.CancelAsync();
        await EndedAsync();
    }

    /// <summary>Returns when all have ended by themselves. What one has failed with is thrown.</summary>
    public Task EndedAsync() => Task.WhenAll(working).WaitAsync(Patience, TestContext.Current.CancellationToken);

    /// <remarks>What is asked for at that moment is not waited for: who answers it ends with the test too.</remarks>
    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        stop.Dispose();
    }

    private async Task UntilAsync(Func<IReadOnlyList<int>, bool> isEnough)
    {
        var isOver = false;
        await Until.SoAsync("enough is done under load", () => isEnough(Done)
            || (isOver = working.Any(worker => worker.IsCompleted)), instead: () => string.Join(' ', Done));
        if (!isOver)
            return;
        await await Task.WhenAny(working); // who has failed says why
        Assert.Fail($"a worker has ended: {string.Join(' ', Done)}");
    }

    private async Task WorkAsync(int worker, Func<int, int, Task<bool>> ask)
    {
        while (!stop.IsCancellationRequested && await ask(worker, done[worker]))
            Interlocked.Increment(ref done[worker]);
    }
}
