using System.Diagnostics;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Coffer.Tests.Support;
using Coffer.Transfer;

namespace Coffer.Tests.Migrations;

/// <summary>A store that was migrated is closed, and says where it went.</summary>
[Trait("Firm edges", "21")]
public sealed class MovedTests(PostgresServer postgres) : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task No_server_starts_on_it_and_nothing_is_made_of_it(bool ofDatabase)
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client().Set("k", "payload")).IsOk();
        await server.StopAsync();
        var from = server.Location;
        if (ofDatabase)
        {
            var database = new StoreLocation(directory.NewPath(), await postgres.NewDatabaseAsync());
            Assert.True((await MigrateAsync(from, database)).IsFinished);
            from = database;
        }

        var to = new StoreLocation(directory.NewPath(), null);
        Assert.True(await MigrateAsync(from, to) is { IsFinished: true, Open: null });
        await IsClosedAsync(() => StartAsync(server, from), to);
        await IsClosedAsync(() => MigrateAsync(from, new(directory.NewPath(), null)), to);
        await IsClosedAsync(() => BackupFiles.WriteAsync(from, _ => throw new InvalidOperationException(),
            directory.NewPath(), null, directory.NewPath(), static _ => { }, 1, default), to);
        await Assert.ThrowsAsync<ConfigurationException>(() => MigrateAsync(from, to)); // it is a store by now
        // It may be read until it is destroyed.
        Assert.Empty((await AuditArchive.VerifyStoreAsync(from, null, default)).Problems);

        await using (var moved = await StartAsync(server, to))
            Assert.NotNull(moved);
        var back = new StoreLocation(directory.NewPath(), null);
        Assert.True((await MigrateAsync(to, back)).IsFinished);
        await using (var again = await StartAsync(server, back))
            Assert.NotNull(again);
    }

    [Fact]
    public async Task One_whose_migration_was_interrupted_after_it_was_closed_is_finished_into_the_same_place()
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var (from, to) = (server.Location, new StoreLocation(directory.NewPath(), null));
        Assert.True((await MigrateAsync(from, to)).IsFinished);
        // As if it had ended right before its last write.
        using (var tables = SqliteTables.Open(Path.Combine(to.Data, "coffer.db")))
            tables.Write(MetaRow.Table, [], [["migration", tables.Meta("store id")]]);
        Assert.True(await MigrateAsync(from, to) is { IsFinished: true, Open: null });
        await IsClosedAsync(() => StartAsync(server, from), to);
        await using var moved = await StartAsync(server, to);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_start_that_waited_while_it_was_migrated_is_refused_too(bool ofDatabase)
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var from = server.Location;
        if (ofDatabase)
        {
            var database = new StoreLocation(directory.NewPath(), await postgres.NewDatabaseAsync());
            Assert.True((await MigrateAsync(from, database)).IsFinished);
            from = database;
        }

        using var opened = new Parts();
        var options = new CofferOptions { Data = from.Data, Store = from.Store, Listen = "http://127.0.0.1:0" };
        var storage = await StorageParts.OpenAsync(options, opened, default);
        using (var tables = await BackupFiles.OpenAsync(from, default))
            tables.Write(MetaRow.Table, [], [[Instance.MovedMetaKey, "2026-01-01 to elsewhere"u8.ToArray()]]);
        for (var tries = 0; tries < 2; tries++) // the first holds nobody up
        {
            var refused = await Assert.ThrowsAsync<ConfigurationException>(
                () => storage.JoinAsync(null, default).WaitAsync(TimeSpan.FromSeconds(10)));
            Assert.Contains("elsewhere", refused.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_first_run_beside_a_server_closes_nothing()
    {
        await using var server = await TestServer.StartAsync();
        var to = new StoreLocation(directory.NewPath(), null);
        Assert.True(await MigrateAsync(server.Location, to) is { IsFinished: false, Problems.Count: 0 });
        (await server.Client().Set("k", "payload")).IsOk();
        await server.StopAsync();
        await server.StartAgainAsync();
    }

    [Theory]
    [Trait("Firm edges", "12")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_was_written_since_the_source_was_copied_is_never_left_out_of_the_target(bool isLocked)
    {
        await using var server = await TestServer.StartAsync();
        (await server.Client().Set("k", "before")).IsOk();
        await server.StopAsync();
        using var view = ReadOnlyView.Of(server.Data);
        var (from, to) = (new StoreLocation(view.Path, null), new StoreLocation(directory.NewPath(), null));
        // A server that may write there, and ends once it has; or one that no lock shows.
        using var held = isLocked ? DataDirectory.Open(server.Data) : null;
        var isWritten = false;
        var report = await StoreCopy.RunAsync(from, to, _ =>
        {
            if (!isWritten)
                server.Execute("INSERT INTO meta (key, value) VALUES ('late', x'01')");
            isWritten = true;
            held?.Dispose();
        }, TimeProvider.System, default);
        Assert.True(report is { IsFinished: false, Problems.Count: 0 });

        Assert.True(await MigrateAsync(from, to) is { IsFinished: true, Open: "it cannot be written where it is" });
        using var tables = SqliteTables.Open(Path.Combine(to.Data, "coffer.db"));
        Assert.Equal([1], tables.Meta("late"));
    }

    [Fact]
    public void Rows_of_a_long_log_are_put_without_reading_it_for_each()
    {
        var file = Path.Combine(directory.Path, "long.db");
        using var tables = SqliteTables.Open(file);
        using (var session = new SqliteSession(file))
        {
            session.Execute("""
                INSERT INTO audit (row, node, first, last, mac, entries)
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                SELECT i, 'node_1', i, i, zeroblob(32), zeroblob(2000) FROM n
                """);
        }

        var began = Stopwatch.GetTimestamp();
        tables.Write(AuditRow.Table, [], [.. Enumerable.Range(20_001, 500).Select(i =>
            (object?[])["node_1", (long)i, (long)i, new byte[32], new byte[2_000], null, (long)i])]);
        // Each would read 40 MB.
        Assert.InRange(Stopwatch.GetElapsedTime(began), TimeSpan.Zero, TimeSpan.FromSeconds(2));
        Assert.Equal(20_500, tables.Count(AuditRow.Table));
    }

    private static Task<StoreCopy.CopyReport> MigrateAsync(StoreLocation from, StoreLocation to) =>
        StoreCopy.RunAsync(from, to, static _ => { }, TimeProvider.System, default);

    private static Task<Server> StartAsync(TestServer before, StoreLocation place) => Server.StartAsync(
        new CofferOptions { Data = place.Data, Store = place.Store, Listen = "http://127.0.0.1:0", RatePerKey = 0 },
        before.Time, default);

    private static async Task IsClosedAsync(Func<Task> use, StoreLocation where)
    {
        var refused = await Assert.ThrowsAsync<ConfigurationException>(use);
        Assert.Contains("this store was migrated on ", refused.Message, StringComparison.Ordinal);
        Assert.Contains($" to {where.Shown}, and is closed", refused.Message, StringComparison.Ordinal);
        Assert.Contains("migrate it into an empty directory", refused.Hint, StringComparison.Ordinal);
    }
}
