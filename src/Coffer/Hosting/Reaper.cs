
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Removes the rows of secrets that have expired, and idempotency records, kept replies, revocations and audit rows
/// that are too old, in small batches between other changes. Nothing depends on it but disk space: what is past its
/// time is absent whether or not it came.
/// </summary>
internal sealed class Reaper : IDisposable
{
    /// <summary>How long it rests between sweeps.</summary>
    public static readonly TimeSpan Rest = TimeSpan.FromSeconds(10);

    /// <summary>How many rows it removes at a time: few enough that no request waits for it noticeably.</summary>
    private const int Batch = 200;

    /// <summary>The same of revocations, whose rows are small.</summary>
    private const int RevocationsAtOnce = 2_000;

    /// <summary>How often it does so in a sweep: the next one takes what is left.</summary>
    private const int MostRounds = 1_000;

    /// <summary>How many batches of records of one second there may be.</summary>
    private const int MostOfASecond = 500;

    /// <summary>How long it leaves kept replies and revocations alone.</summary>
    private static readonly TimeSpan ManagementRest = TimeSpan.FromHours(1);

    private readonly Engine engine;
    private readonly Committer committer;
    private readonly Retention? retention;
    private readonly TimeProvider time;
    private readonly ClockWatch? clock;
    private long pruned;

    public Reaper(Engine engine, Committer committer, Retention? retention, TimeProvider time, ILogger<Reaper> log,
        ClockWatch? clock = null)
    {
        (this.engine, this.committer, this.retention) = (engine, committer, retention);
        (this.time, this.clock) = (time, clock);
        Loop = new Loop("reaper", RoundAsync, time, log);
    }

    public Loop Loop { get; }

    /// <summary>What else is done at each sweep, for keys; null is nothing.</summary>
    public Func<CancellationToken, Task>? SweepsMore { get; init; }

    /// <summary>What else is removed at a Unix second, as seldom as kept replies; null is nothing.</summary>
    public Func<long, CancellationToken, Task>? SweepsKeys { get; init; }

    /// <summary>What opens tenants whose apps keep events; null keeps none.</summary>
    public Tenants? Tenants { get; init; }

    /// <summary>Whether the store was restored, and nothing is removed from it yet.</summary>
    public Func<bool> IsHeld { get; init; } = static () => false;

    public void Start() => Loop.Start(Rest);

    /// <summary>Removes all that is past its time now, unless the clock is not to be trusted with it.</summary>
    public async Task SweepAsync(CancellationToken ct)
    {
        // All of a sweep goes by the time that was looked at: should the clock step meanwhile, the next sweep finds
        // out.
        var moment = time.GetUtcNow();
        if (clock?.Look() is not null || IsHeld())
            return;
        moment = clock?.ByBoth(moment) ?? moment;
        var now = moment.ToUnixTimeSeconds();
        for (var rounds = 0; rounds < MostRounds; rounds++)
        {
            var expired = await engine.ListExpiredAsync(now, Batch, ct);
            var owners = await OwnersAsync(expired, ct);
            var watched = await WatchedAsync(owners, ct);
            List<Reaping> reapings =
            [
                .. expired.Select(key => new Reaping(key, owners.GetValueOrDefault(key.Tenant), now)
                {
                    EventsOf = watched.GetValueOrDefault(key.Tenant),
                    Instance = Tenants?.Instance,
                }),
            ];
            await Task.WhenAll(reapings.Select(committer.CommitAsync));
            // Another node may have been quicker, or all were set again: otherwise the storage lists what it does not
            // hold.
            if (!reapings.Exists(reaping => reaping.HasReaped))
                break;
        }

        var tooOld = now - (long)Idempotency.KeptFor.TotalSeconds;
        var records = new Progress();
        while (records.Goes(await engine.FindOldestIdempotencyAsync(ct), tooOld))
            await BackgroundAsync(new RowWrite.PruneIdempotency(tooOld, Batch), Batch);

        var oldEvents = now - (long)Event.KeptFor.TotalSeconds;
        var events = new Progress();
        while (events.Goes(await engine.FindOldestEventAsync(ct), oldEvents))
            await BackgroundAsync(new RowWrite.PruneEvents(oldEvents, Batch), Batch);
        // Few, and no burden: an idle server need not write for them at each sweep.
        if (now - pruned >= (long)ManagementRest.TotalSeconds || now < pruned)
        {
            var replies = now - (long)ManagementWriter.KeptFor.TotalSeconds;
            var progress = new Progress();
            do
                await BackgroundAsync(new RowWrite.PruneReplies(replies, Batch), Batch);
            while (progress.Goes(await engine.FindOldestReplyAsync(ct), replies));
            await SweepRevocationsAsync(now, ct);
            if (SweepsKeys is not null)
                await SweepsKeys(now, ct);
            pruned = now;
        }

        if (SweepsMore is not null)
            await SweepsMore(ct);
        if (retention is not null)
            await retention.SweepAsync(moment, ct);
    }

