using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Azure.Core;
using Azure.Core.Pipeline;
using Azure.Identity;

namespace Coffer.Keys;

/// <summary>
/// Preview. One version of an RSA key of Azure Key Vault (its REST reference, "Wrap Key" and "Unwrap Key"), by
/// RSA-OAEP-256. That binds nothing else, so only what is wrapped says which root key it is. Credentials come from the
/// environment, a workload identity or a managed identity, as Azure.Identity finds them; nothing else in Coffer uses
/// that library.
/// </summary>
/// <param name="url">As the operator writes it: the identifier of the key, with its version.</param>
/// <param name="settings">How long it may take.</param>
internal sealed class AzureKeyVaultWrapper(WrapperUrl url, KeySettings settings) : KeyWrapper
{
    private const string Version = "?api-version=7.4", Algorithm = "RSA-OAEP-256";

    private TokenCredential? credential; // there is none, and no library, before it is asked

    public override string Id => url.ToString();

    public override Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct) =>
        AskAsync("wrapkey", text.Memory, ct);

    public override async Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct) =>
        SecretBytes.Take(await AskAsync("unwrapkey", wrapped, ct));

    public override async Task<IReadOnlyList<KeyTrouble>> FindTroublesAsync(CancellationToken ct)
    {
        using var answer = await KeyServiceCall.FindAsync(
            new Uri(url.Rest + Version), await HeadersAsync(ct), settings.CallPatience, ct);
        if (!answer.RootElement.TryGetProperty("key", out var key)
            || !answer.RootElement.TryGetProperty("attributes", out var state))
            throw new KeyServiceException("Azure Key Vault does not say how the key is", mayPass: false);
        RequireKey(key);
        var troubles = new List<KeyTrouble>();
        if (!state.TryGetProperty("enabled", out var on) || on.ValueKind != JsonValueKind.True)
            troubles.Add(new("the key is not enabled at Azure Key Vault", "Enable the key there.", IsFatal: true));
        if (state.TryGetProperty("exp", out var end) && end.TryGetInt64(out var seconds))
            troubles.Add(new($"the key ends at {UnixTime.Shown(seconds)}: from then on it wraps nothing, so no root "
                + "key can be rotated", "Give the key a later end, or none.", IsFatal: false));

        if (state.TryGetProperty("recoveryLevel", out var level) && level.ValueEquals("Purgeable"))
            troubles.Add(new("the key is gone at once if somebody deletes it (it is Purgeable)",
                "Turn on soft delete and purge protection of the vault.", IsFatal: false));
        return troubles;
    }

    private async Task<byte[]> AskAsync(string operation, ReadOnlyMemory<byte> value, CancellationToken ct)
    {
        var text = Base64Url.EncodeToUtf8(value.Span);
        using var body = KeyServiceText.Json(json =>
        {
            json.WriteString("alg"u8, Algorithm);
            json.WriteString("value"u8, text);
        });
        CryptographicOperations.ZeroMemory(text);
        using var answer = await KeyServiceCall.PostAsync(
            new Uri($"{url.Rest}/{operation}{Version}"), await HeadersAsync(ct), body, settings.CallPatience, ct);
        RequireKey(answer.RootElement);
        if (answer.RootElement.TryGetProperty("value", out var found) && found.ValueKind == JsonValueKind.String)
        {
            var written = JsonMarshal.GetRawUtf8Value(found)[1..^1]; // no string is made of it
            if (Base64Url.IsValid(written))
                return Base64Url.DecodeFromUtf8(written);
        }

        throw new KeyServiceException($"Azure Key Vault answered {operation} without a value", mayPass: false);
    }

    private void RequireKey(JsonElement answer)
    {
        var key = KeyServiceText.Of(answer, "kid") ?? "none";
        if (!key.Equals(url.Rest, StringComparison.OrdinalIgnoreCase))
            throw new KeyServiceException(
                $"Azure Key Vault answered for another key, {KeyServiceText.Shown(key)}", mayPass: false);
    }

    private async Task<IReadOnlyList<(string Name, string Value)>> HeadersAsync(CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(settings.CallPatience);
        try
        {
            credential ??= Credential();
            var token = await credential.GetTokenAsync(new TokenRequestContext([Scope()]), limit.Token);
            return [("Authorization", $"Bearer {token.Token}")];
        }
        catch (Exception e) when (e is AuthenticationFailedException or Azure.RequestFailedException)
        {
            throw new KeyServiceException($"Azure gives no token: {KeyServiceText.Shown(e.Message)}",
                mayPass: e is CredentialUnavailableException || KeyServiceCall.MayPass(e));
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new KeyServiceException("Azure has given no token in time", mayPass: true);
        }
    }

    // A token is for a cloud: vault.azure.net, vault.azure.cn, managedhsm.azure.net. One that is given for a vault is
    // sent to hosts under that name alone.
    private string Scope()
    {
        var at = new Uri(url.Rest);
        var cloud = at.IsLoopback ? "vault.azure.net" : at.Host[(at.Host.IndexOf('.', StringComparison.Ordinal) + 1)..];
        return $"https://{cloud}/.default";
    }

    // What starts programs, or is of a developer's machine, is left out.
    private static DefaultAzureCredential Credential() => new(new DefaultAzureCredentialOptions
    {
        ExcludeAzureCliCredential = true,
        ExcludeAzureDeveloperCliCredential = true,
        ExcludeAzurePowerShellCredential = true,
        ExcludeBrokerCredential = true,
        ExcludeInteractiveBrowserCredential = true,
        ExcludeVisualStudioCodeCredential = true,
        ExcludeVisualStudioCredential = true,
        Retry = { MaxRetries = 1, NetworkTimeout = TimeSpan.FromSeconds(15) },
        Transport = new HttpClientTransport(KeyServiceCall.Client),
    });
}
