using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Coffer.Client;

/// <summary>
/// Form out, JSON in, for both planes. Failed connections and answers that say so (<c>Stripe-Should-Retry</c>) are
/// tried again, twice at the most; every POST carries an idempotency key, so that a retry has one effect.
/// </summary>
internal sealed class Transport : IDisposable
{
    private const int Retries = 2;

    private readonly HttpClient http;
    private readonly TimeProvider time;

    public Transport(Uri url, string key, string? account, TimeProvider? time)
    {
        ArgumentNullException.ThrowIfNull(url);
        ArgumentException.ThrowIfNullOrWhiteSpace(key);
        this.time = time ?? TimeProvider.System;
        http = new HttpClient
        {
            BaseAddress = new Uri(url.ToString().TrimEnd('/') + "/"),
            Timeout = TimeSpan.FromSeconds(80),
        };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        if (account is not null)
            http.DefaultRequestHeaders.Add("Stripe-Account", account);
    }

    /// <summary>The answer, if it is 200.</summary>
    /// <param name="method">A POST sends the fields as its body, all others in the query.</param>
    /// <param name="path">Below the server's address, without a slash in front.</param>
    /// <param name="fields">Those without a value are left out.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<JsonElement> SendAsync(HttpMethod method, string path,
        IEnumerable<(string Name, string? Value)> fields, CancellationToken ct)
    {
        var form = fields.Where(field => field.Value is not null)
            .Select(field => KeyValuePair.Create(field.Name, field.Value!)).ToList();
        var key = Guid.NewGuid().ToString();
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                using var request = await RequestAsync(method, path, form, key, ct).ConfigureAwait(false);
                using var response = await http.SendAsync(request, ct).ConfigureAwait(false);
                var body = await ParseAsync(response, ct).ConfigureAwait(false);
                if (response.StatusCode == HttpStatusCode.OK)
                    return body;
                if (attempt == Retries || !ShouldRetry(response))
                    throw CofferException.From(response, body);
            }
            catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ConnectionError
                || attempt == Retries)
            {
                // Where nothing listens, trying again would only delay the news.
                throw new CofferException($"no answer from {http.BaseAddress}: {e.Message}", e);
            }
            catch (HttpRequestException)
            {
                // The connection broke: the request may have been carried out, and its idempotency key makes a repeat
                // safe.
            }
            catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
            {
                throw new CofferException(
                    $"no answer from {http.BaseAddress} within {http.Timeout.TotalSeconds} seconds", e);
            }

            await Task.Delay(TimeSpan.FromMilliseconds(250 << attempt), time, ct).ConfigureAwait(false);
        }
    }

    /// <summary>All elements of a list or a search, fetched page by page as they are read.</summary>
    /// <param name="method">As <see cref="SendAsync"/>.</param>
    /// <param name="path">As <see cref="SendAsync"/>.</param>
    /// <param name="fields">The page size, <c>limit</c>, is 100 unless it is among them.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async IAsyncEnumerable<JsonElement> ListAsync(
        HttpMethod method, string path, IEnumerable<(string Name, string? Value)> fields,
            [EnumeratorCancellation] CancellationToken ct)
    {
        var form = fields.ToList();
        if (form.TrueForAll(field => field.Name != "limit"))
            form.Add(("limit", "100"));
        for ((string Name, string? Value)? next = null; ;)
        {
            var page = await SendAsync(method, path, next is { } cursor ? [.. form, cursor] : form,
                ct).ConfigureAwait(false);
            if (page.ValueKind != JsonValueKind.Object || !page.TryGetProperty("data", out var data)
                || data.ValueKind != JsonValueKind.Array)
                throw new CofferException("the answer is not a list: check that a Coffer server is at that address");
            string? last = null;
            foreach (var element in data.EnumerateArray())
            {
                last = element.GetProperty("id").GetString();
                yield return element;
            }

            // A search has no order that an id could mark: it names its next page, and may have skipped all of this
            // one.
            next = page.TryGetProperty("next_page", out var token)
                ? ("page", token.GetString())
                : ("starting_after", last);
            if (next is not (_, not null) || !page.GetProperty("has_more").GetBoolean())
                yield break;
        }
    }

    /// <summary>The id, if a path may have it as it is. One with a slash or two dots would lead elsewhere.</summary>
    public static string Id(string id) => id.Length > 0 && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')
        ? id
        : throw new ArgumentException($"'{id}' is not an id: ids have only letters, digits, '_' and '-'.", nameof(id));

    public void Dispose() => http.Dispose();

    private static async Task<HttpRequestMessage> RequestAsync(HttpMethod method, string path,
        List<KeyValuePair<string, string>> form, string key, CancellationToken ct)
    {
        var encoded = new FormUrlEncodedContent(form);
        if (method == HttpMethod.Post)
        {
            var post = new HttpRequestMessage(method, path) { Content = encoded };
            post.Headers.Add("Idempotency-Key", key);
            return post;
        }

        using (encoded)
            return new HttpRequestMessage(method,
                form.Count == 0 ? path : $"{path}?{await encoded.ReadAsStringAsync(ct).ConfigureAwait(false)}");
    }

    private static bool ShouldRetry(HttpResponseMessage response) =>
        response.Headers.TryGetValues("Stripe-Should-Retry", out var says)
            ? says.Contains("true", StringComparer.Ordinal)
            : response.StatusCode >= HttpStatusCode.InternalServerError;

    private static async Task<JsonElement> ParseAsync(HttpResponseMessage response, CancellationToken ct)
    {
        try
        {
            return JsonElement.Parse(await response.Content.ReadAsByteArrayAsync(ct).ConfigureAwait(false));
        }
        catch (JsonException e)
        {
            throw new CofferException(
                $"the answer ({(int)response.StatusCode}) is not JSON: check that a Coffer server is at that address",
                e);
        }
    }
}
