using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// How far this process has seen the counters of tenants' keys come: a lower one is of an old row that was put back. As
/// many are remembered as tenants are kept open.
/// </summary>
internal sealed class TenantMarks(Engine engine, int kept)
{
    private readonly RecentlyUsed<long, Mark> marks = new(kept);
    private readonly Lock marking = new();

    /// <summary>Whether a tenant is an older one than was seen; else it is what was seen last.</summary>
    public bool IsBehind(Tenant tenant)
    {
        lock (marking)
        {
            var failovers = engine.Failovers;
            var last = marks.Find(tenant.Number);
            // Another server may not have all that the one before had.
            if (last?.Failovers == failovers && last.Counter >= tenant.Counter)
                return last.Counter > tenant.Counter;
            marks.Keep(tenant.Number, new Mark(tenant.Counter, failovers), marks.Removals);
            return false;
        }
    }

    private sealed record Mark(long Counter, long Failovers);
}
