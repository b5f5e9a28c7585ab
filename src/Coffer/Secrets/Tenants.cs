using Coffer.Access;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>A tenant with its keys opened.</summary>
internal sealed record Tenant(long Number, TenantId Id, TenantKeys Keys);

/// <summary>Opens tenants and keeps the opened ones, up to a bound. A tenant is made by the first thing that is stored for it.</summary>
internal sealed class Tenants(Engine engine, Committer committer, Instance instance, TimeProvider time, int kept)
{
    private readonly RecentlyUsed<TenantId, Tenant> opened = new(kept);

    /// <summary>The tenant, or null if nothing was ever stored for it.</summary>
    /// <exception cref="ApiError">Its keys were changed outside Coffer.</exception>
    public async ValueTask<Tenant?> FindAsync(TenantId id, CancellationToken ct)
    {
        if (!engine.IsDeaf && opened.Find(id) is { } known)
            return known;
        var removals = opened.Removals;
        if (await engine.FindTenantAsync(id, ct) is not { } row)
            return null;

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
        using var keys = instance.Roots.Open(row.SealedKeys, bound.Span) ?? throw ApiError.RecordDamaged("tenant");
        return new Tenant(row.Id, id, TenantKeys.Parse(keys.Span));
    }

    /// <exception cref="ApiError">403: the app was deleted.</exception>
    public async ValueTask<Tenant> FindOrAddAsync(TenantId id, CancellationToken ct)
    {
        if (await FindAsync(id, ct) is { } known)
            return known;

        while (true)
        {
            // Whoever commits first, on whichever node, decides the keys; all read them back.
            await committer.CommitAsync(new Change.Plain(new RowWrite.AddTenant(id, time.GetUtcNow().ToUnixTimeSeconds(), NewKeys(id))));
            if (await FindAsync(id, ct) is { } added)
                return added;
            // Not there: its app is not either, or its account was forgotten in between.
            if (await engine.FindAppAsync(id.App, ct) is null)
                throw ApiError.AppDeleted();
        }
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

    private byte[] NewKeys(TenantId id)
    {
        using var fresh = TenantKeys.Generate();
        using var bound = Bound("coffer v1 tenant keys"u8, instance, id);
        return instance.Roots.Seal(fresh.Span, bound.Span);
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
