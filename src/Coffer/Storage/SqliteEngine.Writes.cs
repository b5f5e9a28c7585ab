using Microsoft.Data.Sqlite;

namespace Coffer.Storage;

/// <summary>The committer's part: what a change decides by, and how rows are written.</summary>
internal sealed partial class SqliteEngine
{
    private bool hasShredded;

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        var refusals = new List<(Change Change, Exception Refusal)>();
        hasShredded = false;
        try
        {
            writer.Run("BEGIN IMMEDIATE");
            var notes = new List<Note>();
            foreach (var change in changes)
            {
                IReadOnlyList<RowWrite> rows = [];
                Exception? refused = null;
                try
                {
                    rows = change.Decide(FindFor(change));
                }
                catch (Exception refusal) when (refusal is not SqliteException)
                {
                    refused = refusal;
                    refusals.Add((change, refusal));
                }

                foreach (var row in rows)
                    Apply(row);
                notes.AddRange(change.NotesOn(refused));
            }

            if (chain(notes) is { } audit)
                Apply(audit);
            writer.Run("COMMIT");
            // What was shredded is overwritten in the file; the log is emptied into it, so that it does not stay there either.
            if (hasShredded)
                writer.Execute("PRAGMA wal_checkpoint(TRUNCATE)");
            // A refusal is answered once its entry is durable, like everything else.
            foreach (var (change, refusal) in refusals)
                change.Fail(refusal);
        }
        catch (SqliteException e)
        {
            Rollback();
            throw Translated(e);
        }
        catch
        {
            Rollback();
            throw;
        }
    }

    private Change.Found FindFor(Change change) => new(
        change.SecretAt is { } hung && Number("SELECT count(*) FROM tenants WHERE id = $1", hung.Tenant) > 0,
        change.SecretAt is { } secret ? First(writer, SecretByKey, ToSecret, secret.Tenant, secret.Name) : null,
        change.IdempotencyAt is { } key
            ? First(writer, "SELECT tenant, key, fingerprint, created, sealed FROM idempotency WHERE tenant = $1 AND key = $2", ToIdempotency, key.Tenant, key.Key)
            : null,
        (scope, now) => change.SecretAt is { } at
            ? (int)Number("SELECT count(*) FROM secrets WHERE tenant = $1 AND scope = $2 AND (expires_at IS NULL OR expires_at > $3)", at.Tenant, scope, now)
            : 0,
        change.ManagementAt is { } management ? FindFor(management) : null);

    private Change.ManagementFound FindFor(Change.ManagementKey at) => new(
        at.App is { } app ? First(writer, AppById, ToApp, app) : null,
        at.App is not null && Number("SELECT EXISTS (SELECT 1 FROM tenants WHERE app = $1)", at.App) != 0,
        at.ApiKey is { } key ? First(writer, ApiKeyById, ToApiKey, key) : null,
        at.ApiKey is null ? 0 : Number("SELECT count(*) FROM api_keys WHERE kind = 'admin' AND expires_at IS NULL AND id <> $1", at.ApiKey),
        at is { App: not null, Account: not null } ? CountedTenants(at.App, at.Account, at.Now) : [],
        at.Reply is { } reply ? First(writer, "SELECT key, owner, fingerprint, created, sealed FROM replies WHERE key = $1", ToReply, reply) : null);

    private List<CountedTenantRow> CountedTenants(string app, string account, long now)
    {
        var tenants = new List<CountedTenantRow>();
        using var row = writer.Query("""
            SELECT id, livemode, (SELECT count(*) FROM secrets WHERE tenant = t.id AND (expires_at IS NULL OR expires_at > $1))
            FROM tenants t WHERE app = $2 AND account = $3 ORDER BY id
            """, now, app, account);
        while (row.Read())
            tenants.Add(new CountedTenantRow(row.Number(0), row.Number(1) != 0, row.Number(2)));
        return tenants;
    }

    private long Number(string sql, params ReadOnlySpan<SqliteValue> values)
    {
        using var row = writer.Query(sql, values);
        row.Read();
        return row.Number(0);
    }

    private void Apply(RowWrite write)
    {
        switch (write)
        {
            case RowWrite.PutSecret { Row: var r }:
                writer.Run("""
                    INSERT INTO secrets (tenant, name, scope, id, version, created, expires_at, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                    ON CONFLICT (tenant, name) DO UPDATE SET id = $4, version = $5, created = $6, expires_at = $7, sealed = $8
                    """, r.Key.Tenant, r.Key.Name, r.Scope, r.Id, r.Version, r.Created, r.ExpiresAt, r.Sealed);
                break;
            case RowWrite.DeleteSecret { Key: var k }:
                writer.Run("DELETE FROM secrets WHERE tenant = $1 AND name = $2", k.Tenant, k.Name);
                break;
            case RowWrite.PutIdempotency { Row: var r }:
                // A key that is used again after its record is too old gets a new place in the order of time.
                writer.Run("INSERT OR REPLACE INTO idempotency (tenant, key, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)",
                    r.Key.Tenant, r.Key.Key, r.Fingerprint, r.Created, r.Sealed);
                break;
            case RowWrite.PutAudit { Row: var r }:
                writer.Run("INSERT INTO audit (node, first, last, mac, entries) VALUES ($1, $2, $3, $4, $5)", r.Node, r.First, r.Last, r.Mac, r.Entries);
                break;
            case RowWrite.PruneAudit p:
                writer.Run("DELETE FROM audit WHERE row <= $1", p.UpTo);
                break;
            case RowWrite.PruneIdempotency p:
                writer.Run("""
                    DELETE FROM idempotency
                    WHERE seq IN (SELECT seq FROM (SELECT seq, created FROM idempotency ORDER BY seq LIMIT $1) WHERE created <= $2)
                    """, p.Limit, p.MadeBy);
                break;
            case RowWrite.PutReply { Row: var r }:
                writer.Run("INSERT OR REPLACE INTO replies (key, owner, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)",
                    r.Key, r.Owner, r.Fingerprint, r.Created, r.Sealed);
                break;
            case RowWrite.DeleteReplies { Owner: var owner }:
                writer.Run("DELETE FROM replies WHERE owner = $1", owner);
                break;
            case RowWrite.PutRevocation { Row: var r }:
                writer.Run("""
                    INSERT INTO revocations (subject, made_until, kept_until) VALUES ($1, $2, $3)
                    ON CONFLICT (subject) DO UPDATE SET made_until = max(made_until, $2), kept_until = max(kept_until, $3)
                    """, r.Subject, r.MadeUntil, r.KeptUntil);
                break;
            case RowWrite.PruneManagement p:
                writer.Run("DELETE FROM replies WHERE created <= $1", p.RepliesMadeBy);
                writer.Run("DELETE FROM revocations WHERE kept_until <= $1", p.Now);
                break;
            case RowWrite.ShredTenant { Tenant: var tenant }:
                writer.Run("DELETE FROM secrets WHERE tenant = $1", tenant);
                writer.Run("DELETE FROM idempotency WHERE tenant = $1", tenant);
                writer.Run("DELETE FROM tenants WHERE id = $1", tenant);
                hasShredded = true;
                break;
            case RowWrite.AddTenant t:
                writer.Run("""
                    INSERT INTO tenants (app, livemode, account, created, sealed_keys)
                    SELECT id, $1, $2, $3, $4 FROM apps WHERE id = $5
                    ON CONFLICT (app, livemode, account) DO NOTHING
                    """, t.Tenant.Livemode, t.Tenant.Account, t.Created, t.SealedKeys, t.Tenant.App);
                break;
            case RowWrite.PutApiKey { Row: var r }:
                writer.Run("""
                    INSERT INTO api_keys (mac, id, app, kind, livemode, created, expires_at, proof, permissions, pinned_account, addresses)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                    ON CONFLICT (mac) DO UPDATE SET expires_at = $7, proof = $8
                    """, r.Mac, r.Id, r.App, r.Kind, r.Livemode, r.Created, r.ExpiresAt, r.Proof, r.Permissions, r.PinnedAccount, r.Addresses);
                break;
            case RowWrite.TouchApiKey k:
                writer.Run("UPDATE api_keys SET last_used = $1 WHERE id = $2", k.LastUsed, k.Id);
                break;
            case RowWrite.DeleteApiKey { Id: var id }:
                writer.Run("DELETE FROM api_keys WHERE id = $1", id);
                break;
            case RowWrite.PutApp { Row: var r }:
                writer.Run("""
                    INSERT INTO apps (id, name, account, created, sealed) VALUES ($1, $2, $3, $4, $5)
                    ON CONFLICT (id) DO UPDATE SET name = $2, sealed = $5
                    """, r.Id, r.Name, r.Account, r.Created, r.Sealed);
                break;
            case RowWrite.DeleteApp { Id: var id }:
                writer.Run("DELETE FROM api_keys WHERE app = $1", id);
                writer.Run("DELETE FROM apps WHERE id = $1", id);
                break;
            case RowWrite.PutRootKey { Row: var r }:
                writer.Run("INSERT INTO root_keys (version, created, wrapped) VALUES ($1, $2, $3)", r.Version, r.Created, r.Wrapped);
                break;
            case RowWrite.PutMeta m:
                writer.Run("INSERT OR REPLACE INTO meta (key, value) VALUES ($1, $2)", m.Key, m.Value);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(write));
        }
    }

    private void Rollback()
    {
        try
        {
            writer.Run("ROLLBACK");
        }
        catch (SqliteException)
        {
            // SQLite has rolled back by itself: the failure that led here is the one to report.
        }
    }
}
