using System.Text;
using Coffer.Keys;

namespace Coffer.Hosting;

/// <summary>
/// The public keys that the store's checkpoints and receipts are signed with, for everybody: no key is needed, and
/// nothing else is said.
/// </summary>
internal sealed class AuditKeyApi(Instance instance)
{
    public const string Path = "/.well-known/coffer-audit-key";

    public async Task WriteAsync(HttpContext context)
    {
        var page = Encoding.ASCII.GetBytes(instance.Signing.Public.ToPem(instance.Id));
        context.Response.ContentType = "application/x-pem-file";
        context.Response.ContentLength = page.Length;
        context.Response.Headers.CacheControl = "no-cache";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        await context.Response.Body.WriteAsync(page, context.RequestAborted);
    }
}
