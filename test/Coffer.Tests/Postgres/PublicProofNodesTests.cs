using Coffer.Hosting;

namespace Coffer.Tests.Postgres;

/// <summary>
/// The logs of two nodes, proven by public keys alone, over a step back that one of them accepts.
/// </summary>
[Trait("Keys", "S13 S14")]
public sealed class PublicProofNodesTests(PostgresServer server)
{
    [Fact]
    public async Task Each_nodes_log_is_proven_by_its_own_checkpoints_or_the_others_and_has_its_own_segments()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var key = nodes.Keys.TestSecretKey;
        for (var i = 0; i < 6; i++)
        {
            (await nodes[0].Set(key, $"a{i % 3}")).IsOk();
            (await nodes[1].Set(key, $"b{i % 3}")).IsOk();
        }

        // The first one's last entries are lost, and accepted while the second one runs.
        var data = nodes[0].Data;
        await nodes.StopAsync(0);
        var last = (long)(await PostgresServer.ScalarAsync(nodes.Store,
            "SELECT max(last) FROM audit WHERE node = 'node_1'"))!;
        await PostgresServer.ExecuteAsync(nodes.Store,
            $"DELETE FROM audit WHERE node = 'node_1' AND last > {last - 2}");
        var options = new Coffer.Settings.CofferOptions
        {
            Data = data,
            Store = nodes.Store,
            Listen = "http://127.0.0.1:0",
            AcceptedRollbacks = [new AcceptedRollback("node_1", last - 2)],
        };
        await using (await Server.StartAsync(options, TimeProvider.System, default))
        {
            // Each learns of it within seconds, and its next entry begins a segment.
            for (var tries = 0; ; tries++)
            {
                (await nodes[0].Set(key, "c")).IsOk();
                var report = await AuditArchive.VerifyStoreAsync(new(data, nodes.Store), null, default);
                Assert.Empty(report.Problems);
                if (report.Segments.Count == 2)
                    break;
                Assert.True(tries < 100, "the other node stays in the last generation");
                await Task.Delay(100, TestContext.Current.CancellationToken);
            }
        }

        var other = nodes[0].Data;
        await nodes.StopAsync(0);
        var known = await PublicProofs.KeepAsync(new(data, nodes.Store));
        foreach (var each in (string[])[data, other])
        {
            var report = await PublicProofs.VerifyAsync(new(each, nodes.Store), known);
            Assert.Empty(report.Problems);
            Assert.Equal(2, report.Segments.Count);
            Assert.Contains(report.Segments, segment => segment.StartsWith(
                $"from entry {last - 1} on the log of node_1 is a new segment", StringComparison.Ordinal));
            Assert.Contains(report.Segments, segment => segment.EndsWith(": begin_segment, ok)",
                StringComparison.Ordinal) && segment.Contains("node_2", StringComparison.Ordinal));
            // Both segments are of one generation of the store.
            Assert.Single(report.Segments.Select(segment => segment.Split("generation ")[1][..32]).Distinct());
        }

        // All of the second one's log by its own checkpoints, and a part of it by the first one's.
        Assert.Contains((await PublicProofs.VerifyAsync(new(other, nodes.Store), known)).Proven,
            part => part.StartsWith("entries 1 to ", StringComparison.Ordinal)
                && part.EndsWith("of node_2", StringComparison.Ordinal));
        Assert.Contains((await PublicProofs.VerifyAsync(new(data, nodes.Store), known)).Proven,
            part => part.EndsWith("of node_2", StringComparison.Ordinal));

        // A row of either that is changed is named.
        foreach (var node in (string[])["node_1", "node_2"])
        {
            await PostgresServer.ExecuteAsync(nodes.Store, "UPDATE audit SET public = set_byte(public, 20, "
                + $"(get_byte(public, 20) + 1) % 256) WHERE node = '{node}' AND first <= 5 AND last >= 5");
        }

        var problems = (await PublicProofs.VerifyAsync(new(other, nodes.Store), known)).Problems;
        Assert.Contains(problems, problem => problem.EndsWith("of node_1 were changed", StringComparison.Ordinal));
        Assert.Contains(problems, problem => problem.EndsWith("of node_2 were changed", StringComparison.Ordinal));
    }
}
