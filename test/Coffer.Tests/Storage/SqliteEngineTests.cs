using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

public sealed class SqliteEngineContract : EngineContract
{
    private readonly TemporaryDirectory directory = new();

    private protected override Task<Engine> OpenAsync() =>
        Task.FromResult<Engine>(SqliteEngine.Open(directory.File("coffer.db")));

    private protected override ValueTask CloseAsync()
    {
        directory.Dispose();
        return ValueTask.CompletedTask;
    }
}

public sealed class SqliteEngineTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    private string StoreFile => directory.File("coffer.db");

    [Fact]
    public void Commits_are_synced_to_a_write_ahead_log()
    {
        SqliteEngine.Open(StoreFile).Dispose();
        using var session = new SqliteSession(StoreFile);
        Assert.Equal(2, session.Scalar("PRAGMA synchronous")); // FULL
        using var mode = session.Query("PRAGMA journal_mode");
        Assert.True(mode.Read());
        Assert.Equal("wal", mode.Text(0));
    }

    [Fact]
    public void A_store_of_a_newer_schema_is_refused_and_left_alone()
    {
        SqliteEngine.Open(StoreFile).Dispose();
        Execute("PRAGMA user_version = 999");
        var before = File.ReadAllBytes(StoreFile);
        var refused = Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile));
        Assert.Contains(
            $"newer Coffer (schema 999; this program knows {Coffer.Storage.Migrations.Of("sqlite").Count})",
            refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(StoreFile));
    }

    [Fact]
    public void Another_programs_database_is_refused_and_left_alone()
    {
        Execute("CREATE TABLE theirs (x)");
        var before = File.ReadAllBytes(StoreFile);
        Assert.Contains(
            "another program", Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile)).Message,
            StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(StoreFile));
    }

    [Fact]
    public void A_file_that_is_no_database_is_refused_and_left_alone()
    {
        File.WriteAllText(StoreFile,
            "this is not a database, and it is long enough to be looked at by SQLite as one: " + new string('x', 4096));
        var before = File.ReadAllBytes(StoreFile);
        Assert.Throws<ConfigurationException>(() => SqliteEngine.Open(StoreFile));
        Assert.Equal(before, File.ReadAllBytes(StoreFile));
    }

    [Fact]
    public void Migrations_run_once()
    {
        SqliteEngine.Open(StoreFile).Dispose();
        SqliteEngine.Open(StoreFile).Dispose();
        using var session = new SqliteSession(StoreFile);
        Assert.Equal(Coffer.Storage.Migrations.Of("sqlite").Count, session.Scalar("PRAGMA user_version"));
    }

    [Fact]
    public void One_process_holds_a_data_directory()
    {
        using var first = DataDirectory.Open(directory.Path);
        Assert.Contains(
            "another process", Assert.Throws<ConfigurationException>(() => DataDirectory.Open(directory.Path)).Message,
            StringComparison.Ordinal);
        first.Dispose();
        DataDirectory.Open(directory.Path).Dispose();
    }

    public void Dispose() => directory.Dispose();

    private void Execute(string sql)
    {
        using var connection = StoreEdits.Connect(StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
