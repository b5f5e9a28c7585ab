using Npgsql;

namespace Coffer.Storage;

/// <summary>
/// One try to write a batch of changes, in two round trips as a rule: the first begins, locks the batch's tenants and reads
/// what its changes ask for; the second writes what they decided and commits. A batch that asks for nothing takes one. What
/// a change cannot know without what an earlier one wrote takes one more (decision 11).
/// </summary>
internal sealed partial class PostgresTransaction(NpgsqlConnection connection, TimeSpan patience)
{
    /// <summary>The first of the two numbers of Coffer's advisory locks, "COFR"; the second says which.</summary>
    public const int LockClass = 0x434F4652;

    private const int ManagementLock = 3;

    private const string LockTenants = "SELECT id FROM tenants WHERE id = ANY($1) ORDER BY id FOR UPDATE";

    private const string LockTenantsOfAccounts = """
        SELECT id FROM tenants
        WHERE id = ANY($1 || ARRAY(SELECT t.id FROM unnest($2, $3) AS asked (app, account) JOIN tenants t ON t.app = asked.app AND t.account = asked.account))
        ORDER BY id FOR UPDATE
        """;

    private const string IdempotencyByKey = """
        SELECT i.tenant, i.key, i.fingerprint, i.created, i.sealed
        FROM unnest($1, $2) AS asked (tenant, key) JOIN idempotency i ON i.tenant = asked.tenant AND i.key = asked.key
        """;

    // Of scopes to which something may be added: to replace what is there and never expires adds nothing.
    private const string LiveInScopes = """
        SELECT asked.place, s.expires_at, count(*)
        FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (tenant, scope, name, place) JOIN secrets s ON s.tenant = asked.tenant AND s.scope = asked.scope
        WHERE NOT EXISTS (SELECT FROM secrets r WHERE r.tenant = asked.tenant AND r.name = asked.name AND r.expires_at IS NULL)
        GROUP BY asked.place, s.expires_at
        """;

    private const string PutSecrets = """
        INSERT INTO secrets (tenant, name, scope, id, version, created, expires_at, sealed)
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant, name) DO UPDATE
        SET scope = excluded.scope, id = excluded.id, version = excluded.version, created = excluded.created, expires_at = excluded.expires_at, sealed = excluded.sealed
        """;

    private const string DeleteSecrets =
        "DELETE FROM secrets s USING unnest($1, $2) AS gone (tenant, name) WHERE s.tenant = gone.tenant AND s.name = gone.name";

    // Of keys that were read under their tenant's lock, and are not there: half as dear as an upsert.
    private const string AddIdempotency = "INSERT INTO idempotency (tenant, key, fingerprint, created, sealed) SELECT * FROM unnest($1, $2, $3, $4, $5)";

    // A key that is used again after its record is too old gets a new place in the order of time.
    private const string PutIdempotency = $"""
        {AddIdempotency}
        ON CONFLICT (tenant, key) DO UPDATE SET seq = excluded.seq, fingerprint = excluded.fingerprint, created = excluded.created, sealed = excluded.sealed
        """;

    private const string PutReply = """
        INSERT INTO replies (key, owner, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, owner = $2, fingerprint = $3, created = $4, sealed = $5
        """;

    // The app is held against its deletion by another node: a deleted one is waited for, and then has no tenant added.
    private const string AddTenant = """
        INSERT INTO tenants (app, livemode, account, created, sealed_keys)
        SELECT id, $1, $2, $3, $4 FROM apps WHERE id = $5 FOR KEY SHARE
        ON CONFLICT (app, livemode, account) DO NOTHING
        """;

    private readonly PostgresOverlay overlay = new();
    private readonly List<(NpgsqlBatchCommand Command, Action<PostgresRow>? Read)> pending = [];
    private readonly List<(string Row, string Sql, PostgresValue[] Values)> singles = [];
    private bool hasBegun;
    private bool holdsManagement;
    private readonly List<TenantId> shredded = [];
    private bool tellsOthers;

    /// <summary>Whether the commit was sent: a failure after it leaves open whether the batch is stored.</summary>
    public bool IsCommitting { get; private set; }

