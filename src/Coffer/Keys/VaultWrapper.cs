using System.Text;
using System.Text.Json;

namespace Coffer.Keys;

/// <summary>
/// A key of the transit engine of HashiCorp Vault or OpenBao (their HTTP API, "Encrypt data", "Decrypt data"). Its type
/// is one with associated data, as aes256-gcm96 is, which they make by default.
/// </summary>
/// <param name="url">As the operator writes it: host, mount and key.</param>
/// <param name="settings">How it signs in.</param>
internal sealed class VaultWrapper(WrapperUrl url, KeySettings settings) : KeyWrapper
{
    private readonly Uri address = new(url.Rest);

    public override string Id => url.ToString();

    public override async Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct)
    {
        using var answer = await AskAsync("encrypt", name, "plaintext", text.Memory, isText: false, ct);
        return Find(answer, "ciphertext") is { ValueKind: JsonValueKind.String } found
            ? Encoding.UTF8.GetBytes(found.GetString()!)
            : throw new KeyServiceException($"{address.Host} answered without a ciphertext", mayPass: false);
    }

    public override async Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct)
    {
        using var answer = await AskAsync("decrypt", name, "ciphertext", wrapped, isText: true, ct);
        if (Find(answer, "plaintext") is not { ValueKind: JsonValueKind.String } found
            || !found.TryGetBytesFromBase64(out var bytes))
            throw new KeyServiceException($"{address.Host} answered without a plaintext", mayPass: false);
        return SecretBytes.Take(bytes);
    }

    public override async Task<IReadOnlyList<KeyTrouble>> FindTroublesAsync(CancellationToken ct)
    {
        using var answer = await KeyServiceCall.FindAsync(
            Transit("keys"), Headers(await TokenAsync(ct)), settings.CallPatience, ct);
        return Find(answer, "deletion_allowed") is { ValueKind: JsonValueKind.True }
            ? [new($"{address.Host} lets the key be deleted (deletion_allowed)",
                "Set deletion_allowed of the transit key to false.", IsFatal: false)]
            : [];
    }

    private async Task<JsonDocument> AskAsync(string operation, RootKeyName name, string field,
        ReadOnlyMemory<byte> value, bool isText, CancellationToken ct)
    {
        using var body = Body(name, field, value, isText);
        var token = await TokenAsync(ct);
        return await KeyServiceCall.PostAsync(Transit(operation), Headers(token), body, settings.CallPatience, ct);
    }

    // https://vault.example/transit/coffer: the last part is the key, what comes before it the mount.
    private Uri Transit(string operation)
    {
        var path = address.AbsolutePath.Trim('/');
        var at = path.LastIndexOf('/');
        return new Uri(address, $"/v1/{path[..at]}/{operation}/{path[(at + 1)..]}");
    }

    private async Task<string> TokenAsync(CancellationToken ct)
    {
        if (settings.VaultRole is { } role)
        {
            var secret = Read(settings.VaultSecretFile);
            using var login = KeyServiceText.Json(json =>
            {
                json.WriteString("role_id"u8, role);
                json.WriteString("secret_id"u8, secret);
            });
            using var answer = await KeyServiceCall.PostAsync(
                new Uri(address, "/v1/auth/approle/login"), Headers(token: null), login, settings.CallPatience, ct);
            return answer.RootElement.TryGetProperty("auth", out var auth)
                && auth.ValueKind == JsonValueKind.Object && auth.TryGetProperty("client_token", out var token)
                && token.ValueKind == JsonValueKind.String
                ? token.GetString()!
                : throw new KeyServiceException($"{address.Host} gave no token for the role", mayPass: false);
        }

        return settings.VaultTokenFile is { } file ? Read(file)
            : Environment.GetEnvironmentVariable("VAULT_TOKEN") is { Length: > 0 } given ? given
            : throw new KeyServiceException(
                "there is no token: set VAULT_TOKEN, root-key-vault-token-file or root-key-vault-role", false);
    }

    private IEnumerable<(string Name, string Value)> Headers(string? token)
    {
        yield return ("X-Vault-Request", "true");
        if (token is not null)
            yield return ("X-Vault-Token", token);
        if (settings.VaultNamespace is { } space)
            yield return ("X-Vault-Namespace", space);
    }

    // Read each time: a token that is renewed is written there.
    private static string Read(string? file)
    {
        try
        {
            return file is null ? "" : File.ReadAllText(file).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new KeyServiceException($"{file} cannot be read: {e.Message}", mayPass: true);
        }
    }

    private static SecretBytes Body(RootKeyName name, string field, ReadOnlyMemory<byte> value, bool isText) =>
        KeyServiceText.Json(json =>
        {
            using var bound = name.Bound();
            if (isText)
                json.WriteString(field, value.Span);
            else
                json.WriteBase64String(field, value.Span);
            json.WriteBase64String("associated_data"u8, bound.Span);
        });

    private static JsonElement? Find(JsonDocument answer, string field) =>
        answer.RootElement.TryGetProperty("data", out var data) && data.ValueKind == JsonValueKind.Object
            && data.TryGetProperty(field, out var found)
            ? found
            : null;
}
