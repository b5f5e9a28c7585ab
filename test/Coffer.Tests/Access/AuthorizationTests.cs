using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Transfer;

namespace Coffer.Tests.Access;

/// <summary>
/// Every route for every principal, as <see cref="AuthorizationTable"/> says: who is let in is, and who is refused
/// changes nothing and learns nothing. And there is no route that is not in the table.
/// </summary>
public sealed class AuthorizationTests(AuthorizationServer server) : IClassFixture<AuthorizationServer>
{
    /// <summary>
    /// How many pairs of a route and a principal there are that the table lets in; all others it refuses.
    /// </summary>
    private const int Admitted = 204;

    /// <summary>How many routes keep their answer for an idempotency key: each POST but export and reveal.</summary>
    private const int Kept = 26;

    private static readonly string[] Methods = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD"];

    private static readonly Dictionary<string, string> Absent = new()
    {
        ["app"] = "app_absent",
        ["account"] = "acct_absent",
        ["secret"] = "appsecret_absent",
        ["key"] = "key_absent",
        ["install"] = "appinst_absent",
        ["own_app"] = "app_absent",
        ["mode"] = "test",
        ["receipt"] = "rcpt_absent",
        ["name"] = "absent",
        ["version"] = "99",
        ["wrapper"] = "file:/absent",
        ["shares"] = "AAAA",
        ["event"] = "evt_absent",
        ["endpoint"] = "we_absent",
    };

    [Fact]
    public void Every_route_has_one_row_and_every_row_a_route()
    {
        var types = typeof(Server).Assembly.GetTypes();
        var routes = KnownRoutes.All.Select(route => $"{route.Method} {route.Path}").ToList();
        Assert.Equal(routes.Order(), AuthorizationTable.Routes.Select(row => row.ToString()).Order());
        Assert.All(types.Where(type => type.GetProperty("Routes") is not null),
            type => Assert.StartsWith("Coffer.Api", type.Namespace));
        Assert.Equal(60, routes.Count);
    }

    [Fact]
    public void Every_column_has_a_principal_and_every_principal_a_column() =>
        Assert.Equal(
            AuthorizationTable.Routes[0].Cells.Keys.Except(["route", "with"]).Order(),
            AuthorizationTable.Principals.Select(principal => principal.Column).Distinct().Order());

    [Fact]
    public async Task Who_may_not_use_a_route_is_told_and_changes_nothing()
    {
        var existing = await server.MakeAppAsync(stores: true);
        var (ephemeral, token) = await server.MintAsync(server.BackendOf("A", live: false, null));
        var seed = (await server.Store.SeedAsync([new Place("A", false, null, null)]))[0];
        existing.Add("name", seed.Name);
        existing.Add("own_app", existing["app"]);
        existing.Add("mode", "test");
        var refused = (
            from row in AuthorizationTable.Routes
            from principal in AuthorizationTable.Principals
            where row.Status(principal.Column) != 200
            select (Row: row, Principal: principal, Ids: new Dictionary<string, string>(existing)
            {
                ["key"] = row.Path.StartsWith("/v1/",
                    StringComparison.Ordinal) ? ephemeral : existing["key"]
            })).ToList();
        Assert.Equal(60 * 42 - Admitted, refused.Count);
        var (answers, absent, before) =
            (new BulkAnswer[refused.Count], new BulkAnswer[refused.Count], await SnapshotAsync(existing));

        await server.Client.AskAllAsync(refused.Count,
            i => Request(refused[i].Row, refused[i].Principal, refused[i].Ids), (i, answer) => answers[i] = answer);
        await server.Client.AskAllAsync(refused.Count, i => Request(refused[i].Row, refused[i].Principal, Absent),
            (i, answer) => absent[i] = answer);

        var wrong = refused.Index().Where(
            ask =>
                answers[ask.Index].Status != ask.Item.Row.Status(ask.Item.Principal.Column)
                    || answers[ask.Index] != absent[ask.Index])
            .Select(
                ask =>
                    $"{ask.Item.Row} | {ask.Item.Principal}: should be "
                        + $"{ask.Item.Row.Status(ask.Item.Principal.Column)} whether or not it exists\n    "
                            + $"{answers[ask.Index]}\n    {absent[ask.Index]}").ToList();
        Assert.True(wrong.Count == 0, $"{wrong.Count} are wrong:\n{string.Join('\n', wrong.Take(20))}");
        Assert.Equal(before, await SnapshotAsync(existing));
        await server.ProveAsync(AuthorizationServer.Bearer(token));
    }

