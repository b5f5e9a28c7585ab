using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;
using Coffer.Transfer;

namespace Coffer.Tests.Support;

/// <summary>
/// A real server on a free port of this machine, over a real SQLite file in a temporary directory, or a real PostgreSQL
/// database where TEST_STORE is postgres, with two apps. Only the clock is not the real one.
/// </summary>
internal sealed class TestServer : IAsyncDisposable
{
    private static readonly Lazy<Task<MadeStore>> Made = new(MakeStoreAsync);

    private readonly TemporaryDirectory directory = new();
    private readonly HttpClient http = new();
    private Server? server;
    private string? store;
    private string? reached;

    private TestServer(ManualTime time) => Time = time;

    public ManualTime Time { get; }

    /// <summary>What its log is written to; of all its starts.</summary>
    public Stream Log { get; set; } = Console.OpenStandardError();

    /// <summary>Who is told of its requests.</summary>
    public Observers Observers { get; } = new();

    public string Data => directory.Path;

    /// <summary>Where its store is.</summary>
    public StoreLocation Location => new(Data, reached ?? store);

    public string StoreFile => directory.File("coffer.db");

    public Uri Url => server!.Url;

    public Uri? AdminUrl => server!.AdminUrl;

    public Uri? MetricsUrl => server!.MetricsUrl;

    /// <summary>The keys of the first app.</summary>
    public FirstKeys Keys { get; private set; } = null!;

    /// <summary>The keys that the last start made, or null.</summary>
    public FirstKeys? LastKeys => server!.FirstKeys;

    /// <summary>The test key of a second app.</summary>
    public string OtherAppKey { get; private set; } = null!;

    /// <param name="secretsPerScope">How many secrets a scope may hold.</param>
    /// <param name="dev">The options of <c>coffer dev</c>, which makes its store itself.</param>
    /// <param name="isOther">Whether its store is another than that of the others, with keys of its own.</param>
    public static async Task<TestServer> StartAsync(int secretsPerScope = 10, CofferOptions.DevOptions? dev = null,
        bool isOther = false)
    {
        var test = new TestServer(new ManualTime());
        return await test.OrGoneAsync(async () =>
        {
            if (dev is null)
                await test.CopyAsync(await (isOther ? MakeStoreAsync() : Made.Value));
            else if (PostgresServer.IsChosen)
                test.store = await (await PostgresServer.ForTestServersAsync()).NewDatabaseAsync();
            await test.StartAgainAsync(secretsPerScope, dev);
            test.Keys ??= test.server!.FirstKeys!;
        });
    }

