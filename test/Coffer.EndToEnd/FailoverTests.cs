using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>
/// Two nodes on one PostgreSQL database, with load on both, while what is between and below them fails. No acknowledged
/// change is lost, a client sees only right answers and 503s that may be sent again, each within 20 seconds, and the nodes
/// recover by themselves.
/// </summary>
/// <remarks><c>FAILOVER_ROUNDS</c> says how often the primary is killed, each time in a fresh cluster (the nightly form is 20).</remarks>
public sealed class FailoverTests
{
    [Fact]
    public async Task A_killed_primary_whose_synchronous_standby_takes_over_loses_nothing_that_was_acknowledged()
    {
        var rounds = Environment.GetEnvironmentVariable("FAILOVER_ROUNDS") is { Length: > 0 } text ? int.Parse(text) : 1;
        var times = new List<TimeSpan>();
        var (acknowledged, unavailable) = (0, 0);
        for (var round = 1; round <= rounds; round++)
        {
            await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
            await using var store = await FailoverStore.StartAsync(cluster.Store());
            await store.RunAsync(1.5);
            var before = store.Tally.Acknowledged;
            Assert.True(before > 20, store.Tally.ToString());

            store.Tally.Fault();
            cluster.Crash(cluster.Primary);
            await store.RunAsync(0.5); // as long as it takes whoever watches over the primary to notice
            await cluster.PromoteAsync();
            await store.UntilRecoveredAsync();
            await store.RunAsync(0.5);
            await store.AssertWholeAsync();

            Say($"round {round}, {before} acknowledged before the kill: {store.Tally}");
            Assert.NotEqual(0, store.Tally.Unavailable);
            times.AddRange(store.Tally.Recovered.Values);
            acknowledged += store.Tally.Acknowledged;
            unavailable += store.Tally.Unavailable;
        }

        times.Sort();
        Say($"{rounds} rounds: {acknowledged} acknowledged, 0 lost, {unavailable} answered 503; from the kill to the first acknowledged write of a node: " +
            $"least {times[0].TotalSeconds:0.00} s, median {times[times.Count / 2].TotalSeconds:0.00} s, most {times[^1].TotalSeconds:0.00} s");
    }

    [Fact]
    public async Task A_database_that_is_stopped_and_started_is_found_again()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        await store.RunAsync(1);
        store.Tally.Fault();
        await cluster.StopAsync(cluster.Primary);
        await store.RunAsync(1);
        await cluster.StartAsync(cluster.Primary);
        await store.UntilRecoveredAsync();
        await WholeAsync(store);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_network_that_hangs_or_is_cut_between_a_node_and_the_database_holds_no_request_for_long(bool isCut)
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var network = new TcpProxy(cluster.Primary.Port);
        await using var store = await FailoverStore.StartAsync(cluster.Store(network.Port));
        await store.RunAsync(1);
        store.Tally.Fault();
        if (isCut)
            network.Cut();
        else
            network.Hang();
        await store.RunAsync(isCut ? 1 : 8.5);
        Assert.NotEqual(0, store.Tally.Unavailable);
        network.Pass();
        await store.UntilRecoveredAsync();
        await WholeAsync(store);
    }

    [Fact]
    public async Task A_commit_that_is_told_not_to_wait_for_the_standby_is_not_acknowledged()
    {
        const string Waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
        await using var store = await FailoverStore.StartAsync(cluster.Store());
        for (var waited = Stopwatch.StartNew(); store.Tally.Acknowledged == 0; await store.RunAsync(0.1))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(10), "nothing is acknowledged while the standby is there");
        await cluster.StopAsync(cluster.Standby);
        await store.RunAsync(0.5);
        var before = store.Tally.Acknowledged;
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromSeconds(2); await store.RunAsync(0.05))
            await cluster.AskAsync(cluster.Primary, $"SELECT pg_cancel_backend(pid) {Waiting}");
        Assert.Equal(before, store.Tally.Acknowledged);
        Assert.NotEqual(0, store.Tally.Unavailable);

        store.Tally.Fault();
        await cluster.StartAsync(cluster.Standby);
        await store.UntilRecoveredAsync();
        await WholeAsync(store);
    }

    [Fact]
    public async Task Reads_that_wait_for_the_database_exhaust_the_pool_and_are_refused_in_time()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync($"{cluster.Store(cluster.Primary.Port)};Maximum Pool Size=2;Timeout=1");
        await store.RunAsync(1);
        store.Tally.Fault();
        var held = cluster.AskAsync(cluster.Primary, "BEGIN; LOCK TABLE secrets IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3); ROLLBACK");
        await store.RunAsync(0.5);
        var finds = Enumerable.Range(0, 20).Select(number => store.Nodes[number % 2])
            .Select(node => store.Tally.AskAsync(node, isWrite: false, () => node.Clients[""].FindBareAsync("absent"))).ToList();
        await held;
        await Task.WhenAll(finds);
        Assert.NotEqual(0, store.Tally.Unavailable);
        await store.UntilRecoveredAsync();
        await WholeAsync(store);
    }

    [Fact]
    public async Task A_killed_node_leaves_nothing_held_and_comes_back()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        await store.RunAsync(1);
        store.Tally.Fault();
        await store.Nodes[0].CrashAsync();
        for (var waited = Stopwatch.StartNew(); !store.Tally.Recovered.ContainsKey(store.Nodes[1]); await store.RunAsync(0.05))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(10), $"the other node acknowledges nothing: {store.Tally}");
        await store.StartAgainAsync(store.Nodes[0]);
        await store.UntilRecoveredAsync();
        await WholeAsync(store);
    }

    private static async Task WholeAsync(FailoverStore store)
    {
        await store.RunAsync(0.5);
        await store.AssertWholeAsync();
        Say(store.Tally.ToString());
    }

    private static void Say(string line) => TestContext.Current.TestOutputHelper?.WriteLine(line);
}
