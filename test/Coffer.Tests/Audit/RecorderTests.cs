using Coffer.Audit;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Audit;

/// <summary>
/// When a read may be answered: after its entry is durable, or at once where the operator chose a buffered log.
/// </summary>
public sealed class RecorderTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;
    private readonly Committer committer;
    private readonly ManualResetEventSlim held = new();
    private readonly BlockingChange blocking;

    public RecorderTests()
    {
        engine = SqliteEngine.Open(directory.File("coffer.db"));
        committer = new Committer(engine, 10, new Committer.Chain(_ => null, () => { }));
        blocking = new BlockingChange(held);
        _ = committer.CommitAsync(blocking);
        blocking.Running.Wait(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_durable_record_waits_for_the_commit_and_a_buffered_one_does_not()
    {
        var durable = NewRecorder(buffered: false).PutAsync(new AuditEntry("find", "ok")).AsTask();
        var buffered = NewRecorder(buffered: true).PutAsync(new AuditEntry("find", "ok"));
        Assert.True(buffered.IsCompletedSuccessfully);
        Assert.False(durable.IsCompleted);
        held.Set();
        await durable;
    }

    [Fact]
    public async Task A_record_that_cannot_be_stored_fails_the_read_or_is_known_to_be_lost()
    {
        using var broken = SqliteEngine.Open(directory.File("broken.db"));
        using (var session = new SqliteSession(directory.File("broken.db")))
            session.Execute("DROP TABLE audit");
        var row = new AuditStep(new RowWrite.PutAudit(new AuditRow("n", 1, 1, [], [])), () => { });
        using var failing = new Committer(broken, 10, new Committer.Chain(_ => row, () => { }));
        var (strict, loose) = (NewRecorder(buffered: false, failing), NewRecorder(buffered: true, failing));
        _ = failing.CommitAsync(new BlockingChange(held));
        await loose.PutAsync(new AuditEntry("find", "ok"));
        held.Set();
        await Assert.ThrowsAsync<ApiError>(() => strict.PutAsync(new AuditEntry("find", "ok")).AsTask());
        Assert.Contains("were lost", await WaitForAsync(() => loose.Trouble), StringComparison.Ordinal);
    }

    public void Dispose()
    {
        held.Set();
        committer.Dispose();
        engine.Dispose();
        held.Dispose();
        directory.Dispose();
    }

    private static async Task<string> WaitForAsync(Func<string?> what)
    {
        for (var i = 0; i < 500; i++)
        {
            if (what() is { } found)
                return found;
            await Task.Delay(10);
        }

        return "";
    }

    private Recorder NewRecorder(bool buffered, Committer? through = null) =>
        new(through ?? committer, () => new AuditPolicy(buffered, MetadataReads: false), NullLogger<Recorder>.Instance);
}
