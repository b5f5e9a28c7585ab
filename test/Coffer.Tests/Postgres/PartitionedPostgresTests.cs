using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Tests.Access;
using Coffer.Tests.Storage;
using Coffer.Transfer;

namespace Coffer.Tests.Postgres;

public sealed class PartitionedPostgresEngineContract(PostgresServer server) : EngineContract
{
    private protected override async Task<Engine> OpenAsync()
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await Partitions.MakeAsync(store);
        return await PostgresEngine.OpenAsync(store, default);
    }

    private protected override ValueTask CloseAsync() => ValueTask.CompletedTask;
}

/// <summary>A store whose secrets and idempotency records stand in partitions.</summary>
public sealed class PartitionedPostgresTests(PostgresServer server) : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    [Fact]
    public async Task A_store_with_rows_is_partitioned_under_a_node_that_runs_and_goes_on()
    {
        var store = await server.NewDatabaseAsync();
        await using var nodes = await Nodes.StartAsync(store, count: 1);
        var key = nodes.Keys.TestSecretKey;
        for (var i = 0; i < 60; i++)
            (await nodes[0].Set(key, "k", $"before {i}", idempotencyKey: $"key {i}", account: $"acct_{i}")).IsOk();
        for (var i = 0; i < 10; i++) // its statements are prepared, on what will be gone
            (await nodes[0].Find(key, "k", "acct_1")).IsOk();
        var (secrets, kept, last) =
            (await RowsAsync(store, "secrets"), await RowsAsync(store, "idempotency"), await LastSeqAsync(store));

        await using var meanwhile = new Load(1, async (_, n) =>
            (await nodes[0].Set(key, "meanwhile", $"{n}")).IsOk()); // it waits
        await Partitions.MakeAsync(store);
        await meanwhile.EndAsync();
        Assert.Equal($"{meanwhile.Done[0] - 1}", (await nodes[0].Find(key, "meanwhile")).IsOk().Payload);
        Assert.Subset(new HashSet<string>((await RowsAsync(store, "secrets")).Split('\n')),
            new HashSet<string>(secrets.Split('\n')));
        Assert.Equal(kept, await RowsAsync(store, "idempotency"));
        Assert.Equal((long)Partitions.Count,
            await PostgresServer.ScalarAsync(store, "SELECT count(DISTINCT tableoid) FROM secrets"));
        Assert.Equal((long)Partitions.Count,
            await PostgresServer.ScalarAsync(store, "SELECT count(DISTINCT tableoid) FROM idempotency"));

        for (var i = 0; i < 60; i++)
        {
            Assert.Equal($"before {i}", (await nodes[0].Find(key, "k", $"acct_{i}")).IsOk().Payload);
            Assert.Equal(
                "true",
                (await nodes[0].Set(key, "k", $"before {i}", idempotencyKey: $"key {i}", account: $"acct_{i}")).IsOk()
                    .Header("Idempotent-Replayed"));
        }

        Assert.Equal(last, await LastSeqAsync(store));
        (await nodes[0].Set(key, "k", "after", idempotencyKey: "another", account: "acct_1")).IsOk();
        Assert.Equal("after", (await nodes[0].Find(key, "k", "acct_1")).IsOk().Payload);
        Assert.True(await LastSeqAsync(store) > last);
        await nodes.AddAsync(); // another node takes it as its store, too
    }

    [Fact]
    public async Task Partitions_have_the_columns_names_and_storage_that_migrations_know()
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        var whole = await CatalogAsync(store);
        await Partitions.MakeAsync(store);
        Assert.Equal(whole, await CatalogAsync(store));
        Assert.Equal(
            "{fillfactor=80}",
            await PostgresServer.ScalarAsync(
                store,
                "SELECT string_agg(DISTINCT reloptions::text, ' ') FROM pg_class WHERE relispartition AND relkind = "
                    + "'r' AND relname ~ '^secrets_'"));
        Assert.Equal(
            2L * Partitions.Count,
            await PostgresServer.ScalarAsync(
                store,
                "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relispartition AND "
                    + "attname = 'sealed' AND attstorage = 'e'"));
        Assert.Equal(0L,
            await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'coffer%'"));
    }

    [Fact]
    public async Task A_store_moves_into_partitions_and_out_of_them()
    {
        await using var source = await TestServer.StartAsync();
        for (var i = 0; i < 30; i++)
            (await source.Client(account: $"acct_{i}").Post("/v1/apps/secrets",
                [("scope[type]", "account"), ("name", "k"), ("payload", $"{i}")], $"key {i}")).IsOk();
        var (file, database, back) = (new StoreLocation(source.Data, null), new StoreLocation(directory.File("node"),
            await server.NewDatabaseAsync()), new StoreLocation(directory.File("back"), null));

        // Beside its server, what is copied is no store yet: it is partitioned, and then finished.
        Assert.False((await StoreCopy.RunAsync(file, database, static _ => { }, source.Time, default)).IsFinished);
        await Partitions.MakeAsync(database.Store!);
        (await source.Client(account: "acct_1").Post("/v1/apps/secrets",
            [("scope[type]", "account"), ("name", "k"), ("payload", "later")], "later")).IsOk();
        (await source.Client(account: "acct_2").Delete("k")).IsOk();
        await source.StopAsync();
        foreach (var (from, to) in ((StoreLocation, StoreLocation)[])[(file, database), (database, back)])
        {
            var report = await StoreCopy.RunAsync(from, to, static _ => { }, source.Time, default);
            Assert.Empty(report.Problems);
            Assert.True(report.IsFinished);
            Assert.Equal(29, report.Secrets);
        }
    }

    public void Dispose() => directory.Dispose();

    private static async Task<string> RowsAsync(string store, string table) =>
        (string)(await PostgresServer.ScalarAsync(store,
            $"SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {table} t"))!;

    private static async Task<long> LastSeqAsync(string store) =>
        (long)(await PostgresServer.ScalarAsync(store, "SELECT last_value FROM idempotency_seq_seq"))!;

    /// <summary>
    /// Columns, constraints, indexes and the sequence of both tables, without what makes them partitions.
    /// </summary>
    private static async Task<string> CatalogAsync(string store) => (string)(await PostgresServer.ScalarAsync(store, """
        SELECT string_agg(fact, E'\n' ORDER BY fact) FROM (
            SELECT concat_ws(' ', attrelid::regclass, attnum, attname, atttypid::regtype,
                attcollation::regcollation, attnotnull, attidentity, attstorage) AS fact
            FROM pg_attribute
            WHERE attrelid IN ('secrets'::regclass, 'idempotency'::regclass) AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE conrelid IN ('secrets'::regclass, 'idempotency'::regclass)
            UNION ALL SELECT replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
            FROM pg_index WHERE indrelid IN ('secrets'::regclass, 'idempotency'::regclass)
            UNION ALL SELECT pg_get_serial_sequence('idempotency', 'seq')) AS facts
        """))!;
}
