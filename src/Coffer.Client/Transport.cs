using System.Buffers;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace Coffer.Client;

/// <summary>
/// Form out, JSON in, for both planes. It speaks to one host and follows nothing. Failed connections and answers that
/// say so (<c>Stripe-Should-Retry</c>) are tried again, twice at the most; as long as an answer asks to wait
/// (<c>Retry-After</c>) it is tried again too, within <see cref="Patience"/>. Every POST carries an idempotency key, so
/// that a retry has one effect.
/// </summary>
internal sealed class Transport : IDisposable
{
    /// <summary>How long it waits, in all, because answers ask for it.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private const int Retries = 2;

    /// <summary>More than the largest page: 100 secrets of 5,000 characters, each six bytes long at the most.</summary>
    private const int LargestAnswer = 16 * 1024 * 1024;

    private static readonly AnswerForm List = new("list", AnswerField.Things("data"), AnswerField.Flag("has_more"));

    private static readonly AnswerForm Search = new("search_result", AnswerField.Things("data"),
        AnswerField.Flag("has_more"), AnswerField.Text("next_page").OrNull());

    private readonly HttpClient http;
    private readonly TimeProvider time;

    public Transport(
        Uri url, string key, string? account, TimeProvider? time, CofferConnection? connection = null)
    {
        ArgumentNullException.ThrowIfNull(url);
        ArgumentException.ThrowIfNullOrWhiteSpace(key);
        if (WhyNotServer(url) is { } why)
            throw new ArgumentException(why, nameof(url));
        if (!IsHeaderText(key) || (account is not null && !IsHeaderText(account)))
            throw new ArgumentException("A key and an account id have only ASCII characters that can be printed.",
                IsHeaderText(key) ? nameof(account) : nameof(key));
        this.time = time ?? TimeProvider.System;
        // A redirect would take the payload to another host.
        http = new HttpClient(CofferConnection.Handler(url, connection))
        {
            BaseAddress = new Uri(url.ToString().TrimEnd('/') + "/"),
            Timeout = TimeSpan.FromSeconds(80),
            MaxResponseContentBufferSize = LargestAnswer,
        };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        if (account is not null)
            http.DefaultRequestHeaders.Add("Stripe-Account", account);
    }

    /// <summary>The answer, if it is 200.</summary>
    /// <param name="method">A POST sends the fields as its body, all others in the query.</param>
    /// <param name="path">Below the server's address, without a slash in front.</param>
    /// <param name="fields">Those without a value are left out.</param>
    /// <param name="expected">What the answer must be.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="CofferException">
    /// The server refused or could not be used, or answered something else.
    /// </exception>
    /// <exception cref="ArgumentException">A value is not well-formed text; nothing was sent.</exception>
    public async Task<JsonElement> SendAsync(HttpMethod method, string path,
        IEnumerable<(string Name, string? Value)> fields, AnswerForm expected, CancellationToken ct)
    {
        var form = fields.Where(field => field.Value is not null)
            .Select(field => KeyValuePair.Create(field.Name, WellFormed(field.Value!, field.Name))).ToList();
        var key = Guid.NewGuid().ToString();
        var patience = Patience;
        for (var attempt = 0; ;)
        {
            TimeSpan? asked = null;
            try
            {
                using var request = await RequestAsync(method, path, form, key, ct).ConfigureAwait(false);
                using var response = await http.SendAsync(request, ct).ConfigureAwait(false);
                var body = await ParseAsync(response, ct).ConfigureAwait(false);
                if (response.StatusCode == HttpStatusCode.OK)
                {
                    expected.Check(body);
                    return body;
                }

                var mayRetry = ShouldRetry(response);
                asked = mayRetry ? Asked(response) : null;
                if (!mayRetry || (asked is null ? attempt == Retries : asked > patience))
                    throw CofferException.From(response, body);
            }
            catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ConnectionError
                || CofferConnection.IsOfCertificate(e) || attempt == Retries)
            {
                // Where nothing listens, trying again would only delay the news.
                throw new CofferException($"no answer from {http.BaseAddress}: {CofferConnection.Why(e)}", e);
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

            var pause = asked ?? TimeSpan.FromMilliseconds(250 << attempt++);
            patience -= asked ?? TimeSpan.Zero;
            await Task.Delay(pause, time, ct).ConfigureAwait(false);
        }
    }

