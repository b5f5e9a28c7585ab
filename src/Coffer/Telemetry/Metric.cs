// Telemetry: what this process counts and measures, and its traces. All names and values here are the program's own:
// never a payload, a name, a user, an account, a key or SQL, and of apps the id only where the operator asked for it.

using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Coffer.Telemetry;

/// <summary>
/// A row of the table in <see cref="Metrics"/>. Its series are bounded whatever clients do: one for each set of values
/// that the program gives, and beyond <see cref="MostSeries"/> a single one for all others.
/// </summary>
/// <param name="name">As OpenTelemetry writes it, with dots.</param>
/// <param name="unit">In UCUM: <c>s</c>, <c>By</c>, or what is counted, in braces.</param>
/// <param name="help">What it is, as a sentence without its full stop.</param>
/// <param name="labels">The names of the attributes.</param>
internal abstract class Metric(string name, string unit, string help, IReadOnlyList<string> labels)
{
    /// <summary>The name of the meter and of the source of traces.</summary>
    public const string Source = "Coffer";

    /// <summary>The value of every attribute of the series beyond the bound.</summary>
    public const string Other = "_OTHER";

    /// <summary>How many series a metric has at most.</summary>
    public const int MostSeries = 2_000;

    protected static readonly Meter Meter = new(Source);

    public string Name => name;

    public string Unit => unit;

    public string Help => help;

    public IReadOnlyList<string> Labels => labels;

    /// <summary><c>counter</c>, <c>gauge</c> or <c>histogram</c>.</summary>
    public abstract string Kind { get; }

    /// <summary>
    /// Its name in Prometheus' text, by the rules of OpenTelemetry's specification (Prometheus compatibility): dots
    /// become underscores, the unit follows as a word, and <c>_total</c> ends a counter.
    /// </summary>
    public string PrometheusName { get; } = InPrometheus(name) + unit switch
    {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };

    /// <summary>A name of an attribute or a metric with underscores for dots.</summary>
    public static string InPrometheus(string name) => name.Replace('.', '_');

    /// <summary>The attributes of a series, as the framework's instruments want them.</summary>
    public KeyValuePair<string, object?>[] Tags(IReadOnlyList<string> values) =>
        [.. labels.Select((label, at) => new KeyValuePair<string, object?>(label, values[at]))];

    /// <summary>The series of a metric, by the values of their attributes.</summary>
    protected sealed class Kept<T>(Metric owner, Func<string[], T> make)
        where T : class
    {
        private readonly ConcurrentDictionary<string, (string[] Values, T Series)> all = new(StringComparer.Ordinal);
        private readonly Lock adding = new();

        public IEnumerable<(string[] Values, T Series)> All =>
            all.OrderBy(each => each.Key, StringComparer.Ordinal).Select(each => each.Value);

        public T Of(string[] values)
        {
            if (values.Length != owner.Labels.Count)
                throw new ArgumentException($"{owner.Name} has {owner.Labels.Count} attributes", nameof(values));
            var key = string.Join('\n', values);
            if (all.TryGetValue(key, out var known))
                return known.Series;
            lock (adding)
            {
                if (all.TryGetValue(key, out known))
                    return known.Series;
                if (all.Count >= MostSeries - 1)
                {
                    values = [.. owner.Labels.Select(static _ => Other)];
                    key = string.Join('\n', values);
                }

                return all.GetOrAdd(
                    key, static (_, added) => (added.Values, added.Make(added.Values)), (Values: values, Make: make))
                    .Series;
            }
        }
    }
}
