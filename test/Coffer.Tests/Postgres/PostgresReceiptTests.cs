using System.Buffers.Text;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Coffer.Shared;

namespace Coffer.Tests.Postgres;

/// <summary>What a receipt says of a store in PostgreSQL, and when.</summary>
[Trait("Firm ground", "10")]
public sealed class PostgresReceiptTests(PostgresServer server)
{
    [Fact]
    public async Task It_is_signed_when_all_nodes_know_and_claims_nothing_of_PostgreSQLs_own_files()
    {
        var store = await server.NewDatabaseAsync();
        await using var nodes = await Nodes.StartAsync(store);
        var (admin, app) =
            (nodes.Keys.AdminKey!,
            (string)JsonNode
            .Parse((await nodes[0].Get(nodes.Keys.AdminKey!, "/admin/v1/apps")).Text)!["data"]![0]!["id"]!);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", account: "acct_1")).IsOk();
        var asked = Stopwatch.GetTimestamp();
        var forgotten = (await nodes[0].Post(admin, $"/admin/v1/apps/{app}/accounts/acct_1/forget")).IsOk().Json;
        Assert.Equal((null, "pending"), ((string?)forgotten["receipt"], (string?)forgotten["receipt_status"]));
        Assert.Equal("""["rows_deleted"]""", forgotten["done"]!.ToJsonString());
        Assert.Equal("""["ephemeral_keys_ended"]""", forgotten["pending"]!.ToJsonString());

        var receipt = await SignedAsync(nodes[1], admin, (string)forgotten["receipt_id"]!);
        Assert.True(Stopwatch.GetElapsedTime(asked) >= Coffer.Access.Epoch.Bound,
            "another node may not have known yet");
        var statement = receipt.Statement();
        Assert.Equal("""["rows_deleted","ephemeral_keys_ended"]""", statement["done"]!.ToJsonString());
        Assert.Equal(
            """["audit_log","back_ups","dead_rows","replicas","storage_medium","write_ahead_log"]""",
            statement["not_reached"]!.ToJsonString());
        Assert.Equal(1L,
            await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM receipts WHERE signed IS NOT NULL"));
    }

    [Fact]
    public async Task What_a_node_left_that_is_gone_another_one_signs()
    {
        var store = await server.NewDatabaseAsync();
        await using var nodes = await Nodes.StartAsync(store);
        var (admin, app) =
            (nodes.Keys.AdminKey!,
            (string)JsonNode
            .Parse((await nodes[0].Get(nodes.Keys.AdminKey!, "/admin/v1/apps")).Text)!["data"]![0]!["id"]!);
        var forgotten = (await nodes[1].Post(admin, $"/admin/v1/apps/{app}/accounts/acct_1/forget")).IsOk().Json;
        await nodes.StopAsync(1);
        await nodes.AddAsync(); // at its start a node looks for all that wait
        await SignedAsync(nodes[0], admin, (string)forgotten["receipt_id"]!);
    }

    private static async Task<JsonNode> SignedAsync(Nodes.Node node, string admin, string id)
    {
        JsonNode receipt = null!;
        await Until.SoAsync("the receipt is signed", async () =>
            (string?)(receipt = (await node.Get(admin, $"/admin/v1/receipts/{id}")).IsOk().Json)["status"] == "signed");
        return receipt;
    }
}
