using Coffer.Access;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// Removes the rows of secrets that have expired, and idempotency records, kept replies, revocations and audit rows that are too old, in
/// small batches between other changes. Nothing depends on it but disk space: what is past its time is absent whether or not it came.
/// </summary>
internal sealed class Reaper(
    Engine engine, Committer committer, Retention? retention, TimeProvider time, ILogger<Reaper> log,
    ClockWatch? clock = null)
    : IDisposable
{
    /// <summary>How long it rests between sweeps.</summary>
    public static readonly TimeSpan Rest = TimeSpan.FromSeconds(10);

    /// <summary>How many rows it removes at a time: few enough that no request waits for it noticeably.</summary>
    private const int Batch = 200;

    /// <summary>The same of revocations, whose rows are small.</summary>
    private const int RevocationsAtOnce = 2_000;

    /// <summary>How long it leaves kept replies and revocations alone.</summary>
    private static readonly TimeSpan ManagementRest = TimeSpan.FromHours(1);

    private readonly CancellationTokenSource stop = new();
    private long pruned;
    private Task running = Task.CompletedTask;

    /// <summary>What else is swept, of minted keys; null is nothing.</summary>
    public Func<Committer, CancellationToken, Task>? SweepsMinted { get; init; }

    public void Start() => running = Task.Run(RunAsync);

    /// <summary>Removes all that is past its time now, unless the clock is not to be trusted with it.</summary>
    public async Task SweepAsync(CancellationToken ct)
    {
        // All of a sweep goes by the time that was looked at: should the clock step meanwhile, the next sweep finds
        // out.
        var moment = time.GetUtcNow();
        if (clock?.Look() is not null)
            return;
        var now = moment.ToUnixTimeSeconds();
        while (await engine.ListExpiredAsync(now, Batch, ct) is { Count: > 0 } expired)
            await Task.WhenAll(expired.Select(key => committer.CommitAsync(new Reaping(key, now))));

        var tooOld = now - (long)Idempotency.KeptFor.TotalSeconds;
        while (await engine.FindOldestIdempotencyAsync(ct) <= tooOld)
        {
            var row = new RowWrite.PruneIdempotency(tooOld, Batch);
            await committer.CommitAsync(new Change.Plain(row) { In = Lane.Background, Rows = Batch });
        }

        // Few, and no burden: an idle server need not write for them at each sweep.
        if (now - pruned >= (long)ManagementRest.TotalSeconds || now < pruned)
        {
            var replies = now - (long)Management.KeptFor.TotalSeconds;
            do
                await BackgroundAsync(new RowWrite.PruneReplies(replies, Batch), Batch);
            while (await engine.FindOldestReplyAsync(ct) <= replies);
            while (await engine.HasEndedRevocationsAsync(now, ct))
                await BackgroundAsync(new RowWrite.PruneRevocations(now, RevocationsAtOnce), RevocationsAtOnce);
            pruned = now;
        }

        if (SweepsMinted is not null)
            await SweepsMinted(committer, ct);
        if (retention is not null)
            await retention.SweepAsync(moment, ct);
    }

    public void Dispose()
    {
        stop.Cancel();
        running.Wait();
        stop.Dispose();
    }

    private Task BackgroundAsync(RowWrite row, int rows) =>
        committer.CommitAsync(new Change.Plain(row) { In = Lane.Background, Rows = rows });

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(Rest, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stop.Token))
            {
                try
                {
                    await SweepAsync(stop.Token);
                }
                catch (ApiError e)
                {
                    // The storage is away or busy: the next sweep takes what this one left.
                    log.LogWarning(e.InnerException, "A sweep of expired secrets was put off: {Message}", e.Message);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // stopped
        }
    }

    /// <summary>Removes one secret, unless it was set again since it was seen to be expired.</summary>
    private sealed class Reaping(SecretKey key, long now) : Change
    {
        public override Lane Lane => Lane.Background;

        public override SecretKey? SecretAt => key;

        private SecretRow? reaped;

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            reaped = found.Secret is { } row && !row.IsLiveAt(now) ? row : null;
            return reaped is null ? [] : [new RowWrite.DeleteSecret(key)];
        }

        // Whose it was would take a look-up: the entry of its set, under the same name, says it.
        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            reaped is null ? [] : [new AuditEntry("expire", "expired") { Name = key.Name, Version = reaped.Version }];
    }
}