    [Fact]
    public async Task Who_may_use_a_route_is_let_in()
    {
        var wrong = new List<string>();
        var asked = 0;
        foreach (var row in AuthorizationTable.Routes)
        {
            foreach (var principal in AuthorizationTable.Principals.Where(
                principal => row.Status(principal.Column) == 200))
            {
                // Each gets something of its own to do it to: some of it is gone afterwards.
                var ids = await IdsAsync(row, principal);
                if (row.Path.Contains("/root_keys", StringComparison.Ordinal))
                    await server.ReadyRootKeysAsync(row.Path, ids);
                if (row.Path == "/v1/events/{event}")
                    ids.Add("event", await server.EventAsync(principal.App!, principal.Live));
                if (row.Path == "/v1/ephemeral_keys/{key}")
                    ids.Add("key", (await server.MintAsync(server.HeadersOf(principal))).Id);
                var answer = await server.Client.AskAsync(Request(row, principal, ids));
                asked++;
                if (answer.Status != 200)
                    wrong.Add($"{row} | {principal}: should be 200\n    {answer}");
            }
        }

        Assert.True(wrong.Count == 0, $"{wrong.Count} are wrong:\n{string.Join('\n', wrong)}");
        Assert.Equal(Admitted, asked);
    }

    [Fact]
    public async Task A_kept_answer_is_replayed_to_nobody_whom_the_route_refuses()
    {
        var replays = 0;
        foreach (var row in AuthorizationTable.Routes.Where(row => row.Method == "POST"
            && AuthorizationTable.Principals.Any(principal => row.Status(principal.Column) == 200)))
        {
            var first = AuthorizationTable.Principals.First(principal => row.Status(principal.Column) == 200);
            var ids = await IdsAsync(row, first);
            Assert.Equal(200, (await AskAsync(first)).Status);
            if ((await AskAsync(first)).Head.Contains("Idempotent-Replayed: true", StringComparison.Ordinal))
                replays++;
            // An admin key's idempotency keys are its own; an app's keys share theirs.
            foreach (var other in AuthorizationTable.Principals.Where(
                principal =>
                    principal != first && (row.Status(principal.Column) != 200 || principal.Column == "admin")))
            {
                var answer = await AskAsync(other);
                Assert.False(
                    answer.Head.Contains("\nIdempotent-Replayed:", StringComparison.Ordinal)
                        || (other.Column != "admin" && answer.Status != row.Status(other.Column)),
                    $"{row} | {other}: {answer}");
            }

            Task<BulkAnswer> AskAsync(Principal principal)
            {
                var request = Request(row, principal, ids);
                return server.Client.AskAsync(
                    request with { Headers = $"{request.Headers}Idempotency-Key: {row.Path}\r\n" });
            }
        }

        Assert.Equal(Kept, replays);
    }

    [Fact]
    public async Task An_ephemeral_key_is_revoked_by_its_own_app_in_its_own_mode_and_account_only()
    {
        var path = AuthorizationTable.Route("DELETE", "/v1/ephemeral_keys/{key}");
        foreach (var owner in Place.All.Where(place => place.User is null))
        {
            var (id, token) = await server.MintAsync(Backend(owner));
            foreach (var other in Place.All.Where(place => place.User is null && place != owner))
            {
                var answer = await Revoke(other, id);
                Assert.True(answer.Status == 404, $"{other} revoked a key of {owner}: {answer}");
                var absent = id[..^1] + (id[^1] == 'x' ? 'y' : 'x');
                Assert.Equal(answer with { Body = answer.Body.Replace(id, absent, StringComparison.Ordinal) },
                    await Revoke(other, absent));
            }

            await server.ProveAsync(AuthorizationServer.Bearer(token));
            Assert.Equal(200, (await Revoke(owner, id)).Status);
            Assert.Equal(
                401,
                (await server.Client.AskAsync(
                    new BulkRequest("GET", "/v1/apps/secrets?scope[type]=account",
                        AuthorizationServer.Bearer(token)))).Status);
        }

        string Backend(Place place) =>
            server.BackendOf(place.App, place.Live, server.AccountId(place.App, place.Account));

        Task<BulkAnswer> Revoke(Place place, string id) =>
            server.Client.AskAsync(
                new BulkRequest(path.Method, path.Path.Replace("{key}", id, StringComparison.Ordinal), Backend(place)));
    }

    [Fact]
    public async Task Another_method_is_no_route_whoever_asks()
    {
        foreach (var path in AuthorizationTable.Routes.Select(row => row.Path).Distinct())
        {
            var target = Fill(path, Absent);
            foreach (var method in Methods.Where(
                method => !AuthorizationTable.Routes.Any(row => row.Path == path && row.Method == method)))
                await IsNoRouteAsync(method, target);
            if (path.StartsWith("/admin/", StringComparison.Ordinal))
                await IsNoRouteAsync("OPTIONS", target);
        }
    }

