using System.Collections.Frozen;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Coffer.Api;

/// <summary>
/// What describes the API, for people and for their tools: the documents of openapi/ as they are, a page of each, and
/// the page that every error's <c>doc_url</c> points to. All of it is part of the program, so no network is needed to
/// read it. A page has no script; its one style sheet is inside, and no other is allowed.
/// </summary>
internal static class DocsApi
{
    public const string Errors = "/docs/errors", Pages = "/docs", Document = "/openapi/v1.json";

    /// <summary>Of the management plane, and nowhere but beside it.</summary>
    public const string AdminPages = "/docs/admin", AdminDocument = "/openapi/admin.json";

    private const string Html = "text/html; charset=utf-8", Json = "application/json";

    private static readonly string Style = Read("docs.css");

    private static readonly string Policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
        + $"form-action 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Utf8(Style)))}'";

    // Each is made when somebody first asks for it.
    private static readonly FrozenDictionary<string, Lazy<Page>> All = new Dictionary<string, Lazy<Page>>
    {
        [Errors] = new(() => new Page(Html, Utf8(Read("errors.html").Replace(
            "<style>", $"<style>{Style}", StringComparison.Ordinal)))),
        [Pages] = new(() => Render("openapi/v1.json", new Curl("COFFER_URL", "COFFER_API_KEY"), Document)),
        [AdminPages] = new(() => Render(
            "openapi/admin.json", new Curl("COFFER_ADMIN_URL", "COFFER_ADMIN_KEY"), AdminDocument)),
        [Document] = new(() => new Page(Json, Utf8(Read("openapi/v1.json")))),
        [AdminDocument] = new(() => new Page(Json, Utf8(Read("openapi/admin.json")))),
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Answers with the page of the request's path, which must be one of those above.</summary>
    public static Task WriteAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        var (type, body) = All[path].Value;
        var headers = context.Response.Headers;
        context.Response.ContentType = type;
        context.Response.ContentLength = body.Length;
        headers.CacheControl = "no-cache";
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        // Tools that run in a browser read it from there. No page may read the management plane's.
        if (path == Document)
            headers.AccessControlAllowOrigin = "*";
        return context.Response.Body.WriteAsync(body, context.RequestAborted).AsTask();
    }

    private static Page Render(string resource, Curl curl, string address)
    {
        using var document = JsonDocument.Parse(Read(resource));
        return new Page(Html, Utf8(new DocsPage(document.RootElement, curl).Render(Style, address)));
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static string Read(string resource)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(resource)!);
        return reader.ReadToEnd();
    }

    private sealed record Page(string Type, byte[] Body);
}
