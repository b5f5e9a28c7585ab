using System.Globalization;
using System.Text;

namespace Coffer.Telemetry;

/// <summary>
/// All metrics in Prometheus' text format, version 0.0.4
/// (prometheus.io/docs/instrumenting/exposition_formats).
/// </summary>
internal static class PrometheusText
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    /// <param name="metrics">Which, in their order.</param>
    /// <param name="readings">What was read of those that are read.</param>
    /// <param name="target">What the process is, as the attributes of a resource.</param>
    public static string Write(IEnumerable<Metric> metrics, IReadOnlyList<Reading> readings,
        IReadOnlyList<(string Name, string Value)> target)
    {
        var text = new StringBuilder(16 * 1024);
        Head(text, "target_info", "gauge", "What this process is");
        Line(text, "target_info", [.. target.Select(each => Metric.InPrometheus(each.Name))],
            [.. target.Select(each => each.Value)], 1);
        var read = readings.ToLookup(reading => reading.Of);
        foreach (var metric in metrics)
        {
            var name = metric.PrometheusName + (metric.Kind == "counter" ? "_total" : "");
            var labels = metric.Labels.Select(Metric.InPrometheus).ToArray();
            Head(text, name, metric.Kind, metric.Help);
            if (metric is Counter counter)
            {
                foreach (var (values, count) in counter.All)
                    Line(text, name, labels, values, count);
            }

            if (metric is Distribution distribution)
            {
                foreach (var (values, series) in distribution.All)
                    Write(text, name, labels, values, distribution.Bounds, series);
            }

            foreach (var reading in read[metric])
                Line(text, name, labels, reading.Values, reading.Value);
        }

        return text.ToString();
    }

    private static void Write(StringBuilder text, string name, string[] labels, string[] values,
        IReadOnlyList<double> bounds, Distribution.Series series)
    {
        var (buckets, total) = (series.Buckets, 0L);
        string[] withBound = [.. labels, "le"];
        for (var at = 0; at < buckets.Length; at++)
        {
            total += buckets[at];
            var bound = at < bounds.Count ? bounds[at] : double.PositiveInfinity;
            Line(text, $"{name}_bucket", withBound, [.. values, Shown(bound)], total);
        }

        Line(text, $"{name}_sum", labels, values, series.Sum);
        Line(text, $"{name}_count", labels, values, total);
    }

    private static void Head(StringBuilder text, string name, string kind, string help) =>
        text.Append("# HELP ").Append(name).Append(' ').Append(help).Append(".\n")
            .Append("# TYPE ").Append(name).Append(' ').Append(kind).Append('\n');

    private static void Line(
        StringBuilder text, string name, string[] labels, IReadOnlyList<string> values, double value)
    {
        text.Append(name);
        for (var at = 0; at < labels.Length; at++)
        {
            text.Append(at == 0 ? '{' : ',').Append(labels[at]).Append("=\"");
            foreach (var c in values[at])
                Append(text, c);
            text.Append('"');
        }

        if (labels.Length > 0)
            text.Append('}');
        text.Append(' ').Append(Shown(value)).Append('\n');
    }

    private static void Append(StringBuilder text, char c)
    {
        if (c is '\\' or '"')
            text.Append('\\');
        if (c == '\n')
            text.Append("\\n");
        else
            text.Append(c);
    }

    private static string Shown(double value) =>
        double.IsPositiveInfinity(value) ? "+Inf" : value.ToString("R", CultureInfo.InvariantCulture);
}
