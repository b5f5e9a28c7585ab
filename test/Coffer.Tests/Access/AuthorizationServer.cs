using System.Net;
using System.Text.Json.Nodes;
using Coffer.Crypto;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Shared;

namespace Coffer.Tests.Access;

/// <summary>
/// The server of the authorization tests, with all principals of <see cref="AuthorizationTable"/>: made through the
/// management plane, and seen alive before they are ended. Rates have no limit here, because one that is reached would
/// answer in place of the table.
/// </summary>
public sealed class AuthorizationServer : IAsyncLifetime
{
    private const string AnyList = "/v1/apps/secrets?scope[type]=account", AnyAdminRead = "/admin/v1/settings";
    private const string OwnPage = "Origin: https://app.example\r\n", ForeignPage = "Origin: https://evil.example\r\n";

    private readonly Dictionary<string, string> headers = [];
    private string? shares;
    private int installs;
    private readonly Dictionary<(string App, bool Live), string> backends = [];
    private readonly Dictionary<string, (string Id, string Account)> apps = [];
    private TestServer test = null!;
    private Server server = null!;

    internal BulkClient Client { get; private set; } = null!;

    /// <summary>What must be stored for apps A and B.</summary>
    internal AuthorizationStore Store { get; private set; } = null!;

    internal Uri Url => server.Url;

    private string OtherKeyFile => Path.Combine(test.Data, "other.key");

    public async ValueTask InitializeAsync()
    {
        test = await TestServer.StartAsync();
        await test.StopAsync();
        KeyFile.Create(OtherKeyFile, test.Time.Now);
        await test.KeepAsync(new Dictionary<string, string>
        {
            ["secrets-per-scope"] = $"{CofferOptions.MostSecretsPerScope}",
        });
        server = await Server.StartAsync(
            new CofferOptions
            {
                Data = test.Data,
                RootKey = new KeySettings(
                    [WrapperUrl.Of(Path.Combine(test.Data, "coffer.key")), WrapperUrl.Of(OtherKeyFile)]),
                Listen = "http://127.0.0.1:0",
                SecretsPerScope = CofferOptions.MostSecretsPerScope,
                // The clock stands still, so no budget would ever fill again.
                RatePerKey = 0,
                RatePerAddress = 0,
                KeptPerApp = 0,
                KeptPerEphemeralKey = 0,
                AuditPerApp = 0,
                AuditPerEphemeralKey = 0,
                TenantsPerApp = 0,
            }, test.Time, default);
        Client = new BulkClient(server.Url);
        foreach (var app in (await AdminAsync("GET", "apps"))["data"]!.AsArray())
            apps.Add((string)app!["id"]! == test.OtherApp ? "B" : "A", ((string)app["id"]!, (string)app["account"]!));

        backends.Add(("A", false), test.Keys.TestSecretKey);
        backends.Add(("A", true), test.Keys.LiveSecretKey!);
        backends.Add(("B", false), test.OtherAppKey);
        backends.Add(("B", true), (await KeyAsync("B", "type=secret&livemode=true")).Token);
        Store = new AuthorizationStore(this);
        await AddStrangersAsync();
        await AddBarredAsync();
        await AddOthersAsync();
        Assert.Equal(AuthorizationTable.Principals.Select(principal => principal.Name).Order(), headers.Keys.Order());
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await server.DisposeAsync();
        await test.DisposeAsync();
    }

    /// <summary>The header lines that say who asks.</summary>
    internal string HeadersOf(Principal principal) => headers[principal.Name];

    /// <summary>The header lines of the backend of an app: its secret key, and an account.</summary>
    internal string BackendOf(string app, bool live, string? account) =>
        Bearer(backends[(app, live)]) + AccountLine(account);

    internal string AppId(string app) => apps[app].Id;

    /// <summary>The id of an account of a <see cref="Place"/>.</summary>
    internal string AccountId(string app, string? account) => account is null ? apps[app].Account : $"acct_{account}";

    /// <summary>A request to the management plane that must succeed.</summary>
    internal async Task<JsonNode> AdminAsync(string method, string path, string? form = null) =>
        await OkAsync(new BulkRequest(method, $"/admin/v1/{path}", Bearer(test.Keys.AdminKey!), form));

