using Coffer.Telemetry;

namespace Coffer.Hosting;

/// <summary>
/// What the standard variables of OpenTelemetry ask of this process: nothing is sent unless an endpoint is named. How
/// it is sent (protocol, headers, timeouts, batches) the SDK reads of them itself.
/// </summary>
/// <param name="HasTraces">Whether spans are sent.</param>
/// <param name="HasMetrics">Whether metrics are.</param>
/// <param name="Sampling">Which requests have a span.</param>
internal sealed record OtlpSettings(bool HasTraces, bool HasMetrics, Sampling Sampling)
{
    /// <summary>The signals, as variables name them, and the protocol that is used unless another is named.</summary>
    public const string Traces = "TRACES", Metrics = "METRICS", Grpc = "grpc";

    private const string Prefix = "OTEL_EXPORTER_OTLP_";

    /// <summary>What is wrong, by the names of the variables; never a value that could hold a key.</summary>
    public IReadOnlyList<string> Problems { get; private init; } = [];

    /// <summary>The variable of one signal in this process, such as its endpoint; null if it has none.</summary>
    public static string? Own(string signal, string what) =>
        Environment.GetEnvironmentVariable($"{Prefix}{signal}_{what}") is { Length: > 0 } value ? value : null;

    /// <summary>Those of this process.</summary>
    public static OtlpSettings OfProcess() => Read(Environment.GetEnvironmentVariable);

    /// <param name="variable">The value of a variable, or null.</param>
    public static OtlpSettings Read(Func<string, string?> variable)
    {
        var problems = new List<string>();
        var isOff = string.Equals(variable("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase);
        var traces = IsOn(Traces);
        var metrics = IsOn(Metrics);
        var sampling = new Sampling(0, IsByParent: true);
        try
        {
            sampling = Sampling.Parse(variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"));
        }
        catch (FormatException e) when (traces)
        {
            problems.Add(e.Message);
        }
        catch (FormatException)
        {
            // Meant for other programs: nothing is traced here.
        }

        return new OtlpSettings(traces, metrics, sampling) { Problems = problems };

        bool IsOn(string signal)
        {
            var name = Named(signal, "ENDPOINT");
            var protocol = Named(signal, "PROTOCOL");
            var exporter = variable($"OTEL_{signal}_EXPORTER");
            if (isOff || string.IsNullOrEmpty(variable(name)) || exporter == "none")
                return false;
            if (exporter is not (null or "" or "otlp"))
                problems.Add($"OTEL_{signal}_EXPORTER '{exporter}' is neither otlp nor none");
            if (!Uri.TryCreate(variable(name), UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
                problems.Add($"{name} is not of the form http://HOST:PORT or https://HOST:PORT");
            if (variable(protocol) is not (null or "" or Grpc or "http/protobuf"))
                problems.Add($"{protocol} '{variable(protocol)}' is neither {Grpc} nor http/protobuf");
            return true;
        }

        string Named(string signal, string what)
        {
            var own = $"{Prefix}{signal}_{what}";
            return string.IsNullOrEmpty(variable(own)) ? Prefix + what : own;
        }
    }
}
