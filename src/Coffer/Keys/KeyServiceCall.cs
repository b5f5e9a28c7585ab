using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text.Json;

namespace Coffer.Keys;

/// <summary>
/// A call to a key service over HTTP: TLS but on loopback, no redirect, no proxy, 5 seconds to connect and 15 in all,
/// an answer of 64 KiB at most. What fails says what the service said, and never what it was sent.
/// </summary>
internal static class KeyServiceCall
{
    private const int LargestAnswer = 64 * 1024;

    /// <summary>What asks, for those who sign in at a service too.</summary>
    public static readonly HttpClient Client = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        ConnectTimeout = TimeSpan.FromSeconds(5),
        SslOptions = new SslClientAuthenticationOptions { EnabledSslProtocols = SslProtocols.None },
        PooledConnectionLifetime = TimeSpan.FromMinutes(1),
    })
    {
        Timeout = Timeout.InfiniteTimeSpan, // each call has its own
        MaxResponseContentBufferSize = LargestAnswer,
    };

    /// <summary>Posts JSON, and gives the JSON that is answered; the caller disposes of it.</summary>
    /// <param name="url">Where to.</param>
    /// <param name="headers">What stands in the head.</param>
    /// <param name="body">The JSON.</param>
    /// <param name="patience">How long it may take in all.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="KeyServiceException">It did not answer, or with an error.</exception>
    public static async Task<JsonDocument> PostAsync(Uri url, IEnumerable<(string Name, string Value)> headers,
        SecretBytes body, TimeSpan patience, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, url)
        {
            Content = new ReadOnlyMemoryContent(body.Memory),
        };
        request.Content.Headers.ContentType = new("application/json");
        return await SendAsync(request, headers, patience, ct);
    }

    /// <summary>Asks for JSON; the caller disposes of it.</summary>
    /// <inheritdoc cref="PostAsync"/>
    public static async Task<JsonDocument> FindAsync(
        Uri url, IEnumerable<(string Name, string Value)> headers, TimeSpan patience, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        return await SendAsync(request, headers, patience, ct);
    }

    private static async Task<JsonDocument> SendAsync(HttpRequestMessage request,
        IEnumerable<(string Name, string Value)> headers, TimeSpan patience, CancellationToken ct)
    {
        var url = request.RequestUri!;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(patience);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        try
        {
            using var response = await Client.SendAsync(request, limit.Token);
            var answer = await response.Content.ReadAsByteArrayAsync(limit.Token);
            var status = (int)response.StatusCode;
            if (status is >= 200 and < 300)
                return JsonDocument.Parse(answer);
            throw new KeyServiceException($"{url.Host} answered {status}{Complaint(answer)}",
                mayPass: status is 408 or 429 or >= 500)
            {
                RetryAfter = response.Headers.RetryAfter?.Delta ?? TimeSpan.Zero,
            };
        }
        catch (JsonException)
        {
            throw new KeyServiceException($"{url.Host} answered with no JSON", mayPass: false);
        }
        catch (HttpRequestException e)
        {
            var isOfTls = e.HttpRequestError == HttpRequestError.SecureConnectionError;
            var why = Cause.Of(e.InnerException ?? e);
            throw new KeyServiceException($"{url.Host} cannot be asked: {why}", mayPass: !isOfTls);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new KeyServiceException($"{url.Host} has not answered in time", mayPass: true);
        }
    }

    /// <summary>Whether a library that signs in failed for a reason that may be gone in a while: the network.</summary>
    public static bool MayPass(Exception? e)
    {
        for (; e is not null; e = e.InnerException)
        {
            if (e is SocketException or OperationCanceledException or HttpRequestException
                { StatusCode: null or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError })
                return true;
        }

        return false;
    }

    // What it said, if it said it as Vault and the clouds do: a word is worth more than a number.
    private static string Complaint(byte[] answer)
    {
        try
        {
            using var json = JsonDocument.Parse(answer);
            var root = json.RootElement;
            var said = "";
            if (root.TryGetProperty("errors", out var errors) && errors.ValueKind == JsonValueKind.Array)
                said = string.Join("; ", errors.EnumerateArray().Select(error => error.ToString()));
            else if (root.TryGetProperty("error", out var error))
                said = OfCloud(error);
            return said.Length == 0 ? "" : $": {KeyServiceText.Shown(said)}";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return "";
        }
    }

    // Google's code is the number of the status, and its status the word; Azure's code is the word.
    private static string OfCloud(JsonElement error)
    {
        string[] names = ["status", "code", "message"];
        return string.Join(": ", names.Select(name => error.TryGetProperty(name, out var said) ? said : default)
            .Where(said => said.ValueKind == JsonValueKind.String).Select(said => said.GetString()));
    }
}
