namespace Coffer.Storage;

/// <summary>The statements of a transaction that are PostgreSQL's own.</summary>
internal sealed partial class PostgresTransaction
{
    private const string LockTenants = "SELECT id FROM tenants WHERE id = ANY($1) ORDER BY id FOR UPDATE";

    private const string LockTenantsOfAccounts = """
        SELECT id FROM tenants
        WHERE id = ANY($1 || ARRAY(
            SELECT t.id FROM unnest($2, $3) AS asked (app, account)
            JOIN tenants t ON t.app = asked.app AND t.account = asked.account))
        ORDER BY id FOR UPDATE
        """;

    private const string IdempotencyByKey = """
        SELECT i.tenant, i.key, i.fingerprint, i.created, i.sealed
        FROM unnest($1, $2) AS asked (tenant, key) JOIN idempotency i ON i.tenant = asked.tenant AND i.key = asked.key
        """;

    // Of scopes to which something may be added: to replace what is there and never expires adds nothing.
    private const string LiveInScopes = """
        SELECT asked.place, s.expires_at, count(*)
        FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (tenant, scope, name, place)
        JOIN secrets s ON s.tenant = asked.tenant AND s.scope = asked.scope
        WHERE NOT EXISTS (
            SELECT FROM secrets r WHERE r.tenant = asked.tenant AND r.name = asked.name AND r.expires_at IS NULL)
        GROUP BY asked.place, s.expires_at
        """;

    private const string PutSecrets = """
        INSERT INTO secrets (tenant, name, scope, id, version, created, expires_at, sealed)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, name) DO UPDATE
        SET scope = excluded.scope, id = excluded.id, version = excluded.version, created = excluded.created,
            expires_at = excluded.expires_at, sealed = excluded.sealed
        """;

    private const string DeleteSecrets =
        "DELETE FROM secrets s USING unnest($1, $2) AS gone (tenant, name) "
        + "WHERE s.tenant = gone.tenant AND s.name = gone.name";

    // Of keys that were read under their tenant's lock, and are not there: half as dear as an upsert.
    private const string AddIdempotency =
        "INSERT INTO idempotency (tenant, key, fingerprint, created, sealed) SELECT * FROM unnest($1, $2, $3, $4, $5)";

    // A key that is used again after its record is too old gets a new place in the order of time.
    private const string PutIdempotency = $"""
        {AddIdempotency}
        ON CONFLICT (tenant, key) DO UPDATE SET seq = excluded.seq, fingerprint = excluded.fingerprint,
            created = excluded.created, sealed = excluded.sealed
        """;

    private const string PutReply = """
        INSERT INTO replies (key, owner, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, owner = $2, fingerprint = $3, created = $4, sealed = $5
        """;

    private const string DeleteRevocations = "DELETE FROM revocations WHERE subject = ANY($1) AND kept_until <= $2";

    // The app is held against its deletion by another node: a deleted one is waited for, and then has no tenant added.
    private const string AddTenant = """
        INSERT INTO tenants (app, livemode, account, created, sealed_keys)
        SELECT id, $1, $2, $3, $4 FROM apps WHERE id = $5 FOR KEY SHARE
        ON CONFLICT (app, livemode, account) DO NOTHING
        """;
}
