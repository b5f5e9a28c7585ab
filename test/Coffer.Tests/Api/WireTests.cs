using System.Text;

namespace Coffer.Tests.Api;

/// <summary>
/// Headers, routes, versions and limits: what was recorded of Stripe's answers, to the byte where it was
/// (docs/wire.md).
/// </summary>
public sealed class WireTests : ServerTests
{
    private const string Secrets = "/v1/apps/secrets";

    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task An_error_is_written_as_recorded()
    {
        var answer = await Client.Find("appConfig");
        Assert.Equal($$"""
            {
              "error": {
                "code": "resource_missing",
                "doc_url": "{{Server.Url}}docs/errors#resource-missing",
                "message": "No such secret: 'appConfig'",
                "param": "name",
                "type": "invalid_request_error"
              }
            }

            """, answer.Text);
        Assert.Equal(404, answer.Status);
    }

    [Fact]
    public async Task Every_answer_has_the_recorded_headers()
    {
        foreach (var answer in (Answer[])[await Client.Set("k"), await Client.Find("k"), await Client.Find("none"),
            await Client.List(), await Client.Get("/v1/nothing")])
        {
            Assert.Equal("application/json", answer.Header("Content-Type"));
            Assert.Matches("^req_[0-9A-Za-z]{14}$", answer.Header("Request-Id"));
            Assert.Equal("2026-09-30.endive", answer.Header("Stripe-Version"));
            Assert.Equal("no-cache, no-store", answer.Header("Cache-Control"));
            Assert.Equal("*", answer.Header("Access-Control-Allow-Origin"));
            Assert.Equal("true", answer.Header("Access-Control-Allow-Credentials"));
            Assert.Equal("GET, HEAD, PUT, PATCH, POST, DELETE", answer.Header("Access-Control-Allow-Methods"));
            Assert.Equal("300", answer.Header("Access-Control-Max-Age"));
            // Stripe's, and then what compare and set, waiting and replays need in a page.
            Assert.Equal("Request-Id, Stripe-Manage-Version, Stripe-Should-Retry, X-Stripe-External-Auth-Required, "
                + "X-Stripe-Privileged-Session-Required, Coffer-Secret-Version, Retry-After, Idempotent-Replayed, "
                + "Original-Request", answer.Header("Access-Control-Expose-Headers"));
            Assert.Equal("Origin", answer.Header("Vary"));
            Assert.Equal(Encoding.UTF8.GetByteCount(answer.Text).ToString(), answer.Header("Content-Length"));
            Assert.Null(answer.Header("Idempotency-Key"));
            Assert.Null(answer.Header("Original-Request"));
            Assert.Null(answer.Header("Stripe-Should-Retry"));
        }
    }

    [Fact]
    public async Task A_preflight_from_a_sandboxed_frame_is_allowed()
    {
        var request = new HttpRequestMessage(HttpMethod.Options, new Uri($"{Secrets}/find", UriKind.Relative));
        request.Headers.Add("Origin", "null");
        request.Headers.Add("Access-Control-Request-Method", "POST");
        request.Headers.Add("Access-Control-Request-Headers", "authorization");
        var answer = (await Server.SendAsync(request)).IsOk();
        Assert.Equal("*", answer.Header("Access-Control-Allow-Origin"));
        foreach (var header in (string[])["authorization", "content-type", "stripe-version", "stripe-account",
            "idempotency-key", "x-stripe-client-user-agent", "x-stripe-client-telemetry", "user-agent"])
            Assert.Contains(header, answer.Header("Access-Control-Allow-Headers")!.Split(", "));
    }

    [Theory]
    [InlineData("GET", "/v1/foo")]
    [InlineData("GET", "/v1/apps/secrets/")]
    [InlineData("GET", "/v1/apps/Secrets")]
    [InlineData("GET", "/v1/apps/secrets%2Ffind")]
    [InlineData("GET", "/v1/apps/%73ecrets")]
    [InlineData("GET", "///v1/apps/secrets")]
    [InlineData("DELETE", "/v1/apps/secrets")]
    [InlineData("POST", "/v1/apps/secrets/find")]
    [InlineData("GET", "/v1/apps/secrets/delete")]
    [InlineData("PATCH", "/")]
    [InlineData("GET", "/")]
    public async Task An_unknown_route_or_method_is_404_in_JSON(string method, string path) =>
        (await RawHttp.SendAsync(Server.Url,
            Request(method, path, ("Authorization", $"Bearer {Server.Keys.TestSecretKey}")))).IsError(404, null, null,
            $"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing "
                + "slash. If you are trying to retrieve an object, " +
            $"make sure you passed a valid (non-empty) identifier in your code. Please see {Server.Url}docs/errors.");

