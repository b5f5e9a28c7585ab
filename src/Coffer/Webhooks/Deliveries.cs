using System.Diagnostics;
using Coffer.Access;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;
using Coffer.Telemetry;

namespace Coffer.Webhooks;

/// <summary>
/// Sends events to their endpoints, in the order of commits for each account, at least once. One node does it, the
/// first of those that run; how far an endpoint has come is stored after each turn, so that another continues there.
/// What is not accepted is tried again for three days, and the next of its account waits for it, for an hour at most.
/// </summary>
internal sealed class Deliveries : IDisposable
{
    /// <summary>How long an event waits for the one before it of its account.</summary>
    public static readonly TimeSpan Order = TimeSpan.FromHours(1);

    /// <summary>How long an event is tried.</summary>
    public static readonly TimeSpan Tried = TimeSpan.FromDays(3);

    /// <summary>How long after each attempt the next is made; the last pause is that of all further ones.</summary>
    public static readonly IReadOnlyList<TimeSpan> Pauses =
    [
        TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(30),
        TimeSpan.FromHours(2), TimeSpan.FromHours(5), TimeSpan.FromHours(10), TimeSpan.FromHours(12),
    ];

    private const int AtOnce = 50, AccountsAtOnce = 8, Page = 200, MostOvertaken = 1_000;