    public void Dispose() => Loop.Dispose();

    // Whose each was, for its entry; nobody's if the tenant is gone meanwhile.
    private async Task<Dictionary<long, TenantId>> OwnersAsync(IReadOnlyList<SecretKey> keys, CancellationToken ct)
    {
        var owners = new Dictionary<long, TenantId>();
        foreach (var number in keys.Select(key => key.Tenant).Distinct())
        {
            if (await engine.ListAsync(TenantRow.AllFrom, ct, number, 1) is [{ Row.IsSound: true } owner]
                && owner.Id == number)
                owners[number] = owner.Tenant;
        }

        return owners;
    }

    // Those of these tenants whose apps keep events, opened.
    private async Task<Dictionary<long, Tenant>> WatchedAsync(Dictionary<long, TenantId> owners, CancellationToken ct)
    {
        var watched = new Dictionary<long, Tenant>();
        if (Tenants is null || Tenants.Instance.Level < Control.Events)
            return watched;
        foreach (var app in owners.GroupBy(static owner => owner.Value.App, StringComparer.Ordinal))
        {
            if (!await App.HasEventsAsync(engine, Tenants.Instance, app.Key, ct))
                continue;
            foreach (var (number, id) in app)
            {
                if (await Tenants.RereadOrNullAsync(id, ct) is { } tenant && tenant.Number == number)
                    watched.Add(number, tenant);
            }
        }

        return watched;
    }

    private async Task SweepRevocationsAsync(long now, CancellationToken ct)
    {
        for (var rounds = 0; rounds < MostRounds; rounds++)
        {
            var ended = await engine.ListEndedRevocationsAsync(now, RevocationsAtOnce, ct);
            if (ended.Count == 0)
                return;
            await BackgroundAsync(new RowWrite.DeleteRevocations(ended, now), ended.Count);
        }
    }

    private Task BackgroundAsync(RowWrite row, int rows) =>
        committer.CommitAsync(new Change.Plain(row) { In = Lane.Background, Rows = rows });

    // What a sweep has left, the next one takes.
    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        await SweepAsync(ct);
        return Rest;
    }

    /// <summary>
    /// Whether a removal of the oldest gets on: there may be many of one second, but not without an end.
    /// </summary>
    private sealed class Progress
    {
        private long last = long.MinValue;
        private int same;

        /// <summary>Whether there is more to remove.</summary>
        /// <exception cref="ApiError">503: what was removed is there.</exception>
        public bool Goes(long? oldest, long tooOld)
        {
            if (oldest is not { } second || second > tooOld)
                return false;
            same = second > last ? 0 : same + 1;
            last = second;
            return same < MostOfASecond ? true : throw ApiError.Contradictory("records that were removed are there");
        }
    }

    /// <summary>Removes one secret, unless it was set again since it was seen to be expired.</summary>
    private sealed class Reaping(SecretKey key, TenantId? owner, long now) : Change
    {
        public override Lane Lane => Lane.Background;

        public override SecretKey? SecretAt => key;

        /// <summary>The tenant, if its app keeps events.</summary>
        public Tenant? EventsOf { get; init; }

        public Instance? Instance { get; init; }

        private SecretRow? reaped;

        public bool HasReaped => reaped is not null;

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            reaped = found.Secret is { } row && !row.IsLiveAt(now) ? row : null;
            if (reaped is null)
                return [];
            if (EventsOf is null)
                return [new RowWrite.DeleteSecret(key)];
            if (found.Counter != EventsOf.Counter)
            {
                reaped = null; // its keys are others by now: the next round opens them
                return [];
            }

            var told = Event.OfStored(Instance!, EventsOf, EventKinds.SecretExpired, reaped, UnixTime.Date(now));
            return [new RowWrite.DeleteSecret(key), .. told is null ? Array.Empty<RowWrite>() : [told]];
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => reaped is null ? [] :
        [
            new AuditEntry("expire", "expired")
            {
                Tenant = owner,
                Name = key.Name,
                Version = reaped.Version,
            },
        ];
    }
}
