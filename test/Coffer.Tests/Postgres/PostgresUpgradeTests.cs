using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>A database that an earlier release made opens with this one, and all that was in it is there.</summary>
public sealed class PostgresUpgradeTests(PostgresServer server)
{
    private const int Records = 30;

    // What migrations after the third have made.
    private const string Schema2Again = "DROP TABLE receipts; UPDATE coffer_schema SET version = 2";

    [Fact]
    public async Task A_database_of_schema_1_is_brought_up_to_date_with_all_its_rows()
    {
        var store = await NewSchema1Async();
        var columns = await ColumnsAsync(store);
        var before = await RowsAsync(store, columns);
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        Assert.Equal((long)Coffer.Storage.Migrations.Of("postgres").Count,
            await PostgresServer.ScalarAsync(store, "SELECT version FROM coffer_schema"));
        Assert.Equal(before, await RowsAsync(store, columns));
        Assert.Contains($"idempotency {Records}\n", before, StringComparison.Ordinal);
        const string Indexes = "idempotency_by_seq(seq) idempotency_pkey(tenant, key)";
        Assert.Equal(Indexes, await PostgresServer.ScalarAsync(store, """
            SELECT string_agg(indexname || substring(indexdef FROM '\(.*\)'), ' ' ORDER BY indexname)
            FROM pg_indexes WHERE tablename = 'idempotency'
            """));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Records_of_schema_2_lose_their_foreign_key_in_partitions_too(bool partitioned)
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        if (partitioned)
            await Partitions.MakeAsync(store);
        await PostgresServer.ExecuteAsync(store, $"""
            ALTER TABLE idempotency ADD FOREIGN KEY (tenant) REFERENCES tenants (id);
            ALTER TABLE audit ALTER COLUMN entries SET COMPRESSION default;
            {Schema2Again}
            """);
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        Assert.Equal(
            0L,
            await PostgresServer.ScalarAsync(
                store,
                "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text ~ "
                    + "'^idempotency'"));
        var compression = await PostgresServer.ScalarAsync(
            store,
            "SELECT CASE WHEN 'lz4' = ANY (enumvals) THEN 'l' ELSE '' END FROM pg_settings WHERE name = "
                + "'default_toast_compression'");
        Assert.Equal(
            compression,
            await PostgresServer.ScalarAsync(
                store,
                "SELECT attcompression::text FROM pg_attribute WHERE attrelid = 'audit'::regclass AND attname = "
                    + "'entries'"));
    }

    [Fact]
    public async Task Nodes_go_on_under_load_while_another_brings_the_database_up_to_date()
    {
        var store = await server.NewDatabaseAsync();
        await using var nodes = await Nodes.StartAsync(store);
        await using var load = new Load(8, async (writer, i) =>
        {
            (await nodes[writer % 2].Set(nodes.Keys.TestSecretKey, "k", $"{i}", idempotencyKey: $"{writer} {i}",
                account: $"acct_{writer}")).IsOk();
            Assert.Equal($"{i}",
                (await nodes[1 - writer % 2].Find(nodes.Keys.TestSecretKey, "k", $"acct_{writer}")).IsOk().Payload);
        });
        for (var round = 0; round < 10; round++)
        {
            await PostgresServer.ExecuteAsync(store, $"""
                BEGIN;
                LOCK TABLE tenants, idempotency IN ACCESS EXCLUSIVE MODE;
                ALTER TABLE idempotency ADD FOREIGN KEY (tenant) REFERENCES tenants (id);
                {Schema2Again};
                COMMIT
                """);
            await Task.Delay(100, TestContext.Current.CancellationToken);
            (await PostgresEngine.OpenAsync(store, default)).Dispose();
        }

        await load.EndAsync();
    }

    [Fact]
    public async Task A_migration_that_must_wait_for_long_gives_up_before_the_nodes_that_wait_behind_it_do()
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await PostgresServer.ExecuteAsync(store, Schema2Again);
        await using (var backup = new NpgsqlConnection(store + ";Pooling=false"))
        {
            await backup.OpenAsync(TestContext.Current.CancellationToken);
            await using var hold = new NpgsqlCommand("BEGIN; LOCK TABLE idempotency IN ACCESS SHARE MODE", backup);
            await hold.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            var refused = await Assert.ThrowsAsync<ConfigurationException>(
                () => PostgresEngine.OpenAsync(store, default));
            Assert.Contains("somebody else holds its tables", refused.Message, StringComparison.Ordinal);
            Assert.Contains("Nothing was changed", refused.Hint, StringComparison.Ordinal);
        }