    /// <summary>A request that must succeed.</summary>
    internal async Task<JsonNode> OkAsync(BulkRequest request)
    {
        var answer = await Client.AskAsync(request);
        Assert.True(answer.Status == 200, $"{request.Method} {request.Target}: {answer.Status} {answer.Body}");
        return JsonNode.Parse(answer.Body)!;
    }

    /// <summary>Something that happened to an app in a mode.</summary>
    internal async Task<string> EventAsync(string app, bool live)
    {
        await AdminAsync("POST", $"apps/{AppId(app)}", "events=true");
        await AdminAsync("POST", "api_keys", $"type=secret&app={AppId(app)}&livemode={(live ? "true" : "false")}");
        return await LastEventAsync(AppId(app));
    }

    private async Task<string> LastEventAsync(string app) =>
        (string)(await AdminAsync("GET", $"events?limit=1&app={app}"))["data"]![0]!["id"]!;

    /// <summary>
    /// A new app and a secret key of it, and with <paramref name="stores"/> a secret of an account too: the ids that
    /// paths are about.
    /// </summary>
    internal async Task<Dictionary<string, string>> MakeAppAsync(bool stores)
    {
        var app = (string)(await AdminAsync("POST", "apps", "name=made&events=true"))["id"]!;
        var key = await AdminAsync("POST", "api_keys", $"type=secret&app={app}");
        var forgotten = await AdminAsync("POST", $"apps/{app}/accounts/acct_never/forget");
        var ids = new Dictionary<string, string>
        {
            ["app"] = app,
            ["key"] = (string)key["id"]!,
            ["account"] = "acct_made",
            ["receipt"] = (string)forgotten["receipt_id"]!,
            ["version"] = "1",
            ["wrapper"] = $"file:{OtherKeyFile}",
            ["shares"] = shares ??= await MakeSharesAsync(),
            ["event"] = await LastEventAsync(app),
            ["endpoint"] = (string)(await AdminAsync("POST", "webhook_endpoints",
                $"app={app}&livemode=false&url=https://hooks.invalid/"))["id"]!,
        };
        if (stores)
        {
            var secret = await OkAsync(new BulkRequest(
                "POST", "/v1/apps/secrets", Bearer((string)key["secret"]!)
                    + AccountLine("acct_made"), "scope[type]=account&name=made&payload=canary_of_a_route"));
            ids.Add("secret", (string)secret["id"]!);
            var made = await AdminAsync("GET", $"apps/{app}/installs");
            ids.Add("install", (string)made["data"]!.AsArray().Single()!["id"]!);
        }

        return ids;
    }

    /// <summary>An install of an app in an account that nothing else is about.</summary>
    internal async Task<string> InstallAsync(string app, bool live) => (string)(await AdminAsync(
        "POST", $"apps/{AppId(app)}/installs",
        $"account=acct_install_{++installs}&livemode={(live ? "true" : "false")}"))["id"]!;

    private async Task<string> MakeSharesAsync()
    {
        var store = await AdminAsync("GET", "root_keys/shares");
        using var made = Recovery.Make((string)store["store"]!, (string)store["anchor"]!, 2, 3);
        return made.Stored;
    }

    /// <summary>Has something there for a route of root keys to be done to.</summary>
    internal async Task ReadyRootKeysAsync(string path, Dictionary<string, string> ids)
    {
        await RotatedAsync();
        if (path.EndsWith("/remove", StringComparison.Ordinal))
            await AdminAsync("POST", "root_keys/wrappers", $"wrapper={ids["wrapper"]}");
        if (!path.EndsWith("{version}", StringComparison.Ordinal))
            return;
        var keys = await AdminAsync("POST", "root_keys/rotate");
        ids["version"] = $"{keys["keys"]!.AsArray()[^2]!["version"]}";
        await RotatedAsync();
    }

    private Task RotatedAsync() => Until.SoAsync("the rotation is done", async () =>
        (string?)(await AdminAsync("GET", "root_keys"))["keys"]!.AsArray()[^1]!["state"] == "done");

