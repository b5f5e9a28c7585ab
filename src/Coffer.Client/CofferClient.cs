using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Coffer.Client;

/// <summary>
/// A client of one Coffer server, acting for one app and mode (the key's) in one account. Safe for use from several
/// threads at once. Failed connections and answers that say so (<c>Stripe-Should-Retry</c>) are tried again, twice at
/// the most; every write carries an idempotency key, so that a retry has one effect.
/// </summary>
public sealed class CofferClient : IDisposable
{
    private const string Secrets = "v1/apps/secrets";
    private const int Retries = 2;
    private const int PageSize = 100;

    private readonly HttpClient http;
    private readonly TimeProvider time;

    /// <param name="url">Where the server listens, such as <c>http://127.0.0.1:26333</c>.</param>
    /// <param name="apiKey">A secret key, <c>sk_test_…</c> or <c>sk_live_…</c>.</param>
    /// <param name="account">The account to act in; null is the app's own.</param>
    /// <param name="time">For the waits between retries; null is the system's clock.</param>
    public CofferClient(Uri url, string apiKey, string? account = null, TimeProvider? time = null)
    {
        ArgumentNullException.ThrowIfNull(url);
        ArgumentException.ThrowIfNullOrWhiteSpace(apiKey);
        this.time = time ?? TimeProvider.System;
        http = new HttpClient { BaseAddress = new Uri(url.ToString().TrimEnd('/') + "/"), Timeout = TimeSpan.FromSeconds(80) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
        if (account is not null)
            http.DefaultRequestHeaders.Add("Stripe-Account", account);
    }

    /// <summary>Creates a secret, or replaces the one of that name in that scope.</summary>
    /// <param name="scope">Where it stands.</param>
    /// <param name="name">1 to 5,000 characters, compared exactly.</param>
    /// <param name="payload">1 to 5,000 characters.</param>
    /// <param name="expiresAt">When it is gone by itself, at most 100 years from now; null is never. Whole seconds count.</param>
    /// <param name="ct">Ends the wait; the change may have been made.</param>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<StoredSecret> SetAsync(SecretScope scope, string name, string payload, DateTimeOffset? expiresAt = null, CancellationToken ct = default)
    {
        var form = Form(scope, name);
        form.Add(new("payload", payload));
        if (expiresAt is { } at)
            form.Add(new("expires_at", at.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)));
        using var body = await SendAsync(HttpMethod.Post, Secrets, form, ct).ConfigureAwait(false);
        return Read(body.RootElement);
    }

    /// <summary>The secret of that name in that scope, or null. Its payload is only sent when it is asked for.</summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<StoredSecret?> FindAsync(SecretScope scope, string name, bool withPayload = false, CancellationToken ct = default)
    {
        var form = Form(scope, name);
        if (withPayload)
            form.Add(new("expand[]", "payload"));
        try
        {
            using var body = await SendAsync(HttpMethod.Get, $"{Secrets}/find", form, ct).ConfigureAwait(false);
            return Read(body.RootElement);
        }
        catch (CofferException e) when (e is { Status: 404, Code: "resource_missing" })
        {
            return null;
        }
    }

    /// <summary>All secrets of a scope, newest first, fetched page by page as they are read.</summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async IAsyncEnumerable<StoredSecret> ListAsync(SecretScope scope, bool withPayload = false, [EnumeratorCancellation] CancellationToken ct = default)
    {
        string? last = null;
        while (true)
        {
            var form = Form(scope, name: null);
            form.Add(new("limit", PageSize.ToString(CultureInfo.InvariantCulture)));
            if (withPayload)
                form.Add(new("expand[]", "data.payload"));
            if (last is not null)
                form.Add(new("starting_after", last));

            using var body = await SendAsync(HttpMethod.Get, Secrets, form, ct).ConfigureAwait(false);
            foreach (var element in body.RootElement.GetProperty("data").EnumerateArray())
            {
                var secret = Read(element);
                last = secret.Id;
                yield return secret;
            }

            if (!body.RootElement.GetProperty("has_more").GetBoolean())
                yield break;
        }
    }

