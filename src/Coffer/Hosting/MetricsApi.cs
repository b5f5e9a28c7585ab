using Coffer.Telemetry;

namespace Coffer.Hosting;

/// <summary>
/// <c>/metrics</c>: all metrics as Prometheus reads them. No key is needed, so it is at the address of the management
/// plane or at one of its own, and never where apps ask.
/// </summary>
internal sealed class MetricsApi(Gauges gauges)
{
    public const string Path = "/metrics";

    /// <summary>Answers at an address where it is; all but its path is 404.</summary>
    public Task AnswerAsync(HttpContext context)
    {
        if (context.Request.Path.Value == Path)
            return WriteAsync(context);
        context.Response.StatusCode = StatusCodes.Status404NotFound;
        context.Response.ContentLength = 0;
        return Task.CompletedTask;
    }

    private async Task WriteAsync(HttpContext context)
    {
        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method))
        {
            context.Response.Headers.Allow = "GET, HEAD";
            context.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
            return;
        }

        await ReadingThread.LeaveAsync();
        var readings = await gauges.ReadAsync(context.RequestAborted);
        context.Response.ContentType = PrometheusText.ContentType;
        context.Response.Headers.CacheControl = "no-cache, no-store";
        await context.Response.WriteAsync(
            PrometheusText.Write(Metrics.All, readings, gauges.Target), context.RequestAborted);
    }
}
