using System.Collections.Concurrent;
using System.Net;
using System.Text;

namespace Coffer.EndToEnd;

/// <summary>
/// The previews of Azure Key Vault and Google Cloud KMS in a process of their own: where their libraries find
/// credentials in its environment, and that who does not use them does not load them.
/// </summary>
[Trait("Keys", "S19")]
public sealed class KeyServiceTests
{
    private const string Key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k", Token = "token-of-the-machine";

    [Fact]
    public async Task A_machines_identity_gives_tokens_and_libraries_are_loaded_when_they_are_asked()
    {
        await using var services = new Services();
        var (url, asked) = (services.Url, services.Asked);
        using var data = new TemporaryDirectory();
        string admin;
        await using (var first = await CofferProcess.ServeAsync(data))
            admin = first.AdminKey;
        await using var coffer = await CofferProcess.StartAsync(
            [
                "serve", "--data", data.Path, "--root-key-gcp-endpoint", url, "--root-key",
                $"file:{data.File("coffer.key")} azurekv:{url}/keys/k/1 gcpkms:{Key}", "--drain", "0",
            ],
            program: Needs.DotNetProgram, // the native build has no libraries of Azure and Google
            environment: new Dictionary<string, string>
            {
                ["IDENTITY_ENDPOINT"] = $"{url}/identity",
                ["IDENTITY_HEADER"] = "h",
                ["GCE_METADATA_HOST"] = url["http://".Length..],
                ["GOOGLE_APPLICATION_CREDENTIALS"] = "",
                ["HOME"] = data.Path,
            });
        using var operating = new WireClient(coffer.Url, admin);
        var loaded = await LoadedAsync(coffer);
        Assert.DoesNotContain("/Azure.", loaded, StringComparison.Ordinal);
        Assert.DoesNotContain("/Google.", loaded, StringComparison.Ordinal);
        foreach (var wrapper in (string[])[$"azurekv:{url}/keys/k/1", $"gcpkms:{Key}"])
        {
            var refused = (await operating.PostAsync("/admin/v1/root_keys/wrappers", [("wrapper", wrapper)])).Is(503);
            Assert.Contains("answered 403: NO: not today", refused.Body.GetRawText(), StringComparison.Ordinal);
        }

        Assert.Contains("/Azure.", await LoadedAsync(coffer), StringComparison.Ordinal); // so it would have been seen
        Assert.Contains($"/keys/k/1/wrapkey Bearer {Token}", asked);
        Assert.Contains($"/v1/{Key}:encrypt Bearer {Token}", asked);
    }

    private static Task<string> LoadedAsync(CofferProcess coffer) =>
        File.ReadAllTextAsync($"/proc/{coffer.Pid}/maps", TestContext.Current.CancellationToken);

    // As "App Service managed identity" and "About VM metadata" have them, and two services that refuse.
    private sealed class Services : HttpAnswers
    {
        public string Url => Root;

        public ConcurrentQueue<string> Asked { get; } = new();

        protected override Task AnswerAsync(HttpListenerContext context)
        {
            var (request, response) = (context.Request, context.Response);
            var path = request.Url!.AbsolutePath;
            Asked.Enqueue($"{path} {request.Headers["Authorization"]}");
            var isOfMachine = path == "/identity" ? request.Headers["X-IDENTITY-HEADER"] == "h"
                : request.Headers["Metadata-Flavor"] == "Google";
            var until = TimeProvider.System.GetUtcNow().AddHours(2).ToUnixTimeSeconds();
            response.StatusCode = isOfMachine ? 200 : 403;
            response.Headers["Metadata-Flavor"] = "Google";
            response.ContentType = "application/json";
            var body = isOfMachine
                ? $$"""{"access_token":"{{Token}}","expires_on":"{{until}}","expires_in":3600,"token_type":"Bearer"}"""
                : """{"error":{"code":"NO","message":"not today"}}""";
            response.Close(Encoding.UTF8.GetBytes(body), willBlock: true);
            return Task.CompletedTask;
        }
    }
}
