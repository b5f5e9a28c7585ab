using System.Text.Json.Nodes;
using Coffer.Http;
using Coffer.Storage;
using static Coffer.Tests.Support.Operator;
using ApiKey = Coffer.Access.ApiKey;

namespace Coffer.Tests.Access;

/// <summary>
/// Who may do what on the management plane: every route for every role, and for an operator who is held to one app
/// (docs/management.md, "Roles").
/// </summary>
[Trait("Keys", "S6 S24 S35")]
public sealed class RoleTests : ServerTests
{
    /// <summary>
    /// The least role of each route, and a request that does no harm where there is nothing. ~ is an app.
    /// </summary>
    private const string Rows = """
        GET    /admin/v1/apps                                |viewer  |
        POST   /admin/v1/apps                                |operator|name=made
        GET    ~                                             |viewer  |
        POST   ~                                             |operator|disabled=true
        DELETE ~                                             |operator|
        POST   ~/signing_secret/roll                         |operator|grace_period=0
        GET    ~/accounts                                    |viewer  |
        POST   ~/accounts/{account}/export                   |owner   |reason=test
        POST   ~/accounts/{account}/forget                   |owner   |
        POST   ~/accounts/{account}/secrets/{secret}/reveal  |operator|reason=test
        GET    ~/installs                                    |viewer  |
        POST   ~/installs                                    |operator|account=acct_absent
        POST   ~/installs/{install}/uninstall                |owner   |
        GET    /admin/v1/secrets/search                      |viewer  |app={app}
        GET    /admin/v1/receipts/{receipt}                  |viewer  |
        POST   /admin/v1/api_keys                            |operator|type=secret&app={app}
        GET    /admin/v1/api_keys                            |viewer  |app={app}
        GET    /admin/v1/api_keys/{key}                      |viewer  |
        POST   /admin/v1/api_keys/{key}/roll                 |operator|grace_period=0
        POST   /admin/v1/api_keys/{key}/revoke               |operator|
        GET    /admin/v1/audit                               |viewer  |app={app}
        GET    /admin/v1/root_keys                           |owner   |
        POST   /admin/v1/root_keys/rotate                    |owner   |
        POST   /admin/v1/root_keys/rewrap                    |owner   |
        DELETE /admin/v1/root_keys/{version}                 |owner   |
        POST   /admin/v1/root_keys/wrappers                  |owner   |wrapper=file:/absent
        POST   /admin/v1/root_keys/wrappers/remove           |owner   |wrapper=file:/absent
        GET    /admin/v1/root_keys/confirmation              |owner   |
        POST   /admin/v1/root_keys/confirmation              |offline |keys=00
        GET    /admin/v1/root_keys/shares                    |owner   |
        POST   /admin/v1/root_keys/shares                    |owner   |shares=absent
        GET    /admin/v1/tenant_keys                         |owner   |
        POST   /admin/v1/tenant_keys/rotate                  |owner   |app=app_absent
        GET    /admin/v1/settings                            |owner   |
        POST   /admin/v1/settings                            |owner   |name=audit&value=default
        GET    /admin/v1/events                              |viewer  |
        GET    /admin/v1/events/{event}                      |viewer  |
        POST   /admin/v1/webhook_endpoints                   |operator|livemode=false&app={app}&url=https://a.invalid
        GET    /admin/v1/webhook_endpoints                   |viewer  |app={app}
        GET    /admin/v1/webhook_endpoints/{endpoint}        |viewer  |
        POST   /admin/v1/webhook_endpoints/{endpoint}        |operator|disabled=true
        DELETE /admin/v1/webhook_endpoints/{endpoint}        |operator|
        POST   /admin/v1/webhook_endpoints/{endpoint}/secret/roll|operator|grace_period=0
        POST   /admin/v1/webhook_endpoints/{endpoint}/retry  |operator|event=evt_absent
        GET    /admin/v1/webhook_endpoints/{endpoint}/deliveries|viewer  |
        GET    /admin/v1/status                              |viewer  |
        """;

    private static readonly string[] Roles = ["viewer", "operator", "owner"];

