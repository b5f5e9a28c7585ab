using Coffer.Storage;

namespace Coffer.Access;

/// <summary>The one place that decides whether a caller may reach secrets. Every verb asks it first.</summary>
internal static class Gate
{
    /// <returns>The tenant that the caller acts in.</returns>
    /// <exception cref="ApiError">403: the key is not one that reaches secrets.</exception>
    public static TenantId RequireTenant(Caller caller) => caller switch
    {
        { Kind: KeyKind.Secret, Tenant: { } tenant } => tenant,
        _ => throw ApiError.AdminKeyOnSecrets(),
    };
}
