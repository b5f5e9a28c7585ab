using Microsoft.AspNetCore.Connections.Features;

namespace Coffer.Hosting;

/// <summary>
/// Whether the server is about to stop: requests are answered as before, but each answer ends its connection, and
/// readiness says no, so that those in front of it turn to another node.
/// </summary>
internal sealed class Draining
{
    private volatile bool isOn;

    public bool IsOn => isOn;

    public void Begin() => isOn = true;

    public Task AnswerAsync(HttpContext context, RequestDelegate next)
    {
        if (isOn)
        {
            // HTTP/2 has no such header: there the whole connection ends (GOAWAY).
            if (HttpProtocol.IsHttp2(context.Request.Protocol))
                context.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
            else
                context.Response.Headers.Connection = "close";
        }

        return next(context);
    }
}
