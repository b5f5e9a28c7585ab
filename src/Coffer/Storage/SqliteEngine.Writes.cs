using Microsoft.Data.Sqlite;

namespace Coffer.Storage;

/// <summary>The committer's part: what a change decides by, and how rows are written.</summary>
internal sealed partial class SqliteEngine
{
    // Held by who writes and, for a moment, by who empties the log.
    private readonly Lock writing = new();
    private News news = new();
    private long? number;

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        lock (writing)
            WriteAlone(changes, chain);
    }

    private void WriteAlone(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        var refusals = new List<(Change Change, Exception Refusal)>();
        (news, number) = (new News(), null);
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
            if (!news.IsEmpty)
                TakeNumber();
            writer.Run("COMMIT");
            if (!news.IsEmpty)
                Changed(news);
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
        change.SecretAt is { } secret ? First(writer, Sql.SecretByKey, Columns.ToSecret, secret.Tenant, secret.Name) : null,
        change.IdempotencyAt is { } key
            ? First(writer, Sql.IdempotencyByKey, Columns.ToIdempotency, key.Tenant, key.Key)
            : null,
        now => change.ScopeAt is { } at
            ? (int)Number("SELECT count(*) FROM secrets WHERE tenant = $1 AND scope = $2 AND (expires_at IS NULL OR expires_at > $3)", at.Tenant, at.Scope, now)
            : throw new InvalidOperationException("a change counts in the scope that it names in ScopeAt"),
        change.ManagementAt is { } management ? FindFor(management) : null);

    private Change.ManagementFound FindFor(Change.ManagementKey at) => new(
        at.App is { } app ? First(writer, Sql.AppById, Columns.ToApp, app) : null,
        at.App is not null && Number("SELECT EXISTS (SELECT 1 FROM tenants WHERE app = $1)", at.App) != 0,
        at.ApiKey is { } key ? First(writer, Sql.ApiKeyById, Columns.ToApiKey, key) : null,
        at.ApiKey is null ? 0 : Number(Sql.OtherAdminKeys, at.ApiKey),
        at is { App: not null, Account: not null } ? CountedTenants(at.App, at.Account, at.Now) : [],
        at.Reply is { } reply ? First(writer, Sql.ReplyByKey, Columns.ToReply, reply) : null)
    {
        OldestAudit = at.AsksOldestAudit ? Number(Sql.OldestAudit) : 0,
        Number = at.NeedsNumber ? TakeNumber() : 0,
        Mint = at.Mint is { } mint ? FindFor(mint.Key, mint.Tenant) : null,
    };

    private Change.MintFound FindFor(string key, TenantId tenant) => new(
        First(writer, Sql.ApiKeyById, Columns.ToApiKey, key),
        First(writer, Sql.AppById, Columns.ToApp, tenant.App),
        First(writer, Sql.GenerationOf, Columns.ToGeneration, tenant.App, tenant.Livemode, tenant.Account),
        Number(CommitOrder.SelectLast));

    // One for all changes of a transaction.
    private long TakeNumber()
    {
        if (number is null)
            writer.Run(CommitOrder.Advance);
        return number ??= Number(CommitOrder.SelectLast);
    }

    private List<CountedTenantRow> CountedTenants(string app, string account, long now)
    {
        var tenants = new List<CountedTenantRow>();
        using var row = writer.Query(Sql.CountedTenants, now, app, account);
        while (row.Read())
            tenants.Add(Columns.ToCountedTenant(row));
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
        news.Add(write);
        switch (write)
        {
            case RowWrite.PutSecret { Row: var r }:
                writer.Run("""
                    INSERT INTO secrets (tenant, name, scope, id, version, created, expires_at, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                    ON CONFLICT (tenant, name) DO UPDATE SET scope = $3, id = $4, version = $5, created = $6, expires_at = $7, sealed = $8
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
                writer.Run(Sql.PutAudit, r.Node, r.First, r.Last, r.Mac, r.Entries);
                break;
            case RowWrite.PruneAudit p:
                writer.Run(Sql.PruneAudit, p.UpTo);
                break;
            case RowWrite.PruneIdempotency p:
                writer.Run(Number(Sql.OldIdempotency, p.Limit, p.MadeBy), Sql.PruneIdempotency, p.Limit, p.MadeBy);
                break;
            case RowWrite.PutReply { Row: var r }:
                writer.Run("INSERT OR REPLACE INTO replies (key, owner, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)",
                    r.Key, r.Owner, r.Fingerprint, r.Created, r.Sealed);
                break;
            case RowWrite.DeleteReplies { Owner: var owner }:
                writer.Run(Sql.DeleteReplies, owner);
                break;
            case RowWrite.PutReceipt { Row: var r }:
                writer.Run(Sql.PutReceipt, r.Id, r.Created, r.Signed, r.Sealed);
                break;
            case RowWrite.PruneReceipts p:
                writer.Run(Sql.PruneReceipts, p.SignedBy);
                break;
            case RowWrite.PutRevocation { Row: var r }:
                TakeNumber();
                writer.Run(Sql.PutRevocation, r.Subject, r.MadeUntil, r.KeptUntil, r.App);
                break;
            case RowWrite.DeleteRevocations d:
                foreach (var subject in d.Subjects)
                    writer.Run(Sql.DeleteRevocation, subject, d.Now);
                break;
            case RowWrite.PutGeneration { Row: var r }:
                writer.Run(Sql.PutGeneration, r.Tenant.App, r.Tenant.Livemode, r.Tenant.Account, r.Number, r.KeptUntil,
                    r.Mac);
                break;
            case RowWrite.KeepGeneration k:
                writer.Run(Sql.KeepGeneration, k.KeptUntil, k.Tenant.App, k.Tenant.Livemode, k.Tenant.Account);
                break;
            case RowWrite.DeleteGeneration d:
                writer.Run(Sql.DeleteGeneration, d.Tenant.App, d.Tenant.Livemode, d.Tenant.Account, d.Number, d.Now);
                break;
            case RowWrite.PruneReplies p:
                writer.Run(Number(Sql.OldReplies, p.Limit, p.MadeBy), Sql.PruneReplies, p.Limit, p.MadeBy);
                break;
            case RowWrite.ShredTenant { Number: var tenant }:
                writer.Run(Sql.DeleteSecretsOfTenant, tenant);
                writer.Run(Sql.DeleteIdempotencyOfTenant, tenant);
                writer.Run(Sql.DeleteTenant, tenant);
                break;
            case RowWrite.AddTenant t:
                writer.Run(Number(Sql.MayAddTenant, t.Tenant.Livemode, t.Tenant.Account, t.Tenant.App), """
                    INSERT INTO tenants (app, livemode, account, created, sealed_keys)
                    SELECT id, $1, $2, $3, $4 FROM apps WHERE id = $5
                    ON CONFLICT (app, livemode, account) DO NOTHING
                    """, t.Tenant.Livemode, t.Tenant.Account, t.Created, t.SealedKeys, t.Tenant.App);
                break;
            case RowWrite.PutApiKey { Row: var r }:
                writer.Run(Sql.PutApiKey, r.Mac, r.Id, r.App, r.Kind, r.Livemode, r.Created, r.ExpiresAt, r.Proof,
                    r.Permissions, r.PinnedAccount,
                    r.Addresses, r.Generation);
                break;
            case RowWrite.TouchApiKey k:
                writer.Run(Sql.TouchApiKey, k.LastUsed, k.Id);
                break;
            case RowWrite.DeleteApiKey { Id: var id }:
                writer.Run(Sql.DeleteApiKey, id);
                break;
            case RowWrite.PutApp { Row: var r }:
                writer.Run(Sql.PutApp, r.Id, r.Name, r.Account, r.Created, r.Sealed);
                break;
            case RowWrite.DeleteApp { Id: var id }:
                writer.Run(Sql.DeleteApiKeysOfApp, id);
                writer.Run(Sql.DeleteApp, id);
                break;
            case RowWrite.PutRootKey { Row: var r }:
                writer.Run(Sql.PutRootKey, r.Version, r.Created, r.Wrapped);
                break;
            case RowWrite.PutMeta m:
                writer.Run(Sql.PutMeta, m.Key, m.Value);
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
