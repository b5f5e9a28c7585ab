using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>
/// A client that knows what its one secret must be, and continues whatever happens behind its server. It accepts a 503
/// that says when to try again, and nothing else; a set that was refused so it sends again with the same idempotency
/// key.
/// </summary>
/// <param name="name">Which writer it is.</param>
/// <param name="server">Where it writes.</param>
/// <param name="open">A client of a server, with an account that is this writer's alone.</param>
internal sealed class SteadyWriter(string name, Uri server, Func<Uri, WireClient> open) : IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10), PauseOfRefused =
        TimeSpan.FromMilliseconds(50), Longest = TimeSpan.FromSeconds(30);

    private readonly WireClient client = open(server);
    private long answered;
    private int acknowledged, refused;
    private string last = "";

    public int Acknowledged => Volatile.Read(ref acknowledged);

    /// <summary>How many requests were answered 503.</summary>
    public int Refused => Volatile.Read(ref refused);

    /// <summary>Whether a set that was sent after a moment of <see cref="Stopwatch"/> is acknowledged.</summary>
    public bool IsAnsweredSince(long moment) => Volatile.Read(ref answered) > moment;

    public async Task RunAsync(CancellationToken stop)
    {
        for (var number = 1; !stop.IsCancellationRequested; number++)
        {
            await SetAsync($"{number}");
            if (await AskAsync(() => client.FindAsync("k")) is { } found)
                Assert.Equal(last, found.Payload);
            await Task.Delay(Pause, CancellationToken.None);
        }
    }

    /// <summary>Fails unless a server of the same store has what was acknowledged last, and nothing else.</summary>
    public async Task CheckAsync(Uri other)
    {
        using var reader = open(other);
        Assert.Equal([("k", last)], (await reader.PayloadsAsync()).Select(secret => (secret.Key, secret.Value)));
    }

    public void Dispose() => client.Dispose();

    private async Task SetAsync(string payload)
    {
        for (var waited = Stopwatch.StartNew(); ; await Task.Delay(PauseOfRefused, CancellationToken.None))
        {
            Assert.True(waited.Elapsed < Longest, $"{name} is refused for {waited.Elapsed}");
            var sent = Stopwatch.GetTimestamp();
            if (await AskAsync(() => client.SetAsync("k", payload, idempotencyKey: $"{name} {payload}")) is null)
                continue;
            last = payload;
            Interlocked.Increment(ref acknowledged);
            Volatile.Write(ref answered, sent);
            return;
        }
    }

    private async Task<Answer?> AskAsync(Func<Task<Answer>> ask)
    {
        var answer = await ask();
        if (answer.Status == 200)
            return answer;
        Assert.Equal("api_error", answer.Is(503).Body.GetProperty("error").GetProperty("type").GetString());
        Assert.Equal("true", Assert.Single(answer.Headers.GetValues("Stripe-Should-Retry")));
        Assert.InRange(answer.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        Interlocked.Increment(ref refused);
        return null;
    }
}
