namespace Coffer.Client;

/// <summary>
/// The public keys with which a server's store signs its audit log, as PEM: anybody may read them. It speaks to one
/// host and follows nothing.
/// </summary>
internal static class AuditKeyPage
{
    private const string Path = ".well-known/coffer-audit-key";

    private const int LargestAnswer = 64 * 1024;

    /// <summary>Asks a server for them.</summary>
    /// <exception cref="CofferException">It does not answer, or with something else.</exception>
    public static async Task<string> FindAsync(Uri url, CofferConnection? connection, CancellationToken ct)
    {
        using var http = new HttpClient(CofferConnection.Handler(url, connection))
        {
            BaseAddress = new Uri(url.ToString().TrimEnd('/') + "/"),
            Timeout = TimeSpan.FromSeconds(80),
            MaxResponseContentBufferSize = LargestAnswer,
        };
        try
        {
            using var response = await http.GetAsync(new Uri(Path, UriKind.Relative), ct).ConfigureAwait(false);
            var text = await response.Content.ReadAsStringAsync(ct).ConfigureAwait(false);
            return response.IsSuccessStatusCode && text.Contains("-----BEGIN PUBLIC KEY-----", StringComparison.Ordinal)
                ? text
                : throw CofferException.NotCoffers("it is no public key");
        }
        catch (HttpRequestException e)
        {
            throw new CofferException($"no answer from {http.BaseAddress}: {CofferConnection.Why(e)}", e);
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new CofferException(
                $"no answer from {http.BaseAddress} within {http.Timeout.TotalSeconds} seconds", e);
        }
    }
}
