#pragma warning disable RS0030 // Random: nothing here is a secret.

using System.Diagnostics;

namespace Coffer.EndToEnd;

/// <summary>
/// A client of several nodes that knows to the last version what its secrets must be. What is refused with 503 it sends
/// again, with the same idempotency key, to whichever node: that is what the answer tells it to do.
/// </summary>
internal sealed class FailoverWriter(int number, Random random)
{
    private static readonly string[] Accounts = ["", "acct_one", "acct_two"];
    private static readonly TimeSpan BeforeRetry = TimeSpan.FromMilliseconds(50);

    private readonly Dictionary<Place, State?> expected = (
        from account in Accounts
        from name in Enumerable.Range(0, 2)
        select new Place(account, $"writer {number} name {name}")).ToDictionary(place => place, _ => (State?)null);

    private int operations;

    /// <summary>How long it rests after each operation.</summary>
    public TimeSpan Rest { get; set; }

    private sealed record Place(string Account, string Name);

    /// <summary>A secret that is there; absence is null. A set after a delete begins again with version 1.</summary>
    private sealed record State(string Payload, long Version)
    {
        public override string ToString() => $"version {Version}, {Payload[..Math.Min(40, Payload.Length)]}…";
    }

    /// <summary>Does one operation after another, each until it is acknowledged, until it is told to stop.</summary>
    public async Task RunAsync(IReadOnlyList<FailoverNode> nodes, FailoverTally tally, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var place = expected.Keys.ElementAt(random.Next(expected.Count));
            var key = $"writer {number} operation {operations++}";
            // Of many lengths, and with the key at both ends: no payload is like another, and a torn one is like none.
            await UntilAcknowledgedAsync(nodes, tally, place, key,
                random.Next(4) == 0 ? null : $"{key} {new string('x', random.Next(4_500))} {key}");
            var read = expected.Keys.ElementAt(random.Next(expected.Count));
            Same(read, expected[read], expected[read], await TryFindAsync(Any(nodes), tally, read));
            if (Rest > TimeSpan.Zero)
                await Task.Delay(Rest, CancellationToken.None);
        }
    }

    /// <summary>Every node says of every secret what was acknowledged last.</summary>
    public async Task CheckAsync(IReadOnlyList<FailoverNode> nodes, FailoverTally tally)
    {
        foreach (var node in nodes)
        {
            foreach (var (place, state) in expected)
            {
                var found = await TryFindAsync(node, tally, place) ?? throw new InvalidOperationException(
                    $"{node.Name} does not answer after the recovery");
                Same(place, state, state, found);
            }
        }
    }

    private async Task UntilAcknowledgedAsync(IReadOnlyList<FailoverNode> nodes, FailoverTally tally, Place place,
        string key, string? payload)
    {
        var before = expected[place];
        var after = payload is null ? null : new State(payload, (before?.Version ?? 0) + 1);
        var isSeen = false;
        for (var waited = Stopwatch.StartNew(); ;
            await Task.Delay(BeforeRetry, TestContext.Current.CancellationToken))
        {
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(60), $"{key} is refused for {waited.Elapsed}");
            var node = Any(nodes);
            var answer = await tally.AskAsync(node, isWrite: true, () => payload is null
                ? node.Clients[place.Account].DeleteAsync(place.Name, idempotencyKey: key)
                : node.Clients[place.Account].SetAsync(place.Name, payload, idempotencyKey: key));
            if (answer is not null)
            {
                answer.Is(after is null && before is null ? 404 : 200);
                if (after is not null)
                    Assert.Equal(after.Version, Version(answer));
                else if (before is not null)
                    Assert.Equal(before, new State(answer.Payload!, Version(answer)));
                expected[place] = after;
                tally.AddDone(payload is null, hadEffect: answer.Status == 200);
                return;
            }

            // In flight it is there whole or not at all; and once it was seen, it stays.
            if (await TryFindAsync(Any(nodes), tally, place) is { } found)
            {
                Same(place, isSeen ? after : before, after, found);
                isSeen |= found.State == after && before != after;
            }
        }
    }

    private static async Task<Found?> TryFindAsync(FailoverNode node, FailoverTally tally, Place place)
    {
        var answer = await tally.AskAsync(node, isWrite: false,
            () => node.Clients[place.Account].FindAsync(place.Name));
        return answer is null || (node.MayMiss && answer.Status == 404)
            ? null
            : new Found(node, answer.Status == 404 ? null : new State(answer.Is(200).Payload!, Version(answer)));
    }

    private sealed record Found(FailoverNode At, State? State);

    private static void Same(Place place, State? wanted, State? orElse, Found? found) =>
        Assert.True(found is null || found.State == wanted || found.State == orElse,
            $"{place} is {found?.State} at {found?.At.Name} where {wanted} or {orElse} was expected");

    private FailoverNode Any(IReadOnlyList<FailoverNode> nodes)
    {
        var alive = nodes.Where(node => node.IsAlive).ToList();
        return alive.Count > 0 ? alive[random.Next(alive.Count)] : nodes[random.Next(nodes.Count)];
    }

    private static long Version(Answer answer) =>
        long.Parse(answer.Headers.GetValues("Coffer-Secret-Version").Single());
}
