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

/// <summary>Who is asking: a proven API key, and the account that the request is about.</summary>
/// <param name="KeyId">The key's id, <c>key_…</c>: safe to log, unlike the key.</param>
/// <param name="Kind">What the key is for.</param>
/// <param name="Tenant">App, mode and account; null for an admin key, which has none.</param>
internal sealed record Caller(string KeyId, KeyKind Kind, TenantId? Tenant);
