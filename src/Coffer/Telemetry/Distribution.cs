using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Coffer.Telemetry;

/// <summary>
/// A metric of how long something takes, or how large it is: a histogram with fixed bounds. It keeps its own buckets,
/// so that to record costs some nanoseconds, and hands values to the framework's instrument only while somebody
/// exports that.
/// </summary>
/// <inheritdoc cref="Metric"/>
internal sealed class Distribution : Metric
{
    private readonly Kept<Series> series;
    private readonly Histogram<double> instrument;

    /// <param name="name">As OpenTelemetry writes it.</param>
    /// <param name="unit">In UCUM.</param>
    /// <param name="bounds">The upper bounds of the buckets, rising; a last one holds what is above them.</param>
    /// <param name="help">What it is.</param>
    /// <param name="labels">The names of the attributes.</param>
    public Distribution(string name, string unit, double[] bounds, string help, params string[] labels)
        : base(name, unit, help, labels)
    {
        Bounds = bounds;
        series = new(this, values => new Series(this, Tags(values)));
        instrument = Meter.CreateHistogram(name, unit, help, tags: null,
            new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds });
    }

    public override string Kind => "histogram";

    public IReadOnlyList<double> Bounds { get; }

    public IEnumerable<(string[] Values, Series Series)> All => series.All;

    /// <summary>The series of these values, in the order of the attributes: keep it where it is needed often.</summary>
    public Series Of(params string[] values) => series.Of(values);

    /// <summary>A series of it. Any thread may record.</summary>
    public sealed class Series(Distribution owner, KeyValuePair<string, object?>[] tags)
    {
        private readonly double[] bounds = (double[])owner.Bounds;
        private readonly long[] buckets = new long[owner.Bounds.Count + 1];
        private double sum;

        /// <summary>How many values are in each bucket, the last above all bounds.</summary>
        public long[] Buckets => (long[])buckets.Clone();

        public double Sum => Volatile.Read(ref sum);

        /// <summary>Records the time since a timestamp of <see cref="Stopwatch"/>, in seconds.</summary>
        public void RecordSince(long timestamp)
        {
            if (Metrics.AreOn)
                Record(Stopwatch.GetElapsedTime(timestamp).TotalSeconds);
        }

        public void Record(double value)
        {
            if (!Metrics.AreOn)
                return;
            var at = 0;
            while (at < bounds.Length && value > bounds[at])
                at++;
            Interlocked.Increment(ref buckets[at]);
            double seen, next;
            do
            {
                seen = Volatile.Read(ref sum);
                next = seen + value;
            }
            while (!Interlocked.CompareExchange(ref sum, next, seen).Equals(seen));
            if (owner.instrument.Enabled)
                owner.instrument.Record(value, tags);
        }
    }
}
