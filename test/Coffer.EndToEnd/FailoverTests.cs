using System.Diagnostics;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Two nodes on one PostgreSQL database, with load on both, while standbys, primaries and nodes come and go. No
/// acknowledged change is lost, a client sees only right answers and 503s that may be sent again, each within 20
/// seconds, and the nodes recover by themselves.
/// </summary>
/// <remarks>
/// <c>FAILOVER_ROUNDS</c> says how often the primary is killed, each time in a fresh cluster (the nightly form is 20).
/// </remarks>
public sealed class FailoverTests
{
    [Fact]
    [Trait("Events", "delivery")]
    public async Task A_killed_primary_whose_standby_takes_over_loses_nothing_acknowledged_and_no_event()
    {
        var rounds = Environment.GetEnvironmentVariable("FAILOVER_ROUNDS") is { Length: > 0 } text
            ? int.Parse(text)
            : 1;
        var times = new List<TimeSpan>();
        var (acknowledged, unavailable) = (0, 0);
        for (var round = 1; round <= rounds; round++)
        {
            await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
            await using var receiver = await Receiver.StartAsync();
            await using var store = await FailoverStore.StartAsync(cluster.Store(), receiver: receiver);
            await store.UntilAcknowledgedAsync();
            var before = store.Tally.Acknowledged;
            cluster.Crash(cluster.Primary);
            store.Tally.Fault();
            await store.RunAsync(0.5); // as long as it takes whoever watches over the primary to notice
            await cluster.PromoteAsync();
            await store.UntilRecoveredAsync();
            await store.AssertWholeAsync();

            Say($"round {round}: {before} acknowledged before the kill");
            Assert.NotEqual(0, store.Tally.Unavailable);
            times.AddRange(store.Tally.Recovered.Values);
            acknowledged += store.Tally.Acknowledged;
            unavailable += store.Tally.Unavailable;
        }

        times.Sort();
        Say($"{rounds} rounds: {acknowledged} acknowledged, 0 lost, {unavailable} answered 503; from the kill to the "
            + "first acknowledged write of a node: " +
            $"least {times[0].TotalSeconds:0.00} s, median {times[times.Count / 2].TotalSeconds:0.00} s, most "
                + $"{times[^1].TotalSeconds:0.00} s");
    }

    [Fact]
    public async Task An_old_primary_that_lives_on_beside_the_promoted_standby_stores_nothing_and_gives_nothing_old()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
        // Of two that say that they are the primary a node takes the one that it was given first: here each has its
        // own.
        await using var store = await FailoverStore.StartAsync(
            $"{cluster.Store(cluster.Primary.Port, cluster.Standby.Port)};Command "
                + "Timeout=2", $"{cluster.Store(cluster.Standby.Port, cluster.Primary.Port)};Command Timeout=2");
        var (stays, moves) = (store.Nodes[0], store.Nodes[1]);
        await store.UntilAcknowledgedAsync();
        stays.MayMiss = true;
        await cluster.PromoteAsync();
        store.Tally.Fault();
        for (var waited = Stopwatch.StartNew(); !store.Tally.Recovered.ContainsKey(moves); await store.RunAsync(0.1))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(90), // far beyond what it takes
                $"nothing is acknowledged by the new primary: {store.Tally}");
        await store.RunAsync(2); // with more and more at the new primary that the old one does not have
        Assert.DoesNotContain(stays, store.Tally.Recovered.Keys);
        (await stays.Clients[""].GetAsync("/readyz")).Is(503);
        (await moves.Clients[""].GetAsync("/readyz")).Is(200);

        // Fenced at last. A payload that was read there already, and waited for its audit entry, is recorded by
        // the new one: it must not leave.
        cluster.Crash(cluster.Primary);
        await store.UntilRecoveredAsync();
        await store.RunAsync(0.5);
        stays.MayMiss = false;
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_commit_that_is_told_not_to_wait_for_the_standby_is_not_acknowledged()
    {
        const string Waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
        await using var store = await FailoverStore.StartAsync(cluster.Store());
        await store.UntilAcknowledgedAsync();
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
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_standby_that_is_away_holds_up_what_is_to_be_stored_and_nothing_else()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
        await using var store = await FailoverStore.StartAsync($"{cluster.Store()};Command Timeout=2");
        await store.UntilAcknowledgedAsync();
        await cluster.StopAsync(cluster.Standby);
        store.Tally.Fault();
        var finds = 0;
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < TimeSpan.FromSeconds(3); await store.RunAsync(0.05))
        {
            foreach (var node in store.Nodes)
            {
                Assert.NotNull(
                    await store.Tally.AskAsync(node, isWrite: false, () => node.Clients[""].FindBareAsync("absent")));
                finds++;
            }
        }

        Assert.NotEqual(0, finds);
        Assert.All(await Task.WhenAll(store.Nodes.Select(node => node.Clients[""].GetAsync("/readyz"))),
            answer => Assert.NotEqual("ok", answer.Is(503).Body.GetProperty("storage").GetString()));
        Assert.Empty(store.Tally.Recovered);
        Assert.NotEqual(0, store.Tally.Unavailable);

        await cluster.StartAsync(cluster.Standby);
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_killed_node_leaves_nothing_held_and_comes_back()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        await store.UntilAcknowledgedAsync();
        store.Tally.Fault();
        await store.Nodes[0].CrashAsync();
        for (var waited = Stopwatch.StartNew();
            !store.Tally.Recovered.ContainsKey(store.Nodes[1]);
            await store.RunAsync(0.05))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(10),
                $"the other node acknowledges nothing: {store.Tally}");
        await store.Nodes[0].StartAsync();
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    private static void Say(string line) => TestContext.Current.TestOutputHelper?.WriteLine(line);
}
