using System.Diagnostics.Metrics;

namespace Coffer.Telemetry;

/// <summary>A metric that only grows, until the process ends.</summary>
/// <inheritdoc cref="Metric"/>
internal sealed class Counter : Metric
{
    private readonly Kept<Count> series;

    public Counter(string name, string unit, string help, params string[] labels)
        : base(name, unit, help, labels)
    {
        series = new(this, static _ => new Count());
        Meter.CreateObservableCounter(name, Measure, unit, help);
    }

    public override string Kind => "counter";

    public IEnumerable<(string[] Values, long Count)> All =>
        series.All.Select(each => (each.Values, each.Series.Value));

    /// <summary>The series of these values, in the order of the attributes: keep it where it is needed often.</summary>
    public Count Of(params string[] values) => series.Of(values);

    private IEnumerable<Measurement<long>> Measure() =>
        All.Select(each => new Measurement<long>(each.Count, Tags(each.Values)));

    /// <summary>A series of it. Any thread may add.</summary>
    public sealed class Count
    {
        private long value;

        public long Value => Interlocked.Read(ref value);

        public void Add(long more = 1)
        {
            if (Metrics.AreOn)
                Interlocked.Add(ref value, more);
        }
    }
}
