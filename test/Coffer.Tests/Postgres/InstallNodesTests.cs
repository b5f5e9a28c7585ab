using Coffer.Access;
using Coffer.Shared;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>Installs on several nodes: what one closes is closed on all, and what races has one outcome.</summary>
[Trait("Keys", "S27")]
public sealed class InstallNodesTests(PostgresServer server)
{
    private const string Installs = "/v1/apps/installs", Ephemeral = "/v1/ephemeral_keys";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_one_node_uninstalls_is_closed_on_the_other_until_it_is_installed_again()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var (key, app) = (nodes.Keys.TestSecretKey, await AppAsync(nodes));
        (await nodes[1].Set(key, "k", account: "acct_1")).IsOk();
        var browser = (string)(await nodes[1].Post(key, Ephemeral, null, "acct_1", ("user", "usr_1"))).IsOk()
            .Json["secret"]!;
        (await nodes[1].Find(browser, "k")).IsOk();
        var id = (await nodes[0].Get(key, Installs, "acct_1")).Ids().Single();
        var uninstalled = (await nodes[0].Post(key, $"{Installs}/{id}/uninstall")).IsOk();
        // On the node that has the tenant's keys in memory too.
        foreach (var node in (Nodes.Node[])[nodes[1], nodes[0]])
        {
            (await node.Set(key, "k", account: "acct_1")).IsError(403, "account_invalid", null);
            (await node.Find(key, "k", "acct_1")).IsError(403, "account_invalid", null);
            (await node.Post(key, Ephemeral, null, "acct_1", ("user", "usr_1")))
                .IsError(403, "account_invalid", null);
            Assert.Equal(uninstalled.Text, (await node.Get(key, $"{Installs}/{id}")).IsOk().Text);
            Assert.Equal(uninstalled.Header("Coffer-Receipt"),
                (await node.Post(key, $"{Installs}/{id}/uninstall")).IsOk().Header("Coffer-Receipt"));
        }

