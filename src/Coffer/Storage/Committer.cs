using System.Diagnostics;
using Coffer.Telemetry;

namespace Coffer.Storage;

/// <summary>
/// The one loop of a node that changes the store. It takes changes that wait, by turns of their apps, writes them in
/// one transaction and completes them after the durable commit, so that the cost of a sync is shared and load makes a
/// change cheaper. What is urgent is the next batch, alone; what nobody waits for goes in short batches between others.
/// </summary>
internal sealed class Committer : IDisposable
{
    /// <summary>The most changes of a batch, and the most bytes, unless a single change is larger.</summary>
    public const int LargestBatch = 256, LargestSize = 1024 * 1024;

    /// <summary>How many urgent changes may wait, and how many of one app.</summary>
    public const int UrgentCapacity = 256, UrgentPerApp = 64;

    /// <summary>
    /// The least batch that tells of load: after it, the loop waits a moment for as many to come again.
    /// </summary>
    private const int Load = 4;

    private const int BackgroundCapacity = 1_024, SmallestBackground = 4 * 1024;

    /// <summary>
    /// How often a batch that meets a lock is written again before its changes fail: six seconds in all, or one.
    /// </summary>
    private const int MostTries = 12, MostUrgentTries = 2;

    /// <summary>
    /// The longest wait under load. A sync costs the machine more than it, and shared by more it costs each less.
    /// </summary>
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(1);

    /// <summary>How long a batch of the background is to take: requests that come meanwhile wait for it.</summary>
    private static readonly TimeSpan BackgroundShare = TimeSpan.FromMilliseconds(50);

    /// <summary>
    /// How long requests go first. Else a store that is always in use would never be rid of what has expired.
    /// </summary>
    private static readonly TimeSpan BackgroundPatience = TimeSpan.FromMilliseconds(500);

    private readonly Engine engine;
    private readonly Chain chain;
    private readonly Turns ordinary;
    private readonly Turns urgent = new(new Turns.Bounds(UrgentCapacity, UrgentPerApp, OwnFirst: true));
    private readonly Turns background = new(new Turns.Bounds(BackgroundCapacity));
    private readonly object waiting = new();
    private readonly Thread loop;
    private readonly Dictionary<Lane, int> apart = [];
    private bool stopping;
    private bool isUncertain;
    private bool lastWasUrgent;
    private int expected;
    private long backgroundSize = LargestSize / 4;
    private long backgroundWaits;

    /// <param name="engine">Where changes are written.</param>
    /// <param name="capacity">How many ordinary changes may wait; one more is refused with 503.</param>
    /// <param name="chain">The audit's part: it runs in the loop, where the order is decided.</param>
    public Committer(Engine engine, int capacity, Chain chain)
        : this(engine, new Turns.Bounds(capacity), chain)
    {
    }

    /// <param name="engine">Where changes are written.</param>
    /// <param name="bounds">How many ordinary changes may wait, and how many of one app or ephemeral key.</param>
    /// <param name="chain">The audit's part: it runs in the loop, where the order is decided.</param>
    public Committer(Engine engine, Turns.Bounds bounds, Chain chain)
    {
        (this.engine, ordinary, this.chain) = (engine, new Turns(bounds), chain);
        loop = new Thread(Run) { Name = "committer", IsBackground = true };
        loop.Start();
    }

    /// <summary>What the audit does in the loop, handed in because this room knows no cryptography.</summary>
    /// <param name="Append">Makes the row that records notes.</param>
    /// <param name="Recover">
    /// Finds out how far the record has come. Called after a failed transaction, of which it is uncertain whether it
    /// was stored.
    /// </param>
    /// <param name="HasMoved">
    /// Whether this process has become another node, whose record is to be found first; null is never.
    /// </param>
    public sealed record Chain(
        Func<IReadOnlyList<Note>, AuditStep?> Append, Action Recover, Func<bool>? HasMoved = null);

    private int Waiting => ordinary.Count + urgent.Count + background.Count;

    /// <summary>How many changes wait in each lane.</summary>
    public IReadOnlyList<(Lane Lane, int Count)> Depths
    {
        get
        {
            lock (waiting)
                return [.. Enum.GetValues<Lane>().Select(lane => (lane, TurnsOf(lane).Count))];
        }
    }

    /// <summary>Returns when the change is durable. It cannot be cancelled: once handed in, it may be stored.</summary>
    /// <exception cref="ApiError">
    /// 503 when too many wait or the storage cannot be used; 429 when too many of the same app or ephemeral key wait;
    /// or the change's own refusal.
    /// </exception>
    public Task CommitAsync(Change change)
    {
        change.Arrival = (Stopwatch.GetTimestamp(), Traces.Here);
        lock (waiting)
        {
            if (stopping)
                throw ApiError.Stopping();
            var turns = TurnsOf(change.Lane);
            if (turns.Add(change) is { } refusal)
                throw refusal;
            if (turns == background && turns.Count == 1)
                backgroundWaits = Stopwatch.GetTimestamp();
            if (Waiting == 1 || turns == urgent || ordinary.Count == expected)
                Monitor.Pulse(waiting);
        }

        return change.Committed;
    }

