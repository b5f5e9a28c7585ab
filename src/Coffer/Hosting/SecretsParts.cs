using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>Tenants, and the store of their secrets.</summary>
internal sealed record SecretsParts(Tenants Tenants, SecretStore Store)
{
    /// <param name="storage">Where they are.</param>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="audit">What commits.</param>
    /// <param name="access">Who may do what.</param>
    /// <param name="mark">The highest id that was given before this start.</param>
    /// <param name="options">The settings.</param>
    /// <param name="time">The clock.</param>
    public static SecretsParts Open(
        StorageParts storage, Instance instance, AuditParts audit, AccessParts access, IdMark mark,
        CofferOptions options, TimeProvider time)
    {
        var (engine, committer) = (storage.Engine, audit.Committer);
        var tenants = new Tenants(engine, committer, instance, time, options.OpenTenants, access.Budgets);
        engine.Changed += tenants.Forget;
        var ids = new SecretId(time, mark);
        return new SecretsParts(tenants, new SecretStore(engine, committer, access.Gate, tenants, ids, time)
        {
            SecretsPerScope = options.SecretsPerScope,
            Room = Room.OfThisMachine(),
        });
    }
}
