using System.Globalization;
using Coffer.Hosting;
using Coffer.Secrets;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Secrets;

/// <summary>
/// A clock that is set wrong: what has expired by it is absent, and nothing of it is removed for an hour.
/// </summary>
[Trait("Firm ground", "16")]
public sealed class ClockStepTests : IDisposable
{
    private static readonly TenantId Tenant = new("app_1", false, "acct_1");

    private readonly TemporaryDirectory directory = new();
    private readonly ManualTime time = new();
    private readonly KeptLog<ClockWatch> log = new();
    private readonly SqliteEngine engine;
    private readonly Committer committer;

    public ClockStepTests()
    {
        engine = SqliteEngine.Open(directory.File("coffer.db"));
        committer = new Committer(engine, 10_000, new Committer.Chain(_ => null, () => { }));
    }

    [Theory]
    [InlineData(+400)]
    [InlineData(+2)]
    [InlineData(-1)]
    [InlineData(-400)]
    public async Task After_a_step_nothing_is_removed_for_an_hour_and_then_what_has_expired(int days)
    {
        using var reaper = Reaper(lastCommit: null);
        await PutAsync(expiresIn: TimeSpan.FromDays(1));
        await reaper.SweepAsync(default);
        time.Step(TimeSpan.FromDays(days));
        await SweepForAsync(reaper, TimeSpan.FromMinutes(59));
        Assert.Equal(1, await CountAsync());
        var way = days > 0 ? "forward" : "back";
        var far = days == -1 ? "24 hours" : $"{Math.Abs(days)} days";
        Assert.Contains($"stepped {way} by {far}", Assert.Single(log.Texts), StringComparison.Ordinal);

        await SweepForAsync(reaper, TimeSpan.FromMinutes(2));
        Assert.Equal(days > 0 ? 0 : 1, await CountAsync());
        Assert.Single(log.Texts);
    }

    [Fact]
    public async Task A_clock_that_is_set_right_within_the_hour_loses_nothing()
    {
        using var reaper = Reaper(lastCommit: null);
        await PutAsync(expiresIn: TimeSpan.FromDays(1));
        await PutAsync(expiresIn: TimeSpan.FromMinutes(90));
        time.Step(TimeSpan.FromDays(400));
        await SweepForAsync(reaper, TimeSpan.FromMinutes(30));
        time.Step(TimeSpan.FromDays(-400));
        await SweepForAsync(reaper, TimeSpan.FromMinutes(59));
        Assert.Equal(2, log.Texts.Count);
        Assert.Equal(2, await CountAsync());
        await SweepForAsync(reaper, TimeSpan.FromHours(2));
        Assert.Equal(1, await CountAsync());
    }

    [Theory]
    [InlineData(59)]
    [InlineData(-59)]
    public async Task What_a_time_server_mends_is_no_step(int seconds)
    {
        using var reaper = Reaper(lastCommit: null);
        await PutAsync(expiresIn: TimeSpan.FromSeconds(70));
        time.Step(TimeSpan.FromSeconds(seconds));
        time.Move(TimeSpan.FromSeconds(180));
        await reaper.SweepAsync(default);
        Assert.Equal(0, await CountAsync());
        Assert.Empty(log.Texts);
    }

    [Fact]
    public void Small_steps_within_an_hour_count_together_and_a_slow_drift_does_not()
    {
        var watch = Watch(lastCommit: null);
        for (var i = 0; i < 100; i++)
        {
            time.Step(TimeSpan.FromSeconds(5));
            time.Move(TimeSpan.FromHours(1));
            Assert.Null(watch.Look());
        }

        time.Step(TimeSpan.FromSeconds(40));
        time.Move(TimeSpan.FromMinutes(1));
        Assert.Null(watch.Look());
        time.Step(TimeSpan.FromSeconds(40));
        Assert.NotNull(watch.Look());
    }

    [Fact]
    public async Task A_machine_that_sleeps_or_a_process_that_waits_makes_no_step()
    {
        using var reaper = Reaper(lastCommit: null);
        await PutAsync(expiresIn: TimeSpan.FromDays(1));
        time.Move(TimeSpan.FromDays(3)); // the steady clock has counted it too
        await reaper.SweepAsync(default);
        Assert.Equal(0, await CountAsync());
        Assert.Empty(log.Texts);
    }

    [Fact]
    public async Task At_a_start_a_clock_before_the_last_change_removes_nothing_until_it_is_right()
    {
        var last = time.Now;
        time.Step(TimeSpan.FromDays(-1));
        await PutAsync(expiresIn: TimeSpan.FromSeconds(1));
        using var reaper = Reaper(last);
        await SweepForAsync(reaper, TimeSpan.FromHours(5));
        Assert.Equal(1, await CountAsync());
        Assert.Contains("before the last change", Assert.Single(log.Texts), StringComparison.Ordinal);

        time.Step(TimeSpan.FromDays(1));
        await SweepForAsync(reaper, TimeSpan.FromMinutes(59));
        Assert.Equal(1, await CountAsync()); // it stepped
        await SweepForAsync(reaper, TimeSpan.FromMinutes(2));
        Assert.Equal(0, await CountAsync());
    }

    [Theory]
    [InlineData(400)]
    [InlineData(2)]
    public async Task At_a_start_long_after_the_last_change_nothing_is_removed_for_an_hour(int days)
    {
        await PutAsync(expiresIn: TimeSpan.FromDays(1));
        var last = time.Now;
        time.Step(TimeSpan.FromDays(days));
        using var reaper = Reaper(last);
        await SweepForAsync(reaper, TimeSpan.FromMinutes(59));
        Assert.Equal(1, await CountAsync());
        Assert.Contains("the last change of the store was at", Assert.Single(log.Texts), StringComparison.Ordinal);
        await SweepForAsync(reaper, TimeSpan.FromMinutes(2));
        Assert.Equal(0, await CountAsync());
    }

