
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>A tenant with its keys opened.</summary>
internal sealed record Tenant(long Number, TenantId Id, TenantKeys Keys);

/// <summary>
/// Opens tenants and keeps the opened ones, up to a bound. A tenant is made by the first thing that is stored for it.
/// </summary>
/// <param name="engine">Where they are read.</param>
/// <param name="committer">Through which they are made.</param>
/// <param name="instance">Whose store it is.</param>
/// <param name="time">For when they were made.</param>
/// <param name="kept">How many opened ones are kept.</param>
/// <param name="budgets">How many an app may make; null bounds nothing.</param>
internal sealed class Tenants(
    Engine engine, Committer committer, Instance instance, TimeProvider time, int kept, Budgets? budgets = null)
{
    /// <summary>How often an account may be forgotten while something is stored for it.</summary>
    private const int MostTries = 100;

    private readonly RecentlyUsed<TenantId, Tenant> opened = new(kept);
    private readonly TimeProvider time = time;

    /// <summary>Whose store it is.</summary>
    public Instance Instance => instance;

    /// <summary>The tenant, or null if nothing was ever stored for it.</summary>
    /// <exception cref="ApiError">Its keys were changed outside Coffer.</exception>
    public async ValueTask<Tenant?> FindAsync(TenantId id, CancellationToken ct)
    {
        if (!engine.IsBehind && opened.Find(id) is { } known)
            return known;
        var removals = opened.Removals;
        if (await engine.FindTenantAsync(id, ct) is not { } row)
            return null;

        if (!instance.Roots.MayOpen(row.SealedKeys))
            await instance.Reload(ct);
        // What is no longer kept may still be in use by a request: its keys are cleared when they are finalised.
        var tenant = Open(instance, id, row);
        opened.Keep(id, tenant, removals);
        return tenant;
    }

    /// <summary>A tenant with its keys, for the caller to keep.</summary>
    /// <exception cref="ApiError">Its keys were changed outside Coffer.</exception>
    public static Tenant Open(Instance instance, TenantId id, TenantRow row)
    {
        using var bound = Bound("coffer v1 tenant keys"u8, instance, id);
        using var stored = row.IsSound ? instance.Roots.Open(row.SealedKeys, bound.Span) : null;
        return stored is not null && TenantKeys.Parse(stored.Span) is { } keys
            ? new Tenant(row.Id, id, keys)
            : throw ApiError.RecordDamaged("tenant",
                new DamagedRow("tenants", $"{row.Id}", "its proof") { App = id.App, Account = id.Account });
    }

    /// <exception cref="ApiError">
    /// 403: the app was deleted. 429: it has made too many of late. 503: the storage does not give back what it stored.
    /// </exception>
    public async ValueTask<Tenant> FindOrAddAsync(TenantId id, CancellationToken ct)
    {
        if (await FindAsync(id, ct) is { } known)
            return known;

        budgets?.TakeTenant(id.App);
        for (var tries = 0; tries < MostTries; tries++)
        {
            // Whoever commits first, on whichever node, decides the keys; all read them back.
            await committer.CommitAsync(new Adding(this, id));
            if (await FindAsync(id, ct) is { } added)
                return added;
            // Not there: its app is not either, or its account was forgotten in between.
            if (await engine.FindAppAsync(id.App, ct) is null)
                throw ApiError.AppDeleted();
        }

        throw ApiError.Contradictory("a tenant that was stored is not there");
    }

    /// <summary>Has a tenant read again that is gone, or may be.</summary>
    public void Forget(TenantId id) => opened.Remove(id);

    /// <summary>The same for all that a commit has removed.</summary>
    public void Forget(News news)
    {
        if (news.IsAllTenants)
            opened.Clear();
        foreach (var id in news.Tenants)
            opened.Remove(id);
    }

    /// <summary>A tenant's keys under the root key that seals; null if they do not open.</summary>
    public static byte[]? Rewrap(Instance instance, RootedTenantRow row)
    {
        using var bound = Bound("coffer v1 tenant keys"u8, instance, row.Tenant);
        using var keys = instance.Roots.Open(row.SealedKeys, bound.Span);
        return keys is null ? null : instance.Roots.Seal(keys.Span, bound.Span);
    }

    private byte[] NewKeys(TenantId id)
    {
        using var fresh = TenantKeys.Generate();
        using var bound = Bound("coffer v1 tenant keys"u8, instance, id);
        return instance.Roots.Seal(fresh.Span, bound.Span);
    }

    // Sealed when it is decided: under the root key that seals then.
    private sealed class Adding(Tenants own, TenantId id) : Change
    {
        public override Payer? Payer { get; } = new(id.App);

        public override IReadOnlyList<RowWrite> Decide(Found found) =>
            [new RowWrite.AddTenant(id, own.time.GetUtcNow().ToUnixTimeSeconds(), own.NewKeys(id))];
    }

    /// <summary>The beginning of all that is bound to a tenant: what for, the store, and whose it is.</summary>
    public static AssociatedData Bound(ReadOnlySpan<byte> purpose, Instance instance, TenantId id)
    {
        var bound = new AssociatedData(purpose);
        bound.Add(instance.Id);
        bound.Add(id.App);
        bound.Add(id.Livemode ? 1 : 0);
        bound.Add(id.Account);
        return bound;
    }
}
