using System.Diagnostics;
using System.Text.Json.Nodes;

namespace Coffer.Tests.Http;

/// <summary>A real flood over HTTP by one app, while another one works and an operator revokes and disables.</summary>
[Trait("Firm ground", "8")]
public sealed class FloodTests
{
    [Fact]
    public async Task Under_a_flood_by_one_app_another_is_served_and_what_takes_rights_away_is_a_commit_of_its_own()
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        await server.StartAgainAsync(with: options => options with { WaitingPerApp = 100 });
        var app = await server.AppIdAsync();
        var key = await server.NewKeyAsync("secret", app);
        var other = server.Client(server.OtherAppKey);
        var statuses = new int[600];
        using var stop = new CancellationTokenSource();
        var flood = Enumerable.Range(0, 200).Select(i => Task.Run(async () =>
        {
            var client = server.Client(account: $"acct_{i % 10}");
            while (!stop.IsCancellationRequested)
                Interlocked.Increment(ref statuses[(await client.Set("k", new string('p', 2_000), $"usr_{i}")).Status]);
        })).ToList();
        for (var waited = Stopwatch.StartNew(); Volatile.Read(ref statuses[200]) < 300; await Task.Delay(
            5, TestContext.Current.CancellationToken))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(60), $"{statuses[200]} sets were served in a minute");

        for (var i = 0; i < 10; i++)
        {
            (await other.Set("k", $"{i}")).IsOk();
            Assert.Equal($"{i}", (await other.Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        }

        var ephemeral = (await server.Client().Post(Operator.Ephemeral, [("user", "usr_1")])).Json;
        if (ephemeral["id"] is { } id) // else the app's own flood was in its way
            (await server.Client().Raw(HttpMethod.Delete, $"{Operator.Ephemeral}/{(string)id!}", null)).IsOk();
        (await server.Admin.Post($"{Operator.KeysPath}/{key.Id()}/revoke", [])).IsOk();
        (await server.Admin.Post($"{Operator.Apps}/{app}/accounts/acct_1/forget", [])).IsOk();
        (await server.Admin.Post($"{Operator.Apps}/{app}", [("disabled", "true")])).IsOk();
        await stop.CancelAsync();
        await Task.WhenAll(flood);

        // The flood was served, or told that too many of its changes wait, or, once it was disabled, that it is.
        var seen = Enumerable.Range(0, 600).Where(status => statuses[status] > 0);
        Assert.Empty(seen.Except([200, 403, 429]));
        if (!PostgresServer.IsChosen)
            await AssertAloneAsync(server);
    }

    // Each of them is the only entry of its commit.
    private static async Task AssertAloneAsync(TestServer server)
    {
        await server.StopAsync();
        var commits = await server.OnStoreAsync(async (engine, _, _) =>
            (await engine.ListAuditAsync(long.MaxValue, newestFirst: true, long.MaxValue, default)).Select(row =>
                System.Text.Encoding.UTF8.GetString(row.Row.Entries).Split('\n', StringSplitOptions.RemoveEmptyEntries)
                    .Select(line => (string)JsonNode.Parse(line)!["verb"]!).ToList()).ToList());
        foreach (var verb in (string[])["revoke_key", "forget_account", "disable_app"])
            Assert.Equal([verb], commits.First(commit => commit.Contains(verb)));
    }
}
