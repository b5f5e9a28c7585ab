using System.Reflection;

namespace Coffer.Api;

/// <summary>
/// The page that every error's <c>doc_url</c> points to. It is part of the program: no network is needed to read it.
/// </summary>
internal static class DocsApi
{
    public const string Path = "/docs/errors";

    private static readonly byte[] Page = Load();

    public static async Task WriteErrorsAsync(HttpContext context)
    {
        context.Response.ContentType = "text/html; charset=utf-8";
        context.Response.ContentLength = Page.Length;
        context.Response.Headers.ContentSecurityPolicy =
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        await context.Response.Body.WriteAsync(Page, context.RequestAborted);
    }

    private static byte[] Load()
    {
        using var resource = Assembly.GetExecutingAssembly().GetManifestResourceStream("errors.html")!;
        var page = new byte[resource.Length];
        resource.ReadExactly(page);
        return page;
    }
}
