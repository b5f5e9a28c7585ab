using System.Diagnostics;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Nodes behind a pooler in transaction mode: a real PgBouncer, and one that gives each transaction another session and
/// can lead to another server without a connection's end.
/// </summary>
[Trait("Right behind any pooler", "1")]
public sealed class PoolerTests
{
    private const string Running =
        "SELECT string_agg('node_' || number, ',' ORDER BY number) FROM nodes WHERE until > now()";

    [Fact]
    public async Task Two_nodes_behind_PgBouncer_serve_a_third_comes_and_goes_and_all_are_killed_and_start_at_once()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var bouncer = await PgBouncer.StartAsync(cluster.Primary.Port);
        await using var store = await FailoverStore.StartAsync(cluster.Store(bouncer.Port));
        await store.UntilAcknowledgedAsync();
        Assert.Equal("node_1,node_2", await cluster.AskAsync(cluster.Primary, Running));
        foreach (var node in store.Nodes)
        {
            using var operating = new WireClient(node.Process.Url, store.Nodes[0].Process.AdminKey);
            var engine = (await operating.GetAsync("/admin/v1/status")).Is(200).Body.GetProperty("engine");
            Assert.Equal("pooled", engine.GetProperty("connections").GetString());
        }

        using var third = store.Nodes[0].CopyOfData();
        await using (var coffer = await CofferProcess.ServeAsync(third, "--store", store.Nodes[0].Store))
        {
            Assert.Equal("node_1,node_2,node_3", await cluster.AskAsync(cluster.Primary, Running));
            Assert.Equal(0, await coffer.StopAsync());
        }

