using System.Diagnostics;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>What ends minted keys ends them on every node, whatever clocks say and whoever is notified of it.</summary>
[Trait("Firm ground", "5")]
public abstract class MintedNodesTests(PostgresServer server, Way way)
{
    private const string Ephemeral = "/v1/ephemeral_keys", Keys = "/admin/v1/api_keys", Apps = "/admin/v1/apps";

    /// <summary>For the requests themselves, on a busy machine.</summary>
    private static readonly TimeSpan Leeway = TimeSpan.FromSeconds(5);

    /// <summary>What an operator does to end what an app's keys minted for acct_1.</summary>
    public static TheoryData<string> Ends() => ["revoke", "roll", "disable", "forget"];

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task A_node_with_a_clock_hours_ahead_mints_nothing_that_outlives_its_end(string end)
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way), count: 1);
        var fast = await nodes.AddAsync(time: new ShiftedTime(TimeSpan.FromHours(5)));
        var key = await NewKeyAsync(nodes);
        (await fast.Set(key.Secret, "k", account: "acct_1")).IsOk();
        string[] tokens = [await MintAsync(nodes[0], key.Secret), await MintAsync(fast, key.Secret)];
        (await nodes[0].Find(tokens[0], "k")).IsOk();
        (await fast.Find(tokens[1], "k")).IsOk();
        Assert.Equal(401, (await nodes[0].Find(tokens[1], "k")).Status); // made five hours ahead

        await EndAsync(nodes[0], nodes.Keys.AdminKey!, end, key);
        foreach (var node in (Nodes.Node[])[nodes[0], fast])
        {
            foreach (var token in tokens)
                await UntilRefusedAsync(node, token);
        }

        // A node whose clock is past that of the fast one takes none of them for made ahead.
        var later = await nodes.AddAsync(time: new ShiftedTime(TimeSpan.FromHours(5)));
        Assert.NotEqual(200, (await later.Find(tokens[1], "k")).Status);
    }

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task A_node_whose_listening_connection_hangs_mints_nothing_that_outlives_its_end(string end)
    {
        var store = await server.NewDatabaseAsync(way);
        await using var network = new TcpProxy(new NpgsqlConnectionStringBuilder(store).Port);
        network.Note("LISTEN coffer"u8);
        await using var nodes = await Nodes.StartAsync(store, count: 1);
        var cutOff = await nodes.AddAsync(port: network.Port);
        var key = await NewKeyAsync(nodes);
        (await cutOff.Set(key.Secret, "k", account: "acct_1")).IsOk();
        network.HangNoted();

        // It mints all the while; the last of these come when the end is committed, and the node does not know of it.
        var minting = Task.Run(async () =>
        {
            var minted = new List<string>();
            for (var watch = Stopwatch.StartNew(); watch.Elapsed < Epoch.Bound + Leeway;)
            {
                if (await cutOff.Post(key.Secret, Ephemeral, null, "acct_1", ("user", "usr_1"))
                    is { Status: 200 } answer)
                    minted.Add((string)answer.Json["secret"]!);
                else if (end != "forget")
                    break;
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }

            return minted;
        }, TestContext.Current.CancellationToken);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        var before = await MintAsync(cutOff, key.Secret);
        await EndAsync(nodes[0], nodes.Keys.AdminKey!, end, key);
        await UntilRefusedAsync(cutOff, before);
        await UntilRefusedAsync(nodes[0], before);
        var tokens = await minting;
        Assert.NotEmpty(tokens);
        if (end == "forget")
        {
            // The account may continue: what was minted after the end is good, and all that is good was.
            var good = new List<bool>();
            foreach (var token in tokens)
                good.Add((await nodes[0].Get(token, "/v1/apps/secrets?scope[type]=account")).Status == 200);
            Assert.Equal(good.Order(), good);
            return;
        }

        foreach (var token in tokens)
        {
            Assert.NotEqual(200, (await nodes[0].Find(token, "k")).Status);
            await UntilRefusedAsync(cutOff, token);
        }
    }

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task A_mint_that_races_with_the_end_loses(string end)
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way));
        for (var round = 0; round < 4; round++)
        {
            var key = await NewKeyAsync(nodes);
            (await nodes[1].Set(key.Secret, "k", account: "acct_1")).IsOk();
            using var start = new ManualResetEventSlim();
            var minting = Enumerable.Range(0, 6).Select(i => Task.Run(async () =>
            {
                start.Wait();
                var answers = new List<Answer>();
                for (var n = 0; n < 5; n++)
                    answers.Add(await nodes[i % 2].Post(key.Secret, Ephemeral, null, "acct_1", ("user", "usr_1")));
                return answers;
            })).ToList();
            var ending = Task.Run(() =>
            {
                start.Wait();
                return EndAsync(nodes[round % 2], nodes.Keys.AdminKey!, end, key);
            });
            start.Set();
            await ending;
            // Of an account that is forgotten those live on that were minted after it.
            var tokens = (await Task.WhenAll(minting)).SelectMany(answers => answers)
                .Where(answer => answer.Status == 200).Select(answer => (string)answer.Json["secret"]!);
            if (end == "disable")
                (await nodes[0].Post(nodes.Keys.AdminKey!, $"{Apps}/{key.App}", ("disabled", "false"))).IsOk();
            if (end == "forget")
                continue;
            foreach (var token in tokens)
            {
                await UntilRefusedAsync(nodes[0], token);
                await UntilRefusedAsync(nodes[1], token);
            }
        }
    }

    [Fact]
    public async Task A_revoked_minted_key_is_refused_on_the_other_node_and_no_other_is()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way));
        var key = await NewKeyAsync(nodes);
        (await nodes[0].Set(key.Secret, "k", account: "acct_1")).IsOk();
        for (var round = 0; round < 5; round++)
        {
            var (minted, other) = ((await nodes[0].Post(key.Secret, Ephemeral, null, "acct_1", ("user", "usr_1")))
                .IsOk().Json, await MintAsync(nodes[1], key.Secret));
            (await nodes[1].Find((string)minted["secret"]!, "k")).IsOk();
            (await nodes[round % 2].Delete(key.Secret, $"{Ephemeral}/{minted["id"]}", "acct_1")).IsOk();
            Assert.Equal(401, (await nodes[round % 2].Find((string)minted["secret"]!, "k")).Status); // at once
            await UntilRefusedAsync(nodes[1 - round % 2], (string)minted["secret"]!);
            (await nodes[0].Find(other, "k")).IsOk();
            (await nodes[1].Find(other, "k")).IsOk();
        }
    }

    [Fact]
    public async Task While_a_node_of_the_release_before_runs_keys_are_minted_as_it_knows_them_and_end_as_it_knows_it()
    {
        var store = await server.NewDatabaseAsync(way);
        await using var nodes = await Nodes.StartAsync(store);
        var key = await NewKeyAsync(nodes);
        (await nodes[0].Set(key.Secret, "k", account: "acct_1")).IsOk();
        Assert.Equal(2u, await FormatAsync());
        var second = await MintAsync(nodes[0], key.Secret);
        await using (var older = new NpgsqlConnection(server.Directly(store) + ";Pooling=false"))
        {
            await older.OpenAsync(TestContext.Current.CancellationToken);
            await ExecuteAsync(older, $"SELECT pg_advisory_lock({PostgresLocks.Names}, 77)");
            await Until.SoAsync("it is seen", async () => await FormatAsync() == 1u);

            var first = await MintAsync(nodes[1], key.Secret);
            (await nodes[0].Find(first, "k")).IsOk();
            (await nodes[0].Find(second, "k")).IsOk();
            // As a node of the release before revokes a key: keys of both formats end with it.
            await ExecuteAsync(older, $"""
                BEGIN;
                DELETE FROM api_keys WHERE id = '{key.Id}';
                INSERT INTO revocations (subject, made_until, kept_until)
                    SELECT '{key.Id}', t + 1, t + 86400 FROM (SELECT extract(epoch FROM now())::bigint AS t) AS clock;
                SELECT pg_notify('coffer', 'access');
                COMMIT
                """);
            foreach (var token in (string[])[first, second])
            {
                await UntilRefusedAsync(nodes[0], token);
                await UntilRefusedAsync(nodes[1], token);
            }

            key = await NewKeyAsync(nodes);
            (await nodes[0].Post(nodes.Keys.AdminKey!, $"{Keys}/{key.Id}/roll", ("grace_period", "0"))).IsOk();
            Assert.Equal(0L, await PostgresServer.ScalarAsync(store,
                $"SELECT count(*) FROM api_keys WHERE id = '{key.Id}'"));
        }

        key = await NewKeyAsync(nodes);
        await Until.SoAsync("it is not thought to run any more", async () => await FormatAsync() == 2u);

        async Task<uint?> FormatAsync()
        {
            var token = await MintAsync(nodes[0], key.Secret);
            return Envelope.KeyVersionOf(Tokens.Unseal(token.StartsWith("ek_test_", StringComparison.Ordinal)
                ? "ek_test_" : "ek_live_", token));
        }
    }

    private static async Task<(string Id, string Secret, string App)> NewKeyAsync(Nodes nodes)
    {
        var app = (await nodes[0].Post(nodes.Keys.AdminKey!, Apps, ("name", "other"))).IsOk().Id!;
        var key = (await nodes[0].Post(nodes.Keys.AdminKey!, Keys, ("type", "secret"), ("app", app))).IsOk();
        return (key.Id!, (string)key.Json["secret"]!, app);
    }

    private static async Task<string> MintAsync(Nodes.Node node, string key) =>
        (string)(await node.Post(key, Ephemeral, null, "acct_1", ("user", "usr_1"))).IsOk().Json["secret"]!;

    private static async Task EndAsync(Nodes.Node node, string admin, string end,
        (string Id, string Secret, string App) key) => (await (end switch
        {
            "revoke" => node.Post(admin, $"{Keys}/{key.Id}/revoke"),
            "roll" => node.Post(admin, $"{Keys}/{key.Id}/roll", ("grace_period", "0")),
            "disable" => node.Post(admin, $"{Apps}/{key.App}", ("disabled", "true")),
            _ => node.Post(admin, $"{Apps}/{key.App}/accounts/acct_1/forget"),
        })).IsOk();

    private static Task UntilRefusedAsync(Nodes.Node node, string token) => Until.SoAsync(
        "it is refused within the bound",
        async () => (await node.Get(token, "/v1/apps/secrets?scope[type]=account")).Status != 200,
        Epoch.Bound + Leeway);

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>The machine's clock, set wrong.</summary>
    private sealed class ShiftedTime(TimeSpan by) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + by;
    }
}

public sealed class MintedNodesDirectTests(PostgresServer server) : MintedNodesTests(server, Way.Direct);

public sealed class MintedNodesOnSharedSessionsTests(PostgresServer server)
    : MintedNodesTests(server, Way.SharedSessions);
