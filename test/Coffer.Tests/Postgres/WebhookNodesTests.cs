using System.Net;
using Coffer.Settings;
using Coffer.Shared;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>Which of several nodes sends events, and what becomes of them when it is away.</summary>
[Trait("Events", "delivery")]
public sealed class WebhookNodesTests(PostgresServer server)
{
    private const int Accounts = 3;

    [Fact]
    public async Task One_sends_for_all_and_another_goes_on_for_one_that_hangs_and_beside_it_when_it_is_back()
    {
        var store = await server.NewDatabaseAsync();
        await using var network = new TcpProxy(new NpgsqlConnectionStringBuilder(store).Port);
        await using var receiver = await Receiver.StartAsync();
        await using var nodes = await Nodes.StartAsync(store, count: 0);
        await nodes.AddAsync(port: network.Port, with: MaySendHere);
        await nodes.AddAsync(with: MaySendHere);
        var (key, admin) = (nodes.Keys.TestSecretKey, nodes.Keys.AdminKey!);
        var app = (await nodes[1].Get(admin, "/admin/v1/apps")).Ids().Single();
        (await nodes[1].Post(admin, $"/admin/v1/apps/{app}", ("events", "true"))).IsOk();
        (await nodes[1].Post(admin, "/admin/v1/webhook_endpoints", ("app", app), ("livemode", "false"),
            ("url", $"{receiver.Url}"))).IsOk();
        await SetAsync(18, i => nodes[i % 2]);
        await ArrivedAsync();
        string[] before = [.. receiver.All.Select(static each => each.Id)];
        Assert.Equal(18, before.Length); // and none twice

        // It hangs once it has sent, and has stored nothing of that when another takes its place.
        receiver.Answers = _ =>
        {
            receiver.Answers = static _ => 200;
            network.Hang();
            return 200;
        };
        await SetAsync(1, _ => nodes[1]);
        await receiver.WaitAsync(19);
        await SetAsync(8, _ => nodes[1]);
        await PostgresServer.ExecuteAsync(store, "UPDATE nodes SET until = now() WHERE number = 1");
        await ArrivedAsync();
        Assert.Equal(2, receiver.All.Count(each => each.Id == receiver.All[18].Id)); // at least once

        // It is back, and sends too, until the other sees it.
        network.Pass();
        await SetAsync(18, i => nodes[1 - (i % 2)]);
        await ArrivedAsync();
        await Until.SoAsync("what came of it is stored", async () => (await PostgresServer.ScalarAsync(store, """
            SELECT (SELECT max(seq) FROM events) - position + (SELECT count(*) FROM deliveries)
            FROM webhook_endpoints
            """)) is 0L);
        Assert.DoesNotContain(receiver.All.Skip(18), each => before.Contains(each.Id));

        async Task SetAsync(int count, Func<int, Nodes.Node> at)
        {
            for (var i = 0; i < count; i++)
                (await at(i).Set(key, "k", account: $"acct_{i % Accounts}")).IsOk();
        }

        // All that happened, and the first time in the order of its account.
        async Task ArrivedAsync()
        {
            var listed = (await nodes[1].Get(key, "/v1/events?limit=100")).IsOk().Json["data"]!.AsArray().Reverse()
                .Select(each => (Account: (string)each!["account"]!, Id: (string)each["id"]!)).ToList();
            await Until.SoAsync("all have arrived", () => receiver.All.DistinctBy(static each => each.Id).Count()
                == listed.Count);
            Assert.Equal(listed.OrderBy(static each => each.Account, StringComparer.Ordinal),
                receiver.All.DistinctBy(static each => each.Id).Select(static each => (each.Account!, each.Id))
                    .OrderBy(static each => each.Item1, StringComparer.Ordinal));
        }
    }

    private static CofferOptions MaySendHere(CofferOptions options) => options with
    {
        WebhookNetworks = [IPNetwork.Parse("127.0.0.1/32")],
    };
}
