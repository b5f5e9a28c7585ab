using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>Nodes' names as leases in rows, directly and behind poolers.</summary>
[Trait("Right behind any pooler", "1")]
public abstract class LeaseTests(PostgresServer server, Way way) : IAsyncLifetime
{
    private readonly List<PostgresEngine> open = [];

    [Fact]
    public async Task Forty_that_join_at_once_have_forty_names_and_the_lowest_go_to_those_who_come_back()
    {
        // All forty sessions begin at once, which on a busy machine takes longer than a node usually waits: for a
        // connection as for an answer.
        var store = await server.NewDatabaseAsync(way) + ";Timeout=120;Command Timeout=120";
        foreach (var count in (int[])[40, 8])
        {
            var nodes = await Task.WhenAll(Enumerable.Range(0, count).Select(_ => Task.Run(() => JoinAsync(store))));
            Assert.Equal(Enumerable.Range(1, count).Select(number => $"node_{number}"),
                nodes.Select(node => node.Node).OrderBy(name => name.Length).ThenBy(name => name,
                    StringComparer.Ordinal));
            foreach (var node in nodes)
                node.Dispose();
            // On a machine that is busy one may end without a word.
            await PostgresServer.ExecuteAsync(store, "UPDATE nodes SET until = now()");
        }
    }

    [Fact]
    public async Task A_lease_that_ended_while_the_database_was_away_is_its_nodes_again_if_nobody_took_it()
    {
        var store = await server.NewDatabaseAsync(way);
        var node = await JoinAsync(store);
        await PostgresServer.ExecuteAsync(store, "UPDATE nodes SET until = now() - interval '1 minute'");
        await UntilAsync(store, "SELECT count(*) FROM nodes WHERE number = 1 AND until > now()");
        Assert.Equal("node_1", node.Node);
        Put(node);
    }

    [Fact]
    public async Task A_name_whose_lease_is_over_goes_to_who_comes_next_and_its_node_takes_another()
    {
        var store = await server.NewDatabaseAsync(way);
        var node = await JoinAsync(store);
        await PostgresServer.ExecuteAsync(store,
            "UPDATE nodes SET holder = 'one that is gone', until = now() - interval '1 second'");
        Assert.Equal("node_1", (await JoinAsync(store)).Node);
        await UntilNamedAsync(node, "node_2");
        Put(node);
    }

    [Fact]
    public async Task What_a_node_reads_is_not_believed_of_one_of_before_that_takes_over_its_row()
    {
        var store = await server.NewDatabaseAsync(way);
        var node = await JoinAsync(store);
        Assert.Equal((Engine.KnownLevel, true), await ReadAsync());
        await PostgresServer.ExecuteAsync(store,
            "UPDATE nodes SET holder = 'one of before', until = now() + interval '1 hour' WHERE number = 1");
        Assert.Equal((0L, false), await ReadAsync());

        async Task<(long, bool)> ReadAsync()
        {
            var said = (await node.ListNodesAsync(TestContext.Current.CancellationToken))
                .Single(each => each.Name == "node_1");
            return (said.Level, said.ReadsFormatTwo);
        }
    }

    [Fact]
    public async Task A_node_gives_way_to_one_of_before_that_locks_its_name_and_takes_no_name_that_is_locked()
    {
        var store = await server.NewDatabaseAsync(way);
        var node = await JoinAsync(store);
        await using var older = new NpgsqlConnection(server.Directly(store) + ";Pooling=false");
        await older.OpenAsync(TestContext.Current.CancellationToken);
        await new NpgsqlCommand($"""
            SELECT pg_advisory_lock_shared({PostgresLocks.Marks}, 0), pg_advisory_lock({PostgresLocks.Names}, 1),
                pg_advisory_lock({PostgresLocks.Names}, 2)
            """, older).ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        await UntilNamedAsync(node, "node_3");
        await UntilAsync(store, "SELECT count(*) FROM nodes HAVING count(*) = 1");
    }

