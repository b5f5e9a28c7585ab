using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// How far this process has seen the counters of tenants' keys come: a lower one is of an old row that was put back,
/// under whatever number. So is one of an account's life before it was forgotten. As many are remembered as tenants are
/// kept open.
/// </summary>
internal sealed class TenantMarks(Engine engine, int kept)
{
    /// <summary>How many lives before the last one are remembered of an account.</summary>
    private const int MostEnded = 8;

    private readonly RecentlyUsed<TenantId, Mark> marks = new(kept);
    private readonly Lock marking = new();

    /// <summary>Whether a tenant is an older one than was seen; else it is what was seen last.</summary>
    public bool IsBehind(Tenant tenant)
    {
        var life = tenant.Keys.Life();
        lock (marking)
        {
            var failovers = engine.Failovers;
            var last = marks.Find(tenant.Id);
            // Another server may not have all that the one before had.
            if (last?.Failovers != failovers)
                last = null;
            if (last?.Ended.Contains(life) == true)
                return true;
            if (last?.Life == life && last.Counter >= tenant.Counter)
                return last.Counter > tenant.Counter;
            Guid[] ended = last is null ? [] : last.Ended;
            if (last is not null && last.Life != life)
                ended = [.. ended.TakeLast(MostEnded - 1), last.Life];
            marks.Keep(tenant.Id, new Mark(life, tenant.Counter, failovers, ended), marks.Removals);
            return false;
        }
    }

    private sealed record Mark(Guid Life, long Counter, long Failovers, Guid[] Ended);
}
