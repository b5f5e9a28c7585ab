using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Settings;
using Coffer.Shared;

namespace Coffer.Tests.Logs;

/// <summary>What the log of a server has of requests, and never has.</summary>
[Trait("Telemetry", "2")]
public sealed class AccessLogTests : ServerTests
{
    private const string Marker = "canary";

    private readonly WrittenLog log = new();

    [Fact]
    public async Task Each_request_has_a_line_by_its_request_id_and_nothing_of_what_it_is_about()
    {
        await StartAsync(AccessLogged.All, isJson: true);
        var client = Server.Client(account: "acct_1");
        var set = await client.Set($"{Marker}-name", $"{Marker}-payload", $"usr_{Marker}");
        var found = await client.Find($"{Marker}-name", $"usr_{Marker}", ("expand[]", "payload"));
        var missed = await client.Find($"{Marker}-other");
        var unknown = await SendAsync($"/v1/{Marker}\u202e?{Marker}={Marker}", Server.Keys.TestSecretKey);
        var stranger = await SendAsync("/v1/apps/secrets", $"sk_test_{Marker}");
        var management = await Server.Admin.Get($"/admin/v1/apps/{Marker}");
        var health = await SendAsync("/healthz?canary", null);
        Assert.Equal([200, 200, 404, 404, 401, 404, 200], ((Answer[])[set, found, missed, unknown, stranger, management,
            health]).Select(answer => answer.Status));
        await Server.StopAsync();

        Assert.DoesNotContain(Marker, log.Text, StringComparison.Ordinal);
        AssertLine(set, "POST", "/v1/apps/secrets", null, hasKey: true);
        AssertLine(found, "GET", "/v1/apps/secrets/find", null, hasKey: true);
        AssertLine(missed, "GET", "/v1/apps/secrets/find", "no_such_secret", hasKey: true);
        AssertLine(unknown, "GET", null, "unknown_route", hasKey: false);
        AssertLine(stranger, "GET", "/v1/apps/secrets", "unknown_key", hasKey: false);
        AssertLine(management, "GET", "/admin/v1/apps/{app}", "no_such", hasKey: true);
        Assert.Single(Accesses(),
            line => Text(line, "http.route") == "/healthz" && Text(line, "coffer.request_id") is null);
    }

    [Fact]
    public async Task A_refusal_has_a_few_lines_a_second_for_each_kind_and_one_that_counts_the_others()
    {
        const int Times = 200;
        await StartAsync(AccessLogged.Failures, isJson: true);
        await Task.WhenAll(Enumerable.Range(0, Times).Select(i => SendAsync("/v1/apps/secrets", $"sk_test_{i}")));
        await SendAsync("/v1/none", Server.Keys.TestSecretKey);
        await Server.Client().List(); // a success has no line
        await Until.SoAsync("what was left out is counted", () => LeftOut("unknown_key") > 0, TimeSpan.FromSeconds(20));
        await Server.StopAsync();

        var lines = Accesses().Where(line => Text(line, "error.type") == "unknown_key"
            && Text(line, "coffer.request_id") is not null).ToArray();
        Assert.InRange(lines.Length, AccessLog.MostOfKind, Times / 2); // of one second, or of some on a slow machine
        Assert.Equal(Times, lines.Length + LeftOut("unknown_key"));
        Assert.Single(Accesses(), line => Text(line, "error.type") == "unknown_route");
        Assert.DoesNotContain(Accesses(), line => line.GetProperty("body").GetString() == "GET /v1/apps/secrets 200");

        long LeftOut(string kind) => Accesses().Where(line => Text(line, "error.type") == kind).Sum(line =>
            line.GetProperty("attributes").TryGetProperty("coffer.left_out", out var count) ? count.GetInt64() : 0);
    }