    /// <summary>An ephemeral key's id and token.</summary>
    internal async Task<(string Id, string Token)> MintAsync(string minter, string form = "user=usr_1")
    {
        var key = await OkAsync(new BulkRequest("POST", "/v1/ephemeral_keys", minter, form));
        return ((string)key["id"]!, (string)key["secret"]!);
    }

    internal static string Bearer(string token) => $"Authorization: Bearer {token}\r\n";

    /// <summary>Checks that a key is good: a reader of secrets, or an admin key.</summary>
    internal async Task ProveAsync(string lines, bool isAdmin = false) =>
        await OkAsync(new BulkRequest("GET", isAdmin ? AnyAdminRead : AnyList, lines));

    private static string AccountLine(string? account) => account is null ? "" : $"Stripe-Account: {account}\r\n";

    private async Task AddStrangersAsync()
    {
        var good = backends[("A", false)];
        headers.Add("none", "");
        headers.Add("malformed", Bearer(good[..^1] + (good[^1] == 'x' ? 'y' : 'x')));
        headers.Add("unknown", Bearer(Tokens.Generate("sk_test_")));
        headers.Add("publishable", Bearer("pk_test_" + good["sk_test_".Length..]));
        headers.Add("two keys", Bearer(good) + Bearer(good));

        await AddAsync("revoked", await KeyAsync("A", "type=secret"),
            key => AdminAsync("POST", $"api_keys/{key}/revoke"));
        await AddAsync("revoked admin", await KeyAsync(null, "type=admin"),
            key => AdminAsync("POST", $"api_keys/{key}/revoke"), isAdmin: true);
        var soon = test.Time.Seconds + 60;
        await AddAsync("expired", await KeyAsync("A", $"type=secret&expires_at={soon}"));
        await AddAsync("expired admin", await KeyAsync(null, $"type=admin&expires_at={soon}"), isAdmin: true);
        await AddAsync("past grace", await KeyAsync("A", "type=secret"),
            key => AdminAsync("POST", $"api_keys/{key}/roll", "grace_period=60"), isAliveStill: true);

        var backend = BackendOf("A", live: false, "acct_own");
        await AddAsync("ephemeral expired", await MintAsync(backend, "user=usr_1&expires_in=60"));
        await AddAsync("ephemeral revoked", await MintAsync(backend),
            key => OkAsync(new BulkRequest("DELETE", $"/v1/ephemeral_keys/{key}", backend)));
        await AddAsync("ephemeral of a forgotten account", await MintAsync(BackendOf("A", live: false, "acct_gone")),
            _ => AdminAsync("POST", $"apps/{AppId("A")}/accounts/acct_gone/forget"));
        var minter = await KeyAsync("A", "type=secret");
        await AddAsync("ephemeral of a revoked key", await MintAsync(Bearer(minter.Token)),
            _ => AdminAsync("POST", $"api_keys/{minter.Id}/revoke"));

        var gone = await MakeAppAsync(stores: false);
        var itsKey = await KeyAsync(gone["app"], "type=secret");
        await AddAsync("of a deleted app", itsKey);
        await AddAsync("ephemeral of a deleted app", await MintAsync(Bearer(itsKey.Token)),
            _ => AdminAsync("DELETE", $"apps/{gone["app"]}"));

        test.Time.Move(TimeSpan.FromSeconds(61));
        foreach (var stranger in AuthorizationTable.Principals.Where(principal => principal.Column == "stranger"))
            Assert.True((await Client.AskAsync(new BulkRequest("GET", AnyList, HeadersOf(stranger)))).Status == 401,
                stranger.Name);
    }

