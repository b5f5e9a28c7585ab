using Coffer.Access;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Shared;
using Coffer.Storage.Postgres;

namespace Coffer.Tests.Postgres;

/// <summary>What nodes of one store do while it is renewed after its root key has leaked.</summary>
[Trait("Keys", "S36")]
public sealed class RenewalNodesTests(PostgresServer server)
{
    private const string Root = "/admin/v1/root_keys";

    [Fact]
    public async Task A_node_that_was_told_nothing_writes_nothing_under_the_pepper_of_before_nor_believes_it_then()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 3);
        var (key, admin) = (nodes.Keys.TestSecretKey, nodes.Keys.AdminKey!);
        for (var i = 0; i < 4; i++)
            (await nodes[i % 2].Set(key, "k", $"payload {i}", account: $"acct_{i}")).IsOk();
        var browser = (string)(await nodes[0].Post(key, "/v1/ephemeral_keys", null, "acct_1", ("user", "usr_1")))
            .IsOk().Json["secret"]!;
        const string List = "/v1/apps/secrets?scope[type]=user&scope[user]=usr_1";
        (await nodes[1].Get(browser, List)).IsOk();
        var planted = await PlantAsync(nodes);

        // From when the first root key is gone nobody is told of anything.
        await PostgresServer.ExecuteAsync(nodes.Store, """
            CREATE FUNCTION silence() RETURNS trigger AS $$ BEGIN
                IF NOT EXISTS (SELECT 1 FROM root_keys WHERE version = 1) THEN NEW.what := ''; END IF; RETURN NEW;
            END $$ LANGUAGE plpgsql;
            CREATE TRIGGER silence BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION silence();
            """);
        // Two operators ask at once, each another node: one has it, and the other gets to know what is under way.
        var asked = await Task.WhenAll(Enumerable.Range(0, 2).Select(
            i => nodes[i].Post(admin, $"{Root}/rotate", ("compromised", "true"))));
        asked.Single(answer => answer.Status == 200).IsOk();
        asked.Single(answer => answer.Status != 200).IsError(400, null, "compromised");
        await UntilAsync(nodes, 0, "rotating_tenant_keys");
        // Nor does it refuse a key whose row has been proven since, which it has not seen before.
        (await nodes[2].Find(nodes.Keys.LiveSecretKey!, "k")).IsError(404, "resource_missing", "name");
        await PostgresServer.ExecuteAsync(nodes.Store, planted.Sql);
        (await nodes[1].Set(key, "k", "changed", account: "acct_0")).IsOk();
        (await nodes[1].Get(planted.Token, "/admin/v1/apps")).IsError(500, null, null, type: "api_error");
        Assert.Equal(401, (await nodes[1].Get(browser, List)).Status);
        await PostgresServer.ExecuteAsync(nodes.Store,
            "DROP TRIGGER silence ON told; DROP FUNCTION silence; DELETE FROM api_keys WHERE id = 'key_planted'");
        (await nodes[0].Set(key, "k", "changed", account: "acct_1")).IsOk();

        for (var i = 0; i < 2; i++)
            await UntilAsync(nodes, i, "waiting_for_owner");
        for (var i = 0; i < 4; i++)
        {
            Assert.Equal(i < 2 ? "changed" : $"payload {i}",
                (await nodes[1 - i % 2].Find(key, "k", $"acct_{i}")).IsOk().Payload);
        }

        var entries = (await nodes[0].Get(admin, "/admin/v1/audit?verb=renew_store&limit=100")).IsOk().Json["data"]!
            .AsArray().Select(entry => (string)entry!["outcome"]!)
            .Where(outcome => outcome != "root_keys_changed"); // and was decided again
        Assert.Equal(
            ["proving", "refused", "replacing_root_key", "rotating_tenant_keys", "waiting_for_owner"], entries.Order());
        var report = await AuditArchive.VerifyStoreAsync(new(nodes[0].Data, nodes.Store), null, default);
        Assert.Empty(report.Problems);
        Assert.Equal(2, report.Segments.Count);
    }

    [Fact]
    public async Task A_node_that_cannot_read_the_peppers_does_not_call_a_key_damaged_for_that()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        // Proven by none that the node knows: so it looks whether there is another.
        await PostgresServer.ExecuteAsync(nodes.Store, "UPDATE api_keys SET proof = sha256(proof)");
        await PostgresServer.ExecuteAsync(nodes.Store, "ALTER TABLE root_keys RENAME TO away");
        (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).IsError(503, null, null, type: "api_error");
        await PostgresServer.ExecuteAsync(nodes.Store, "ALTER TABLE away RENAME TO root_keys");
        (await nodes[0].Find(nodes.Keys.TestSecretKey, "k")).IsError(500, null, null, type: "api_error");
    }

    // An owner's key that a thief makes with the pepper of then, and the statement that puts it there later.
    private static async Task<(string Token, string Sql)> PlantAsync(Nodes nodes)
    {
        using var engine = await PostgresEngine.OpenAsync(nodes.Store, default);
        var instance = await Instance.OpenAsync(
            engine, KeyWrappers.OfFile(Path.Combine(nodes[0].Data, "coffer.key")), default);
        var (token, row) = ApiKey.Create(instance, new([], "key_planted", null, null, "admin", true, 1, null, [])
        {
            Role = "owner",
        });
        return (token, $"""
            INSERT INTO api_keys (mac, id, kind, livemode, created, proof, role, offline)
            VALUES ('\x{Convert.ToHexString(row.Mac)}', 'key_planted', 'admin', 1, 1,
                '\x{Convert.ToHexString(row.Proof)}', 'owner', 0)
            """);
    }

    private static async Task UntilAsync(Nodes nodes, int at, string state)
    {
        var shown = "";
        await Until.SoAsync($"the renewal is at {state}", async () =>
        {
            var json = (await nodes[at].Get(nodes.Keys.AdminKey!, Root)).IsOk().Json;
            shown = json.ToJsonString();
            return (string?)json["renewal"]?["state"] == state;
        }, instead: () => shown);
    }
}
