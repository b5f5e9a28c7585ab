using Coffer.Access;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Checks;

/// <summary>That the store is the one that this node knows, and not an older one.</summary>
internal static class AnchorCheck
{
    public static Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var (anchor, instance) = (new Anchor(at.AnchorFile), at.Instance);
        if (!anchor.Check(instance))
        {
            found.Warn($"there is no {at.AnchorFile}: that the store is the right one is believed",
                "Copy it from another node, or have the next start write it.");
            return Task.CompletedTask;
        }

        anchor.RequireNotOlder(instance);
        found.Ok($"the store is the one that it names, at serial {instance.Facts?.Serial ?? 0}");
        return Task.CompletedTask;
    }
}

/// <summary>That tenants' keys and apps' settings open under the root key that they name.</summary>
internal static class RowsCheck
{
    private const int Page = 200, MostShown = 10;

    // Under no root key's version: all of them.
    private static readonly byte[] NoVersion = new byte[sizeof(uint)];

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var (engine, instance) = (at.Engine, at.Instance);
        var (count, damaged) = (0L, new HashSet<string>());
        await foreach (var rows in engine.TenantsNotUnderAsync(NoVersion, Page, ct))
        {
            ct.ThrowIfCancellationRequested();
            count += rows.Count;
            damaged.UnionWith(rows.Where(row => Tenants.Rewrap(instance, row, out _) is null)
                .Select(row => $"row {row.Id} of tenants"));
        }

        await foreach (var rows in engine.AppsNotUnderAsync(NoVersion, Page, ct))
        {
            count += rows.Count;
            damaged.UnionWith(rows.Where(row => App.Rewrap(instance, row) is null)
                .Select(row => $"{row.Shown} of apps"));
        }

        if (damaged.Count == 0)
            found.Ok($"{count} tenants and apps open under their root key");
        else
            found.Problem($"{damaged.Count} rows do not open under the root key that they name: "
                + string.Join(", ", damaged.Take(MostShown)) + (damaged.Count > MostShown ? ", …" : ""),
                "Find out who changed them, and restore them from a back-up: what is under them cannot be read.");
    }
}

/// <summary>That checkpoints of the audit log are written where they outlive the store.</summary>
internal static class CheckpointsCheck
{
    /// <summary>One is written each minute in which the log grew.</summary>
    private static readonly TimeSpan Late = TimeSpan.FromMinutes(5);

    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var (engine, file) = (at.Engine, at.CheckpointFile);
        var known = CheckpointTail.Read(file);
        if (known.Count == 0)
        {
            var first = await engine.ListAuditAsync(0, newestFirst: false, size: 0, ct) is [var (_, row)]
                ? Verification.TimeOf(row)
                : null;
            if (at.Time.GetUtcNow() - first > Late)
                found.Warn($"{file} has no checkpoint: a log that is cut, or an old store, is not noticed",
                    "Put it back, or see in the server's log why none is written.");
            else
                found.Ok("the log has just begun: the first checkpoint comes within a minute");
            return;
        }

        // On PostgreSQL other nodes write as well, and each has checkpoints of its own.
        var (node, (sequence, _), _) = known[^1].At;
        if (at is { Holder: not null, Options.Store: null } && engine.FindAudit(node, sequence + 1) is { } next
            && next.Last > sequence && at.Time.GetUtcNow() - Verification.TimeOf(next) > Late)
        {
            found.Warn($"the last checkpoint is of {UnixTime.Shown(known[^1].Time.ToUnixTimeSeconds())}, and the log "
                + "has grown since", "See in the server's log why none is written, and whether the disk is full.");
            return;
        }

        found.Ok($"the last checkpoint is of {UnixTime.Shown(known[^1].Time.ToUnixTimeSeconds())}");
    }
}

/// <summary>The whole audit log, proven as <c>coffer audit verify</c> proves it.</summary>
internal static class ChainCheck
{
    public static async Task LookAsync(Installation at, Findings found, CancellationToken ct)
    {
        var report = await AuditArchive.VerifyAsync(at.Engine, AuditKeys.Of(at.Instance).Proof, at.Checkpoints, ct);
        foreach (var problem in report.Problems)
        {
            found.Problem(problem,
                "If an old copy was put back, restore the newest one; else find out who changed the store. See "
                    + "docs/audit-log.md.");
        }

        if (found.AreOk)
            found.Ok($"{report.Entries} entries verify, {report.Checkpoints} checkpoints were compared with them");
    }
}
