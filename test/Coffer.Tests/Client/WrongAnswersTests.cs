using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Coffer.Client;
using Coffer.Tests.Access;

namespace Coffer.Tests.Client;

/// <summary>
/// Any program may be at the address that somebody wrote. Whatever it answers, no method of the clients says that
/// something was done, and none ends with another exception than <see cref="CofferException"/>.
/// </summary>
[Trait("Reports from the field", "R2-01 R2-25 R2-30 R2-31")]
public sealed class WrongAnswersTests
{
    private static readonly Dictionary<string, Func<CofferAdmin, Task>> Management = new()
    {
        ["POST apps"] = admin => admin.ChangeAsync("apps", [("name", "Acme")]),
        ["GET apps"] = admin => admin.ListAsync("apps").ToListAsync().AsTask(),
        ["GET apps/{id}"] = admin => admin.FindAsync("apps/app_1"),
        ["POST apps/{id}"] = admin => admin.ChangeAsync("apps/app_1", [("disabled", "true")]),
        ["DELETE apps/{id}"] = admin => admin.DeleteAsync("apps/app_1"),
        ["POST apps/{id}/signing_secret/roll"] = admin => admin.ChangeAsync("apps/app_1/signing_secret/roll"),
        ["GET apps/{app}/accounts"] = admin => admin.ListAsync("apps/app_1/accounts").ToListAsync().AsTask(),
        ["POST apps/{app}/accounts/{account}/export"] = admin =>
            admin.ExportAsync("app_1", "acct_1", "r", livemode: false).ToListAsync().AsTask(),
        ["POST apps/{app}/accounts/{account}/forget"] = admin =>
            admin.ChangeAsync("apps/app_1/accounts/acct_1/forget"),
        ["POST apps/{app}/accounts/{account}/secrets/{id}/reveal"] = admin =>
            admin.ChangeAsync("apps/app_1/accounts/acct_1/secrets/appsecret_1/reveal", [("reason", "r")]),
        ["GET apps/{app}/installs"] = admin => admin.ListAsync("apps/app_1/installs").ToListAsync().AsTask(),
        ["POST apps/{app}/installs"] = admin => admin.ChangeAsync("apps/app_1/installs", [("account", "acct_1")]),
        ["POST apps/{app}/installs/{id}/uninstall"] = admin =>
            admin.ChangeAsync("apps/app_1/installs/appinst_1/uninstall"),
        ["GET secrets/search"] = admin => admin.ListAsync("secrets/search").ToListAsync().AsTask(),
        ["POST api_keys"] = admin => admin.ChangeAsync("api_keys", [("type", "admin")]),
        ["GET api_keys"] = admin => admin.ListAsync("api_keys").ToListAsync().AsTask(),
        ["GET api_keys/{id}"] = admin => admin.FindAsync("api_keys/key_1"),
        ["POST api_keys/{}/roll"] = admin => admin.ChangeAsync("api_keys/key_1/roll"),
        ["POST api_keys/{id}/revoke"] = admin => admin.ChangeAsync("api_keys/key_1/revoke"),
        ["GET receipts/{id}"] = admin => admin.FindAsync("receipts/rcpt_1"),
        ["POST webhook_endpoints"] = admin => admin.ChangeAsync("webhook_endpoints", [("url", "https://a.example")]),
        ["GET webhook_endpoints"] = admin => admin.ListAsync("webhook_endpoints").ToListAsync().AsTask(),
        ["GET webhook_endpoints/{id}"] = admin => admin.FindAsync("webhook_endpoints/we_1"),
        ["POST webhook_endpoints/{id}"] = admin => admin.ChangeAsync("webhook_endpoints/we_1"),
        ["DELETE webhook_endpoints/{id}"] = admin => admin.DeleteAsync("webhook_endpoints/we_1"),
        ["POST webhook_endpoints/{id}/secret/roll"] = admin =>
            admin.ChangeAsync("webhook_endpoints/we_1/secret/roll"),
        ["POST webhook_endpoints/{id}/retry"] = admin =>
            admin.ChangeAsync("webhook_endpoints/we_1/retry", [("event", "evt_1")]),
        ["GET webhook_endpoints/{}/deliveries"] = admin =>
            admin.ListAsync("webhook_endpoints/we_1/deliveries").ToListAsync().AsTask(),
        ["GET events"] = admin => admin.ListAsync("events").ToListAsync().AsTask(),
        ["GET events/{id}"] = admin => admin.FindAsync("events/evt_1"),
        ["GET audit"] = admin => admin.ListAsync("audit").ToListAsync().AsTask(),
        ["GET root_keys"] = admin => admin.FindAsync("root_keys"),
        ["POST root_keys/rotate"] = admin => admin.ChangeAsync("root_keys/rotate"),
        ["POST root_keys/rewrap"] = admin => admin.ChangeAsync("root_keys/rewrap"),
        ["POST root_keys/wrappers"] = admin => admin.ChangeAsync("root_keys/wrappers", [("wrapper", "exec:/w")]),
        ["POST root_keys/wrappers/remove"] = admin =>
            admin.ChangeAsync("root_keys/wrappers/remove", [("wrapper", "exec:/w")]),
        ["GET root_keys/confirmation"] = admin => admin.FindAsync("root_keys/confirmation"),
        ["POST root_keys/confirmation"] = admin => admin.ChangeAsync("root_keys/confirmation", [("keys", "00")]),
        ["GET root_keys/shares"] = admin => admin.FindAsync("root_keys/shares"),
        ["POST root_keys/shares"] = admin => admin.ChangeAsync("root_keys/shares", [("shares", "AAAA")]),
        ["DELETE root_keys/{}"] = admin => admin.DeleteAsync("root_keys/1"),
        ["GET tenant_keys"] = admin => admin.FindAsync("tenant_keys"),
        ["POST tenant_keys/rotate"] = admin => admin.ChangeAsync("tenant_keys/rotate", [("app", "app_1")]),
        ["GET settings"] = admin => admin.FindAsync("settings"),
        ["POST settings"] = admin =>
            admin.ChangeAsync("settings", [("name", "secrets-per-scope"), ("value", "20")]),
        ["GET status"] = admin => admin.FindAsync("status"),
    };