    /// <summary>Takes no more changes and returns when those that wait are stored.</summary>
    public void Dispose()
    {
        lock (waiting)
        {
            stopping = true;
            Monitor.Pulse(waiting);
        }

        loop.Join();
    }

    private void Run()
    {
        var batch = new List<Change>(LargestBatch);
        while (Take(batch) is { } lane)
        {
            var meter = new CommitMeter(lane, batch);
            try
            {
                Write(batch);
                var took = meter.Ended(CommitMeter.Stored);
                if (lane == Lane.Background)
                    Measure(took);
            }
            catch (Engine.LockedException locked)
            {
                meter.Ended(CommitMeter.Locked);
                isUncertain = true;
                TryLater(lane, batch, locked);
            }
            catch (Exception failure)
            {
                meter.Ended(CommitMeter.Failed);
                // The transaction is rolled back: every change learns that nothing of it was stored. Should the failure
                // have come after the commit, a repetition with the same idempotency key finds the outcome.
                isUncertain = true;
                foreach (var change in batch)
                    change.Fail(failure);
            }
        }
    }

    private void Write(List<Change> batch)
    {
        if (isUncertain || chain.HasMoved?.Invoke() == true)
            chain.Recover();
        isUncertain = false;
        AuditStep? step = null;
        engine.Write(batch, notes => (step = chain.Append(notes))?.Row);
        step?.Durable();
        foreach (var change in batch)
        {
            change.Durable();
            change.Complete();
        }
    }

    private Lane? Take(List<Change> batch)
    {
        batch.Clear();
        lock (waiting)
        {
            while (Waiting == 0 && !stopping)
                Monitor.Wait(waiting);
            if (Waiting == 0)
                return null;
            if (urgent.Count == 0 && expected >= Load && ordinary.Count < expected && !stopping)
                Monitor.Wait(waiting, Linger);

            var lane = Next();
            var isApart = apart.TryGetValue(lane, out var rest) && rest > 0;
            if (isApart)
                apart[lane] = rest - 1;
            if (lane == Lane.Ordinary)
                ordinary.Take(batch, LargestBatch, LargestSize, ofOneLine: isApart);
            else
            {
                var size = lane == Lane.Background ? backgroundSize : LargestSize;
                TurnsOf(lane).Take(batch, isApart ? 1 : LargestBatch, size);
            }

            if (lane != Lane.Urgent)
                expected = lane == Lane.Ordinary ? batch.Count : 0;
            if (lane == Lane.Background)
                backgroundWaits = Stopwatch.GetTimestamp();
            lastWasUrgent = lane == Lane.Urgent;
            return lane;
        }
    }

    // Owners' acts are always next. Those of apps are next but for one batch of others after each, so that an app that
    // never stops revoking stops nobody.
    private Lane Next()
    {
        var others = ordinary.Count + background.Count;
        if (urgent.HasOwn || (urgent.Count > 0 && (!lastWasUrgent || others == 0)))
            return Lane.Urgent;
        var isDue = background.Count > 0 && Stopwatch.GetElapsedTime(backgroundWaits) >= BackgroundPatience;
        return ordinary.Count == 0 || isDue ? Lane.Background : Lane.Ordinary;
    }

    // The changes of a batch that meets a lock are tried again apart from each other, app by app, after what is urgent:
    // only those wait for the lock that need it.
    private void TryLater(Lane lane, List<Change> batch, Engine.LockedException locked)
    {
        // The steps of a rotation change the control row several times within a second.
        var most = lane == Lane.Urgent && !locked.IsOfControl ? MostUrgentTries : MostTries;
        foreach (var change in batch)
        {
            if (++change.Tries >= most)
                change.Fail(ApiError.StorageUnavailable(locked.InnerException!));
        }

        lock (waiting)
        {
            TurnsOf(lane).PutBack([.. batch.Where(change => change.Tries < most)]);
            apart[lane] = lane == Lane.Ordinary ? ordinary.Lines : batch.Count;
        }
    }

    private void Measure(TimeSpan took)
    {
        if (took > BackgroundShare)
            backgroundSize = Math.Max(backgroundSize / 2, SmallestBackground);
        else if (took < BackgroundShare / 4)
            backgroundSize = Math.Min(backgroundSize * 2, LargestSize);
    }

    private Turns TurnsOf(Lane lane) => lane switch
    {
        Lane.Urgent => urgent,
        Lane.Background => background,
        _ => ordinary,
    };
}