    [Fact]
    public async Task Another_spelling_of_a_path_is_no_route_whoever_asks()
    {
        foreach (var row in AuthorizationTable.Routes)
        {
            var path = Fill(row.Path, Absent);
            var last = path.LastIndexOf('/') + 1;
            foreach (var target in (string[])[
                path + "/", "//" + path, path.ToUpperInvariant(),
                    $"{path[..last]}%{(int)path[last]:x2}{path[(last + 1)..]}", $"{path[..last]}./{path[last..]}",
                $"/v1/..{path}", $"/admin/v1/..{path}", path.Insert(last, "/"), path + ";a=b", path
                    + "%2f", path.Replace("v1", "v2", StringComparison.Ordinal),
                $"http://{server.Url.Authority}{path[..last]}%{(int)path[last]:x2}{path[(last + 1)..]}",
                    $"http://{server.Url.Authority}/x/..{path}",
                $"http://{server.Url.Authority}?{path}"])
                await IsNoRouteAsync(row.Method, target);
        }
    }

    [Fact]
    public async Task Nothing_but_the_documented_pages_is_answered_without_a_key()
    {
        await OnlyOpenPagesAnswerAsync(server.Url, AuthorizationTable.Open);
        Assert.Equal(404, (await server.Client.AskAsync(new BulkRequest("GET", "/"))).Status);
    }

    [Fact]
    public async Task Dev_mode_answers_its_own_page_too_without_a_key()
    {
        await using var dev = await TestServer.StartAsync(dev: new CofferOptions.DevOptions(null, SeedFixtures: true));
        await OnlyOpenPagesAnswerAsync(dev.Url, [.. AuthorizationTable.Open, "/"]);
    }

    private async Task<Dictionary<string, string>> IdsAsync(RouteRow row, Principal principal)
    {
        if (principal.App is not { } app)
        {
            return await server.MakeAppAsync(stores: row.Path.Contains("{account}", StringComparison.Ordinal)
                || row.Path.Contains("{install}", StringComparison.Ordinal));
        }

        var place = new Place(app, principal.Live, principal.Account, null);
        var ids = new Dictionary<string, string>
        {
            ["own_app"] = server.AppId(app),
            ["mode"] = principal.Live ? "live" : "test",
        };
        if (row.With.Contains("{name}", StringComparison.Ordinal))
            ids.Add("name", (await server.Store.SeedAsync([place]))[0].Name);
        if (row.Path.Contains("{install}", StringComparison.Ordinal))
            ids.Add("install", await server.InstallAsync(app, principal.Live));
        return ids;
    }

    private static async Task OnlyOpenPagesAnswerAsync(Uri url, IEnumerable<string> open)
    {
        using var http = new HttpClient { BaseAddress = url };
        foreach (var page in open)
            Assert.Equal(200, (int)(await http.GetAsync(new Uri(page, UriKind.Relative))).StatusCode);
        foreach (var row in AuthorizationTable.Routes)
        {
            using var request = new HttpRequestMessage(new HttpMethod(row.Method),
                new Uri(Fill(row.Path, Absent), UriKind.Relative));
            Assert.Equal(401, (int)(await http.SendAsync(request)).StatusCode);
        }
    }

    private async Task IsNoRouteAsync(string method, string target)
    {
        foreach (var name in (string[])["none", "secret", "admin"])
        {
            var answer = await server.Client.AskAsync(
                new BulkRequest(method, target,
                    server.HeadersOf(AuthorizationTable.Principals.Single(principal => principal.Name == name))));
            Assert.True(answer.Status == 404, $"{method} {target} as {name}: {answer}");
        }
    }

    private BulkRequest Request(RouteRow row, Principal principal, Dictionary<string, string> ids)
    {
        var (path, with) = (Fill(row.Path, ids), Fill(row.With, ids));
        return row.Method == "POST"
            ? new BulkRequest(row.Method, path, server.HeadersOf(principal), with)
            : new BulkRequest(row.Method, with.Length > 0 ? $"{path}?{with}" : path, server.HeadersOf(principal));
    }

    private static string Fill(string template, Dictionary<string, string> ids) =>
        Regex.Replace(
            template, @"\{(\w+)\}",
            place =>
                ids.TryGetValue(place.Groups[1].Value, out var id)
                    ? id
                    : throw new InvalidOperationException(template));

    /// <summary>What an admin sees of everything, but for when keys were last used.</summary>
    private async Task<string> SnapshotAsync(Dictionary<string, string> made)
    {
        var seen = new List<string>();
        seen.Add((await server.AdminAsync("GET", "settings")).ToJsonString());
        foreach (var list in (string[])["apps", "api_keys", "secrets/search", $"apps/{made["app"]}/accounts",
            $"apps/{server.AppId("A")}/accounts"])
        {
            JsonNode page;
            var after = "";
            do
            {
                page = await server.AdminAsync("GET", $"{list}?limit=100{after}");
                seen.Add(page.ToJsonString());
                after = $"&starting_after={page["data"]!.AsArray().LastOrDefault()?["id"]}";
            }
            while ((bool)page["has_more"]!);
        }

        seen.Add(
            (await server.AdminAsync("POST", $"apps/{made["app"]}/accounts/{made["account"]}/export",
                "reason=test")).ToJsonString());
        return Regex.Replace(string.Join('\n', seen), "\"last_used\":[0-9nul]+", "");
    }
}
