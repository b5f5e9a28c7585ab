using Coffer.Telemetry;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// The reads: one statement each, prepared where it ran before; the hot ones share theirs with those who ask at the
/// same time.
/// </summary>
internal sealed partial class PostgresEngine
{
    // The rows of arrays of keys, and at the end which of them each is, counted from 1. What is asked of each key by
    // itself is joined in no other way, whatever the tables hold when it is planned. With the counter of the tenant's
    // keys, whether or not there is a row.
    public static readonly Query<(long Place, SecretLookup Row)> SecretLookups = new($"""
        SELECT t.counter, {SecretRow.Table.Names(before: "s.")}, asked.place
        FROM unnest($1, $2) WITH ORDINALITY AS asked (tenant, name, place)
        CROSS JOIN LATERAL (SELECT counter FROM tenants WHERE id = asked.tenant OFFSET 0) AS t
        LEFT JOIN LATERAL (
            SELECT * FROM secrets WHERE tenant = asked.tenant AND name = asked.name OFFSET 0) AS s ON true
        """, static row => (row.Number(SecretRow.Table.Columns.Count + 1), SecretLookup.From(row)));

    private static readonly Query<(long Place, TenantRow Row)> TenantsByOwner = new($"""
        SELECT {TenantRow.Columns}, asked.place
        FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (app, livemode, account, place)
        CROSS JOIN LATERAL (
            SELECT {TenantRow.Columns} FROM tenants
            WHERE app = asked.app AND livemode = asked.livemode AND account = asked.account OFFSET 0) AS t
        """, static row => (row.Number(4), TenantRow.From(row)));

    private static readonly Query<string> Release = new("SHOW server_version", static row => row.Text(0));

    // Without the log, which is all databases' of the server.
    private static readonly Query<long> Size = new(
        "SELECT pg_database_size(current_database())", static row => row.Number(0));

    private readonly PostgresLookup<SecretKey, SecretLookup> secrets;
    private readonly PostgresLookup<TenantId, TenantRow> tenants;

    // Asked each time: behind the address may be another server by now. Distributions add words of their own.
    public override async ValueTask<string> FindReleaseAsync(CancellationToken ct) =>
        (await ListAsync(Release, ct))[0].Split(' ')[0];

    public override async ValueTask<(long? Database, long? Log)> FindSizesAsync(CancellationToken ct) =>
        ((await ListAsync(Size, ct))[0], null);

