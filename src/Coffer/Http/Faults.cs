namespace Coffer.Http;

/// <summary>
/// What the log says of requests that failed by no fault of the client. Of a storage that went away it has one line,
/// and one when it is back with how many requests that cost, however many they are.
/// </summary>
/// <param name="isBack">Proves that what requests need can be used, and does not assume it.</param>
/// <param name="time">When it is asked.</param>
/// <param name="log">The log.</param>
internal sealed class Faults(Func<CancellationToken, Task<bool>> isBack, TimeProvider time, ILogger<Faults> log)
    : IDisposable
{
    /// <summary>
    /// How long it rests between proofs. Of trouble that is back again within a minute the proof has said too early
    /// that it is over: then it is asked more and more seldom.
    /// </summary>
    private static readonly TimeSpan First = TimeSpan.FromSeconds(1), Longest = TimeSpan.FromSeconds(30),
        Apart = TimeSpan.FromMinutes(1);

    private readonly CancellationTokenSource stop = new();
    private readonly Lock counting = new();
    private DateTimeOffset? since;
    private DateTimeOffset ended;
    private TimeSpan pause = First;
    private long count;
    private string last = "";

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
            _ = WatchAsync();
        }
    }

    public void Dispose()
    {
        stop.Cancel();
        stop.Dispose();
    }

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

    private async Task WatchAsync()
    {
        try
        {
            var ct = stop.Token;
            do
                await Task.Delay(pause, time, ct);
            while (!await isBack(ct));
            End();
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // It stops.
        }
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
