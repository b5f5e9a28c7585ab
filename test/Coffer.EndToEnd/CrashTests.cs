using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;

#pragma warning disable RS0030 // Random: no secrets here, and a failure must be repeatable from its seed.

namespace Coffer.EndToEnd;

/// <summary>
/// One store, killed again and again at random moments while clients change it. Whatever was answered holds, whatever
/// was not is there whole or not at all, and sending it again with its idempotency key does it exactly once.
/// </summary>
/// <remarks>
/// <c>CRASH_KILLS</c> says how often (the nightly form is 200), <c>CRASH_SEED</c> repeats a run's operations and
/// pauses.
/// </remarks>
public sealed class CrashTests
{
    private const int Writers = 8;
    private const int FewestKills = 10;

    [Fact]
    public async Task Kill_after_kill_what_was_answered_holds_and_what_was_not_happens_once_when_sent_again()
    {
        var seed = Setting("CRASH_SEED") ?? RandomNumberGenerator.GetInt32(int.MaxValue);
        var kills = Setting("CRASH_KILLS") ?? FewestKills;
        Say($"CRASH_SEED={seed} CRASH_KILLS={kills}");
        var tally = new Tally();
        try
        {
            await RunAsync(seed, kills, tally);
        }
        catch (Exception e) when (!TestContext.Current.CancellationToken.IsCancellationRequested)
        {
            Assert.Fail($"with CRASH_SEED={seed}, after {tally}: {e}");
        }
        finally
        {
            Say(tally.ToString());
        }

        // A run in which next to nothing happened would prove nothing.
        Assert.Equal(kills, tally.Kills);
        Assert.True(tally.Answered > kills, tally.ToString());
        Assert.Equal(kills * Writers, tally.Applied + tally.NotApplied + tally.Invisible);
    }

    private static async Task RunAsync(int seed, int kills, Tally tally)
    {
        var random = new Random(seed);
        var writers = Enumerable.Range(0, Writers).Select(number => new CrashWriter(number, new Random(random.Next())))
            .ToArray();
        using var data = new TemporaryDirectory();
        string? key = null;
        while (true)
        {
            await using var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "100");
            key ??= coffer.TestKey;
            using var clients = new AccountClients(coffer.Url, key);
            foreach (var writer in writers)
                await CheckAsync(writer, coffer, clients, tally);
            await AuditVerb.VerifiedAsync(data);
            if (tally.Kills == kills)
            {
                await AssertOnRecordOnceAsync(data, writers, tally);
                return;
            }

            var running = Task.WhenAll(writers.Select(writer => writer.RunAsync(clients, tally)));
            await Task.Delay(random.Next(20, 401), TestContext.Current.CancellationToken);
            Assert.False(running.IsCompleted, $"every writer stopped before the kill: {coffer.Stderr}");
            Assert.Equal(128 + 9, await coffer.CrashAsync());
            tally.Kills++;
            await running.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        }
    }

    private static async Task CheckAsync(CrashWriter writer, CofferProcess coffer, AccountClients clients, Tally tally)
    {
        try
        {
            await writer.CheckAsync(clients, tally);
        }
        catch (Exception e) when (coffer.Stderr.Length > 0)
        {
            // the answer alone does not say why
            throw new InvalidOperationException($"the server said: {coffer.Stderr}", e);
        }
    }

    /// <summary>
    /// Each operation is recorded once as what it did, whichever of its requests did it, and nothing else is.
    /// </summary>
    private static async Task AssertOnRecordOnceAsync(TemporaryDirectory data, CrashWriter[] writers, Tally tally)
    {
        var done = writers.SelectMany(writer => writer.Done).ToList();
        foreach (var outcome in (string[])["ok", "absent"])
        {
            var entries = new List<JsonElement>();
            foreach (var verb in (string[])["set", "delete"])
                entries.AddRange(await AuditVerb.ListAsync(data, "--verb", verb, "--outcome", outcome));
            tally.OnRecord += entries.Count;
            Assert.Equal(
                done.Where(operation => operation.HadEffect == (outcome == "ok"))
                    .Select(operation => operation.Request).Order(StringComparer.Ordinal),
                entries.Select(entry => entry.GetProperty("request").GetString()!).Order(StringComparer.Ordinal));
        }
    }

    private static int? Setting(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text) : null;

    private static void Say(string line) => TestContext.Current.TestOutputHelper?.WriteLine(line);

    /// <summary>What happened in a run.</summary>
    internal sealed class Tally
    {
        private readonly Stopwatch running = Stopwatch.StartNew();
        private int answered;

        public int Kills { get; set; }

        public int Answered => answered;

        /// <summary>Operations that no answer came for, and that were found done.</summary>
        public int Applied { get; set; }

        /// <summary>Operations that no answer came for, and that were found not done.</summary>
        public int NotApplied { get; set; }

        /// <summary>
        /// Operations that no answer came for, and that leave nothing to tell by: deletes of what was not there.
        /// </summary>
        public int Invisible { get; set; }

        /// <summary>
        /// Entries of the audit log that say that an operation was done, or that there was nothing to delete.
        /// </summary>
        public int OnRecord { get; set; }

        public void AddAnswered() => Interlocked.Increment(ref answered);

        public override string ToString() =>
            $"{Kills} kills, {Answered} acknowledged operations, in flight: {Applied} found applied, {NotApplied} "
                + $"not applied, {Invisible} deletes of nothing; {OnRecord} operations recorded; "
                    + $"{running.Elapsed.TotalSeconds:0.0} s";
    }
}
