using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging;

namespace Coffer.Tests.Storage;

/// <summary>Somebody reads an old state of the store and never ends: the log comes to a bound, no further.</summary>
[Trait("Firm edges", "12")]
public sealed class LongReaderTests : IDisposable
{
    private const long Longest = 2 * 1024 * 1024;

    private readonly TemporaryDirectory directory = new();

    private string StoreFile => directory.File("coffer.db");

    [Fact]
    public async Task The_log_stays_below_its_bound_what_is_urgent_is_stored_and_all_is_well_once_it_ends()
    {
        using var engine = SqliteEngine.Open(StoreFile);
        (engine.IsServing, engine.LongestLog) = (true, Longest);
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        await Put(0); // the reader has something to hold on to
        ApiError? refused = null;
        using (var reader = new SqliteSession(StoreFile))
        {
            reader.Execute("BEGIN");
            reader.Scalar("SELECT count(*) FROM meta");
            for (var i = 0; i < 1_000 && refused is null; i++)
            {
                try
                {
                    await Put(i);
                }
                catch (ApiError e)
                {
                    refused = e;
                }
            }

            Assert.Contains("a program reads the store", Cause.Of(Assert.IsType<ApiError>(refused)),
                StringComparison.Ordinal);
            await Put(0, Lane.Urgent);
            Assert.InRange(LogSize(), Longest, Longest + 1024 * 1024);
        }

        for (var tries = 0; ; tries++) // it is looked at once a second
        {
            try
            {
                await Put(1);
                break;
            }
            catch (ApiError) when (tries < 50)
            {
                await Task.Delay(100, TestContext.Current.CancellationToken);
            }
        }

        Assert.InRange(LogSize(), 0, Longest / 2);

        Task Put(int i, Lane lane = Lane.Ordinary) => committer.CommitAsync(
            new Change.Plain(New(i)) { In = lane });
    }

    [Fact]
    public async Task A_log_that_was_long_is_cut_once_nobody_needs_it()
    {
        using var engine = SqliteEngine.Open(StoreFile);
        engine.IsServing = true;
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        using (var reader = new SqliteSession(StoreFile))
        {
            reader.Execute("BEGIN");
            reader.Scalar("SELECT count(*) FROM meta");
            for (var i = 0; i < 700; i++)
                await committer.CommitAsync(new Change.Plain(New(i)));
            Assert.True(LogSize() > 20 * 1024 * 1024, $"{LogSize()}");
        }

        for (var i = 0; i < 3; i++)
            await committer.CommitAsync(new Change.Plain(New(i)));
        Assert.InRange(LogSize(), 0, 16 * 1024 * 1024);
    }

    [Fact]
    public async Task Each_long_reader_is_named_and_each_end_of_one_whoever_has_emptied_the_log_then()
    {
        var said = new KeptLog<SqliteEngine>();
        using var engine = SqliteEngine.Open(StoreFile);
        (engine.IsServing, engine.LongestLog, engine.Log) = (true, 4 * Longest, said);
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        for (var round = 1; round <= 2; round++)
        {
            await Put(0);
            using (var reader = new SqliteSession(StoreFile))
            {
                reader.Execute("BEGIN");
                reader.Scalar("SELECT count(*) FROM meta");
                // It is tried once a second, far below the bound.
                for (var i = 0; said.TextsOf(LogLevel.Warning).Count < round; i++)
                {
                    await Put(i);
                    await Task.Delay(10, TestContext.Current.CancellationToken);
                }
            }

            using (var other = new SqliteSession(StoreFile))
                Assert.Equal(0, other.Scalar("PRAGMA wal_checkpoint(TRUNCATE)"));
            await Put(0);
            Assert.Equal(round, said.TextsOf(LogLevel.Information).Count);
        }

        Assert.All(said.TextsOf(LogLevel.Warning),
            line => Assert.Contains("a program reads", line, StringComparison.Ordinal));

        Task Put(int i) => committer.CommitAsync(new Change.Plain(New(i)));
    }

    public void Dispose() => directory.Dispose();

    // What a row has already SQLite does not write again.
    private static RowWrite.PutMeta New(int i) =>
        new($"k{i % 50}", System.Security.Cryptography.RandomNumberGenerator.GetBytes(32 * 1024));

    private long LogSize() => new FileInfo(StoreFile + "-wal").Length;
}