    /// <summary>Reads for, decides and writes the changes, and commits.</summary>
    /// <returns>The changes that were refused, to be told so.</returns>
    public List<(Change Change, Exception Refusal)> Run(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        var refusals = new List<(Change Change, Exception Refusal)>();
        var notes = new List<Note>();
        for (var i = 0; i < changes.Count; i++)
        {
            var change = changes[i];
            if (!overlay.Knows(change))
                Read(changes, i);
            IReadOnlyList<RowWrite> rows = [];
            Exception? refused = null;
            try
            {
                rows = change.Decide(overlay.FindFor(change));
            }
            catch (Exception refusal)
            {
                refused = refusal;
                refusals.Add((change, refusal));
            }

            foreach (var row in rows)
                Apply(row);
            notes.AddRange(change.NotesOn(refused));
        }

        Flush();
        if (chain(notes) is { } audit)
            Apply(audit);
        if (hasBegun || pending.Count > 0)
            Commit();
        return refusals;
    }

    private void Commit()
    {
        if (tellsOthers)
            Tell(PostgresNode.AccessChanged);
        foreach (var tenant in shredded)
            Tell(PostgresNode.Gone(tenant));
        Queue("COMMIT");
        IsCommitting = true;
        Send();
    }

    private void Tell(string what) => Queue(PostgresNode.Tell, what);

    // Of all changes that are not yet decided, so that one round trip serves them all.
    private void Read(IReadOnlyList<Change> changes, int from)
    {
        Flush();
        var (secrets, keys, scopes) = (new List<SecretKey>(), new List<IdempotencyKey>(), new List<Change>());
        var (management, replies) = (new List<(Change Change, Change.ManagementKey At)>(), new List<byte[]>());
        for (var i = from; i < changes.Count; i++)
        {
            var change = changes[i];
            if (change.SecretAt is { } secret)
                secrets.Add(secret);
            if (change.IdempotencyAt is { } key)
                keys.Add(key);
            if (change.ScopeAt is not null)
                scopes.Add(change);
            if (change.ManagementAt is not { } at)
                continue;
            if (PostgresOverlay.PartsOf(at) != PostgresOverlay.Parts.None)
                management.Add((change, at));
            if (at.Reply is { } reply)
                replies.Add(reply);
        }

        SortedSet<long> tenants = [.. secrets.Select(key => key.Tenant), .. keys.Select(key => key.Tenant), .. scopes.Select(change => change.ScopeAt!.Value.Tenant)];
        overlay.Expect(tenants, secrets, keys, replies);
        Lock(tenants, management, replies);
        if (secrets.Count > 0)
            Ask(PostgresEngine.SecretsByKey, row => overlay.Read(Columns.ToSecret(row)), Each(secrets, key => key.Tenant), Each(secrets, key => key.Name));
        if (keys.Count > 0)
            Ask(IdempotencyByKey, row => overlay.Read(Columns.ToIdempotency(row)), Each(keys, key => key.Tenant), Each(keys, key => key.Key));
        if (scopes.Count > 0)
        {
            Ask(LiveInScopes, row => overlay.Read(scopes[(int)row.Number(0) - 1], row.NumberOrNull(1), row.Number(2)), Each(scopes, change => change.ScopeAt!.Value.Tenant),
                Each(scopes, change => change.ScopeAt!.Value.Scope), Each(scopes, change => change.SecretAt is { } at && at.Tenant == change.ScopeAt!.Value.Tenant ? at.Name : []));
        }

        foreach (var reply in replies)
            Ask(Sql.ReplyByKey, row => overlay.Read(Columns.ToReply(row)), reply);
        foreach (var (change, at) in management)
            Ask(overlay.ReadFor(change), at);
        Send();
        foreach (var change in scopes)
            overlay.ReadScope(change);
    }

    // On all nodes in the same order: the management plane, replies, tenants by their ids, apps. Each statement sees what was
    // committed before it began, so what is read after a lock is what the one who held it left.
    private void Lock(SortedSet<long> tenants, List<(Change Change, Change.ManagementKey At)> management, List<byte[]> replies)
    {
        if (management.Count > 0 && !holdsManagement)
        {
            holdsManagement = true;
            Ask("SELECT pg_advisory_xact_lock($1::int, $2::int)", static _ => { }, LockClass, ManagementLock);
        }

        foreach (var reply in replies.Select(reply => BitConverter.ToInt64([.. reply, .. new byte[8]], 0)).Order())
            Ask("SELECT pg_advisory_xact_lock($1)", static _ => { }, reply);

        var accounts = management.Where(asked => asked.At is { App: not null, Account: not null }).ToList();
        if (accounts.Count > 0)
            Ask(LockTenantsOfAccounts, row => overlay.Read(row.Number(0)), tenants.ToArray(), Each(accounts, asked => asked.At.App!), Each(accounts, asked => asked.At.Account!));
        else if (tenants.Count > 0)
            Ask(LockTenants, row => overlay.Read(row.Number(0)), tenants.ToArray());

        if (management.Where(asked => asked.At.App is not null).Select(asked => asked.At.App!).Distinct().ToArray() is { Length: > 0 } apps)
            Ask("SELECT id FROM apps WHERE id = ANY($1) ORDER BY id FOR UPDATE", static _ => { }, apps);
    }