    private static readonly Dictionary<string, (string Right, Func<CofferClient, Task> Ask)> Secrets = new()
    {
        ["SetAsync"] = (Answers.Secret, client => client.SetAsync(SecretScope.Account, "k", "p")),
        ["FindAsync"] = (Answers.Secret, client => client.FindAsync(SecretScope.Account, "k")),
        ["FindAsync with payload"] = (With(Answers.Secret, "payload", "p"),
            client => client.FindAsync(SecretScope.Account, "k", withPayload: true)),
        ["ListAsync"] = ($$"""{"object": "list", "data": [{{Answers.Secret}}], "has_more": false}""",
            client => client.ListAsync(SecretScope.Account).ToListAsync().AsTask()),
        ["DeleteAsync"] = (With(Answers.Secret, "deleted", true),
            client => client.DeleteAsync(SecretScope.Account, "k")),
        ["MintAsync"] = (With(With(With(Answers.Ephemeral, "user", "usr_1"), "secret", "ek_test_1"), "permissions",
            new JsonArray()), client => client.MintAsync("usr_1")),
        ["ExpireAsync"] = (Answers.Ephemeral, client => client.ExpireAsync("ephkey_1")),
    };

    public static TheoryData<string> Asked() => [.. Management.Keys, .. Secrets.Keys];

    [Fact]
    public void Every_route_and_method_has_a_form_an_answer_and_a_row_here()
    {
        var served = AuthorizationTable.Routes.Select(route => $"{route.Method} {route.Path.Split('?')[0]}")
            .Where(route => route.Contains(" /admin/v1/", StringComparison.Ordinal))
            .Select(route => Bare(route.Replace("/admin/v1/", "", StringComparison.Ordinal))).Distinct().Order();
        Assert.Equal(served, AdminAnswers.Routes.Select(Bare).Order());
        Assert.Equal(AdminAnswers.Routes.Order(), Management.Keys.Order());
        Assert.Equal(AdminAnswers.Routes.Order(), Answers.Routes.Order());
        Assert.Equal(
            typeof(CofferClient).GetMethods().Where(method => method.DeclaringType == typeof(CofferClient)
                && method.Name.EndsWith("Async", StringComparison.Ordinal)).Select(method => method.Name).Order(),
            Secrets.Keys.Select(name => name.Split(' ')[0]).Distinct().Order());

        static string Bare(string route) =>
            Regex.Replace(route, @"\{\w*\}", "{}");
    }

