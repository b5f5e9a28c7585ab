using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>Tenants, and the store of their secrets.</summary>
internal sealed record SecretsParts(Tenants Tenants, SecretStore Store)
{
    /// <param name="storage">Where they are.</param>
    /// <param name="policy">Whose store it is, and its settings.</param>
    /// <param name="audit">What commits.</param>
    /// <param name="access">Who may do what.</param>
    /// <param name="mark">The highest id that was given before this start.</param>
    /// <param name="time">The clock.</param>
    public static SecretsParts Open(
        StorageParts storage, StorePolicy policy, AuditParts audit, AccessParts access, IdMark mark, TimeProvider time)
    {
        var (engine, committer) = (storage.Engine, audit.Committer);
        var tenants = new Tenants(engine, committer, policy.Instance, time, policy.InForce.OpenTenants, access.Budgets);
        engine.Changed += tenants.Forget;
        var ids = new SecretId(time, mark);
        return new SecretsParts(tenants, new SecretStore(engine, committer, access.Gate, tenants, ids, time)
        {
            SecretsPerScope = () => policy.InForce.SecretsPerScope,
            Room = Room.OfThisMachine(),
        });
    }
}
