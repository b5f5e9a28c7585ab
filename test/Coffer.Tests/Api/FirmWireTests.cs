using System.Net.Http.Headers;
using System.Text;
using Coffer.Shared;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>Small things of the wire that programs trip over ("Firm edges", E).</summary>
public sealed class FirmWireTests : ServerTests
{
    private const string Secrets = "/v1/apps/secrets";

    [Fact]
    [Trait("Firm edges", "29")]
    public async Task Of_30_repetitions_of_a_finished_key_at_once_all_are_replays()
    {
        var browser = Server.Client(await Server.MintAsync("usr_1"));
        (string, string)[] where = [("scope[type]", "account"), ("name", "k")], set = [.. where, ("payload", "p")];
        foreach (var (caller, path, form) in ((TestServer.Caller, string, (string, string)[])[])
            [(Server.Client(), Secrets, set), (Server.Client(), $"{Secrets}/delete", where), (browser, Secrets, set)])
        {
            var key = $"key of {path}";
            var first = (await caller.Post(path, form, key)).IsOk();
            await AllReplayAsync(caller, path, form, key, first);
        }

        // One whose outcome is a refusal, too.
        (string, string)[] none = [("scope[type]", "account"), ("name", "none")];
        var missing = await Server.Client().Post($"{Secrets}/delete", none, "missing");
        missing.IsError(404, "resource_missing", "name");
        await AllReplayAsync(Server.Client(), $"{Secrets}/delete", none, "missing", missing);
    }

    [Fact]
    [Trait("Firm edges", "29")]
    public async Task What_was_kept_under_an_older_tenant_key_is_replayed_to_all_too()
    {
        (string, string)[] form = [("scope[type]", "account"), ("name", "k"), ("payload", "p")];
        var first = (await Server.Client().Post(Secrets, form, "key")).IsOk();
        (await Server.Admin.Post("/admin/v1/tenant_keys/rotate", [("app", await Server.AppIdAsync())])).IsOk();
        await AllReplayAsync(Server.Client(), Secrets, form, "key", first);
    }

    [Fact]
    [Trait("Firm edges", "31")]
    public async Task What_is_wrong_with_a_payload_to_sign_is_said_whether_or_not_the_app_can_sign()
    {
        const string path = "/v1/apps/app_embedded_backend_signature";
        await using var dev = await TestServer.StartAsync(dev: new("sk_test_anything", SeedFixtures: false));
        foreach (var server in (TestServer[])[dev, Server])
        {
            var minted = (await server.Client(server == dev ? "sk_test_anything" : null).Post(Ephemeral,
                [("user", "usr_1")])).IsOk();
            var page = server.Client((string)minted.Json["secret"]!);
            foreach (var payload in (string[])["{", "[]", "\"text\"", """{"user_id":"usr_2"}""", """{"a":1,"a":2}"""])
                (await page.Get(path, ("payload", payload))).IsError(400, null, "payload");
            (await page.Get(path, ("payload", """{"a":1}"""))).IsOk();
        }
    }

    [Fact]
    [Trait("Firm edges", "31")]
    public async Task A_payload_that_cannot_be_signed_is_named_before_a_signing_secret_that_is_missing()
    {
        const string path = "/v1/apps/app_embedded_backend_signature";
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.ResealAppAsync(app, fields => StoreEdits.Only(fields, 4)); // of live mode only
        await Server.StartAgainAsync();
        var page = Server.Client(await Server.MintAsync("usr_1"));
        foreach (var payload in (string[])["{", "[]", """{"account_id":"acct_2"}"""])
            (await page.Get(path, ("payload", payload))).IsError(400, null, "payload");
        (await page.Get(path, ("payload", "{}"))).IsError(400, "signing_secret_missing", null);
    }

    [Fact]
    [Trait("Firm edges", "31")]
    public Task A_byte_of_Latin_1_in_a_header_is_answered_as_any_other_value() => Assert.AllAsync(
        ((string Header, int Status, string? Param)[])
        [
            ("Stripe-Account: caf\u00e9", 400, "Stripe-Account"),
            ("Stripe-Context: caf\u00e9/acct_1", 400, "Stripe-Context"), ("Idempotency-Key: caf\u00e9", 400, null),
            ("Stripe-Version: caf\u00e9", 400, null), ("User-Agent: caf\u00e9", 200, null),
            ("Origin: https://caf\u00e9.example", 200, null),
        ],
        async row =>
        {
            const string form = "scope[type]=account&name=k&payload=p";
            var answer = await RawHttp.SendAsync(Server.Url, Encoding.Latin1.GetBytes(
                $"POST {Secrets} HTTP/1.1\r\nHost: {Server.Url.Authority}\r\nConnection: close\r\n"
                + $"Authorization: Bearer {Server.Keys.TestSecretKey}\r\n{row.Header}\r\n"
                + $"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {form.Length}\r\n\r\n{form}"));
            if (row.Status == 200)
                answer.IsOk();
            else
                answer.IsError(row.Status, null, row.Param);
        });

    [Fact]
    [Trait("Firm edges", "31")]
    public async Task A_key_of_Latin_1_is_one_that_nobody_has()
    {
        var answer = await RawHttp.SendAsync(Server.Url, Encoding.Latin1.GetBytes(
            $"GET {Secrets}?scope[type]=account HTTP/1.1\r\nHost: {Server.Url.Authority}\r\nConnection: close\r\n"
            + "Authorization: Bearer sk_test_caf\u00e9\r\n\r\n"));
        answer.IsError(401, null, null);
    }

