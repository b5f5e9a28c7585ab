using Coffer.Client;

namespace Coffer.Tests.Client;

/// <summary>
/// The client of the management plane, and the transport that it shares with <see cref="CofferClient"/>.
/// </summary>
public sealed class CofferAdminTests
{
    private const string Missing = """
        {"error": {"code": "resource_missing", "message": "No such app: 'app_1'", "type": "invalid_request_error"}}
        """;

    private static readonly string App = Answers.Of("POST apps/{id}");

    [Fact]
    public async Task A_change_is_a_form_with_what_has_a_value()
    {
        await using var server = await ScriptedServer.StartAsync((200, App));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        var app = await admin.ChangeAsync("apps/app_1",
            [("name", "Acme & Co"), ("secrets_per_scope", null), ("origins", ""), ("x[]", "1"), ("x[]", "2")]);
        Assert.Equal("app_1", app.GetProperty("id").GetString());
        var request = Assert.Single(server.Requests);
        Assert.Equal(("POST", "/admin/v1/apps/app_1", "name=Acme+%26+Co&origins=&x%5B%5D=1&x%5B%5D=2", "Bearer ak_1"),
            (request.Method, request.Target, request.Body, request.Authorization));
        Assert.NotNull(request.IdempotencyKey);
    }

    [Fact]
    public async Task A_change_that_is_tried_again_keeps_its_idempotency_key_and_another_has_its_own()
    {
        await using var server = await ScriptedServer.StartAsync(null, (503, "{}"), (200, App), (200, App));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        await admin.ChangeAsync("apps/app_1");
        await admin.ChangeAsync("apps/app_1");
        Assert.Equal(4, server.Requests.Count);
        Assert.Single(server.Requests.Take(3).Select(request => request.IdempotencyKey).Distinct());
        Assert.NotEqual(server.Requests[0].IdempotencyKey, server.Requests[3].IdempotencyKey);
    }

    [Fact]
    public async Task The_third_failure_is_the_last()
    {
        await using var server = await ScriptedServer.StartAsync(
            (500, "{}"), (500, "{}"), (500, """{"error": {"message": "An error occurred."}}"""));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        var e = await Assert.ThrowsAsync<CofferException>(() => admin.FindAsync("settings"));
        Assert.Equal((500, "An error occurred.", "req_1", false), (e.Status, e.Message, e.RequestId, e.IsAbsent));
    }

    [Fact]
    public async Task A_list_is_walked_by_its_last_id()
    {
        await using var server = await ScriptedServer.StartAsync(
            (200, Answers.List("GET api_keys", hasMore: true, "a", "b")),
            (200, Answers.List("GET api_keys", hasMore: false, "c")));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        Assert.Equal(
            ["a", "b", "c"],
            await admin.ListAsync("api_keys", [("app", "app_1")]).Select(key => key.GetProperty("id").GetString())
                .ToListAsync());
        Assert.Equal(
            ["/admin/v1/api_keys?app=app_1&limit=100", "/admin/v1/api_keys?app=app_1&limit=100&starting_after=b"],
            server.Requests.Select(request => request.Target));
    }

    [Fact]
    public async Task A_search_is_walked_by_its_next_page_and_no_further_than_it_is_read()
    {
        const string Empty = """{"object": "search_result", "data": [], "has_more": true, "next_page": "p3"}""";
        var page = Answers.List("GET secrets/search", hasMore: true, "a", "b");
        await using var server = await ScriptedServer.StartAsync((200, page), (200, Empty), (200, page));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        Assert.Equal(4, await admin.ListAsync("secrets/search", [("limit", "2")]).Take(4).CountAsync());
        Assert.Equal(["?limit=2", "?limit=2&page=p+2", "?limit=2&page=p3"],
            server.Requests.Select(request => request.Target["/admin/v1/secrets/search".Length..]));
    }

    [Fact]
    public async Task An_export_is_walked_with_POSTs_so_that_nothing_between_keeps_it()
    {
        const string Route = "POST apps/{app}/accounts/{account}/export";
        await using var server = await ScriptedServer.StartAsync(
            (200, Answers.List(Route, hasMore: true, "a")), (200, Answers.List(Route, hasMore: false)));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        Assert.Single(await admin.ExportAsync("app_1", "acct_1", "a reason", livemode: true).ToListAsync());
        Assert.All(
            server.Requests,
            request =>
                Assert.Equal(("POST", "/admin/v1/apps/app_1/accounts/acct_1/export"),
                    (request.Method, request.Target)));
        Assert.Equal(
            ["reason=a+reason&livemode=true&limit=100", "reason=a+reason&livemode=true&limit=100&starting_after=a"],
            server.Requests.Select(request => request.Body));
    }

    [Fact]
    public async Task What_is_not_there_is_told_from_an_address_that_knows_no_management_plane()
    {
        await using var server = await ScriptedServer.StartAsync(
            (404, Missing), (404, """{"error": {"message": "Unrecognized request URL"}}"""));
        using var admin = new CofferAdmin(server.Url, "ak_1");
        Assert.True((await Assert.ThrowsAsync<CofferException>(() => admin.DeleteAsync("apps/app_1"))).IsAbsent);
        Assert.False((await Assert.ThrowsAsync<CofferException>(() => admin.DeleteAsync("apps/app_1"))).IsAbsent);
        Assert.Equal("DELETE", server.Requests[0].Method);
    }

    [Theory]
    [InlineData("")]
    [InlineData("apps/")]
    [InlineData("apps//x")]
    [InlineData("apps/..")]
    [InlineData("apps/a?b")]
    [InlineData("apps/a%2Fb")]
    [InlineData("apps/é")]
    public async Task No_id_leads_to_another_path(string path)
    {
        using var admin = new CofferAdmin(new Uri("http://127.0.0.1:1"), "ak_1");
        await Assert.ThrowsAsync<ArgumentException>(async () => await admin.FindAsync(path));
    }

    [Fact]
    public async Task An_ephemeral_key_is_minted_and_ended_and_prints_without_its_secret()
    {
        await using var server = await ScriptedServer.StartAsync(
            (200, """
                {"id": "ephkey_1", "object": "ephemeral_key", "account": "acct_1", "created": 1763712000,
                "expires": 1763712900, "livemode": false,
                 "permissions": ["secret_read"], "secret": "ek_test_1", "user": "usr_1"}
                """), (200, Answers.Ephemeral), (404, Missing));
        using var client = new CofferClient(server.Url, "sk_test_1", "acct_1");
        var key = await client.MintAsync("usr_1", TimeSpan.FromMinutes(15), ["secret_read"]);
        Assert.Equal("user=usr_1&expires_in=900&permissions%5B%5D=secret_read", server.Requests[0].Body);
        Assert.Equal(("ephkey_1", "acct_1", "usr_1", false, "ek_test_1"),
            (key.Id, key.Account, key.User, key.Livemode, key.Secret));
        Assert.Equal(TimeSpan.FromMinutes(15), key.Expires - key.Created);
        Assert.Equal(["secret_read"], key.Permissions);
        Assert.Equal("ephkey_1 [redacted]", $"{key}");

        Assert.True(await client.ExpireAsync("ephkey_1"));
        Assert.Equal(("DELETE", "/v1/ephemeral_keys/ephkey_1"), (server.Requests[1].Method, server.Requests[1].Target));
        Assert.False(await client.ExpireAsync("ephkey_1"));
        await Assert.ThrowsAsync<ArgumentException>(() => client.ExpireAsync("../apps/secrets"));
    }
}
