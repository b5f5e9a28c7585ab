namespace Coffer.Storage;

/// <summary>
/// The statements that all engines share. Parameters are numbered in the order in which they first occur, so that every
/// driver binds them alike; what differs between databases stands in the engine.
/// </summary>
internal static class Sql
{
    // --- reads ---

    public const string MetaByKey = "SELECT value FROM meta WHERE key = $1";
    public const string MetaByPrefix = "SELECT key, value FROM meta WHERE substr(key, 1, length($1)) = $1 ORDER BY key";
    public const string RootKeys = "SELECT version, created, wrapped FROM root_keys ORDER BY version";

    private const string AppColumns = "SELECT id, name, account, created, sealed FROM apps";
    public const string AppById = $"{AppColumns} WHERE id = $1";

    public const string UnsealedApps = $"{AppColumns} WHERE sealed IS NULL AND id > $1 ORDER BY id LIMIT $2";

    public const string Apps = $"""
        {AppColumns} WHERE CAST($1 AS TEXT) IS NULL OR (created, id) < (SELECT created, id FROM apps WHERE id = $1)
        ORDER BY created DESC, id DESC LIMIT $2
        """;

    private const string ApiKeyColumns = """
        SELECT k.mac, k.id, k.app, a.account, k.kind, k.livemode, k.created, k.expires_at, k.proof, k.permissions,
            k.pinned_account, k.addresses, k.last_used, k.generation
        FROM api_keys k LEFT JOIN apps a ON a.id = k.app
        """;

    public const string ApiKeyByMac = $"{ApiKeyColumns} WHERE k.mac = $1";
    public const string ApiKeyById = $"{ApiKeyColumns} WHERE k.id = $1";

    public const string ApiKeys = $"""
        {ApiKeyColumns}
        WHERE (CAST($1 AS TEXT) IS NULL OR k.app = $1)
        AND (CAST($2 AS TEXT) IS NULL OR (k.created, k.id) < (SELECT created, id FROM api_keys WHERE id = $2))
        ORDER BY k.created DESC, k.id DESC LIMIT $3
        """;

    public const string ApiKeyMacs = "SELECT mac FROM api_keys";
    public const string OtherAdminKeys = "SELECT count(*) FROM api_keys WHERE kind = 'admin' AND expires_at IS NULL AND id <> $1";

    public const string Revocations = """
        SELECT subject, made_until, kept_until, n, app, ordered_until FROM revocations
        WHERE (n, subject) > ($1, $2) ORDER BY n, subject LIMIT $3
        """;

    private const string GenerationColumns = "SELECT app, livemode, account, n, kept_until, mac FROM generations";
    public const string Generations = $"{GenerationColumns} WHERE n > $1 ORDER BY n, app, livemode, account";
    public const string GenerationOf = $"{GenerationColumns} WHERE app = $1 AND livemode = $2 AND account = $3";

    public const string Accounts = """
        SELECT account, min(created),
            CAST(sum(CASE WHEN livemode = 0 THEN n ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN livemode <> 0 THEN n ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN livemode IN (0, 1) THEN 0 ELSE 1 END) AS BIGINT)
        FROM (
            SELECT t.account, t.livemode, t.created,
                (SELECT count(*) FROM secrets s WHERE s.tenant = t.id AND (s.expires_at IS NULL OR s.expires_at > $1)) AS n
            FROM tenants t WHERE t.app = $2 AND t.account > $3) AS counted
        GROUP BY account ORDER BY account LIMIT $4
        """;

    public const string TenantByOwner = "SELECT id, sealed_keys FROM tenants WHERE app = $1 AND livemode = $2 AND account = $3";

    public const string CountedTenants = """
        SELECT id, livemode, (SELECT count(*) FROM secrets WHERE tenant = t.id AND (expires_at IS NULL OR expires_at > $1))
        FROM tenants t WHERE app = $2 AND account = $3 ORDER BY id
        """;

    private const string SecretColumns = "SELECT tenant, name, scope, id, version, created, expires_at, sealed FROM secrets";
    public const string SecretByKey = $"{SecretColumns} WHERE tenant = $1 AND name = $2";
    public const string SecretById = $"{SecretColumns} WHERE tenant = $1 AND id = $2 AND (expires_at IS NULL OR expires_at > $3)";

