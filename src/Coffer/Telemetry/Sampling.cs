using System.Diagnostics;
using System.Globalization;

namespace Coffer.Telemetry;

/// <summary>
/// Which requests have a span, by the variables OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG as the specification of
/// OpenTelemetry says. It is decided before a span is made: the SDK would make one, and throw it away, at several
/// percent of what a find costs.
/// </summary>
/// <param name="Ratio">Which share of the requests that have no say of a client, from 0 to 1.</param>
/// <param name="IsByParent">Whether a client that is trusted has decided where it sends a context.</param>
internal sealed record Sampling(double Ratio, bool IsByParent)
{
    /// <summary>Of the traces without a say, one in a hundred: what a busy server can afford to send.</summary>
    public const double DefaultRatio = 0.01;

    /// <summary>The names, as the specification has them.</summary>
    public const string Names = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or "
        + "parentbased_traceidratio";

    private const string ByParent = "parentbased_";

    /// <summary>What the variables say.</summary>
    /// <param name="name">The sampler; null or empty is <c>parentbased_traceidratio</c>.</param>
    /// <param name="argument">The ratio; null or empty is <see cref="DefaultRatio"/>.</param>
    /// <exception cref="FormatException">The end of a sentence that begins with the variable and its value.</exception>
    public static Sampling Parse(string? name, string? argument)
    {
        var ratio = DefaultRatio;
        if (!string.IsNullOrEmpty(argument)
            && !(double.TryParse(argument, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out ratio)
                && ratio <= 1))
            throw new FormatException($"OTEL_TRACES_SAMPLER_ARG '{argument}' is not a number from 0 to 1");
        var asked = string.IsNullOrEmpty(name) ? $"{ByParent}traceidratio" : name;
        var isByParent = asked.StartsWith(ByParent, StringComparison.Ordinal);
        return (isByParent ? asked[ByParent.Length..] : asked) switch
        {
            "always_on" => new Sampling(1, isByParent),
            "always_off" => new Sampling(0, isByParent),
            "traceidratio" => new Sampling(ratio, isByParent),
            _ => throw new FormatException($"OTEL_TRACES_SAMPLER '{asked}' is not {Names}"),
        };
    }

    /// <summary>Whether a request has a span.</summary>
    /// <param name="parent">What a trusted client sent; default is nothing.</param>
    public bool Takes(ActivityContext parent)
    {
        if (parent != default && IsByParent)
            return parent.TraceFlags.HasFlag(ActivityTraceFlags.Recorded);
        return Ratio switch
        {
            >= 1 => true,
            <= 0 => false,
#pragma warning disable RS0030 // Which requests are looked at is no secret.
            _ => Random.Shared.NextDouble() < Ratio,
#pragma warning restore RS0030
        };
    }
}
