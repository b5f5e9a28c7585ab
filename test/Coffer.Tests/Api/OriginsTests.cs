using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// Which pages in browsers may use an app's keys, and that none may manage (docs/management.md, "Apps").
/// </summary>
public sealed class OriginsTests : ServerTests
{
    private const string Good = "https://app.example.com", Bad = "https://evil.example.com";

    private string app = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Theory]
    [InlineData(Good)]
    [InlineData("null")]
    [InlineData("chrome-extension://abc")]
    public async Task An_app_without_origins_may_be_used_from_any(string origin)
    {
        var answer = (await Server.Client(origin: origin).List()).IsOk();
        Assert.Equal(("*", "Origin"), (answer.Header("Access-Control-Allow-Origin"), answer.Header("Vary")));
    }

    [Fact]
    public async Task An_app_with_origins_answers_each_by_name_and_no_other()
    {
        await RestrictAsync();
        var token = await Server.MintAsync("usr_1");
        foreach (var key in (string[])[Server.Keys.TestSecretKey, Server.Keys.LiveSecretKey!, token])
        {
            foreach (var origin in (string[])[Good, "http://localhost:3000"])
                Assert.Equal(origin,
                    (await Server.Client(key, origin: origin).List()).IsOk().Header("Access-Control-Allow-Origin"));
            foreach (var origin in (string[])[
                Bad, "null", "", "*", Good + "/", Good
                    + ":443", "http://app.example.com", "https://APP.example.com", "https://app.example.com.evil.com",
                        "http://localhost:3001", $"{Good},{Bad}", $"{Good} {Bad}"])
            {
                (await Server.Client(key, origin: origin).List()).IsError(403, null, null,
                    "The app's keys are not accepted from pages of this web origin. Ask the operator to add it to "
                        + "the app's origins.");
            }

            (await Server.Client(key).List()).IsOk(); // no browser at all
        }

        (await Server.Client(Server.OtherAppKey, origin: Bad).List()).IsOk();
    }

    [Fact]
    public async Task Refusals_of_an_allowed_page_are_readable_for_it_too()
    {
        await RestrictAsync();
        Assert.Equal(
            Good,
            (await Server.Client(origin: Good).Find("none")).IsError(404, "resource_missing", "name")
                .Header("Access-Control-Allow-Origin"));
        Assert.Equal(
            Good,
            (await Server.Client(origin: Good).Get("/v1/apps/secrets", ("x", "y")))
                .IsError(400, "parameter_unknown", "x").Header("Access-Control-Allow-Origin"));
        Assert.NotEqual(Bad, (await Server.Client(origin: Bad).List()).Header("Access-Control-Allow-Origin"));
    }

    [Fact]
    public async Task A_page_that_may_not_has_no_effect()
    {
        await RestrictAsync();
        (await Server.Client(origin: Bad).Set("k")).IsError(403, null, null);
        (await Server.Client().Find("k")).IsError(404, "resource_missing", "name");
        (await Server.Admin.Post($"{Apps}/{app}", [("origins", "")])).IsOk();
        (await Server.Client(origin: Bad).Set("k")).IsOk();
    }

    [Fact]
    public async Task Two_Origin_headers_are_none_of_the_apps()
    {
        await RestrictAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get,
            new Uri("/v1/apps/secrets?scope[type]=account", UriKind.Relative));
        request.Headers.Authorization = new("Bearer", Server.Keys.TestSecretKey);
        (await RawHttp.SendAsync(Server.Url, request, [("Origin", Good), ("Origin", Bad)])).IsError(403, null, null);
        (await RawHttp.SendAsync(Server.Url, request, [("Origin", Good), ("Origin", Good)])).IsError(403, null, null);
        (await RawHttp.SendAsync(Server.Url, request, [("Origin", Good)])).IsOk();
    }

    [Fact]
    public async Task A_preflight_knows_no_key_and_allows_any_origin()
    {
        await RestrictAsync();
        var answer = await PreflightAsync("/v1/apps/secrets");
        Assert.Equal((200, "", "*"), (answer.Status, answer.Text, answer.Header("Access-Control-Allow-Origin")));
    }

    [Fact]
    public async Task No_page_in_a_browser_may_manage()
    {
        await RestrictAsync();
        foreach (var path in (string[])[Apps, $"{Apps}/{app}", KeysPath, "/admin/v1/settings", "/admin/v1/none"])
        {
            var preflight = (await PreflightAsync(path)).IsError(404, null, null);
            foreach (var answer in (Answer[])[
                preflight, await Server.Client(Server.Keys.AdminKey, origin: Good)
                    .Get(path), await Server.Client(Server.Keys.TestSecretKey, origin: Good).Get(path),
                await Server.Client("ak_none", origin: Good)
                    .Get(path), await Server.Client(await Server.MintAsync("usr_1"), origin: Good).Get(path)])
            {
                Assert.DoesNotContain(answer.Headers,
                    header => header.Key.StartsWith("Access-Control-", StringComparison.OrdinalIgnoreCase));
                Assert.Contains("no-store", answer.Header("Cache-Control"), StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task The_planes_do_not_take_each_others_keys_and_paths()
    {
        (await Server.Admin.List()).IsError(403, null, null);
        (await Server.Admin.Get(Apps)).IsOk();
        (await Server.Client().Get(Apps)).IsError(403, null, null);
        foreach (var path in (string[])[
            "/admin/v1", "/admin/v1/", "/admin/v1/apps/", "/ADMIN/v1/apps", "/%61dmin/v1/apps", "/v1/../admin/v1/apps",
            "/admin/v1/../v1/apps", "//admin/v1/apps", "/admin%2Fv1/apps", "/admin/v1/v1/apps/secrets"])
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(path, UriKind.Relative));
            request.Headers.Authorization = new("Bearer", Server.Keys.AdminKey);
            Assert.Equal(404, (await RawHttp.SendAsync(Server.Url, request, [])).Status);
        }
    }

    [Fact]
    public async Task The_management_plane_reads_no_account_from_a_header()
    {
        var answer = (await Server.Client(Server.Keys.AdminKey, "not an account!").Get(Apps)).IsOk();
        Assert.Null(answer.Header("Stripe-Account"));
    }

    private async Task RestrictAsync() =>
        (await Server.Admin.Post($"{Apps}/{app}",
            [("origins[]", Good), ("origins[]", "http://localhost:3000")])).IsOk();

    private Task<Answer> PreflightAsync(string path)
    {
        var request = new HttpRequestMessage(HttpMethod.Options, new Uri(path, UriKind.Relative));
        request.Headers.Add("Origin", Good);
        request.Headers.Add("Access-Control-Request-Method", "POST");
        return Server.SendAsync(request);
    }
}
