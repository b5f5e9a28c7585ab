using System.Text.RegularExpressions;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// What a request reads it finds by an index, in the one partition of its tenant if there are partitions.
/// </summary>
public sealed partial class PlansTests(PostgresServer server)
{
    private const int Tenants = 200;
    private const string Filled = "app_1";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task No_request_and_no_sweep_reads_a_table_of_a_tenant_whole(bool partitioned)
    {
        var store = await NewStoreAsync(partitioned);
        await PostgresServer.ExecuteAsync(store, "SELECT pg_stat_reset()");
        using (var engine = await PostgresEngine.OpenAsync(store, default))
        {
            for (var i = 1; i <= 12; i++) // as often as PostgreSQL needs to settle for a plan
            {
                var key = new SecretKey(i, BitConverter.GetBytes(i));
                Assert.NotNull(await engine.FindSecretAsync(new SecretKey(i, await NameAsync(store, i)), default));
                Assert.NotEmpty((await engine.ListSecretsAsync(i, [8], null, false, 0, 3, default)).Rows);
                Assert.NotEmpty(await engine.ListExpiredAsync(2_000, 10, default));
                Assert.NotNull(await engine.FindOldestIdempotencyAsync(default));
                var set = new Setting(key);
                engine.Write([set, new Setting(new SecretKey(i + 1, [1]))], _ => null);
                Assert.Equal(20, set.Counted);
                engine.Write([new Change.Plain(new RowWrite.DeleteSecret(key), new RowWrite.PruneIdempotency(i, 50))],
                    _ => null);
            }
        }

        // What a session has counted is reported when it ends.
        var (whole, byIndex) = (0L, 0L);
        for (var i = 0; byIndex < 12 * 8; i++)
        {
            Assert.True(i < 200, $"only {byIndex} scans of indexes were seen");
            await Task.Delay(50, TestContext.Current.CancellationToken);
            const string Scans =
                "SELECT coalesce(sum(%), 0)::bigint FROM pg_stat_user_tables WHERE relname ~ '^(secrets|idempotency)'";
            byIndex = (long)(await PostgresServer.ScalarAsync(store,
                Scans.Replace("%", "idx_scan", StringComparison.Ordinal)))!;
            whole = (long)(await PostgresServer.ScalarAsync(store,
                Scans.Replace("%", "seq_scan", StringComparison.Ordinal)))!;
        }

        Assert.Equal(0, whole);
    }

    [Theory]
    [InlineData("force_custom_plan")]
    [InlineData("force_generic_plan")]
    public async Task Only_the_partitions_of_the_tenants_that_are_asked_for_are_read(string plan)
    {
        var store = await NewStoreAsync(partitioned: true);
        await using var connection = new NpgsqlConnection(store + ";Pooling=false");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await ExecuteAsync(connection, $"""
            SET plan_cache_mode = {plan};
            PREPARE find(bigint, bytea) AS {SecretRow.ByKey.Text.Postgres};
            PREPARE kept(bigint, bytea) AS {IdempotencyRow.ByKey.Text.Postgres};
            PREPARE batch(bigint[], bytea[], bytea[], bigint[]) AS
                {PostgresTransaction.SecretsInScopes.Text.Postgres};
            """);
        foreach (var tenant in (long[])[3, 4, 5])
        {
            var ask = $"SELECT tableoid::regclass::text FROM secrets WHERE tenant = {tenant} LIMIT 1";
            string[] own = [$"{await PostgresServer.ScalarAsync(store, ask)}"];
            Assert.Equal(own, await ReadAsync(connection, $"find({tenant}, int4send(7))"));
            Assert.Equal([own[0].Replace("secrets", "idempotency", StringComparison.Ordinal)],
                await ReadAsync(connection, $"kept({tenant}, int4send(7))"));
        }

        await ExecuteAsync(connection, $"BEGIN; SELECT {PostgresSettings.ByKey}");
        var expected = (string)(await PostgresServer.ScalarAsync(store,
            "SELECT string_agg(DISTINCT tableoid::regclass::text, ' ') FROM secrets WHERE tenant IN (3, 4, 5)"))!;
        const string Batch = "batch('{3,4,5}', ARRAY[int4send(7), int4send(7), int4send(7)], "
            + @"array_fill('\x08'::bytea, ARRAY[3]), ";
        var each = expected.Split(' ').Order(StringComparer.Ordinal).ToList();
        Assert.Equal(each, await ReadAsync(connection, $"{Batch}'{{0,0,0}}')"));
        // And the scopes of each, in the same ones.
        Assert.Equal(each.Concat(each).Order(StringComparer.Ordinal),
            await ReadAsync(connection, $"{Batch}'{{1,1,1}}')"));
    }

