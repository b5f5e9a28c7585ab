using System.Diagnostics.Metrics;
using System.Globalization;
using Coffer.Telemetry;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using Metric = Coffer.Telemetry.Metric;

namespace Coffer.Hosting;

/// <summary>
/// Sends spans and metrics to a collector by OTLP, by the libraries of OpenTelemetry, which read the rest of their
/// settings of the variables that they have on every platform.
/// </summary>
internal sealed class OtlpExport : IDisposable
{
    /// <summary>How long a stop waits for what is not sent yet.</summary>
    private const int Farewell = 2_000;

    private readonly Gauges gauges;
    private readonly Meter? meter;
    private readonly MeterProvider? metrics;
    private readonly TracerProvider? traces;

    public OtlpExport(OtlpSettings settings, Gauges gauges)
    {
        this.gauges = gauges;
        // What an operator names there goes before what is known here.
        var resource = ResourceBuilder.CreateEmpty().AddTelemetrySdk()
            .AddAttributes(gauges.Target.Select(each => KeyValuePair.Create(each.Name, (object)each.Value)))
            .AddEnvironmentVariableDetector();
        if (settings.HasMetrics)
        {
            meter = new Meter(Metric.Source);
            foreach (var metric in Metrics.All)
                Observe(meter, metric);
            metrics = Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource).AddMeter(Metric.Source)
                .AddOtlpExporter(static options => Apply(options, OtlpSettings.Metrics)).Build();
        }

        if (settings.HasTraces)
        {
            // Which requests have a span is decided before: see Sampling.
            traces = Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource).AddSource(Metric.Source)
                .SetSampler(new AlwaysOnSampler())
                .AddOtlpExporter(static options => Apply(options, OtlpSettings.Traces)).Build();
        }
    }

    public void Dispose()
    {
        traces?.Shutdown(Farewell);
        metrics?.Shutdown(Farewell);
        traces?.Dispose();
        metrics?.Dispose();
        meter?.Dispose();
    }

    // The exporter reads the variables for all signals; those of one are for the program to read.
    private static void Apply(OtlpExporterOptions options, string signal)
    {
        if (OtlpSettings.Own(signal, "PROTOCOL") is { } protocol)
        {
            options.Protocol = protocol == OtlpSettings.Grpc
                ? OtlpExportProtocol.Grpc
                : OtlpExportProtocol.HttpProtobuf;
        }

        if (OtlpSettings.Own(signal, "ENDPOINT") is { } endpoint)
            options.Endpoint = new Uri(endpoint);
        if (OtlpSettings.Own(signal, "HEADERS") is { } headers)
            options.Headers = headers;
        if (int.TryParse(OtlpSettings.Own(signal, "TIMEOUT"), NumberStyles.None, CultureInfo.InvariantCulture,
            out var milliseconds))
            options.TimeoutMilliseconds = milliseconds;
    }

    private void Observe(Meter by, Metric metric)
    {
        if (metric is Gauge)
            by.CreateObservableGauge(metric.Name, () => Read(metric), metric.Unit, metric.Help);
        if (metric is ReadCounter)
            by.CreateObservableCounter(metric.Name, () => Read(metric), metric.Unit, metric.Help);
    }

    // On the thread of the exporter, which waits for nobody and for whom nobody waits.
    private IEnumerable<Measurement<double>> Read(Metric metric) =>
        gauges.ReadKept().Where(reading => reading.Of == metric)
            .Select(reading => new Measurement<double>(reading.Value, metric.Tags(reading.Values)));
}