    [Fact]
    [Trait("Firm edges", "31")]
    public async Task A_key_is_not_last_used_before_it_was_made()
    {
        Server.Time.Move(TimeSpan.FromSeconds(3_600 - Server.Time.Seconds % 3_600 + 1_800));
        var key = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        (await Server.Client(key.Secret()).List()).IsOk();
        Assert.Equal((long)key["created"]!, await LastUsedAsync(key.Id()));

        // In the next hour, that hour.
        Server.Time.Move(TimeSpan.FromHours(1));
        (await Server.Admin.Post($"{Apps}/{await Server.AppIdAsync()}", [("name", "b")])).IsOk(); // it is read again
        (await Server.Client(key.Secret()).List()).IsOk();
        await Until.SoAsync("it was last used in that hour",
            async () => await LastUsedAsync(key.Id()) == Server.Time.Seconds - 1_800);
    }

    [Fact]
    [Trait("Firm edges", "33")]
    public async Task A_403_has_the_code_that_programs_branch_on()
    {
        const string backend = "more_permissions_required", page = "more_permissions_required_for_session";
        var app = await Server.AppIdAsync();
        var reader = Server.Client((await Server.NewKeyAsync("restricted", app,
            ("permissions[]", "secret_read"), ("account", "acct_1"))).Secret());
        var writer = Server.Client((await Server.NewKeyAsync("restricted", app,
            ("permissions[]", "secret_write"))).Secret());
        (await reader.Set("k")).IsError(403, backend, null);
        (await reader.Delete("k")).IsError(403, backend, null);
        (await writer.Find("k")).IsError(403, backend, null);
        (await writer.List()).IsError(403, backend, null);
        (await writer.Delete("k", null, ("expand[]", "payload"))).IsError(403, backend, null);

        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1", ("permissions[]", "secret_read")));
        (await browser.Set("k")).IsError(403, page, null);
        (await browser.Find("k", "usr_2")).IsError(403, page, "scope[user]");
        (await browser.List("usr_2")).IsError(403, page, "scope[user]");

        var pinned = (await Server.NewKeyAsync("restricted", app, ("permissions[]", "secret_read"),
            ("account", "acct_1"))).Secret();
        (await Server.Client(pinned, "acct_2").List()).IsError(403, "account_invalid", null);
        (await Server.Client(await Server.MintAsync("usr_1", "acct_1"), "acct_2").List())
            .IsError(403, "account_invalid", null);

        // And none where it is not about permissions.
        (await Server.Admin.List()).IsError(403, null, null);
        (await browser.Post(Ephemeral, [("user", "usr_1")])).IsError(403, null, null);
        (await Server.Client().Get("/v1/apps/app_embedded_backend_signature")).IsError(403, null, null);
        (await Server.Admin.Post($"{Apps}/{app}", [("origins[]", "https://a.example")])).IsOk();
        (await Server.Client(origin: "https://b.example").List()).IsError(403, null, null);
        (await Server.Admin.Post($"{Apps}/{app}", [("disabled", "true")])).IsOk();
        (await Server.Client().List()).IsError(403, null, null);
        Assert.Contains("id=\"more-permissions-required\"", (await Server.Client().Get("/docs/errors")).Text,
            StringComparison.Ordinal);
        Assert.Contains($"id=\"{page.Replace('_', '-')}\"", (await Server.Client().Get("/docs/errors")).Text,
            StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "35")]
    public async Task The_health_check_of_Stripe_is_answered_without_a_key()
    {
        var answer = (await Server.SendAsync(new HttpRequestMessage(HttpMethod.Get,
            new Uri("/healthcheck", UriKind.Relative)))).IsOk();
        Assert.Equal("ok\n", answer.Text);
        Assert.StartsWith("text/plain", answer.Header("Content-Type"), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm edges", "35")]
    public async Task One_slash_more_before_v1_is_accepted_and_nothing_else()
    {
        (await Server.Client().Set("k")).IsOk();
        await Assert.AllAsync(
            ((string Path, int Status)[])
            [
                ("//v1/apps/secrets", 200), ("/v1/apps/secrets", 200), ("///v1/apps/secrets", 404),
                ("//v1//apps/secrets", 404), ("/v1//apps/secrets", 404), ("//v1/apps/secrets/", 404), ("//v1", 404),
                ("//V1/apps/secrets", 404), ("//admin/v1/apps", 404),
            ],
            async row =>
            {
                var request = new HttpRequestMessage(
                    HttpMethod.Get, new Uri($"{row.Path}?scope[type]=account", UriKind.Relative));
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Server.Keys.TestSecretKey);
                var answer = await RawHttp.SendAsync(Server.Url, request, []);
                Assert.Equal(row.Status, answer.Status);
                if (row.Status != 200)
                    return;
                Assert.Equal(["k"], answer.Names);
                Assert.Equal(Secrets, (string?)answer.Json["url"]); // so that the next page is asked for as usual
            });
    }

    private static async Task AllReplayAsync(
        TestServer.Caller caller, string path, (string, string)[] form, string key, Answer first)
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => caller.Post(path, form, key)));
        Assert.All(answers, answer =>
        {
            Assert.Equal((first.Status, first.Text, "true"),
                (answer.Status, answer.Text, answer.Header("Idempotent-Replayed")));
            Assert.Equal(first.Header("Request-Id"), answer.Header("Original-Request"));
        });
    }

    private async Task<long?> LastUsedAsync(string key)
    {
        long? at = null;
        await Until.SoAsync("it is noted that the key was used", async () =>
            (at = (long?)(await Server.Admin.Get($"{KeysPath}/{key}")).IsOk().Json["last_used"]) is not null);
        return at;
    }
}
