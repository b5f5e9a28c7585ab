using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>The one place that decides whether a caller may reach secrets, and puts refusals on record. Every verb asks it first.</summary>
internal sealed class Gate(Refusals refusals, Recorder recorder)
{
    /// <summary>Whether reads of metadata are on record too.</summary>
    public bool TakesMetadata => recorder.TakesMetadata;

    /// <summary>Puts what a caller reads on record; what was read may leave when this returns.</summary>
    /// <exception cref="ApiError">503: it cannot be put on record, so it must not leave.</exception>
    public ValueTask PassAsync(params AuditEntry[] read) => recorder.PutAsync(read);

    /// <returns>The tenant that the caller acts in.</returns>
    /// <exception cref="ApiError">403: the key is not one that reaches secrets.</exception>
    public TenantId RequireTenant(Caller caller)
    {
        if (caller is { Kind: KeyKind.Secret, Tenant: { } tenant })
            return tenant;
        refusals.Count("admin_key_on_secrets", caller.KeyId, caller.Origin.RequestId, caller.Origin.Remote);
        throw ApiError.AdminKeyOnSecrets();
    }
}
