using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Npgsql;

namespace Coffer.Tests.Support;

/// <summary>Real servers on one database, each with a data directory of its own and the same key file.</summary>
internal sealed class Nodes : IAsyncDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly List<Node> running = [];

    private Nodes(string store) => Store = store;

    public string Store { get; }

    public Node this[int number] => running[number];

    /// <summary>The keys of the first start.</summary>
    public FirstKeys Keys { get; private set; } = null!;

    public static async Task<Nodes> StartAsync(string store, int count = 2, int secretsPerScope = 10)
    {
        var nodes = new Nodes(store);
        try
        {
            for (var i = 0; i < count; i++)
                await nodes.AddAsync(secretsPerScope);
            return nodes;
        }
        catch
        {
            await nodes.DisposeAsync();
            throw;
        }
    }

    /// <param name="secretsPerScope">The quota.</param>
    /// <param name="time">Its clock; null is the machine's.</param>
    /// <param name="port">Where it reaches the database, if not at the database's own port.</param>
    /// <param name="with">What else it is set to.</param>
    public async Task<Node> AddAsync(int secretsPerScope = 10, TimeProvider? time = null, int? port = null,
        Func<CofferOptions, CofferOptions>? with = null)
    {
        var data = NewData();
        if (running.Count > 0)
            File.Copy(Path.Combine(running[0].Data, "coffer.key"), Path.Combine(data, "coffer.key"));
        var node = new Node(await StartAsync(data, secretsPerScope, time, port, with), data);
        Keys ??= node.Server.FirstKeys!;
        running.Add(node);
        return node;
    }

    public async Task StopAsync(int number)
    {
        await running[number].DisposeAsync();
        running.RemoveAt(number);
    }

    public string NewData(bool withKey = false)
    {
        var data = directory.File(Guid.NewGuid().ToString("n"));
        Directory.CreateDirectory(data);
        if (withKey)
            KeyFile.Create(Path.Combine(data, "coffer.key"), TimeProvider.System.GetUtcNow());
        return data;
    }

    public Task<Server> StartAsync(string data, int secretsPerScope = 10, TimeProvider? time = null, int? port = null,
        Func<CofferOptions, CofferOptions>? with = null)
    {
        var store = new NpgsqlConnectionStringBuilder(Store);
        store.Port = port ?? store.Port;
        var options = new CofferOptions
        {
            Data = data,
            Store = store.ConnectionString,
            Listen = "http://127.0.0.1:0",
            SecretsPerScope = secretsPerScope,
            RatePerKey = 0,
            RatePerAddress = 0
        };
        return Server.StartAsync(with?.Invoke(options) ?? options, time ?? TimeProvider.System, default);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in running)
            await node.DisposeAsync();
        directory.Dispose();
    }

    internal sealed class Node(Server server, string data) : IAsyncDisposable
    {
        private readonly HttpClient http = new();

        public Server Server => server;

        public string Data => data;

        public Task<Answer> Set(string key, string name, string payload = "payload", long? ifVersion = null,
            string? idempotencyKey = null, string? account = null) =>
            Post(key, "/v1/apps/secrets", idempotencyKey, account, [("scope[type]", "account"), ("name", name),
                ("payload", payload),
                .. ifVersion is { } version ? [("if_version", version.ToString())] : ((string, string)[])[]]);

        public Task<Answer> Find(string key, string name, string? account = null) =>
            Get(key, $"/v1/apps/secrets/find?scope[type]=account&name={name}&expand[]=payload", account);

        public Task<Answer> Get(string key, string path, string? account = null) =>
            SendAsync(key, new HttpRequestMessage(HttpMethod.Get, path), null, account);

        public Task<Answer> Delete(string key, string path, string? account = null) =>
            SendAsync(key, new HttpRequestMessage(HttpMethod.Delete, path), null, account);

        public Task<Answer> Post(string key, string path, params (string, string)[] form) =>
            Post(key, path, null, null, form);

        public Task<Answer> Post(string key, string path, string? idempotencyKey, string? account,
            params (string Name, string Value)[] form) =>
            SendAsync(key, new HttpRequestMessage(HttpMethod.Post, path)
            {
                Content = new FormUrlEncodedContent(form.Select(field => KeyValuePair.Create(field.Name, field.Value))),
            }, idempotencyKey, account);

        public async ValueTask DisposeAsync()
        {
            http.Dispose();
            await server.DisposeAsync();
        }

        private async Task<Answer> SendAsync(string key, HttpRequestMessage request, string? idempotencyKey,
            string? account)
        {
            request.RequestUri = new Uri(server.Url, request.RequestUri!);
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
            if (idempotencyKey is not null)
                request.Headers.Add("Idempotency-Key", idempotencyKey);
            if (account is not null)
                request.Headers.Add("Stripe-Account", account);
            using var response = await http.SendAsync(request);
            return new Answer((int)response.StatusCode, await response.Content.ReadAsStringAsync(), response.Headers,
                response.Content.Headers).To(request);
        }
    }
}
