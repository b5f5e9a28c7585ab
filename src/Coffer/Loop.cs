namespace Coffer;

/// <summary>
/// Work that is done again and again beside requests. Whatever a round throws, the loop lives on: it says that it is
/// behind until a round succeeds again, and tries more and more seldom meanwhile. It ends when it is disposed of.
/// </summary>
/// <param name="name">What it does, in one word: readiness names it so.</param>
/// <param name="round">One round; it returns how long to rest after it.</param>
/// <param name="time">How long a rest is.</param>
/// <param name="log">Told once when a failure begins, or turns into another, and once when it is over.</param>
internal sealed class Loop(
    string name, Func<CancellationToken, Task<TimeSpan>> round, TimeProvider time, ILogger log) : IDisposable
{
    private readonly CancellationTokenSource stop = new();
    private TaskCompletionSource woken = NewSignal();
    private string? trouble;
    private Task? running;

    /// <summary>How long it rests after a failure: at first, and at most.</summary>
    public (TimeSpan First, TimeSpan Most) Pauses { get; init; } =
        (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30));

    public string Name => name;

    /// <summary>Why it is behind, without a secret; null while it does its work.</summary>
    public string? Trouble => Volatile.Read(ref trouble);

    /// <summary>Whether it was started and will have no further round, although nobody ended it.</summary>
    public bool HasDied => running is { IsCompleted: true } && !stop.IsCancellationRequested;

    /// <param name="rest">How long before the first round.</param>
    public void Start(TimeSpan rest = default) => running = Task.Run(() => RunAsync(rest));

    /// <summary>The next round begins now, or once the one that runs has ended.</summary>
    public void Wake() => Volatile.Read(ref woken).TrySetResult();

    /// <summary>Returns when the round that runs, if one does, has ended.</summary>
    public void Dispose()
    {
        if (stop.IsCancellationRequested)
            return;
        stop.Cancel();
        if (running is not null)
            Task.WaitAny(running); // whatever has become of it
        stop.Dispose();
    }

    private async Task RunAsync(TimeSpan rest)
    {
        var pause = Pauses.First;
        while (await RestAsync(rest))
        {
            try
            {
                rest = await round(stop.Token);
                Succeeded();
                pause = Pauses.First;
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                Failed(e);
                rest = pause;
                pause = pause * 2 < Pauses.Most ? pause * 2 : Pauses.Most;
            }
        }
    }

    private async Task<bool> RestAsync(TimeSpan rest)
    {
        if (rest != TimeSpan.Zero && !stop.IsCancellationRequested)
        {
            using var over = CancellationTokenSource.CreateLinkedTokenSource(stop.Token);
            await Task.WhenAny(Volatile.Read(ref woken).Task, Task.Delay(rest, time, over.Token));
            await over.CancelAsync();
        }

        Volatile.Write(ref woken, NewSignal()); // what wakes it from here on is another round's
        return !stop.IsCancellationRequested;
    }

    private void Succeeded()
    {
        if (trouble is null)
            return;
        Volatile.Write(ref trouble, null);
        log.LogInformation("{Loop} is no longer behind", name);
    }

    // What was foreseen has a message that may be shown; anything else is for the log alone.
    private void Failed(Exception e)
    {
        var isForeseen = Cause.IsForeseen(e);
        var cause = Cause.Of(e);
        var found = isForeseen ? $"behind: {cause}" : "behind: a round failed; the server's log says why";
        var isNew = Interlocked.Exchange(ref trouble, found) != found;
        if (isNew)
            log.LogFailure(isForeseen ? LogLevel.Warning : LogLevel.Error, e, $"{name} is behind, and tries again");
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
