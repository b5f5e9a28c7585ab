using System.Diagnostics;
using Coffer.Http;
using Coffer.Telemetry;
using IPNetwork = System.Net.IPNetwork;

namespace Coffer.Hosting;

/// <summary>
/// The span of each request that is to have one. A context that the client sent (W3C Trace Context) is continued only
/// where the client is one of those that the operator trusts with it: others could have every request of theirs
/// traced, or write into the traces of somebody else.
/// </summary>
internal sealed class RequestSpans(Sampling sampling, IReadOnlyList<IPNetwork> trusted)
{
    private const int LongestState = 512;

    public RequestDelegate Around(RequestDelegate next) => context =>
    {
        var parent = ParentOf(context);
        return sampling.Takes(parent) ? TracedAsync(context, parent, next) : next(context);
    };

    /// <summary>Has the span that is under way here say what became of its request.</summary>
    public static void Describe(Exchange exchange)
    {
        if (Activity.Current is not { Kind: ActivityKind.Server } span || span.Source != Traces.Source)
            return;
        span.DisplayName = exchange.Route is { } route ? $"{exchange.Method} {route}" : exchange.Method;
        span.SetTag("http.request.method", exchange.Method).SetTag("http.route", exchange.Route)
            .SetTag("url.scheme", RequestMetrics.SchemeOf(exchange))
            .SetTag("http.response.status_code", exchange.Status)
            .SetTag("coffer.request.id", exchange.RequestId).SetTag("coffer.reason", exchange.Reason);
        if (exchange.Status < StatusCodes.Status500InternalServerError)
            return;
        span.SetTag("error.type", exchange.Reason);
        span.SetStatus(ActivityStatusCode.Error);
    }

    private ActivityContext ParentOf(HttpContext context)
    {
        if (trusted.Count == 0 || context.Request.Headers.TraceParent is not [{ } sent])
            return default;
        var state = context.Request.Headers.TraceState.ToString();
        var isKept = state.Length <= LongestState;
        return Networks.HaveIn(trusted, context.Connection.RemoteIpAddress)
            && ActivityContext.TryParse(sent, isKept ? state : null, isRemote: true, out var parent)
            ? parent
            : default;
    }

    private static async Task TracedAsync(HttpContext context, ActivityContext parent, RequestDelegate next)
    {
        using var span = Traces.Source.StartActivity("request", ActivityKind.Server, parent);
        await next(context);
    }
}
