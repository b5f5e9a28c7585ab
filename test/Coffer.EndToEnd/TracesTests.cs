using System.Net;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// OTLP as others receive it: the Aspire dashboard is sent spans, which its API gives back. It has no API for metrics,
/// so those are sent to a listener of the test, which looks for them in what comes.
/// </summary>
[Trait("Telemetry", "1")]
public sealed class TracesTests
{
    private const string TraceId = "0af7651916cd43dd8448eb211c80319c", SpanId = "b7ad6b7169203331";

    [Fact]
    public async Task Spans_of_requests_commits_and_the_database_arrive_and_metrics_too()
    {
        await using var dashboard = await AspireDashboard.StartAsync();
        await using var metrics = new OtlpReceiver();
        using var data = new TemporaryDirectory();
        var canaries = new Canaries();
        await using var coffer = await CofferProcess.StartAsync(
            ["serve", "--data", data.Path, "--trace-context-from", "127.0.0.1"],
            environment: new Dictionary<string, string>
            {
                ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = dashboard.Endpoint,
                ["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = $"x-otlp-api-key={AspireDashboard.Key}",
                ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = $"{metrics.Url}/v1/metrics",
                ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] = "http/protobuf",
                ["OTEL_METRIC_EXPORT_INTERVAL"] = "300",
                ["OTEL_TRACES_SAMPLER"] = "parentbased_always_on",
                ["OTEL_BSP_SCHEDULE_DELAY"] = "200",
            });
        using var app = new WireClient(coffer.Url, coffer.TestKey, canaries.Plant("account"));
        var (name, user) = (canaries.Plant("name"), canaries.Plant("user"));
        canaries.Watch("key", coffer.TestKey);
        // A trusted client's trace is continued, or left out as it says.
        await SendAsync("POST", "/v1/apps/secrets",
            $"name={name}&scope[type]=user&scope[user]={user}&payload={canaries.Plant("payload")}", "01");
        var unwanted = await SendAsync("GET", $"/v1/apps/secrets?scope[type]=user&scope[user]={user}", null, "00");
        var found = await SendAsync("GET",
            $"/v1/apps/secrets/find?name={name}&scope[type]=user&scope[user]={user}&expand[]=payload", null, null);

        var spans = await dashboard.SpansAsync(all => all.Count(span => span.Name == "commit") >= 2
            && all.Any(span => span.Name == "GET /v1/apps/secrets/find"));
        var set = spans.Single(span => span.Name == "POST /v1/apps/secrets");
        Assert.Equal((TraceId, SpanId), (set.Trace, set.Parent));
        var find = spans.Single(span => span.Name == "GET /v1/apps/secrets/find");
        Assert.NotEqual(TraceId, find.Trace);
        Assert.Equal("", find.Parent);
        Assert.DoesNotContain(spans, span => span.Name == "GET /v1/apps/secrets");
        foreach (var request in (AspireDashboard.Span[])[set, find])
        {
            var commit = spans.First(span => span.Name == "commit" && span.Trace == request.Trace);
            Assert.Equal(request.Id, commit.Parent);
            Assert.Contains(request.Id, commit.Links);
            Assert.Contains(spans, span => span.Name == "COMMIT" && span.Parent == commit.Id);
        }

        Assert.Contains(spans, span => span.Name.StartsWith("SELECT ", StringComparison.Ordinal)
            && span.Name.EndsWith(" secrets", StringComparison.Ordinal) && span.Parent == find.Id);
        Assert.Contains($"\"{found}\"", find.Text, StringComparison.Ordinal);
        Assert.DoesNotContain(spans, span => span.Text.Contains(unwanted, StringComparison.Ordinal));
        canaries.AssertNotIn("spans", string.Concat(spans.Select(span => span.Text)));

        await Until.SoAsync("metrics come", () => metrics.Text.Contains("coffer.commit.wait", StringComparison.Ordinal)
            && metrics.Text.Contains("coffer.ready", StringComparison.Ordinal)
            && metrics.Text.Contains("/v1/apps/secrets/find", StringComparison.Ordinal));
        canaries.AssertNotIn("metrics", metrics.Text);
        Assert.Equal(0, await coffer.StopAsync());

        async Task<string> SendAsync(string method, string target, string? form, string? flags)
        {
            using var request = new HttpRequestMessage(new HttpMethod(method), target);
            if (form is not null)
                request.Content = new StringContent(form, null, "application/x-www-form-urlencoded");
            if (flags is not null)
                request.Headers.Add("traceparent", $"00-{TraceId}-{SpanId}-{flags}");
            return (await app.SendAsync(request)).Is(200).Headers.GetValues("Request-Id").Single();
        }
    }

    [Fact]
    public async Task A_collector_that_is_away_stops_nothing_and_a_wrong_one_is_refused()
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.StartAsync(["serve", "--data", data.Path, "--stop-within", "4"],
            environment: new Dictionary<string, string>
            {
                ["OTEL_EXPORTER_OTLP_ENDPOINT"] = $"http://127.0.0.1:{PostgresPrograms.FreePort()}",
                ["OTEL_TRACES_SAMPLER"] = "always_on",
            }))
        {
            using var app = new WireClient(coffer.Url, coffer.TestKey);
            (await app.SetAsync("name", "payload")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        (await Ran.ProgramAsync(Needs.Program, ["serve", "--data", data.Path], new Dictionary<string, string>
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "collector:4317",
        })).Refused(78, "OTEL_EXPORTER_OTLP_ENDPOINT is not of the form http://HOST:PORT");
    }
}