    // Not cancelled: others wait for the same statement.
    public override ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) =>
        AskAsync(tenants, tenant, TenantsByOwner.Text);

    public override ValueTask<SecretLookup?> LookUpSecretAsync(SecretKey key, CancellationToken ct) =>
        AskAsync(secrets, key, SecretLookups.Text);

    private ValueTask<TRow?> AskAsync<TKey, TRow>(PostgresLookup<TKey, TRow> lookup, TKey key, SqlText text)
        where TRow : class =>
        Traces.Here == default ? new(lookup.FindAsync(key)) : TracedAsync(lookup, key, text);

    // The span of each who asks, from when it waits for the statement that it shares.
    private async ValueTask<TRow?> TracedAsync<TKey, TRow>(PostgresLookup<TKey, TRow> lookup, TKey key, SqlText text)
        where TRow : class
    {
        using var span = StatementSpan.Begin(Name, text.Postgres);
        return await lookup.FindAsync(key);
    }

    public override ValueTask<T?> FindAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) where T : class =>
        FirstAsync(query, values.ToArray(), ct);

    public override ValueTask<IReadOnlyList<T>> ListAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) =>
        ReadAsync(isLookup: false, query.Text, values.ToArray(), query.Map, ct);

    // Dead rows, its log and what its standbys and archives hold are PostgreSQL's.
    public override Reach Reach => Reach.Rows;

    public override ValueTask<bool> EraseAsync(CancellationToken ct) => ValueTask.FromResult(true);

    private PostgresLookup<SecretKey, SecretLookup> Secrets() => new(
        keys => ReadEachAsync(SecretLookups, keys.Count,
            keys.Select(key => key.Tenant).ToArray(), keys.Select(key => key.Name).ToArray()),
        address.StatementsOfALookup, TimeProvider.System);

    private PostgresLookup<TenantId, TenantRow> Tenants() => new(
        owners => ReadEachAsync(TenantsByOwner, owners.Count,
            owners.Select(owner => owner.App).ToArray(), owners.Select(owner => owner.Livemode ? 1L : 0).ToArray(),
            owners.Select(owner => owner.Account).ToArray()),
        address.StatementsOfALookup, TimeProvider.System);

    // For each of several keys its row or null.
    private async ValueTask<IReadOnlyList<T?>> ReadEachAsync<T>(
        Query<(long Place, T Row)> query, int count, params SqlValue[] values) where T : class
    {
        var found = new T?[count];
        foreach (var (place, row) in await ReadAsync(isLookup: true, query.Text, values, query.Map, default))
            found[place - 1] = row;
        return found;
    }

    private static NpgsqlBatch Batch(
        NpgsqlBatch batch, string? first, PostgresPrimary server, SqlText text, ReadOnlySpan<SqlValue> values)
    {
        if (first is not null)
            batch.BatchCommands.Add(PostgresSettings.Command(first, server));
        PostgresSettings.Add(batch, text.Postgres, values);
        return batch;
    }

    private async ValueTask<T?> FirstAsync<T>(Query<T> query, SqlValue[] values, CancellationToken ct) where T : class
    {
        var rows = await ReadAsync(isLookup: false, query.Text, values, query.Map, ct);
        return rows.Count > 0 ? rows[0] : null;
    }

    private async ValueTask<IReadOnlyList<T>> ReadAsync<T>(
        bool isLookup, SqlText text, SqlValue[] values, Func<IRow, T> map, CancellationToken ct)
    {
        using var span = isLookup ? null : StatementSpan.Begin(Name, text.Postgres);
        if (snapshot is not null)
        {
            return await TranslatedAsync(PostgresCall.BoundAsync(
                RowsAsync(Batch(snapshot.CreateBatch(), null, servers.Current, text, values), map, ct),
                SnapshotPatience, ct: ct));
        }

        return await RepeatedAsync(async (used, server) =>
        {
            await using var connection = await PostgresCall.OpenAsync(isLookup ? used.ByKey : used.Others, ct);
            var first = isLookup ? settings.OfLookups : settings.OfReads;
            return await RowsAsync(Batch(connection.CreateBatch(), first, server, text, values), map, ct);
        }, ct);
    }

    // What changes nothing, and so may be asked again.
    private async ValueTask<T> RepeatedAsync<T>(Func<PostgresPools, PostgresPrimary, Task<T>> ask, CancellationToken ct)
    {
        for (var tries = 1; ; tries++)
        {
            var (used, server) = (Volatile.Read(ref pools), servers.Current);
            try
            {
                return await PostgresCall.BoundAsync(ask(used, server), address.Patience, ct: ct);
            }
            catch (NpgsqlException e) when (tries < MostTries && PostgresServers.Named(e) is { } other)
            {
                if (!servers.FollowIfNewer(other))
                    used.Clear();
            }
            catch (NpgsqlException e) when (tries == 1
                && (PostgresFailures.IsBroken(e) || PostgresFailures.IsUnprepared(e)))
            {
                // One broken connection is seldom the only one: the others go too, and the read is tried on a new one.
                // Where none could be opened, those that are open are worth all the more.
                if (!PostgresFailures.IsOfOpening(e))
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

    private static async ValueTask<T> TranslatedAsync<T>(Task<T> read)
    {
        try
        {
            return await read;
        }
        catch (NpgsqlException e)
        {
            throw Translated(e);
        }
        catch (TimeoutException e)
        {
            throw ApiError.StorageUnavailable(e);
        }
    }

    // A read may be cancelled at the server: a commit that waits for a standby may not. Nobody waits for the
    // cancelling.
    private static async Task<IReadOnlyList<T>> RowsAsync<T>(
        NpgsqlBatch batch, Func<IRow, T> map, CancellationToken ct)
    {
        await using var sent = batch;
        var rows = new List<T>();
        await using var reader = await batch.ExecuteReaderAsync(ct);
        if (batch.BatchCommands.Count > 1)
            await reader.NextResultAsync(ct); // past the settings
        var row = new PostgresRow(reader);
        while (await reader.ReadAsync(ct))
            rows.Add(map(row));
        return rows;
    }

    // A connection that hangs is seldom the only one, and what hangs cannot be put back: the pools are replaced. What
    // they have lent is closed when it comes back.
    private void GiveUp(PostgresPools old)
    {
        if (snapshot is null && ReferenceEquals(Volatile.Read(ref pools), old)
            && ReferenceEquals(Interlocked.CompareExchange(ref pools, address.Pools(), old), old))
            old.Clear();
    }
}
