using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// A database that is published, and one that logical replication has made, serve as any other (docs/postgresql.md,
/// "Logical replication").
/// </summary>
[Trait("Reports from the field", "R2-20")]
public sealed class PostgresReplicationTests(PostgresServer server)
{
    private const string Publish = "CREATE PUBLICATION all_tables FOR ALL TABLES";

    [Fact]
    public async Task A_database_with_a_publication_takes_its_first_start()
    {
        var store = await server.NewDatabaseAsync();
        await PostgresServer.ExecuteAsync(store, Publish);
        await WriteAsync(store, "app_1");
        await PublishedAsync(store);
    }

    [Fact]
    public async Task A_store_of_before_that_is_published_is_brought_up_to_date()
    {
        var store = await server.NewDatabaseAsync();
        await WriteAsync(store, "app_1");
        await PostgresServer.ExecuteAsync(store, $"""
            ALTER TABLE coffer_schema DROP CONSTRAINT coffer_schema_pkey;
            UPDATE coffer_schema SET version = 5;
            {Publish}
            """);
        await WriteAsync(store, "app_2");
        await PublishedAsync(store);
        Assert.Equal((long)Coffer.Storage.Migrations.Of("postgres").Count,
            await PostgresServer.ScalarAsync(store, "SELECT version FROM coffer_schema"));
    }

    [Fact]
    public async Task What_logical_replication_has_copied_serves_on_and_numbers_its_rows_above_those()
    {
        var source = await server.NewDatabaseAsync();
        await PostgresServer.ExecuteAsync(source, Publish);
        await WriteAsync(source, "app_1");
        await PostgresServer.ExecuteAsync(source, "SELECT setval('audit_row_seq', 500), setval('replies_seq_seq', 70)");
        await WriteAsync(source, "app_2");
        var copy = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(copy, default)).Dispose();
        await ReplicateAsync(source, copy);
        Assert.Equal((2L, 2L, 501L), await NumbersAsync(copy));
        await Assert.ThrowsAsync<PostgresException>(() => PostgresServer.ExecuteAsync(copy,
            "INSERT INTO tenants (app, livemode, account, created, sealed_keys) VALUES ('app_1', 0, 'x', 1, '')"));

