using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// What pages with tracing, shells and extensions send (docs/browser.md, "What pages and shells send").
/// </summary>
[Trait("Reports from the field", "R2-24")]
public sealed class TracingTests : ServerTests
{
    private const string Always = "authorization, content-type, idempotency-key, stripe-account, stripe-context, "
        + "stripe-version, stripe-app, user-agent, x-stripe-client-user-agent, x-stripe-client-telemetry";

    [Theory]
    [InlineData("authorization", "")]
    [InlineData("authorization,traceparent", ", traceparent")]
    [InlineData("authorization, baggage, sentry-trace", ", baggage, sentry-trace")]
    [InlineData("x-mine,b3,x-datadog-trace-id,x-mine-too", ", b3, x-datadog-trace-id")]
    [InlineData("traceparent,traceparent", ", traceparent")]
    [InlineData("Traceparent", "")] // a browser asks in lower case
    [InlineData("cookie,x-mine,*", "")]
    [InlineData("", "")]
    public async Task A_preflight_lets_through_what_it_asks_for_of_the_headers_of_tracing(string asked, string more)
    {
        var answer = await PreflightAsync("https://a.example", asked);
        Assert.Equal(Always + more, answer.Header("Access-Control-Allow-Headers"));
    }

    [Fact]
    public async Task The_table_in_the_docs_names_every_header_that_is_let_through()
    {
        var docs = await File.ReadAllTextAsync(Repository.File("docs/browser.md"));
        foreach (var header in Coffer.Http.Tracing.Headers)
        {
            var named = (header.Split('-') is ["x", var vendor, _, ..] ? vendor : "") switch
            {
                "datadog" => "`x-datadog-…` (five)",
                "b3" => "`x-b3-…` (four)",
                _ => $"`{header}`",
            };
            Assert.Contains(named, docs, StringComparison.Ordinal);
        }

        Assert.Equal((5, 4), (CountOf("x-datadog-"), CountOf("x-b3-")));

        static int CountOf(string prefix) =>
            Coffer.Http.Tracing.Headers.Count(header => header.StartsWith(prefix, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("capacitor://localhost")]
    [InlineData("ionic://localhost")]
    [InlineData("tauri://localhost")]
    [InlineData("https://tauri.localhost")]
    [InlineData("app://my.shell")]
    [InlineData("chrome-extension://abcdefghijklmnopabcdefghijklmnop")]
    [InlineData("moz-extension://1f0b0c9e-1111-4222-8333-444455556666")]
    [InlineData("vscode-webview://0abc")]
    [InlineData("http://localhost")]
    public async Task A_shell_reaches_an_app_without_origins_and_one_that_names_it(string origin)
    {
        var app = await Server.AppIdAsync();
        Assert.Equal("*", (await PreflightAsync(origin, "authorization")).Header("Access-Control-Allow-Origin"));
        (await Server.Client(origin: origin).Set("k")).IsOk();
        (await Server.Admin.Post($"{Apps}/{app}", [("origins[]", "https://a.example")])).IsOk();
        (await Server.Client(origin: origin).Set("k")).IsError(403, null, null);
        (await Server.Admin.Post($"{Apps}/{app}", [("origins[]", origin)])).IsOk();
        Assert.Equal(origin, (await Server.Client(origin: origin).Set("k")).IsOk()
            .Header("Access-Control-Allow-Origin"));
    }

    private async Task<Answer> PreflightAsync(string origin, string asked)
    {
        var request = new HttpRequestMessage(HttpMethod.Options,
            new Uri("/v1/apps/secrets/find", UriKind.Relative));
        request.Headers.Add("Origin", origin);
        request.Headers.Add("Access-Control-Request-Method", "GET");
        if (asked.Length > 0)
            request.Headers.Add("Access-Control-Request-Headers", asked);
        return (await Server.SendAsync(request)).IsOk();
    }
}
