using System.Buffers;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Coffer.Hosting;

/// <summary>
/// <c>/healthz</c>: the process answers. <c>/readyz</c>: it can do its work. No key is needed, so no secret is said,
/// and nothing of where the store is: a path in what a driver or the system says is shown as <c>…</c>.
/// </summary>
internal sealed partial class HealthApi(Readiness readiness, Draining draining)
{
    public const string Alive = "/healthz";
    public const string Ready = "/readyz";

    /// <summary>Where Stripe's API says that it is there, which some programs ask first.</summary>
    public const string Check = "/healthcheck";

    private static readonly Readiness.Check Stopping =
        new("server", "it is about to stop, and answers requests until then");

    // What a path begins with: / ./ ../ ~/ C:\ \\
    private const string Root = """(\.{0,2}/|~/|[A-Za-z]:\\|\\\\)""";

    public static Task WriteAliveAsync(HttpContext context) => WriteAsync(context, []);

    public static Task WriteCheckAsync(HttpContext context)
    {
        context.Response.ContentType = "text/plain; charset=utf-8";
        context.Response.ContentLength = "ok\n".Length;
        context.Response.Headers.CacheControl = "no-cache, no-store";
        return context.Response.WriteAsync("ok\n", context.RequestAborted);
    }

    /// <summary>Whether requests can use the storage, whatever else this node is not ready for.</summary>
    public async Task<bool> HasStorageAsync(CancellationToken ct) =>
        (await readiness.ProveAsync(ct)).Single(check => check.Part == Readiness.Storage).Trouble is null;

    public async Task WriteReadyAsync(HttpContext context)
    {
        await ReadingThread.LeaveAsync();
        var checks = await readiness.ProveAsync(context.RequestAborted);
        await WriteAsync(context, draining.IsOn ? [.. checks, Stopping] : checks);
    }

    private static async Task WriteAsync(HttpContext context, IReadOnlyList<Readiness.Check> checks)
    {
        var isWell = checks.All(check => check.Trouble is null);
        context.Response.StatusCode = isWell ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable;
        context.Response.ContentType = "application/json";
        context.Response.Headers.CacheControl = "no-cache, no-store";
        var body = new ArrayBufferWriter<byte>();
        await using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteString("status"u8, isWell ? "ok"u8 : "unavailable"u8);
            foreach (var check in checks)
                json.WriteString(check.Part, WithoutPaths(check.Trouble ?? check.Warning ?? "ok"));
            json.WriteEndObject();
        }

        context.Response.ContentLength = body.WrittenCount;
        await context.Response.BodyWriter.WriteAsync(body.WrittenMemory, context.RequestAborted);
    }

    /// <summary>A message with each path in it shown as <c>…</c>; "disk I/O error" has none.</summary>
    public static string WithoutPaths(string message) => AbsolutePath().Replace(message, "${before}…");

    // From its root to the quote that closes it, or else to the end of the word.
    [GeneratedRegex(
        $"""(?<before>['"]){Root}[^'"]*|(?<before>^|[\s(=:,;]){Root}[^\s'"]*""",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex AbsolutePath();
}
