using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>A state that is read often is held: nobody sees less for it, and nothing waits for it.</summary>
[Trait("Fast", "1")]
public sealed class ReadMarkTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;
    private readonly Committer committer;

    public ReadMarkTests()
    {
        engine = SqliteEngine.Open(StoreFile);
        committer = new Committer(engine, 1_000, new Committer.Chain(_ => null, () => { }));
    }

    private string StoreFile => directory.File("coffer.db");

    [Fact]
    public async Task It_is_held_from_the_sixteenth_read_on_until_the_next_commit()
    {
        await PutAsync(1);
        await ReadAsync(SqliteReadMark.Often - 1);
        Assert.False(IsHeld());
        await PutAsync(2);
        await ReadAsync(SqliteReadMark.Often);
        Assert.True(IsHeld());
        await PutAsync(3);
        Assert.False(IsHeld());
    }

    [Fact]
    public async Task Every_read_sees_the_last_commit()
    {
        for (var number = 1; number <= 200; number++)
        {
            await PutAsync(number);
            for (var read = 0; read < 2 * SqliteReadMark.Often; read++)
                Assert.Equal(number, await ReadAsync(1));
        }
    }

    [Fact]
    public async Task The_log_begins_again_however_often_the_store_is_read()
    {
        using var stop = new CancellationTokenSource();
        await PutAsync(0);
        var reading = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                await ReadAsync(4 * SqliteReadMark.Often);
                await Task.Delay(1, CancellationToken.None);
            }
        }, CancellationToken.None);
        // 60 MB of pages in all; SQLite copies them into the file once there are 4 MB.
        for (var number = 1; number <= 5_000; number++)
            await PutAsync(number);
        await stop.CancelAsync();
        await reading;
        Assert.InRange(new FileInfo($"{StoreFile}-wal").Length, 1, 12 * 1024 * 1024);
    }

    [Fact]
    public async Task What_empties_the_log_finds_nobody_in_its_way()
    {
        await PutAsync(1);
        await ReadAsync(2 * SqliteReadMark.Often);
        Assert.True(IsHeld());
        Assert.True(await engine.EraseAsync(TestContext.Current.CancellationToken));
    }

    public void Dispose()
    {
        committer.Dispose();
        engine.Dispose();
        directory.Dispose();
    }

    private Task PutAsync(int number) => committer.CommitAsync(
        new Change.Plain(new RowWrite.PutApp(new AppRow("app_1", $"{number}", "acct_own", number))));

    // The last number that was put.
    private async Task<long> ReadAsync(int times)
    {
        AppRow? found = null;
        for (var read = 0; read < times; read++)
            found = await engine.FindAsync(AppRow.ById, CancellationToken.None, "app_1");
        return long.Parse(found!.Name);
    }

    // Of a state that is held for reading, the log cannot be emptied.
    private bool IsHeld()
    {
        using var session = new SqliteSession(StoreFile);
        session.Execute("PRAGMA busy_timeout = 0");
        using var row = session.Query("PRAGMA wal_checkpoint(RESTART)");
        return row.Read() && row.Number(0) == 1;
    }
}
