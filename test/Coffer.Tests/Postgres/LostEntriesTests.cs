using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Tests.Postgres;

/// <summary>
/// A database that has lost what nodes have stored, as after a failover to a standby that had not received it: rows are
/// taken away, and connections end. The real failover is in <c>FailoverLossTests</c>.
/// </summary>
[Trait("Firm ground", "12")]
public sealed class LostEntriesTests(PostgresServer server)
{
    [Fact]
    public async Task A_running_node_is_not_ready_and_stores_nothing_until_a_restart_accepts_it()
    {
        await using var nodes = await StartedAsync();
        var key = nodes.Keys.TestSecretKey;
        var last = await LastAsync(nodes, "node_1");
        await LoseAsync(nodes, $"node = 'node_1' AND first > {last - 3}");

        // Whatever is asked for first notices it, and nothing is put where the lost entries were.
        Refused(await nodes[0].Set(key, "k"));
        var ready = await nodes[0].Get(key, "/readyz");
        Assert.Equal(503, ready.Status);
        var audit = (string)ready.Json["audit"]!;
        Assert.Contains($"the audit log of node_1 ends at entry {last - 3}, but it had {last}", audit,
            StringComparison.Ordinal);
        Assert.Contains($"restart this node with --accept-rollback node_1:{last - 3}", audit, StringComparison.Ordinal);
        Refused(await nodes[0].Find(key, "k0"));
        (await nodes[0].Get(key, "/v1/apps/secrets/find?scope[type]=account&name=k0"))
            .IsOk(); // without its payload nothing is stored
        Assert.Equal(last - 3, await LastAsync(nodes, "node_1"));

        // The other node, of which nothing is lost, continues.
        (await nodes[1].Set(key, "k")).IsOk();
        Assert.Equal(200, (await nodes[1].Get(key, "/readyz")).Status);

        // It has no checkpoint of the last minute but that which it wrote when it noticed.
        var data = nodes[0].Data;
        await nodes.StopAsync(0);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => nodes.StartAsync(data));
        Assert.Contains($"--accept-rollback node_1:{last - 3}:", refused.Hint, StringComparison.Ordinal);
        await using var again = new Nodes.Node(await AcceptAsync(nodes, data, new AcceptedRollback("node_1", last - 3)),
            data);
        (await again.Set(key, "k")).IsOk();
        Assert.Equal(200, (await again.Get(key, "/readyz")).Status);
        var report = await AuditArchive.VerifyStoreAsync(new(data, nodes.Store), null, default);
        Assert.Empty(report.Problems);
        Assert.NotEmpty(report.Rollbacks);
    }

    [Fact]
    public async Task Readiness_alone_notices_it_where_nobody_asks_for_anything()
    {
        await using var nodes = await StartedAsync();
        await LoseAsync(nodes, "node = 'node_2' AND first > 2");
        var key = nodes.Keys.TestSecretKey;
        Assert.Contains("--accept-rollback node_2:", (string)(await nodes[1].Get(key, "/readyz")).Json["audit"]!,
            StringComparison.Ordinal);
        Assert.Equal(200, (await nodes[0].Get(key, "/readyz")).Status);
    }

    [Fact]
    public async Task A_node_that_finds_the_right_database_again_goes_on_by_itself()
    {
        await using var nodes = await StartedAsync();
        var key = nodes.Keys.TestSecretKey;
        var last = await LastAsync(nodes, "node_1");
        await PostgresServer.ExecuteAsync(nodes.Store, "CREATE TABLE kept AS SELECT * FROM audit");
        await LoseAsync(nodes, $"node = 'node_1' AND first > {last - 3}");
        Refused(await nodes[0].Set(key, "k"));
        await PostgresServer.ExecuteAsync(nodes.Store, $"INSERT INTO audit SELECT * FROM kept WHERE node = 'node_1' " +
            $"AND first > {last - 3}; DROP TABLE kept");
        (await nodes[0].Set(key, "k")).IsOk();
        Assert.Equal(200, (await nodes[0].Get(key, "/readyz")).Status);
        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(nodes[0].Data, nodes.Store), null, default)).Problems);
    }

    [Fact]
    public async Task A_connection_that_ends_with_nothing_lost_fails_no_write_and_leaves_no_gap()
    {
        await using var nodes = await StartedAsync();
        for (var i = 0; i < 5; i++)
        {
            await LoseAsync(nodes, "false");
            (await nodes[0].Set(nodes.Keys.TestSecretKey, "k")).IsOk();
            (await nodes[1].Set(nodes.Keys.TestSecretKey, "k")).IsOk();
        }

        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(nodes[0].Data, nodes.Store), null, default)).Problems);
    }

    [Fact]
    public async Task One_start_accepts_for_all_nodes_that_its_checkpoints_name_and_the_others_need_no_flag()
    {
        await using var nodes = await StartedAsync();
        var data = (nodes[0].Data, nodes[1].Data);
        var (one, two) = (await LastAsync(nodes, "node_1"), await LastAsync(nodes, "node_2"));
        await nodes.StopAsync(1);
        await nodes.StopAsync(0); // its last checkpoint names where node_2 ended
        await LoseAsync(nodes, $"(node = 'node_1' AND first > {one - 2}) OR (node = 'node_2' AND first > {two - 1})");

        string[] flags = [$"--accept-rollback node_1:{one - 2}", $"--accept-rollback node_2:{two - 1}"];
        Assert.Contains(string.Join(' ', flags) + ":", (await Assert.ThrowsAsync<ConfigurationException>(() =>
            nodes.StartAsync(data.Item1))).Hint, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ConfigurationException>(() =>
            AcceptAsync(nodes, data.Item1, new AcceptedRollback("node_1", one - 2)));
        await using var first = new Nodes.Node(await AcceptAsync(nodes, data.Item1, new("node_1", one - 2),
            new("node_2", two - 1)), data.Item1);
        await using var second = new Nodes.Node(await nodes.StartAsync(data.Item2), data.Item2);
        foreach (var node in (Nodes.Node[])[first, second])
            (await node.Set(nodes.Keys.TestSecretKey, "k")).IsOk();
        foreach (var each in (string[])[data.Item1, data.Item2])
        {
            var report = await AuditArchive.VerifyStoreAsync(new(each, nodes.Store), null, default);
            Assert.Empty(report.Problems);
            Assert.Equal(2, report.Rollbacks.Count);
        }
    }

    /// <summary>As of a copy that is restored into the database in its place, while nodes are connected.</summary>
    [Fact]
    [Trait("Firm edges", "10")]
    public async Task A_database_that_goes_back_under_its_connections_is_noticed_by_the_next_commit()
    {
        await using var nodes = await StartedAsync();
        var last = await LastAsync(nodes, "node_1");
        await PostgresServer.ExecuteAsync(
            nodes.Store, $"DELETE FROM audit WHERE node = 'node_1' AND first > {last - 3}");
        Assert.Equal(503, (await nodes[0].Set(nodes.Keys.TestSecretKey, "k")).Status);
        Assert.Equal(503, (await nodes[0].Set(nodes.Keys.TestSecretKey, "k")).Status);
        Assert.Contains($"ends at entry {last - 3}, but it had {last}",
            (string)(await nodes[0].Get(nodes.Keys.TestSecretKey, "/readyz")).Json["audit"]!, StringComparison.Ordinal);
        (await nodes[1].Set(nodes.Keys.TestSecretKey, "k")).IsOk();
    }

    [Fact]
    [Trait("Firm edges", "10")]
    public async Task A_schema_that_is_dropped_or_emptied_under_its_connections_answers_nothing()
    {
        await using var nodes = await StartedAsync();
        var key = nodes.Keys.TestSecretKey;
        await PostgresServer.ExecuteAsync(nodes.Store, "TRUNCATE audit, secrets, idempotency");
        Assert.Equal(503, (await nodes[0].Set(key, "k")).Status);
        Assert.Equal(503, (await nodes[0].Get(key, "/readyz")).Status);
        await PostgresServer.ExecuteAsync(nodes.Store, "ALTER SCHEMA public RENAME TO away");
        Assert.Equal(503, (await nodes[1].Set(key, "k")).Status);
        Assert.Equal(503, (await nodes[1].Get(key, "/readyz")).Status);
    }

    private static void Refused(Answer answer)
    {
        answer.IsError(503, null, null, type: "api_error");
        Assert.Contains("The database has lost changes", answer.Text, StringComparison.Ordinal);
        Assert.Equal(("true", "5"), (answer.Header("Stripe-Should-Retry"), answer.Header("Retry-After")));
    }

    // Two nodes, each with some entries in its log, and none with a checkpoint of them yet.
    private async Task<Nodes> StartedAsync()
    {
        var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        for (var i = 0; i < 6; i++)
        {
            (await nodes[0].Set(nodes.Keys.TestSecretKey, $"k{i}")).IsOk();
            (await nodes[1].Set(nodes.Keys.TestSecretKey, $"k{i}")).IsOk();
        }

        return nodes;
    }

    // After a pause, so that what writes proves its connection before it uses it.
    private static async Task LoseAsync(Nodes nodes, string which)
    {
        await PostgresServer.ExecuteAsync(nodes.Store, $"DELETE FROM audit WHERE {which}");
        await PostgresServer.EndOthersAsync(nodes.Store);
        await Task.Delay(200, TestContext.Current.CancellationToken);
    }

    private static async Task<long> LastAsync(Nodes nodes, string node) =>
        (long)(await PostgresServer.ScalarAsync(nodes.Store, $"SELECT max(last) FROM audit WHERE node = '{node}'"))!;

    private static Task<Server> AcceptAsync(Nodes nodes, string data, params AcceptedRollback[] accepted)
    {
        var options = new CofferOptions { Data = data, Store = nodes.Store, Listen = "http://127.0.0.1:0" };
        return Server.StartAsync(options with { AcceptedRollbacks = accepted }, TimeProvider.System, default);
    }
}