    [Fact]
    public async Task In_text_a_line_is_its_facts_and_then_what_was_asked()
    {
        await StartAsync(AccessLogged.All, isJson: false);
        var set = await Server.Client().Set("k");
        await Server.StopAsync();
        Assert.Matches(new Regex(
            "^2026-11-21T12:00:00.000Z info access request=" + set.Header("Request-Id") + " key=key_[A-Za-z0-9]+ "
                + "seconds=0.000000 in=46 out=[0-9]+ client=127.0.0.1: POST /v1/apps/secrets 200$"),
            Assert.Single(log.Lines, line => line.Contains(" access ", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task What_is_said_while_a_request_is_served_has_its_id()
    {
        await StartAsync(AccessLogged.Failures, isJson: true);
        (await Server.Client().Set("k")).IsOk();
        await Server.StopAsync();
        Server.Execute("UPDATE secrets SET sealed = zeroblob(length(sealed))");
        await Server.StartAgainAsync(with: options => options with { Log = new(true, AccessLogged.Failures) });
        var damaged = await Server.Client().Find("k", null, ("expand[]", "payload"));
        await Server.StopAsync();
        Assert.Equal(500, damaged.Status);
        var lines = log.Objects
            .Where(line => Text(line, "coffer.request_id") == damaged.Header("Request-Id")).ToArray();
        Assert.Equal(["Coffer.Audit.Damages", "access"], lines.Select(line => line.GetProperty("scope").GetString()));
        Assert.Equal(["ERROR", "WARN"], lines.Select(line => line.GetProperty("severity_text").GetString()));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_is_refused_before_it_is_a_request_has_a_line_where_refusals_have_one(bool haveLines)
    {
        await StartAsync(haveLines ? AccessLogged.Failures : AccessLogged.Off, isJson: true);
        var lines = haveLines ? 1 : 0;
        await RawHttp.SendAsync(Server.Url, "NOT HTTP\r\n\r\n"u8.ToArray());
        await RawHttp.SendAsync(Server.Url, Encoding.ASCII.GetBytes(
            $"GET / HTTP/1.1\r\nHost: a\r\nX: {new string('x', 40_000)}\r\n\r\n"));
        await SendAsync("/v1/none", null);
        await Server.StopAsync();
        foreach (var reason in (string[])["malformed", "head_too_large"])
        {
            var found = Accesses().Where(line => Text(line, "error.type") == reason).ToArray();
            Assert.Equal(lines, found.Length);
            Assert.All(found, line => Assert.Equal("127.0.0.1", Text(line, "client.address")));
        }

        Assert.Equal(lines, Accesses().Count(line => Text(line, "error.type") == "unknown_route"));
        Assert.Equal((1, 1), (Server.Observers.CountOf(EarlyRefusal.Malformed),
            Server.Observers.CountOf(EarlyRefusal.HeadTooLarge)));
    }

    [Fact]
    public async Task A_start_has_one_line_with_what_runs_and_what_is_set_and_no_secret_of_it()
    {
        await Server.StopAsync();
        Server.Log = log;
        SettingInForce[] inForce =
        [
            new("store", "Host=a;Password=b", "environment"), new("listen", "http://127.0.0.1:0", "flag"),
            new("audit", "durable", "default"), new("root-key-exec-arguments", "--pin 1234", "file"),
            new("root-key", "file:a file:b: c=d", "file"),
        ];
        await Server.StartAgainAsync(with: options => options with { InForce = inForce });
        await Server.StopAsync();
        var line = Assert.Single(log.Lines, line => line.EndsWith(": Coffer starts", StringComparison.Ordinal));
        Assert.Contains($" info Coffer.Hosting.Server version={Product.Version} ", line, StringComparison.Ordinal);
        Assert.Matches(" engine=(sqlite|postgresql) engine_version=[0-9.]+ ", line);
        const string Set = " store=[redacted] listen=http://127.0.0.1:0 root-key-exec-arguments=[redacted] "
            + "root-key=\"file:a file:b:\\u0020c=d\": Coffer";
        Assert.Contains(Set, line, StringComparison.Ordinal);
        Assert.DoesNotContain("durable", line, StringComparison.Ordinal);
    }

    private async Task StartAsync(AccessLogged logged, bool isJson)
    {
        await Server.StopAsync();
        Server.Log = log;
        await Server.StartAgainAsync(with: options => options with { Log = new LogOptions(isJson, logged) });
    }

    private async Task<Answer> SendAsync(string target, string? key)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(target, UriKind.Relative));
        if (key is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return await Server.SendAsync(request);
    }

    private IEnumerable<JsonElement> Accesses() =>
        log.Objects.Where(line => line.GetProperty("scope").GetString() == AccessLog.Source);

    private static string? Text(JsonElement line, string attribute) =>
        line.GetProperty("attributes").TryGetProperty(attribute, out var value) ? value.ToString() : null;

    private void AssertLine(Answer answer, string method, string? route, string? reason, bool hasKey)
    {
        var line = Assert.Single(Accesses(), line => Text(line, "coffer.request_id") == answer.Header("Request-Id"));
        Assert.Equal((method, route, reason), (Text(line, "http.request.method"), Text(line, "http.route"),
            Text(line, "error.type")));
        Assert.Equal(answer.Status.ToString(CultureInfo.InvariantCulture), Text(line, "http.response.status_code"));
        Assert.Equal(Encoding.UTF8.GetByteCount(answer.Text).ToString(CultureInfo.InvariantCulture),
            Text(line, "http.response.body.size"));
        Assert.Equal(("127.0.0.1", hasKey), (Text(line, "client.address"), Text(line, "coffer.key_id") is not null));
        Assert.Equal($"{method} {route ?? "-"} {answer.Status}", line.GetProperty("body").GetString());
    }
}