    private static readonly Counter.Count Accepted = Metrics.WebhookAttempts.Of("accepted"),
        NotAccepted = Metrics.WebhookAttempts.Of("not_accepted"),
        Unanswered = Metrics.WebhookAttempts.Of("unanswered"), GivenUp = Metrics.WebhooksGivenUp.Of();

    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1), LongestRest = TimeSpan.FromMinutes(1),
        IdleRest = TimeSpan.FromSeconds(5);

    private readonly Engine engine;
    private readonly Committer committer;
    private readonly EventList events;
    private readonly Sender sender;
    private readonly TimeProvider time;
    private readonly Instance instance;
    private readonly Dictionary<string, Turn> turns = new(StringComparer.Ordinal);

    // Up to which event the endpoints that it is for are known to have something to do; null: all may have.
    private long? seen;

    public Deliveries(Engine engine, Committer committer, EventList events, Sender sender, TimeProvider time,
        ILogger<Deliveries> log)
    {
        (this.engine, this.committer, this.events) = (engine, committer, events);
        (this.sender, this.time, instance) = (sender, time, events.Instance);
        Loop = new Loop("webhooks", RoundAsync, TimeProvider.System, log);
    }

    public Loop Loop { get; }

    public void Start() => Loop.Start();

    /// <summary>That there may be something to send.</summary>
    public void Wake(News news)
    {
        if (news.HasEvents)
            Loop.Wake();
    }

    public void Dispose()
    {
        Loop.Dispose();
        foreach (var turn in turns.Values)
            turn.Running.ContinueWith(static _ => { }, TaskScheduler.Default).Wait();
        sender.Dispose();
    }

    /// <summary>The work on one endpoint, beside that on others.</summary>
    private sealed class Turn
    {
        public Task Running { get; set; } = Task.CompletedTask;

        /// <summary>How often there was a reason to look for work, and of which of them none was left.</summary>
        public long Asked { get; set; } = 1;

        public long Answered { get; set; }

        public bool IsIdle => Answered == Asked;

        /// <summary>How often in a row something was not accepted, and until when nothing is tried for that.</summary>
        public int Failures { get; set; }

        public long RestsUntil { get; set; }
    }

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        if (instance.IsHeld || !await engine.LeadsAsync(ct))
        {
            seen = null;
            return IdleRest;
        }

        var isFirst = seen is null;
        var last = seen ?? await engine.FindNewestEventAsync(ct) ?? 0;
        var happened = await engine.ListAsync(EventRow.OwnersAfter, ct, last);
        var due = (await engine.ListAsync(DeliveryRow.DueAt, ct, Now())).ToHashSet(StringComparer.Ordinal);
        var known = new HashSet<string>(StringComparer.Ordinal);
        await foreach (var rows in engine.EndpointsAsync(Page, ct))
        {
            foreach (var row in rows)
            {
                known.Add(row.Id);
                if (!turns.TryGetValue(row.Id, out var turn))
                    turns.Add(row.Id, turn = new Turn());
                if (isFirst || due.Contains(row.Id) || happened.Any(each => row.App is null || row.App == each.App))
                    turn.Asked++;
                if (turn.IsIdle || !turn.Running.IsCompleted || Stopwatch.GetTimestamp() < turn.RestsUntil)
                    continue;
                var before = turn.Running;
                turn.Running = Task.Run(() => RunAsync(row.Id, turn, ct), ct);
                await before; // what it threw is the loop's to report
            }
        }

        seen = happened.Count > 0 ? happened.Max(static each => each.Last) : last;
        foreach (var gone in turns.Where(each => !known.Contains(each.Key) && each.Value.Running.IsCompleted).ToList())
            turns.Remove(gone.Key);
        return turns.Count > 0 ? Rest : IdleRest;
    }

    // Until nothing is due.
    private async Task RunAsync(string id, Turn turn, CancellationToken ct)
    {
        for (var goesOn = true; goesOn && !ct.IsCancellationRequested;)
        {
            // What happens from here on asks again.
            var asked = turn.Asked;
            if (await engine.FindAsync(EndpointRow.ById, ct, id) is not { } row
                || WebhookEndpoint.Inspect(instance, row) is not { IsDamaged: false, IsDisabled: false } endpoint
                || !endpoint.SecretsAt(Now()).Any())
                return;
            var outcome = new DeliveryOutcome(instance, endpoint);
            var due = await engine.ListAsync(DeliveryRow.AreDue, ct, id, Now(), AtOnce);
            await EachAccountAsync(due, static row => row.Account, (account, rows) =>
                RetryAsync(endpoint, account, rows, outcome, ct), ct);
            // What was waited for is out of the way only once that is stored.
            var fresh = due.Count > 0 ? [] : await FreshAsync(endpoint, ct);
            await EachAccountAsync(fresh.Where(endpoint.Wants), static row => row.Account ?? "", (account, rows) =>
                SendAsync(endpoint, account, rows, outcome, ct), ct);
            if (fresh.Count > 0)
                outcome.Position = fresh[^1].Number;
            if (due.Count + fresh.Count == 0)
                turn.Answered = asked;
            if (!outcome.IsEmpty)
                await committer.CommitAsync(outcome);
            if (outcome.IsStored)
                GivenUp.Add(outcome.GivenUp);
            goesOn = outcome.IsStored && due.Count + fresh.Count > 0 && !outcome.HasFailed;
            RestAfter(turn, outcome);
        }
    }

    // One that accepts nothing is not asked for each event that comes.
    private static void RestAfter(Turn turn, DeliveryOutcome outcome)
    {
        turn.Failures = outcome.HasFailed ? turn.Failures + 1 : 0;
        var rest = Rest * Math.Pow(2, Math.Min(turn.Failures - 1, 6));
        turn.RestsUntil = turn.Failures == 0 ? 0
            : Stopwatch.GetTimestamp() + (long)((rest < LongestRest ? rest : LongestRest).TotalSeconds
                * Stopwatch.Frequency);
    }

    private async Task<IReadOnlyList<EventRow>> FreshAsync(WebhookEndpoint endpoint, CancellationToken ct) =>
        endpoint.App is { } app
            ? await engine.ListAsync(EventRow.OfAppNewer, ct, app, endpoint.Livemode, endpoint.Position, AtOnce)
            : await engine.ListAsync(EventRow.Newer, ct, endpoint.Position, AtOnce);

    // In the order of events for each account, and those of several accounts at once.
    private static Task EachAccountAsync<TRow>(IEnumerable<TRow> rows, Func<TRow, string> account,
        Func<string, IReadOnlyList<TRow>, Task> work, CancellationToken ct) => Parallel.ForEachAsync(
        rows.GroupBy(account, StringComparer.Ordinal),
        new ParallelOptions { MaxDegreeOfParallelism = AccountsAtOnce, CancellationToken = ct },
        async (group, _) => await work(group.Key, [.. group]));

    // What happened since the last turn. Behind one that was not accepted, the next of the account wait.
    private async Task SendAsync(WebhookEndpoint endpoint, string account, IReadOnlyList<EventRow> rows,
        DeliveryOutcome outcome, CancellationToken ct)
    {
        var isBehind = (await engine.ListAsync(DeliveryRow.OfAccount, ct, endpoint.Id, account, 1)).Count > 0;
        foreach (var row in rows)
        {
            var now = Now();
            var delivery = new DeliveryRow(endpoint.Id, row.Number, account, now, 0, 0, 0);
            if (isBehind)
            {
                outcome.Add(new RowWrite.PutDelivery(delivery with { Due = row.Created + (long)Order.TotalSeconds }));
                continue;
            }

            if (await TryAsync(endpoint, row, isOutOfOrder: false, ct) is not { } status)
                continue; // it was forgotten meanwhile
            isBehind = !IsAccepted(status);
            if (isBehind)
                outcome.Fail(After(delivery, endpoint, status, now));
            else
                outcome.Accept(now);
        }
    }

    // What was not accepted before, or has waited for its turn, or for an hour.
    private async Task RetryAsync(WebhookEndpoint endpoint, string account, IReadOnlyList<DeliveryRow> rows,
        DeliveryOutcome outcome, CancellationToken ct)
    {
        var waiting = (await engine.ListAsync(DeliveryRow.OfAccount, ct, endpoint.Id, account, MostOvertaken)).ToList();
        foreach (var row in rows)
        {
            var now = Now();
            var isFirst = waiting.Count == 0 || waiting[0].Event >= row.Event;
            var status = await engine.FindAsync(EventRow.ByNumber, ct, row.Event) is { } happened
                ? await TryAsync(endpoint, happened, !isFirst || row.IsOvertaken, ct)
                : null;
            if (status is { } failed && !IsAccepted(failed))
            {
                var after = After(row, endpoint, failed, now);
                outcome.Fail(after);
                if (after.Failed is not null)
                    Remove(row, now);
                else if (waiting.FindIndex(each => each.Event == row.Event) is var at and >= 0)
                    waiting[at] = after;
                continue;
            }

            // Accepted, or forgotten meanwhile.
            outcome.Add(new RowWrite.DeleteDelivery(endpoint.Id, row.Event));
            if (status is not null)
            {
                outcome.Accept(now);
                for (var i = 0; i < waiting.Count && waiting[i].Event < row.Event; i++)
                {
                    if (!waiting[i].IsOvertaken)
                        outcome.Add(new RowWrite.PutDelivery(waiting[i] = waiting[i] with { IsOvertaken = true }));
                }
            }

            Remove(row, now);
        }

        // The next is due once the one before it is out of its way, unless it waits for a try of its own.
        void Remove(DeliveryRow row, long now)
        {
            waiting.RemoveAll(each => each.Event == row.Event);
            if (waiting is [{ Attempts: 0 } next, ..] && next.Due > now)
                outcome.Add(new RowWrite.PutDelivery(waiting[0] = next with { Due = now }));
        }
    }

    private async Task<int?> TryAsync(WebhookEndpoint endpoint, EventRow row, bool isOutOfOrder, CancellationToken ct)
    {
        if (await events.OpenOrReportAsync(row, ct) is not { } opened)
            return null;
        var withNames = endpoint is { HasNames: true, App: not null };
        var status = await sender.SendAsync(
            endpoint, opened.ToBytes(withNames, endpoint.ApiVersion), isOutOfOrder, ct);
        CountOf(status).Add();
        return status;
    }

    private static Counter.Count CountOf(int status)
    {
        if (status == 0)
            return Unanswered;
        return IsAccepted(status) ? Accepted : NotAccepted;
    }

    private static DeliveryRow After(DeliveryRow row, WebhookEndpoint endpoint, int status, long now)
    {
        var pause = Pauses[(int)Math.Min(row.Attempts, Pauses.Count - 1)];
        var isOver = now - Math.Max(row.Created, endpoint.EnabledAt) >= (long)Tried.TotalSeconds;
        return row with
        {
            Attempts = row.Attempts + 1,
            Status = status,
            Due = now + (long)pause.TotalSeconds,
            Failed = isOver ? now : null,
        };
    }

    private static bool IsAccepted(int status) => status is >= 200 and < 300;

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();
}
