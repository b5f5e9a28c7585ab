using System.Diagnostics;
using Coffer.Telemetry;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// One try to write a batch of changes, in two round trips as a rule: the first begins, locks the batch's tenants and
/// reads what its changes ask for; the second writes what they decided and commits. A batch that asks for nothing takes
/// one. What a change cannot know without what an earlier one wrote takes one more (decision 11).
/// </summary>
/// <param name="connection">What writes.</param>
/// <param name="settings">The statement after its begin.</param>
/// <param name="patience">How long a round trip may take.</param>
/// <param name="control">The control row that this node goes by; null is not looked at.</param>
internal sealed partial class PostgresTransaction(
    NpgsqlConnection connection, NpgsqlBatchCommand settings, TimeSpan patience, byte[]? control = null)
{
    private static readonly Distribution.Series SyncTime = Metrics.SyncTime.Of();

    private readonly PostgresOverlay overlay = new();
    private readonly List<(NpgsqlBatchCommand Command, Action<IRow>? Read)> pending = [];
    private readonly List<(string Row, IReadOnlyList<Statement> Statements)> singles = [];
    private bool hasBegun;
    private bool holdsManagement;
    // What depends on the transaction's number, which is given out last: it waits for every holder of one.
    private readonly List<(string Row, IReadOnlyList<Statement> Statements)> numbered = [];
    private bool hasNumber;
    private bool isUnderRoot;
    private long sent;

    /// <summary>What the transaction changes of what nodes keep in memory.</summary>
    public News News { get; } = new();

    /// <summary>Whether the commit was sent: a failure after it leaves open whether the batch is stored.</summary>
    public bool IsCommitting { get; private set; }

    /// <summary>Reads for, decides and writes the changes, and commits.</summary>
    /// <returns>The changes that were refused, to be told so.</returns>
    public List<(Change Change, Exception Refusal)> Run(
        IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
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
        {
            if (audit is RowWrite.PutAudit)
                Send(PostgresProof.PutAudit, Nothing, audit.Statements[0].Values);
            else
                Apply(audit);
        }

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
        HoldControl();
        Queue("COMMIT");
        IsCommitting = true;
        var began = Stopwatch.GetTimestamp();
        Send();
        SyncTime.RecordSince(began);
    }

    // Last, when nothing else is waited for: whoever changes the control row waits for all who commit by it.
    private void HoldControl()
    {
        if (!News.HasControl && control is null)
            return;
        Ask(News.HasControl ? PostgresLocks.Take : PostgresLocks.Share, PostgresLocks.Steps, PostgresLocks.Control);
        // What changes it has compared it.
        if ((isUnderRoot || !News.HasControl) && control is not null)
            Send(PostgresProof.ControlIsKnown, Nothing, control);
    }

    private void FlushNumbered()
    {
        if (!hasNumber)
            Queue(CommitOrder.Advance);
        hasNumber = true;
        foreach (var (_, statements) in numbered.OrderBy(single => single.Row, StringComparer.Ordinal))
        {
            foreach (var statement in statements)
                Queue(statement);
        }

        numbered.Clear();
    }

    // Of all changes that are not yet decided, so that one round trip serves them all.
    private void Read(IReadOnlyList<Change> changes, int from)
    {
        Flush();
        var (places, keys) = (new List<Asked>(), new List<IdempotencyKey>());
        var (management, replies) = (new List<(Change Change, Change.ManagementKey At)>(), new List<byte[]>());
        var (held, counting, needsNumber) = (new List<long>(), new List<Change>(), false);
        for (var i = from; i < changes.Count; i++)
        {
            var change = changes[i];
            if (change.SecretAt is not null || change.ScopeAt is not null)
                places.Add(new Asked(change, change.SecretAt, change.ScopeAt, IsOlder: false));
            if (change.TenantAt is { } tenant)
                held.Add(tenant);
            if (change.CountsNotUnder is not null)
                counting.Add(change);
            if (change.IdempotencyAt is { } key)
                keys.Add(key);
            foreach (var older in change.OlderAt)
            {
                if (older.Secret is not null || older.Scope is not null)
                    places.Add(new Asked(change, older.Secret, older.Scope, IsOlder: true));
                if (older.Idempotency is { } oldKey)
                    keys.Add(oldKey);
            }

            if (change.ManagementAt is not { } at)
                continue;
            if (PostgresOverlay.SourcesOf(at) != Sources.None)
                management.Add((change, at));
            if (at.Reply is { } reply)
                replies.Add(reply);
            needsNumber |= at.NeedsNumber;
        }

        SortedSet<long> tenants =
        [
            .. held, .. keys.Select(key => key.Tenant),
            .. places.Select(place => place.Scope).OfType<ScopeKey>().Select(scope => scope.Tenant),
        ];
        overlay.Expect(tenants, places.Select(place => place.Secret).OfType<SecretKey>(), keys, replies);
        Lock(tenants, management, replies);
        if (places.Count > 0)
        {
            Ask(SecretsInScopes, found =>
            {
                if (found.Row is not null)
                    overlay.Read(found.Row);
                if (found.Count is { } count && places[(int)found.Place - 1].Scope is { } scope)
                    overlay.Read(scope, found.ExpiresAt, count);
            }, Each(places, place => place.Tenant), Each(places, place => place.Secret?.Name ?? []),
                Each(places, place => place.Scope?.Scope ?? []), Each(places, place => place.IsOlder ? 1L : 0));
        }

        if (keys.Count > 0)
            Ask(IdempotencyByKey, overlay.Read, Each(keys, key => key.Tenant), Each(keys, key => key.Key));
        foreach (var reply in replies)
            Ask(ReplyRow.ByKey, overlay.Read, reply);
        foreach (var (tenant, version) in counting.Select(change => (change.TenantAt!.Value, change.CountsNotUnder!)))
        {
            Ask(TenantRow.CountNotUnderNewest, count => overlay.ReadNotUnder(tenant, count), tenant, version,
                Array.Empty<byte>());
        }

        foreach (var (change, at) in management)
            Ask(overlay.ReadFor(change), at);
        if (needsNumber && overlay.Number is null)
        {
            // Again if it was given out for what was written: it is the same one then.
            Ask(hasNumber ? CommitOrder.SelectLast : CommitOrder.Take, number => overlay.Number = number);
            hasNumber = true;
        }

        Send();
        if (needsNumber && overlay.Number is null)
            throw WriteProof.Broken("epoch");
        foreach (var place in places.Where(place => place.Scope is not null))
            overlay.ReadScope(place.Change, place.Scope!.Value);
    }

    /// <summary>A place of a change: what stands there, and how many beside it.</summary>
    private readonly record struct Asked(Change Change, SecretKey? Secret, ScopeKey? Scope, bool IsOlder)
    {
        public long Tenant => Secret?.Tenant ?? Scope!.Value.Tenant;
    }

    // On all nodes in the same order: the management plane, replies, tenants by their ids, apps. Each statement sees
    // what was committed before it began, so what is read after a lock is what the one who held it left.
    private void Lock(
        SortedSet<long> tenants, List<(Change Change, Change.ManagementKey At)> asking, List<byte[]> replies)
    {
        var management = asking.Where(asked => asked.At.Holds).ToList();
        if (management.Count > 0 && !holdsManagement)
        {
            holdsManagement = true;
            Ask(PostgresLocks.Take, PostgresLocks.Steps, PostgresLocks.Management);
        }

        foreach (var reply in replies.Select(reply => BitConverter.ToInt64([.. reply, .. new byte[8]], 0)).Order())
            Ask("SELECT pg_advisory_xact_lock($1)", reply);

        var accounts = management.Where(asked => asked.At is { App: not null, Account: not null }).ToList();
        if (accounts.Count > 0)
        {
            Ask(LockTenantsOfAccounts, overlay.Read, tenants.ToArray(),
                Each(accounts, asked => asked.At.App!), Each(accounts, asked => asked.At.Account!.Value.Id));
        }
        else if (tenants.Count > 0)
        {
            Ask(LockTenants, overlay.Read, tenants.ToArray());
        }

        var apps = management.Select(asked => asked.At.App).OfType<string>().Distinct().ToArray();
        if (apps.Length > 0)
            Ask("SELECT id FROM apps WHERE id = ANY($1) ORDER BY id FOR UPDATE", apps);

        // Of which it is only asked whether an account is closed: whoever closes one holds the app, and is waited for.
        var shared = asking.Where(asked => asked.At is { Holds: false, Mint: null })
            .Select(asked => asked.At.Closed!.App).Except(apps).ToArray();
        if (shared.Length > 0)
            Ask("SELECT id FROM apps WHERE id = ANY($1) ORDER BY id FOR KEY SHARE", shared);
    }

    private void Ask(PostgresOverlay.Management into, Change.ManagementKey at)
    {
        if (at.Mint is { } mint)
        {
            // The number first: what ends the key after any of these reads has a greater one.
            Ask(CommitOrder.SelectLast, last => into.Last = last);
            Ask(ApiKeyRow.ById, key => into.ApiKey = key, mint.Key);
            var (ofApp, livemode, ofAccount) = mint.Tenant;
            Ask(AppRow.ById, app => into.App = app, ofApp);
            Ask(GenerationRow.OfTenant, generation => into.Generation = generation, ofApp, livemode, ofAccount);
        }

        // Of a mint last: an account that is closed after its generation was read ends what is minted under that.
        if (at.Closed is { } closed)
            Ask(UninstallRow.Of, gone => into.Uninstalled = gone, closed.App, closed.Livemode, closed.Account);
        if (at.Mint is not null)
            return;

        if (at.App is { } id)
        {
            Ask(AppRow.ById, app => into.App = app, id);
            Ask(TenantRow.OfApp, _ => into.AppHasTenants = true, id);
        }

        if (at.ApiKey is { } keyId)
        {
            Ask(ApiKeyRow.ById, key => into.ApiKey = key, keyId);
            Ask(ApiKeyRow.OtherOwnerKeys, others => into.OtherOwnerKeys = others, keyId);
        }

        if (at is { App: { } owner, Account: var (account, now) })
            Ask(CountedTenantRow.OfAccount, into.Tenants.Add, now, owner, account);
        if (at.AsksOldestAudit)
            Ask(AuditRow.Oldest, oldest => into.OldestAudit = oldest);
        if (at.Meta is { } meta)
            Ask(MetaRow.ByKey, value => into.Meta = value, meta);
        if (at.Endpoint is { } endpoint)
            Ask(EndpointRow.ById, row => into.Endpoint = row, endpoint);
    }

    // Secrets and idempotency records are written at the end, each in its last state, and single rows that nothing else
    // of the transaction depends on in the order of their names; everything else in the order of the changes.
    private void Apply(RowWrite write)
    {
        News.Add(write);
        isUnderRoot |= write.IsUnderRoot;
        switch (write)
        {
            case RowWrite.PutSecret { Row: var row }:
                overlay.Put(row);
                return;
            case RowWrite.DeleteSecret { Key: var key }:
                overlay.Delete(key);
                return;
            case RowWrite.PutIdempotency { Row: var row }:
                overlay.Put(row);
                return;
            case RowWrite.PutMeta:
                // All new secrets of a batch may bring the same row.
                singles.RemoveAll(single => single.Row == write.Single);
                break;
            case RowWrite.DeleteRevocations { Subjects: var subjects, Now: var now }:
                if (numbered.Count > 0)
                    FlushNumbered();
                Queue(DeleteRevocations, subjects.ToArray(), now);
                return;
        }

        if (write.IsNumbered)
            numbered.Add((write.Single!, write.Statements));
        else if (write.Single is { } name)
            singles.Add((name, write.Statements));
        else
            QueueAfterOthers(write.Statements);
        overlay.Wrote(write);
    }

    private void QueueAfterOthers(IReadOnlyList<Statement> statements)
    {
        Flush();
        foreach (var statement in statements)
            Queue(statement);
    }

    private void Flush()
    {
        var (put, deleted, stored) = overlay.TakeSecrets();
        if (deleted.Count > 0)
            Delete(deleted, stored);
        if (put.Count > 0)
            QueueRows(put.Count, PutSecrets, Pivot(SecretRow.Table, put.Select(row => new RowWrite.PutSecret(row))));
        foreach (var (areNew, rows) in overlay.TakeIdempotency())
        {
            QueueRows(rows.Count, areNew ? AddIdempotency : PutIdempotency,
                Pivot(IdempotencyRow.Table, rows.Select(row => new RowWrite.PutIdempotency(row))));
        }

        foreach (var (_, statements) in singles.OrderBy(single => single.Row, StringComparer.Ordinal))
        {
            foreach (var statement in statements)
                Queue(statement);
        }

        singles.Clear();
    }

    private void Ask<T>(Query<T> query, Action<T> read, params ReadOnlySpan<SqlValue> values) =>
        Send(query.Text.Postgres, row => read(query.Map(row)), values);

    private void Ask(string sql, params ReadOnlySpan<SqlValue> values) => Send(sql, static _ => { }, values);

    private void Send(string sql, Action<IRow>? read, params ReadOnlySpan<SqlValue> values)
    {
        if (!hasBegun)
        {
            hasBegun = true;
            pending.Add((new NpgsqlBatchCommand(PostgresSettings.ToWrite), null));
            pending.Add((settings, row => overlay.Ahead = TimeSpan.FromMilliseconds(
                PostgresPoll.OffsetOf(row.Number(0), before: sent, after: PostgresPoll.Now()))));
        }

        var command = new NpgsqlBatchCommand(sql);
        PostgresParameters.Add(command.Parameters, values);
        pending.Add((command, read));
    }

    private static TColumn[] Each<TRow, TColumn>(IReadOnlyList<TRow> rows, Func<TRow, TColumn> column) =>
        rows.Select(column).ToArray();

    // A parameter for each column, with all rows' values of it.
    private static SqlValue[] Pivot(Table table, IEnumerable<RowWrite> rows)
    {
        var values = rows.Select(row => row.Statements[0].Values).ToList();
        return [.. values[0].Select((_, at) =>
            SqlValue.Array(table.Columns[at].Type, [.. values.Select(row => row[at])]))];
    }
}
