using System.Collections.Concurrent;
using System.Diagnostics;
using Coffer.Audit;
using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>
/// What the committer writes next, over a real SQLite file: what is urgent, alone; then by turns of apps; then what
/// nobody waits for.
/// </summary>
[Trait("Firm ground", "8")]
public sealed class LaneTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;
    private readonly ManualResetEventSlim held = new();
    private readonly ConcurrentQueue<string> batches = [];

    public LaneTests() => engine = SqliteEngine.Open(directory.File("coffer.db"));

    [Fact]
    public async Task What_is_urgent_is_the_next_batch_alone_whatever_waits()
    {
        using var committer = Held();
        var flood = Enumerable.Range(0, 3_000).Select(i => committer.CommitAsync(New($"{i}", "flooder"))).ToList();
        var revoked = committer.CommitAsync(New("revoke", null, Lane.Urgent));
        var forgotten = committer.CommitAsync(New("forget", "flooder", Lane.Urgent));
        held.Set();
        await Task.WhenAll([revoked, forgotten, .. flood]);
        Assert.Equal("revoke forget", batches.First());
        Assert.Equal(3_000, batches.Skip(1).Sum(batch => batch.Split(' ').Length));
        Assert.All(batches, batch => Assert.InRange(batch.Split(' ').Length, 1, Committer.LargestBatch));
    }

    [Fact]
    public async Task Another_apps_change_is_in_the_next_batch_though_thousands_came_before_it()
    {
        using var committer = Held();
        var flood = Enumerable.Range(0, 3_000).Select(i => committer.CommitAsync(New($"{i}", "flooder"))).ToList();
        var other = committer.CommitAsync(New("other", "another"));
        held.Set();
        await Task.WhenAll([other, .. flood]);
        Assert.Contains("other", batches.First().Split(' '));
        // Of the flooder's own, the first to come is the first to go.
        var names = batches.SelectMany(batch => batch.Split(' ')).Where(name => name != "other");
        Assert.Equal(Enumerable.Range(0, 3_000).Select(i => $"{i}"), names);
    }

    [Fact]
    public async Task A_full_queue_refuses_no_urgent_change_and_the_lane_has_a_bound_that_answers_at_once()
    {
        using var committer = Held(new Turns.Bounds(8));
        var waiting = Enumerable.Range(0, 8).Select(i => committer.CommitAsync(New($"{i}", null))).ToList();
        Assert.Equal(503, Refusal(committer, New("one too many", null)).Status);
        for (var i = 0; i < Committer.UrgentPerApp; i++)
            waiting.Add(committer.CommitAsync(New($"app {i}", "app_1", Lane.Urgent)));
        Assert.Equal(429, Refusal(committer, New("too many of one app", "app_1", Lane.Urgent)).Status);
        for (var i = Committer.UrgentPerApp; i < Committer.UrgentCapacity; i++)
            waiting.Add(committer.CommitAsync(New($"owner {i}", null, Lane.Urgent)));
        var refused = Refusal(committer, New("too many", null, Lane.Urgent));
        Assert.Equal((503, TimeSpan.FromSeconds(1)), (refused.Status, refused.RetryAfter));
        held.Set();
        await Task.WhenAll(waiting);
    }

    [Fact]
    public async Task Owners_acts_go_before_those_of_apps_and_an_app_that_never_stops_revoking_stops_nobody()
    {
        using var committer = Held();
        var all = Enumerable.Range(0, 64)
            .Select(i => committer.CommitAsync(New($"r{i}", "app_1", Lane.Urgent))).ToList();
        var revoking = new Again(committer, "app_3", 200);
        all.Add(committer.CommitAsync(revoking.Next()));
        all.Add(committer.CommitAsync(New("set", "app_2")));
        all.Add(committer.CommitAsync(New("owner", null, Lane.Urgent)));
        held.Set();
        await Task.WhenAll(all);
        await revoking.Done;
        var order = batches.ToList();
        Assert.StartsWith("owner", order[0], StringComparison.Ordinal);
        Assert.Equal("set", order[1]); // between two batches of the app that continues and on
    }

    [Fact]
    public async Task What_nobody_waits_for_goes_after_all_that_is_asked_for()
    {
        using var committer = Held();
        var reaped = Enumerable.Range(0, 20)
            .Select(i => committer.CommitAsync(New($"reap{i}", null, Lane.Background))).ToList();
        var asked = Enumerable.Range(0, 300).Select(i => committer.CommitAsync(New($"{i}", "app_1"))).ToList();
        held.Set();
        await Task.WhenAll([.. asked, .. reaped]);
        var names = batches.SelectMany(batch => batch.Split(' ')).ToList();
        Assert.True(names.IndexOf("reap0") > names.IndexOf("255"), "a full batch of what is asked for went first");
        Assert.All(batches, batch => Assert.Single(batch.Split(' ').Select(IsReaping).Distinct()));

        static bool IsReaping(string name) => name.StartsWith("reap", StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_store_that_is_never_idle_is_swept_all_the_same()
    {
        using var committer = Held();
        var reaped = committer.CommitAsync(New("reap", null, Lane.Background));
        using var stop = new CancellationTokenSource();
        var busy = Enumerable.Range(0, 16).Select(_ => Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
                await committer.CommitAsync(New("set", "app_1"));
        })).ToList();
        held.Set();
        await reaped.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        await stop.CancelAsync();
        await Task.WhenAll(busy);
    }

    [Fact]
    public async Task A_flood_that_goes_on_delays_an_urgent_change_by_what_is_being_written_and_no_more()
    {
        using var committer = new Committer(engine, new Turns.Bounds(4_096, 1_024), Recording());
        using var stop = new CancellationTokenSource();
        var stored = 0;
        var flood = Enumerable.Range(0, 8).Select(app => Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                var sets = Enumerable.Range(0, 200).Select(_ => committer.CommitAsync(New("set", $"app_{app}")));
                await Task.WhenAll(sets);
                Interlocked.Add(ref stored, 200);
            }
        })).ToList();
        for (var i = 0; i < 10; i++)
        {
            var before = Volatile.Read(ref stored);
            for (var waited = Stopwatch.StartNew(); Volatile.Read(ref stored) < before + 1_600; await Task.Delay(
                1, TestContext.Current.CancellationToken))
                Assert.True(waited.Elapsed < TimeSpan.FromSeconds(60), $"{stored - before} were stored in a minute");
            var revoke = new Revoking($"revoke{i}", batches);
            await committer.CommitAsync(revoke);
            // What was being written when it came, at the most: then itself, alone.
            Assert.InRange(batches.ToList().IndexOf($"revoke{i}") - revoke.HandedIn, 0, 1);
        }

        await stop.CancelAsync();
        await Task.WhenAll(flood);
    }

    public void Dispose()
    {
        held.Set();
        engine.Dispose();
        held.Dispose();
        directory.Dispose();
    }

    private static ApiError Refusal(Committer committer, Change change) =>
        Assert.Throws<ApiError>(() => { _ = committer.CommitAsync(change); });

    private static Change New(string name, string? app, Lane lane = Lane.Ordinary) => new Change.Plain
    {
        Notes = [new AuditEntry(name, "ok")],
        PaidBy = app is null ? null : new Payer(app),
        In = lane,
    };

    // What it is writing when the test begins is what holds it.
    private Committer Held(Turns.Bounds? bounds = null)
    {
        var committer = new Committer(engine, bounds ?? new Turns.Bounds(10_000), Recording());
        var blocking = new BlockingChange(held);
        _ = committer.CommitAsync(blocking);
        blocking.Running.Wait(TestContext.Current.CancellationToken);
        return committer;
    }

    private Committer.Chain Recording() => new(
        notes =>
        {
            if (notes.Count > 0)
                batches.Enqueue(string.Join(' ', notes.Select(note => ((AuditEntry)note).Verb)));
            return null;
        },
        () => { });

    /// <summary>
    /// An urgent change that knows how many batches there were when it was handed in: the committer asks it which lane
    /// it is in.
    /// </summary>
    private sealed class Revoking(string name, ConcurrentQueue<string> batches) : Change
    {
        public int HandedIn { get; private set; } = -1;

        public override Lane Lane
        {
            get
            {
                if (HandedIn < 0)
                    HandedIn = batches.Count;
                return Lane.Urgent;
            }
        }

        public override IReadOnlyList<RowWrite> Decide(Found found) => [];

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => [new AuditEntry(name, "ok")];
    }

    /// <summary>An app that has its next urgent change waiting before the last is stored.</summary>
    private sealed class Again(Committer committer, string app, int times)
    {
        private readonly TaskCompletionSource done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int left = times;

        public Task Done => done.Task;

        public Change Next() => new Step(this, app);

        private void Go()
        {
            if (--left == 0)
                done.SetResult();
            else
                _ = committer.CommitAsync(Next());
        }

        private sealed class Step(Again again, string app) : Change
        {
            public override Lane Lane => Lane.Urgent;

            public override Payer Payer { get; } = new(app);

            public override IReadOnlyList<RowWrite> Decide(Found found)
            {
                again.Go();
                return [];
            }

            public override IReadOnlyList<Note> NotesOn(Exception? refusal) => [new AuditEntry("again", "ok")];
        }
    }
}
