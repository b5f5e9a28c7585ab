using Npgsql;

namespace Coffer.Storage;

/// <summary>The reads: one statement each, prepared where it ran before; the hot ones share theirs with those who ask at the same time.</summary>
internal sealed partial class PostgresEngine
{
    /// <summary>The secrets of arrays of tenants and names, and at the end which of them each is, counted from 1.</summary>
    public const string SecretsByKey = """
        SELECT s.tenant, s.name, s.scope, s.id, s.version, s.created, s.expires_at, s.sealed, asked.place
        FROM unnest($1, $2) WITH ORDINALITY AS asked (tenant, name, place) JOIN secrets s ON s.tenant = asked.tenant AND s.name = asked.name
        """;

    private const string TenantsByOwner = """
        SELECT t.id, t.sealed_keys, asked.place
        FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (app, livemode, account, place)
        JOIN tenants t ON t.app = asked.app AND t.livemode = asked.livemode AND t.account = asked.account
        """;

    private readonly PostgresLookup<SecretKey, SecretRow> secrets;
    private readonly PostgresLookup<TenantId, TenantRow> tenants;

    private delegate T RowMap<out T>(PostgresRow row);

    // Asked each time: behind the address may be another server by now. Distributions add words of their own.
    public override async ValueTask<string> FindReleaseAsync(CancellationToken ct) =>
        (await List("SHOW server_version", static row => row.Text(0), ct))[0].Split(' ')[0];

    public override ValueTask<byte[]?> FindMetaAsync(string key, CancellationToken ct) => Find(Sql.MetaByKey, static row => row.Bytes(0), ct, key);

    public override ValueTask<IReadOnlyList<(string Key, byte[] Value)>> ListMetaAsync(string prefix, CancellationToken ct) =>
        List(Sql.MetaByPrefix, Columns.ToMeta, ct, prefix);

    public override ValueTask<IReadOnlyList<RootKeyRow>> ListRootKeysAsync(CancellationToken ct) => List(Sql.RootKeys, Columns.ToRootKey, ct);

    public override ValueTask<AppRow?> FindAppAsync(string id, CancellationToken ct) => Find(Sql.AppById, Columns.ToApp, ct, id);

    public override ValueTask<IReadOnlyList<AppRow>> ListAppsAsync(string? bound, int limit, CancellationToken ct) =>
        List(Sql.Apps, Columns.ToApp, ct, bound, limit);

    public override ValueTask<IReadOnlyList<AppRow>> ListUnsealedAsync(string bound, int limit, CancellationToken ct) =>
        List(Sql.UnsealedApps, Columns.ToApp, ct, bound, limit);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(byte[] mac, CancellationToken ct) => Find(Sql.ApiKeyByMac, Columns.ToApiKey, ct, mac);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(string id, CancellationToken ct) => Find(Sql.ApiKeyById, Columns.ToApiKey, ct, id);

    public override ValueTask<IReadOnlyList<ApiKeyRow>> ListApiKeysAsync(string? app, string? bound, int limit, CancellationToken ct) =>
        List(Sql.ApiKeys, Columns.ToApiKey, ct, app, bound, limit);

    public override ValueTask<IReadOnlyList<byte[]>> ListApiKeyMacsAsync(CancellationToken ct) => List(Sql.ApiKeyMacs, static row => row.Bytes(0), ct);

    public override ValueTask<IReadOnlyList<RevocationRow>> ListRevocationsAsync(long number, string subject,
        int limit, CancellationToken ct) =>
        List(Sql.Revocations, Columns.ToRevocation, ct, number, subject, limit);

    // Only what the database's clock calls over too: a node whose clock is fast ends no revocation before its time.
    public override ValueTask<IReadOnlyList<string>> ListEndedRevocationsAsync(long now, int limit,
        CancellationToken ct)
    {
        const string Ended = """
            SELECT subject FROM revocations WHERE kept_until <= least($1, extract(epoch FROM now())::bigint)
            ORDER BY kept_until LIMIT $2
            """;
        return List(Ended, static row => row.Text(0), ct, now, limit);
    }

    public override ValueTask<IReadOnlyList<GenerationRow>> ListGenerationsAsync(long number, CancellationToken ct) =>
        List(Sql.Generations, Columns.ToGeneration, ct, number);

