using Coffer.Hosting;
using Coffer.Secrets;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Secrets;

public sealed class ReaperTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();
    private readonly SqliteEngine engine;
    private readonly Committer committer;
    private readonly Reaper reaper;

    public ReaperTests()
    {
        engine = SqliteEngine.Open(directory.File("coffer.db"));
        committer = new Committer(engine, 10_000, new Committer.Chain(_ => null, () => { }));
        reaper = new Reaper(engine, committer, null, time, NullLogger<Reaper>.Instance);
    }

    [Fact]
    public async Task Expired_secrets_go_and_the_others_stay()
    {
        await Put(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_1", 0)),
            new RowWrite.AddTenant(new TenantId("app_1", false, "acct_1"), 0, [1]));
        await Put([.. Enumerable.Range(0, 700).Select(i => Secret(i, time.Seconds + i % 7))]);
        await Put(Secret(1_000, null));
        time.Move(TimeSpan.FromSeconds(3));

        await reaper.SweepAsync(default);
        var left = (await engine.ListSecretsAsync(1, [0], null, false, 0, 1_000, default)).Rows;
        Assert.Equal(301, left.Count);
        Assert.All(left, row => Assert.True(row.IsLiveAt(time.Seconds)));
    }

    [Fact]
    public async Task Idempotency_records_go_after_24_hours_and_not_before()
    {
        await Put(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_1", 0)),
            new RowWrite.AddTenant(new TenantId("app_1", false, "acct_1"), 0, [1]));
        await Put([.. Enumerable.Range(0, 500).Select(Record)]);
        time.Move(TimeSpan.FromHours(1));
        await Put(Record(1_000));
        // A key that is used again counts from its new use.
        await Put(Record(0));

        time.Move(TimeSpan.FromHours(23) - TimeSpan.FromSeconds(1));
        await reaper.SweepAsync(default);
        Assert.Equal(501, Count());
        time.Move(TimeSpan.FromSeconds(1));
        await reaper.SweepAsync(default);
        Assert.Equal(2, Count());
    }

    [Theory]
    [Trait("Firm ground", "11")]
    [InlineData("secrets")]
    [InlineData("idempotency")]
    public async Task A_sweep_ends_when_nothing_goes_away(string table)
    {
        await Put(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_1", 0)),
            new RowWrite.AddTenant(new TenantId("app_1", false, "acct_1"), 0, [1]));
        await Put([.. Enumerable.Range(0, 500).Select(i => Secret(i, time.Seconds)),
            .. Enumerable.Range(0, 500).Select(Record)]);
        time.Move(TimeSpan.FromHours(24));
        using (var session = new SqliteSession(directory.File("coffer.db")))
            session.Execute($"CREATE TRIGGER quiet BEFORE DELETE ON {table} BEGIN SELECT RAISE(IGNORE); END");
        var failure =
            await Assert.ThrowsAsync<ApiError>(() => reaper.SweepAsync(default)).WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Contains($"a write to {table} ", failure.InnerException!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_secret_that_was_set_again_meanwhile_stays()
    {
        await using var server = await TestServer.StartAsync();
        for (var i = 0; i < 10; i++)
            await server.Client().Set($"k{i}", "old", null, ("expires_at", $"{server.Time.Seconds + 1}"));
        server.Time.Move(TimeSpan.FromSeconds(1));
        await server.Client().Set("k3", "new");
        await server.StopAsync();
        await server.OnStoreAsync(async (store, changes, _) =>
        {
            using var sweeper = new Reaper(store, changes, null, server.Time, NullLogger<Reaper>.Instance);
            await sweeper.SweepAsync(default);
            return true;
        });
        await server.StartAgainAsync();
        Assert.Equal(["k3"], (await server.Client().List()).IsOk().Names);
    }

    [Fact]
    public async Task Kept_replies_and_revocations_are_removed_once_they_are_too_old()
    {
        var now = time.Seconds;
        await Put(
            new RowWrite.PutReply(new ReplyRow([1], null, [1], now - 86_400, [1])), new RowWrite.PutReply(
                new ReplyRow([2], null, [1], now - 86_399, [1])),
            new RowWrite.PutRevocation(new RevocationRow("over", now - 10, now)), new RowWrite.PutRevocation(
                new RevocationRow("in force", now - 10, now + 1)));
        await reaper.SweepAsync(default);
        using (var session = new SqliteSession(directory.File("coffer.db")))
        {
            Assert.Equal(1, session.Scalar("SELECT count(*) FROM replies WHERE key = x'02'"));
            Assert.Equal(1, session.Scalar("SELECT count(*) FROM replies"));
            Assert.Equal(1, session.Scalar("SELECT count(*) FROM revocations WHERE subject = 'in force'"));
            Assert.Equal(1, session.Scalar("SELECT count(*) FROM revocations"));
        }
    }

    public void Dispose()
    {
        reaper.Dispose();
        committer.Dispose();
        engine.Dispose();
        directory.Dispose();
    }

    private static RowWrite.PutSecret Secret(int i, long? expiresAt) =>
        new(new SecretRow(new SecretKey(1, BitConverter.GetBytes(i)), [0], $"id{i:0000}", 1, 0, expiresAt, [1]));

    private RowWrite.PutIdempotency Record(int i) =>
        new(new IdempotencyRow(new IdempotencyKey(1, BitConverter.GetBytes(i)), [1], time.Seconds, [1]));

    private Task Put(params RowWrite[] rows) => committer.CommitAsync(new Change.Plain(rows));

    private long Count()
    {
        using var session = new SqliteSession(directory.File("coffer.db"));
        return session.Scalar("SELECT count(*) FROM idempotency");
    }
}
