using System.Diagnostics;
using Coffer.Access;
using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>What two nodes of a store do to each other.</summary>
public abstract class NodesTests(PostgresServer server, Way way)
{
    [Fact]
    public async Task What_one_node_changes_the_other_knows_at_once()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way));
        Assert.InRange(await SlowestAsync(nodes), TimeSpan.Zero, TimeSpan.FromSeconds(2));
    }

    [Fact]
    public async Task The_quota_is_exact_whichever_node_is_asked()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way));
        for (var round = 0; round < 5; round++)
        {
            var account = $"acct_{round}";
            var answers = await Task.WhenAll(
                Enumerable.Range(0, 60).Select(
                    i => nodes[i % 2].Set(nodes.Keys.TestSecretKey, $"name {i}", account: account)));
            Assert.Equal((10, 50),
                (answers.Count(answer => answer.Status == 200), answers.Count(answer => answer.Status == 400)));
            Assert.Equal(
                10,
                (await nodes[0].Get(nodes.Keys.TestSecretKey, "/v1/apps/secrets?scope[type]=account&limit=100",
                    account)).IsOk().Names.Length);
        }
    }

    [Fact]
    public async Task Of_those_who_compare_and_set_at_once_one_wins()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way));
        for (var version = 0; version < 25; version++)
        {
            var answers = await Task.WhenAll(
                Enumerable.Range(0, 8).Select(
                    i => nodes[i % 2].Set(nodes.Keys.TestSecretKey, "k", $"{version} {i}", ifVersion: version)));
            var winner = Assert.Single(answers, answer => answer.Status == 200);
            Assert.Equal($"{version + 1}", winner.Header("Coffer-Secret-Version"));
            Assert.All(answers.Where(answer => answer != winner),
                answer => answer.IsError(409, "resource_version_mismatch", "if_version"));
        }
    }

    [Fact]
    public async Task An_idempotency_key_that_comes_to_both_nodes_at_once_has_one_effect()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way));
        for (var round = 0; round < 20; round++)
        {
            var answers = await Task.WhenAll(
                Enumerable.Range(0, 2).Select(
                    i => nodes[i].Set(nodes.Keys.TestSecretKey, "k", $"{round}", idempotencyKey: $"key {round}")));
            Assert.All(answers, answer => Assert.Equal($"{round + 1}", answer.IsOk().Header("Coffer-Secret-Version")));
            Assert.Single(answers, answer => answer.Header("Idempotent-Replayed") == "true");
            Assert.Single(answers.Select(answer => answer.Text).Distinct());

            var apps = await Task.WhenAll(
                Enumerable.Range(0, 2).Select(
                    i =>
                        nodes[i].Post(nodes.Keys.AdminKey!, "/admin/v1/apps", $"key {round}", null,
                            ("name", $"app {round}"))));
            Assert.Single(apps.Select(answer => answer.IsOk().Text).Distinct());
        }

        Assert.Equal(
            21,
            (await nodes[0].Get(nodes.Keys.AdminKey!,
                "/admin/v1/apps?limit=100")).IsOk().Json["data"]!.AsArray().Count);
    }

    [Fact]
    public async Task Both_nodes_chains_verify_while_they_grow()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way), secretsPerScope: 1_000);
        await using var load = new Load(8, async (writer, i) =>
            (await nodes[writer % 2].Set(nodes.Keys.TestSecretKey, $"{writer} {i % 50}")).IsOk());
        long seen = 0;
        for (var i = 0; i < 10; i++)
        {
            var report = await AuditArchive.VerifyStoreAsync(new(nodes[0].Data, nodes.Store), null, default);
            Assert.Empty(report.Problems);
            Assert.InRange(report.Entries, seen, long.MaxValue);
            seen = report.Entries;
        }

        await load.EndAsync();
        Assert.InRange(seen, 50, long.MaxValue);
        var data = (nodes[0].Data, nodes[1].Data);
        await nodes.StopAsync(1);
        await nodes.StopAsync(0);
        foreach (var checkpoints in (string[])[data.Item1, data.Item2])
        {
            var report = await AuditArchive.VerifyStoreAsync(new(checkpoints, nodes.Store), null, default);
            Assert.Empty(report.Problems);
            Assert.Equal(1, report.Checkpoints);
        }

        Assert.Equal(2L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(DISTINCT node) FROM audit"));
    }

    [Fact]
    public async Task Of_nodes_that_start_at_once_on_an_empty_database_one_makes_its_identity()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way), count: 0);
        var first = nodes.NewData(withKey: true);
        string[] data = [first, nodes.NewData(), nodes.NewData()];
        foreach (var other in data[1..])
            File.Copy(Path.Combine(first, "coffer.key"), Path.Combine(other, "coffer.key"));
        var servers = await Task.WhenAll(data.Select(each => Task.Run(() => nodes.StartAsync(each))));
        try
        {
            var keys = Assert.Single(servers, each => each.FirstKeys is not null).FirstKeys!;
            foreach (var each in servers)
            {
                var node = new Nodes.Node(each, "");
                (await node.Set(keys.TestSecretKey, "k")).IsOk();
            }

            Assert.Equal(1L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM root_keys"));
            Assert.Equal(1L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM apps"));
        }
        finally
        {
            foreach (var each in servers)
                await each.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_node_without_the_stores_key_file_is_told_to_copy_it()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way), count: 1);
        var none = await Assert.ThrowsAsync<ConfigurationException>(() => nodes.StartAsync(nodes.NewData()));
        Assert.Contains("is missing", none.Message, StringComparison.Ordinal);
        Assert.Contains("copy coffer.key", none.Hint, StringComparison.Ordinal);
        var another = await Assert.ThrowsAsync<ConfigurationException>(
            () => nodes.StartAsync(nodes.NewData(withKey: true)));
        Assert.Contains("cannot open this store", another.Message, StringComparison.Ordinal);
        Assert.Contains("all nodes of a store need the same coffer.key", another.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_that_start_at_once_with_no_key_file_make_one_store()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way), count: 0);
        var starts = Enumerable.Range(0, 2).Select(_ => Task.Run(() => nodes.StartAsync(nodes.NewData()))).ToList();
        await Task.WhenAll(starts).ContinueWith(static _ => { }, TaskScheduler.Default);
        var winner = Assert.Single(starts, start => start.IsCompletedSuccessfully);
        Assert.NotNull((await winner).FirstKeys);
        await (await winner).DisposeAsync();
        var loser = Assert.Single(starts, start => start.IsFaulted);
        Assert.Contains("copy coffer.key", Assert.IsType<ConfigurationException>(loser.Exception!.InnerException).Hint,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_role_that_owns_a_schema_is_enough_and_one_that_reads_and_writes_its_rows_is_enough_later()
    {
        var admin = await server.NewDatabaseAsync();
        var (owner, user) = ($"owner_{Guid.NewGuid():n}", $"user_{Guid.NewGuid():n}");
        await PostgresServer.ExecuteAsync(admin,
            $"CREATE ROLE {owner} LOGIN; CREATE ROLE {user} LOGIN; CREATE SCHEMA coffer AUTHORIZATION {owner}");
        await using var nodes = await Nodes.StartAsync(As(owner), count: 1);
        var data = nodes[0].Data;
        await nodes.StopAsync(0);
        await PostgresServer.ExecuteAsync(
            admin,
            $"GRANT USAGE ON SCHEMA coffer TO {user}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "
                + $"coffer TO {user}");

        await using var later = new Nodes.Node(
            await Server.StartAsync(new CofferOptions { Data = data, Store = As(user), Listen = "http://127.0.0.1:0" },
                TimeProvider.System, default),
            data);
        (await later.Set(nodes.Keys.TestSecretKey, "k", idempotencyKey: "once", account: "acct_1")).IsOk();
        (await later.Find(nodes.Keys.TestSecretKey, "k", "acct_1")).IsOk();
        var app = (string)(await later.Get(nodes.Keys.AdminKey!, "/admin/v1/apps")).IsOk().Json["data"]![0]!["id"]!;
        (await later.Post(nodes.Keys.AdminKey!, $"/admin/v1/apps/{app}/accounts/acct_1/forget")).IsOk();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(new(data, As(user)), null, default)).Problems);

        string As(string role) =>
            new NpgsqlConnectionStringBuilder(admin) { Username = role, SearchPath = "coffer" }.ConnectionString;
    }

    /// <summary>
    /// Has node 0 change keys and apps that node 1 has just believed, and measures how long it continues believing.
    /// </summary>
    private protected static async Task<TimeSpan> SlowestAsync(Nodes nodes)
    {
        var (admin, slowest) = (nodes.Keys.AdminKey!, TimeSpan.Zero);
        var app = await PostAsync("/admin/v1/apps", ("name", "other"));
        await SeenAsync("revocation", key => PostAsync($"/admin/v1/api_keys/{key}/revoke"), 401);
        await SeenAsync("roll", key => PostAsync($"/admin/v1/api_keys/{key}/roll", ("grace_period", "0")), 401);
        await SeenAsync("forget", _ => PostAsync($"/admin/v1/apps/{app.Id}/accounts/acct_1/forget"), 404);
        await RemadeAsync();
        await SeenAsync("disable", _ => PostAsync($"/admin/v1/apps/{app.Id}", ("disabled", "true")), 403);
        return slowest;

        async Task SeenAsync(string what, Func<string, Task<Answer>> change, int status)
        {
            var key = await PostAsync("/admin/v1/api_keys", ("type", "secret"), ("app", app.Id!));
            var token = (string)key.Json["secret"]!;
            (await nodes[1].Set(token, "k", account: "acct_1")).IsOk();
            (await nodes[1].Find(token, "k", "acct_1")).IsOk();
            await change(key.Id!);
            var watch = Stopwatch.StartNew();
            Answer answer;
            while ((answer = await nodes[1].Find(token, "k", "acct_1")).Status == 200)
                Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), $"{what} was not seen");
            Assert.Equal(status, answer.Status);
            TestContext.Current.TestOutputHelper?.WriteLine(
                $"{what} was seen after {watch.Elapsed.TotalMilliseconds:0} ms");
            slowest = watch.Elapsed > slowest ? watch.Elapsed : slowest;
        }

        // What is set after the account was forgotten stands under other keys than node 1 has open.
        async Task RemadeAsync()
        {
            var token = (string)(await PostAsync("/admin/v1/api_keys", ("type", "secret"),
                ("app", app.Id!))).Json["secret"]!;
            (await nodes[1].Set(token, "k", "before", account: "acct_2")).IsOk();
            await PostAsync($"/admin/v1/apps/{app.Id}/accounts/acct_2/forget");
            (await nodes[0].Set(token, "k", "again", account: "acct_2")).IsOk();
            var watch = Stopwatch.StartNew();
            while (await nodes[1].Find(token, "k", "acct_2") is var answer
                && (answer.Status == 404 || answer.IsOk().Payload != "again"))
                Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), "what was set again was not seen");
            TestContext.Current.TestOutputHelper?.WriteLine(
                $"what was set again was seen after {watch.Elapsed.TotalMilliseconds:0} ms");
            slowest = watch.Elapsed > slowest ? watch.Elapsed : slowest;
        }

        async Task<Answer> PostAsync(string path, params (string, string)[] form) =>
            (await nodes[0].Post(admin, path, form)).IsOk();
    }
}

public sealed class NodesDirectTests(PostgresServer server) : NodesTests(server, Way.Direct)
{
    private readonly PostgresServer server = server;

    [Fact]
    public async Task What_one_node_changes_the_other_knows_within_the_bound_when_it_cannot_be_told()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        // Who cannot write that it lives on reads nothing either.
        await using var holder = new NpgsqlConnection(nodes.Store);
        await holder.OpenAsync(TestContext.Current.CancellationToken);
        await using var hold = new NpgsqlCommand("BEGIN; LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE", holder);
        await hold.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        await Task.Delay(PostgresNames.Renewal + TimeSpan.FromSeconds(2), TestContext.Current.CancellationToken);
        var slowest = await SlowestAsync(nodes);
        // for the requests themselves, on a busy machine
        Assert.InRange(slowest, TimeSpan.FromSeconds(1), Epoch.Bound + TimeSpan.FromSeconds(2));
    }
}

public sealed class NodesBehindPgBouncerTests(PostgresServer server) : NodesTests(server, Way.PgBouncer);

public sealed class NodesOnSharedSessionsTests(PostgresServer server) : NodesTests(server, Way.SharedSessions);
