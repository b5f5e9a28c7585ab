using System.Diagnostics;
using System.Net;
using Coffer.Hosting;
using Coffer.Telemetry;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Telemetry;

/// <summary>Which requests have a span, whose context is continued, what the variables of the standard say.</summary>
[Trait("Telemetry", "1")]
public sealed class SamplingTests
{
    private const string Sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    private static readonly ActivityContext Recorded = Parent(ActivityTraceFlags.Recorded),
        NotRecorded = Parent(ActivityTraceFlags.None);

    [Theory]
    [InlineData(null, null, 0.01, true)]
    [InlineData("", "", 0.01, true)]
    [InlineData("always_on", null, 1, false)]
    [InlineData("always_off", "0.5", 0, false)]
    [InlineData("traceidratio", "0.5", 0.5, false)]
    [InlineData("parentbased_always_on", null, 1, true)]
    [InlineData("parentbased_always_off", null, 0, true)]
    [InlineData("parentbased_traceidratio", "1", 1, true)]
    public void A_sampler_is_as_the_standard_names_it(string? name, string? argument, double ratio, bool isByParent) =>
        Assert.Equal(new Sampling(ratio, isByParent), Sampling.Parse(name, argument));

    [Theory]
    [InlineData("sometimes", null, "OTEL_TRACES_SAMPLER 'sometimes' is not always_on")]
    [InlineData("traceidratio", "2", "OTEL_TRACES_SAMPLER_ARG '2' is not a number from 0 to 1")]
    [InlineData("traceidratio", "-1", "OTEL_TRACES_SAMPLER_ARG")]
    [InlineData(null, "1 %", "OTEL_TRACES_SAMPLER_ARG")]
    public void Another_one_is_refused_by_its_name(string? name, string? argument, string message)
    {
        var refused = Assert.Throws<FormatException>(() => Sampling.Parse(name, argument));
        Assert.Contains(message, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_trusted_client_decides_where_the_sampler_goes_by_parents_and_else_the_ratio()
    {
        Assert.True(new Sampling(0, IsByParent: true).Takes(Recorded));
        Assert.False(new Sampling(1, IsByParent: true).Takes(NotRecorded));
        Assert.True(new Sampling(1, IsByParent: false).Takes(NotRecorded));
        Assert.False(new Sampling(0, IsByParent: false).Takes(Recorded));
        Assert.False(new Sampling(0, IsByParent: true).Takes(default));
        var tenth = new Sampling(0.1, IsByParent: true);
        Assert.InRange(Enumerable.Range(0, 10_000).Count(_ => tenth.Takes(default)), 700, 1_300);
    }

    [Theory]
    [InlineData("10.0.0.7", Sent, true)]
    [InlineData("10.0.0.8", Sent, false)]
    [InlineData("10.0.0.7", "00-nothing", false)]
    public async Task A_context_is_continued_only_of_clients_that_are_trusted(
        string address, string traceparent, bool isContinued)
    {
        var own = Traces.Source; // made before anybody is asked whether to listen to it
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source == own,
            Sample = static (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
        };
        ActivitySource.AddActivityListener(listener);
        var spans = new RequestSpans(new Sampling(1, IsByParent: true), [IPNetwork.Parse("10.0.0.7/32")]);
        var context = new DefaultHttpContext();
        context.Request.Headers.TraceParent = traceparent;
        context.Connection.RemoteIpAddress = IPAddress.Parse(address);
        ActivityContext? parent = null;
        await spans.Around(_ =>
        {
            parent = Activity.Current is { } span ? new(span.TraceId, span.ParentSpanId, default) : null;
            return Task.CompletedTask;
        })(context);
        Assert.Equal(isContinued, parent!.Value.SpanId == Recorded.SpanId);
        Assert.Equal(isContinued, parent.Value.TraceId == Recorded.TraceId);
    }

    [Fact]
    public void Nothing_is_sent_unless_an_endpoint_is_named_and_what_is_wrong_is_named()
    {
        Assert.Equal((false, false), Signals([]));
        Assert.Equal((true, true), Signals(new() { ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://h:4317" }));
        Assert.Equal((false, true), Signals(new() { ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = "http://h:4317" }));
        Assert.Equal((true, false), Signals(new()
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://h:4317",
            ["OTEL_METRICS_EXPORTER"] = "none",
        }));
        Assert.Equal((false, false), Signals(new()
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://h:4317",
            ["OTEL_SDK_DISABLED"] = "true",
        }));
        var problems = Read(new()
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "h:key@4317",
            ["OTEL_TRACES_EXPORTER"] = "zipkin",
            ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] = "http/json",
            ["OTEL_TRACES_SAMPLER"] = "sometimes",
        }).Problems;
        Assert.Equal(5, problems.Count);
        Assert.DoesNotContain("key@", string.Join(' ', problems), StringComparison.Ordinal);
        // What is meant for other programs stops nobody here.
        Assert.Empty(Read(new() { ["OTEL_TRACES_SAMPLER"] = "jaeger_remote" }).Problems);
    }

    private static (bool, bool) Signals(Dictionary<string, string> variables) =>
        (Read(variables).HasTraces, Read(variables).HasMetrics);

    private static OtlpSettings Read(Dictionary<string, string> variables) =>
        OtlpSettings.Read(name => variables.GetValueOrDefault(name));

    private static ActivityContext Parent(ActivityTraceFlags flags) => new(
        ActivityTraceId.CreateFromString(Sent.AsSpan(3, 32)), ActivitySpanId.CreateFromString(Sent.AsSpan(36, 16)),
        flags, isRemote: true);
}