    private async Task<string> NewStoreAsync(bool partitioned)
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        if (partitioned)
            await Partitions.MakeAsync(store);
        await PostgresServer.ExecuteAsync(store, $"""
            INSERT INTO apps VALUES ('{Filled}', 'one', 'acct_own', 1, NULL);
            INSERT INTO tenants (app, livemode, account, created, sealed_keys)
            SELECT '{Filled}', 0, 'acct_' || n, 1, '\x01' FROM generate_series(1, {Tenants}) AS n;
            INSERT INTO secrets
            SELECT t, int4send(n), CASE WHEN n <= 20 THEN '\x08'::bytea ELSE int4send(n) END, 'appsecret_' || n, 1, 1,
                CASE WHEN n > 90 THEN 1000 + t + n END, decode(repeat(md5(n::text), 12), 'hex')
            FROM generate_series(1, {Tenants}) AS t, generate_series(1, 100) AS n;
            INSERT INTO idempotency (tenant, key, fingerprint, created, sealed)
                SELECT t, int4send(n), '\x01', n, decode(repeat(md5(n::text), 12), 'hex')
            FROM generate_series(1, 100) AS n, generate_series(1, {Tenants}) AS t;
            """);
        await PostgresServer.ExecuteAsync(store, "VACUUM ANALYZE");
        return store;
    }

    private static async Task<byte[]> NameAsync(string store, int number) =>
        (byte[])(await PostgresServer.ScalarAsync(store, $"SELECT int4send({number})"))!;

    /// <summary>The tables that a prepared statement reads, each by an index.</summary>
    private static async Task<IEnumerable<string>> ReadAsync(NpgsqlConnection connection, string execute)
    {
        await using var explain = new NpgsqlCommand($"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE {execute}",
            connection);
        await using var reader = await explain.ExecuteReaderAsync();
        var tables = new List<string>();
        while (await reader.ReadAsync())
        {
            if (Scan().Match(reader.GetString(0)) is not { Success: true } scan)
                continue;
            Assert.True(scan.Groups["how"].Value.StartsWith("Index", StringComparison.Ordinal), reader.GetString(0));
            if (!reader.GetString(0).Contains("never executed", StringComparison.Ordinal))
                tables.Add(scan.Groups["table"].Value);
        }

        return tables.Order(StringComparer.Ordinal);
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        // One message: with the extended protocol PREPARE's own parameters would count as the command's.
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync();
    }

    [GeneratedRegex(@"(?<how>\w+( Only)?) Scan.* on (?<table>(secrets|idempotency)(_\d+)?)\b",
        RegexOptions.ExplicitCapture)]
    private static partial Regex Scan();

    /// <summary>A set, with all that one asks for.</summary>
    private sealed class Setting(SecretKey key) : Change
    {
        public int Counted { get; private set; }

        public override SecretKey? SecretAt => key;

        public override IdempotencyKey? IdempotencyAt => new(key.Tenant, [99]);

        public override ScopeKey? ScopeAt => new(key.Tenant, [8]);

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            Counted = found.LiveInScope(0);
            return
            [
                new RowWrite.PutSecret(
                    new SecretRow(key, [7], $"appsecret_{Convert.ToHexString(key.Name)}", 1, 1, null, [1])),
                new RowWrite.PutIdempotency(new IdempotencyRow(IdempotencyAt!.Value, [1], 1_000, [2])),
            ];
        }
    }
}
