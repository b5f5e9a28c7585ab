using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text.Json;
using Google.Apis.Auth.OAuth2;
using Google.Apis.Http;

namespace Coffer.Keys;

/// <summary>
/// Preview. A symmetric key of Google Cloud KMS (its REST reference, "cryptoKeys.encrypt" and "cryptoKeys.decrypt"),
/// with the store and the version of the root key as additional authenticated data, and CRC32C both ways. Credentials
/// are Google's Application Default Credentials, as Google.Apis.Auth finds them; nothing else in Coffer uses that
/// library.
/// </summary>
/// <param name="url">As the operator writes it: the resource name of the key.</param>
/// <param name="settings">Where it is, and how long it may take.</param>
internal sealed class GoogleKmsWrapper(WrapperUrl url, KeySettings settings) : KeyWrapper
{
    private const string Public = "https://cloudkms.googleapis.com", Scope = "https://www.googleapis.com/auth/cloudkms",
        NotAsUsual = "?pageSize=20&filter=state%3DDISABLED%20OR%20state%3DDESTROY_SCHEDULED";

    private readonly string key = $"{(settings.GoogleEndpoint ?? Public).TrimEnd('/')}/v1/{url.Rest}";
    private GoogleCredential? credential;

    public override string Id => url.ToString();

    public override async Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct)
    {
        using var answer = await AskAsync("encrypt", name, "plaintext", text.Memory, ct);
        var by = KeyServiceText.Of(answer.RootElement, "name") ?? "none";
        if (!by.StartsWith($"{url.Rest}/cryptoKeyVersions/", StringComparison.Ordinal))
            throw new KeyServiceException(
                $"Google Cloud KMS answered for another key, {KeyServiceText.Shown(by)}", mayPass: false);
        foreach (var field in (string[])["verifiedPlaintextCrc32c", "verifiedAdditionalAuthenticatedDataCrc32c"])
        {
            if (!answer.RootElement.TryGetProperty(field, out var verified) || verified.ValueKind != JsonValueKind.True)
                throw new KeyServiceException("Google Cloud KMS did not verify what it was sent", mayPass: true);
        }

        return Checked(answer, "ciphertext");
    }

    public override async Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct)
    {
        using var answer = await AskAsync("decrypt", name, "ciphertext", wrapped, ct);
        return SecretBytes.Take(Checked(answer, "plaintext"));
    }

    /// <summary>
    /// Which versions of the key are off, or about to be destroyed. Which of them wrapped a root key the service alone
    /// knows.
    /// </summary>
    /// <inheritdoc/>
    public override async Task<IReadOnlyList<KeyTrouble>> FindTroublesAsync(CancellationToken ct)
    {
        using var answer = await KeyServiceCall.FindAsync(
            new Uri($"{key}/cryptoKeyVersions{NotAsUsual}"), await HeadersAsync(ct), settings.CallPatience,
            ct);
        if (!answer.RootElement.TryGetProperty("cryptoKeyVersions", out var versions)
            || versions.ValueKind != JsonValueKind.Array)
            return [];
        var troubles = new List<KeyTrouble>();
        foreach (var version in versions.EnumerateArray())
        {
            var number = KeyServiceText.Shown(KeyServiceText.Of(version, "name")?.Split('/')[^1] ?? "");
            var day = version.TryGetProperty("destroyTime", out var time) && time.TryGetDateTimeOffset(out var date)
                ? $" on {date.UtcDateTime:yyyy-MM-dd}"
                : "";
            troubles.Add(KeyServiceText.Of(version, "state") == "DISABLED"
                ? new($"version {number} of the key is disabled: what it has wrapped does not open",
                    "Enable it, or run coffer root-keys rewrap.", IsFatal: false)
                : new($"version {number} of the key is destroyed{day}: what it has wrapped is lost then",
                    "Restore it at Google, or run coffer root-keys rewrap.", IsFatal: false));
        }

        return troubles;
    }

    private async Task<JsonDocument> AskAsync(
        string operation, RootKeyName name, string field, ReadOnlyMemory<byte> value, CancellationToken ct)
    {
        using var body = KeyServiceText.Json(json =>
        {
            using var bound = name.Bound();
            json.WriteBase64String(field, value.Span);
            json.WriteString($"{field}Crc32c", Crc32C(value.Span));
            json.WriteBase64String("additionalAuthenticatedData"u8, bound.Span);
            json.WriteString("additionalAuthenticatedDataCrc32c"u8, Crc32C(bound.Span));
        });
        return await KeyServiceCall.PostAsync(
            new Uri($"{key}:{operation}"), await HeadersAsync(ct), body, settings.CallPatience, ct);
    }

    private static byte[] Checked(JsonDocument answer, string field)
    {
        if (!answer.RootElement.TryGetProperty(field, out var found) || found.ValueKind != JsonValueKind.String
            || !found.TryGetBytesFromBase64(out var bytes))
            throw new KeyServiceException($"Google Cloud KMS answered without a {field}", mayPass: false);
        if (KeyServiceText.Of(answer.RootElement, $"{field}Crc32c") == Crc32C(bytes))
            return bytes;
        CryptographicOperations.ZeroMemory(bytes);
        throw new KeyServiceException($"the {field} that Google Cloud KMS sent has another CRC32C", mayPass: true);
    }

    // An int64, which is a string in JSON as Google has it.
    private static string Crc32C(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var value in bytes)
            crc = BitOperations.Crc32C(crc, value);
        return (~crc).ToString(CultureInfo.InvariantCulture);
    }

    private async Task<IReadOnlyList<(string Name, string Value)>> HeadersAsync(CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(settings.CallPatience);
        try
        {
            credential ??= await CredentialAsync(limit.Token);
            var given = await ((ITokenAccessWithHeaders)credential).GetAccessTokenWithHeadersForRequestAsync(
                cancellationToken: limit.Token);
            return [("Authorization", $"Bearer {given.AccessToken}"),
                .. given.Headers.Select(header => (header.Key, string.Join(',', header.Value)))];
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new KeyServiceException("Google has given no token in time", mayPass: true);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // What is wrong with a file, its key or an answer comes as an exception of many a type.
            throw new KeyServiceException($"Google gives no token: {KeyServiceText.Shown(e.Message)}",
                mayPass: KeyServiceCall.MayPass(e));
        }
    }

    private static async Task<GoogleCredential> CredentialAsync(CancellationToken ct) =>
        (await GoogleCredential.GetApplicationDefaultAsync(ct)).CreateScoped(Scope)
            .CreateWithHttpClientFactory(new DirectClients());

    // Without a proxy that happens to be in the environment, and without following where an answer leads.
    private sealed class DirectClients : HttpClientFactory
    {
        protected override HttpClientHandler CreateClientHandler() => new()
        {
            AllowAutoRedirect = false,
            UseProxy = false,
        };
    }
}