    [Fact]
    public async Task Nothing_is_left_on_a_session_that_others_use_too()
    {
        var store = await server.NewDatabaseAsync(way);
        var node = await JoinAsync(store);
        await using (await node.HoldStartAsync(default))
            Put(node);
        for (var i = 0; i < 10; i++)
        {
            Put(node);
            Assert.NotNull(await node.FindMetaAsync("k", default));
            await node.FindSecretAsync(new SecretKey(1, [1]), default);
        }

        using (var copied = await PostgresTables.OpenAsync(store, isNew: false, default))
        {
            for (var i = 0; i < 4; i++)
                Assert.NotNull(copied.Meta("k"));
        }

        // Many at once, so that all sessions are looked at.
        var looks = Enumerable.Range(0, 20).Select(_ => PostgresServer.ScalarAsync(store, """
            SELECT concat_ws(' ',
                (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
                (SELECT count(*) FROM pg_listening_channels()),
                (SELECT count(*) FROM pg_prepared_statements WHERE name LIKE '\_%'), current_setting('enable_seqscan'),
                current_setting('plan_cache_mode'), current_setting('lock_timeout'),
                current_setting('idle_in_transaction_session_timeout'), current_setting('statement_timeout'))
            FROM pg_sleep(0.2)
            """));
        foreach (var left in await Task.WhenAll(looks))
            Assert.Equal("0 0 0 on auto 0 0 0", left);
    }

    [Fact]
    public async Task How_the_database_is_reached_is_found_out()
    {
        var store = await server.NewDatabaseAsync(way);
        var expected = way switch
        {
            Way.Direct => "direct, statements prepared",
            // Debian's 1.18 knows nothing of prepared statements; newer ones carry them along.
            Way.PgBouncer when !PgBouncer.CarriesStatements => "pooled, statements not prepared",
            _ => "pooled, statements prepared",
        };
        Assert.Equal(expected, (await JoinAsync(store)).Connections!.Shown);
        Assert.EndsWith("statements not prepared", (await JoinAsync(store + ";Max Auto Prepare=0")).Connections!.Shown,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_contract_step_waits_for_the_last_node_of_before()
    {
        var store = await server.NewDatabaseAsync(way);
        (await JoinAsync(store)).Dispose();
        var step = await File.ReadAllTextAsync(
            Repository.File("src/Coffer/Storage/Postgres/Later/nodes-by-lease-only.sql"),
            TestContext.Current.CancellationToken);
        await using (var older = new NpgsqlConnection(server.Directly(store) + ";Pooling=false"))
        {
            await older.OpenAsync(TestContext.Current.CancellationToken);
            await new NpgsqlCommand($"SELECT pg_advisory_lock({PostgresLocks.Names}, 1)", older)
                .ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
            var refused = await Assert.ThrowsAsync<PostgresException>(() => PostgresServer.ExecuteAsync(store, step));
            Assert.Contains("update all nodes first", refused.MessageText, StringComparison.Ordinal);
        }

        await JoinAsync(store); // a node of this release is no obstacle
        await PostgresServer.ExecuteAsync(store, step);
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync()
    {
        foreach (var each in open)
            each.Dispose();
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    private async Task<PostgresEngine> JoinAsync(string store)
    {
        var engine = await PostgresEngine.OpenAsync(store, default);
        lock (open)
            open.Add(engine);
        await engine.JoinAsync(default);
        return engine;
    }

    private static void Put(Engine engine) =>
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [1]))], _ => null);

    private static Task UntilNamedAsync(Engine node, string name) =>
        Until.SoAsync($"it is {name}", () => node.Node == name, instead: () => node.Node);

    private static Task UntilAsync(string store, string counts) => Until.SoAsync(
        counts, async () => (long)(await PostgresServer.ScalarAsync(store, counts) ?? 0L) > 0);
}

public sealed class LeaseDirectTests(PostgresServer server) : LeaseTests(server, Way.Direct);

public sealed class LeaseBehindPgBouncerTests(PostgresServer server) : LeaseTests(server, Way.PgBouncer);

public sealed class LeaseOnSharedSessionsTests(PostgresServer server) : LeaseTests(server, Way.SharedSessions);