    /// <summary>All elements of a list or a search, fetched page by page as they are read.</summary>
    /// <param name="method">As <see cref="SendAsync"/>.</param>
    /// <param name="path">As <see cref="SendAsync"/>.</param>
    /// <param name="fields">The page size, <c>limit</c>, is 100 unless it is among them.</param>
    /// <param name="expected">What each element must be.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async IAsyncEnumerable<JsonElement> ListAsync(
        HttpMethod method, string path, IEnumerable<(string Name, string? Value)> fields, AnswerForm expected,
        [EnumeratorCancellation] CancellationToken ct)
    {
        var form = fields.ToList();
        if (form.TrueForAll(field => field.Name != "limit"))
            form.Add(("limit", "100"));
        var list = path.EndsWith("/search", StringComparison.Ordinal) ? Search : List;
        for ((string Name, string? Value)? next = null; ;)
        {
            var page = await SendAsync(method, path, next is { } cursor ? [.. form, cursor] : form, list,
                ct).ConfigureAwait(false);
            string? last = null;
            foreach (var element in page.GetProperty("data").EnumerateArray())
            {
                expected.Check(element);
                last = element.GetProperty("id").GetString();
                yield return element;
            }

            if (!page.GetProperty("has_more").GetBoolean())
                yield break;
            // A search has no order that an id could mark: it names its next page, and may have skipped all of this
            // one.
            (string, string?) more = list == Search
                ? ("page", page.GetProperty("next_page").GetString())
                : ("starting_after", last);
            if (more.Item2 is null || more == next)
                throw CofferException.NotCoffers("the list says that there is more and does not go forward");
            next = more;
        }
    }

    /// <summary>The id, if a path may have it as it is. One with a slash or two dots would lead elsewhere.</summary>
    public static string Id(string id) => id.Length > 0 && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-')
        ? id
        : throw new ArgumentException($"'{id}' is not an id: ids have only letters, digits, '_' and '-'.", nameof(id));

    /// <summary>Why that cannot be the address of a server, or null.</summary>
    public static string? WhyNotServer(Uri url) => url switch
    {
        { IsAbsoluteUri: false } or { Scheme: not ("http" or "https") } =>
            "A server's address is http://ADDRESS:PORT or https://NAME.",
        { UserInfo.Length: > 0 } =>
            "A server's address has no user name or password in it: the key is given beside it.",
        { Query.Length: > 0 } or { Fragment.Length: > 0 } =>
            "A server's address ends with its path: what begins with ? or # does not belong there.",
        _ => null,
    };

    /// <summary>Whether a header may have that as its value: ASCII characters that can be printed.</summary>
    public static bool IsHeaderText(string text) =>
        text.Length > 0 && !text.AsSpan().ContainsAnyExceptInRange(' ', '~');

    public void Dispose() => http.Dispose();

    // Half of a pair of surrogates would be sent as U+FFFD: another payload, or two users in one scope.
    private static string WellFormed(string text, string name)
    {
        for (var rest = text.AsSpan(); !rest.IsEmpty;)
        {
            if (Rune.DecodeFromUtf16(rest, out _, out var length) != OperationStatus.Done)
                throw new ArgumentException(
                    $"The text of '{name}' is not well-formed: it has half of a pair of surrogates.", name);
            rest = rest[length..];
        }

        return text;
    }

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

    private static bool ShouldRetry(HttpResponseMessage response)
    {
        if (response.Headers.TryGetValues("Stripe-Should-Retry", out var says))
            return says.Contains("true", StringComparer.Ordinal);
        return response.StatusCode >= HttpStatusCode.InternalServerError
            || (response.StatusCode == HttpStatusCode.TooManyRequests && response.Headers.RetryAfter is not null);
    }

    private TimeSpan? Asked(HttpResponseMessage response)
    {
        var wait = response.Headers.RetryAfter?.Delta ?? response.Headers.RetryAfter?.Date - time.GetUtcNow();
        return wait > TimeSpan.Zero ? wait : null;
    }

    private static async Task<JsonElement> ParseAsync(HttpResponseMessage response, CancellationToken ct)
    {
        var status = (int)response.StatusCode;
        if (response.Headers.Location is not null || response.StatusCode is HttpStatusCode.NoContent)
            throw CofferException.From(response, default);
        try
        {
            var answer = JsonElement.Parse(await response.Content.ReadAsByteArrayAsync(ct).ConfigureAwait(false));
            if (response.Content.Headers.ContentType?.MediaType != "application/json")
                throw CofferException.NotCoffers($"it ({status}) is not application/json");
            RequireText(answer);
            return answer;
        }
        catch (JsonException e)
        {
            throw CofferException.NotCoffers($"it ({status}) is not JSON", e);
        }
        catch (InvalidOperationException e)
        {
            throw CofferException.NotCoffers($"it ({status}) has text that is not well-formed", e);
        }
    }

    // Half of a pair of surrogates, written \ud83d, is found when a text is read.
    private static void RequireText(JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.String)
            _ = value.GetString();
        else if (value.ValueKind == JsonValueKind.Array)
        {
            foreach (var element in value.EnumerateArray())
                RequireText(element);
        }
        else if (value.ValueKind == JsonValueKind.Object)
        {
            foreach (var field in value.EnumerateObject())
            {
                _ = field.Name;
                RequireText(field.Value);
            }
        }
    }
}