    [Theory]
    [MemberData(nameof(Asked))]
    public async Task The_right_answer_is_believed_and_no_other(string asked)
    {
        var (right, _) = Of(asked);
        Assert.Null(await AskAsync(asked, (200, right)));
        foreach (var (status, body) in Wrong(asked, right))
        {
            var e = await AskAsync(asked, (status, body), (status, body), (status, body));
            Assert.True(e is CofferException, $"{status} {body}: {e}");
            Assert.DoesNotContain('\n', e.Message);
        }
    }

    [Theory]
    [InlineData(307)]
    [InlineData(308)]
    [InlineData(302)]
    public async Task A_redirect_is_an_error_and_the_payload_goes_nowhere_else(int status)
    {
        await using var other = await ScriptedServer.StartAsync((200, Answers.Secret));
        await using var first = await ScriptedServer.WithHeadersAsync(
            [("Location", $"http://ops:hunter2@{other.Url.Authority}/v1/apps/secrets?key=canary")], (status, ""));
        using var client = new CofferClient(first.Url, "sk_test_1");
        var e = await Assert.ThrowsAsync<CofferException>(() => client.SetAsync(SecretScope.Account, "k", "p"));
        Assert.Equal(status, e.Status);
        Assert.Contains($"{status} and names http://{other.Url.Authority}, which is not followed", e.Message,
            StringComparison.Ordinal);
        Assert.Empty(other.Requests);
    }

    [Theory]
    [InlineData(503, "5", 30, 7)] // as often as it fits
    [InlineData(429, "12", 24, 3)]
    [InlineData(503, "31", 0, 1)] // longer than it waits
    [InlineData(503, "0", 0.75, 3)] // as if it did not ask
    public async Task An_answer_that_asks_to_wait_is_waited_for(int status, string after, double seconds, int times)
    {
        var busy = (status, """{"error": {"message": "busy", "type": "api_error"}}""");
        await using var server = await ScriptedServer.WithHeadersAsync([("Retry-After", after)],
            [.. Enumerable.Repeat<(int, string)?>(busy, times + 1)]);
        var time = new WaitlessTime();
        using var client = new CofferClient(server.Url, "sk_test_1", time: time);
        var e = await Assert.ThrowsAsync<CofferException>(() => client.SetAsync(SecretScope.Account, "k", "p"));
        Assert.Equal((status, "busy", times), (e.Status, e.Message, server.Requests.Count));
        Assert.Equal(seconds, time.Waited.TotalSeconds);
        Assert.Single(server.Requests.Select(request => request.IdempotencyKey).Distinct());
    }

    [Fact]
    public async Task Text_that_is_not_well_formed_never_leaves()
    {
        await using var server = await ScriptedServer.StartAsync();
        using var client = new CofferClient(server.Url, "sk_test_1");
        using var admin = new CofferAdmin(server.Url, "ak_1");
        // Halves of pairs of surrogates, in the middle, at the beginning and at the end.
        foreach (var text in (string[])["tok\ud83den", "\udc00", "k\ud83d"])
        {
            foreach (var ask in (Func<Task>[])[
                () => client.SetAsync(SecretScope.Account, "k", text),
                () => client.SetAsync(SecretScope.Account, text, "p"),
                () => client.SetAsync(SecretScope.ForUser(text), "k", "p"),
                () => client.FindAsync(SecretScope.ForUser(text), "k"),
                () => client.DeleteAsync(SecretScope.Account, text),
                () => client.ListAsync(SecretScope.ForUser(text)).ToListAsync().AsTask(),
                () => client.MintAsync(text), () => admin.ChangeAsync("apps", [("name", text)])])
                await Assert.ThrowsAsync<ArgumentException>(ask);
        }

        Assert.Empty(server.Requests);
    }

    [Theory]
    [InlineData("http://ops:hunter2@127.0.0.1:1")]
    [InlineData("http://hunter2@127.0.0.1:1")]
    [InlineData("http://127.0.0.1:1/?key=hunter2")]
    [InlineData("http://127.0.0.1:1/#hunter2")]
    [InlineData("ftp://127.0.0.1/hunter2")]
    public void An_address_with_more_than_an_address_in_it_is_refused_and_not_shown(string url)
    {
        var e = Assert.Throws<ArgumentException>(() => new CofferClient(new Uri(url), "sk_test_1"));
        Assert.DoesNotContain("hunter2", e.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new CofferAdmin(new Uri(url), "ak_1"));
    }

