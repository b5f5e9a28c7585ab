namespace Coffer.Storage;

/// <summary>
/// The one loop of a node that changes the store. It takes all changes that wait, writes them in one transaction and
/// completes them after the durable commit, so that the cost of a sync is shared and load makes a change cheaper.
/// </summary>
internal sealed class Committer : IDisposable
{
    private const int LargestBatch = 256;

    /// <summary>The least batch that tells of load: after it, the loop waits a moment for as many to come again.</summary>
    private const int Load = 4;

    /// <summary>The longest such moment. A sync costs the machine more than the wait, and shared by more it costs each less.</summary>
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(1);

    private readonly Engine engine;
    private readonly int capacity;
    private readonly Chain chain;
    private readonly Queue<Change> waiting = new();
    private readonly Thread loop;
    private bool stopping;
    private int expected;

    /// <param name="engine">Where changes are written.</param>
    /// <param name="capacity">How many changes may wait; one more is refused with 503.</param>
    /// <param name="chain">The audit's part: it runs in the loop, where the order is decided.</param>
    public Committer(Engine engine, int capacity, Chain chain)
    {
        (this.engine, this.capacity, this.chain) = (engine, capacity, chain);
        loop = new Thread(Run) { Name = "committer", IsBackground = true };
        loop.Start();
    }

    /// <summary>What the audit does in the loop, handed in because this room knows no cryptography.</summary>
    /// <param name="Append">Makes the row that puts notes on record.</param>
    /// <param name="Recover">Finds out how far the record has come. Called after a failed transaction, of which it is uncertain whether it was stored.</param>
    /// <param name="HasMoved">Whether this process has become another node, whose record is to be found first; null is never.</param>
    public sealed record Chain(Func<IReadOnlyList<Note>, AuditStep?> Append, Action Recover, Func<bool>? HasMoved = null);

    /// <summary>Returns when the change is durable. It cannot be cancelled: once handed in, it may be stored.</summary>
    /// <exception cref="ApiError">503 when too many wait or the storage cannot be used; or the change's own refusal.</exception>
    public Task CommitAsync(Change change)
    {
        lock (waiting)
        {
            if (stopping)
                throw ApiError.Stopping();
            if (waiting.Count >= capacity)
                throw ApiError.Overloaded();
            waiting.Enqueue(change);
            if (waiting.Count == 1 || waiting.Count == expected)
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
        var isUncertain = false;
        while (Take(batch))
        {
            try
            {
                if (isUncertain || chain.HasMoved?.Invoke() == true)
                    chain.Recover();
                isUncertain = false;
                AuditStep? step = null;
                engine.Write(batch, notes => (step = chain.Append(notes))?.Row);
                step?.Durable();
                foreach (var change in batch)
                    change.Complete();
            }
            catch (Exception failure)
            {
                // The transaction is rolled back: every change learns that nothing of it was stored. Should the failure have come
                // after the commit, a repetition with the same idempotency key finds the outcome.
                isUncertain = true;
                foreach (var change in batch)
                    change.Fail(failure);
            }
        }
    }

    private bool Take(List<Change> batch)
    {
        batch.Clear();
        lock (waiting)
        {
            while (waiting.Count == 0 && !stopping)
                Monitor.Wait(waiting);
            if (expected >= Load && waiting.Count < expected && !stopping)
                Monitor.Wait(waiting, Linger);
            while (batch.Count < LargestBatch && waiting.TryDequeue(out var change))
                batch.Add(change);
            expected = batch.Count;
        }

        return batch.Count > 0;
    }
}