    private async Task AddBarredAsync()
    {
        var disabled = (await MakeAppAsync(stores: false))["app"];
        var itsKey = await KeyAsync(disabled, "type=secret");
        await AddAsync("disabled", itsKey);
        await AddAsync("ephemeral disabled", await MintAsync(Bearer(itsKey.Token)),
            _ => AdminAsync("POST", $"apps/{disabled}", "disabled=true"));

        var paged = (await MakeAppAsync(stores: false))["app"];
        await AdminAsync("POST", $"apps/{paged}", "origins[]=https://app.example");
        itsKey = await KeyAsync(paged, "type=secret");
        foreach (var (name, token) in ((string, string)[])[("foreign page", itsKey.Token),
            ("ephemeral foreign page", (await MintAsync(Bearer(itsKey.Token))).Token)])
        {
            await ProveAsync(Bearer(token) + OwnPage);
            headers.Add(name, Bearer(token) + ForeignPage);
        }

        // Linux has all of 127.0.0.0/8 without being told; elsewhere nothing answers from 127.0.0.2.
        const string There = "127.0.0.2";
        using var elsewhere = new BulkClient(Url, IPAddress.Parse(There));
        foreach (var (name, key) in ((string, (string Id, string Token))[])[
            ("elsewhere", await KeyAsync("A", $"type=secret&addresses[]={There}")), ("admin elsewhere", await KeyAsync(
                null, $"type=admin&addresses[]={There}"))])
        {
            headers.Add(name, Bearer(key.Token));
            if (OperatingSystem.IsLinux())
                Assert.Equal(
                    200,
                    (await elsewhere.AskAsync(
                        new BulkRequest("GET", name == "elsewhere" ? AnyList : AnyAdminRead,
                            Bearer(key.Token)))).Status);
        }
    }

    private async Task AddOthersAsync()
    {
        headers.Add("admin", Bearer(test.Keys.AdminKey!));
        await AddAsync("admin, new", await KeyAsync(null, "type=admin"), isAdmin: true);
        headers.Add("secret", BackendOf("A", live: false, null));
        headers.Add("secret, live", BackendOf("A", live: true, null));
        headers.Add("secret, other app", BackendOf("B", live: false, null));
        headers.Add("secret, other app, live", BackendOf("B", live: true, null));
        await AddAsync("secret, in grace", await KeyAsync("A", "type=secret"),
            key => AdminAsync("POST", $"api_keys/{key}/roll", "grace_period=604800"), isAliveStill: true);

        const string Reads =
            "&permissions[]=secret_read", Writes =
                "&permissions[]=secret_write", Live = "&livemode=true", Pinned = "&account=acct_own";
        foreach (var (name, form) in ((string, string)[])[
            ("restricted r", Reads), ("restricted w", Writes), ("restricted rw", Reads + Writes),
                ("restricted rw, live", Reads + Writes + Live),
            ("pinned", Reads + Writes + Pinned), ("pinned r, live", Reads + Live + Pinned)])
            headers.Add(name, Bearer((await KeyAsync("A", $"type=restricted{form}")).Token));

        foreach (var (name, app, live, account, form) in ((string, string, bool, string, string)[])[
            ("ephemeral own", "A", false, "acct_own", "user=usr_1"),
                ("ephemeral other", "A", false, "acct_own", "user=usr_2"),
            ("ephemeral elsewhere", "A", false, "acct_other", "user=usr_1"),
                ("ephemeral, live", "A", true, "acct_own", "user=usr_1"),
            ("ephemeral, other app", "B", false, "acct_own", "user=usr_1"),
            ("ephemeral r", "A", false, "acct_own", "user=usr_1" + Reads),
                ("ephemeral w", "A", false, "acct_own", "user=usr_1" + Writes)])
            headers.Add(name, Bearer((await MintAsync(BackendOf(app, live, account), form)).Token));
    }

    // A principal that is ended is seen alive first: otherwise a key that never worked would be refused as it should.
    private async Task AddAsync(string name, (string Id, string Token) key, Func<string, Task<JsonNode>>? end = null,
        bool isAdmin = false, bool isAliveStill = false)
    {
        headers.Add(name, Bearer(key.Token));
        await ProveAsync(Bearer(key.Token), isAdmin);
        if (end is not null)
            await end(key.Id);
        if (isAliveStill)
            await ProveAsync(Bearer(key.Token), isAdmin);
    }

    private async Task<(string Id, string Token)> KeyAsync(string? app, string form)
    {
        var key = await AdminAsync("POST", "api_keys",
            app is null ? form : $"{form}&app={(apps.TryGetValue(app, out var known) ? known.Id : app)}");
        return ((string)key["id"]!, (string)key["secret"]!);
    }
}
