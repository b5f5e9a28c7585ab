using Coffer.Access;
using Coffer.Secrets;

namespace Coffer.Api;

/// <summary>
/// What lets the official SDKs' own test suites run against <c>coffer dev</c>: they ask <c>GET /</c> for a
/// <c>Stripe-Mock-Version</c>, and find and delete these two secrets before they create any.
/// </summary>
internal static class Fixtures
{
    private static readonly (string Name, string Payload)[] Secrets = [("sec_123", "very secret string"),
        ("my-api-key", "secret_key_xxxxxx")];

    public static async Task SeedAsync(SecretStore store, Caller caller, CancellationToken ct)
    {
        foreach (var (name, payload) in Secrets)
        {
            var outcome = await store.SetAsync(caller, Scope.Account, new SecretName(Utf8(name)), Utf8(payload),
                expiresAt: null, ifVersion: null, claim: null, ct);
            outcome.Secret?.Dispose();
            if (outcome.Error is { } error)
                throw new ConfigurationException($"the fixtures cannot be stored: {error.Message}",
                    "Start without --seed-fixtures, or with an empty --data directory.");
        }
    }

    public static Task WriteMockVersionAsync(HttpContext context)
    {
        context.Response.Headers["Stripe-Mock-Version"] = "master";
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(
            $"Coffer dev mode. The API is under /v1; errors are explained at {DocsApi.Path}.\n",
            context.RequestAborted);
    }

    private static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text);
}
