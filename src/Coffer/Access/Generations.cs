using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// Generations of tenants: the number of the commit that ended all that was minted for one. A key carries the
/// generation that it was minted under, and is good under no other. A row outlives the tenant's own, and goes when no
/// key of before can be good.
/// </summary>
internal static class Generations
{
    /// <summary>Longer than any key lives.</summary>
    private const long KeptFor = 25 * 3_600;

    /// <summary>How much longer a row is kept than a key needs it, so that not each mint writes to it.</summary>
    private const long Slack = 3_600;

    /// <summary>
    /// Whose row holds the greatest generation that was removed: a key that was minted before that commit is no good,
    /// whatever the clocks say that made it or removed the row.
    /// </summary>
    public static readonly TenantId Removed = new("", Livemode: false, "");

    /// <summary>The row that ends what was minted for a tenant.</summary>
    /// <param name="instance">The store.</param>
    /// <param name="tenant">Whose keys.</param>
    /// <param name="number">The number of the commit.</param>
    /// <param name="now">Unix seconds.</param>
    public static RowWrite.PutGeneration Raise(Instance instance, TenantId tenant, long number, long now) =>
        new(new GenerationRow(tenant, number, now + KeptFor + Slack,
            Mac(instance.ProofKey, instance, tenant, number)));

    /// <summary>What keeps a row while a key that is minted now may live.</summary>
    public static RowWrite[] Keep(GenerationRow? row, long now) =>
        row is null || row.KeptUntil >= now + KeptFor ? []
            : [new RowWrite.KeepGeneration(row.Tenant, now + KeptFor + Slack)];

    /// <summary>What removes rows that need not be kept, and notes the greatest of them.</summary>
    public static RowWrite[] Prune(Instance instance, IEnumerable<GenerationRow> rows, long now)
    {
        var ended = rows.Where(row => row.Tenant != Removed && row.KeptUntil <= now).ToList();
        if (ended.Count == 0)
            return [];
        var greatest = Math.Max(ended.Max(row => row.Number),
            rows.FirstOrDefault(row => row.Tenant == Removed)?.Number ?? 0);
        return
        [
            new RowWrite.PutGeneration(new GenerationRow(Removed, greatest, long.MaxValue,
                Mac(instance.ProofKey, instance, Removed, greatest))),
            .. ended.Select(row => new RowWrite.DeleteGeneration(row.Tenant, row.Number, now)),
        ];
    }

    /// <summary>Whether a row is as it was written.</summary>
    public static bool IsWhole(Instance instance, GenerationRow row) =>
        instance.Peppers.Prove(row.Mac, key => Mac(key, instance, row.Tenant, row.Number));

    /// <summary>
    /// What proves a row by the newest pepper, if another has proven it; null if nothing is to be done.
    /// </summary>
    public static RowWrite? ProveAnew(Instance instance, GenerationRow row) =>
        instance.Peppers.ProveAnew(row.Mac, key => Mac(key, instance, row.Tenant, row.Number)) is { } mac
            ? new RowWrite.ReproveGeneration(row.Tenant, row.Mac, mac)
            : null;

    /// <summary>A row that is not as it was written.</summary>
    public static DamagedRow Damage(GenerationRow row) =>
        new("generations", Revocations.Of(row.Tenant), "its proof") { App = row.Tenant.App };

    private static byte[] Mac(MacKey key, Instance instance, TenantId tenant, long number)
    {
        using var bound = new AssociatedData("coffer v1 generation"u8);
        bound.Add(instance.Id);
        bound.Add(tenant.App);
        bound.Add(tenant.Livemode ? 1 : 0);
        bound.Add(tenant.Account);
        bound.Add(number);
        return key.Compute(bound.Span);
    }
}