    /// <summary>A server on a copy of a store that is kept in test/fixtures, a minute after it was made.</summary>
    /// <param name="files">The fixture's key file, and its store file if it has one.</param>
    /// <param name="store">The database that its dump was restored to, or null.</param>
    /// <param name="made">The Unix second at which it was made.</param>
    public static async Task<TestServer> OpenCopyAsync(IEnumerable<(string From, string Name)> files, string? store,
        long made)
    {
        var test = new TestServer(new ManualTime()) { store = store };
        return await test.OrGoneAsync(async () =>
        {
            foreach (var (from, name) in files)
            {
                File.Copy(from, test.directory.File(name));
                if (!OperatingSystem.IsWindows()) // git keeps no modes of this kind
                    File.SetUnixFileMode(test.directory.File(name), UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            test.Time.Move(TimeSpan.FromSeconds(made + 60 - test.Time.Seconds));
            await test.StartAgainAsync();
        });
    }

    /// <summary>Starts the server on its data again, after <see cref="StopAsync"/>.</summary>
    public async Task StartAgainAsync(
        int secretsPerScope =
            10, CofferOptions.DevOptions? dev =
                null, bool auditsMetadata = false, int ratePerKey = 0, int ratePerAddress = 0,
        int? openTenants = null, Func<CofferOptions, CofferOptions>? with = null, string? checkpoints = null,
        params AcceptedRollback[] accepted)
    {
        var options = new CofferOptions
        {
            Data = Data,
            Store = reached = await PostgresServer.ByChosenWayAsync(store),
            Listen = "http://127.0.0.1:0",
            SecretsPerScope = secretsPerScope,
            Dev = dev,
            AuditMetadataReads = auditsMetadata,
            Checkpoints = checkpoints,
            AcceptedRollbacks = accepted,
            // The clock stands still, so a bucket would never fill again: only tests of the rates have any.
            RatePerKey = ratePerKey,
            RatePerAddress = ratePerAddress,
            OpenTenants = openTenants ?? CofferOptions.DefaultOpenTenants,
            KeptPerApp = 0,
            KeptPerEphemeralKey = 0,
            AuditPerApp = 0,
            AuditPerEphemeralKey = 0,
            TenantsPerApp = 0,
        };
        options = with?.Invoke(options) ?? options;
        if (dev is null && StoreSettings.Told(options) is { Count: > 0 } told)
            await KeepAsync(told);
        server = await Server.StartAsync(options, Time, default, new StartSteps
        {
            Observers = Observers,
            OpenLog = () => Log,
        });
    }

    /// <summary>Has the store, which is closed, keep settings, as if they had been set before.</summary>
    public Task KeepAsync(IReadOnlyDictionary<string, string> told) => OnStoreAsync(async (_, committer, instance) =>
    {
        if (instance.Facts?.Settings is { } kept && told.Any(each => kept.GetValueOrDefault(each.Key) != each.Value))
        {
            var next = kept.Where(each => !told.ContainsKey(each.Key)).Concat(told).ToDictionary();
            await committer.CommitAsync(new ControlChange(
                instance, control => control with { Settings = next }, [], []));
        }

        return true;
    });

    /// <summary>Stops it, and starts it on its data with other options.</summary>
    public async Task RestartAsync(Func<CofferOptions, CofferOptions> with)
    {
        await StopAsync();
        await StartAgainAsync(with: with);
    }

    public async Task StopAsync()
    {
        await server!.DisposeAsync();
        server = null;
    }

    /// <param name="key">The key; null is the first app's test key.</param>
    /// <param name="account">What Stripe-Account says, if anything.</param>
    /// <param name="origin">The web origin that a browser says it asks for, if any.</param>
    public Caller Client(string? key = null, string? account = null, string? origin = null) =>
        new(this, key ?? Keys.TestSecretKey, account, origin);

    /// <summary>Requests to the management plane.</summary>
    public Caller Admin => Client(Keys.AdminKey);

    /// <summary>The id of the first app.</summary>
    public async Task<string> AppIdAsync() => (string)(await KeyAsync(type: "secret", livemode: false))["app"]!;

    /// <summary>The first app's key of a kind, as the management plane shows it.</summary>
    public async Task<JsonNode> KeyAsync(string type, bool? livemode) =>
        (await Admin.Get("/admin/v1/api_keys", ("limit", "100"))).IsOk().Json["data"]!.AsArray()
            .Last(
                key =>
                    (string?)key!["type"] == type && (bool?)key["livemode"] == livemode
                        && (type == "admin" || (string?)key["app"] != OtherApp))!;

    /// <summary>The id of the second app.</summary>
    public string OtherApp { get; private set; } = "";

    /// <summary>Sends a request as it is; the test decides on every header.</summary>
    public async Task<Answer> SendAsync(HttpRequestMessage request)
    {
        request.RequestUri = new Uri(Url, request.RequestUri!);
        using var response = await http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return new Answer((int)response.StatusCode, text, response.Headers, response.Content.Headers).To(request);
    }

    /// <summary>
    /// Works on the closed store with the program's own parts: what has no route yet, tests do through this.
    /// </summary>
    public async Task<T> OnStoreAsync<T>(Func<Engine, Committer, Instance, Task<T>> work)
    {
        using var held = DataDirectory.Open(Data);
        using var engine = await OpenAsync(held, store);
        var instance = await Instance.OpenAsync(engine, KeyWrappers.OfFile(held.KeyFile), default);
        var chain = new AuditChain(AuditKeys.Of(instance), "node_1",
            await engine.FindLastAuditAsync("node_1", default), Time);
        using var committer = new Committer(engine, 100, chain.InLoop(engine));
        return await work(engine, committer, instance);
    }

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        if (server is not null)
            await server.DisposeAsync();
        directory.Dispose();
    }

    // Nobody has what did not start, to dispose of it.
    private async Task<TestServer> OrGoneAsync(Func<Task> start)
    {
        try
        {
            await start();
            return this;
        }
        catch
        {
            await DisposeAsync();
            throw;
        }
    }

    private static async Task<Engine> OpenAsync(DataDirectory held, string? store) =>
        store is null ? SqliteEngine.Open(held.StoreFile) : await PostgresEngine.OpenAsync(store, default);

    private async Task CopyAsync(MadeStore made)
    {
        foreach (var (name, content) in made.Files)
            await using (var file = DurableFile.Open(directory.File(name), FileMode.CreateNew, FileAccess.Write,
                FileShare.None))
                await file.WriteAsync(content);
        if (made.Store is not null)
            store = await (await PostgresServer.ForTestServersAsync()).CopyAsync(made.Store);
        (Keys, OtherApp, OtherAppKey) = (made.Keys, made.OtherApp, made.OtherAppKey);
    }

    private static async Task<MadeStore> MakeStoreAsync()
    {
        var time = new ManualTime();
        using var made = new TemporaryDirectory();
        var database = PostgresServer.IsChosen
            ? await (await PostgresServer.ForTestServersAsync()).NewDatabaseAsync()
            : null;
        FirstKeys keys;
        string otherApp, otherAppKey;
        using (var held = DataDirectory.Open(made.Path))
        using (var engine = await OpenAsync(held, database))
        {
            KeyFile.Create(held.KeyFile, time.Now);
            (var instance, var first, var change) = await FirstStart.OpenAsync(
                engine, KeyWrappers.OfFile(held.KeyFile), isNew: true,
                new CofferOptions { Data = made.Path, Store = database }, time, default);
            using var committer = new Committer(engine, 100,
                new AuditChain(AuditKeys.Of(instance), "node_1", null, time).InLoop(engine));
            await committer.CommitAsync(change);
            new Anchor(held.AnchorFile).Write(instance);
            keys = first!;
            var app = App.Create(instance, "other", time.Seconds).App.ToRow(instance);
            (otherAppKey, var row) = ApiKey.Create(instance, app, livemode: false, time.Seconds);
            otherApp = app.Id;
            await committer.CommitAsync(new Change.Plain(new RowWrite.PutApp(app), new RowWrite.PutApiKey(row)));
        }

        File.Delete(made.File("coffer.lock"));
        return new MadeStore(Directory.GetFiles(made.Path).ToDictionary(
            file => Path.GetFileName(file), File.ReadAllBytes), database, keys, otherApp, otherAppKey);
    }

    /// <summary>The store that each of them begins with a copy of: made once, with a second app in it.</summary>
    /// <param name="Files">The files of its data directory, by name.</param>
    /// <param name="Store">Its database, which nobody else uses; null on SQLite.</param>
    /// <param name="Keys">The keys of the first app.</param>
    /// <param name="OtherApp">The id of the second app.</param>
    /// <param name="OtherAppKey">Its test key.</param>
    private sealed record MadeStore(IReadOnlyDictionary<string, byte[]> Files, string? Store, FirstKeys Keys,
        string OtherApp, string OtherAppKey);

    /// <summary>Requests with one key, in one account.</summary>
    internal sealed class Caller(TestServer server, string key, string? account, string? origin)
    {
        private const string Root = "/v1/apps/secrets";

        public Task<Answer> Set(string name, string payload = "payload", string? user = null,
            params (string, string)[] more) =>
            Post(Root, [.. Where(user), ("name", name), ("payload", payload), .. more]);

        public Task<Answer> Find(string name, string? user = null, params (string, string)[] more) =>
            Get($"{Root}/find", [.. Where(user), ("name", name), .. more]);

        public Task<Answer> List(string? user = null, params (string, string)[] more) =>
            Get(Root, [.. Where(user), .. more]);

        public Task<Answer> Delete(string name, string? user = null, params (string, string)[] more) =>
            Post($"{Root}/delete", [.. Where(user), ("name", name), .. more]);

        public Task<Answer> Get(string path, params (string Name, string Value)[] query) =>
            Raw(HttpMethod.Get, $"{path}?{Encode(query)}", null);

        public Task<Answer> Post(string path, (string Name, string Value)[] form, string? idempotencyKey = null) =>
            Raw(HttpMethod.Post, path, Encode(form), idempotencyKey);

        public Task<Answer> Raw(HttpMethod method, string target, string? form, string? idempotencyKey = null)
        {
            var request = new HttpRequestMessage(method, new Uri(target, UriKind.Relative));
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
            if (account is not null)
                request.Headers.Add("Stripe-Account", account);
            if (origin is not null)
                Assert.True(request.Headers.TryAddWithoutValidation("Origin", origin));
            if (idempotencyKey is not null)
                request.Headers.Add("Idempotency-Key", idempotencyKey);
            if (form is not null)
                request.Content = new StringContent(form, Encoding.ASCII,
                    new MediaTypeHeaderValue("application/x-www-form-urlencoded"));
            return server.SendAsync(request);
        }

        private static IEnumerable<(string, string)> Where(string? user) =>
            user is null ? [("scope[type]", "account")] : [("scope[type]", "user"), ("scope[user]", user)];

        private static string Encode((string Name, string Value)[] form) =>
            string.Join('&',
                form.Select(field => $"{Uri.EscapeDataString(field.Name)}={Uri.EscapeDataString(field.Value)}"));
    }
}

/// <summary>What came back.</summary>
internal sealed record Answer(int Status, string Text, HttpResponseHeaders Headers, HttpContentHeaders ContentHeaders)
{
    public JsonNode Json => JsonNode.Parse(Text)!;

