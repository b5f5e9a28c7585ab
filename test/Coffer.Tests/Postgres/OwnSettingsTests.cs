using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Tests.Support;
using Coffer.Transfer;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>What is set for a role or a database changes nothing of what a node does.</summary>
[Trait("Firm edges", "17")]
public sealed class OwnSettingsTests(PostgresServer server)
{
    private static readonly string[] Hostile =
    [
        "default_transaction_isolation = serializable", "default_transaction_read_only = on",
        "default_transaction_deferrable = on", "lock_timeout = '100ms'", "statement_timeout = '400ms'",
        "idle_in_transaction_session_timeout = '300ms'", "quote_all_identifiers = on",
        "\"TimeZone\" = 'Asia/Kathmandu'",
        "bytea_output = escape", "\"DateStyle\" = 'German'", "\"IntervalStyle\" = iso_8601", "client_encoding = latin1",
        "extra_float_digits = 0", "standard_conforming_strings = off", "synchronous_commit = off", "row_security = off",
        "transform_null_equals = on", "array_nulls = off", "enable_indexscan = off",
        "plan_cache_mode = force_custom_plan",
    ];

    [Theory]
    [InlineData(Way.Direct)]
    [InlineData(Way.PgBouncer)]
    [InlineData(Way.SharedSessions)]
    public async Task A_node_starts_waits_and_writes_as_ever(Way way)
    {
        var store = await server.NewDatabaseAsync(way);
        await SetAsync(store, Hostile);
        using var engine = await PostgresEngine.OpenAsync(store, default);
        await engine.JoinAsync(default);
        await using (await engine.HoldStartAsync(default))
        {
            engine.Write([new Change.Plain(new RowWrite.PutMeta("ключ", [1]))], _ => null);
            // Somebody holds a table for longer than the role would have it waited for.
            await using (await LockedAsync(server.Directly(store), TimeSpan.FromMilliseconds(700)))
            {
                Assert.Equal([1], (await engine.FindMetaAsync("ключ", default))!);
                engine.Write([new Change.Plain(new RowWrite.PutMeta("ключ", [2]))], _ => null);
            }

            Assert.Null(await engine.FindSecretAsync(new SecretKey(1, [1]), default));
            Assert.Equal("node_1", Assert.Single(await engine.ListNodesAsync(default)).Name);
        } // held through all of it

        using var snapshot = await PostgresEngine.OpenSnapshotAsync(store, default);
        Assert.Equal([2], (await snapshot.FindMetaAsync("ключ", default))!);
    }

    [Fact]
    public async Task A_store_is_copied_out_of_such_a_database_and_into_one()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "payload")).IsOk();
        var from = new StoreLocation(nodes[0].Data, nodes.Store);
        await nodes.StopAsync(0);
        var to = new StoreLocation(nodes.NewData(), await server.NewDatabaseAsync());
        await SetAsync(from.Store!, Hostile);
        await SetAsync(to.Store!, Hostile);
        // Between two steps its transaction rests.
        var report = await StoreCopy.RunAsync(from, to,
            static _ => TestContext.Current.CancellationToken.WaitHandle.WaitOne(15), TimeProvider.System, default);
        Assert.Empty(report.Problems);
        Assert.True(report is { IsFinished: true, Open: null });
    }

    [Theory]
    [InlineData(Way.Direct)]
    [InlineData(Way.PgBouncer)]
    public async Task A_node_stays_in_its_schema_whatever_comes_before_it(Way way)
    {
        var store = await server.NewDatabaseAsync(way);
        using var engine = await PostgresEngine.OpenAsync(store, default);
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [1]))], _ => null);
        await SetAsync(store, ["search_path = elsewhere, public"]);
        await PostgresServer.ExecuteAsync(server.Directly(store), """
            CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.meta (LIKE public.meta INCLUDING ALL)
            """);
        await PostgresServer.EndOthersAsync(server.Directly(store));
        Assert.Equal([1], (await engine.FindMetaAsync("k", default))!);
        Assert.Equal([1], engine.FindByWriter(MetaRow.ByKey, "k")!);
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [2]))], _ => null);
        Assert.Equal([2], (await engine.FindMetaAsync("k", default))!);
        Assert.Equal(0L, await PostgresServer.ScalarAsync(server.Directly(store),
            "SELECT count(*) FROM elsewhere.meta"));
    }

    [Fact]
    public async Task Connections_say_whose_they_are()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        await engine.JoinAsync(default);
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [1]))], _ => null);
        Assert.NotNull(await engine.FindMetaAsync("k", default));
        Assert.Null(await engine.FindSecretAsync(new SecretKey(1, [1]), default));
        Assert.Equal("coffer node_1", await PostgresServer.ScalarAsync(store, """
            SELECT string_agg(DISTINCT application_name, ', ') FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """));
    }

    private async Task SetAsync(string store, IEnumerable<string> settings)
    {
        var database = new NpgsqlConnectionStringBuilder(store).Database;
        foreach (var setting in settings)
            await PostgresServer.ExecuteAsync(server.Admin, $"ALTER DATABASE {database} SET {setting}");
    }

    private static async Task<IAsyncDisposable> LockedAsync(string store, TimeSpan howLong)
    {
        var other = new NpgsqlConnection(store);
        await other.OpenAsync();
        await using var take = new NpgsqlCommand("""
            BEGIN READ WRITE; SET LOCAL idle_in_transaction_session_timeout = 0;
            LOCK TABLE meta IN ACCESS EXCLUSIVE MODE
            """, other);
        await take.ExecuteNonQueryAsync();
        _ = Task.Delay(howLong).ContinueWith(_ => other.Dispose(), TaskScheduler.Default);
        return other;
    }
}
