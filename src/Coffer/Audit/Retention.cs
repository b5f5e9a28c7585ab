using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Removes audit rows that are older than they are kept, whole commits at a time, and says in the same transaction
/// where the log begins from now on. The removal is recorded itself. Only what verifies is removed, by the time that
/// its entries say: nobody can have a row removed early, or an edited one removed at all.
/// </summary>
/// <param name="engine">Where the log is.</param>
/// <param name="committer">Removes.</param>
/// <param name="keys">Prove and sign.</param>
/// <param name="keep">How long entries are kept, asked at each sweep; null keeps them all.</param>
/// <param name="time">The clock.</param>
/// <param name="log">Receives what ends a sweep.</param>
internal sealed class Retention(
    Engine engine, Committer committer, AuditKeys keys, Func<TimeSpan?> keep, TimeProvider time, ILogger<Retention> log)
{
    /// <summary>About the most bytes that are removed at once: requests wait meanwhile.</summary>
    private const int LargestSize = 1024 * 1024;

    public Task SweepAsync(CancellationToken ct) => SweepAsync(time.GetUtcNow(), ct);

    /// <summary>Removes what is too old at a moment.</summary>
    public async Task SweepAsync(DateTimeOffset now, CancellationToken ct)
    {
        if (keep() is not { } kept)
            return;
        var last = 0L;
        while (true)
        {
            var rows = await engine.ListAuditAsync(0, newestFirst: false, LargestSize, ct);
            var old = await OldestAsync([.. rows.Select(row => row.Row)], now - kept, ct);
            if (old.Count == 0)
                return;
            // Removed by this node or another, the oldest row is a later one each time.
            if (rows[0].Number <= last)
                throw ApiError.Contradictory("an audit row that was removed is there");
            last = rows[0].Number;

            List<AuditRow> ends = [.. old.GroupBy(row => row.Node).Select(node => node.Last())];
            var (count, size) = (old.Sum(row => row.Last - row.First + 1), old.Sum(row => row.Entries.Length));
            await committer.CommitAsync(new Pruning(rows[0].Number,
                () => [.. ends.Select(end => AuditCut.Write(keys, end.Node, ChainPosition.Of(end))),
                    new RowWrite.PruneAudit(rows[old.Count - 1].Number)],
                new AuditEntry("prune_audit", "ok") { Count = count }, size));
            if (old.Count < rows.Count)
                return;
        }
    }

    // Rows are in the order of time: the first that is young enough, or that does not verify, ends it.
    private async Task<List<AuditRow>> OldestAsync(IReadOnlyList<AuditRow> rows, DateTimeOffset cutoff,
        CancellationToken ct)
    {
        var verification = new Verification(keys.Proof);
        foreach (var (name, value) in await engine.ListMetaAsync(AuditCut.MetaPrefix, ct))
            verification.AddMeta(name, value);
        if (await engine.FindMetaAsync(LogHeads.MetaKey, ct) is { } heads)
            verification.AddMeta(LogHeads.MetaKey, heads);

        var old = new List<AuditRow>();
        foreach (var row in rows)
        {
            if (!(Verification.TimeOf(row) < cutoff))
                break;
            verification.Add(row);
            if (verification.Problems.Count > 0)
            {
                log.LogError("Nothing more is removed from the audit log: {Problem}", verification.Problems[0]);
                break;
            }

            old.Add(row);
        }

        return old;
    }

    /// <summary>
    /// Removes what was read, unless another node has removed some of it since: where the log begins must not move
    /// back. The cuts are made when it is decided, by the pepper that proves then.
    /// </summary>
    private sealed class Pruning(long oldest, Func<RowWrite[]> make, AuditEntry entry, int size) : Change
    {
        private bool isDone;

        public override Lane Lane => Lane.Background;

        public override int Size => size;

        public override ManagementKey ManagementAt { get; } = new() { AsksOldestAudit = true };

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            isDone = found.Management!.OldestAudit != oldest;
            return isDone ? [] : make();
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => isDone ? [] : [entry];
    }
}