    [Theory]
    [InlineData("2022-08-01")]
    [InlineData("2026-10-28.endive")]
    [InlineData("2099-12-31.zebra.preview")]
    [InlineData("2026-10-28.endive; beta=v1;other_beta=v2")]
    public async Task A_well_formed_version_is_echoed_however_new(string version) =>
        Assert.Equal(version, (await WithHeader("Stripe-Version", version)).IsOk().Header("Stripe-Version"));

    [Theory]
    [InlineData("2025-21-27")]
    [InlineData("latest")]
    [InlineData("2025-01-01\"")]
    [InlineData("")]
    public async Task A_malformed_version_is_refused(string version) =>
        (await WithHeader("Stripe-Version", version)).IsError(400, null, null,
            $"Invalid Stripe API version: {version}");

    [Fact]
    public async Task The_key_is_checked_before_the_version_and_the_version_before_the_parameters()
    {
        Assert.Equal(
            401,
            (await RawHttp.SendAsync(
                Server.Url,
                Request("GET", $"{Secrets}?foo=1", ("Stripe-Version", "x"),
                    ("Authorization", "Bearer sk_test_x")))).Status);
        (await RawHttp.SendAsync(
            Server.Url,
            Request("GET", $"{Secrets}?foo=1", ("Stripe-Version", "x"),
                ("Authorization", $"Bearer {Server.Keys.TestSecretKey}"))))
            .IsError(400, null, null, "Invalid Stripe API version: x");
        (await Client.Get($"{Secrets}/find", ("scope[type]", "account"), ("name", "none"),
            ("expand[]", "foo"))).IsError(400, null, null);
    }

    [Fact]
    public async Task Unknown_parameters_are_named()
    {
        (await Client.Find("k", null, ("foo", "1"))).IsError(400, "parameter_unknown", "foo",
            "Received unknown parameter: foo");
        (await Client.Find("k", null, ("foo", "1"), ("bar[a]", "2"), ("foo", "3"))).IsError(400, "parameter_unknown",
            "foo", "Received unknown parameters: foo, bar[a]");
        (await Client.List(null, ("name", "k"))).IsError(400, "parameter_unknown", "name");
        (await Client.Find("k", null, ("scope[foo]", "1"))).IsError(400, "parameter_unknown", "scope[foo]",
            "Received unknown parameter: scope[foo]");
        (await Client.Find("k", null, ("payload", "p"))).IsError(400, "parameter_unknown", "payload");
    }

    [Fact]
    public async Task Missing_parameters_are_named()
    {
        (await Client.Get($"{Secrets}/find", ("name", "k"))).IsError(400, "parameter_missing", "scope",
            "Missing required param: scope.");
        (await Client.Get($"{Secrets}/find", ("scope[type]", "account"))).IsError(400, "parameter_missing", "name",
            "Missing required param: name.");
        (await Client.Get($"{Secrets}/find", ("scope[user]", "u"), ("name", "k"))).IsError(400, "parameter_missing",
            "scope[type]", "Missing required param: scope[type].");
        (await Client.Post(Secrets, [("scope[type]", "account"), ("name", "k")])).IsError(400, "parameter_missing",
            "payload", "Missing required param: payload.");
        (await Client.Get(Secrets)).IsError(400, "parameter_missing", "scope");
    }

    [Fact]
    public async Task An_unknown_scope_type_is_told_what_there_is() =>
        (await Client.Get(Secrets, ("scope[type]", "team"))).IsError(400, null, "scope[type]",
            "Invalid scope[type]: must be one of account or user");

    [Fact]
    public async Task An_unknown_expansion_is_refused_with_the_recorded_words()
    {
        (await Client.Find("k", null, ("expand[]", "foo"))).IsError(400, null, null,
            "This property cannot be expanded (foo).");
        (await Client.List(null, ("expand[]", "payload"))).IsError(400, null, null,
            "This property cannot be expanded (payload). You may want to try expanding 'data.payload' instead.");
        (await Client.Find("k", null, ("expand[]", "data.payload"))).IsError(400, null, null);
        (await Client.Find("k", null,
            ("expand[]", "payload.payload.payload.payload.payload"))).IsError(400, null, null);
        (await Client.Find("k", null, ("expand[x]", "payload"))).IsError(400, null, "expand", "Invalid array");
        (await Client.Find("k", null, ("expand[0][0]", "payload"))).IsError(400, null, "expand", "Invalid array");
    }

