using Coffer.Settings;
using Coffer.Storage;
using Coffer.Telemetry;

namespace Coffer.Hosting;

/// <summary>
/// Metrics and traces, where anybody can ask for them: an address of its own or of the management plane, or a
/// collector that the variables of OpenTelemetry name. Elsewhere nothing is counted and nothing made.
/// </summary>
internal sealed class TelemetryParts
{
    private readonly CofferOptions options;
    private readonly Surroundings around;
    private readonly OtlpSettings sends;
    private RequestSpans? spans;

    private TelemetryParts(CofferOptions options, OtlpSettings sends, Surroundings around, Census census) =>
        (this.options, this.sends, this.around, Census) = (options, sends, around, census);

    public Census Census { get; }

    /// <summary>What answers at <c>/metrics</c>; null until it starts, and where nothing is to.</summary>
    public MetricsApi? Api { get; private set; }

    /// <summary>Begins to count, if anybody can ask.</summary>
    /// <param name="options">The settings.</param>
    /// <param name="engine">Where rows are counted.</param>
    /// <param name="around">What the server is given.</param>
    public static TelemetryParts Open(CofferOptions options, Engine engine, Surroundings around)
    {
        var otlp = OtlpSettings.OfProcess();
        var census = around.Parts.Add(new Census(engine, around.Time, around.Log<Census>()));
        if (AreWanted(options, otlp))
            Metrics.TurnOn();
        return new TelemetryParts(options, otlp, around, census);
    }

    /// <summary>Has them asked for and sent, once there is all that is read.</summary>
    public void Start(Gauges gauges)
    {
        if (AreWanted(options, sends))
        {
            Census.Start();
            around.Loops.Add(Census.Loop);
            around.Observers.Add(new RequestMetrics(options.MetricsApps).Count);
            Api = new MetricsApi(gauges);
        }

        if (sends.HasTraces)
        {
            spans = new RequestSpans(sends.Sampling, options.TraceContextFrom);
            around.Observers.Add(RequestSpans.Describe);
        }

        if (sends.HasMetrics || sends.HasTraces)
            around.Parts.Add(new OtlpExport(sends, gauges));
    }

    /// <summary>What answers requests, with a span around those that are to have one.</summary>
    public RequestDelegate Around(RequestDelegate answers) => spans?.Around(answers) ?? answers;

    private static bool AreWanted(CofferOptions options, OtlpSettings otlp) =>
        (options.MetricsListen ?? options.AdminListen) is not null || otlp.HasMetrics;
}
