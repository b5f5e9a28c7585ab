using System.Net.Http.Headers;
using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>An answer as it came over the wire.</summary>
/// <param name="Status">The HTTP status.</param>
/// <param name="Body">Its JSON.</param>
/// <param name="Headers">Its headers.</param>
public sealed record Answer(int Status, JsonElement Body, HttpResponseHeaders Headers)
{
    public string? Payload => Text(Body, "payload");

    public string? ErrorCode => Text(Body.GetProperty("error"), "code");

    /// <summary>Fails, showing the body, unless the status is <paramref name="status"/>.</summary>
    public Answer Is(int status)
    {
        Assert.True(Status == status, $"answered {Status} where {status} was expected: {Body}");
        return this;
    }

    private static string? Text(JsonElement json, string name) =>
        json.TryGetProperty(name, out var value) ? value.GetString() : null;
}

/// <summary>A client with nothing between it and the wire: no SDK, no retries, no proxy.</summary>
public sealed class WireClient : IDisposable
{
    private const string Secrets = "/v1/apps/secrets";

    private readonly HttpClient http;

    /// <param name="url">The server.</param>
    /// <param name="key">The API key.</param>
    /// <param name="account">Its account; null is the app's own.</param>
    /// <param name="way">How it is reached; null is as usual. It is disposed of with the client.</param>
    public WireClient(Uri url, string key, string? account = null, SocketsHttpHandler? way = null)
    {
        http = new HttpClient(way ?? new SocketsHttpHandler { UseProxy = false })
        { BaseAddress = url, Timeout = TimeSpan.FromSeconds(30) };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        if (account is not null)
            http.DefaultRequestHeaders.Add("Stripe-Account", account);
    }

    /// <summary>Sets a secret, in the account's scope or in a user's.</summary>
    public Task<Answer> SetAsync(string name, string payload, string? user = null, string? idempotencyKey = null) =>
        PostAsync(Secrets, [.. Scope(user), ("name", name), ("payload", payload)], idempotencyKey);

    /// <summary>Finds a secret, with its payload.</summary>
    public Task<Answer> FindAsync(string name, string? user = null) =>
        GetAsync($"{Secrets}/find", [.. Scope(user), ("name", name), ("expand[]", "payload")]);

    /// <summary>Finds a secret without its payload: nothing of it leaves, so nothing is recorded first.</summary>
    public Task<Answer> FindBareAsync(string name, string? user = null) =>
        GetAsync($"{Secrets}/find", [.. Scope(user), ("name", name)]);

    /// <summary>Lists a scope's newest hundred, or the hundred after a cursor, with payloads.</summary>
    public Task<Answer> ListAsync(string? user = null, string? after = null)
    {
        (string, string)[] cursor = after is null ? [] : [("starting_after", after)];
        return GetAsync(Secrets, [.. Scope(user), .. cursor, ("limit", "100"), ("expand[]", "data.payload")]);
    }

    /// <summary>Every payload of a scope, by name.</summary>
    public async Task<IReadOnlyDictionary<string, string>> PayloadsAsync(string? user = null)
    {
        var payloads = new Dictionary<string, string>();
        string? last = null;
        while (true)
        {
            var page = (await ListAsync(user, last)).Is(200).Body;
            foreach (var secret in page.GetProperty("data").EnumerateArray())
            {
                payloads.Add(secret.GetProperty("name").GetString()!, secret.GetProperty("payload").GetString()!);
                last = secret.GetProperty("id").GetString();
            }

            if (!page.GetProperty("has_more").GetBoolean())
                return payloads;
        }
    }

    /// <summary>Deletes a secret, and is shown its payload a last time.</summary>
    public Task<Answer> DeleteAsync(string name, string? user = null, string? idempotencyKey = null) =>
        PostAsync($"{Secrets}/delete", [.. Scope(user), ("name", name), ("expand[]", "payload")], idempotencyKey);

    public async Task<Answer> GetAsync(string path, params (string Name, string Value)[] query)
    {
        using var encoded = Encoded(query);
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{path}?{await encoded.ReadAsStringAsync()}");
        return await SendAsync(request);
    }

    public async Task<Answer> PostAsync(string path, (string Name, string Value)[] form, string? idempotencyKey = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = Encoded(form) };
        if (idempotencyKey is not null)
            request.Headers.Add("Idempotency-Key", idempotencyKey);
        return await SendAsync(request);
    }

    public async Task<Answer> SendAsync(HttpRequestMessage request)
    {
        using var response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        var body = await response.Content.ReadAsStringAsync();
        try
        {
            return new Answer((int)response.StatusCode, JsonElement.Parse(body), response.Headers);
        }
        catch (JsonException e) // somebody between answered
        {
            throw new InvalidDataException($"{(int)response.StatusCode} without JSON: {response.Headers}{body}", e);
        }
    }

    public void Dispose() => http.Dispose();

    private static FormUrlEncodedContent Encoded((string Name, string Value)[] fields) =>
        new(fields.Select(field => KeyValuePair.Create(field.Name, field.Value)));

    private static (string Name, string Value)[] Scope(string? user) =>
        user is null ? [("scope[type]", "account")] : [("scope[type]", "user"), ("scope[user]", user)];
}
