using Coffer.Access;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The audit log as it is read, newest entry first.</summary>
internal sealed class AuditTrail(Engine engine, Scans scans, Gate gate)
{
    /// <summary>A page, for the management plane; and one more, not recorded, if there are more.</summary>
    /// <exception cref="ApiError">
    /// 403: not an admin key. 400: <paramref name="after"/> is no position. 429: too many read it at once.
    /// </exception>
    public async Task<IReadOnlyList<AuditSearch.Entry>> ListAsync(
        Caller caller, AuditFilter filter, string? after, int limit, CancellationToken ct)
    {
        gate.Require(caller, Acts.ListAudit);
        var search = new AuditSearch(engine, filter with { HeldTo = caller.Apps }, after, limit + 1);
        await scans.RunAsync(() => search.StepAsync(ct).AsTask().GetAwaiter().GetResult(), ct);
        var entries = search.Found;
        await gate.PassAsync(caller.Entry("list_audit", "ok") with { Count = Math.Min(entries.Count, limit) });
        await gate.ReportAsync([.. entries.Where(IsDamaged).Select(Damage)], caller.Origin.RequestId);
        return entries;

        static DamagedRow Damage(AuditSearch.Entry entry) => new("audit", entry.Id, "the form of an entry");

        static bool IsDamaged(AuditSearch.Entry entry)
        {
            using var json = entry.Json();
            return json is null;
        }
    }
}
