using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// A database whose schema is not what the migrations make is refused, and what differs is named; partitions are not
/// that.
/// </summary>
[Trait("Firm ground", "11")]
public sealed class PostgresSchemaTests(PostgresServer server)
{
    private const string Quiet =
        "CREATE FUNCTION other.quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';";

    [Theory]
    [InlineData("CREATE TRIGGER quiet BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION other.quiet()",
        "trigger quiet of audit is not Coffer's")]
    [InlineData("CREATE TRIGGER quiet AFTER DELETE ON revocations EXECUTE FUNCTION other.quiet()",
        "trigger quiet of revocations is not Coffer's")]
    [InlineData("CREATE RULE quiet AS ON INSERT TO revocations DO INSTEAD NOTHING",
        "rule quiet of revocations is not Coffer's")]
    [InlineData("CREATE POLICY mine ON secrets USING (false)", "policy mine of secrets is not Coffer's")]
    [InlineData("ALTER TABLE secrets ENABLE ROW LEVEL SECURITY", "table secrets is 'under row security'")]
    [InlineData("CREATE VIEW looking AS SELECT 1", "view looking is not Coffer's")]
    [InlineData("CREATE MATERIALIZED VIEW looking AS SELECT 1", "materialized view looking is not Coffer's")]
    [InlineData("ALTER TABLE audit RENAME TO hidden; CREATE VIEW audit AS SELECT * FROM hidden WHERE false",
        "table audit is missing")]
    [InlineData("CREATE FUNCTION length(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function length(text) is not Coffer's")]
    [InlineData("CREATE FUNCTION other.always(bytea, bytea) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE "
        + "OPERATOR === (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = other.always)",
        "operator ===(bytea,bytea) is not Coffer's")]
    [InlineData("DROP INDEX secrets_by_id", "index secrets_by_id of secrets is missing")]
    [InlineData("DROP INDEX secrets_by_id; CREATE INDEX secrets_by_id ON secrets (tenant, scope, id, expires_at)",
        "index secrets_by_id of secrets is 'USING btree")]
    [InlineData("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tenants_by_account'::regclass",
        "tenants_by_account of tenants is 'USING btree (app, account), not valid'")]
    [InlineData("CREATE UNIQUE INDEX one ON audit (node)", "index one of audit is not Coffer's")]
    [InlineData("ALTER TABLE audit DROP CONSTRAINT audit_node_first_key",
        "constraint UNIQUE (node, first) of audit is missing")]
    [InlineData("ALTER TABLE secrets DROP CONSTRAINT secrets_tenant_fkey",
        "constraint FOREIGN KEY (tenant) REFERENCES tenants(id) of secrets is missing")]
    [InlineData("ALTER TABLE secrets DISABLE TRIGGER ALL",
        "switched off check secrets_tenant_fkey of secrets is not Coffer's")]
    [InlineData("ALTER TABLE meta ADD CHECK (length(value) < 10) NOT VALID", "of meta is not Coffer's")]
    [InlineData("ALTER TABLE secrets ADD COLUMN note text", "column secrets.note is not Coffer's")]
    [InlineData("ALTER TABLE secrets ADD COLUMN twice bigint GENERATED ALWAYS AS (version * 2) STORED",
        "column secrets.twice is not Coffer's")]
    [InlineData("ALTER TABLE api_keys DROP COLUMN addresses", "column api_keys.addresses is missing")]
    [InlineData("ALTER TABLE revocations ALTER made_until SET DEFAULT 0",
        "column revocations.made_until is 'bigint NOT NULL DEFAULT")]
    [InlineData("ALTER TABLE revocations ALTER kept_until DROP NOT NULL",
        "column revocations.kept_until is 'bigint NULL'")]
    [InlineData("ALTER TABLE apps ALTER name TYPE varchar(9)", "column apps.name is 'character varying(9)")]
    [InlineData("ALTER TABLE apps ALTER name TYPE text COLLATE \"ucs_basic\"",
        "column apps.name is 'text COLLATE ucs_basic")]
    [InlineData("ALTER TABLE replies SET UNLOGGED", "table replies is 'unlogged'")]
    [InlineData("ALTER SEQUENCE audit_row_seq INCREMENT BY -1 MINVALUE -9 CYCLE",
        "sequence of audit.row is 'bigint from -9 to")]
    [InlineData("CREATE TABLE heir () INHERITS (meta)", "table heir that inherits the columns of meta is not Coffer's")]
    [InlineData("CREATE TABLE other.theirs (app text COLLATE \"C\" REFERENCES apps (id) ON DELETE CASCADE)",
        "foreign key of another table (other.theirs theirs_app_fkey)")]
    [InlineData("DROP TABLE revocations", "table revocations is missing")]
    public async Task What_was_changed_stops_the_start_by_its_name(string sql, string named)
    {
        var store = await NewStoreAsync();
        await PostgresServer.ExecuteAsync(store, $"CREATE SCHEMA other; {Quiet} {sql}");
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
        Assert.Contains("Nothing was changed", refused.Hint, StringComparison.Ordinal);
        await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenSnapshotAsync(store, default));
    }

    [Theory]
    [InlineData("CREATE TRIGGER quiet BEFORE INSERT ON secrets_3 FOR EACH ROW EXECUTE FUNCTION other.quiet()",
        "trigger quiet of secrets_3 is not Coffer's")]
    [InlineData("CREATE RULE quiet AS ON DELETE TO idempotency_0 DO INSTEAD NOTHING",
        "rule quiet of idempotency_0 is not Coffer's")]
    [InlineData("CREATE POLICY mine ON secrets_1 USING (false)", "policy mine of secrets_1 is not Coffer's")]
    [InlineData("ALTER TABLE secrets_15 SET UNLOGGED", "partition secrets_15 is 'unlogged'")]
    [InlineData("ALTER TABLE secrets_2 ALTER version SET DEFAULT 9",
        "column secrets_2.version is 'bigint NOT NULL DEFAULT")]
    [InlineData("ALTER TABLE secrets_2 ADD CHECK (version < 5)", "of secrets_2 is not Coffer's")]
    [InlineData("CREATE UNIQUE INDEX one ON secrets_2 (tenant)", "of secrets_2 is not Coffer's")]
    [InlineData("ALTER TABLE secrets DETACH PARTITION secrets_4", "cover of secrets is 'with partitions missing'")]
    [InlineData("ALTER TABLE secrets ADD COLUMN note text", "column secrets.note is not Coffer's")]
    public async Task Each_partition_is_held_against_its_table(string sql, string named)
    {
        var store = await NewStoreAsync();
        await Partitions.MakeAsync(store);
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await PostgresServer.ExecuteAsync(store, $"CREATE SCHEMA other; {Quiet} {sql}");
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Grants_statistics_publications_storage_extensions_and_tables_of_others_do_not_count()
    {
        var store = await NewStoreAsync();
        await PostgresServer.ExecuteAsync(store, """
            GRANT SELECT ON secrets TO PUBLIC;
            CREATE STATISTICS more ON app, account FROM tenants;
            CREATE PUBLICATION all_of_it FOR TABLE secrets;
            ALTER TABLE secrets SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
            ALTER TABLE secrets ALTER sealed SET STORAGE MAIN;
            ALTER INDEX secrets_by_id SET (fillfactor = 60);
            ALTER TABLE secrets REPLICA IDENTITY FULL;
            CREATE TABLE theirs (id bigint PRIMARY KEY, x text);
            COMMENT ON TABLE secrets IS 'ours';
            """);
        if (await PostgresServer
            .ScalarAsync(store, "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'") is not null)
            await PostgresServer
                .ExecuteAsync(store, "CREATE EXTENSION pg_stat_statements"); // it brings a view and functions
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
    }

    [Fact]
    public async Task A_role_that_reads_and_writes_rows_only_can_start()
    {
        var store = await NewStoreAsync();
        var role = $"rows_{Guid.NewGuid():n}";
        await PostgresServer.ExecuteAsync(store, $"""
            CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA public TO {role};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            REVOKE TEMPORARY ON DATABASE {new NpgsqlConnectionStringBuilder(store).Database} FROM PUBLIC
            """);
        var limited = new NpgsqlConnectionStringBuilder(store) { Username = role }.ConnectionString;
        (await PostgresEngine.OpenAsync(limited, default)).Dispose();
    }

    [Fact]
    public async Task An_earlier_schema_that_was_changed_stays_as_it_is()
    {
        var store = await NewStoreAsync();
        await PostgresServer
            .ExecuteAsync(store,
            "UPDATE coffer_schema SET version = 2; DROP TABLE receipts; CREATE RULE quiet AS ON INSERT TO meta DO "
            + "INSTEAD NOTHING");
        Assert.Contains("rule quiet of meta",
            (await Assert.ThrowsAsync<ConfigurationException>(() => PostgresEngine.OpenAsync(store, default))).Message,
            StringComparison.Ordinal);
        Assert.Equal(2L, await PostgresServer.ScalarAsync(store, "SELECT version FROM coffer_schema"));
    }

    private async Task<string> NewStoreAsync()
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        return store;
    }
}
