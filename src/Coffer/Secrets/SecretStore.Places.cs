using Coffer.Access;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// Where secrets are looked for: under the seed of their tenant, and under those that are retired as long as names may
/// stand there.
/// </summary>
internal sealed partial class SecretStore
{
    // Null if nothing is stored for the account, but may be.
    private async ValueTask<Tenant?> FindTenantAsync(Caller caller, TenantId id, CancellationToken ct)
    {
        if (await tenants.FindAsync(id, ct) is { } tenant)
            return tenant;
        return await tenants.IsClosedAsync(id, caller.App, ct)
            ? throw gate.NotInstalled(caller)
            : null;
    }

    // First where it stood before: from there a secret goes to where it stands now, and never back.
    private async ValueTask<SecretLookup?> LookUpAsync(
        Tenant tenant, SecretKey key, Scope scope, SecretName name, CancellationToken ct)
    {
        if (!tenant.Keys.HasOldNames)
            return await engine.LookUpSecretAsync(key, ct);
        SecretRow? older = null;
        foreach (var seed in tenant.Keys.Retired.Where(static seed => seed.HasNames))
        {
            var before = await engine.LookUpSecretAsync(SealedSecret.KeyOf(tenant, seed, scope, name), ct);
            if (before?.Counter != tenant.Counter)
                return before;
            older = before.Row ?? older;
        }

        var found = await engine.LookUpSecretAsync(key, ct);
        return found is { Row: null } ? found with { Row = older } : found;
    }

    // First where its secrets stood before, as in LookUpAsync.
    private async ValueTask<(long? Counter, IReadOnlyList<SecretRow> Rows)> ReadScopeAsync(
        Tenant tenant, Scope scope, string? bound, bool newer, int limit, CancellationToken ct)
    {
        if (!tenant.Keys.HasOldNames)
            return await ReadAsync(SealedSecret.ScopeOf(tenant.Keys.Seed, scope));
        var merged = new Dictionary<string, SecretRow>(StringComparer.Ordinal);
        foreach (var blind in BlindsOf(tenant, scope))
        {
            var (counter, found) = await ReadAsync(blind);
            if (counter != tenant.Counter)
                return (counter, found);
            foreach (var row in found)
                merged[row.Id] = row;
        }

        var rows = newer
            ? merged.Values.OrderBy(row => row.Id, StringComparer.Ordinal)
            : merged.Values.OrderByDescending(row => row.Id, StringComparer.Ordinal);
        return (tenant.Counter, [.. rows.Take(limit)]);

        ValueTask<(long? Counter, IReadOnlyList<SecretRow> Rows)> ReadAsync(byte[] blind) =>
            engine.ListSecretsAsync(tenant.Number, blind, bound, newer, Now(), limit, ct);
    }

    // Of those that its secrets may stand in, the one that is in use last.
    private static IEnumerable<byte[]> BlindsOf(Tenant tenant, Scope scope) => tenant.Keys.Retired
        .Where(static seed => seed.HasNames).Append(tenant.Keys.Seed).Select(seed => SealedSecret.ScopeOf(seed, scope));
}
