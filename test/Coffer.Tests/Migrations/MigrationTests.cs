using System.Data.Common;
using System.Text;
using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;
using Coffer.Tests.Access;
using Coffer.Transfer;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Coffer.Tests.Migrations;

/// <summary>
/// Stores that move: to PostgreSQL and back, interrupted, beside a running server, onto what is not theirs.
/// </summary>
public sealed class MigrationTests(PostgresServer postgres) : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    [Theory]
    [InlineData(Way.Direct)]
    [InlineData(Way.PgBouncer)]
    [InlineData(Way.SharedSessions)]
    public async Task A_store_moves_to_PostgreSQL_and_back_with_all_that_is_in_it(Way way)
    {
        await using var server = await TestServer.StartAsync(secretsPerScope: 1_000);
        var ephemeral = await StoreContents.FillAsync(server);
        await server.StopAsync();
        var (file, database, back) = (new StoreLocation(server.Data, null), new StoreLocation(directory.NewPath(),
            await postgres.NewDatabaseAsync(way)), new StoreLocation(directory.NewPath(), null));

        await FinishAsync(file, database);
        Assert.Equal(await StoreContents.DumpAsync(file), await StoreContents.DumpAsync(database));
        Assert.NotEqual(KeyOf(file), KeyOf(database));
        await ServesAsync(server, database, ephemeral, "first");

        await FinishAsync(database, back);
        Assert.Equal(await StoreContents.DumpAsync(database), await StoreContents.DumpAsync(back));
        await ServesAsync(server, back, ephemeral, "second");
    }

    [Fact]
    [Trait("Keys", "S36")]
    public async Task A_store_that_was_renewed_moves_to_PostgreSQL_and_back_and_its_old_keys_still_end()
    {
        const string Root = "/admin/v1/root_keys", Keys = "/admin/v1/api_keys";
        await using var server = await TestServer.StartAsync();
        (await server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        List<(string Id, string Token)> made = [];
        for (var i = 0; i < 3; i++)
        {
            var key = (await server.Admin.Post(Keys,
                [("type", "secret"), ("app", await server.AppIdAsync()), ("livemode", "false")])).IsOk();
            made.Add((key.Id!, (string)key.Json["secret"]!));
        }

        (await server.Admin.Post($"{Keys}/{made[0].Id}/revoke", [])).IsOk();
        (await server.Admin.Post($"{Root}/rotate", [("compromised", "true")])).IsOk();
        for (var tries = 0; State((await server.Admin.Get(Root)).IsOk()) != "waiting_for_owner"; tries++)
        {
            Assert.InRange(tries, 0, 300);
            await Task.Delay(50);
        }

        await server.StopAsync();
        var (file, database, back) = (new StoreLocation(server.Data, null), new StoreLocation(directory.NewPath(),
            await postgres.NewDatabaseAsync()), new StoreLocation(directory.NewPath(), null));
        await MovedAsync(file, database, 1);
        await MovedAsync(database, back, 2);

        async Task MovedAsync(StoreLocation from, StoreLocation to, int ending)
        {
            await FinishAsync(from, to);
            Assert.Equal(await StoreContents.DumpAsync(from), await StoreContents.DumpAsync(to));
            await using (var node = new Nodes.Node(await StartAsync(server, to), to.Data))
            {
                Assert.Equal("waiting_for_owner", State((await node.Get(server.Keys.AdminKey!, Root)).IsOk()));
                Assert.Equal("payload", (await node.Find(made[ending].Token, "k", "acct_1")).IsOk().Payload);
                (await node.Post(server.Keys.AdminKey!, $"{Keys}/{made[ending].Id}/revoke")).IsOk();
                foreach (var (_, token) in made[..(ending + 1)])
                    Assert.Equal(401, (await node.Find(token, "k", "acct_1")).Status);
                (await node.Set(server.Keys.TestSecretKey, $"new {ending}", account: $"acct_new_{ending}")).IsOk();
            }

            Assert.Empty((await AuditArchive.VerifyStoreAsync(new(to.Data, to.Store), null, default)).Problems);
        }

        static string? State(Answer shown) => (string?)shown.Json["renewal"]?["state"];
    }

    [Fact]
    public async Task A_run_that_is_interrupted_leaves_what_no_server_starts_on_and_is_resumed()
    {
        await using var server = await TestServer.StartAsync(secretsPerScope: 1_000);
        await StoreContents.FillAsync(server);
        await server.StopAsync();
        var from = new StoreLocation(server.Data, null);
        var expected = await StoreContents.DumpAsync(from);
        var steps = 0;
        await StoreCopy.RunAsync(from, new(directory.NewPath(), null), _ => steps++, server.Time, default);
        await ReopenAsync(from);
        Assert.InRange(steps, 20, 1_000);
        for (var step = 1; step <= steps; step += 2)
        {
            // Each third into a database.
            var to = new StoreLocation(directory.NewPath(), step % 6 == 1 ? await postgres.NewDatabaseAsync() : null);
            await InterruptedAsync(from, to, step);
            await IsRefusedAsync(server, to);
            await InterruptedAsync(from, to, Math.Max(1, step / 2));
            await IsRefusedAsync(server, to);
            Assert.InRange((await FinishAsync(from, to)).Written, 1, long.MaxValue); // the root keys, at least
            Assert.Equal(expected, await StoreContents.DumpAsync(to));
            await ReopenAsync(from);
        }
    }

    [Fact]
    public async Task What_an_interrupted_run_has_copied_is_not_written_again()
    {
        await using var server = await TestServer.StartAsync(secretsPerScope: 1_000);
        await StoreContents.FillAsync(server);
        await server.StopAsync();
        var (from, to) = (new StoreLocation(server.Data, null), new StoreLocation(directory.NewPath(), null));
        await Assert.ThrowsAsync<InterruptedException>(
            () => StoreCopy.RunAsync(from, to, step => Throw(step.Work == "comparing"), server.Time, default));
        // The root key, what wraps it, the store's id and the control row.
        Assert.Equal(4, (await FinishAsync(from, to)).Written);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_changes_on_a_running_source_between_runs_is_followed(bool intoDatabase)
    {
        await using var server = await TestServer.StartAsync(secretsPerScope: 1_000);
        await StoreContents.FillAsync(server);
        var (from, to) = (new StoreLocation(server.Data, null), new StoreLocation(directory.NewPath(),
            intoDatabase ? await postgres.NewDatabaseAsync() : null));
        await UnfinishedAsync(from, to);
        await IsRefusedAsync(server, to);

        (await server.Client(account: "acct_1").Set("changed", "by then")).IsOk();
        (await server.Client(account: "acct_1").Delete("name 3")).IsOk();
        (await server.Admin.Post($"/admin/v1/apps/{await server.AppIdAsync()}/accounts/acct_2/forget", [])).IsOk();
        (await server.Client(account: "acct_2").Set("again", "after it was forgotten")).IsOk();
        (await server.Admin.Post($"/admin/v1/apps/{server.OtherApp}/accounts/acct_3/forget", [])).IsOk();
        (await server.Admin.Raw(HttpMethod.Delete, $"/admin/v1/apps/{server.OtherApp}", null)).IsOk();
        server.Time.Move(TimeSpan.FromHours(25)); // the key's outcome is too old, and is made again in another place
        (await server.Client(account: "acct_1").Post("/v1/apps/secrets",
            [("scope[type]", "account"), ("name", "kept"), ("payload", "again")], "key 1")).IsOk();
        await UnfinishedAsync(from, to);
        await server.StopAsync();

        await FinishAsync(from, to);
        Assert.Equal(await StoreContents.DumpAsync(from), await StoreContents.DumpAsync(to));
    }

    [Theory]
    [InlineData(Way.Direct)]
    [InlineData(Way.PgBouncer)]
    [InlineData(Way.SharedSessions)]
    public async Task A_database_on_which_a_node_runs_is_copied_and_finished_once_it_is_stopped(Way way)
    {
        await using var nodes = await Nodes.StartAsync(await postgres.NewDatabaseAsync(way), count: 1);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "before")).IsOk();
        var (from, to) = (new StoreLocation(nodes[0].Data, nodes.Store), new StoreLocation(directory.NewPath(), null));
        await UnfinishedAsync(from, to);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", "after")).IsOk();
        await nodes.StopAsync(0);
        await FinishAsync(from, to);
        Assert.Equal(await StoreContents.DumpAsync(from), await StoreContents.DumpAsync(to));
        await using var moved = new Nodes.Node(
            await Server.StartAsync(new CofferOptions { Data = to.Data, Listen = "http://127.0.0.1:0" },
                TimeProvider.System, default),
            to.Data);
        Assert.Equal("after", (await moved.Find(nodes.Keys.TestSecretKey, "k")).IsOk().Payload);
    }

    [Theory]
    [InlineData(Way.Direct)]
    [InlineData(Way.PgBouncer)]
    [InlineData(Way.SharedSessions)]
    public async Task A_target_on_which_a_node_runs_is_refused(Way way)
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        await using var nodes = await Nodes.StartAsync(await postgres.NewDatabaseAsync(way), count: 1);
        var refused = await RefusedAsync(new(server.Data, null), new(directory.NewPath(), nodes.Store));
        Assert.Contains("a server or another migration uses", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_target_that_is_not_its_own_is_refused_and_left_alone()
    {
        await using var server = await TestServer.StartAsync();
        await using var other = await TestServer.StartAsync(isOther: true);
        await server.StopAsync();
        await other.StopAsync();
        var (from, stranger) = (new StoreLocation(server.Data, null), new StoreLocation(other.Data, null));
        var before = await StoreContents.DumpAsync(stranger);
        Assert.Contains(
            "there is already a store in", (await RefusedAsync(from, stranger)).Message, StringComparison.Ordinal);
        Assert.Equal(before, await StoreContents.DumpAsync(stranger));

        var unfinished = new StoreLocation(directory.NewPath(), null);
        await InterruptedAsync(stranger, unfinished, 5);
        Assert.Contains("the unfinished target of another migration",
            (await RefusedAsync(from, unfinished)).Message, StringComparison.Ordinal);
        Assert.Contains("unfinished", (await RefusedAsync(unfinished, new(directory.NewPath(), null))).Message,
            StringComparison.Ordinal);
        Assert.Contains("the same data directory", (await RefusedAsync(from, from)).Message, StringComparison.Ordinal);
        Assert.Contains("there is no store in",
            (await RefusedAsync(new(directory.NewKeyed(server.Data), null), new(directory.NewPath(), null))).Message,
            StringComparison.Ordinal);
        File.Copy(Path.Combine(other.Data, "coffer.key"), Path.Combine(server.Data, "coffer.key"), overwrite: true);
        Assert.Contains("the key file cannot open this store",
            (await RefusedAsync(from, new(directory.NewPath(), null))).Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UPDATE secrets SET sealed = zeroblob(300) WHERE id = (SELECT min(id) FROM secrets)",
        "the secret appsecret_")]
    [InlineData("UPDATE secrets SET version = version + 1 WHERE id = (SELECT min(id) FROM secrets)",
        "the secret appsecret_")]
    [InlineData("UPDATE tenants SET sealed_keys = zeroblob(100) WHERE account = 'acct_1'",
        "the keys of the tenant app_")]
    [InlineData("UPDATE api_keys SET livemode = 1 - livemode WHERE kind = 'restricted'", "the API key key_")]
    [InlineData("UPDATE apps SET sealed = zeroblob(100) WHERE name = 'default'", "the settings of the app app_")]
    [InlineData("UPDATE audit SET mac = zeroblob(32) WHERE row = 2", "node_1")]
    public async Task A_damaged_record_of_the_source_is_named_and_the_target_stays_unfinished(string edit, string named)
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client(account: "acct_1").Set("k")).IsOk();
        (await server.Admin.Post("/admin/v1/api_keys",
            [("type", "restricted"), ("app", await server.AppIdAsync()), ("permissions[]", "secret_read")])).IsOk();
        await server.StopAsync();
        var (from, to) = (new StoreLocation(server.Data, null), new StoreLocation(directory.NewPath(), null));
        await ExecuteAsync(from, edit);
        var report = await StoreCopy.RunAsync(from, to, static _ => { }, server.Time, default);
        Assert.False(report.IsFinished);
        Assert.Contains(report.Problems, problem => problem.Contains(named, StringComparison.Ordinal));
        await IsRefusedAsync(server, to);
    }

    [Theory]
    [Trait("Firm ground", "14")]
    [InlineData("UPDATE tenants SET livemode = 2 WHERE account = 'acct_1'", "its livemode is 2")]
    [InlineData("UPDATE api_keys SET kind = 'robot' WHERE kind = 'restricted'", "the API key key_")]
    [InlineData("UPDATE secrets SET expires_at = 9223372036854775807", "the secret appsecret_")]
    public async Task A_record_that_says_what_it_may_not_is_named_too(string edit, string named) =>
        await A_damaged_record_of_the_source_is_named_and_the_target_stays_unfinished(edit, named);

    [Theory]
    [Trait("Firm ground", "14")]
    [InlineData("UPDATE tenants SET livemode = 'live'", "tenants id 1 is damaged: its column livemode")]
    [InlineData("UPDATE secrets SET version = '1x'", "is damaged: its column version")]
    [InlineData("UPDATE secrets SET sealed = hex(sealed)", "is damaged: its column sealed")]
    [InlineData("UPDATE apps SET name = CAST(x'ff41' AS TEXT) WHERE name = 'default'", "is damaged: its column name")]
    [InlineData("UPDATE api_keys SET last_used = 0.5 WHERE kind = 'restricted'", "is damaged: its column last_used")]
    public async Task A_column_that_holds_what_it_may_not_is_not_copied_as_something_else(string edit, string named)
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client(account: "acct_1").Set("k")).IsOk();
        await server.NewKeyAsync("restricted", await server.AppIdAsync(), ("permissions[]", "secret_read"));
        await server.StopAsync();
        var from = new StoreLocation(server.Data, null);
        await ExecuteAsync(from, edit);
        foreach (var to in (StoreLocation[])[
            new(directory.NewPath(), null), new(directory.NewPath(), await postgres.NewDatabaseAsync())])
            Assert.Contains(named, (await RefusedAsync(from, to)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_name_that_PostgreSQL_cannot_hold_does_not_stop_a_migration()
    {
        await using var server = await TestServer.StartAsync();
        (await server.Admin.Post("/admin/v1/apps", [("name", "an\0app")])).IsOk();
        await server.StopAsync();
        await FinishAsync(new(server.Data, null), new(directory.NewPath(), await postgres.NewDatabaseAsync()));
    }

    [Fact]
    public async Task All_tables_and_columns_of_both_engines_are_known()
    {
        var database = await postgres.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(database, default)).Dispose();
        SqliteEngine.Open(directory.File("schema.db")).Dispose();
        // What nodes say to each other, and when they run, is no part of a store that moves.
        string[] ofNodes = ["coffer_schema", "nodes", "told"];
        var columns = Tables.All.SelectMany(table =>
            table.Columns.Select(
                column => $"{table.Name}.{column.Name}.{column.Type.ToString().ToLowerInvariant()[0]}"));
        var expected = string.Join(' ', columns.Order(StringComparer.Ordinal));
        Assert.Equal(expected, await PostgresServer.ScalarAsync(database, $"""
            SELECT string_agg(c, ' ' ORDER BY c COLLATE "C") FROM (
                SELECT table_name || '.' || column_name || '.' ||
                    CASE data_type WHEN 'bigint' THEN 'n' WHEN 'text' THEN 't' ELSE 'b' END AS c
                FROM information_schema.columns WHERE table_schema = 'public'
                AND table_name NOT IN ('{string.Join("', '", ofNodes)}')) AS all_columns
            """));
        using var session = SqliteSession.Connect(directory.File("schema.db"));
        using var command = session.CreateCommand();
        command.CommandText = """
            SELECT m.name || '.' || c.name || '.' ||
                CASE c.type WHEN 'INTEGER' THEN 'n' WHEN 'TEXT' THEN 't' ELSE 'b' END
            FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'
            """;
        using var reader = command.ExecuteReader();
        Assert.Equal(
            expected,
            string.Join(' ',
                reader.Cast<DbDataRecord>().Select(row => row.GetString(0)).Order(StringComparer.Ordinal)));
    }

    public void Dispose() => directory.Dispose();

    /// <summary>What was there is served; what comes is stored; and the log verifies, with its checkpoints.</summary>
    private static async Task ServesAsync(TestServer before, StoreLocation place, string ephemeral, string round)
    {
        var keys = before.Keys;
        await using (var node = new Nodes.Node(await StartAsync(before, place), place.Data))
        {
            Assert.Equal("payload 77", (await node.Find(keys.TestSecretKey, "name 77", "acct_1")).IsOk().Payload);
            Assert.Equal("live", (await node.Find(keys.LiveSecretKey!, "k", "acct_1")).IsOk().Payload);
            Assert.Equal("of another app", (await node.Find(before.OtherAppKey, "k", "acct_3")).IsOk().Payload);
            Assert.Equal(
                "very secret",
                (await node.Get(
                    ephemeral,
                    "/v1/apps/secrets/find?scope[type]=user&scope[user]=usr_1&name=of%20a%20user&expand[]=payload",
                    "acct_1")).IsOk().Payload);
            (await node.Find(keys.TestSecretKey, "name 1", "acct_1")).IsError(404, "resource_missing", "name");
            (await node.Find(keys.TestSecretKey, "k", "acct_gone")).IsError(404, "resource_missing", "name");
            Assert.Equal(
                "true",
                (await node.Set(keys.TestSecretKey, "kept", "as it was", idempotencyKey: "key 1", account: "acct_1"))
                    .IsOk().Header("Idempotent-Replayed"));
            // a tenant, a record: new numbers
            (await node.Set(keys.TestSecretKey, "new", round, idempotencyKey: round, account: $"acct_{round}")).IsOk();
            Assert.Equal(round, (await node.Find(keys.TestSecretKey, "new", $"acct_{round}")).IsOk().Payload);
            (await node.Get(keys.AdminKey!, "/admin/v1/api_keys")).IsOk();
            (await node.Post(keys.AdminKey!, "/admin/v1/apps", round, null, ("name", round))).IsOk();
        }

        var report = await AuditArchive.VerifyStoreAsync(new(place.Data, place.Store), null, default);
        Assert.Empty(report.Problems);
        Assert.InRange(report.Checkpoints, 1, int.MaxValue);
    }

    private static Task<Server> StartAsync(TestServer before, StoreLocation place) => Server.StartAsync(
        new CofferOptions
        {
            Data = place.Data,
            Store = place.Store,
            Listen = "http://127.0.0.1:0",
            SecretsPerScope = 1_000,
            RatePerKey = 0
        }, before.Time, default);

    private static async Task IsRefusedAsync(TestServer before, StoreLocation place)
    {
        foreach (var use in (Func<Task>[])[() => StartAsync(before, place),
            () => AuditArchive.VerifyStoreAsync(new(place.Data, place.Store), null, default)])
        {
            var refused = await Assert.ThrowsAsync<ConfigurationException>(use);
            Assert.Contains("the target of an unfinished migration", refused.Message, StringComparison.Ordinal);
            Assert.Contains("coffer migrate", refused.Hint, StringComparison.Ordinal);
        }
    }

    private static async Task<StoreCopy.CopyReport> FinishAsync(StoreLocation from, StoreLocation to)
    {
        var report = await StoreCopy.RunAsync(from, to, static _ => { }, TimeProvider.System, default);
        Assert.Empty(report.Problems);
        Assert.True(report.IsFinished);
        return report;
    }

    private static async Task UnfinishedAsync(StoreLocation from, StoreLocation to)
    {
        var report = await StoreCopy.RunAsync(from, to, static _ => { }, TimeProvider.System, default);
        Assert.Empty(report.Problems);
        Assert.False(report.IsFinished);
    }

    private static async Task InterruptedAsync(StoreLocation from, StoreLocation to, int step)
    {
        var steps = 0;
        await Assert.ThrowsAsync<InterruptedException>(
            () => StoreCopy.RunAsync(from, to, _ => Throw(++steps == step), TimeProvider.System, default));
    }

    private static Task<ConfigurationException> RefusedAsync(StoreLocation from, StoreLocation to) =>
        Assert.ThrowsAsync<ConfigurationException>(() => StoreCopy.RunAsync(from, to, static _ => { },
            TimeProvider.System, default));

    private static void Throw(bool now)
    {
        if (now)
            throw new InterruptedException();
    }

    // As nothing in the program does.
    private static Task ReopenAsync(StoreLocation place) =>
        ExecuteAsync(place, "DELETE FROM meta WHERE key = 'moved'");

    private static string KeyOf(StoreLocation place) => File.ReadAllText(Path.Combine(place.Data, "coffer.key"));

    private static async Task ExecuteAsync(StoreLocation place, string sql)
    {
        await using var connection = StoreContents.Connect(place);
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText = sql;
        Assert.Equal(1, await command.ExecuteNonQueryAsync());
    }

    private sealed class InterruptedException : Exception;
}