    [Fact]
    public async Task Expansions_may_repeat_and_an_empty_one_is_nothing()
    {
        await Client.Set("k", "p");
        Assert.Equal(
            "p",
            (await Client.Find("k", null, ("expand[]", "payload"), ("expand[]", "payload"),
                ("expand[]", ""))).IsOk().Payload);
        Assert.Null((await Client.Find("k", null, ("expand", ""))).IsOk().Json.AsObject()["payload"]);
    }

    [Fact]
    public async Task A_thousand_expansions_are_too_many()
    {
        var many = string.Join('&', Enumerable.Repeat("expand[]=payload", 1_000));
        (await Client.Raw(HttpMethod.Post, $"{Secrets}/delete", $"scope[type]=account&name=k&{many}")).IsError(400,
            null, null, "Received too many parameters. Send at most 200.");
    }

    [Fact]
    public async Task Arrays_and_hashes_are_not_strings_and_no_value_is_shown()
    {
        (await Client.Raw(HttpMethod.Post, Secrets,
            "scope[type]=account&name[]=k&payload=p")).IsError(400, null, "name");
        var answer = (await Client.Raw(HttpMethod.Post, Secrets,
            "scope[type]=account&name=k&payload[a]=canary")).IsError(400, null, "payload");
        Assert.DoesNotContain("canary", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Names_and_values_may_stand_in_the_query_of_a_POST()
    {
        (await Client.Raw(HttpMethod.Post, $"{Secrets}?scope[type]=user&scope[user]=usr_1&name=k", "payload=p")).IsOk();
        Assert.Equal("p", (await Client.Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        (await Client.Raw(HttpMethod.Post, $"{Secrets}/delete?scope[type]=user&scope[user]=usr_1&name=k", null)).IsOk();
    }

    [Fact]
    public async Task A_body_over_64_KiB_is_refused_before_it_is_parsed_whether_or_not_its_length_is_told()
    {
        var form = "scope[type]=account&name=k&payload=" + new string('p', 64 * 1024);
        (await Client.Raw(HttpMethod.Post, Secrets, form)).IsError(413, null, null,
            "The request body is too large. Send at most 65536 bytes.");

        var chunks = new StringBuilder();
        for (var i = 0; i < 80; i++)
            chunks.Append("400\r\n").Append('p', 1024).Append("\r\n");
        var chunked =
            Request("POST", Secrets, ("Authorization", $"Bearer {Server.Keys.TestSecretKey}"),
                ("Transfer-Encoding", "chunked"),
            ("Content-Type", "application/x-www-form-urlencoded"));
        (await RawHttp.SendAsync(Server.Url,
            [.. chunked, .. Encoding.ASCII.GetBytes(chunks + "0\r\n\r\n")])).IsError(413, null, null);
    }

    [Fact]
    public async Task A_compressed_body_is_refused()
    {
        var request = Request("POST", Secrets, ("Authorization", $"Bearer {Server.Keys.TestSecretKey}"),
            ("Content-Encoding", "gzip"), ("Content-Length", "1"));
        (await RawHttp.SendAsync(Server.Url, [.. request, 0])).IsError(400, null, null,
            "Invalid request: the body has a Content-Encoding. Send it without one.");
    }

    [Fact]
    public async Task A_GET_may_say_that_it_is_a_form_without_having_a_body() =>
        (await RawHttp.SendAsync(Server.Url, Request("GET", $"{Secrets}?scope[type]=account",
            ("Authorization", $"Bearer {Server.Keys.TestSecretKey}"),
            ("Content-Type", "application/x-www-form-urlencoded")))).IsOk();

    [Theory]
    [InlineData("Content-Length: +36", 400)]
    [InlineData("content-length:+36", 400)]
    [InlineData("Content-Length: \t+36 ", 400)]
    [InlineData("Content-Length: -36", 400)]
    [InlineData("Content-Length: 0x24", 400)]
    [InlineData("Content-Length: 36, 36", 400)]
    [InlineData("Content-Length: 36\r\nContent-Length: 36", 400)]
    [InlineData("X-Note: 1+1\r\nContent-Length: 36", 200)]
    [InlineData("X-Content-Length: +36\r\nContent-Length: 36", 200)]
    [Trait("Reports from the field", "R2-28")]
    public async Task A_length_is_digits_and_nothing_else(string lines, int status)
    {
        // In one piece, and cut in the middle: the head is then kept until it is whole.
        var request = Encoding.ASCII.GetBytes($"POST {Secrets} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            + $"Authorization: Bearer {Server.Keys.TestSecretKey}\r\n{lines}\r\n"
            + "Content-Type: application/x-www-form-urlencoded\r\n\r\nscope[type]=account&name=k&payload=p");
        foreach (var cut in (int[])[request.Length, 60, request.Length - 110])
        {
            using var connection = await RawConnection.OpenAsync(Server.Url);
            await connection.Stream.WriteAsync(request.AsMemory(0, cut));
            await Task.Delay(cut < request.Length ? 50 : 0);
            await connection.Stream.WriteAsync(request.AsMemory(cut));
            using var reader = new StreamReader(connection.Stream);
            var answer = await reader.ReadToEndAsync();
            Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
            Assert.Equal(1, answer.Split("HTTP/1.1 ").Length - 1);
        }
    }

    [Fact]
    [Trait("Reports from the field", "R2-28")]
    public async Task A_signed_length_after_another_request_ends_the_connection_too()
    {
        using var connection = await RawConnection.OpenAsync(Server.Url);
        const string Get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        await connection.Stream.WriteAsync(Encoding.ASCII.GetBytes(
            Get + $"POST {Secrets} HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nname{Get}"));
        using var reader = new StreamReader(connection.Stream);
        var answers = await reader.ReadToEndAsync();
        Assert.Equal(["200", "400"], answers.Split("HTTP/1.1 ")[1..].Select(answer => answer[..3]));
    }

    [Fact]
    public async Task A_charset_after_the_form_type_is_passed_over()
    {
        var body = "scope[type]=account&name=k&payload=p"u8.ToArray();
        var request =
            Request("POST", Secrets, ("Authorization", $"Bearer {Server.Keys.TestSecretKey}"),
                ("Content-Length", $"{body.Length}"),
            ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"));
        (await RawHttp.SendAsync(Server.Url, [.. request, .. body])).IsOk();
    }

    [Fact]
    public async Task The_absolute_form_of_a_target_is_understood() =>
        (await RawHttp.SendAsync(
            Server.Url,
            Request("GET", $"{Server.Url}v1/apps/secrets?scope[type]=account",
                ("Authorization", $"Bearer {Server.Keys.TestSecretKey}")))).IsOk();

    [Fact]
    public async Task Every_code_that_an_error_names_is_explained_where_its_doc_url_points()
    {
        var page = await new HttpClient().GetStringAsync(new Uri(Server.Url, "docs/errors"));
        foreach (var code in System.Text.RegularExpressions.Regex.Matches(
            File.ReadAllText(Repository.File("src/Coffer/ApiError.cs")), "\"([a-z]+(?:_[a-z]+)+)\"")
                     .Select(match => match.Groups[1].Value).Where(word =>
                         word is not ("invalid_request_error" or "api_error" or "idempotency_error" or "expires_at"
                             or "if_version" or "expires_in" or "starting_after")).Distinct())
            Assert.Contains($"id=\"{code.Replace('_', '-')}\"", page, StringComparison.Ordinal);
        Assert.Contains("id=\"authentication\"", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Only_dev_mode_says_what_the_SDKs_suites_ask_for()
    {
        await using var dev = await TestServer.StartAsync(dev: new("sk_test_anything", SeedFixtures: true));
        Assert.Equal("master", (await dev.Client().Raw(HttpMethod.Get, "/", null)).Header("Stripe-Mock-Version"));
        (await dev.Client().Find("sec_123")).IsOk();
        (await dev.Client().Delete("my-api-key")).IsOk();
    }

    private Task<Answer> WithHeader(string name, string value) =>
        RawHttp.SendAsync(
            Server.Url,
            Request("GET", $"{Secrets}?scope[type]=account", ("Authorization", $"Bearer {Server.Keys.TestSecretKey}"),
                (name, value)));

    private byte[] Request(string method, string target, params (string Name, string Value)[] headers) =>
        Encoding.ASCII.GetBytes(
        $"{method} {target} HTTP/1.1\r\nHost: {Server.Url.Authority}\r\nConnection: close\r\n"
            + string.Concat(headers.Select(header => $"{header.Name}: {header.Value}\r\n")) + "\r\n");
}