        Assert.Equal(2L, await PostgresServer.ScalarAsync(store, "SELECT version FROM coffer_schema"));
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
    }

    [Fact]
    public async Task What_idempotency_keys_kept_in_schema_1_is_replayed_replaced_and_removed_in_the_order_of_time()
    {
        var store = await NewSchema1Async();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        var (first, second) = (new IdempotencyKey(1, [1]), new IdempotencyKey(1, [2]));
        Asking[] asked = [new(first), new(second)];
        engine.Write([.. asked], _ => null);
        Assert.Equal([1L, 2L], asked.Select(change => change.Row!.Created));
        Assert.Equal([9], asked[0].Row!.Sealed);

        // Put again, the oldest is the newest: it continues behind the last number that schema 1 gave.
        engine.Write([new Change.Plain(new RowWrite.PutIdempotency(asked[0].Row! with { Created = 1_000 }))],
            _ => null);
        Assert.True(
            (long)(await PostgresServer.ScalarAsync(store,
                "SELECT seq FROM idempotency WHERE tenant = 1 AND key = '\\x01'"))! > Records);
        Assert.Equal(2L, await engine.FindOldestIdempotencyAsync(default));
        engine.Write([new Change.Plain(new RowWrite.PruneIdempotency(MadeBy: 10, Limit: 5))], _ => null);
        Assert.Equal(7L, await engine.FindOldestIdempotencyAsync(default));
        engine.Write([new Change.Plain(new RowWrite.PruneIdempotency(MadeBy: 10, Limit: 100))], _ => null);
        Assert.Equal(11L, await engine.FindOldestIdempotencyAsync(default));
    }

    [Fact]
    public async Task Nodes_of_the_release_before_go_on_beside_one_that_brings_the_database_up_to_date()
    {
        // What they say is what this release says: it must not depend on what schema 2 took away.
        var store = await server.NewDatabaseAsync();
        using var old = await PostgresEngine.OpenAsync(store, default);
        await PostgresServer.ExecuteAsync(store, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        await MakeSchema1Async(store);
        // It knows what it holds of a tenant's row.
        await PostgresServer.ExecuteAsync(store, "ALTER TABLE tenants ADD COLUMN counter BIGINT NOT NULL DEFAULT 0");
        Kept(1);
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        Kept(2);

        void Kept(long created)
        {
            var asked = new Asking(new IdempotencyKey(1, [77]));
            old.Write(
                [new Change.Plain(
                    new RowWrite.PutIdempotency(new IdempotencyRow(asked.IdempotencyAt!.Value, [1], created, [2])))],
                _ => null);
            old.Write([asked], _ => null);
            Assert.Equal(created, asked.Row!.Created);
        }
    }

    /// <summary>A database as the first release left it, with rows in all tables.</summary>
    private async Task<string> NewSchema1Async()
    {
        var store = await server.NewDatabaseAsync();
        await MakeSchema1Async(store);
        return store;
    }

    private static Task MakeSchema1Async(string store) => PostgresServer.ExecuteAsync(store, $"""
            CREATE TABLE coffer_schema (version BIGINT NOT NULL);
            INSERT INTO coffer_schema VALUES (1);
            {Coffer.Storage.Migrations.Of("postgres")[0]};
            INSERT INTO meta VALUES ('instance', '\x01');
            INSERT INTO root_keys VALUES (1, 2, '\x03');
            INSERT INTO apps VALUES ('app_1', 'one', 'acct_own', 1, '\x04');
            INSERT INTO api_keys (mac, id, app, kind, livemode, created, proof)
            VALUES ('\x05', 'key_1', 'app_1', 'secret', 0, 1, '\x06');
            INSERT INTO tenants (app, livemode, account, created, sealed_keys)
            SELECT 'app_1', 0, 'acct_' || n, 1, '\x07' FROM generate_series(1, 3) AS n;
            INSERT INTO secrets SELECT 1 + n % 3, int4send(n), '\x08', 'appsecret_' || n, 1, 1, NULL, '\x09'
            FROM generate_series(1, 20) AS n;
            INSERT INTO idempotency (tenant, key, fingerprint, created, sealed)
                SELECT CASE WHEN n <= 10 THEN 1 ELSE 2 END, decode(lpad(to_hex(n), 2, '0'), 'hex'), '\x08', n, '\x09'
            FROM generate_series(1, {Records}) AS n;
            INSERT INTO revocations VALUES ('key_1', 1, 2);
            INSERT INTO replies (key, fingerprint, created, sealed) VALUES ('\x01', '\x02', 3, '\x04');
            INSERT INTO audit (node, first, last, mac, entries) VALUES ('node_1', 1, 1, '\x01', '\x02')
            """);

    /// <summary>Of each table of a store the columns that there are, as a list for a statement.</summary>
    private static async Task<Dictionary<string, string>> ColumnsAsync(string store)
    {
        var columns = new Dictionary<string, string>();
        foreach (var table in Tables.All)
        {
            var found = await PostgresServer.ScalarAsync(store, $"""
                SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = to_regclass('{table.Name}') AND attnum > 0 AND NOT attisdropped
                """);
            if (found is string names)
                columns.Add(table.Name, names);
        }

        return columns;
    }

    private static async Task<string> RowsAsync(string store, Dictionary<string, string> columns)
    {
        var rows = "";
        foreach (var (table, names) in columns)
        {
            rows += await PostgresServer.ScalarAsync(store, $"""
                SELECT '{table} ' || count(*) || E'\n' || string_agg(t::text, E'\n' ORDER BY t::text) || E'\n'
                FROM (SELECT {names} FROM {table}) t
                """);
        }

        return rows;
    }

    private sealed class Asking(IdempotencyKey key) : Change
    {
        public IdempotencyRow? Row { get; private set; }

        public override IdempotencyKey? IdempotencyAt => key;

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            Row = found.Idempotency;
            return [];
        }
    }
}
