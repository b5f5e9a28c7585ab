using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>What a key is for, told by its prefix.</summary>
internal enum KeyKind
{
    /// <summary><c>sk_test_…</c>, <c>sk_live_…</c>: an app's backend; every scope of every account of its app and mode.</summary>
    Secret,

    /// <summary><c>ak_…</c>: the management plane, never a secret.</summary>
    Admin,
}

/// <summary>Where a request came from: the id that its answer carries, and the address at the other end of the connection.</summary>
internal sealed record Origin(string RequestId, string Remote)
{
    /// <summary>The program itself.</summary>
    public static readonly Origin Internal = new("", "");
}

/// <summary>Who is asking: a proven API key, and the account that the request is about.</summary>
/// <param name="KeyId">The key's id, <c>key_…</c>: safe to log, unlike the key.</param>
/// <param name="Kind">What the key is for.</param>
/// <param name="Tenant">App, mode and account; null for an admin key, which has none.</param>
/// <param name="Origin">The request that it asks with.</param>
internal sealed record Caller(string KeyId, KeyKind Kind, TenantId? Tenant, Origin Origin)
{
    /// <summary>An audit entry about something that this caller asked for.</summary>
    public AuditEntry Entry(string verb, string outcome) => new(verb, outcome)
    {
        Request = Origin.RequestId,
        Remote = Origin.Remote,
        Key = KeyId,
        Tenant = Tenant,
    };
}