    /// <summary>Deletes the secret of that name in that scope and gives what it was, or null if there was none.</summary>
    /// <exception cref="CofferException">The server refused or could not be used.</exception>
    public async Task<StoredSecret?> DeleteAsync(SecretScope scope, string name, CancellationToken ct = default)
    {
        try
        {
            using var body = await SendAsync(HttpMethod.Post, $"{Secrets}/delete", Form(scope, name), ct).ConfigureAwait(false);
            return Read(body.RootElement);
        }
        catch (CofferException e) when (e is { Status: 404, Code: "resource_missing" })
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => http.Dispose();

    private static List<KeyValuePair<string, string>> Form(SecretScope scope, string? name)
    {
        ArgumentNullException.ThrowIfNull(scope);
        var form = new List<KeyValuePair<string, string>> { new("scope[type]", scope.User is null ? "account" : "user") };
        if (scope.User is not null)
            form.Add(new("scope[user]", scope.User));
        if (name is not null)
            form.Add(new("name", name));
        return form;
    }

    private async Task<JsonDocument> SendAsync(HttpMethod method, string path, List<KeyValuePair<string, string>> form, CancellationToken ct)
    {
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
                using (body)
                {
                    if (attempt == Retries || !ShouldRetry(response))
                        throw CofferException.From(response, body.RootElement);
                }
            }
            catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ConnectionError || attempt == Retries)
            {
                // Where nothing listens, trying again would only delay the news.
                throw new CofferException($"no answer from {http.BaseAddress}: {e.Message}", e);
            }
            catch (HttpRequestException)
            {
                // The connection broke: the request may have been carried out, and its idempotency key makes a repeat safe.
            }

            await Task.Delay(TimeSpan.FromMilliseconds(250 << attempt), time, ct).ConfigureAwait(false);
        }
    }

    private static async Task<HttpRequestMessage> RequestAsync(HttpMethod method, string path, List<KeyValuePair<string, string>> form, string key, CancellationToken ct)
    {
        var encoded = new FormUrlEncodedContent(form);
        if (method == HttpMethod.Post)
        {
            var post = new HttpRequestMessage(method, path) { Content = encoded };
            post.Headers.Add("Idempotency-Key", key);
            return post;
        }

        using (encoded)
            return new HttpRequestMessage(method, $"{path}?{await encoded.ReadAsStringAsync(ct).ConfigureAwait(false)}");
    }

    private static bool ShouldRetry(HttpResponseMessage response) =>
        response.Headers.TryGetValues("Stripe-Should-Retry", out var says)
            ? says.Contains("true", StringComparer.Ordinal)
            : response.StatusCode >= HttpStatusCode.InternalServerError;

    private static async Task<JsonDocument> ParseAsync(HttpResponseMessage response, CancellationToken ct)
    {
        try
        {
            return await JsonDocument.ParseAsync(await response.Content.ReadAsStreamAsync(ct).ConfigureAwait(false), cancellationToken: ct).ConfigureAwait(false);
        }
        catch (JsonException e)
        {
            throw new CofferException($"the answer ({(int)response.StatusCode}) is not JSON: is a Coffer server at that address?", e);
        }
    }

    private static StoredSecret Read(JsonElement json)
    {
        var scope = json.GetProperty("scope");
        return new StoredSecret(
            json.GetProperty("id").GetString()!,
            json.GetProperty("name").GetString()!,
            scope.TryGetProperty("user", out var user) ? SecretScope.ForUser(user.GetString()!) : SecretScope.Account,
            json.GetProperty("livemode").GetBoolean(),
            DateTimeOffset.FromUnixTimeSeconds(json.GetProperty("created").GetInt64()),
            json.GetProperty("expires_at") is { ValueKind: JsonValueKind.Number } at ? DateTimeOffset.FromUnixTimeSeconds(at.GetInt64()) : null,
            json.TryGetProperty("payload", out var payload) ? payload.GetString() : null);
    }
}
