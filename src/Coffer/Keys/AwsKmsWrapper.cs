using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Amazon.KeyManagementService;
using Amazon.KeyManagementService.Model;
using Amazon.Runtime;

namespace Coffer.Keys;

/// <summary>
/// A symmetric key of AWS KMS (its API reference, "Encrypt" and "Decrypt"), with the store and the version of the root
/// key as its encryption context. Credentials come from where AWS's own programs have them.
/// </summary>
/// <param name="url">As the operator writes it: the ARN of the key, or of an alias of it.</param>
/// <param name="settings">Where it is, and how long it may take.</param>
internal sealed class AwsKmsWrapper(WrapperUrl url, KeySettings settings) : KeyWrapper
{
    private const int Region = 3; // arn:aws:kms:eu-central-1:111122223333:key/…

    public override string Id => url.ToString();

    public override async Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct)
    {
        var bytes = text.Span.ToArray();
        using var plaintext = new MemoryStream(bytes);
        try
        {
            var answer = await AskAsync((client, limit) => client.EncryptAsync(new EncryptRequest
            {
                KeyId = url.Rest,
                Plaintext = plaintext,
                EncryptionContext = Context(name),
            }, limit), ct);
            RequireKey(answer.KeyId);
            return answer.CiphertextBlob.ToArray();
        }
        finally
        {
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(bytes);
        }
    }

    public override async Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct)
    {
        using var ciphertext = new MemoryStream(wrapped);
        var answer = await AskAsync((client, limit) => client.DecryptAsync(new DecryptRequest
        {
            KeyId = url.Rest,
            CiphertextBlob = ciphertext,
            EncryptionContext = Context(name),
        }, limit), ct);
        RequireKey(answer.KeyId);
        return SecretBytes.Take(answer.Plaintext.ToArray());
    }

    public override async Task<IReadOnlyList<KeyTrouble>> FindTroublesAsync(CancellationToken ct)
    {
        var answer = await AskAsync(
            (client, limit) => client.DescribeKeyAsync(new DescribeKeyRequest { KeyId = url.Rest }, limit), ct);
        var key = answer.KeyMetadata;
        RequireKey(key.Arn);
        if (key.KeyState == KeyState.Enabled)
            return [];
        var isGoing = key.KeyState == KeyState.PendingDeletion || key.KeyState == KeyState.PendingReplicaDeletion;
        var day = key.DeletionDate is { } date ? $" on {date.ToUniversalTime():yyyy-MM-dd}" : "";
        return isGoing
            ? [new($"AWS KMS is about to delete the key{day}: what it has wrapped is lost then",
                "Cancel the deletion in AWS KMS now, and enable the key.", IsFatal: true)]
            : [new($"the key is not enabled at AWS KMS, but {key.KeyState}", "Enable the key in AWS KMS.",
                IsFatal: true)];
    }

    // An alias is answered with the key that it leads to.
    private void RequireKey(string? answered)
    {
        if (answered != url.Rest && url.Rest.Contains(":key/", StringComparison.Ordinal))
            throw new KeyServiceException($"AWS KMS answered for another key, {answered}", mayPass: false);
    }

    private async Task<T> AskAsync<T>(
        Func<AmazonKeyManagementServiceClient, CancellationToken, Task<T>> ask, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(settings.CallPatience);
        try
        {
            using var client = new AmazonKeyManagementServiceClient(Configuration());
            return await ask(client, limit.Token);
        }
        catch (AmazonServiceException e) when ((int)e.StatusCode > 0)
        {
            throw new KeyServiceException($"AWS KMS answered {(int)e.StatusCode} {e.ErrorCode}: {e.Message}",
                mayPass: e is LimitExceededException or KMSInternalException or DependencyTimeoutException
                    || (int)e.StatusCode is 429 or >= 500 || e.ErrorCode == "ThrottlingException");
        }
        catch (Exception e) when (limit.IsCancellationRequested && !ct.IsCancellationRequested)
        {
            throw new KeyServiceException($"AWS KMS has not answered in time ({e.GetType().Name})", mayPass: true);
        }
        catch (Exception e) when (!ct.IsCancellationRequested
            && e is AmazonClientException or AmazonServiceException or HttpRequestException or WebException
                or SocketException or OperationCanceledException)
        {
            var why = Cause.Of(e.InnerException ?? e);
            throw new KeyServiceException($"AWS KMS cannot be asked: {why}", mayPass: true);
        }
    }

    private AmazonKeyManagementServiceConfig Configuration()
    {
        var region = url.Rest.Split(':')[Region];
        var configuration = new AmazonKeyManagementServiceConfig
        {
            Timeout = settings.CallPatience,
            MaxErrorRetry = 1,
            HttpClientFactory = new DirectClients(),
        };
        if (settings.AwsEndpoint is not { } endpoint)
            configuration.RegionEndpoint = Amazon.RegionEndpoint.GetBySystemName(region);
        else
            (configuration.ServiceURL, configuration.AuthenticationRegion) = (endpoint, region);
        return configuration;
    }

    private static Dictionary<string, string> Context(RootKeyName name) => new()
    {
        ["coffer:store"] = Convert.ToHexStringLower(name.Store),
        ["coffer:root-key"] = name.Version.ToString(CultureInfo.InvariantCulture),
    };

    // Without a proxy that happens to be in the environment, and without following where an answer leads.
    private sealed class DirectClients : HttpClientFactory
    {
        public override HttpClient CreateHttpClient(IClientConfig clientConfig) => new(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            ConnectTimeout = TimeSpan.FromSeconds(5),
        })
        {
            Timeout = TimeSpan.FromSeconds(15),
            MaxResponseContentBufferSize = 64 * 1024,
        };

        public override bool UseSDKHttpClientCaching(IClientConfig clientConfig) => false;

        public override bool DisposeHttpClientsAfterUse(IClientConfig clientConfig) => true;
    }
}