    public string? Id => (string?)Json["id"];

    public string? Payload => (string?)Json["payload"];

    public string[] Names => [.. Json["data"]!.AsArray().Select(secret => (string)secret!["name"]!)];

    /// <summary>A header as it was sent, or null.</summary>
    public string? Header(string name) =>
        Headers.NonValidated.TryGetValues(name, out var values)
            || ContentHeaders.NonValidated.TryGetValues(name, out values)
            ? string.Join(", ", values)
            : null;

    /// <summary>Checks that it is an answer to this request that the documents in openapi/ have.</summary>
    public Answer To(HttpRequestMessage request)
    {
        AnswerCheck.Require(request.Method.Method, request.RequestUri!.OriginalString, Status, Text, Header);
        return this;
    }

    /// <summary>Checks that this is the error that a client must see.</summary>
    public Answer IsError(int status, string? code, string? param, string? message = null,
        string type = "invalid_request_error")
    {
        Assert.True(Status == status, $"{Status}: {Text}");
        var error = Json["error"]!;
        Assert.Equal((type, code, param), ((string?)error["type"], (string?)error["code"], (string?)error["param"]));
        if (message is not null)
            Assert.Equal(message, (string?)error["message"]);
        return this;
    }

    public Answer IsOk()
    {
        Assert.True(Status == 200, $"{Status}: {Text}");
        return this;
    }
}