    private const string LiveSecrets = $"{SecretColumns} WHERE tenant = $1 AND scope = $2 AND (expires_at IS NULL OR expires_at > $3)";
    public const string NewestSecrets = $"{LiveSecrets} ORDER BY id DESC LIMIT $4";
    public const string OlderSecrets = $"{LiveSecrets} AND id < $4 ORDER BY id DESC LIMIT $5";
    public const string NewerSecrets = $"{LiveSecrets} AND id > $4 ORDER BY id LIMIT $5";

    public const string TenantSecrets = $"""
        {SecretColumns} WHERE tenant = $1 AND (expires_at IS NULL OR expires_at > $2) AND (CAST($3 AS TEXT) IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """;

    private const string FoundColumns = "SELECT t.app, t.livemode, t.account, s.tenant, s.name, s.scope, s.id, s.version, s.created, s.expires_at, s.sealed";

    private const string SearchFilter =
        "AND (CAST($4 AS TEXT) IS NULL OR t.app = $4) AND (CAST($5 AS TEXT) IS NULL OR t.account = $5) AND (CAST($6 AS INTEGER) IS NULL OR t.livemode = $6)";

    // Tenant by tenant, so that a page never sorts more than it gives.
    public const string Search = $"""
        {FoundColumns}
        FROM tenants t CROSS JOIN secrets s
        WHERE s.tenant = t.id AND t.id >= $1 AND (t.id > $1 OR s.name > $2) AND (s.expires_at IS NULL OR s.expires_at > $3)
        {SearchFilter}
        ORDER BY t.id, s.name LIMIT $7
        """;

    public const string SearchByExpiry = $"""
        {FoundColumns}
        FROM secrets s JOIN tenants t ON t.id = s.tenant
        WHERE (s.tenant > $1 OR (s.tenant = $1 AND s.name > $2) OR s.expires_at > $3) AND s.expires_at >= $3
        {SearchFilter}
        AND s.expires_at < $7
        ORDER BY s.expires_at, s.tenant, s.name LIMIT $8
        """;

    public const string Expired = "SELECT tenant, name FROM secrets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
    private const string IdempotencyColumns = "SELECT tenant, key, fingerprint, created, sealed FROM idempotency";
    public const string IdempotencyByKey = $"{IdempotencyColumns} WHERE tenant = $1 AND key = $2";
    public const string OldestIdempotency = "SELECT created FROM idempotency ORDER BY seq LIMIT 1";
    public const string OldestReply = "SELECT created FROM replies ORDER BY seq LIMIT 1";
    private const string ReplyColumns = "SELECT key, owner, fingerprint, created, sealed FROM replies";

    public const string ReplyByKey = $"{ReplyColumns} WHERE key = $1";

    private const string ReceiptColumns = "SELECT id, created, signed, sealed FROM receipts";
    public const string ReceiptById = $"{ReceiptColumns} WHERE id = $1";

    public const string PendingReceipts = $"""
        {ReceiptColumns} WHERE signed IS NULL AND (created > $1 OR (created = $1 AND id > $2)) ORDER BY created, id
            LIMIT $3
        """;

    private const string AuditColumns = "SELECT node, first, last, mac, entries, row FROM audit";
    public const string OldestAudit = "SELECT coalesce(min(row), 0) FROM audit";
    public const string AuditBackwards = $"{AuditColumns} WHERE row < $1 ORDER BY row DESC LIMIT $2";
    public const string AuditForwards = $"{AuditColumns} WHERE row > $1 ORDER BY row LIMIT $2";
    public const string AuditOfNode = $"{AuditColumns} WHERE node = $1 AND first <= $2";
    public const string LastAudit = $"{AuditColumns} WHERE node = $1 ORDER BY row DESC LIMIT 1";

    // --- writes ---

    public const string PutMeta = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
    public const string PutRootKey = "INSERT INTO root_keys (version, created, wrapped) VALUES ($1, $2, $3)";

    public const string PutApp = """
        INSERT INTO apps (id, name, account, created, sealed) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET name = $2, sealed = $5
        """;

    public const string DeleteApiKeysOfApp = "DELETE FROM api_keys WHERE app = $1";
    public const string DeleteApp = "DELETE FROM apps WHERE id = $1";

