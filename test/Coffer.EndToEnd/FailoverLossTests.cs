using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// A failover to a standby that no commit waited for: what it had not received is lost, and the nodes say so.
/// </summary>
[Trait("Firm ground", "12")]
public sealed class FailoverLossTests
{
    [Fact]
    public async Task A_standby_that_lacks_what_was_acknowledged_makes_nodes_not_ready_until_a_restart_accepts_it()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: true, isSynchronous: false);
        using var data = new TemporaryDirectory();
        string[] store = ["--store", cluster.Store()];
        string hint;
        await using (var coffer = await CofferProcess.ServeAsync(data, store))
        {
            using var clients = new AccountClients(coffer.Url, coffer.TestKey);
            for (var i = 0; i < 5; i++)
                (await clients[""].SetAsync($"k{i}", "received")).Is(200);
            await cluster.ReceivedAsync();
            await cluster.StopAsync(cluster.Standby);
            for (var i = 0; i < 5; i++)
                (await clients[""].SetAsync($"k{i}", "not received")).Is(200);
            cluster.Crash(cluster.Primary);
            await cluster.StartAsync(cluster.Standby);
            await cluster.PromoteAsync();

            await Until.SoAsync("a set is refused because changes are lost", async () =>
                (await clients[""].SetAsync("k0", "after")).Is(503).Body.ToString()
                    .Contains("The database has lost changes", StringComparison.Ordinal));

            hint = (await clients[""].GetAsync("/readyz")).Is(503).Body.GetProperty("audit").GetString()!;
            Assert.Contains("the audit log of node_1 ends at entry 8, but it had 13", hint, StringComparison.Ordinal);
            Assert.Contains("--accept-rollback node_1:8", hint, StringComparison.Ordinal);
            Assert.Equal(128 + 9, await coffer.CrashAsync()); // nothing is left of it but what it wrote down at once
        }

        string[] serve = ["serve", "--data", data.Path, "--listen", "http://127.0.0.1:0", .. store];
        (await Ran.CofferAsync(serve)).Refused(78, "ends at entry 8", "start once with --accept-rollback node_1:8:");
        await using (var coffer = await CofferProcess.ServeAsync(data, [.. store, "--accept-rollback", "node_1:8"]))
        {
            using var client = new HttpClient { BaseAddress = coffer.Url };
            Assert.True((await client.GetAsync(new Uri("/readyz", UriKind.Relative),
                TestContext.Current.CancellationToken)).IsSuccessStatusCode);
            Assert.Equal(0, await coffer.StopAsync());
        }

        var verified = (await Ran.CofferAsync(["audit", "verify", "--data", data.Path, .. store])).EndedWith(0);
        Assert.Contains("went back from entry 13 to entry 8: accepted", verified.Stdout, StringComparison.Ordinal);
    }
}