    private void Ask(PostgresOverlay.Management into, Change.ManagementKey at)
    {
        if (at.App is { } app)
        {
            Ask(Sql.AppById, row => into.App = Columns.ToApp(row), app);
            Ask("SELECT 1::bigint FROM tenants WHERE app = $1 LIMIT 1", _ => into.AppHasTenants = true, app);
        }

        if (at.ApiKey is { } key)
        {
            Ask(Sql.ApiKeyById, row => into.ApiKey = Columns.ToApiKey(row), key);
            Ask(Sql.OtherAdminKeys, row => into.OtherAdminKeys = row.Number(0), key);
        }

        if (at is { App: not null, Account: not null })
            Ask(Sql.CountedTenants, row => into.Tenants.Add(Columns.ToCountedTenant(row)), at.Now, at.App, at.Account);
        if (at.AsksOldestAudit)
            Ask(Sql.OldestAudit, row => into.OldestAudit = row.Number(0));
    }

    // Secrets and idempotency records are written at the end, each in its last state, and single rows that nothing else of the
    // transaction depends on in the order of their keys; all else in the order of the changes.
    private void Apply(RowWrite write)
    {
        switch (write)
        {
            case RowWrite.PutSecret { Row: var r }:
                overlay.Put(r);
                break;
            case RowWrite.DeleteSecret { Key: var k }:
                overlay.Delete(k);
                break;
            case RowWrite.PutIdempotency { Row: var r }:
                overlay.Put(r);
                break;
            case RowWrite.PutAudit { Row: var r }:
                Queue(Sql.PutAudit, r.Node, r.First, r.Last, r.Mac, r.Entries);
                break;
            case RowWrite.PruneAudit p:
                Queue(Sql.PruneAudit, p.UpTo);
                overlay.Wrote(PostgresOverlay.Parts.Audit);
                break;
            case RowWrite.PruneIdempotency p:
                Flush();
                Queue(Sql.PruneIdempotency, p.Limit, p.MadeBy);
                overlay.ForgetIdempotency();
                break;
            case RowWrite.PutReply { Row: var r }:
                QueueSingle($"replies {Convert.ToHexString(r.Key)}", PutReply, r.Key, r.Owner, r.Fingerprint, r.Created, r.Sealed);
                overlay.Put(r);
                break;
            case RowWrite.DeleteReplies { Owner: var owner }:
                Flush();
                Queue(Sql.DeleteReplies, owner);
                overlay.ForgetReplies();
                break;
            case RowWrite.PutReceipt { Row: var r }:
                QueueSingle($"receipts {r.Id}", Sql.PutReceipt, r.Id, r.Created, r.Signed, r.Sealed);
                break;
            case RowWrite.PruneReceipts p:
                Queue(Sql.PruneReceipts, p.SignedBy);
                break;
            case RowWrite.PutRevocation { Row: var r }:
                QueueSingle($"revocations {r.Subject}", Sql.PutRevocation, r.Subject, r.MadeUntil, r.KeptUntil);
                tellsOthers = true;
                break;
            case RowWrite.PruneManagement p:
                Flush();
                Queue(Sql.PruneReplies, p.Limit, p.RepliesMadeBy);
                Queue(Sql.PruneRevocations, p.Now);
                overlay.ForgetReplies();
                break;
            case RowWrite.ShredTenant { Number: var number, Tenant: var tenant }:
                Flush();
                Queue(Sql.DeleteSecretsOfTenant, number);
                Queue(Sql.DeleteIdempotencyOfTenant, number);
                Queue(Sql.DeleteTenant, number);
                overlay.ForgetTenants();
                shredded.Add(tenant);
                break;
            case RowWrite.AddTenant t:
                QueueSingle($"tenants {t.Tenant}", AddTenant, t.Tenant.Livemode, t.Tenant.Account, t.Created, t.SealedKeys, t.Tenant.App);
                QueueSingle($"tenants {t.Tenant} proven", PostgresProof.TenantIsThere, t.Tenant.Livemode,
                    t.Tenant.Account, t.Tenant.App);
                overlay.ForgetAbsentTenants();
                break;
            case RowWrite.PutApiKey { Row: var r }:
                Queue(Sql.PutApiKey, r.Mac, r.Id, r.App, r.Kind, r.Livemode, r.Created, r.ExpiresAt, r.Proof, r.Permissions, r.PinnedAccount, r.Addresses);
                Changed(PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.TouchApiKey k:
                QueueSingle($"api_keys {k.Id}", Sql.TouchApiKey, k.LastUsed, k.Id);
                overlay.Wrote(PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.DeleteApiKey { Id: var id }:
                Flush();
                Queue(Sql.DeleteApiKey, id);
                Changed(PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.PutApp { Row: var r }:
                Flush();
                Queue(Sql.PutApp, r.Id, r.Name, r.Account, r.Created, r.Sealed);
                Changed(PostgresOverlay.Parts.Apps);
                break;
            case RowWrite.DeleteApp { Id: var id }:
                Flush();
                Queue(Sql.DeleteApiKeysOfApp, id);
                Queue(Sql.DeleteApp, id);
                Changed(PostgresOverlay.Parts.Apps | PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.PutRootKey { Row: var r }:
                Queue(Sql.PutRootKey, r.Version, r.Created, r.Wrapped);
                break;
            case RowWrite.PutMeta m:
                // All new secrets of a batch may bring the same row.
                singles.RemoveAll(single => single.Row == $"meta {m.Key}");
                QueueSingle($"meta {m.Key}", Sql.PutMeta, m.Key, m.Value);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(write));
        }
    }

    private void Changed(PostgresOverlay.Parts parts)
    {
        overlay.Wrote(parts);
        tellsOthers = true;
    }

    private void Flush()
    {
        var (put, deleted, stored) = overlay.TakeSecrets();
        if (deleted.Count > 0)
            Delete(deleted, stored);
        if (put.Count > 0)
        {
            QueueRows(put.Count, PutSecrets,
                Each(put, row => row.Key.Tenant), Each(put, row => row.Key.Name), Each(put, row => row.Scope),
                    Each(put, row => row.Id),
                Each(put, row => row.Version), Each(put, row => row.Created), Each(put, row => row.ExpiresAt), Each(put, row => row.Sealed));
        }

        foreach (var (areNew, rows) in overlay.TakeIdempotency())
        {
            QueueRows(rows.Count, areNew ? AddIdempotency : PutIdempotency,
                Each(rows, row => row.Key.Tenant), Each(rows, row => row.Key.Key), Each(rows, row => row.Fingerprint),
                Each(rows, row => row.Created), Each(rows, row => row.Sealed));
        }

        foreach (var (_, sql, values) in singles.OrderBy(single => single.Row, StringComparer.Ordinal))
            Queue(sql, values);
        singles.Clear();
    }

    private void QueueSingle(string row, string sql, params ReadOnlySpan<PostgresValue> values) => singles.Add((row, sql, values.ToArray()));

    private void Ask(string sql, Action<PostgresRow>? read, params ReadOnlySpan<PostgresValue> values)
    {
        if (!hasBegun)
        {
            hasBegun = true;
            pending.Add((new NpgsqlBatchCommand("BEGIN ISOLATION LEVEL READ COMMITTED"), null));
        }

        var command = new NpgsqlBatchCommand(sql);
        foreach (var value in values)
            command.Parameters.Add(value.Parameter);
        pending.Add((command, read));
    }

    /// <summary>One round trip for all that waits to be sent.</summary>
    private void Send()
    {
        PostgresCall.BoundAsync(SendAsync([.. pending]), patience, connection).GetAwaiter().GetResult();
        pending.Clear();
    }

    private async Task<bool> SendAsync(IReadOnlyList<(NpgsqlBatchCommand Command, Action<PostgresRow>? Read)> asked)
    {
        await using var batch = new NpgsqlBatch(connection);
        foreach (var (command, _) in asked)
            batch.BatchCommands.Add(command);
        await using var reader = await batch.ExecuteReaderAsync();
        foreach (var read in asked.Select(asked => asked.Read).OfType<Action<PostgresRow>>())
        {
            while (await reader.ReadAsync())
                read(new PostgresRow(reader));
            await reader.NextResultAsync();
        }

        while (await reader.NextResultAsync())
        {
            // Statements without rows: what they have to say is whether they failed.
        }

        return true;
    }

    private static TColumn[] Each<TRow, TColumn>(IReadOnlyList<TRow> rows, Func<TRow, TColumn> column)
    {
        var values = new TColumn[rows.Count];
        for (var i = 0; i < values.Length; i++)
            values[i] = column(rows[i]);
        return values;
    }
}
