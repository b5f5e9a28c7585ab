using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using Coffer.Transfer;

namespace Coffer.Tests.Access;

/// <summary>A secret that was stored by the backend of its place, for others to reach or not to.</summary>
internal sealed record Seed(Place Place, string Name, string Id, string Payload);

/// <summary>
/// What must be in the store: what the backends stored, and then what the rules let others set. It is compared with
/// what an admin exports, whole, so that nothing that was refused can have left a trace anywhere.
/// </summary>
internal sealed class AuthorizationStore(AuthorizationServer server)
{
    /// <summary>In every payload that a backend stored, before its number and an end.</summary>
    public const string Canary = "canary_";

    private readonly ConcurrentDictionary<(Place Place, string Name),
        (int Version, string[] Payloads)> expected = new();
    private readonly ConcurrentDictionary<int, Place> canaries = new();
    private int numbers;

    /// <summary>Stores a secret in each of the places.</summary>
    public async Task<Seed[]> SeedAsync(IReadOnlyList<Place> places)
    {
        var first = Interlocked.Add(ref numbers, places.Count) - places.Count;
        var seeds = new Seed[places.Count];
        await server.Client.AskAllAsync(places.Count, Ask, (i, answer) =>
        {
            Assert.True(answer.Status == 200, answer.Body);
            seeds[i] = new Seed(places[i], Name(i), (string)JsonNode.Parse(answer.Body)!["id"]!, Payload(i));
            canaries[first + i] = places[i];
            expected[(places[i], Name(i))] = (1, [Payload(i)]);
        });
        return seeds;

        BulkRequest Ask(int i)
        {
            var (app, live, account, user) = places[i];
            return new BulkRequest("POST", "/v1/apps/secrets", server.BackendOf(app, live,
                server.AccountId(app, account)),
                (user is null ? "scope[type]=account" : $"scope[type]=user&scope[user]={user}")
                    + $"&name={Name(i)}&payload={Payload(i)}");
        }

        string Name(int i) => $"k_{first + i}";

        string Payload(int i) => $"{Canary}{first + i}.";
    }

    /// <summary>A set that the rules allow; of several, any may have been the last.</summary>
    public void Set(Place place, string name, string payload) => expected.AddOrUpdate(
        (place, name), (1, [payload]), (_, stored) =>
            (stored.Version + 1, stored.Payloads[0].StartsWith(Canary, StringComparison.Ordinal) ? [payload] : [
                .. stored.Payloads, payload]));

    /// <summary>A delete that the rules allow.</summary>
    public void Delete(Seed seed) => Assert.True(expected.TryRemove((seed.Place, seed.Name), out _));

    /// <summary>The places of all canaries in a text; null stands for one that is nobody's.</summary>
    public IEnumerable<Place?> CanariesIn(string text)
    {
        for (var at = 0; (at = text.IndexOf(Canary, at, StringComparison.Ordinal)) >= 0;)
        {
            at += Canary.Length;
            var end = text.IndexOf('.', at);
            yield return end > 0 && int.TryParse(text.AsSpan(at, end - at), NumberStyles.None,
                CultureInfo.InvariantCulture, out var number)
                ? canaries.GetValueOrDefault(number)
                : null;
        }
    }

    /// <summary>What differs between the store and what must be in it.</summary>
    public async Task<IReadOnlyList<string>> DifferencesAsync()
    {
        var differences = new List<string>();
        var missing = expected.Keys.ToHashSet();
        foreach (var (place, secret) in await ExportAsync())
        {
            var (name, version, payload) =
                ((string)secret["name"]!, (int)secret["version"]!, (string)secret["payload"]!);
            if (!expected.TryGetValue((place, name), out var wanted))
                differences.Add($"{name} should not be there: {place}, {payload}");
            else if (wanted.Version != version || !wanted.Payloads.Contains(payload))
            {
                var payloads = string.Join(" or ", wanted.Payloads.Distinct());
                differences.Add($"{name} should have version {wanted.Version} of {payloads}, has {version} of "
                    + $"{payload}: {place}");
            }
            missing.Remove((place, name));
        }

        differences.AddRange(missing.Select(gone => $"{gone.Name} should be there: {gone.Place}"));
        return differences;
    }

    private async Task<List<(Place Place, JsonNode Secret)>> ExportAsync()
    {
        var found = new List<(Place, JsonNode)>();
        foreach (var app in (string[])["A", "B"])
        {
            var accounts = $"apps/{server.AppId(app)}/accounts";
            foreach (var account in (await AllAsync("GET", accounts)).Select(account => (string)account["id"]!))
            {
                // An account that no place has stays what it is, and so belongs to nothing that is expected.
                var label = account == server.AccountId(app, null) ? null : account["acct_".Length..];
                foreach (var live in (bool[])[false, true])
                {
                    foreach (var secret in await AllAsync("POST", $"{accounts}/{account}/export",
                        $"reason=test&livemode={(live ? "true" : "false")}"))
                        found.Add((new Place(app, live, label, (string?)secret["scope"]!["user"]), secret));
                }
            }
        }

        return found;
    }

    private async Task<List<JsonNode>> AllAsync(string method, string path, string? form = null)
    {
        var all = new List<JsonNode>();
        while (true)
        {
            var page = await server.AdminAsync(method,
                $"{path}?limit=100{(all.Count > 0 ? $"&starting_after={all[^1]["id"]}" : "")}", form);
            all.AddRange(page["data"]!.AsArray()!);
            if (!(bool)page["has_more"]!)
                return all;
        }
    }
}
