using System.Text.Json.Nodes;
using Coffer.Shared;

namespace Coffer.Tests.Postgres;

/// <summary>What nodes of one store do while tenants' keys rotate.</summary>
[Trait("Keys", "S2")]
public sealed class TenantKeyNodesTests(PostgresServer server)
{
    private const string Root = "/admin/v1/tenant_keys";
    private const int Accounts = 12;

    [Fact]
    public async Task Both_nodes_serve_while_all_tenants_rotate_and_nothing_is_lost_or_left_under_an_old_key()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), secretsPerScope: 100);
        var (key, stored) = (nodes.Keys.TestSecretKey, new Dictionary<(int, string), string>[4]);
        await using var load = new Load(stored.Length, async (worker, i) =>
        {
            var mine = stored[worker] ??= [];
            var (at, name) = (i % Accounts, $"k{worker}_{i % 5}");
            mine[(at, name)] = $"payload {worker} {i}";
            (await nodes[i % 2].Set(key, name, mine[(at, name)], idempotencyKey: $"{worker} {i}",
                account: $"acct_{at}")).IsOk();
            var found = (await nodes[(i + 1) % 2].Find(key, name, $"acct_{at}")).IsOk();
            Assert.Equal(mine[(at, name)], found.Payload);
            // On the other node, what was kept under whichever keys.
            (await nodes[(i + 1) % 2].Set(key, name, mine[(at, name)], idempotencyKey: $"{worker} {i}",
                account: $"acct_{at}")).IsOk();
            (await nodes[i % 2].Get(key, "/v1/apps/secrets?scope[type]=account&limit=100&expand[]=data.payload",
                $"acct_{at}")).IsOk();
        });
        for (var round = 0; round < 4; round++)
        {
            await Task.Delay(300);
            await RotateAsync(nodes, round % 2);
        }

        await load.EndAsync();
        Assert.InRange(stored.Sum(mine => mine.Count), 20, int.MaxValue);
        foreach (var ((at, name), payload) in stored.SelectMany(mine => mine))
            Assert.Equal(payload, (await nodes[at % 2].Find(key, name, $"acct_{at}")).IsOk().Payload);
        await RotateAsync(nodes, 0);
        Assert.Equal(0L, await CountAsync(nodes, "tenants", "keys <> 1"));
        foreach (var table in (string[])["secrets", "idempotency"])
        {
            // Each tenant has one key: what is under another would be lost.
            Assert.Equal(0L, await CountAsync(nodes, $"{table} s JOIN tenants t ON t.id = s.tenant",
                "substr(s.sealed, 3, 4) <> int4send(((t.counter + 1) / 2)::int)"));
        }
    }

    [Fact]
    public async Task A_node_that_keeps_old_keys_finds_lists_and_stores_by_the_new_ones()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var key = nodes.Keys.TestSecretKey;
        for (var i = 0; i < 2; i++)
        {
            (await nodes[i].Set(key, $"k{i}", $"payload {i}", account: "acct_1", idempotencyKey: $"{i}")).IsOk();
            (await nodes[1 - i].Find(key, $"k{i}", "acct_1")).IsOk();
        }

        // What tells the other node is made to say nothing: it goes by its cache, whatever is stored.
        await PostgresServer.ExecuteAsync(nodes.Store, """
            CREATE FUNCTION silence() RETURNS trigger AS $$ BEGIN NEW.what := ''; RETURN NEW; END $$ LANGUAGE plpgsql;
            CREATE TRIGGER silence BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION silence();
            """);
        for (var round = 0; round < 3; round++)
        {
            await RotateAsync(nodes, 0);
            const string List = "/v1/apps/secrets?scope[type]=account&expand[]=data.payload";
            var listed = (await nodes[1].Get(key, List, "acct_1")).IsOk();
            Assert.Contains("k0", listed.Names);
            Assert.Equal("payload 1", (await nodes[1].Find(key, "k1", "acct_1")).IsOk().Payload);
            Assert.Equal(404, (await nodes[1].Find(key, "none", "acct_1")).Status);
            (await nodes[1].Set(key, $"new {round}", account: "acct_1")).IsOk();
            Assert.Equal("true", (await nodes[1].Set(key, "k0", "payload 0", account: "acct_1", idempotencyKey: "0"))
                .IsOk().Header("Idempotent-Replayed"));
            Assert.Equal(0L, await CountAsync(nodes, "secrets s JOIN tenants t ON t.id = s.tenant",
                "substr(s.sealed, 3, 4) <> int4send(((t.counter + 1) / 2)::int)"));
        }
    }

    [Fact]
    public async Task A_node_that_keeps_an_old_seed_finds_lists_and_stores_by_the_new_one()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var key = nodes.Keys.TestSecretKey;
        // For each question an account of its own: who has asked once has the new seed.
        for (var i = 0; i < 6; i++)
        {
            (await nodes[0].Set(key, "k", $"payload {i}", account: $"acct_{i}", idempotencyKey: "once")).IsOk();
            (await nodes[1].Find(key, "k", $"acct_{i}")).IsOk();
        }

        // It is told of other root keys, which the rotation waits for, and of no tenant.
        await PostgresServer.ExecuteAsync(nodes.Store, """
            CREATE FUNCTION silence() RETURNS trigger AS $$
                BEGIN IF NEW.what LIKE '%tenant%' THEN NEW.what := ''; END IF; RETURN NEW; END $$ LANGUAGE plpgsql;
            CREATE TRIGGER silence BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION silence();
            """);
        (await nodes[0].Post(nodes.Keys.AdminKey!, $"{Root}/rotate", ("app", await AppAsync(nodes)),
            ("compromised", "true"))).IsOk();
        await DoneAsync(nodes, 0);
        Assert.Equal(6L, await CountAsync(nodes, "secrets", "substr(sealed, 3, 4) = int4send(2)"));
        var id = (await nodes[0].Set(key, "new", account: "acct_0")).IsOk().Id;
        const string List = "/v1/apps/secrets?scope[type]=account&expand[]=data.payload";
        Assert.Equal(["k"], (await nodes[1].Get(key, $"{List}&starting_after={id}", "acct_0")).IsOk().Names);
        Assert.Equal(["k"], (await nodes[1].Get(key, List, "acct_1")).IsOk().Names);
        Assert.Equal("payload 2", (await nodes[1].Find(key, "k", "acct_2")).IsOk().Payload);
        Assert.Equal(404, (await nodes[1].Find(key, "none", "acct_3")).Status);
        Assert.Equal("true", (await nodes[1].Set(key, "k", "payload 4", account: "acct_4", idempotencyKey: "once"))
            .IsOk().Header("Idempotent-Replayed"));
        (await nodes[1].Set(key, "k", "changed", account: "acct_5")).IsOk();
        Assert.Equal("changed", (await nodes[0].Find(key, "k", "acct_5")).IsOk().Payload);
        Assert.Equal(7L, await CountAsync(nodes, "secrets", "true"));

        Assert.Equal((1L, 1L), (await CountAsync(nodes, "root_keys", "true"),
            await CountAsync(nodes, "root_keys", "version = 3")));
    }

    [Fact]
    public async Task While_a_node_runs_that_does_not_read_format_2_tenants_are_of_format_1_and_none_rotates()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var key = nodes.Keys.TestSecretKey;
        (await nodes[0].Set(key, "k", account: "acct_1")).IsOk();
        await PostgresServer.ExecuteAsync(nodes.Store, """
            INSERT INTO nodes (number, holder, until, version, started, seen, clock_offset, draining)
            VALUES (7, 'another', now() + interval '1 hour', '0.0.9', now(), now(), 0, 0)
            """);
        await Task.Delay(TimeSpan.FromSeconds(3));
        (await nodes[1].Set(key, "k", account: "acct_2")).IsOk();
        Assert.Equal(1L, await CountAsync(nodes, "tenants", "counter = 0"));
        (await nodes[1].Post(key, "/v1/ephemeral_keys", "mint", "acct_2", ("user", "usr_1"))).IsOk();
        Assert.Equal(0L, await CountAsync(nodes, "replies", "tenant IS NOT NULL"));
        var app = await AppAsync(nodes);
        var asked = (await nodes[1].Post(nodes.Keys.AdminKey!, $"{Root}/rotate", ("app", app))).IsOk();
        Assert.Equal(("waiting", "node_7"),
            ((string?)asked.Json["rotations"]![0]!["state"], (string?)asked.Json["waiting_for"]![0]));
        await Task.Delay(TimeSpan.FromSeconds(3));
        Assert.Equal(0L, await CountAsync(nodes, "tenants", "counter > 1"));

        await PostgresServer.ExecuteAsync(nodes.Store, "DELETE FROM nodes WHERE number = 7");
        await DoneAsync(nodes, 1);
        Assert.Equal(0L, await CountAsync(nodes, "tenants", "counter < 2"));
        (await nodes[0].Find(key, "k", "acct_2")).IsOk();
        Assert.Equal("true", (await nodes[0].Post(key, "/v1/ephemeral_keys", "mint", "acct_2", ("user", "usr_1")))
            .IsOk().Header("Idempotent-Replayed"));
        var shown = (await nodes[0].Get(nodes.Keys.AdminKey!, Root)).IsOk().Json;
        Assert.Equal(["back_ups", "dead_rows", "replicas", "write_ahead_log"],
            shown["may_remain"]!.AsArray().Select(place => (string)place!));
    }

    private static async Task RotateAsync(Nodes nodes, int node)
    {
        (await nodes[node].Post(nodes.Keys.AdminKey!, $"{Root}/rotate", ("app", await AppAsync(nodes)))).IsOk();
        await DoneAsync(nodes, node);
    }

    private static Task DoneAsync(Nodes nodes, int node) => Until.SoAsync("the rotation is done", async () =>
        (string?)(await nodes[node].Get(nodes.Keys.AdminKey!, Root)).IsOk().Json["rotations"]!.AsArray()[^1]!["state"]
            == "done");

    private static async Task<string> AppAsync(Nodes nodes)
    {
        string? app = null;
        await Until.SoAsync("something is stored", async () => (app = (string?)await PostgresServer.ScalarAsync(
            nodes.Store, "SELECT app FROM tenants ORDER BY id LIMIT 1")) is not null);
        return app!;
    }

    private static async Task<long> CountAsync(Nodes nodes, string from, string where) =>
        (long)(await PostgresServer.ScalarAsync(nodes.Store, $"SELECT count(*) FROM {from} WHERE {where}"))!;
}
