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

    private readonly PostgresOverlay overlay = new();
    private readonly List<(NpgsqlBatchCommand Command, Action<PostgresRow>? Read)> pending = [];
    private readonly List<(string Row, string Sql, PostgresValue[] Values)> singles = [];
    private bool hasBegun;
    private bool holdsManagement;
    // What depends on the transaction's number, which is taken last, for who takes it waits for all who hold one.
    private readonly List<(string Row, string Sql, PostgresValue[] Values)> numbered = [];
    private bool hasNumber;

    /// <summary>What the transaction changes of what nodes keep in memory.</summary>
    public News News { get; } = new();

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
        if (hasBegun || pending.Count + numbered.Count > 0)
            Commit();
        return refusals;
    }

    private void Commit()
    {
        if (!News.IsEmpty)
            FlushNumbered();
        // Also when nothing was changed in the end: a number that says nothing would count as missed.
        if (hasNumber)
            Queue(CommitOrder.Tell, News.ToString());
        if (News.IsOfAccess)
            Queue(PostgresNode.Ring, PostgresNode.AccessChanged);
        foreach (var tenant in News.Tenants)
            Queue(PostgresNode.Ring, PostgresNode.Gone(tenant));
        Queue("COMMIT");
        IsCommitting = true;
        Send();
    }

    private void FlushNumbered()
    {
        if (!hasNumber)
            Queue(CommitOrder.Advance);
        hasNumber = true;
        foreach (var (_, sql, values) in numbered.OrderBy(single => single.Row, StringComparer.Ordinal))
            Queue(sql, values);
        numbered.Clear();
    }

    // Of all changes that are not yet decided, so that one round trip serves them all.
    private void Read(IReadOnlyList<Change> changes, int from)
    {
        Flush();
        var (secrets, keys, scopes) = (new List<SecretKey>(), new List<IdempotencyKey>(), new List<Change>());
        var (management, replies) = (new List<(Change Change, Change.ManagementKey At)>(), new List<byte[]>());
        var needsNumber = false;
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
            needsNumber |= at.NeedsNumber;
        }

        SortedSet<long> tenants = [.. secrets.Select(key => key.Tenant), .. keys.Select(key => key.Tenant), .. scopes.Select(change => change.ScopeAt!.Value.Tenant)];
        overlay.Expect(tenants, secrets, keys, replies);
        Lock(tenants, [.. management.Where(asked => asked.At.Mint is null)], replies);
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
        if (needsNumber && overlay.Number is null)
        {
            // Again if it was taken for what was written: it is the same one then.
            Ask(hasNumber ? CommitOrder.SelectLast : CommitOrder.Take, row => overlay.Number = row.Number(0));
            hasNumber = true;
        }

        Send();
        if (needsNumber && overlay.Number is null)
            throw WriteProof.Broken("epoch");
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
        if (at.Mint is { } mint)
        {
            // The number first: what ends the key after any of these reads has a greater one.
            Ask(CommitOrder.SelectLast, row => into.Last = row.Number(0));
            Ask(Sql.ApiKeyById, row => into.ApiKey = Columns.ToApiKey(row), mint.Key);
            var (of, livemode, account) = mint.Tenant;
            Ask(Sql.AppById, row => into.App = Columns.ToApp(row), of);
            Ask(Sql.GenerationOf, row => into.Generation = Columns.ToGeneration(row), of, livemode, account);
            return;
        }

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
        News.Add(write);
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
                numbered.Add(($"revocations {r.Subject}", Sql.PutRevocation,
                    [r.Subject, r.MadeUntil, r.KeptUntil, r.App]));
                break;
            case RowWrite.DeleteRevocations d:
                if (numbered.Count > 0)
                    FlushNumbered();
                Queue(DeleteRevocations, d.Subjects.ToArray(), d.Now);
                break;
            case RowWrite.PutGeneration { Row: var r }:
                QueueSingle($"generations {r.Tenant}", Sql.PutGeneration, r.Tenant.App, r.Tenant.Livemode,
                    r.Tenant.Account, r.Number, r.KeptUntil, r.Mac);
                overlay.Wrote(PostgresOverlay.Parts.Generations);
                break;
            case RowWrite.KeepGeneration k:
                QueueSingle($"generations {k.Tenant}", Sql.KeepGeneration, k.KeptUntil, k.Tenant.App,
                    k.Tenant.Livemode, k.Tenant.Account);
                overlay.Wrote(PostgresOverlay.Parts.Generations);
                break;
            case RowWrite.DeleteGeneration d:
                Flush();
                Queue(Sql.DeleteGeneration, d.Tenant.App, d.Tenant.Livemode, d.Tenant.Account, d.Number, d.Now);
                overlay.Wrote(PostgresOverlay.Parts.Generations);
                break;
            case RowWrite.PruneReplies p:
                Flush();
                Queue(Sql.PruneReplies, p.Limit, p.MadeBy);
                overlay.ForgetReplies();
                break;
            case RowWrite.ShredTenant { Number: var number }:
                Flush();
                Queue(Sql.DeleteSecretsOfTenant, number);
                Queue(Sql.DeleteIdempotencyOfTenant, number);
                Queue(Sql.DeleteTenant, number);
                overlay.ForgetTenants();
                break;
            case RowWrite.AddTenant t:
                QueueSingle($"tenants {t.Tenant}", AddTenant, t.Tenant.Livemode, t.Tenant.Account, t.Created, t.SealedKeys, t.Tenant.App);
                QueueSingle($"tenants {t.Tenant} proven", PostgresProof.TenantIsThere, t.Tenant.Livemode,
                    t.Tenant.Account, t.Tenant.App);
                overlay.ForgetAbsentTenants();
                break;
            case RowWrite.PutApiKey { Row: var r }:
                Queue(Sql.PutApiKey, r.Mac, r.Id, r.App, r.Kind, r.Livemode, r.Created, r.ExpiresAt, r.Proof,
                    r.Permissions, r.PinnedAccount, r.Addresses,
                    r.Generation);
                overlay.Wrote(PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.TouchApiKey k:
                QueueSingle($"api_keys {k.Id}", Sql.TouchApiKey, k.LastUsed, k.Id);
                overlay.Wrote(PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.DeleteApiKey { Id: var id }:
                Flush();
                Queue(Sql.DeleteApiKey, id);
                overlay.Wrote(PostgresOverlay.Parts.ApiKeys);
                break;
            case RowWrite.PutApp { Row: var r }:
                Flush();
                Queue(Sql.PutApp, r.Id, r.Name, r.Account, r.Created, r.Sealed);
                overlay.Wrote(PostgresOverlay.Parts.Apps);
                break;
            case RowWrite.DeleteApp { Id: var id }:
                Flush();
                Queue(Sql.DeleteApiKeysOfApp, id);
                Queue(Sql.DeleteApp, id);
                overlay.Wrote(PostgresOverlay.Parts.Apps | PostgresOverlay.Parts.ApiKeys);
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

    private static TColumn[] Each<TRow, TColumn>(IReadOnlyList<TRow> rows, Func<TRow, TColumn> column) =>
        rows.Select(column).ToArray();
}
