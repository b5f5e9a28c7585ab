using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

public sealed class CommitterTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;

    public CommitterTests() => engine = SqliteEngine.Open(directory.File("coffer.db"));

    [Fact]
    public async Task A_change_that_is_refused_refuses_only_itself()
    {
        using var committer = new Committer(engine, 1_000, NoAudit);
        var changes = Enumerable.Range(0, 100).Select<int, Change>(i => i % 3 == 0 ? new Refusing() : Put($"{i}"))
            .ToList();
        var results = await Task.WhenAll(changes.Select(async (change, i) =>
        {
            try
            {
                await committer.CommitAsync(change);
                return true;
            }
            catch (InvalidOperationException)
            {
                return false;
            }
        }));
        for (var i = 0; i < results.Length; i++)
        {
            Assert.Equal(i % 3 != 0, results[i]);
            Assert.Equal(i % 3 != 0, await engine.FindMetaAsync($"{i}", default) is not null);
        }
    }

    [Fact]
    public async Task A_full_queue_refuses_with_503_and_loses_nothing_that_it_took()
    {
        using var held = new ManualResetEventSlim();
        using var committer = new Committer(engine, 10, NoAudit);
        var blocking = new BlockingChange(held);
        var first = committer.CommitAsync(blocking);
        blocking.Running.Wait(TestContext.Current.CancellationToken);

        var waiting = Enumerable.Range(0, 10).Select(i => committer.CommitAsync(Put($"{i}"))).ToList();
        var refused = Assert.Throws<ApiError>(() => { _ = committer.CommitAsync(Put("one too many")); });
        Assert.Equal((503, true, TimeSpan.FromSeconds(1)), (refused.Status, refused.ShouldRetry, refused.RetryAfter));

        held.Set();
        await first;
        await Task.WhenAll(waiting);
        Assert.NotNull(await engine.FindMetaAsync("9", default));
        Assert.Null(await engine.FindMetaAsync("one too many", default));
    }

    /// <summary>As the steps of a rotation do on another node, several times within a second.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_meets_another_control_row_is_decided_again_by_that_one_however_urgent_it_is(bool isUrgent)
    {
        using var committer = new Committer(engine, 10, NoAudit);
        await committer.CommitAsync(new Change.Plain(new RowWrite.PutMeta("control", [9])));
        var known = (byte)1;
        engine.KnownControl = () => [known];
        engine.ControlMoved = () => known++;
        await committer.CommitAsync(new Change.Plain(new RowWrite.PutMeta("k", [1]))
        {
            In = isUrgent ? Lane.Urgent : Lane.Ordinary,
        });
        Assert.Equal(9, known);
        Assert.NotNull(await engine.FindMetaAsync("k", default));
    }

    [Fact]
    public async Task Stopping_stores_what_waits_and_takes_nothing_more()
    {
        using var held = new ManualResetEventSlim();
        var committer = new Committer(engine, 1_000, NoAudit);
        var blocking = new BlockingChange(held);
        _ = committer.CommitAsync(blocking);
        blocking.Running.Wait(TestContext.Current.CancellationToken);
        var waiting = Enumerable.Range(0, 500).Select(i => committer.CommitAsync(Put($"{i}"))).ToList();

        var stopped = Task.Run(committer.Dispose, TestContext.Current.CancellationToken);
        held.Set();
        await stopped;
        Assert.All(waiting, change => Assert.True(change.IsCompletedSuccessfully));
        Assert.NotNull(await engine.FindMetaAsync("499", default));
        Assert.Equal(503, Assert.Throws<ApiError>(() => { _ = committer.CommitAsync(Put("late")); }).Status);
    }

    [Fact]
    public async Task A_failed_transaction_fails_all_its_changes_and_the_next_one_works()
    {
        using var committer = new Committer(engine, 100, NoAudit);
        var root = new RowWrite.PutRootKey(new RootKeyRow(1, 0, [1]));
        await committer.CommitAsync(new Change.Plain(root));
        // The same root key twice breaks a constraint of the table: the whole transaction is rolled back.
        var failure = await Assert.ThrowsAsync<ApiError>(
            () => committer.CommitAsync(new Change.Plain(new RowWrite.PutMeta("new", []), root)));
        Assert.Equal((503, true), (failure.Status, failure.IsFault));
        Assert.Null(await engine.FindMetaAsync("new", default));
        await committer.CommitAsync(Put("after"));
        Assert.NotNull(await engine.FindMetaAsync("after", default));
    }

    public void Dispose()
    {
        engine.Dispose();
        directory.Dispose();
    }

    private static readonly Committer.Chain NoAudit = new(_ => null, () => { });

    private static Change.Plain Put(string key) => new(new RowWrite.PutMeta(key, [1]));

    private sealed class Refusing : Change
    {
        public override IReadOnlyList<RowWrite> Decide(Found found) => throw new InvalidOperationException("no");
    }
}
