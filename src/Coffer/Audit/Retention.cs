using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Removes audit rows that are older than they are kept, whole commits at a time, and says in the same transaction where
/// the log begins from now on. The removal is on record itself.
/// </summary>
internal sealed class Retention(Engine engine, Committer committer, MacKey key, byte[] instance, TimeSpan keep, TimeProvider time)
{
    private const int Batch = 200;

    public async Task SweepAsync(CancellationToken ct)
    {
        var cutoff = (time.GetUtcNow() - keep).ToUnixTimeSeconds();
        while (true)
        {
            // Rows are in the order of time: the first that is young enough ends it.
            var rows = await engine.ListAuditAsync(0, newestFirst: false, Batch, ct);
            var old = rows.TakeWhile(row => row.Row.Time < cutoff).ToList();
            if (old.Count == 0)
                return;

            var cuts = old.GroupBy(row => row.Row.Node).Select(node => node.Last().Row)
                .Select(last => AuditCut.Write(key, instance, last.Node, new ChainPosition(last.Last, last.Mac)));
            await committer.CommitAsync(new Change.Plain([.. cuts, new RowWrite.PruneAudit(old[^1].Number)])
            {
                Notes = [new AuditEntry("prune_audit", "ok") { Count = old.Sum(row => row.Row.Last - row.Row.First + 1) }],
            });
            if (old.Count < rows.Count)
                return;
        }
    }
}
