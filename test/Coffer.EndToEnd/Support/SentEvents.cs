using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>What a store says has happened, and what a receiver of webhooks has of it.</summary>
internal static class SentEvents
{
    /// <summary>An event as the store lists it.</summary>
    public sealed record Listed(string Id, string Type, string? Request);

    /// <summary>Switches the events of an app on, and has those of test mode sent.</summary>
    /// <returns>The endpoint's secret.</returns>
    public static async Task<string> ListenAsync(Uri url, string admin, Receiver receiver)
    {
        using var client = new WireClient(url, admin);
        var app = (await client.GetAsync("/admin/v1/apps")).Is(200).Body.GetProperty("data")[0].GetProperty("id")
            .GetString()!;
        (await client.PostAsync($"/admin/v1/apps/{app}", [("events", "true")])).Is(200);
        var made = (await client.PostAsync("/admin/v1/webhook_endpoints",
            [("app", app), ("livemode", "false"), ("url", $"{receiver.Url}")])).Is(200).Body;
        return made.GetProperty("secret").GetString()!;
    }

    /// <summary>
    /// Waits until the receiver has each event that the store lists, of which what came first for each account came in
    /// the order of commits, but for what says that it did not.
    /// </summary>
    /// <returns>What the store lists, oldest first.</returns>
    public static async Task<IReadOnlyList<Listed>> AssertAllAsync(Uri url, string key, Receiver receiver)
    {
        var listed = await ListAsync(url, key);
        await Until.SoAsync("all of them were sent", () =>
        {
            var seen = receiver.All.Select(static each => each.Id).ToHashSet(StringComparer.Ordinal);
            return listed.All(each => seen.Contains(each.Id));
        }, TimeSpan.FromSeconds(60), () => $"{receiver.All.Count} came, of {listed.Count}");
        var place = listed.Index().ToDictionary(static each => each.Item.Id, static each => each.Index,
            StringComparer.Ordinal);
        foreach (var account in receiver.All.Where(static each => !each.IsOutOfOrder)
            .GroupBy(static each => each.Account))
        {
            var firsts = account.Select(static each => each.Id).Distinct(StringComparer.Ordinal)
                .Select(id => place[id]).ToList();
            Assert.Equal(firsts.Order(), firsts);
        }

        return listed;
    }

    private static async Task<IReadOnlyList<Listed>> ListAsync(Uri url, string key)
    {
        using var client = new WireClient(url, key);
        var all = new List<Listed>();
        for (var hasMore = true; hasMore;)
        {
            (string, string)[] after = all.Count > 0 ? [("starting_after", all[^1].Id)] : [];
            var page = (await client.GetAsync("/v1/events", [("limit", "100"), .. after])).Is(200).Body;
            all.AddRange(page.GetProperty("data").EnumerateArray().Select(static each => new Listed(
                each.GetProperty("id").GetString()!, each.GetProperty("type").GetString()!,
                each.GetProperty("request").GetProperty("id").GetString())));
            hasMore = page.GetProperty("has_more").GetBoolean();
        }

        all.Reverse();
        return all;
    }
}
