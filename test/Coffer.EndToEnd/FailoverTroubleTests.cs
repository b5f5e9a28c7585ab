using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// What <see cref="FailoverTests"/> ask for, of one PostgreSQL that cannot be reached, or cannot do its work.
/// </summary>
public sealed class FailoverTroubleTests
{
    [Fact]
    public async Task A_database_that_is_stopped_and_started_is_found_again()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        await store.UntilAcknowledgedAsync();
        await cluster.StopAsync(cluster.Primary);
        store.Tally.Fault();
        await store.RunAsync(1);
        foreach (var node in store.Nodes)
        {
            Assert.NotEqual("ok",
                (await node.Clients[""].GetAsync("/readyz")).Is(503).Body.GetProperty("storage").GetString());
            (await node.Clients[""].GetAsync("/healthz")).Is(200);
        }

        await cluster.StartAsync(cluster.Primary);
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_network_that_hangs_or_is_cut_between_node_and_database_holds_no_request_for_long(bool isCut)
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var network = new TcpProxy(cluster.Primary.Port);
        await using var store = await FailoverStore.StartAsync(cluster.Store(network.Port));
        await store.UntilAcknowledgedAsync();
        if (isCut)
            network.Cut();
        else
            network.Hang();
        store.Tally.Fault();
        // Longer than any request may take, so that none is answered only because the network is back.
        await store.RunAsync(isCut ? 1 : FailoverTally.Longest.TotalSeconds + 1);
        Assert.NotEqual(0, store.Tally.Unavailable);
        network.Pass();
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task Reads_that_wait_for_the_database_exhaust_the_pool_and_are_refused_in_time()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(
            $"{cluster.Store(cluster.Primary.Port)};Maximum Pool Size=2;Timeout=3");
        await store.UntilAcknowledgedAsync();
        store.Tally.Fault();
        var held = cluster.AskAsync(cluster.Primary,
            "BEGIN; LOCK TABLE secrets IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(6); ROLLBACK");
        await Until.SoAsync("the table is locked", async () => await cluster.AskAsync(
            cluster.Primary,
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'secrets'::regclass AND "
                + "granted") != "0");
        // Finds share a statement, and so a connection; a list has one of its own.
        var lists = Enumerable.Range(0, 20).Select(number => store.Nodes[number % 2])
            .Select(node => store.Tally.AskAsync(node, isWrite: false, () => node.Clients[""].ListAsync())).ToList();
        await held;
        await Task.WhenAll(lists);
        Assert.NotEqual(0, store.Tally.Unavailable);
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_server_whose_connections_somebody_else_holds_is_used_again_once_they_are_free()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false, "max_connections = 30",
            "superuser_reserved_connections = 0");
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        await store.UntilAcknowledgedAsync();
        await using (var crowd = new PostgresCrowd(cluster.Store(cluster.Primary.Port)))
        {
            await crowd.TakeFreeAsync();
            await store.UntilAcknowledgedAsync(); // what the nodes hold they continue with

            await crowd.TakeAllAsync();
            store.Tally.Fault();
            await store.RunAsync(1);
            Assert.Empty(store.Tally.Recovered);
            Assert.NotEqual(0, store.Tally.Unavailable);
            foreach (var node in store.Nodes)
                Assert.NotEqual("ok",
                    (await node.Clients[""].GetAsync("/readyz")).Is(503).Body.GetProperty("storage").GetString());
        }

        store.Tally.Fault();
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }
}
