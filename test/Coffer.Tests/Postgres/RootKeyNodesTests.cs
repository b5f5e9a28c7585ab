using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Shared;

namespace Coffer.Tests.Postgres;

/// <summary>What nodes of one store do while a root key rotates.</summary>
[Trait("Keys", "S31")]
public sealed class RootKeyNodesTests(PostgresServer server)
{
    private const string Root = "/admin/v1/root_keys";

    [Fact]
    public async Task Nothing_is_sealed_under_a_new_root_key_before_every_live_node_has_opened_it()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var keys = nodes.Keys;
        for (var i = 0; i < 20; i++)
            (await nodes[i % 2].Set(keys.TestSecretKey, "k", account: $"acct_{i}")).IsOk();
        // A node that runs and says nothing of it, as one of before.
        await PostgresServer.ExecuteAsync(nodes.Store, """
            INSERT INTO nodes (number, holder, until, version, started, seen, clock_offset, draining)
            VALUES (7, 'another', now() + interval '1 hour', '0.0.9', now(), now(), 0, 0)
            """);
        (await nodes[1].Post(keys.AdminKey!, $"{Root}/rotate")).IsOk();
        await Task.Delay(TimeSpan.FromSeconds(5));
        var waiting = await ShowAsync(nodes, 0);
        Assert.Equal("made", State(waiting));
        Assert.Equal(["node_7"], waiting["waiting_for"]!.AsArray().Select(node => (string)node!));
        (await nodes[0].Set(keys.TestSecretKey, "k", account: "acct_meanwhile")).IsOk();
        Assert.Equal(21L, await UnderAsync(nodes, 1));

        await PostgresServer.ExecuteAsync(nodes.Store, "DELETE FROM nodes WHERE number = 7");
        await DoneAsync(nodes);
        Assert.Equal((0L, 21L), (await UnderAsync(nodes, 1), await UnderAsync(nodes, 2)));
        for (var i = 0; i < 20; i++)
        {
            (await nodes[(i + 1) % 2].Find(keys.TestSecretKey, "k", $"acct_{i}")).IsOk();
            (await nodes[i % 2].Set(keys.TestSecretKey, "k", account: $"acct_new_{i}")).IsOk();
        }

        Assert.Equal(41L, await UnderAsync(nodes, 2));
    }

    [Fact]
    public async Task A_node_that_cannot_open_the_new_root_key_is_named_and_serves_until_it_can()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "there are no programs of this kind here");
        using var directory = new TemporaryDirectory();
        var (program, denied) = (directory.File("wrap"), directory.File("denied"));
        File.WriteAllText(denied, "");
        File.WriteAllText(program, $$"""
            #!/bin/sh
            read -r line
            case "$1$line" in
            second*'"version":2'* | second*'"version":3'*)
                if [ -e {{denied}} ]; then echo '{"error":"denied by policy"}'; exit; fi;;
            esac
            printf '{"data":"%s"}\n' "$(printf '%s' "$line" | sed 's/.*"data":"\([^"]*\)".*/\1/')"
            """);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var store = await server.NewDatabaseAsync();
        await using var first = new Nodes.Node(await StartAsync("first"), "");
        await using var second = new Nodes.Node(await StartAsync("second"), "");
        var keys = first.Server.FirstKeys!;
        (await first.Post(keys.AdminKey!, $"{Root}/rotate")).IsOk();
        for (var tries = 0; ; tries++)
        {
            var shown = (await first.Get(keys.AdminKey!, Root)).IsOk().Json;
            Assert.Equal("made", State(shown));
            var ready = await second.Get(keys.AdminKey!, "/readyz");
            if (tries > 60 && shown["waiting_for"]!.AsArray() is [var node] && (string?)node == "node_2"
                && ready.Text.Contains("denied by policy", StringComparison.Ordinal))
            {
                Assert.Equal(200, ready.Status);
                break;
            }

            Assert.InRange(tries, 0, 200);
            await Task.Delay(100);
        }

        (await second.Set(keys.TestSecretKey, "k")).IsOk();
        (await first.Delete(keys.AdminKey!, $"{Root}/2")).IsOk(); // given up
        Assert.Equal("done", State((await first.Get(keys.AdminKey!, Root)).IsOk().Json));
        (await second.Set(keys.TestSecretKey, "k", account: "acct_given_up")).IsOk();

        (await first.Post(keys.AdminKey!, $"{Root}/rotate")).IsOk();
        (await second.Set(keys.TestSecretKey, "k", account: "acct_again")).IsOk();
        File.Delete(denied);
        await Until.SoAsync("the rotation is done",
            async () => State((await second.Get(keys.AdminKey!, Root)).IsOk().Json) == "done");

        Task<Server> StartAsync(string node) => Server.StartAsync(
            new CofferOptions
            {
                Data = directory.File(node),
                Store = store,
                Listen = "http://127.0.0.1:0",
                RatePerKey = 0,
                RootKey = new KeySettings([new WrapperUrl(WrapperUrl.Exec, program)]) { ExecArguments = [node] },
            }, TimeProvider.System, default);
    }

    private static string State(JsonNode keys) => (string)keys["keys"]!.AsArray()[^1]!["state"]!;

    private static async Task<JsonNode> ShowAsync(Nodes nodes, int node) =>
        (await nodes[node].Get(nodes.Keys.AdminKey!, Root)).IsOk().Json;

    private static Task DoneAsync(Nodes nodes) =>
        Until.SoAsync("the rotation is done", async () => State(await ShowAsync(nodes, 0)) == "done");

    /// <summary>How many tenants' keys are under a root key.</summary>
    private static async Task<long> UnderAsync(Nodes nodes, byte version) => (long)(await PostgresServer.ScalarAsync(
        nodes.Store, $"SELECT count(*) FROM tenants WHERE substr(sealed_keys, 3, 4) = '\\x0000000{version}'"))!;
}
