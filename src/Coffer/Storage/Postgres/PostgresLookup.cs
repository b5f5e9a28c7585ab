using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// Rows that many ask for at once, one each, read together: who comes while a statement is under way waits for the
/// next, which reads for all who wait. Alone, a row is read at once; load makes it cheaper. Where statements are slow,
/// as when the disk is read or the database is far, more of them are under way at a time. What is read is never older
/// than the question.
/// </summary>
/// <param name="read">One statement: the row of each key, or null, in the order of the keys.</param>
/// <param name="mostStatements">How many may be under way at a time.</param>
/// <param name="time">Where it looks up whether statements are slow.</param>
internal sealed class PostgresLookup<TKey, TRow>(
    Func<IReadOnlyList<TKey>, ValueTask<IReadOnlyList<TRow?>>> read, int mostStatements, TimeProvider time)
    where TRow : class
{
    private const int LargestBatch = 128;

    /// <summary>
    /// The least batch that tells of load: after it, those go first who are about to ask, so that they share the next
    /// statement.
    /// </summary>
    private const int Load = 4;

    /// <summary>
    /// What a statement may take before it counts as slow, and what of it each of its rows accounts for.
    /// </summary>
    private static readonly TimeSpan Quick = TimeSpan.FromMilliseconds(2), QuickRow = TimeSpan.FromMicroseconds(100);

    private readonly Queue<Question> waiting = new();
    private int allowed = 1;
    private int running;
    private int lastRead;

    /// <exception cref="ApiError">503: the database cannot be used.</exception>
    public Task<TRow?> FindAsync(TKey key)
    {
        var question = new Question(key);
        lock (waiting)
        {
            waiting.Enqueue(question);
            if (running >= allowed)
                return question.Task;
            running++;
        }

        _ = RunAsync();
        return question.Task;
    }

    private async Task RunAsync()
    {
        for (var (took, answered) = (TimeSpan.Zero, 0); ;)
        {
            for (var turns = Volatile.Read(ref lastRead) < Load ? 0 : 2; turns > 0; turns--)
                await Task.Yield();
            if (Take(took, answered) is not { Count: > 0 } batch)
                return;
            var began = time.GetTimestamp();
            await AnswerAsync(batch);
            (took, answered) = (time.GetElapsedTime(began), batch.Count);
        }
    }

    private async Task AnswerAsync(IReadOnlyList<Question> batch)
    {
        try
        {
            var rows = await read([.. batch.Select(question => question.Key)]);
            for (var i = 0; i < batch.Count; i++)
                batch[i].TrySetResult(rows[i]);
        }
        catch (ApiError e) when (batch.Count > 1 && e.InnerException is PostgresException)
        {
            // What the server cannot read, a damaged page, say, is the trouble of those alone who ask for it.
            foreach (var question in batch)
                await AnswerAsync([question]);
        }
        catch (Exception e)
        {
            foreach (var question in batch)
                question.TrySetException(e);
        }
    }

    // What the next statement reads: a share of what waits, if others may run beside it.
    private List<Question> Take(TimeSpan took, int answered)
    {
        var batch = new List<Question>();
        bool startsAnother;
        lock (waiting)
        {
            if (answered > 0)
            {
                var isSlow = took > Quick && took > answered * QuickRow;
                allowed = isSlow ? Math.Min(allowed * 2, mostStatements) : Math.Max(allowed - 1, 1);
            }

            if (running <= allowed)
            {
                var share = Math.Min(LargestBatch, (waiting.Count + allowed - running) / (allowed - running + 1));
                while (batch.Count < share && waiting.TryDequeue(out var question))
                    batch.Add(question);
            }

            if (batch.Count == 0)
            {
                running--;
                return batch;
            }

            lastRead = batch.Count;
            startsAnother = waiting.Count > 0 && running < allowed;
            if (startsAnother)
                running++;
        }

        if (startsAnother)
            _ = RunAsync();
        return batch;
    }

    private sealed class Question(TKey key)
        : TaskCompletionSource<TRow?>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public TKey Key => key;
    }
}