    public const string PutApiKey = """
        INSERT INTO api_keys
            (mac, id, app, kind, livemode, created, expires_at, proof, permissions, pinned_account, addresses, generation)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (mac) DO UPDATE SET expires_at = $7, proof = $8, generation = $12
        """;

    public const string TouchApiKey = "UPDATE api_keys SET last_used = $1 WHERE id = $2";
    public const string DeleteApiKey = "DELETE FROM api_keys WHERE id = $1";

    // Its number is the transaction's.
    public const string PutRevocation = $"""
        INSERT INTO revocations (subject, made_until, kept_until, n, app, ordered_until)
        VALUES ($1, $2, $3, {CommitOrder.Last}, $4, $2)
        ON CONFLICT (subject) DO UPDATE SET
            made_until = CASE WHEN revocations.made_until > $2 THEN revocations.made_until ELSE $2 END,
            kept_until = CASE WHEN revocations.kept_until > $3 THEN revocations.kept_until ELSE $3 END,
            ordered_until = CASE WHEN revocations.ordered_until > $2 THEN revocations.ordered_until ELSE $2 END,
            n = excluded.n, app = $4
        """;

    public const string DeleteRevocation = "DELETE FROM revocations WHERE subject = $1 AND kept_until <= $2";

    public const string PutGeneration = """
        INSERT INTO generations (app, livemode, account, n, kept_until, mac) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (app, livemode, account) DO UPDATE SET
            n = CASE WHEN generations.n > $4 THEN generations.n ELSE $4 END,
            mac = CASE WHEN generations.n > $4 THEN generations.mac ELSE $6 END,
            kept_until = CASE WHEN generations.kept_until > $5 THEN generations.kept_until ELSE $5 END
        """;

    public const string KeepGeneration = """
        UPDATE generations SET kept_until = $1 WHERE app = $2 AND livemode = $3 AND account = $4 AND kept_until < $1
        """;

    public const string DeleteGeneration = """
        DELETE FROM generations WHERE app = $1 AND livemode = $2 AND account = $3 AND n = $4 AND kept_until <= $5
        """;

    public const string PruneReplies = """
        DELETE FROM replies
        WHERE seq IN (
            SELECT seq FROM (SELECT seq, created FROM replies ORDER BY seq LIMIT $1) AS oldest WHERE created <= $2)
        """;

    public const string DeleteReplies = "DELETE FROM replies WHERE owner = $1";

    public const string PutReceipt = """
        INSERT INTO receipts (id, created, signed, sealed) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET signed = $3, sealed = $4
        """;

    public const string PruneReceipts = "DELETE FROM receipts WHERE signed <= $1";

    public const string DeleteSecretsOfTenant = "DELETE FROM secrets WHERE tenant = $1";
    public const string DeleteIdempotencyOfTenant = "DELETE FROM idempotency WHERE tenant = $1";
    public const string DeleteTenant = "DELETE FROM tenants WHERE id = $1";

    public const string PruneIdempotency = """
        DELETE FROM idempotency
        WHERE seq IN (SELECT seq FROM (SELECT seq, created FROM idempotency ORDER BY seq LIMIT $1) AS oldest WHERE created <= $2)
        """;

    /// <summary>How many records <see cref="PruneIdempotency"/> is to remove.</summary>
    public const string OldIdempotency =
        "SELECT count(*) FROM (SELECT seq, created FROM idempotency ORDER BY seq LIMIT $1) AS o WHERE created <= $2";

    /// <summary>How many replies <see cref="PruneReplies"/> is to remove.</summary>
    public const string OldReplies =
        "SELECT count(*) FROM (SELECT seq, created FROM replies ORDER BY seq LIMIT $1) AS oldest WHERE created <= $2";

    /// <summary>1 if a tenant is to be added: its app is there and it is not; else 0.</summary>
    public const string MayAddTenant = """
        SELECT count(*) FROM apps
        WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE livemode = $1 AND account = $2 AND app = $3) AND id = $3
        """;

    public const string PutAudit = "INSERT INTO audit (node, first, last, mac, entries) VALUES ($1, $2, $3, $4, $5)";
    public const string PruneAudit = "DELETE FROM audit WHERE row <= $1";
}
