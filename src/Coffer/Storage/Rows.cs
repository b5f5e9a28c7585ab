namespace Coffer.Storage;

/// <summary>Who owns a row: the unit of encryption, quota, export and shredding.</summary>
/// <param name="App"><c>app_…</c></param>
/// <param name="Livemode">Live or test; decided by the key, never by a parameter.</param>
/// <param name="Account">The account that installed the app; the app's own account when no header names one.</param>
internal sealed record TenantId(string App, bool Livemode, string Account);

/// <summary>A tenant's row: its number, under which its secrets hang, and its keys sealed under a root key.</summary>
internal sealed record TenantRow(long Id, byte[] SealedKeys);

/// <summary>Where a secret stands: tenant number and the blind index (16 bytes) of its name in its scope.</summary>
internal readonly record struct SecretKey(long Tenant, byte[] Name);

/// <summary>A secret as stored. <paramref name="Scope"/> is the blind index (16 bytes) of its scope; times are Unix seconds.</summary>
internal sealed record SecretRow(SecretKey Key, byte[] Scope, string Id, long Version, long Created, long? ExpiresAt, byte[] Sealed)
{
    /// <summary>Whether the secret is there at a Unix second: it is gone the second it expires, whether or not its row is.</summary>
    public bool IsLiveAt(long now) => ExpiresAt is null || ExpiresAt > now;
}

/// <summary>Where an idempotency record stands: tenant number and the blind index of the key.</summary>
internal readonly record struct IdempotencyKey(long Tenant, byte[] Key);

/// <summary>The kept outcome of a write: what it was asked for (fingerprint), when, and the sealed reply.</summary>
internal sealed record IdempotencyRow(IdempotencyKey Key, byte[] Fingerprint, long Created, byte[] Sealed);

internal sealed record AppRow(string Id, string Name, string Account, long Created);

/// <summary>An API key as stored. <paramref name="App"/> is null for an admin key. The token itself is nowhere.</summary>
internal sealed record ApiKeyRow(byte[] Mac, string Id, string? App, string? Account, string Kind, bool Livemode, long Created, long? ExpiresAt, byte[] Proof);

/// <summary>Something to be put on record with a change. What it says is not this room's business.</summary>
internal abstract record Note;

/// <summary>The audit entries of one commit of one node: numbers <paramref name="First"/> to <paramref name="Last"/>, a line each.</summary>
internal sealed record AuditRow(string Node, long First, long Last, byte[] Mac, byte[] Entries);

/// <summary>The row that puts notes on record, and what to do once it is durable.</summary>
internal sealed record AuditStep(RowWrite Row, Action Durable);

internal sealed record RootKeyRow(uint Version, long Created, byte[] Wrapped);

/// <summary>One row written or removed; the committer's vocabulary.</summary>
internal abstract record RowWrite
{
    public sealed record PutMeta(string Key, byte[] Value) : RowWrite;

    public sealed record PutRootKey(RootKeyRow Row) : RowWrite;

    public sealed record PutApp(AppRow Row) : RowWrite;

    public sealed record PutApiKey(ApiKeyRow Row) : RowWrite;

    public sealed record DeleteApiKey(string Id) : RowWrite;

    /// <summary>Adds a tenant unless it is there: the first to come decides its keys.</summary>
    public sealed record AddTenant(TenantId Tenant, long Created, byte[] SealedKeys) : RowWrite;

    public sealed record PutSecret(SecretRow Row) : RowWrite;

    public sealed record DeleteSecret(SecretKey Key) : RowWrite;

    public sealed record PutAudit(AuditRow Row) : RowWrite;

    /// <summary>Removes the audit rows up to a number.</summary>
    public sealed record PruneAudit(long UpTo) : RowWrite;

    public sealed record PutIdempotency(IdempotencyRow Row) : RowWrite;

    /// <summary>Removes the records among the <paramref name="Limit"/> oldest that were made at or before a Unix second.</summary>
    public sealed record PruneIdempotency(long MadeBy, int Limit) : RowWrite;
}
