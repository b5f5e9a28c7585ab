using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// The reads: one statement each, prepared where it ran before; the hot ones share theirs with those who ask at the
/// same time.
/// </summary>
internal sealed partial class PostgresEngine
{
    // The rows of arrays of keys, and at the end which of them each is, counted from 1.
    public static readonly Query<(long Place, SecretRow Row)> SecretsByKey = new($"""
        SELECT {SecretRow.Table.Names(before: "s.")}, asked.place
        FROM unnest($1, $2) WITH ORDINALITY AS asked (tenant, name, place)
        JOIN secrets s ON s.tenant = asked.tenant AND s.name = asked.name
        """, static row => (row.Number(SecretRow.Table.Columns.Count), SecretRow.From(row)));

    private static readonly Query<(long Place, TenantRow Row)> TenantsByOwner = new("""
        SELECT t.id, t.sealed_keys, asked.place
        FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (app, livemode, account, place)
        JOIN tenants t ON t.app = asked.app AND t.livemode = asked.livemode AND t.account = asked.account
        """, static row => (row.Number(2), TenantRow.From(row)));

    private static readonly Query<string> Release = new("SHOW server_version", static row => row.Text(0));

    private readonly PostgresLookup<SecretKey, SecretRow> secrets;
    private readonly PostgresLookup<TenantId, TenantRow> tenants;

    // Asked each time: behind the address may be another server by now. Distributions add words of their own.
    public override async ValueTask<string> FindReleaseAsync(CancellationToken ct) =>
        (await ListAsync(Release, ct))[0].Split(' ')[0];

    // Not cancelled: others wait for the same statement.
    public override ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) =>
        new(tenants.FindAsync(tenant));

    public override ValueTask<SecretRow?> FindSecretAsync(SecretKey key, CancellationToken ct) =>
        new(secrets.FindAsync(key));

    public override ValueTask<T?> FindAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) where T : class =>
        FirstAsync(Command(Volatile.Read(ref pools).Others, query.Text, values), query.Map, ct);

    public override ValueTask<IReadOnlyList<T>> ListAsync<T>(
        Query<T> query, CancellationToken ct, params ReadOnlySpan<SqlValue> values) =>
        ReadAsync(Command(Volatile.Read(ref pools).Others, query.Text, values), query.Map, ct);

    // Dead rows, its log and what its standbys and archives hold are PostgreSQL's.
    public override Reach Reach => Reach.Rows;

    public override ValueTask<bool> EraseAsync(CancellationToken ct) => ValueTask.FromResult(true);

    private PostgresLookup<SecretKey, SecretRow> Secrets() => new(
        keys => ReadEachAsync(SecretsByKey, keys.Count,
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
        var command = Command(Volatile.Read(ref pools).ByKey, query.Text, values);
        foreach (var (place, row) in await ReadAsync(command, query.Map, CancellationToken.None))
            found[place - 1] = row;
        return found;
    }

    private NpgsqlCommand Command(NpgsqlDataSource from, SqlText text, ReadOnlySpan<SqlValue> values)
    {
        var command = snapshot is null ? from.CreateCommand(text.Postgres) : new NpgsqlCommand(text.Postgres, snapshot);
        PostgresParameters.Add(command.Parameters, values);
        return command;
    }

    private async ValueTask<T?> FirstAsync<T>(NpgsqlCommand command, Func<IRow, T> map, CancellationToken ct)
        where T : class
    {
        var rows = await ReadAsync(command, map, ct);
        return rows.Count > 0 ? rows[0] : null;
    }

    private async ValueTask<IReadOnlyList<T>> ReadAsync<T>(
        NpgsqlCommand command, Func<IRow, T> map, CancellationToken ct)
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
    private static async Task<IReadOnlyList<T>> RowsAsync<T>(
        NpgsqlCommand command, Func<IRow, T> map, CancellationToken ct)
    {
        var rows = new List<T>();
        await using var reader = await command.ExecuteReaderAsync(ct);
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
