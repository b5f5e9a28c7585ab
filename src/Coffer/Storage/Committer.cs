namespace Coffer.Storage;

/// <summary>
/// The one loop of a node that changes the store. It takes all changes that wait, writes them in one transaction and
/// completes them after the durable commit, so that the cost of a sync is shared and load makes a change cheaper.
/// </summary>
internal sealed class Committer : IDisposable
{
    private const int LargestBatch = 256;

    private readonly Engine engine;
    private readonly int capacity;
    private readonly Queue<Change> waiting = new();
    private readonly Thread loop;
    private bool stopping;

    /// <param name="engine">Where changes are written.</param>
    /// <param name="capacity">How many changes may wait; one more is refused with 503.</param>
    public Committer(Engine engine, int capacity)
    {
        this.engine = engine;
        this.capacity = capacity;
        loop = new Thread(Run) { Name = "committer", IsBackground = true };
        loop.Start();
    }

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
            if (waiting.Count == 1)
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
        while (Take(batch))
        {
            try
            {
                engine.Write(batch);
                foreach (var change in batch)
                    change.Complete();
            }
            catch (Exception failure)
            {
                // The transaction is rolled back: every change learns that nothing of it was stored.
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
            while (batch.Count < LargestBatch && waiting.TryDequeue(out var change))
                batch.Add(change);
        }

        return batch.Count > 0;
    }
}
