using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// A secret with whose it is; null if its row was changed outside Coffer. Dispose of it to clear its payload.
/// </summary>
/// <param name="Tenant">Whose it is.</param>
/// <param name="Row">What is stored: unproven where there is no secret.</param>
/// <param name="Secret">What was opened.</param>
internal sealed record Owned(TenantId Tenant, SecretRow Row, Secret? Secret) : IDisposable
{
    public string Id => Row.Id;

    public long Created => Row.Created;

    public long? ExpiresAt => Row.ExpiresAt;

    public long Version => Row.Version;

    public string App => Tenant.App;

    public string Account => Tenant.Account;

    public bool Livemode => Tenant.Livemode;

    /// <param name="instance">The store.</param>
    /// <param name="tenant">Whose it is.</param>
    /// <param name="row">What is stored.</param>
    /// <param name="wantsPayload">Whether to open its payload.</param>
    /// <param name="damaged">Where the row is named if it was changed.</param>
    public static Owned Open(
        Instance instance, Tenant tenant, SecretRow row, bool wantsPayload, List<DamagedRow> damaged)
    {
        try
        {
            return new Owned(tenant.Id, row, SealedSecret.Open(instance, tenant, row, scope: null, wantsPayload));
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            damaged.Add(e.Damage);
            return new Owned(tenant.Id, row, null);
        }
    }

    public void Dispose() => Secret?.Dispose();

    public override string ToString() => $"{Row.Id} [redacted]";
}