        await WriteAsync(copy, "app_3");
        Assert.Equal((3L, 3L, 502L), await NumbersAsync(copy));
        Assert.Equal("1 2 71 72", await PostgresServer.ScalarAsync(copy,
            "SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM (SELECT seq FROM replies UNION SELECT 2) AS found"));
    }

    [Fact]
    public async Task Numbers_that_are_ahead_of_the_rows_stay()
    {
        var store = await server.NewDatabaseAsync();
        await WriteAsync(store, "app_1");
        await PostgresServer.ExecuteAsync(store,
            "SELECT setval('tenants_id_seq', 40, false), setval('audit_row_seq', 60)");
        await WriteAsync(store, "app_2");
        Assert.Equal((2L, 40L, 61L), await NumbersAsync(store));
    }

    /// <summary>R2-20, and item 18 of "Firm edges".</summary>
    [Theory]
    [Trait("Firm edges", "18")]
    [InlineData("")]
    [InlineData("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {0};")]
    [InlineData("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {0};")]
    public async Task A_role_that_may_only_read_and_write_rows_starts_whatever_it_may_do_with_numbers(string grant)
    {
        var store = await server.NewDatabaseAsync();
        for (var i = 1; i <= 4; i++)
            await WriteAsync(store, $"app_{i}");
        var role = $"rows_{Guid.NewGuid():N}";
        await PostgresServer.ExecuteAsync(store, $"""
            CREATE ROLE {role} LOGIN;
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            {grant.Replace("{0}", role, StringComparison.Ordinal)}
            SELECT setval('tenants_id_seq', 1, false), setval('audit_row_seq', 1, false);
            """);
        await WriteAsync(new NpgsqlConnectionStringBuilder(store) { Username = role }.ConnectionString, "app_5");
        Assert.Equal(5L, await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM tenants"));
    }

    [Theory]
    [Trait("Firm edges", "18")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Numbers_that_fall_back_under_a_node_cost_no_request(bool isOwner)
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        var role = $"rows_{Guid.NewGuid():N}";
        await PostgresServer.ExecuteAsync(store, $"""
            CREATE ROLE {role} LOGIN;
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            """);
        var by = isOwner ? store : new NpgsqlConnectionStringBuilder(store) { Username = role }.ConnectionString;
        using var engine = await PostgresEngine.OpenAsync(by, default);
        var first = 0L;
        for (var i = 0; i < 30; i++)
            Write();
        await PostgresServer.ExecuteAsync(store,
            "SELECT setval('tenants_id_seq', 1, false), setval('audit_row_seq', 3), setval('replies_seq_seq', 1)");
        for (var i = 0; i < 5; i++)
            Write(); // none of them fails
        Assert.Equal(35L, await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM tenants"));
        Assert.Equal(35L, await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM audit"));

        void Write()
        {
            first++;
            engine.Write(
                [
                    new Change.Plain(
                        new RowWrite.PutApp(new AppRow($"app_{first}", "x", "acct_1", first)),
                        new RowWrite.AddTenant(new TenantId($"app_{first}", Livemode: false, "acct_1"), first, [1])),
                ],
                _ => new RowWrite.PutAudit(new AuditRow("node_1", first, first, [], [])));
        }
    }

    // A start, and a write to each table whose rows the database numbers.
    private static async Task WriteAsync(string store, string app)
    {
        using var engine = await PostgresEngine.OpenAsync(store, default);
        using var committer = new Committer(engine, 10, new Committer.Chain(_ => null, () => { }));
        var at = (await engine.ListAppsAsync(bound: null, newer: false, 100, default)).Count;
        await committer.CommitAsync(new Change.Plain(
            new RowWrite.PutApp(new AppRow(app, "x", "acct_1", at)),
            new RowWrite.AddTenant(new TenantId(app, Livemode: false, "acct_1"), at, [1])));
        await PostgresServer.ExecuteAsync(store, $"""
            INSERT INTO replies (key, fingerprint, created, sealed) VALUES ('{app}', '', 1, '');
            INSERT INTO audit (node, first, last, entries, mac) VALUES ('node_1', {at}, {at}, '', '');
            """);
    }

    private static async Task<(long Tenants, long LastTenant, long LastAudit)> NumbersAsync(string store) => (
        (long)(await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM tenants"))!,
        (long)(await PostgresServer.ScalarAsync(store, "SELECT max(id) FROM tenants"))!,
        (long)(await PostgresServer.ScalarAsync(store, "SELECT max(row) FROM audit"))!);

    private static async Task PublishedAsync(string store) => Assert.Equal(
        (long)Tables.All.Count,
        await PostgresServer.ScalarAsync(store, $"""
            SELECT count(*) FROM pg_publication_tables WHERE tablename IN
                ('{string.Join("', '", Tables.All.Select(table => table.Name))}')
            """));

    private static async Task ReplicateAsync(string source, string copy)
    {
        var tables = (string)(await PostgresServer.ScalarAsync(copy, """
            SELECT string_agg(relname, ', ') FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            """))!;
        await PostgresServer.ExecuteAsync(copy, $"TRUNCATE {tables}");
        var from = new NpgsqlConnectionStringBuilder(source);
        var slot = $"of_{from.Database}";
        // Within one server the slot has to be there first (PostgreSQL's manual, CREATE SUBSCRIPTION).
        await PostgresServer.ExecuteAsync(source, $"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        await PostgresServer.ExecuteAsync(copy, $"""
            CREATE SUBSCRIPTION {slot}
            CONNECTION 'host={from.Host} port={from.Port} dbname={from.Database} user=postgres'
            PUBLICATION all_tables WITH (create_slot = false)
            """);
        const string Waiting = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        await Until.SoAsync("all is copied", async () => (long)(await PostgresServer.ScalarAsync(copy, Waiting))! == 0);

        await PostgresServer.ExecuteAsync(copy, $"DROP SUBSCRIPTION {slot}");
    }
}
