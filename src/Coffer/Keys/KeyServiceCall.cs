using System.Net.Security;
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

    private static readonly HttpClient Client = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        ConnectTimeout = TimeSpan.FromSeconds(5),
        SslOptions = new SslClientAuthenticationOptions { EnabledSslProtocols = SslProtocols.None },
        PooledConnectionLifetime = TimeSpan.FromMinutes(1),
    })
    {
        Timeout = TimeSpan.FromSeconds(15),
        MaxResponseContentBufferSize = LargestAnswer,
    };

    /// <summary>Posts JSON, and gives the JSON that is answered; the caller disposes of it.</summary>
    /// <param name="url">Where to.</param>
    /// <param name="headers">What stands in the head.</param>
    /// <param name="body">The JSON.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="KeyServiceException">It did not answer, or with an error.</exception>
    public static async Task<JsonDocument> PostAsync(
        Uri url, IEnumerable<(string Name, string Value)> headers, SecretBytes body, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, url)
        {
            Content = new ReadOnlyMemoryContent(body.Memory),
        };
        request.Content.Headers.ContentType = new("application/json");
        return await SendAsync(request, headers, ct);
    }

    /// <summary>Asks for JSON; the caller disposes of it.</summary>
    /// <inheritdoc cref="PostAsync"/>
    public static async Task<JsonDocument> FindAsync(
        Uri url, IEnumerable<(string Name, string Value)> headers, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        return await SendAsync(request, headers, ct);
    }

    private static async Task<JsonDocument> SendAsync(
        HttpRequestMessage request, IEnumerable<(string Name, string Value)> headers, CancellationToken ct)
    {
        var url = request.RequestUri!;
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        try
        {
            using var response = await Client.SendAsync(request, ct);
            var answer = await response.Content.ReadAsByteArrayAsync(ct);
            var status = (int)response.StatusCode;
            if (status is >= 200 and < 300)
                return JsonDocument.Parse(answer);
            throw new KeyServiceException($"{url.Host} answered {status}{Complaint(answer)}",
                mayPass: status is 408 or 429 or >= 500);
        }
        catch (JsonException)
        {
            throw new KeyServiceException($"{url.Host} answered with no JSON", mayPass: false);
        }
        catch (HttpRequestException e)
        {
            var isOfTls = e.HttpRequestError == HttpRequestError.SecureConnectionError;
            var why = (e.InnerException ?? e).Message.TrimEnd('.');
            throw new KeyServiceException($"{url.Host} cannot be asked: {why}", mayPass: !isOfTls);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new KeyServiceException($"{url.Host} has not answered in time", mayPass: true);
        }
    }

    // What it said, if it said it as Vault and the clouds do: a word is worth more than a number.
    private static string Complaint(byte[] answer)
    {
        try
        {
            using var json = JsonDocument.Parse(answer);
            var said = json.RootElement.TryGetProperty("errors", out var errors)
                && errors.ValueKind == JsonValueKind.Array
                ? string.Join("; ", errors.EnumerateArray().Select(error => error.ToString()))
                : "";
            return said.Length == 0 ? "" : $": {KeyServiceText.Shown(said)}";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return "";
        }
    }
}
