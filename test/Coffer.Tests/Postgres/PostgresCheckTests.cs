using Coffer.Checks;
using Coffer.Settings;
using Coffer.Shared;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>What <c>coffer check</c> says of a database and of the nodes on it.</summary>
[Trait("Keys", "check")]
public sealed class PostgresCheckTests(PostgresCheckTests.SyncedServer synced)
    : IAsyncLifetime, IClassFixture<PostgresCheckTests.SyncedServer>
{
    private readonly PostgresServer server = synced.Server;
    private Nodes nodes = null!;

    /// <summary>One that has on the disk what it acknowledges, as the tests' other ones have not.</summary>
    public sealed class SyncedServer : IAsyncDisposable
    {
        public PostgresServer Server { get; } = new() { IsSynced = true };

        public ValueTask DisposeAsync() => Server.DisposeAsync();
    }

    public async ValueTask InitializeAsync()
    {
        nodes = await Nodes.StartAsync(await server.NewDatabaseAsync());
        for (var i = 0; i < 3; i++)
            (await nodes[i % 2].Set(nodes.Keys.TestSecretKey, "k", account: $"acct_{i}")).IsOk();
    }

    public async ValueTask DisposeAsync()
    {
        if (nodes is not null)
            await nodes.DisposeAsync();
    }

    [Fact]
    public async Task A_store_that_is_well_is_ok_everywhere_beside_its_nodes_and_nothing_of_it_changes()
    {
        // The process that serves is that of the tests, and may be dumped.
        var before = await RowsAsync();
        (await CheckAsync()).AndNothingElseBut("process").Says(Grade.Ok, "nodes", "2 run")
            .Says(Grade.Ok, "postgresql", "direct, statements prepared; wal_level logical")
            .Says(Grade.Ok, "clock", "as the database's clock does").Says(Grade.Ok, "chain", "entries verify")
            .Says(Grade.Ok, "disk", "its disk is not seen from here").Says(Grade.Ok, "rows", "open under");
        Assert.Equal(before, await RowsAsync());
    }

    [Fact]
    public async Task A_role_that_may_only_read_is_enough_and_what_it_may_not_see_is_no_fault()
    {
        await PostgresServer.ExecuteAsync(nodes.Store, """
            CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader
            """);
        (await CheckAsync(As("reader")))
            .AndNothingElseBut("process").Says(Grade.Ok, "chain", "entries verify")
            .Says(Grade.Ok, "postgresql", "connections free");
    }

    [Fact]
    public async Task A_file_of_passwords_that_is_missing_or_open_to_others_is_named()
    {
        using var directory = new TemporaryDirectory();
        (await CheckAsync($"{nodes.Store};Passfile=/none")).AndNothingElseBut("process", "files")
            .Says(Grade.Problem, "files", "/none is not there");
        await File.WriteAllTextAsync(directory.File("pgpass"), "*:*:*:*:p", TestContext.Current.CancellationToken);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(directory.File("pgpass"), UnixFileMode.UserRead | UnixFileMode.OtherRead);
        (await CheckAsync($"{nodes.Store};Passfile={directory.File("pgpass")}")).AndNothingElseBut("process", "files")
            .Says(Grade.Warning, "files", "can be read or written by other users", "chmod 600");
    }

    [Fact]
    public async Task Settings_that_lose_what_was_acknowledged_are_named()
    {
        try
        {
            await SetAsync("full_page_writes = off", "SHOW full_page_writes", "off");
            await SetAsync("synchronous_standby_names = 'gone'", "SHOW synchronous_standby_names", "gone");
            (await CheckAsync()).AndNothingElseBut("process", "postgresql")
                .Says(Grade.Problem, "postgresql", "full_page_writes is off", "full_page_writes = on")
                .Says(Grade.Problem, "postgresql", "none that they wait for is connected", "Start that replica");
        }
        finally
        {
            await SetAsync("full_page_writes = on", "SHOW full_page_writes", "on");
            await SetAsync("synchronous_standby_names = ''", "SHOW synchronous_standby_names", "");
        }

        await PostgresServer.ExecuteAsync(nodes.Store, """
            CREATE ROLE careless LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO careless;
            ALTER ROLE careless SET synchronous_commit = off; ALTER ROLE careless SET default_transaction_read_only = on
            """);
        (await CheckAsync(As("careless"))).AndNothingElseBut("process", "postgresql")
            .Says(Grade.Warning, "postgresql", "synchronous_commit is off", "for the role")
            .Says(Grade.Warning, "postgresql", "default_transaction_read_only is on", "Turn it off");
    }

    [Fact]
    public async Task A_server_that_does_not_sync_is_named()
    {
        await using var unsynced = await PostgresServer.OwnAsync();
        await using var other = await Nodes.StartAsync(await unsynced.NewDatabaseAsync(), count: 1);
        (await Checked.RunAsync(new CofferOptions { Data = other[0].Data, Store = other.Store }, TimeProvider.System))
            .AndNothingElseBut("process", "postgresql")
            .Says(Grade.Problem, "postgresql", "fsync is off: a power cut may destroy", "Set fsync = on");
    }

    [Fact]
    public async Task A_server_that_is_out_of_connections_or_away_is_named_and_the_rest_is_looked_at()
    {
        await PostgresServer.ExecuteAsync(nodes.Store, """
            CREATE ROLE few LOGIN CONNECTION LIMIT 10; GRANT SELECT ON ALL TABLES IN SCHEMA public TO few
            """);
        (await CheckAsync(As("few")))
            .AndNothingElseBut("process", "postgresql").Says(Grade.Warning, "postgresql",
                "connections free, and a node opens up to 23", "Raise max_connections");

        var data = nodes[0].Data;
        await nodes.StopAsync(1);
        await nodes.StopAsync(0);
        await server.StopAsync();
        try
        {
            var store = nodes.Store + ";Password=canary";
            var found = await Checked.RunAsync(new CofferOptions { Data = data, Store = store }, TimeProvider.System);
            found.Says(Grade.Problem, "schema", "cannot be used", "Check that PostgreSQL runs there")
                .Says(Grade.Warning, "postgresql", "the store is not open, see schema")
                .Says(Grade.Warning, "chain", "see schema").Says(Grade.Ok, "files", data);
            Assert.DoesNotContain("canary", $"{found}", StringComparison.Ordinal);
        }
        finally
        {
            await server.StartAgainAsync(); // the other tests are on it too
        }
    }

    [Fact]
    public async Task Nodes_that_died_are_of_another_version_or_have_a_wrong_clock_are_named()
    {
        await PostgresServer.ExecuteAsync(nodes.Store, """
            INSERT INTO nodes (number, holder, until, version, started, seen, clock_offset, draining) VALUES
            (7, 'a', now() - interval '1 hour', '0.0.9', now(), now(), 0, 0),
            (8, 'b', now() + interval '1 hour', '0.0.9', now(), now(), -45000, 0)
            """);
        (await CheckAsync()).AndNothingElseBut("process", "nodes")
            .Says(Grade.Warning, "nodes", "node_7 has not been seen since", "Start it again")
            .Says(Grade.Warning, "nodes", "nodes of several versions run: 0.0.9, ", "Upgrade the others")
            .Says(Grade.Warning, "nodes", "the clock of node_8 differs by 45 seconds", "of that machine");
    }

    [Fact]
    public async Task A_rotation_that_waits_for_a_node_names_it()
    {
        await PostgresServer.ExecuteAsync(nodes.Store, """
            INSERT INTO nodes (number, holder, until, version, started, seen, clock_offset, draining)
            SELECT 7, 'a', now() + interval '1 hour', version, now(), now(), 0, 0 FROM nodes WHERE number = 1
            """);
        (await nodes[0].Post(nodes.Keys.AdminKey!, "/admin/v1/root_keys/rotate")).IsOk();
        (await CheckAsync()).AndNothingElseBut("process", "root_keys").Says(
            Grade.Warning, "root_keys", "the rotation to root key 2 waits for", "Check --root-key there")
            .Says(Grade.Warning, "root_keys", "node_7");
    }

    [Fact]
    public async Task A_clock_that_is_not_the_databases_is_named()
    {
        foreach (var (offset, grade) in ((int, Grade)[])[(1, Grade.Ok), (10, Grade.Warning), (-90, Grade.Problem)])
        {
            var time = new Shifted(TimeSpan.FromSeconds(offset));
            var found = await Checked.RunAsync(
                new CofferOptions { Data = nodes[0].Data, Store = nodes.Store }, time);
            found.AndNothingElseBut("process", "clock")
                .Says(grade, "clock", grade == Grade.Ok ? "it says" : "seconds ");
        }
    }

    [Theory]
    [InlineData("ALTER TABLE secrets ADD COLUMN more TEXT", Grade.Problem, "column secrets.more is not Coffer's")]
    [InlineData("UPDATE coffer_schema SET version = 99", Grade.Problem, "was written by a newer Coffer (schema 99")]
    [InlineData("UPDATE coffer_schema SET version = 1", Grade.Warning, "the store has schema 1, and this program")]
    internal async Task A_schema_that_is_another_is_named(string sql, Grade grade, string text)
    {
        await PostgresServer.ExecuteAsync(nodes.Store, sql);
        (await CheckAsync()).Says(grade, "schema", text).Says(Grade.Warning, "chain", "see schema");
    }

    [Fact]
    public async Task An_empty_database_is_left_empty()
    {
        var empty = await server.NewDatabaseAsync();
        using var data = new TemporaryDirectory();
        (await Checked.RunAsync(new CofferOptions { Data = data.Path, Store = empty }, TimeProvider.System))
            .Says(Grade.Warning, "schema", "there is no store in the database yet", "The first start");
        Assert.Equal(0L, await PostgresServer.ScalarAsync(empty,
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"));
        Assert.Empty(Directory.GetFileSystemEntries(data.Path));
    }

    [Fact]
    public async Task A_pooler_in_between_is_said_and_everything_else_is_looked_at_through_it()
    {
        var port = await server.PortAsync(Way.SharedSessions);
        (await CheckAsync(new NpgsqlConnectionStringBuilder(nodes.Store) { Port = port }.ConnectionString))
            .AndNothingElseBut("process").Says(Grade.Ok, "postgresql", "pooled, statements ")
            .Says(Grade.Ok, "chain", "entries verify");
    }

    private Task<Checked> CheckAsync(string? store = null) => Checked.RunAsync(
        new CofferOptions { Data = nodes[0].Data, Store = store ?? nodes.Store }, TimeProvider.System);

    private string As(string role) =>
        new NpgsqlConnectionStringBuilder(nodes.Store) { Username = role }.ConnectionString;

    private async Task SetAsync(string setting, string sql, string value)
    {
        await PostgresServer.ExecuteAsync(server.Admin, $"ALTER SYSTEM SET {setting}");
        await PostgresServer.ExecuteAsync(server.Admin, "SELECT pg_reload_conf()");
        await Until.SoAsync($"{setting} holds",
            async () => (string?)await PostgresServer.ScalarAsync(server.Admin, sql) == value);
    }

    // All rows of all tables but those in which nodes live on.
    private async Task<string> RowsAsync()
    {
        var all = "";
        foreach (var table in (string[])["meta", "root_keys", "root_key_wrappings", "apps", "api_keys", "tenants",
            "secrets", "audit", "idempotency", "replies", "receipts", "epoch", "revocations", "coffer_schema"])
        {
            all += await PostgresServer.ScalarAsync(nodes.Store,
                $"SELECT '{table} ' || coalesce(string_agg(t::text || xmin::text, '|' ORDER BY t::text), '') FROM "
                    + $"{table} t");
        }

        return all;
    }

    private sealed class Shifted(TimeSpan by) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + by;
    }
}
