using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Postgres;

/// <summary>
/// Nodes are anchored to each other by their checkpoints, and a node that was away continues where retention has cut.
/// </summary>
[Trait("Firm ground", "13")]
public sealed class AnchorsTests(PostgresServer server)
{
    [Theory]
    [InlineData("node = 'node_2' AND first > 3", "the log of node_2 ends at entry 3, but at ")]
    [InlineData("node = 'node_2' AND last = (SELECT max(last) FROM audit WHERE node = 'node_2')",
        "the log of node_2 ends at entry 5, but at ")]
    [InlineData("node = 'node_2'", "the log of node_2 is gone, but at ")]
    public async Task Another_nodes_log_that_is_cut_or_gone_is_found_by_the_store_the_export_and_the_next_start(
        string which, string expected)
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var (key, data) = (nodes.Keys.TestSecretKey, nodes[0].Data);
        for (var i = 0; i < 6; i++)
            (await nodes[1].Set(key, $"k{i}")).IsOk();
        (await nodes[0].Set(key, "k")).IsOk();
        await nodes.StopAsync(0);
        await nodes.StopAsync(0);
        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(data, nodes.Store), null, default)).Problems);

        await PostgresServer.ExecuteAsync(nodes.Store, $"DELETE FROM audit WHERE {which}");
        var problem = Assert.Single(
            (await AuditArchive.VerifyStoreAsync(new(data, nodes.Store), null, default)).Problems);
        Assert.StartsWith(expected, problem, StringComparison.Ordinal);
        Assert.Contains("as node_1 saw, it had 6", problem, StringComparison.Ordinal);

        var export = Path.Combine(data, "export");
        await using (var file = new StreamWriter(export))
            await AuditArchive.ExportAsync(new(data, nodes.Store), file, default);
        Assert.Equal([problem], (await Exports.VerifyAsync(export, Path.Combine(data, "coffer.key"),
            Path.Combine(data, "audit-checkpoints.jsonl"))).Problems);
        Assert.Contains("the audit log of node_2 ends at entry",
            (await Assert.ThrowsAsync<ConfigurationException>(() => nodes.StartAsync(data))).Message,
                StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_nodes_log_that_was_written_anew_is_found()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var (key, data) = (nodes.Keys.TestSecretKey, (nodes[0].Data, nodes[1].Data));
        for (var i = 0; i < 6; i++)
            (await nodes[1].Set(key, $"k{i}")).IsOk();
        (await nodes[0].Set(key, "k")).IsOk();
        await nodes.StopAsync(0);
        await nodes.StopAsync(0);
        await PostgresServer.ExecuteAsync(nodes.Store, "DELETE FROM audit WHERE node = 'node_2' AND first > 3");
        // A node with a directory of its own knows nothing of what was cut.
        await using var one = new Nodes.Node(await nodes.StartAsync(Copy(nodes, data.Item1)), "");
        await using var two = new Nodes.Node(await nodes.StartAsync(Copy(nodes, data.Item1)), "");
        for (var i = 0; i < 6; i++)
            (await two.Set(key, $"k{i}")).IsOk();
        var report = await AuditArchive.VerifyStoreAsync(new(data.Item1, nodes.Store), null, default);
        Assert.Contains("entry 6 of node_2 is not the one that the checkpoint of", Assert.Single(report.Problems),
            StringComparison.Ordinal);
        Assert.Contains("entry 6 of node_2 is not the one", (
            await Assert.ThrowsAsync<ConfigurationException>(() => nodes.StartAsync(data.Item1))).Message,
                StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_node_whose_rows_retention_has_removed_goes_on_from_the_signed_cut(bool isEdited)
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var (key, data) = (nodes.Keys.TestSecretKey, (nodes[0].Data, nodes[1].Data));
        for (var i = 0; i < 6; i++)
            (await nodes[1].Set(key, $"k{i}")).IsOk();
        await nodes.StopAsync(1);
        await nodes.StopAsync(0);
        await PruneAsync(nodes, data.Item1);
        Assert.Equal(0L, await PostgresServer.ScalarAsync(nodes.Store,
            "SELECT count(*) FROM audit WHERE node = 'node_2'"));
        if (isEdited)
        {
            // Where it is to continue nobody who writes the database can make up.
            await PostgresServer.ExecuteAsync(nodes.Store,
                "UPDATE meta SET value = substr(value, 1, 71) || '\\x00'::bytea WHERE key = 'audit cut node_2'");
            foreach (var each in (string[])[data.Item1, data.Item2])
            {
                Assert.Contains("where the audit log of node_2 begins was not written by this store",
                    (await Assert.ThrowsAsync<ConfigurationException>(() => nodes.StartAsync(each))).Message,
                        StringComparison.Ordinal);
            }

            return;
        }

        await using (var one = new Nodes.Node(await nodes.StartAsync(data.Item1), ""))
        await using (var two = new Nodes.Node(await nodes.StartAsync(data.Item2), ""))
            (await two.Set(key, "k")).IsOk();
        Assert.Equal(7L, await PostgresServer.ScalarAsync(nodes.Store,
            "SELECT min(first) FROM audit WHERE node = 'node_2'"));
        foreach (var each in (string[])[data.Item1, data.Item2])
            Assert.Empty((await AuditArchive.VerifyStoreAsync(new(each, nodes.Store), null, default)).Problems);
    }

    [Fact]
    public async Task A_running_node_whose_rows_are_removed_goes_on_when_its_connection_ends()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var key = nodes.Keys.TestSecretKey;
        (await nodes[1].Set(key, "k")).IsOk();
        await PruneAsync(nodes, nodes[0].Data);
        await PostgresServer.EndOthersAsync(nodes.Store);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        (await nodes[1].Set(key, "k")).IsOk();
        (await nodes[0].Set(key, "k")).IsOk();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(nodes[0].Data, nodes.Store), null, default)).Problems);
    }

    [Fact]
    public async Task Of_a_thousand_nodes_each_checkpoint_names_a_hundred_and_all_have_their_turn()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var data = nodes[0].Data;
        await nodes.StopAsync(0);
        await PostgresServer.ExecuteAsync(nodes.Store, """
            INSERT INTO audit (node, first, last, mac, entries)
            SELECT 'node_' || node, first, first, sha256(first::text::bytea), '' FROM generate_series(2, 1000) AS node,
                generate_series(1, 5) AS first
            """);
        using var engine = await PostgresEngine.OpenAsync(nodes.Store, default);
        var instance = await Instance.OpenAsync(engine, KeyWrappers.OfFile(Path.Combine(data, "coffer.key")), default);
        var keys = AuditKeys.Of(instance);
        using var chain = new AuditChain(AuditKeys.Of(instance), "node_1", null, TimeProvider.System);
        var inLoop = chain.InLoop(engine);
        var file = Path.Combine(data, "many");
        using var checkpoints = new Checkpoints(chain, engine, keys, file, new ManualTime(),
            NullLogger<Checkpoints>.Instance);
        checkpoints.Start();
        using var committer = new Committer(engine, 100, inLoop);
        for (var minute = 0; minute < 22; minute++)
        {
            if (minute == 11)
            {
                await PostgresServer.ExecuteAsync(nodes.Store,
                    "INSERT INTO audit (node, first, last, mac, entries) SELECT node, 6, 6, sha256('6'), '' FROM " +
                        "audit WHERE node IN ('node_7', 'node_77') AND first = 5");
            }

            await committer.CommitAsync(new Change.Noted(new AuditEntry("find", "ok")));
            checkpoints.Write();
        }

        var lines = File.ReadAllLines(file);
        var named = lines.Select(line => Checkpoint.Parse(line)!).ToArray();
        Assert.All(lines, line => Assert.InRange(line.Length, 100, 24_000));
        Assert.All(named, checkpoint => Assert.True(checkpoint.IsSignedBy(keys.Signing.Public, keys.Store)));
        Assert.Equal(999, named[..11].SelectMany(checkpoint => checkpoint.Heads).DistinctBy(head => head.Node).Count());
        // Then only those that have grown.
        Assert.Equal(["node_7", "node_77"], named[11..].SelectMany(checkpoint => checkpoint.Heads)
            .Select(head => head.Node).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Heads_come_in_the_order_of_names_page_by_page_with_what_meta_holds()
    {
        using var engine = await PostgresEngine.OpenAsync(await server.NewDatabaseAsync(), default);
        foreach (var (node, number) in ((string, long)[])[("node_2", 1), ("node_10", 1), ("node_1", 1), ("node_2", 2),
            ("node_1", 2)])
            engine.Write([new Change.Plain()], _ => new RowWrite.PutAudit(
                new AuditRow(node, number, number, [(byte)number], [])));
        engine.Write([new Change.Plain(new RowWrite.PutMeta("about node_10", [9]))], _ => null);
        var heads = await engine.ListAuditHeadsAsync("", 2, "about ", default);
        Assert.Equivalent(new AuditHeadRow[] { new("node_1", 2, [2], null), new("node_10", 1, [1], [9]) }, heads,
            strict: true);
        heads = await engine.ListAuditHeadsAsync("node_10", 2, "about ", default);
        Assert.Equivalent(new AuditHeadRow[] { new("node_2", 2, [2], null) }, heads, strict: true);
        Assert.Empty(await engine.ListAuditHeadsAsync("node_2", 2, "about ", default));
    }

    // All that was written before now, by whichever node, is a month old by this clock.
    private static async Task PruneAsync(Nodes nodes, string data)
    {
        using var engine = await PostgresEngine.OpenAsync(nodes.Store, default);
        await engine.JoinAsync(default);
        var instance = await Instance.OpenAsync(engine, KeyWrappers.OfFile(Path.Combine(data, "coffer.key")), default);
        var last = await engine.FindLastAuditAsync(engine.Node, default);
        using var chain = new AuditChain(AuditKeys.Of(instance), engine.Node, last, new Later());
        using var committer = new Committer(engine, 100, chain.InLoop(engine));
        var keys = AuditKeys.Of(instance);
        await new Retention(engine, committer, keys, static () => TimeSpan.FromDays(30), new Later(),
            NullLogger<Retention>.Instance)
            .SweepAsync(default);
    }

    private static string Copy(Nodes nodes, string data)
    {
        var copy = nodes.NewData();
        File.Copy(Path.Combine(data, "coffer.key"), Path.Combine(copy, "coffer.key"));
        return copy;
    }

    private sealed class Later : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + TimeSpan.FromDays(31);
    }
}
