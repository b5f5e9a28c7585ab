using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Brings a log of before to one that can be proven without the root key: what the node has written is verified with
/// it once, and the entry by which its public chain begins says what came of that.
/// </summary>
internal sealed class Bridge(Engine engine, AuditKeys keys, ILogger<Bridge> log)
{
    /// <summary>What bridges a node's log, to be committed; null if it has been, or there is none yet.</summary>
    /// <param name="at">Where the log has come.</param>
    /// <param name="ct">Ends the wait.</param>
    public async Task<(RowWrite[] Rows, AuditEntry Entry)?> FindAsync(ChainPlace at, CancellationToken ct)
    {
        var node = at.Node;
        if (keys.Generation() is not { } generation || at.Position is not { Sequence: > 0, Public: null })
            return null;
        log.LogInformation("The audit log of {Node} is verified once: from now on it is provable without the root key",
            node);
        var problem = await VerifyAsync(node, ct);
        if (problem is not null)
            log.LogError("The audit log of {Node} does not verify: {Problem}", node, problem);
        var entry = new AuditEntry(Segments.Verb, problem is null ? "ok" : "damaged")
        {
            Begins = generation,
            Reason = problem,
        };
        return (await SignAsync(ct), entry);
    }

    private async Task<string?> VerifyAsync(string node, CancellationToken ct)
    {
        var verification = new Verification(keys.Proof);
        foreach (var (name, value) in await LogRows.AboutAsync(engine, ct))
            verification.AddMeta(name, value);
        await foreach (var row in LogRows.ReadAsync(engine, ct))
            verification.Add(row);
        verification.Finish();
        return verification.ProblemOf(node);
    }

    // Cuts and lists of accepted roll-backs that a release before has written, of whichever node.
    private async Task<RowWrite[]> SignAsync(CancellationToken ct)
    {
        var rows = new List<RowWrite>();
        foreach (var (name, value) in await engine.ListMetaAsync(AuditCut.MetaPrefix, ct))
        {
            var node = name[AuditCut.MetaPrefix.Length..];
            if (!AuditCut.IsSigned(value) && AuditCut.Read(keys.Proof, node, value) is { } cut)
                rows.Add(AuditCut.Write(keys, node, cut));
        }

        foreach (var (name, value) in await engine.ListMetaAsync(Rollbacks.MetaPrefix, ct))
        {
            var node = name[Rollbacks.MetaPrefix.Length..];
            if (!Rollbacks.IsSigned(value) && Rollbacks.Read(keys.Proof, node, value) is { } accepted)
                rows.Add(Rollbacks.Write(keys, node, accepted));
        }

        return [.. rows];
    }
}
