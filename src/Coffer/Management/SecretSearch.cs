using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>Secrets of all apps and accounts, for someone with an admin key: their metadata.</summary>
internal sealed class SecretSearch(
    Engine engine, Scans scans, Instance instance, Gate gate, Tenants tenants, TimeProvider time)
{
    /// <summary>Where a search continues: after a secret that stands there.</summary>
    public sealed record Position(long? ExpiresAt, long Tenant, byte[] Name);

    /// <summary>A page of a search, and where the next one begins; null if this is the last.</summary>
    public sealed record Page(IReadOnlyList<Owned> Secrets, Position? Next);

    /// <summary>Unexpired secrets across accounts, without payloads.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="app">Of this app, or null.</param>
    /// <param name="account">Of this account, or null.</param>
    /// <param name="livemode">Of this mode, or null.</param>
    /// <param name="expiringBefore">What expires before this Unix second, soonest first; or null.</param>
    /// <param name="after">Where the page before ended, or null.</param>
    /// <param name="limit">The most secrets to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public async Task<Page> SearchAsync(
        Caller caller, string? app, string? account, bool? livemode, long? expiringBefore, Position? after, int limit,
            CancellationToken ct)
    {
        gate.Require(caller, Acts.SearchSecrets);
        var held = caller.Apps is null ? null : $",{string.Join(',', caller.Apps)},";
        var rows = await FindAsync(new SecretFilter(app, account, livemode, expiringBefore) { HeldTo = held },
            after is null ? null : (after.ExpiresAt, new SecretKey(after.Tenant, after.Name)), limit + 1, ct);
        var (found, opened) = (new List<Owned>(), new Dictionary<TenantId, (Tenant? Tenant, DamagedRow? Damage)>());
        var damaged = new List<DamagedRow>();
        foreach (var (id, read) in rows.Take(limit))
        {
            var row = read;
            // One that is damaged fails all of its secrets, and is asked for once.
            if (!opened.TryGetValue(id, out var owner))
                opened.Add(id, owner = await FindOrDamageAsync(id, ct));
            if (owner.Tenant is { } known && await tenants.MovedAsync(known, [row], ct) is { } now)
            {
                // Its keys were rotated meanwhile.
                opened[id] = owner = (now, null);
                row = (await engine.LookUpSecretAsync(row.Key, ct))?.Row ?? row;
            }

            if (owner.Damage is { } damage)
            {
                damaged.Add(damage);
                found.Add(new Owned(id, row, null));
            }
            else if (!row.IsSound)
            {
                damaged.Add(SealedSecret.Damaged(id, row).Damage!);
                found.Add(new Owned(id, row, null));
            }

            // Shredded since it was found: it is gone.
            else if (owner.Tenant is { } tenant && tenant.Number == row.Key.Tenant)
                found.Add(Owned.Open(instance, tenant, row, wantsPayload: false, damaged));
        }

        await gate.ReportAsync(damaged, caller.Origin.RequestId);
        await gate.PassAsync(
            caller.Entry("search_secrets", "ok") with { App = app, Account = account, Count = found.Count });
        return new Page(found, rows.Count > limit ? PositionOf(rows[limit - 1].Secret) : null);

        static Position PositionOf(SecretRow row) => new(row.ExpiresAt, row.Key.Tenant, row.Key.Name);
    }

    // What the filter leaves out is stepped over in the database, and may be much.
    private async Task<IReadOnlyList<FoundSecretRow>> FindAsync(
        SecretFilter filter, (long? ExpiresAt, SecretKey Key)? after, int limit, CancellationToken ct)
    {
        IReadOnlyList<FoundSecretRow> rows = [];
        await scans.RunAsync(() =>
        {
            var now = engine.SecondToRead(time);
            rows = engine.SearchSecretsAsync(filter, after, now, limit, ct).AsTask().GetAwaiter().GetResult();
            return false;
        }, ct);
        return rows;
    }

    private async ValueTask<(Tenant? Tenant, DamagedRow? Damage)> FindOrDamageAsync(TenantId id, CancellationToken ct)
    {
        try
        {
            return (await tenants.FindAsync(id, ct), null);
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            return (null, e.Damage);
        }
    }
}
