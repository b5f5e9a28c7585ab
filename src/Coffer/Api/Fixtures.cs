using Coffer.Access;
using Coffer.Http;
using Coffer.Secrets;

namespace Coffer.Api;

/// <summary>
/// What lets the official SDKs' own test suites run against <c>coffer dev</c>: they ask <c>GET /</c> for a
/// <c>Stripe-Mock-Version</c>, and find and delete these two secrets before they create any. They are written for a
/// server without a memory, where what was deleted is there again.
/// </summary>
/// <param name="store">Where they are.</param>
/// <param name="owner">Whose they are.</param>
internal sealed class Fixtures(SecretStore store, Caller owner) : IDisposable
{
    private static readonly (SecretName Name, byte[] Payload)[] Secrets =
    [
        (new("sec_123"u8), "very secret string"u8.ToArray()), (new("my-api-key"u8), "secret_key_xxxxxx"u8.ToArray()),
    ];

    private readonly SemaphoreSlim turns = new(1);

    public static async Task SeedAsync(SecretStore store, Caller owner, CancellationToken ct)
    {
        foreach (var (name, payload) in Secrets)
        {
            if (await SetAsync(store, owner, name, payload, ifVersion: null, ct) is { } error)
                throw new ConfigurationException($"the fixtures cannot be stored: {error.Message}",
                    "Start without --seed-fixtures, or with an empty --data directory.");
        }
    }

    /// <summary>The routes, before whose requests what was deleted of the fixtures is there again.</summary>
    public IEnumerable<ApiRoute> Keep(IEnumerable<ApiRoute> routes) =>
        [.. routes.Select(route => route with { Handler = request => AnswerAsync(route.Handler, request) })];

    public static Task WriteMockVersionAsync(HttpContext context)
    {
        context.Response.Headers["Stripe-Mock-Version"] = "master";
        context.Response.ContentType = "text/plain; charset=utf-8";
        const string Text = $"Coffer dev mode. The API is under /v1, and described at {DocsApi.Pages}.\n";
        context.Response.ContentLength = Text.Length;
        return context.Response.WriteAsync(Text, context.RequestAborted);
    }

    public void Dispose() => turns.Dispose();

    // One after another: of two deletes at once both find it.
    private async ValueTask<ApiError?> AnswerAsync(Handler handler, ApiRequest request)
    {
        if (!request.Caller.IsBeside(owner))
            return await handler(request);
        await turns.WaitAsync(request.Cancelled);
        try
        {
            await RestoreAsync(request.Cancelled);
            return await handler(request);
        }
        finally
        {
            turns.Release();
        }
    }

    // One that there is no room for is left out: that is no fault of the request.
    private async Task RestoreAsync(CancellationToken ct)
    {
        foreach (var (name, payload) in Secrets)
        {
            using var found = await store.FindAsync(owner, Scope.Account, name, wantsPayload: false, ct);
            if (found is null)
                await SetAsync(store, owner, name, payload, ifVersion: 0, ct);
        }
    }

    private static async Task<ApiError?> SetAsync(SecretStore store, Caller owner, SecretName name, byte[] payload,
        long? ifVersion, CancellationToken ct)
    {
        var outcome = await store.SetAsync(owner, Scope.Account, name, payload, expiresAt: null, ifVersion, claim: null,
            ct);
        outcome.Secret?.Dispose();
        return outcome.Error;
    }
}