        await Until.SoAsync("the minted key is refused", async () =>
            (await nodes[1].Find(browser, "k")).Status == 401, Epoch.Bound + TimeSpan.FromSeconds(5));
        var again = (await nodes[1].Post(key, Installs, null, "acct_1", ("app", app))).IsOk();
        Assert.NotEqual(id, again.Id);
        (await nodes[0].Set(key, "k", "new", account: "acct_1")).IsOk();
        Assert.Equal("new", (await nodes[1].Find(key, "k", "acct_1")).IsOk().Payload);
        Assert.Equal(401, (await nodes[0].Find(browser, "k")).Status);
    }

    [Fact]
    public async Task A_set_or_a_mint_that_races_with_an_uninstall_leaves_nothing_behind()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var key = nodes.Keys.TestSecretKey;
        var tokens = new List<string>();
        for (var round = 0; round < 12; round++)
        {
            var account = $"acct_{round}";
            (await nodes[round % 2].Set(key, "k", account: account)).IsOk();
            var id = (await nodes[0].Get(key, Installs, account)).Ids().Single();
            using var start = new ManualResetEventSlim();
            var racing = Enumerable.Range(0, 6).Select(i => Task.Run(async () =>
            {
                start.Wait(Ct);
                var answers = new List<Answer>();
                for (var n = 0; n < 4; n++)
                {
                    answers.Add(i < 2
                        ? await nodes[i % 2].Post(key, Ephemeral, null, account, ("user", "usr_1"))
                        : await nodes[i % 2].Set(key, $"k{i}", account: account));
                }

                return answers;
            }, Ct)).ToList();
            var ending = Task.Run(() =>
            {
                start.Wait(Ct);
                return nodes[0].Post(key, $"{Installs}/{id}/uninstall");
            }, Ct);
            start.Set();
            (await ending).IsOk();
            foreach (var answer in (await Task.WhenAll(racing)).SelectMany(answers => answers))
            {
                if (answer.Status != 200)
                    answer.IsError(403, "account_invalid", null);
                else if ((string?)answer.Json["object"] == "ephemeral_key")
                    tokens.Add((string)answer.Json["secret"]!);
            }

            (await nodes[round % 2].Set(key, "late", account: account)).IsError(403, "account_invalid", null);
        }

        Assert.Equal(0L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM tenants"));
        Assert.Equal(0L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM secrets"));
        Assert.Equal(12L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM uninstalls"));
        foreach (var token in tokens)
        {
            await Until.SoAsync("what was minted is refused", async () =>
                (await nodes[1].Find(token, "k")).Status == 401, Epoch.Bound + TimeSpan.FromSeconds(5));
        }
    }

    [Fact]
    public async Task A_set_that_meets_an_uninstall_before_its_commit_waits_for_it_and_stores_nothing()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var key = nodes.Keys.TestSecretKey;
        (await nodes[0].Set(key, "k", account: "acct_1")).IsOk();
        var id = (await nodes[0].Get(key, Installs, "acct_1")).Ids().Single();
        (await nodes[0].Post(key, $"{Installs}/{id}/uninstall")).IsOk();
        // As it is between the statements of another node's uninstall and its commit.
        await using var other = await OtherAsync(nodes);
        await ExecuteAsync(other, "DELETE FROM uninstalls");
        (await MeetingAsync(other, "SELECT id FROM apps FOR UPDATE; INSERT INTO uninstalls SELECT * FROM closed",
            () => nodes[0].Set(key, "late", account: "acct_1"))).IsError(403, "account_invalid", null);
        Assert.Equal(0L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM tenants"));
    }

    [Fact]
    public async Task A_mint_that_meets_an_uninstall_between_its_reads_is_refused()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var (key, app) = (nodes.Keys.TestSecretKey, await AppAsync(nodes));
        await using var other = await OtherAsync(nodes, await InstallAsync(nodes, app));
        await InstallAsync(nodes, app);
        // What is minted under a generation that an uninstall has raised would not be ended by it.
        (await MeetingAsync(other,
            "LOCK TABLE generations IN ACCESS EXCLUSIVE MODE; INSERT INTO uninstalls SELECT * FROM closed",
            () => nodes[0].Post(key, Ephemeral, null, "acct_1", ("user", "usr_1"))))
            .IsError(403, "account_invalid", null);
    }

    [Fact]
    public async Task An_uninstall_or_a_create_decides_by_what_was_committed_before_it()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var (key, app) = (nodes.Keys.TestSecretKey, await AppAsync(nodes));
        await using var other = await OtherAsync(nodes, await InstallAsync(nodes, app));

        // It was uninstalled and installed again meanwhile; then the next one was uninstalled as well.
        foreach (var (meanwhile, left) in ((string, long)[])[
            ("UPDATE tenants SET id = DEFAULT, created = created + 1", 1),
            ("DELETE FROM tenants; INSERT INTO uninstalls SELECT * FROM closed", 0)])
        {
            var id = await InstallAsync(nodes, app);
            (await MeetingAsync(other, meanwhile, () => nodes[0].Post(key, $"{Installs}/{id}/uninstall")))
                .IsError(404, "resource_missing", "id");
            Assert.Equal(left, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM tenants"));
            Assert.Equal(1L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM receipts"));
        }

        // Somebody makes a tenant of the app: the uninstall waits for that.
        var last = await InstallAsync(nodes, app);
        (await MeetingAsync(other, "SELECT id FROM apps FOR KEY SHARE",
            () => nodes[0].Post(key, $"{Installs}/{last}/uninstall"))).IsOk();

        (await MeetingAsync(other, "DELETE FROM api_keys WHERE app IS NOT NULL; DELETE FROM apps",
            () => nodes[0].Post(nodes.Keys.AdminKey!, $"/admin/v1/apps/{app}/installs", ("account", "acct_2"))))
            .IsError(403, null, null, "The app of the provided key was deleted. Use a key of another app.");
    }

    [Fact]
    public async Task Two_creates_give_one_install_also_of_an_account_that_was_closed()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        var (key, app) = (nodes.Keys.TestSecretKey, await AppAsync(nodes));
        var before = new HashSet<string>();
        for (var round = 0; round < 6; round++)
        {
            var created = await Task.WhenAll(Enumerable.Range(0, 6).Select(i => i < 4
                ? nodes[i % 2].Post(key, Installs, null, "acct_1", ("app", app))
                : nodes[i % 2].Post(key, Installs, $"key {round}", "acct_1", ("app", app))));
            var id = Assert.Single(created.Select(answer => answer.IsOk().Id!).Distinct());
            Assert.True(before.Add(id), "each has an id of its own");
            Assert.Equal(1L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM tenants"));
            var ended = await Task.WhenAll(Enumerable.Range(0, 4).Select(
                i => nodes[i % 2].Post(key, $"{Installs}/{id}/uninstall")));
            Assert.Single(ended.Select(answer => answer.IsOk().Header("Coffer-Receipt")).Distinct());
            Assert.Equal(round + 1L, await PostgresServer.ScalarAsync(nodes.Store, "SELECT count(*) FROM receipts"));
        }
    }

    private static async Task<string> InstallAsync(Nodes nodes, string app) =>
        (await nodes[0].Post(nodes.Keys.TestSecretKey, Installs, null, "acct_1", ("app", app))).IsOk().Id!;

    /// <summary>
    /// Somebody else's connection to their database, to which an account is known that is closed, once an install was
    /// removed.
    /// </summary>
    private static async Task<NpgsqlConnection> OtherAsync(Nodes nodes, string? uninstalled = null)
    {
        if (uninstalled is not null)
            (await nodes[0].Post(nodes.Keys.TestSecretKey, $"{Installs}/{uninstalled}/uninstall")).IsOk();
        var other = new NpgsqlConnection(nodes.Store);
        await other.OpenAsync(Ct);
        await ExecuteAsync(other, "CREATE TEMP TABLE closed AS SELECT * FROM uninstalls");
        return other;
    }

    /// <summary>The answer to a request that waits for a transaction of somebody else's, until that commits.</summary>
    private static async Task<Answer> MeetingAsync(NpgsqlConnection other, string sql, Func<Task<Answer>> asking)
    {
        await ExecuteAsync(other, $"BEGIN; {sql}");
        var answer = asking();
        await Until.SoAsync("it waits", async () => await PostgresServer.ScalarAsync(other.ConnectionString,
            "SELECT count(*) FROM pg_locks WHERE NOT granted") is > 0L);
        await ExecuteAsync(other, "COMMIT");
        return await answer;
    }

    private static async Task ExecuteAsync(NpgsqlConnection other, string sql)
    {
        await using var command = new NpgsqlCommand(sql, other);
        await command.ExecuteNonQueryAsync(Ct);
    }

    private static async Task<string> AppAsync(Nodes nodes) =>
        (await nodes[0].Get(nodes.Keys.AdminKey!, "/admin/v1/apps")).Ids().Single();
}
