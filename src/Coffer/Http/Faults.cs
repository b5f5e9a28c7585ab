namespace Coffer.Http;

/// <summary>
/// What the log says of requests that failed by no fault of the client. Of a storage that went away it has one line,
/// and one when it is back with how many requests that cost, however many they are.
/// </summary>
internal sealed class Faults : IDisposable
{
    /// <summary>
    /// How long it rests between proofs. Of trouble that is back again within a minute the proof has said too early
    /// that it is over: then it is asked more and more seldom.
    /// </summary>
    private static readonly TimeSpan First = TimeSpan.FromSeconds(1), Longest = TimeSpan.FromSeconds(30),
        Apart = TimeSpan.FromMinutes(1);

    private readonly Func<CancellationToken, Task<bool>> isBack;
    private readonly TimeProvider time;
    private readonly ILogger<Faults> log;
    private readonly Loop watch;
    private readonly Lock counting = new();
    private DateTimeOffset? since;
    private DateTimeOffset ended;
    private TimeSpan pause = First;
    private long count;
    private string last = "";

    /// <param name="isBack">Proves that requests can use the storage, and does not assume it.</param>
    /// <param name="time">When it is asked.</param>
    /// <param name="log">The log.</param>
    public Faults(Func<CancellationToken, Task<bool>> isBack, TimeProvider time, ILogger<Faults> log)
    {
        (this.isBack, this.time, this.log) = (isBack, time, log);
        watch = new Loop("storage", WatchAsync, time, log);
        watch.Start(Timeout.InfiniteTimeSpan);
    }

    public void Report(ApiError fault, string requestId)
    {
        if (fault is { Status: StatusCodes.Status500InternalServerError, InnerException: { } bug })
        {
            log.LogError(bug, "{RequestId} answered {Status}: {Message}", requestId, fault.Status, fault.Message);
            return;
        }

        var cause = Cause.Of(fault);
        if (!fault.IsOfStorage)
            log.LogError("{RequestId} answered {Status}: {Cause}", requestId, fault.Status, cause);
        else if (Begins(cause))
        {
            log.LogError("The storage cannot be used, and requests that need it are answered {Status} until it can: "
                + "{Cause}. {RequestId} was the first", fault.Status, cause, requestId);
            watch.Wake();
        }
    }

    public void Dispose() => watch.Dispose();

    private bool Begins(string cause)
    {
        lock (counting)
        {
            (count, last) = (count + 1, cause);
            if (since is not null)
                return false;
            var now = time.GetUtcNow();
            var isApart = now - ended is var rest && (rest >= Apart || rest < TimeSpan.Zero);
            pause = isApart ? First : TimeSpan.FromTicks(Math.Min(2 * pause.Ticks, Longest.Ticks));
            since = now;
            return true;
        }
    }

    // It rests first: what has just failed is not back yet. A proof that takes long does not hold up the stop.
    private async Task<TimeSpan> WatchAsync(CancellationToken ct)
    {
        await Task.Delay(pause, time, ct);
        if (!await isBack(ct).WaitAsync(ct))
            return TimeSpan.Zero;
        End();
        return Timeout.InfiniteTimeSpan;
    }

    private void End()
    {
        lock (counting)
        {
            ended = time.GetUtcNow();
            log.LogInformation("The storage can be used again, after {Seconds:0} s: {Count} requests were answered "
                + "503, the last for: {Cause}", (ended - since!.Value).TotalSeconds, count, last);
            (since, count) = (null, 0);
        }
    }
}
