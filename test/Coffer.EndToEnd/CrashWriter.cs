#pragma warning disable RS0030 // Random: no secrets here, and a failure must be repeatable from its seed.

using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// A client that knows to the last version what its secrets must be, since nobody else changes them and it does one
/// thing after another. Only what is in flight when the server dies can have gone either way.
/// </summary>
internal sealed class CrashWriter(int number, Random random)
{
    private const int Names = 2;
    private static readonly string[] Accounts = ["", "acct_one", "acct_two"];

    private readonly Dictionary<Place, State?> expected = AllPlaces(number).ToDictionary(place => place,
        _ => (State?)null);
    private readonly List<(Operation Operation, Answer Answer)> answered = [];
    private Operation? inFlight;
    private int operations;

    /// <summary>
    /// Every operation in the end, by the request that carried it out, and whether that changed anything.
    /// </summary>
    public List<(string Request, bool HadEffect)> Done { get; } = [];

    private sealed record Place(string Account, string? User, string Name);

    /// <summary>A secret that is there; absence is null. A set after a delete begins again with version 1.</summary>
    private sealed record State(string Payload, long Version)
    {
        public override string ToString() => $"version {Version}, {Payload[..Math.Min(40, Payload.Length)]}…";
    }

    /// <summary>A set, or with no payload a delete.</summary>
    private sealed record Operation(Place Place, string Key, string? Payload)
    {
        public State? After(State? before) => Payload is null ? null : new State(Payload, (before?.Version ?? 0) + 1);
    }

    /// <summary>Does one operation after another until the server is gone.</summary>
    public async Task RunAsync(AccountClients clients, CrashTests.Tally tally)
    {
        answered.Clear();
        try
        {
            while (true)
            {
                inFlight = Next();
                Acknowledge(inFlight, await SendAsync(clients, inFlight));
                inFlight = null;
                tally.AddAnswered();
            }
        }
        catch (HttpRequestException)
        {
            // Killed: whether what is in flight was done is what nobody told.
        }
    }

    /// <summary>
    /// After a restart: all is as it was acknowledged, then what was in flight is sent again, and what was answered
    /// repeated.
    /// </summary>
    public async Task CheckAsync(AccountClients clients, CrashTests.Tally tally)
    {
        foreach (var (place, state) in expected)
        {
            if (place != inFlight?.Place)
                Same(place, state, await FindAsync(clients, place));
        }

        if (inFlight is not null)
            await SendAgainAsync(clients, inFlight, tally);
        if (answered.Count > 0)
            await AssertReplayedAsync(clients, answered[random.Next(answered.Count)]);

        // Nothing that was repeated has changed anything a second time.
        foreach (var (place, state) in expected)
            Same(place, state, await FindAsync(clients, place));
    }

    private async Task SendAgainAsync(AccountClients clients, Operation operation, CrashTests.Tally tally)
    {
        var before = expected[operation.Place];
        var after = operation.After(before);
        var found = await FindAsync(clients, operation.Place);
        if (found != before)
            Same(operation.Place, after, found);

        // Its outcome is kept in the transaction that did it: the one is there exactly if the other is.
        var answer = await SendAsync(clients, operation);
        if (before == after)
            tally.Invisible++;
        else if (found == after)
            tally.Applied++;
        else
            tally.NotApplied++;
        var replay = IsReplay(answer) ? "is" : "is not";
        if (before != after)
            Assert.True(IsReplay(answer) == (found == after),
                $"{operation.Place} was found as {found}, but the answer to its retry {replay} a replay");

        Acknowledge(operation, answer);
        Same(operation.Place, after, await FindAsync(clients, operation.Place));
        inFlight = null;
        await AssertReplayedAsync(clients, (operation, answer));
    }

    private static async Task AssertReplayedAsync(AccountClients clients, (Operation Operation, Answer Answer) first)
    {
        var again = (await SendAsync(clients, first.Operation)).Is(first.Answer.Status);
        Assert.True(IsReplay(again), $"{first.Operation.Key} was done again");
        Assert.Equal(Said(first.Answer), Said(again));
        Assert.Equal(CarriedOutBy(first.Answer), CarriedOutBy(again));
    }

    /// <summary>The answer must fit what was there before, whether it came at once or to a retry.</summary>
    private void Acknowledge(Operation operation, Answer answer)
    {
        var before = expected[operation.Place];
        var after = operation.After(before);
        answer.Is(after is null && before is null ? 404 : 200);
        if (after is not null)
            Assert.Equal(after.Version, Version(answer));
        else if (before is not null)
            Assert.Equal(before, new State(answer.Payload!, Version(answer)));
        expected[operation.Place] = after;
        answered.Add((operation, answer));
        Done.Add((CarriedOutBy(answer), answer.Status == 200));
    }

    private static string CarriedOutBy(Answer answer) =>
        answer.Headers.GetValues(IsReplay(answer) ? "Original-Request" : "Request-Id").Single();

    private Operation Next()
    {
        var place = expected.Keys.ElementAt(random.Next(expected.Count));
        var key = $"writer {number} operation {operations++}";
        // Of many lengths, and with the key at both ends: no payload is like another, and a torn one is like none.
        var payload = random.Next(4) == 0 ? null : $"{key} {new string('x', random.Next(4_500))} {key}";
        return new Operation(place, key, payload);
    }

    private static Task<Answer> SendAsync(AccountClients clients, Operation operation)
    {
        var (place, key, payload) = operation;
        var client = clients[place.Account];
        return payload is null
            ? client.DeleteAsync(place.Name, place.User, key)
            : client.SetAsync(place.Name, payload, place.User, key);
    }

    /// <summary>
    /// The body; an error's <c>doc_url</c> names the server's address, and here every start gets a port of its own.
    /// </summary>
    private static string Said(Answer answer) =>
        Regex.Replace(answer.Body.GetRawText(), "(?<=http://127[.]0[.]0[.]1:)[0-9]+(?=/docs/)", "0", RegexOptions.None,
            TimeSpan.FromSeconds(5));

    private static async Task<State?> FindAsync(AccountClients clients, Place place)
    {
        var answer = await clients[place.Account].FindAsync(place.Name, place.User);
        return answer.Status == 404 ? null : new State(answer.Is(200).Payload!, Version(answer));
    }

    private static void Same(Place place, State? wanted, State? found) =>
        Assert.True(wanted == found, $"{place} is {found} where {wanted} was expected");

    private static long Version(Answer answer) =>
        long.Parse(answer.Headers.GetValues("Coffer-Secret-Version").Single());

    private static bool IsReplay(Answer answer) =>
        answer.Headers.TryGetValues("Idempotent-Replayed", out var values) && values.Single() == "true";

    private static IEnumerable<Place> AllPlaces(int number) =>
        from account in Accounts
        from user in (string?[])[null, "usr_a"]
        from name in Enumerable.Range(0, Names)
        select new Place(account, user, $"writer {number} name {name}");
}
