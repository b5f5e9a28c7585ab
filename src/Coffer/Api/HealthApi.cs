using System.Text.Json;
using Coffer.Secrets;

namespace Coffer.Api;

/// <summary><c>/healthz</c>: the process answers. <c>/readyz</c>: it can do its work. No key is needed and no secret is said.</summary>
internal sealed class HealthApi(Readiness readiness)
{
    public const string Alive = "/healthz";
    public const string Ready = "/readyz";

    public static Task WriteAliveAsync(HttpContext context) => WriteAsync(context, []);

    public async Task WriteReadyAsync(HttpContext context) => await WriteAsync(context, await readiness.ProveAsync(context.RequestAborted));

    private static async Task WriteAsync(HttpContext context, IReadOnlyList<Readiness.Check> checks)
    {
        var isWell = checks.All(check => check.Trouble is null);
        context.Response.StatusCode = isWell ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-cache, no-store";
        await using var json = new Utf8JsonWriter(context.Response.BodyWriter);
        json.WriteStartObject();
        json.WriteString("status"u8, isWell ? "ok"u8 : "unavailable"u8);
        foreach (var check in checks)
            json.WriteString(check.Part, check.Trouble ?? check.Warning ?? "ok");
        json.WriteEndObject();
    }
}
