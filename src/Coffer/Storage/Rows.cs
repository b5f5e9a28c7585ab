namespace Coffer.Storage;

/// <summary>Who owns a row: the unit of encryption, quota, export and shredding.</summary>
/// <param name="App"><c>app_…</c></param>
/// <param name="Livemode">Live or test; decided by the key, never by a parameter.</param>
/// <param name="Account">The account that installed the app; the app's own account when no header names one.</param>
internal sealed record TenantId(string App, bool Livemode, string Account);

/// <summary>A tenant's row: its number, under which its secrets hang, and its keys sealed under a root key.</summary>
internal sealed record TenantRow(long Id, byte[] SealedKeys)
{
    /// <summary>Whether its columns hold what they may: if not, it was changed outside Coffer.</summary>
    public bool IsSound { get; init; } = true;
}

/// <summary>Where a secret stands: tenant number and the blind index (16 bytes) of its name in its scope.</summary>
internal readonly record struct SecretKey(long Tenant, byte[] Name);

/// <summary>A scope: tenant number and the blind index (16 bytes) of the scope.</summary>
internal readonly record struct ScopeKey(long Tenant, byte[] Scope);

/// <summary>A secret as stored. <paramref name="Scope"/> is the blind index (16 bytes) of its scope; times are Unix seconds.</summary>
internal sealed record SecretRow(SecretKey Key, byte[] Scope, string Id, long Version, long Created, long? ExpiresAt, byte[] Sealed)
{
    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    /// <summary>Whether the secret is there at a Unix second: it is gone the second it expires, whether or not its row is.</summary>
    public bool IsLiveAt(long now) => ExpiresAt is null || ExpiresAt > now;
}

/// <summary>Where an idempotency record stands: tenant number and the blind index of the key.</summary>
internal readonly record struct IdempotencyKey(long Tenant, byte[] Key);

/// <summary>The kept outcome of a write: what it was asked for (fingerprint), when, and the sealed reply.</summary>
internal sealed record IdempotencyRow(IdempotencyKey Key, byte[] Fingerprint, long Created, byte[] Sealed)
{
    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;
}

/// <summary>
/// An app; <paramref name="Sealed"/> is what it is set to, null where a program of schema 1 made it and no later one
/// has sealed it yet.
/// </summary>
internal sealed record AppRow(string Id, string Name, string Account, long Created, byte[]? Sealed = null)
{
    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;
}

/// <summary>An API key as stored. <paramref name="App"/> is null for an admin key. The token itself is nowhere.</summary>
internal sealed record ApiKeyRow(byte[] Mac, string Id, string? App, string? Account, string Kind, bool Livemode, long Created, long? ExpiresAt, byte[] Proof)
{
    /// <summary>What a restricted key may do, as words with commas between; null for other keys.</summary>
    public string? Permissions { get; init; }

    /// <summary>The one account of a restricted key, or null.</summary>
    public string? PinnedAccount { get; init; }

    /// <summary>The networks that the key is taken from, in CIDR form with commas between; null is any.</summary>
    public string? Addresses { get; init; }

    /// <summary>The Unix second at which the hour of its last use began, or null.</summary>
    public long? LastUsed { get; init; }

    /// <summary>The number of the commit that ended all that it had minted, or null.</summary>
    public long? Generation { get; init; }

    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;
}

/// <summary>An account of an app: when something was first stored for it, and how many unexpired secrets it has in each mode.</summary>
internal sealed record AccountRow(string Account, long Created, long Test, long Live)
{
    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;
}

/// <summary>A tenant of an account, with how many unexpired secrets it has.</summary>
internal sealed record CountedTenantRow(long Id, bool Livemode, long Secrets);

/// <summary>What ends ephemeral keys early: those of a subject that were made at or before a Unix second. Kept until the last of them has expired.</summary>
internal sealed record RevocationRow(string Subject, long MadeUntil, long KeptUntil)
{
    /// <summary>
    /// The number of the commit that wrote it last, which the engine gives; 0 if a node of the release before made it.
    /// </summary>
    public long Number { get; init; }

    /// <summary>The app whose keys it ends, or null if a node of the release before made it.</summary>
    public string? App { get; init; }

    /// <summary>
    /// What <see cref="MadeUntil"/> was when a commit with a number wrote it, which the engine keeps.
    /// </summary>
    public long? OrderedUntil { get; init; }

    /// <summary>
    /// Whether a node of the release before wrote it since: then what it ends is told by its times alone.
    /// </summary>
    public bool IsUnordered => OrderedUntil is not { } ordered || ordered < MadeUntil;
}

/// <summary>
/// The number of the commit that ended all minted keys of a tenant; kept until the last key that it could concern has
/// expired.
/// </summary>
internal sealed record GenerationRow(TenantId Tenant, long Number, long KeptUntil, byte[] Mac);

/// <summary>
/// The kept reply to a write outside tenants: whose, what it was asked for, when, and the sealed body.
/// </summary>
internal sealed record ReplyRow(byte[] Key, byte[]? Owner, byte[] Fingerprint, long Created, byte[] Sealed)
{
    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;
}

/// <summary>
/// What is stated of an account that was forgotten: when that was, when the statement was signed or null, and the
/// statement, sealed.
/// </summary>
internal sealed record ReceiptRow(string Id, long Created, long? Signed, byte[] Sealed)
{
    /// <inheritdoc cref="TenantRow.IsSound"/>
    public bool IsSound { get; init; } = true;
}

