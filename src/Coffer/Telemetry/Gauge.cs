namespace Coffer.Telemetry;

/// <summary>A metric that is read when somebody asks: how much there is of something at that moment.</summary>
/// <inheritdoc cref="Metric"/>
internal sealed class Gauge(string name, string unit, string help, params string[] labels)
    : Metric(name, unit, help, labels)
{
    public override string Kind => "gauge";

    /// <summary>What was read of it.</summary>
    /// <param name="value">How much.</param>
    /// <param name="values">The values of the attributes, in their order.</param>
    public Reading Reads(double value, params string[] values) => new(this, value, values);
}

/// <summary>What was read of a metric that grows, and that something else counts: the process, for example.</summary>
/// <inheritdoc cref="Metric"/>
internal sealed class ReadCounter(string name, string unit, string help, params string[] labels)
    : Metric(name, unit, help, labels)
{
    public override string Kind => "counter";

    /// <inheritdoc cref="Gauge.Reads"/>
    public Reading Reads(double value, params string[] values) => new(this, value, values);
}

/// <summary>One series of a metric that is read.</summary>
/// <param name="Of">The metric.</param>
/// <param name="Value">How much.</param>
/// <param name="Values">The values of the attributes, in their order.</param>
internal sealed record Reading(Metric Of, double Value, IReadOnlyList<string> Values);
