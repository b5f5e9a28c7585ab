using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>
/// A store that is taken away, replaced or overwritten while it is served ("Firm edges", 10), and a second process that
/// writes it where no lock keeps it away (9).
/// </summary>
public sealed class SqliteGuardTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();

    private string StoreFile => directory.File("coffer.db");

    [Theory]
    [Trait("Firm edges", "10")]
    [InlineData("coffer.db", false, "was removed")]
    [InlineData("coffer.db", true, "was replaced by another file")]
    [InlineData("coffer.db-wal", false, "was removed")]
    [InlineData("coffer.db-wal", true, "was replaced by another file")]
    [InlineData("coffer.db-shm", false, "was removed")]
    public async Task A_store_that_is_not_under_its_name_any_more_answers_nothing(
        string name, bool isReplaced, string trouble)
    {
        await using var server = await TestServer.StartAsync();
        var client = server.Client();
        (await client.Set("k")).IsOk();
        await ReadyAsync(server, 200, "\"storage\":\"ok\"");
        var (file, away) = (Path.Combine(server.Data, name), directory.File("away"));
        File.Copy(file, directory.File("copy"));
        File.Move(file, away);
        if (isReplaced)
            File.Copy(directory.File("copy"), file);

        (await client.Set("k", "lost")).IsError(503, null, null, type: "api_error");
        Assert.Equal(503, (await client.Find("k")).Status); // without its payload
        await ReadyAsync(server, 503, trouble);

        // Put back, it is the store that it was, and nothing was lost.
        File.Move(away, file, overwrite: true);
        (await client.Set("k", "kept")).IsOk();
        await ReadyAsync(server, 200, "\"storage\":\"ok\"");
    }

    [Fact]
    [Trait("Firm edges", "10")]
    public async Task A_directory_that_is_moved_away_is_noticed_too()
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client().Set("k")).IsOk();
        var away = directory.File("away");
        Directory.Move(server.Data, away);
        try
        {
            while ((await server.Client().Find("k")).Status != 503) // without its payload, so nothing is written
                await Task.Delay(1, TestContext.Current.CancellationToken);
            Assert.Equal(503, (await server.Client().Set("k")).Status);
            await ReadyAsync(server, 503, "was removed");
        }
        finally
        {
            Directory.Move(away, server.Data); // which is removed with the server
        }

        (await server.Client().Set("k")).IsOk();
    }

    [Fact]
    [Trait("Firm edges", "10")]
    public async Task An_older_copy_that_is_written_over_the_store_is_noticed_and_refused_at_the_next_start()
    {
        await using var server = await TestServer.StartAsync();
        var client = server.Client();
        (await client.Set("k", "old")).IsOk();
        await server.StopAsync(); // what it had in its log is in the file
        File.Copy(server.StoreFile, directory.File("copy"));
        await server.StartAgainAsync();
        (await client.Set("k", "new")).IsOk();
        await server.StopAsync();
        await server.StartAgainAsync();

        await OverwriteAsync(server.StoreFile, directory.File("copy"));
        (await client.Set("k", "newer")).IsError(503, null, null, type: "api_error");
        Assert.Equal(503, (await client.Find("k")).Status);
        await ReadyAsync(server, 503, "was written by another program");
        Assert.Equal(503, (await client.Set("k", "newer")).Status); // however often
        await server.StopAsync();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => server.StartAgainAsync());
        Assert.Contains("older than its checkpoints", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "10")]
    public async Task An_older_copy_that_comes_through_SQLite_is_noticed_by_what_is_missing()
    {
        await using var server = await TestServer.StartAsync();
        var client = server.Client();
        (await client.Set("k", "old")).IsOk();
        using (var copy = Connect(directory.File("copy")))
        {
            using (var store = Connect(server.StoreFile))
                store.BackupDatabase(copy);
            (await client.Set("k", "new")).IsOk();
            using var over = Connect(server.StoreFile);
            copy.BackupDatabase(over);
        }

        (await client.Set("k", "newer")).IsError(503, null, null, type: "api_error");
        await ReadyAsync(server, 503, "the audit log of node_1 ends at entry");
        Assert.Equal(503, (await client.Find("k", null, ("expand[]", "payload"))).Status);
    }

    [Fact]
    [Trait("Firm edges", "10")]
    public async Task Who_reads_looks_writes_beside_or_has_the_log_written_into_the_file_is_no_trouble()
    {
        await using var server = await TestServer.StartAsync();
        var client = server.Client();
        for (var i = 0; i < 3; i++)
        {
            (await client.Set("k", $"{i}")).IsOk();
            using var beside = Connect(server.StoreFile);
            Execute(beside, "SELECT count(*) FROM audit");
            (await client.Set("k", $"{i}.")).IsOk();
            Execute(beside, "PRAGMA wal_checkpoint(PASSIVE)");
            (await client.Set("k", $"{i}..")).IsOk();
            Execute(beside, "PRAGMA wal_checkpoint(TRUNCATE)");
            (await client.Find("k")).IsOk();
            Execute(beside, "UPDATE meta SET value = value WHERE key = 'ready'; PRAGMA wal_checkpoint(FULL)");
            await ReadyAsync(server, 200, "\"storage\":\"ok\"");
        }
    }

    [Theory]
    [Trait("Firm edges", "9")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_two_that_write_one_store_one_goes_on_and_the_log_stays_one(bool isFirstQuick)
    {
        using var one = SqliteEngine.Open(StoreFile);
        var instance = await CreateAsync(one);
        using var two = SqliteEngine.Open(StoreFile);
        using var first = Writer(one, instance);
        using var second = Writer(two, instance);
        var (quick, quickEngine) = isFirstQuick ? (first, one) : (second, two);
        var (late, lateEngine) = isFirstQuick ? (second, two) : (first, one);
        await SetAsync(quick, "a");
        var refused = await Assert.ThrowsAsync<ApiError>(() => SetAsync(late, "b"));
        Assert.Equal(503, refused.Status);
        Assert.Contains("another process has written", Cause.Of(refused), StringComparison.Ordinal);
        await SetAsync(quick, "c");
        await Assert.ThrowsAsync<ApiError>(() => SetAsync(late, "d"));
        // What it has in memory is not what the other one did: it reads nothing either.
        await Assert.ThrowsAsync<ApiError>(async () => await lateEngine.FindMetaAsync("a", default));
        Assert.NotNull(await quickEngine.FindMetaAsync("c", default));
        Assert.Null(await quickEngine.FindMetaAsync("b", default));
    }

    [Fact]
    [Trait("Firm edges", "9")]
    public async Task A_commit_of_its_own_is_nobody_elses_however_the_pages_are_moved()
    {
        using var engine = SqliteEngine.Open(StoreFile);
        var instance = await CreateAsync(engine);
        using var writer = Writer(engine, instance);
        for (var i = 0; i < 3; i++)
        {
            await SetAsync(writer, $"k{i}");
            await engine.EraseAsync(default);
        }

        Assert.Equal(0, engine.ForeignCommits);
        using (var beside = Connect(StoreFile))
            Execute(beside, "DELETE FROM meta WHERE key = 'k0'");
        await SetAsync(writer, "k3");
        Assert.Equal(1, engine.ForeignCommits);
    }

    [Fact]
    [Trait("Firm edges", "9")]
    public async Task A_commit_of_another_is_noticed_whenever_it_comes_while_pages_are_moved()
    {
        using var engine = SqliteEngine.Open(StoreFile);
        var instance = await CreateAsync(engine);
        using var writer = Writer(engine, instance);
        using var beside = Connect(StoreFile);
        for (var round = 0; round < 60; round++)
        {
            await SetAsync(writer, $"k{round}");
            var before = engine.ForeignCommits;
            var erasing = Task.Run(() => engine.EraseAsync(default).AsTask());
            Thread.SpinWait(round * 1000);
            Execute(beside, $"UPDATE meta SET value = x'{round:X4}' WHERE key = 'k0'");
            await erasing;
            await SetAsync(writer, "seen");
            Assert.True(engine.ForeignCommits > before, $"the commit of round {round} was not noticed");
        }
    }

    [Fact]
    [Trait("Firm edges", "10")]
    public void What_was_committed_stays_so_where_the_store_cannot_be_looked_at_afterwards()
    {
        using var engine = SqliteEngine.Open(StoreFile);
        using var session = new SqliteSession(StoreFile);
        var guard = new SqliteGuard(StoreFile, session);
        session.Execute("BEGIN IMMEDIATE"); // meanwhile SQLite does not say how far its log has come
        guard.Remember();
        session.Execute("ROLLBACK");
        guard.Remember();
        Assert.Null(guard.FindBeforeCommit());
    }

    public void Dispose() => directory.Dispose();

    private async Task<Instance> CreateAsync(SqliteEngine engine)
    {
        KeyFile.Create(directory.File("coffer.key"), time.Now);
        var (instance, rows) = await Instance.CreateAsync(
            KeyWrappers.OfFile(directory.File("coffer.key")), time.Seconds, default);
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        await committer.CommitAsync(new Change.Plain([.. rows]));
        return instance;
    }

    private Committer Writer(SqliteEngine engine, Instance instance) => new(
        engine, 100, new AuditChain(AuditKeys.Of(instance), "node_1", null, time).InLoop(engine));

    private static Task SetAsync(Committer committer, string key) => committer.CommitAsync(
        new Change.Plain(new RowWrite.PutMeta(key, [1])) { Notes = [new AuditEntry("set", "ok")] });

    private static SqliteConnection Connect(string file)
    {
        var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        return connection;
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    // As cp does: the same file, with other content. Not by this process, which would lose SQLite's locks on it.
    private static async Task OverwriteAsync(string file, string copy)
    {
        using var cp = System.Diagnostics.Process.Start("cp", [copy, file]);
        await cp.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, cp.ExitCode);
    }

    private static async Task ReadyAsync(TestServer server, int status, string text)
    {
        server.Time.Move(Hosting.Readiness.Believed);
        var ready = await server.SendAsync(
            new HttpRequestMessage(HttpMethod.Get, new Uri("/readyz", UriKind.Relative)));
        Assert.Equal(status, ready.Status);
        Assert.Contains(text, ready.Text, StringComparison.Ordinal);
    }
}