/// <summary>Which secrets a search takes; null takes all.</summary>
/// <param name="App">The app.</param>
/// <param name="Account">The account.</param>
/// <param name="Livemode">The mode.</param>
/// <param name="ExpiringBefore">A Unix second before which a secret expires; with it the order is that of expiry.</param>
internal sealed record SecretFilter(string? App, string? Account, bool? Livemode, long? ExpiringBefore)
{
    /// <summary>The first three parameters of <see cref="Sql.Search"/>, or of <see cref="Sql.SearchByExpiry"/> if there is an order of expiry.</summary>
    public (long Tenant, byte[] Name, long From) Begin((long? ExpiresAt, SecretKey Key)? after, long now)
    {
        if (ExpiringBefore is not null && after?.ExpiresAt <= now)
            after = null; // all up to there has expired meanwhile, and so may have what comes next
        var (tenant, name) = after is { } bound ? (bound.Key.Tenant, bound.Key.Name) : (0, []);
        return (tenant, name, ExpiringBefore is null ? now : after?.ExpiresAt ?? now + 1);
    }
}

/// <summary>A secret that a search found, and whose it is.</summary>
internal sealed record FoundSecretRow(TenantId Tenant, SecretRow Secret);

/// <summary>Something to be put on record with a change. What it says is not this room's business.</summary>
internal abstract record Note
{
    /// <summary>Who has it written, if it is an app's; no part of the record.</summary>
    public Payer? Payer { get; init; }

    /// <summary>About how many bytes it takes.</summary>
    public virtual int Size => Change.EntrySize;
}

/// <summary>The audit entries of one commit of one node: numbers <paramref name="First"/> to <paramref name="Last"/>, a line each.</summary>
internal sealed record AuditRow(string Node, long First, long Last, byte[] Mac, byte[] Entries);

/// <summary>How far a node's log has come, and what <c>meta</c> holds about the node.</summary>
internal sealed record AuditHeadRow(string Node, long Last, byte[] Mac, byte[]? Meta);

/// <summary>The row that puts notes on record, and what to do once it is durable.</summary>
internal sealed record AuditStep(RowWrite Row, Action Durable);

internal sealed record RootKeyRow(uint Version, long Created, byte[] Wrapped);

/// <summary>One row written or removed; the committer's vocabulary.</summary>
internal abstract record RowWrite
{
    public sealed record PutMeta(string Key, byte[] Value) : RowWrite;

    public sealed record PutRootKey(RootKeyRow Row) : RowWrite;

    /// <summary>Adds an app, or changes its name and what it is set to.</summary>
    public sealed record PutApp(AppRow Row) : RowWrite;

    /// <summary>Removes an app that has no tenants, with its keys.</summary>
    public sealed record DeleteApp(string Id) : RowWrite;

    /// <summary>Adds a key, or changes when it expires.</summary>
    public sealed record PutApiKey(ApiKeyRow Row) : RowWrite;

    /// <summary>Notes the hour in which a key was used; one that is gone is left alone.</summary>
    public sealed record TouchApiKey(string Id, long LastUsed) : RowWrite;

    public sealed record DeleteApiKey(string Id) : RowWrite;

    /// <summary>Adds a tenant unless it is there, the first to come deciding its keys, or its app is not.</summary>
    public sealed record AddTenant(TenantId Tenant, long Created, byte[] SealedKeys) : RowWrite;

    /// <summary>Removes a tenant's keys and all that hangs under it; what was removed is not left in the engine's files.</summary>
    public sealed record ShredTenant(long Number, TenantId Tenant) : RowWrite;

    public sealed record PutSecret(SecretRow Row) : RowWrite;

    public sealed record DeleteSecret(SecretKey Key) : RowWrite;

    public sealed record PutAudit(AuditRow Row) : RowWrite;

    /// <summary>Removes the audit rows up to a number.</summary>
    public sealed record PruneAudit(long UpTo) : RowWrite;

    public sealed record PutIdempotency(IdempotencyRow Row) : RowWrite;

    /// <summary>Removes the records among the <paramref name="Limit"/> oldest that were made at or before a Unix second.</summary>
    public sealed record PruneIdempotency(long MadeBy, int Limit) : RowWrite;

    public sealed record PutReply(ReplyRow Row) : RowWrite;

    /// <summary>Removes the replies about an account.</summary>
    public sealed record DeleteReplies(byte[] Owner) : RowWrite;

    /// <summary>Adds a revocation, or extends the one of its subject: neither of its times ever goes back, even if a clock does.</summary>
    public sealed record PutRevocation(RevocationRow Row) : RowWrite;

    /// <summary>Adds a receipt, or changes its statement and when that was signed.</summary>
    public sealed record PutReceipt(ReceiptRow Row) : RowWrite;

    /// <summary>Removes the receipts that were signed at or before a Unix second.</summary>
    public sealed record PruneReceipts(long SignedBy) : RowWrite;

    /// <summary>Removes the revocations of subjects, unless they are to be kept at a Unix second.</summary>
    public sealed record DeleteRevocations(IReadOnlyList<string> Subjects, long Now) : RowWrite;

    /// <summary>Adds the generation of a tenant, or raises it: it never goes back.</summary>
    public sealed record PutGeneration(GenerationRow Row) : RowWrite;

    /// <summary>Keeps the generation of a tenant, if it has one, until a Unix second at least.</summary>
    public sealed record KeepGeneration(TenantId Tenant, long KeptUntil) : RowWrite;

    /// <summary>Removes the generation of a tenant, if it is this one and need not be kept at a Unix second.</summary>
    public sealed record DeleteGeneration(TenantId Tenant, long Number, long Now) : RowWrite;

    /// <summary>
    /// Removes the replies among the <paramref name="Limit"/> oldest that were made at or before a Unix second.
    /// </summary>
    public sealed record PruneReplies(long MadeBy, int Limit) : RowWrite;
}
