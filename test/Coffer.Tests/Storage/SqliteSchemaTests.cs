using System.Text.RegularExpressions;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>A file whose schema is not what the migrations make is refused, and what differs is named.</summary>
[Trait("Firm ground", "11")]
public sealed class SqliteSchemaTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    private string StoreFile => directory.File("coffer.db");

    public SqliteSchemaTests() => SqliteEngine.Open(StoreFile).Dispose();

    [Theory]
    [InlineData("PRAGMA application_id = 0; PRAGMA user_version = 0", "has Coffer's tables but not its marks")]
    [InlineData("PRAGMA application_id = 0", "has Coffer's tables but not its marks")]
    [InlineData("PRAGMA application_id = 0; PRAGMA user_version = 0; DROP TABLE tenants", "of another program")]
    [Trait("Reports from the field", "R2-22")]
    public void A_store_without_its_marks_as_after_dump_is_refused_for_what_it_is(string sql, string named)
    {
        Execute(sql);
        var refused = Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
        if (!refused.Hint!.Contains("PRAGMA", StringComparison.Ordinal))
            return;
        // What it says helps.
        Execute(Regex.Match(refused.Hint, "PRAGMA application_id = [0-9]+;").Value
            + $" PRAGMA user_version = {Coffer.Storage.Migrations.Of("sqlite").Count}");
        SqliteEngine.Open(StoreFile).Dispose();
    }

    [Theory]
    [InlineData("CREATE TRIGGER quiet BEFORE INSERT ON audit BEGIN SELECT RAISE(IGNORE); END",
        "trigger quiet of audit is not Coffer's")]
    [InlineData("CREATE TRIGGER quiet BEFORE INSERT ON revocations BEGIN SELECT RAISE(IGNORE); END",
        "trigger quiet of revocations is not")]
    [InlineData("CREATE TRIGGER quiet AFTER UPDATE ON secrets BEGIN DELETE FROM audit; END",
        "trigger quiet of secrets is not Coffer's")]
    [InlineData("CREATE TABLE t (x); CREATE TRIGGER quiet AFTER INSERT ON t BEGIN DELETE FROM audit; END",
        "trigger quiet of t is not Coffer's")]
    [InlineData("CREATE VIEW looking AS SELECT * FROM audit", "view looking is not Coffer's")]
    [InlineData("ALTER TABLE audit RENAME TO hidden; CREATE VIEW audit AS SELECT * FROM hidden WHERE 0",
        "table audit is missing")]
    [InlineData("CREATE VIRTUAL TABLE found USING fts5(x)", "virtual table found is not Coffer's")]
    [InlineData("DROP INDEX secrets_by_id", "index secrets_by_id of secrets is missing")]
    [InlineData("DROP INDEX secrets_by_id; CREATE INDEX secrets_by_id ON secrets (tenant, scope, id, expires_at)",
        "index secrets_by_id of secrets is 'CREATE INDEX")]
    [InlineData("CREATE UNIQUE INDEX one ON audit (node)", "index one of audit is not Coffer's")]
    [InlineData("ALTER TABLE secrets ADD COLUMN note TEXT", "column secrets.note is not Coffer's")]
    [InlineData("ALTER TABLE secrets ADD COLUMN twice INTEGER GENERATED ALWAYS AS (version * 2) VIRTUAL",
        "column secrets.twice is not Coffer's")]
    [InlineData("ALTER TABLE api_keys DROP COLUMN addresses", "column api_keys.addresses is missing")]
    [InlineData("ALTER TABLE replies RENAME COLUMN owner TO whose", "column replies.owner is missing")]
    [InlineData("DROP TABLE revocations", "table revocations is missing")]
    [InlineData("CREATE TABLE t (tenant INTEGER REFERENCES tenants (id))",
        "foreign key (tenant) to tenants (id), NO ACTION, NO ACTION of t")]
    public void What_was_changed_stops_the_start_by_its_name(string sql, string named)
    {
        Execute(sql);
        var before = File.ReadAllBytes(StoreFile);
        var refused = Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile));
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
        Assert.Contains(StoreFile, refused.Message, StringComparison.Ordinal);
        Assert.Contains("Nothing was changed", refused.Hint, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(StoreFile));
    }

    [Theory]
    [InlineData("revocations", "kept_until INTEGER NOT NULL", "kept_until INTEGER NULL",
        "column revocations.kept_until is 'INTEGER NULL'")]
    [InlineData("revocations", "kept_until INTEGER NOT NULL", "kept_until INTEGER NOT NULL DEFAULT 0",
        "column revocations.kept_until is 'INTEGER NOT NULL DEFAULT 0'")]
    [InlineData("revocations", "kept_until INTEGER NOT NULL", "kept_until TEXT NOT NULL",
        "column revocations.kept_until is 'TEXT NOT NULL'")]
    [InlineData("root_keys", "created INTEGER NOT NULL", "created INTEGER NOT NULL CHECK (created < 5)",
        "table root_keys is not defined as")]
    [InlineData("meta", "TEXT NOT NULL PRIMARY KEY", "TEXT COLLATE NOCASE NOT NULL PRIMARY KEY",
        "table meta is not defined as")]
    [InlineData("idempotency", "INTEGER NOT NULL REFERENCES tenants (id)",
        "INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE", "foreign key")]
    [InlineData("idempotency", "UNIQUE (tenant, key)", "UNIQUE (tenant, key) ON CONFLICT IGNORE",
        "table idempotency is not defined as")]
    [InlineData("idempotency", ",\n    UNIQUE (tenant, key)", "",
        "index sqlite_autoindex_idempotency_1 of idempotency is missing")]
    public void A_table_that_was_made_in_another_way_is_named(string table, string was, string becomes, string named)
    {
        var definition = (string)Execute($"SELECT sql FROM sqlite_master WHERE name = '{table}'")!;
        Assert.Contains(was, definition, StringComparison.Ordinal);
        Execute($"DROP TABLE {table}; {definition.Replace(was, becomes, StringComparison.Ordinal)}");
        Assert.Contains(named, Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_schema_of_Coffers_is_left_alone()
    {
        Execute("ANALYZE; VACUUM; CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER); CREATE INDEX "
            + "theirs ON _litestream_seq (seq)");
        SqliteEngine.Open(StoreFile).Dispose();
        Assert.Equal(1L, Execute("SELECT count(*) FROM sqlite_master WHERE name = '_litestream_seq'"));
    }

    [Fact]
    public void How_a_definition_is_written_does_not_count()
    {
        var definition = (string)Execute("SELECT sql FROM sqlite_master WHERE name = 'root_keys'")!;
        var other = definition.Replace("\n", " -- a comment\n\t /* and more */ ", StringComparison.Ordinal);
        Execute($"DROP TABLE root_keys; {other}");
        SqliteEngine.Open(StoreFile).Dispose();
        Assert.Equal("CREATE TABLE t(a TEXT,b TEXT DEFAULT '  -- x')",
            SqliteSchema.Plain("CREATE TABLE t (\n a  TEXT, -- first\n b TEXT DEFAULT '  -- x' )"));
    }

    [Fact]
    public void A_store_of_an_earlier_schema_that_was_changed_stays_as_it_is()
    {
        File.Copy(Repository.File("test/fixtures/sqlite-2/store.db"), StoreFile, overwrite: true);
        Execute("CREATE TRIGGER quiet BEFORE INSERT ON audit BEGIN SELECT RAISE(IGNORE); END");
        Assert.Contains("trigger quiet",
            Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile)).Message,
            StringComparison.Ordinal);
        Assert.Equal(2L, Execute("PRAGMA user_version"));
        Assert.Equal(0L, Execute("SELECT count(*) FROM sqlite_master WHERE name = 'receipts'"));
    }

    public void Dispose() => directory.Dispose();

    private object? Execute(string sql)
    {
        using var connection = StoreEdits.Connect(StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
