using System.Security.Cryptography;
using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>That nothing of a tenant's keys is left in the store's files once the engine says so.</summary>
[Trait("Firm ground", "10")]
public sealed class EraseTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;
    private readonly Dictionary<string, byte[]> keys = [];
    private readonly List<byte[]> gone = [];

    public EraseTests()
    {
        engine = SqliteEngine.Open(StoreFile);
        Write(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_own", 1)));
    }

    private string StoreFile => directory.File("coffer.db");

    [Fact]
    public async Task Copies_that_SQLite_leaves_in_unused_parts_of_pages_are_overwritten_too()
    {
        // What moves a row to another page leaves its bytes behind, whatever secure_delete says: seldom, so there is
        // much moving.
        var left = 0;
        for (var round = 0; round < 30 || (left == 0 && round < 300); round++)
        {
            Add(100);
            await ShredAsync(70);
            left += InFiles(emptied: true);
        }

        Assert.True(left > 0, "nothing was left behind: the test proves nothing");
        Assert.True(await engine.EraseAsync(default));
        Assert.Equal(0, InFiles(emptied: false));
        await RequireWholeAsync();
    }

    [Fact]
    public async Task When_the_last_tenant_goes_nothing_is_left_either()
    {
        for (var round = 0; round < 5; round++)
        {
            Add(60);
            await ShredAsync(60);
            Assert.True(await engine.EraseAsync(default));
            Assert.Equal(0, InFiles(emptied: false));
        }

        Add(1);
        await RequireWholeAsync();
    }

    [Fact]
    public async Task Beside_writers_and_readers_it_comes_to_an_end_and_nobody_fails()
    {
        using var stop = new CancellationTokenSource();
        Add(50);
        var kept = keys.Keys.First();
        var reading = Enumerable.Range(0, 2).Select(_ => Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
                Assert.NotNull(await engine.FindTenantAsync(Id(kept), default));
        })).ToList();
        for (var round = 0; round < 10; round++)
        {
            await ShredAsync(2, except: kept);
            var isErased = false;
            for (var tries = 0; tries < 100 && !isErased; tries++)
            {
                isErased = await engine.EraseAsync(default);
                Add(1);
            }

            Assert.True(isErased);
        }

        await stop.CancelAsync();
        await Task.WhenAll(reading);
        Assert.True(await engine.EraseAsync(default));
        Assert.Equal(0, InFiles(emptied: false));
        await RequireWholeAsync();
    }

    [Fact]
    public async Task While_an_old_state_is_read_it_is_not_erased()
    {
        Add(3);
        using (var reader = new SqliteSession(StoreFile))
        {
            reader.Run("BEGIN");
            reader.Scalar("SELECT count(*) FROM tenants");
            await ShredAsync(2);
            Assert.False(await engine.EraseAsync(default));
            Assert.Equal(2, InFiles(emptied: false));
        }

        Assert.True(await engine.EraseAsync(default));
        Assert.Equal(0, InFiles(emptied: false));
    }

    public void Dispose()
    {
        engine.Dispose();
        directory.Dispose();
    }

    private void Add(int count)
    {
        for (var i = 0; i < count; i++)
        {
            var account = $"acct_{RandomNumberGenerator.GetHexString(16)}";
            keys.Add(account, RandomNumberGenerator.GetBytes(150 + RandomNumberGenerator.GetInt32(300)));
            Write(new RowWrite.AddTenant(Id(account), 1, keys[account]));
        }
    }

    private async Task ShredAsync(int count, string? except = null)
    {
        string[] accounts = [.. keys.Keys.Where(account => account != except)];
        RandomNumberGenerator.Shuffle<string>(accounts);
        foreach (var account in accounts.Take(count))
        {
            var row = (await engine.FindTenantAsync(Id(account), default))!;
            Write(new RowWrite.ShredTenant(row.Id, Id(account)));
            gone.Add(keys[account]);
            keys.Remove(account);
        }
    }

    /// <summary>How many keys of shredded tenants are somewhere in the files.</summary>
    private int InFiles(bool emptied)
    {
        if (emptied)
        {
            using var session = new SqliteSession(StoreFile);
            Assert.Equal(0, session.Scalar("PRAGMA wal_checkpoint(TRUNCATE)"));
        }

        byte[] content = [.. Read(StoreFile), .. Read(StoreFile + "-wal")];
        return gone.Count(key => content.AsSpan().IndexOf(key.AsSpan(0, 64)) >= 0);

        static byte[] Read(string file)
        {
            using var stream =
                new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
    }

    private async Task RequireWholeAsync()
    {
        foreach (var (account, sealedKeys) in keys)
            Assert.Equal(sealedKeys, (await engine.FindTenantAsync(Id(account), default))!.SealedKeys);
        using var connection = StoreEdits.Connect(StoreFile);
        using var check = connection.CreateCommand();
        check.CommandText = "PRAGMA integrity_check";
        Assert.Equal("ok", check.ExecuteScalar());
    }

    private static TenantId Id(string account) => new("app_1", Livemode: false, account);

    private void Write(RowWrite row) => engine.Write([new Change.Plain(row)], _ => null);
}