    public override ValueTask<IReadOnlyList<AccountRow>> ListAccountsAsync(string app, string? bound, long now, int limit, CancellationToken ct) =>
        List(Sql.Accounts, Columns.ToAccount, ct, now, app, bound ?? "", limit);

    public override ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) => new(tenants.FindAsync(tenant)); // not cancelled: others wait for the same statement

    public override ValueTask<SecretRow?> FindSecretAsync(SecretKey key, CancellationToken ct) => new(secrets.FindAsync(key));

    public override ValueTask<SecretRow?> FindSecretAsync(long tenant, string id, long now, CancellationToken ct) =>
        Find(Sql.SecretById, Columns.ToSecret, ct, tenant, id, now);

    public override ValueTask<IReadOnlyList<SecretRow>> ListSecretsAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct) => (bound, newer) switch
        {
            (null, _) => List(Sql.NewestSecrets, Columns.ToSecret, ct, tenant, scope, now, limit),
            (_, false) => List(Sql.OlderSecrets, Columns.ToSecret, ct, tenant, scope, now, bound, limit),
            (_, true) => List(Sql.NewerSecrets, Columns.ToSecret, ct, tenant, scope, now, bound, limit),
        };

    public override ValueTask<IReadOnlyList<SecretRow>> ListTenantSecretsAsync(long tenant, string? bound, long now, int limit, CancellationToken ct) =>
        List(Sql.TenantSecrets, Columns.ToSecret, ct, tenant, now, bound, limit);

    public override ValueTask<IReadOnlyList<FoundSecretRow>> SearchSecretsAsync(
        SecretFilter filter, (long? ExpiresAt, SecretKey Key)? after, long now, int limit, CancellationToken ct)
    {
        var (tenant, name, from) = filter.Begin(after, now);
        return filter.ExpiringBefore is { } before
            ? List(Sql.SearchByExpiry, Columns.ToFound, ct, tenant, name, from, filter.App, filter.Account, filter.Livemode, before, limit)
            : List(Sql.Search, Columns.ToFound, ct, tenant, name, from, filter.App, filter.Account, filter.Livemode, limit);
    }

    public override ValueTask<IReadOnlyList<SecretKey>> ListExpiredAsync(long now, int limit, CancellationToken ct) =>
        List(Sql.Expired, Columns.ToSecretKey, ct, now, limit);

    public override async ValueTask<long?> FindOldestIdempotencyAsync(CancellationToken ct)
    {
        var oldest = await List(Sql.OldestIdempotency, static row => row.Number(0), ct);
        return oldest.Count > 0 ? oldest[0] : null;
    }

    public override async ValueTask<long?> FindOldestReplyAsync(CancellationToken ct)
    {
        var oldest = await List(Sql.OldestReply, static row => row.Number(0), ct);
        return oldest.Count > 0 ? oldest[0] : null;
    }

    public override ValueTask<IReadOnlyList<(long Number, AuditRow Row)>> ListAuditAsync(long bound, bool newestFirst, int limit, CancellationToken ct) =>
        List(newestFirst ? Sql.AuditBackwards : Sql.AuditForwards, Columns.ToNumberedAudit, ct, bound, limit);

    public override ValueTask<AuditRow?> FindLastAuditAsync(string node, CancellationToken ct) => Find(Sql.LastAudit, Columns.ToAudit, ct, node);

    public override ValueTask<ReceiptRow?> FindReceiptAsync(string id, CancellationToken ct) =>
        Find(Sql.ReceiptById, Columns.ToReceipt, ct, id);

    public override ValueTask<IReadOnlyList<ReceiptRow>> ListPendingReceiptsAsync(
        (long Created, string Id)? after, int limit, CancellationToken ct) =>
        List(Sql.PendingReceipts, Columns.ToReceipt, ct, after?.Created ?? long.MinValue, after?.Id ?? "", limit);

    // Dead rows, its log and what its standbys and archives hold are PostgreSQL's.
    public override Reach Reach => Reach.Rows;

    public override ValueTask<bool> EraseAsync(CancellationToken ct) => ValueTask.FromResult(true);

    private PostgresLookup<SecretKey, SecretRow> Secrets() => new(keys => ReadEachAsync(
        SecretsByKey, Columns.ToSecret, 8, keys.Count, keys.Select(key => key.Tenant).ToArray(), keys.Select(key => key.Name).ToArray()), address.StatementsOfALookup, TimeProvider.System);

    private PostgresLookup<TenantId, TenantRow> Tenants() => new(owners => ReadEachAsync(
        TenantsByOwner, Columns.ToTenant, 2, owners.Count, owners.Select(owner => owner.App).ToArray(), owners.Select(owner => owner.Livemode ? 1L : 0).ToArray(),
        owners.Select(owner => owner.Account).ToArray()), address.StatementsOfALookup, TimeProvider.System);

    // For each of several keys its row or null; a column says which it is, counted from 1.
    private async ValueTask<IReadOnlyList<T?>> ReadEachAsync<T>(string sql, RowMap<T> map, int place, int count, params PostgresValue[] values) where T : class
    {
        var found = new T?[count];
        foreach (var (at, row) in await ReadAsync(Command(Volatile.Read(ref pools).ByKey, sql, values), row => (row.Number(place), map(row)), CancellationToken.None))
            found[at - 1] = row;
        return found;
    }

    private ValueTask<T?> Find<T>(string sql, RowMap<T> map, CancellationToken ct, params ReadOnlySpan<PostgresValue> values) where T : class =>
        FirstAsync(Command(Volatile.Read(ref pools).Others, sql, values), map, ct);

    private ValueTask<IReadOnlyList<T>> List<T>(string sql, RowMap<T> map, CancellationToken ct, params ReadOnlySpan<PostgresValue> values) =>
        ReadAsync(Command(Volatile.Read(ref pools).Others, sql, values), map, ct);

    private NpgsqlCommand Command(NpgsqlDataSource from, string sql, ReadOnlySpan<PostgresValue> values)
    {
        var command = snapshot is null ? from.CreateCommand(sql) : new NpgsqlCommand(sql, snapshot);
        foreach (var value in values)
            command.Parameters.Add(value.Parameter);
        return command;
    }

    private async ValueTask<T?> FirstAsync<T>(NpgsqlCommand command, RowMap<T> map, CancellationToken ct) where T : class
    {
        var rows = await ReadAsync(command, map, ct);
        return rows.Count > 0 ? rows[0] : null;
    }

    private async ValueTask<IReadOnlyList<T>> ReadAsync<T>(NpgsqlCommand command, RowMap<T> map, CancellationToken ct)
    {
        var used = Volatile.Read(ref pools);
        for (var isFirst = true; ; isFirst = false)
        {
            try
            {
                return await PostgresCall.BoundAsync(
                    RowsAsync(command, map, ct), snapshot is null ? address.Patience : SnapshotPatience, ct: ct);
            }
            catch (NpgsqlException e) when (isFirst && snapshot is null && (IsBroken(e) || IsUnprepared(e)))
            {
                // One broken connection is seldom the only one: the others go too, and the read is tried on a new one.
                used.Clear();
            }
            catch (NpgsqlException e)
            {
                throw Translated(e);
            }
            catch (TimeoutException e)
            {
                GiveUp(used);
                throw ApiError.StorageUnavailable(e);
            }
        }
    }

    // A read may be cancelled at the server: a commit that waits for a standby may not. Nobody waits for the
    // cancelling.
    private static async Task<IReadOnlyList<T>> RowsAsync<T>(NpgsqlCommand command, RowMap<T> map, CancellationToken ct)
    {
        var rows = new List<T>();
        await using var reader = await command.ExecuteReaderAsync(ct);
        while (await reader.ReadAsync(ct))
            rows.Add(map(new PostgresRow(reader)));
        return rows;
    }

    // A connection that hangs is seldom the only one, and what hangs cannot be taken back: the pools are replaced. What they have
    // lent is closed when it comes back.
    private void GiveUp(PostgresPools old)
    {
        if (snapshot is null && ReferenceEquals(Volatile.Read(ref pools), old) && ReferenceEquals(Interlocked.CompareExchange(ref pools, address.Pools(), old), old))
            old.Clear();
    }
}