        Assert.Equal("node_1,node_2", await cluster.AskAsync(cluster.Primary, Running));
        await Task.WhenAll(store.Nodes.Select(node => node.CrashAsync()));
        store.Tally.Fault();
        await Task.WhenAll(store.Nodes.Select(node => node.StartAsync()));
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_failover_behind_one_address_gives_out_nothing_that_was_read_before_it()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
        await using var pooler = new SharedSessions(cluster.Primary.Port);
        await using var store = await FailoverStore.StartAsync($"{cluster.Store(pooler.Port)};Command Timeout=2");
        await store.UntilAcknowledgedAsync();
        await cluster.PromoteAsync();
        store.Tally.Fault();
        // The old one lives on, and is lent to some for a while.
        pooler.Switch(cluster.Standby.Port, TimeSpan.FromSeconds(3));
        await store.RunAsync(4);
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_failover_behind_PgBouncer_gives_out_nothing_that_was_read_before_it()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true);
        await using var bouncer = await PgBouncer.StartAsync(cluster.Primary.Port);
        await using var store = await FailoverStore.StartAsync($"{cluster.Store(bouncer.Port)};Command Timeout=2");
        await store.UntilAcknowledgedAsync();
        await cluster.PromoteAsync();
        store.Tally.Fault();
        await bouncer.SwitchAsync(cluster.Standby.Port); // the old one lives on
        await store.RunAsync(4);
        await store.UntilRecoveredAsync();
        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_failover_behind_one_address_that_lost_commits_is_noticed_before_anything_is_stored()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true, isSynchronous: false);
        await using var pooler = new SharedSessions(cluster.Primary.Port);
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data, "--store", cluster.Store(pooler.Port));
        using var clients = new AccountClients(coffer.Url, coffer.TestKey);
        (await clients[""].SetAsync("k", "received")).Is(200);
        await cluster.ReceivedAsync();
        await cluster.StopAsync(cluster.Standby);
        (await clients[""].SetAsync("k", "not received")).Is(200);
        await cluster.StopAsync(cluster.Primary);
        await cluster.StartAsync(cluster.Standby);
        await cluster.PromoteAsync();
        await cluster.StartAsync(cluster.Primary);
        var before = await cluster.AskAsync(cluster.Standby, "SELECT count(*) FROM audit");
        (await clients[""].FindBareAsync("k")).Is(200);
        pooler.Switch(cluster.Standby.Port);

        var refused = (await clients[""].SetAsync("k", "after")).Is(503);
        Assert.Contains("The database has lost changes", refused.Body.ToString(), StringComparison.Ordinal);
        Assert.Equal(before, await cluster.AskAsync(cluster.Standby, "SELECT count(*) FROM audit"));

        // Back on the right one, it continues by itself.
        pooler.Switch(cluster.Primary.Port);
        await Until.SoAsync("it continues by itself",
            async () => (await clients[""].SetAsync("k", "after")).Status == 200, TimeSpan.FromSeconds(20),
            () => coffer.Stderr);
    }

    [Fact]
    public async Task A_node_that_slept_for_longer_than_its_lease_finds_its_name_taken_and_takes_another()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var bouncer = await PgBouncer.StartAsync(cluster.Primary.Port);
        await using var store = await FailoverStore.StartAsync(cluster.Store(bouncer.Port));
        await store.UntilAcknowledgedAsync();
        var sleeper = store.Nodes[0];
        sleeper.Process.Suspend();
        using var third = sleeper.CopyOfData();
        try
        {
            const string Over = "SELECT count(*) FROM nodes WHERE until <= now()";
            await Until.SoAsync("the lease ends",
                async () => await cluster.AskAsync(cluster.Primary, Over) == "1", TimeSpan.FromSeconds(20));

            await using var heir = await CofferProcess.ServeAsync(third, "--store", sleeper.Store);
            using var clients = new AccountClients(heir.Url, sleeper.Key);
            (await clients["acct_heir"].SetAsync("of the heir", "p")).Is(200);
            sleeper.Process.Resume();
            for (var waited = Stopwatch.StartNew();
                await cluster.AskAsync(cluster.Primary, Running) != "node_1,node_2,node_3";)
            {
                Assert.True(waited.Elapsed < TimeSpan.FromSeconds(10), "it takes no other name");
                await store.RunAsync(0.1);
            }

            store.Tally.Fault();
            await store.UntilRecoveredAsync();
            Assert.Equal(0, await heir.StopAsync());
        }
        finally
        {
            sleeper.Process.Resume();
        }

        await store.RunAsync(0.5);
        await store.EndLoadAsync();
        await AuditVerb.VerifiedAsync(sleeper.Data, "--store", sleeper.Store);
    }

    [Fact]
    public async Task A_node_of_the_commit_before_and_one_of_this_tell_each_other_and_give_way()
    {
        var program = await OlderProgram.BuiltAsync(OlderProgram.BeforeLeases);
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        var store = cluster.Store(cluster.Primary.Port);
        using var olderData = new TemporaryDirectory();
        await using var older = await CofferProcess.StartAsync(
            ["serve", "--data", olderData.Path, "--store", store], program: program);
        using var newerData = new TemporaryDirectory();
        File.Copy(olderData.File("coffer.key"), newerData.File("coffer.key"));
        // It loses its session, and with it its name, while it stands still. It knows nothing of leases: it takes
        // the name that no session has locked, whoever has that by now.
        older.Suspend();
        await cluster.AskAsync(cluster.Primary, """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
            """);
        await cluster.AskAsync(cluster.Primary, "UPDATE nodes SET until = now() RETURNING 1");
        await using var newer = await CofferProcess.ServeAsync(newerData, "--store", store);
        Assert.Equal("node_1", await cluster.AskAsync(cluster.Primary, Running));
        older.Resume();
        using (var settled = new WireClient(newer.Url, older.TestKey))
        {
            await Until.SoAsync("it gives way",
                async () => await cluster.AskAsync(cluster.Primary, Running) == "node_1,node_2"
                    && (await settled.SetAsync("k", "p")).Status == 200, TimeSpan.FromSeconds(10));
        }

        // It slept while the store was raised to forms that it does not know: it answers no key that was made since.
        using (var operating = new WireClient(newer.Url, older.AdminKey))
        {
            var app = (await operating.PostAsync("/admin/v1/apps", [("name", "a")])).Is(200).Body.GetProperty("id");
            var made = (await operating.PostAsync("/admin/v1/api_keys",
                [("type", "secret"), ("app", app.GetString()!)])).Is(200).Body.GetProperty("secret").GetString()!;
            using var here = new WireClient(newer.Url, made);
            (await here.SetAsync("k", "p")).Is(200);
            using var there = new WireClient(older.Url, made);
            (await there.FindAsync("k")).Is(500);
        }

        Assert.Equal(0, await older.StopAsync());
        Assert.Equal(0, await newer.StopAsync());
        await AuditVerb.VerifiedAsync(newerData, "--store", store);
    }
}
