using System.Collections.Frozen;
using Microsoft.Extensions.Primitives;

namespace Coffer.Http;

/// <summary>
/// Headers that what traces a page's requests adds to each of them, in the lower case of a preflight. Nothing is read
/// of them here, and without them in the answer to a preflight a browser sends no request at all.
/// </summary>
internal static class Tracing
{
    public static readonly FrozenSet<string> Headers = FrozenSet.Create(StringComparer.Ordinal,
        "traceparent", "tracestate", "baggage", // W3C Trace Context and Baggage: OpenTelemetry and others
        "sentry-trace", "newrelic", "elastic-apm-traceparent", "request-id", "request-context",
        "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority",
        "x-datadog-tags", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled",
        "x-amzn-trace-id", "x-cloud-trace-context", "x-request-id", "x-correlation-id");

    /// <summary>Those that a preflight asks for, each after a comma; empty if there is none.</summary>
    public static string AskedFor(StringValues requested) => string.Concat(
        requested.ToString().Split(',', StringSplitOptions.TrimEntries).Where(Headers.Contains)
            .Distinct(StringComparer.Ordinal).Select(header => $", {header}"));
}