    [Fact]
    public async Task At_a_start_after_a_night_and_beside_a_node_whose_clock_is_a_little_ahead_it_removes_at_once()
    {
        await PutAsync(expiresIn: TimeSpan.FromSeconds(1));
        time.Move(TimeSpan.FromHours(12));
        using (var reaper = Reaper(time.Now.AddHours(-12)))
            await reaper.SweepAsync(default);
        Assert.Equal(0, await CountAsync());
        await PutAsync(expiresIn: TimeSpan.Zero);
        using (var reaper = Reaper(time.Now.AddSeconds(5)))
            await reaper.SweepAsync(default);
        Assert.Equal(0, await CountAsync());
        Assert.Empty(log.Texts);
    }

    [Theory]
    [Trait("Firm edges", "22")]
    [InlineData(+172_800, false, "172800 seconds ahead of that of the database: nothing is removed")]
    [InlineData(-31, false, "31 seconds behind that of the database: nothing is removed")]
    [InlineData(+29, true, "29 seconds ahead of that of the database")]
    [InlineData(-3, true, "3 seconds behind that of the database")]
    [InlineData(+2, true, null)]
    public async Task A_clock_that_is_not_the_databases_is_said_and_beyond_30_seconds_removes_nothing(
        int seconds, bool isReady, string? said)
    {
        var ahead = TimeSpan.Zero;
        var watch = new ClockWatch(time, time.Now, log, () => ahead);
        using var reaper = new Reaper(engine, committer, null, time, NullLogger<Reaper>.Instance, watch);
        await PutAsync(expiresIn: TimeSpan.FromSeconds(1));
        time.Move(TimeSpan.FromHours(1));
        ahead = TimeSpan.FromSeconds(seconds);
        await reaper.SweepAsync(default);
        await reaper.SweepAsync(default);
        Assert.Equal(isReady ? 0 : 1, await CountAsync());
        Assert.Equal(isReady, watch.Trouble is null);
        Assert.Contains(said ?? "", watch.Trouble ?? watch.Warning ?? "", StringComparison.Ordinal);
        Assert.Equal(said is null ? 0 : 1, log.Texts.Count);

        ahead = TimeSpan.Zero;
        await reaper.SweepAsync(default);
        Assert.Equal(0, await CountAsync());
        Assert.Null(watch.Trouble ?? watch.Warning);
    }

    [Fact]
    [Trait("Firm edges", "22")]
    public async Task What_has_expired_by_this_clock_alone_stays()
    {
        using var reaper = new Reaper(engine, committer, null, time, NullLogger<Reaper>.Instance,
            new ClockWatch(time, time.Now, log, static () => TimeSpan.FromSeconds(20)));
        await PutAsync(expiresIn: TimeSpan.FromSeconds(10));
        time.Move(TimeSpan.FromSeconds(29));
        await reaper.SweepAsync(default);
        Assert.Equal(1, await CountAsync());
        time.Move(TimeSpan.FromSeconds(1));
        await reaper.SweepAsync(default);
        Assert.Equal(0, await CountAsync());
    }

    [Theory]
    [Trait("Firm edges", "22")]
    [InlineData(1_000, 900, 1_100, 0)] // it may be right
    [InlineData(1_000, 900, 90_000, 0)] // the answer was long under way, or the process slept
    [InlineData(1_000, 1_500, 1_700, 500)]
    [InlineData(1_000, 200, 400, -600)]
    public void An_offset_is_what_is_certain_of_it(long database, long before, long after, long offset) =>
        Assert.Equal(offset, Coffer.Storage.Postgres.PostgresPoll.OffsetOf(database, before, after));

    [Fact]
    public void The_steady_clock_of_this_machine_counts_and_nobody_sets_it()
    {
        var steady = SteadyClock.Of(TimeProvider.System);
        var (before, after) = (steady(), steady());
        Assert.InRange(before, TimeSpan.FromTicks(1), after);
        if (OperatingSystem.IsLinux())
        {
            var text = File.ReadAllText("/proc/uptime").Split(' ')[0];
            var upTime = TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));
            Assert.InRange((upTime - before).Duration(), TimeSpan.Zero, TimeSpan.FromMinutes(1));
        }
    }

    public void Dispose()
    {
        committer.Dispose();
        engine.Dispose();
        directory.Dispose();
    }

    private ClockWatch Watch(DateTimeOffset? lastCommit) => new(time, lastCommit, log);

    private Reaper Reaper(DateTimeOffset? lastCommit) =>
        new(engine, committer, null, time, NullLogger<Reaper>.Instance, Watch(lastCommit));

    private async Task SweepForAsync(Reaper reaper, TimeSpan span)
    {
        for (var swept = TimeSpan.Zero; swept < span; swept += TimeSpan.FromSeconds(30))
        {
            await reaper.SweepAsync(default);
            time.Move(TimeSpan.FromSeconds(30));
        }
    }

    private Task PutAsync(TimeSpan expiresIn)
    {
        var (id, at) = (Guid.NewGuid(), (time.Now + expiresIn).ToUnixTimeSeconds());
        return committer.CommitAsync(new Change.Plain(
            new RowWrite.PutApp(new AppRow("app_1", "one", "acct_1", 0)), new RowWrite.AddTenant(Tenant, 0, [1]),
            new RowWrite.PutSecret(new SecretRow(new SecretKey(1, id.ToByteArray()), [0], $"{id}", 1, 0, at, [1]))));
    }

    private async Task<int> CountAsync() =>
        (await engine.ListSecretsAsync(1, [0], null, false, 0, 100, default)).Rows.Count;
}