    private static readonly Dictionary<string, string> Absent = new()
    {
        ["app"] = "app_absent",
        ["account"] = "acct_absent",
        ["secret"] = "appsecret_absent",
        ["key"] = "key_absent",
        ["install"] = "appinst_absent",
        ["receipt"] = "rcpt_absent",
        ["version"] = "99",
        ["event"] = "evt_absent",
        ["endpoint"] = "we_absent",
    };

    private static IEnumerable<(string Method, string Path, string Least, string With)> Routes => Rows.Split('\n')
        .Select(row => row.Split('|', StringSplitOptions.TrimEntries))
        .Select(row => (row[0].Split(' ')[0], row[0].Split(' ')[^1].Replace("~", $"{Apps}/{{app}}",
            StringComparison.Ordinal), row[1], row[2]));

    [Fact]
    public void Every_route_of_the_management_plane_has_one_row_here() => Assert.Equal(
        AuthorizationTable.Routes.Where(route => route.Path.StartsWith("/admin/", StringComparison.Ordinal))
            .Select(route => $"{route.Method} {route.Path}").Order(),
        Routes.Select(route => $"{route.Method} {route.Path}").Order());

    [Fact]
    public void A_route_of_the_management_plane_that_names_no_act_does_not_start()
    {
        ApiRoute[] routes = [new("GET", "/admin/v1/open", static _ => new((ApiError?)null))];
        var refused = Assert.Throws<InvalidOperationException>(() =>
            new Pipeline(routes, null!, null!, isAdmin: true, new Uri("http://127.0.0.1/"), null!));
        Assert.StartsWith("GET /admin/v1/open names no act", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Each_route_is_for_its_role_and_those_above_it()
    {
        foreach (var role in Roles)
        {
            var caller = await CallerAsync(role);
            // One of them is for no role: for a key that was made beside the server (StoreRenewalTests).
            foreach (var (method, path, least, with) in Routes.Where(route => Roles.Contains(route.Least)))
            {
                var answer = await AskAsync(caller, method, path, with, Absent);
                var may = Array.IndexOf(Roles, role) >= Array.IndexOf(Roles, least);
                Assert.True((answer.Status is 200 or 400 or 404) == may && (may || answer.Status == 403),
                    $"{method} {path} as {role}: {answer.Status} {answer.Text}");
                if (!may)
                    answer.IsError(403, null, null,
                        $"This request needs an admin key with the role {least}, and the provided key has the role "
                            + $"{role}. Ask an owner of this store.");
            }
        }
    }

    [Fact]
    public async Task Admin_keys_are_made_rolled_and_revoked_by_owners_alone()
    {
        var (viewer, owner) = (await KeyAsync("viewer"), await KeyAsync("owner"));
        var operators = await CallerAsync("operator");
        var before = (await Server.Admin.Get(KeysPath, ("limit", "100"))).Ids().ToList();
        foreach (var role in Roles)
            (await operators.Post(KeysPath, [("type", "admin"), ("role", role)])).IsError(403, null, null);
        foreach (var id in (string[])[viewer.Id(), owner.Id()])
        {
            (await operators.Post($"{KeysPath}/{id}/roll", [("grace_period", "0")])).IsError(403, null, null);
            (await operators.Post($"{KeysPath}/{id}/revoke", [])).IsError(403, null, null);
        }

        Assert.Equal(before, (await Server.Admin.Get(KeysPath, ("limit", "100"))).Ids());
        (await Server.Client(viewer.Secret()).Get(Apps)).IsOk();
        // What rolls a key makes no more of it than it was.
        var rolled = (await Server.Admin.Post($"{KeysPath}/{viewer.Id()}/roll", [("grace_period", "0")])).IsOk().Json;
        Assert.Equal("viewer", (string)rolled["role"]!);
        (await Server.Client(rolled.Secret()).Post(Apps, [("name", "x")])).IsError(403, null, null);
    }

    [Fact]
    public async Task The_last_owners_key_from_anywhere_and_for_ever_stays()
    {
        var own = (await Server.KeyAsync("admin", null)).Id();
        await KeyAsync("operator");
        await KeyAsync("owner", ("addresses[]", "127.0.0.0/8"));
        await KeyAsync("owner", ("expires_at", $"{Server.Time.Seconds + 1_000}"));
        var refused = (await Server.Admin.Post($"{KeysPath}/{own}/revoke", [])).IsError(400, null, null);
        Assert.Contains("last owner's key", refused.Text, StringComparison.Ordinal);
        var other = await KeyAsync("owner");
        (await Server.Client(other.Secret()).Post($"{KeysPath}/{own}/revoke", [])).IsOk();
        (await Server.Client(other.Secret()).Post($"{KeysPath}/{other.Id()}/revoke", [])).IsError(400, null, null);
    }

    [Fact]
    public async Task What_a_key_cannot_be_is_refused()
    {
        var app = await Server.AppIdAsync();
        (await Server.Admin.Post(KeysPath, [("type", "admin"), ("role", "root")])).IsError(400, null, "role");
        (await Server.Admin.Post(KeysPath, [("type", "admin"), ("apps[]", app)])).IsError(400, null, "apps");
        (await Server.Admin.Post(KeysPath, [("type", "admin"), ("role", "viewer"), ("apps[]", "app_none")]))
            .IsError(400, null, "apps");
        (await Server.Admin.Post(KeysPath, [("type", "secret"), ("app", app), ("role", "owner")]))
            .IsError(400, null, "role");
        var own = (await Server.KeyAsync("admin", null)).Id();
        var made = await KeyAsync("operator", ("apps[]", app));
        Assert.Equal(app, (string?)Assert.Single(made["apps"]!.AsArray()));
        Assert.Equal(own, (string?)made["created_by"]);
    }

    [Theory]
    [InlineData("role = 'owner'")]
    [InlineData("role = 'owner', apps = NULL")]
    [InlineData("role = NULL, apps = NULL, created_by = NULL")]
    [InlineData("role = 'root'")]
    [InlineData("apps = NULL")]
    [InlineData("apps = apps || ',app_other'")]
    [InlineData("created_by = NULL")]
    [InlineData("offline = 1")]
    public async Task An_edited_role_is_worth_nothing(string edit)
    {
        var key = await KeyAsync("operator", ("apps[]", await Server.AppIdAsync()));
        await Server.StopAsync();
        Assert.Equal(1, Server.Execute($"UPDATE api_keys SET {edit} WHERE id = '{key.Id()}'"));
        await Server.StartAgainAsync();
        (await Server.Client(key.Secret()).Get(Apps)).IsError(500, null, null, type: "api_error");
        Assert.True((bool)(await Server.Admin.Get($"{KeysPath}/{key.Id()}")).IsOk().Json["damaged"]!);
    }

    [Fact]
    public async Task A_role_that_is_not_known_is_refused_even_if_Coffer_wrote_it()
    {
        var key = await KeyAsync("viewer");
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var row = (await engine.FindApiKeyAsync(key.Id(), default))!;
            row = ApiKey.Prove(instance, row with { Role = "auditor" });
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row)));
            return true;
        });
        await Server.StartAgainAsync();
        (await Server.Client(key.Secret()).Get(Apps)).IsError(500, null, null, type: "api_error");
    }

    [Fact]
    public async Task An_operator_of_one_app_sees_nothing_of_another_on_any_route()
    {
        var (mine, other) = (await Server.NewAppAsync("mine"), await Server.AppIdAsync());
        var secret = (await Server.Client(account: "acct_theirs").Set("name_theirs")).IsOk().Id!;
        var key = await Server.NewKeyAsync("secret", other);
        (await Server.Client(account: "acct_gone").Set("gone")).IsOk();
        var receipt = (string)(await Server.ForgetAsync("acct_gone")).IsOk().Json["receipt_id"]!;
        var admin = (await Server.KeyAsync("admin", null)).Id();
        var own = await Server.NewKeyAsync("secret", mine);
        (await Server.Client(own.Secret(), "acct_mine").Set("name_mine")).IsOk();
        var caller = Server.Client((await KeyAsync("operator", ("apps[]", mine))).Secret());
        Dictionary<string, string> theirs = new(Absent)
        {
            ["app"] = other,
            ["account"] = "acct_theirs",
            ["secret"] = secret,
            ["key"] = key.Id(),
            ["receipt"] = receipt,
        };

        foreach (var (method, path, _, with) in Routes)
        {
            var (found, absent) = (await AskAsync(caller, method, path, with, theirs),
                await AskAsync(caller, method, path, with, Absent));
            // As if it were not there: the answer says no more than the request did.
            Assert.True(found.Status == absent.Status && Without(found.Text, theirs) == Without(absent.Text, Absent),
                $"{method} {path}:\n{found.Text}\n{absent.Text}");
            if (method == "GET")
            {
                var all = await caller.Get(Fill(path, theirs), ("limit", "100"));
                Assert.True(theirs.Where(id => id.Key != "version" && !path.Contains($"{{{id.Key}}}",
                    StringComparison.Ordinal)).All(id => !all.Text.Contains(id.Value, StringComparison.Ordinal))
                    && !all.Text.Contains("theirs", StringComparison.Ordinal), $"{path}: {all.Text}");
            }
        }

        (await caller.Get($"{KeysPath}/{admin}")).IsError(404, "resource_missing", "id");
        (await caller.Post($"{KeysPath}/{admin}/revoke", [])).IsError(404, "resource_missing", "id");
        (await Server.Client(key.Secret()).List()).IsOk();

        // And all of its own.
        Assert.Equal([mine], (await caller.Get(Apps)).Ids());
        Assert.Equal([own.Id()], (await caller.Get(KeysPath)).Ids());
        Assert.Equal("name_mine", (string)Assert.Single(
            (await caller.Get("/admin/v1/secrets/search")).IsOk().Json["data"]!.AsArray())!["name"]!);
        var entries = (await caller.Get("/admin/v1/audit", ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        Assert.NotEmpty(entries);
        Assert.All(entries, entry => Assert.Equal(mine, (string?)entry!["app"]));
        (await caller.Post(Apps, [("name", "more")])).IsError(403, null, null);
        (await caller.Post($"{Apps}/{mine}", [("disabled", "true")])).IsOk();
    }

    [Fact]
    public async Task Lists_of_one_who_is_held_to_apps_come_page_by_page()
    {
        var apps = new List<string>();
        for (var i = 0; i < 3; i++)
        {
            Server.Time.Move(TimeSpan.FromSeconds(1));
            apps.Insert(0, await Server.NewAppAsync($"app {i}"));
            await Server.NewKeyAsync("secret", apps[0]);
            await Server.NewKeyAsync("secret", apps[0], ("livemode", "true"));
        }

        var caller = Server.Client((await KeyAsync("viewer", ("apps[]", apps[2]), ("apps[]", apps[0]))).Secret());
        Assert.Equal([apps[0], apps[2]], await caller.WalkAsync(Apps, 1));
        var keys = await caller.WalkAsync(KeysPath, 3);
        Assert.Equal((4, 4), (keys.Count, keys.Distinct().Count()));
        Assert.Equal(await Server.Admin.WalkAsync(KeysPath, 3, ("app", apps[0])),
            await caller.WalkAsync(KeysPath, 1, ("app", apps[0])));
        Assert.Equal(keys[..2], (await caller.Get(KeysPath, ("ending_before", keys[2]))).Ids());
        (await caller.Get(Apps, ("starting_after", "app_none"))).IsError(400, "resource_missing", "starting_after");
    }

    private async Task<TestServer.Caller> CallerAsync(string role) =>
        Server.Client((await KeyAsync(role)).Secret());

    private Task<JsonNode> KeyAsync(string role, params (string, string)[] more) =>
        Server.NewKeyAsync("admin", null, [("role", role), .. more]);

    private static Task<Answer> AskAsync(TestServer.Caller caller, string method, string path, string with,
        Dictionary<string, string> ids) => method == "POST"
        ? caller.Raw(HttpMethod.Post, Fill(path, ids), Fill(with, ids))
        : caller.Raw(new HttpMethod(method), $"{Fill(path, ids)}?{Fill(with, ids)}", null);

    private static string Fill(string text, Dictionary<string, string> ids) =>
        ids.Aggregate(text, (rest, id) => rest.Replace($"{{{id.Key}}}", id.Value, StringComparison.Ordinal));

    // What the request said, and when the status was asked for.
    private static string Without(string text, Dictionary<string, string> ids) => string.Join('\n', ids.Values
        .Aggregate(text, (rest, id) => rest.Replace(id, "id", StringComparison.Ordinal)).Split('\n')
        .Where(line => !line.Contains("\"uptime\"", StringComparison.Ordinal)));
}
