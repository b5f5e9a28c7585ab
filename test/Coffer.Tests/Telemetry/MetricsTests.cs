using System.Text.RegularExpressions;
using Coffer.Telemetry;
using Coffer.Tests.House;

namespace Coffer.Tests.Telemetry;

/// <summary>What counts, how it is written for Prometheus, and that the page lists it.</summary>
[Trait("Telemetry", "1")]
public sealed class MetricsTests
{
    public MetricsTests() => Metrics.TurnOn();

    [Fact]
    public void The_page_lists_every_metric_with_its_unit_and_attributes() => Assert.Equal(
        Metrics.All.Select(Listed),
        Regex.Matches(Document.Of("docs/observe.md").Text, @"^- `[\w.]+` \(`.*\n(  .*\n)*",
            RegexOptions.Multiline | RegexOptions.ExplicitCapture)
            .Select(item => Regex.Replace(item.Value, @"\s+", " ").Trim()));

    [Fact]
    public void A_histogram_counts_into_the_first_bucket_whose_bound_is_not_less()
    {
        var times = new Distribution("test.time", "s", [0.5, 1], "Of a test", "coffer.kind");
        foreach (var value in (double[])[0.1, 0.5, 0.75, 1, 7])
            times.Of("a").Record(value);
        times.Of("b").Record(0.25);
        Assert.Equal(
            """
            # HELP target_info What this process is.
            # TYPE target_info gauge
            target_info{service_name="coffer"} 1
            # HELP test_time_seconds Of a test.
            # TYPE test_time_seconds histogram
            test_time_seconds_bucket{coffer_kind="a",le="0.5"} 2
            test_time_seconds_bucket{coffer_kind="a",le="1"} 4
            test_time_seconds_bucket{coffer_kind="a",le="+Inf"} 5
            test_time_seconds_sum{coffer_kind="a"} 9.35
            test_time_seconds_count{coffer_kind="a"} 5
            test_time_seconds_bucket{coffer_kind="b",le="0.5"} 1
            test_time_seconds_bucket{coffer_kind="b",le="1"} 1
            test_time_seconds_bucket{coffer_kind="b",le="+Inf"} 1
            test_time_seconds_sum{coffer_kind="b"} 0.25
            test_time_seconds_count{coffer_kind="b"} 1

            """, PrometheusText.Write([times], [], [("service.name", "coffer")]));
    }

    [Fact]
    public void Values_of_attributes_are_escaped_and_counters_end_in_total()
    {
        var counter = new Counter("test.count", "By", "Of a test", "coffer.kind");
        counter.Of("a\"\\\nb").Add(3);
        var gauge = new Gauge("test.gauge", "{thing}", "Of a test");
        var text = PrometheusText.Write([counter, gauge], [gauge.Reads(1.5)], []);
        Assert.Contains("test_count_bytes_total{coffer_kind=\"a\\\"\\\\\\nb\"} 3\n", text, StringComparison.Ordinal);
        Assert.Contains("# TYPE test_count_bytes_total counter\n", text, StringComparison.Ordinal);
        Assert.Contains("\ntest_gauge 1.5\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_metric_has_a_bounded_number_of_series()
    {
        var counter = new Counter("test.many", "{thing}", "Of a test", "coffer.one", "coffer.other");
        for (var i = 0; i < Metric.MostSeries + 500; i++)
            counter.Of($"{i}", "x").Add();
        var all = counter.All.ToList();
        Assert.Equal(Metric.MostSeries, all.Count);
        Assert.Equal(501, all.Single(each => each.Values is [Metric.Other, Metric.Other]).Count);
    }

    [Fact]
    public void Whoever_exports_the_frameworks_instruments_sees_the_same_numbers()
    {
        var (counter, times) = (new Counter("test.exported", "{thing}", "Of a test", "coffer.kind"),
            new Distribution("test.exported.time", "s", [1], "Of a test"));
        counter.Of("a").Add(2);
        var seen = new List<string>();
        using var listener = new System.Diagnostics.Metrics.MeterListener
        {
            InstrumentPublished = (instrument, by) =>
            {
                if (instrument.Name.StartsWith("test.exported", StringComparison.Ordinal))
                    by.EnableMeasurementEvents(instrument);
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
            seen.Add($"{instrument.Name} {tags[0].Key}={tags[0].Value} {value}"));
        listener.SetMeasurementEventCallback<double>((instrument, value, _, _) =>
            seen.Add(FormattableString.Invariant($"{instrument.Name} {value}")));
        listener.Start();
        times.Of().Record(0.5);
        listener.RecordObservableInstruments();
        Assert.Equal(["test.exported.time 0.5", "test.exported coffer.kind=a 2"], seen);
    }

    private static string Listed(Metric metric)
    {
        var name = metric.PrometheusName + (metric.Kind == "counter" ? "_total" : "");
        var by = metric.Labels.Count == 0 ? ""
            : ", by " + string.Join(", ", metric.Labels.Select(label => $"`{label}`"));
        return $"- `{metric.Name}` (`{name}`), {metric.Kind}, `{metric.Unit}`{by}. {metric.Help}.";
    }
}