    private static (string Right, Func<Uri, Task> Ask) Of(string asked)
    {
        if (Secrets.TryGetValue(asked, out var secrets))
            return (secrets.Right, AskSecretsAsync);
        var isList = asked is "GET apps" or "GET audit" or "GET api_keys" or "GET secrets/search" or "GET events"
                or "GET webhook_endpoints" or "GET webhook_endpoints/{}/deliveries" or "GET apps/{app}/installs"
            || asked.EndsWith("/accounts", StringComparison.Ordinal)
            || asked.EndsWith("/export", StringComparison.Ordinal);
        var right = isList ? Answers.List(asked, hasMore: false, "key_1") : Answers.Of(asked);
        return (right, AskManagementAsync);

        async Task AskSecretsAsync(Uri url)
        {
            using var client = new CofferClient(url, "sk_test_1", time: new WaitlessTime());
            await secrets.Ask(client);
        }

        async Task AskManagementAsync(Uri url)
        {
            using var admin = new CofferAdmin(url, "ak_1", new WaitlessTime());
            await Management[asked](admin);
        }
    }

    private static async Task<Exception?> AskAsync(string asked, params (int, string)[] answers)
    {
        await using var server = await ScriptedServer.StartAsync([.. answers.Select(answer => ((int, string)?)answer)]);
        return await Record.ExceptionAsync(() => Of(asked).Ask(server.Url));
    }

    // Other programs' answers, and the right one with each of its fields missing, null, or of another type; and with
    // another name on it.
    private static IEnumerable<(int Status, string Body)> Wrong(string asked, string right)
    {
        yield return (200, """{"status":"ok"}""");
        yield return (200, "{}");
        yield return (200, "[]");
        yield return (200, "true");
        yield return (200, "\"ok\"");
        yield return (200, "null");
        yield return (200, "");
        yield return (200, right[..^3]);
        yield return (200, $"text/html\n<!doctype html><title>Sign in</title>");
        yield return (200, $"text/plain\n{right}");
        yield return (201, right);
        yield return (202, right);
        yield return (204, "");
        yield return (200, """{"id": "\ud83d", "object": "app"}""");
        yield return (404, """{"detail": "Not Found"}""");
        yield return (502, "text/html\n<h1>Bad gateway</h1>");
        yield return (500, """{"error": "down"}""");
        yield return (400, """{"error": {"message": 1, "code": [], "param": {}}}""");
        var whole = JsonNode.Parse(right)!.AsObject();
        foreach (var wrong in whole["data"] is JsonArray ? Changed(asked, whole, list => list["data"]![0]!) : [])
            yield return (200, wrong);
        foreach (var wrong in Changed(asked, whole, thing => thing))
            yield return (200, wrong);
    }

    private static IEnumerable<string> Changed(string asked, JsonObject right, Func<JsonNode, JsonNode> part)
    {
        foreach (var (field, value) in part(right).AsObject())
        {
            // null is right where null may be, and these say what nothing rests on
            if (value is null || field is "verb" or "next_page" or "url")
                continue;
            foreach (var other in (string?[])[null, "[[1]]", "{\"x\": 1}", "1.5", "\"another\""])
            {
                // Another text is right where any is.
                if (other == "\"another\"" && value.GetValueKind() == JsonValueKind.String && !IsAsked(asked, field))
                    continue;
                var wrong = right.DeepClone();
                var place = part(wrong).AsObject();
                if (other is null)
                    place.Remove(field);
                else
                    place[field] = JsonNode.Parse(other);
                yield return wrong.ToJsonString();
            }
        }
    }

    // Whether the request says what the field must be.
    private static bool IsAsked(string asked, string field) =>
        field == "object" || asked.Contains($"{{{field}}}", StringComparison.Ordinal)
            || (asked, field) is ("SetAsync" or "FindAsync" or "FindAsync with payload" or "DeleteAsync", "name")
                or ("MintAsync", "user") or ("ExpireAsync", "id");

    private static string With(string json, string field, JsonNode value)
    {
        var thing = JsonNode.Parse(json)!;
        thing[field] = value;
        return thing.ToJsonString();
    }

    /// <summary>A clock on which every wait is over at once, and is counted.</summary>
    private sealed class WaitlessTime : TimeProvider
    {
        public TimeSpan Waited { get; private set; }

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            Waited += dueTime;
            return base.CreateTimer(callback, state, TimeSpan.Zero, period);
        }
    }
}
