using Coffer.Checks;
using Coffer.Storage.Postgres;

namespace Coffer.Tests.Checks;

/// <summary>What a check says of servers that a test cannot have: old, far away, worn out.</summary>
[Trait("Keys", "check")]
public sealed class PostgresConditionTests
{
    private const string Here = "Host=127.0.0.1;Database=coffer", Away = "Host=db.example;Database=coffer";

    private static readonly PostgresCondition Well = new(new Version(17, 2), new Dictionary<string, string>
    {
        ["fsync"] = "on",
        ["full_page_writes"] = "on",
        ["synchronous_commit"] = "on",
        ["synchronous_standby_names"] = "",
    })
    {
        IsEncrypted = false,
        Age = 100,
        FreeConnections = 100,
    };

    private static readonly DateTimeOffset Now = new(2026, 11, 20, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_server_that_is_well_is_no_finding() => Assert.Empty(Look(Well));

    [Fact]
    public void A_connection_in_clear_to_another_machine_is_a_problem_unless_a_pooler_answers_for_it()
    {
        Says(Look(Well, Away), Grade.Problem, "is not encrypted");
        Says(Look(Well, "Host=localhost.example;Database=coffer"), Grade.Problem, "is not encrypted");
        Assert.Empty(Look(Well, Away, arePooled: true));
        Assert.Empty(Look(Well with { IsEncrypted = true }, Away));
        foreach (var host in (string[])["localhost", "::1", "/var/run/postgresql", "127.0.0.1:5433,localhost:5434"])
            Assert.Empty(Look(Well, $"Host={host};Database=coffer"));
    }

    [Theory]
    [InlineData(999_999_999, null)]
    [InlineData(1_000_000_001, Grade.Warning)]
    [InlineData(1_600_000_001, Grade.Problem)]
    internal void Transactions_that_run_out_are_named(long age, Grade? grade) =>
        Says(Look(Well with { Age = age }), grade, "transactions old: at 2 billion nothing is written");

    [Theory]
    [InlineData(23, null)]
    [InlineData(22, Grade.Warning)]
    [InlineData(0, Grade.Problem)]
    internal void Connections_that_run_out_are_named(long free, Grade? grade) =>
        Says(Look(Well with { FreeConnections = free }), grade, "free");

    [Fact]
    public void A_release_is_mended_until_the_November_five_years_after_it_came()
    {
        Says(Look(Well with { Version = new Version(14, 9) }), Grade.Warning, "not mended any more since 2026-11");
        Assert.Empty(Look(Well with { Version = new Version(15, 1) }));
    }

    [Fact]
    public void A_replica_that_is_behind_and_one_that_commits_wait_for_in_vain_are_named()
    {
        var follower = new PostgresCondition.Follower("b", "streaming", IsWaitedFor: false, TimeSpan.FromSeconds(61));
        Says(Look(Well with { Followers = [follower] }), Grade.Warning, "the replica b is 61 seconds behind");
        var waits = Well with
        {
            Settings = new Dictionary<string, string>(Well.Settings) { ["synchronous_standby_names"] = "b" },
            Followers = [follower with { Lag = null }],
        };
        Says(Look(waits), Grade.Problem, "none that they wait for is connected");
        Assert.Empty(Look(waits with { Followers = [follower with { Lag = null, IsWaitedFor = true }] }));
        Assert.Empty(Look(waits with { Followers = [follower with { Lag = null, State = null }] })); // not to be seen
    }

    [Fact]
    public void A_standby_a_failing_archive_and_what_is_not_told_are_named()
    {
        Says(Look(Well with { IsStandby = true }), Grade.Problem, "accepts no writes");
        Says(Look(Well with { IsArchivingFailing = true }), Grade.Warning, "could not be archived");
        Says(Look(Well with { Unseen = ["nodes (denied)"] }), Grade.Warning, "not told by the server: nodes (denied)");
    }

    private static void Says(IReadOnlyList<Finding> found, Grade? grade, string text)
    {
        if (grade is null)
        {
            Assert.Empty(found);
            return;
        }

        var finding = Assert.Single(found);
        Assert.Equal(grade, finding.Grade);
        Assert.Contains(text, finding.Text, StringComparison.Ordinal);
        Assert.NotNull(finding.Hint);
    }

    private static IReadOnlyList<Finding> Look(PostgresCondition server, string store = Here, bool arePooled = false)
    {
        var found = new Findings("postgresql");
        PostgresCheck.Look(server, PostgresAddress.Parse(store)!, arePooled, Now, found);
        return found.All;
    }
}
