using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Coffer.Checks;
using Coffer.Keys;
using Coffer.Settings;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Keys;

/// <summary>
/// Root keys wrapped by Azure Key Vault as its REST reference has it: a server of the tests' own that checks paths,
/// versions, tokens and bodies and answers in its form, beside the endpoint of a managed identity that gives the token.
/// </summary>
[Trait("Keys", "S19")]
public sealed class AzureKeyVaultWrapperTests : IAsyncLifetime
{
    private const string Version = "78deebed173b48e48f55abf87ed4cf71", Token = "token-of-the-identity",
        Header = "header-of-the-identity";

    private static readonly RootKeyName Name = new(new byte[16], 3);

    // It takes longer to make than a test, and is made when the first of them wraps.
    private static readonly RSA Key = RSA.Create(2048);

    private readonly ConcurrentQueue<string> asked = new();
    private readonly JsonObject attributes = new() { ["enabled"] = true, ["recoveryLevel"] = "Recoverable" };
    private WebServer vault = null!;
    private Func<HttpContext, JsonObject, Task<bool>> fault = static (_, _) => Task.FromResult(false);

    public async ValueTask InitializeAsync()
    {
        vault = await WebServer.StartAsync(
            new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" }, answer: AnswerAsync);
        Environment.SetEnvironmentVariable("IDENTITY_ENDPOINT", $"{vault.Url}identity");
        Environment.SetEnvironmentVariable("IDENTITY_HEADER", Header);
    }

    public ValueTask DisposeAsync() => vault.DisposeAsync();

    [Fact]
    public async Task A_store_is_wrapped_by_it_alone_and_rotates()
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var own = WrapperUrl.Of(Path.Combine(server.Data, "coffer.key"));
        await server.StartAgainAsync(with: options => options with
        {
            RootKey = Settings() with { Urls = [own, .. Settings().Urls] },
        });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{Settings().Urls[0]}")])).IsOk();
        (await server.Admin.Post("/admin/v1/root_keys/wrappers/remove", [("wrapper", $"{own}")])).IsOk();
        (await server.Client().Set("k")).IsOk();
        await server.StopAsync();
        await server.StartAgainAsync(with: options => options with { RootKey = Settings() });
        (await server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
        (await server.Client().Find("k")).IsOk();
        Assert.Equal(["identity", "unwrapkey", "wrapkey"], asked.Distinct().Order());
    }

    [Theory]
    [InlineData("enabled", true, Grade.Ok, "every wrapper opens", "")]
    [InlineData("enabled", false, Grade.Problem, "the key is not enabled at Azure Key Vault", "Enable the key")]
    [InlineData("exp", 1_798_110_000, Grade.Warning, "the key ends at 2026-12-24", "a later end")]
    [InlineData("recoveryLevel", "Purgeable", Grade.Warning, "gone at once if somebody deletes it", "purge protection")]
    [InlineData("denied", true, Grade.Warning, "is not known: 127.0.0.1 answered 403: Forbidden: no get", "keys/get")]
    internal async Task A_check_asks_for_the_state_of_its_key(
        string name, object value, Grade grade, string text, string hint)
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var both = Settings() with
        {
            Urls = [WrapperUrl.Of(Path.Combine(server.Data, "coffer.key")), .. Settings().Urls],
        };
        await server.StartAgainAsync(with: options => options with { RootKey = both });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{Settings().Urls[0]}")])).IsOk();
        await server.StopAsync();
        attributes[name] = JsonValue.Create(value);
        var options = new CofferOptions { Data = server.Data, Store = server.Location.Store, RootKey = both };
        (await Checked.RunAsync(options, server.Time)).AndNothingElseBut("root_keys", "clock", "postgresql")
            .Says(grade, "root_keys", text, hint);
    }

    [Fact]
    public async Task Another_key_another_plaintext_and_an_answer_that_is_none_are_refused()
    {
        using var text = Name.Text(new byte[32]);
        var wrapped = await Open().WrapAsync(Name, text, default);
        using (var opened = await Open().UnwrapAsync(Name, wrapped, default))
            Assert.True(opened!.Span.SequenceEqual(text.Span));
        using (var other = Name.Text(new byte[32]))
            Assert.Null((Name with { Version = 4 }).Read(other.Span));

        await RefusesAsync(answer => answer["kid"] = $"{vault.Url}keys/coffer/another", "for another key, http");
        await RefusesAsync(answer => answer.Remove("kid"), "answered for another key, none");
        await RefusesAsync(answer => answer.Remove("value"), "without a value");
        await RefusesAsync(answer => answer["value"] = "*", "without a value");
        await RefusesAsync(answer => answer["value"] = 1, "without a value");
    }

    [Fact]
    public async Task A_service_that_gives_back_another_plaintext_is_named_and_opens_no_store()
    {
        fault = (context, answer) =>
        {
            if (context.Request.Path.Value!.EndsWith("unwrapkey", StringComparison.Ordinal))
                answer["value"] = Base64Url.EncodeToString(new byte[94]);
            return Task.FromResult(false);
        };
        using var root = new Coffer.Crypto.SealingKey(1, new byte[32]);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(
            () => Open().WrapProvenAsync(new byte[16], root, 0, default));
        Assert.Contains("does not give back what it wrapped", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(403, "Forbidden", "Operation wrapKey is not allowed on a disabled key.", false)]
    [InlineData(404, "KeyNotFound", "A key with (name/id) coffer was not found in this key vault.", false)]
    [InlineData(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", false)]
    [InlineData(429, "Throttled", "Request was not processed because too many requests were received.", true)]
    [InlineData(503, "ServiceUnavailable", "later", true)]
    public async Task What_it_refuses_is_said_by_its_name(int status, string code, string message, bool mayPass)
    {
        fault = async (context, _) =>
        {
            context.Response.StatusCode = status;
            if (mayPass)
                context.Response.Headers.RetryAfter = "7";
            await context.Response.WriteAsync(new JsonObject
            {
                ["error"] = new JsonObject { ["code"] = code, ["message"] = message, ["innererror"] = null },
            }.ToJsonString());
            return true;
        };
        var refused = await RefusedAsync();
        Assert.Equal($"127.0.0.1 answered {status}: {code}: {message}", refused.Message);
        Assert.Equal((mayPass, mayPass ? 7 : 0), (refused.MayPass, refused.RetryAfter.TotalSeconds));
    }

    /// <summary>A start that is told to come back later than it may wait ends at once, and asks no more.</summary>
    [Fact]
    public async Task One_that_throttles_is_left_alone_for_as_long_as_it_says()
    {
        var said = "3600";
        fault = async (context, _) =>
        {
            context.Response.StatusCode = 429;
            context.Response.Headers.RetryAfter = said;
            await Task.CompletedTask;
            said = "0";
            return true;
        };
        var wrappers = KeyWrappers.Open(Settings() with { Patience = TimeSpan.FromMinutes(1) });
        using var text = SecretBytes.Copy("abc"u8);
        await Assert.ThrowsAsync<KeyServiceException>(() => wrappers.AskAsync(
            async wrapper => await wrapper.WrapAsync(Name, text, default), waits: true, default));
        Assert.Single(asked, "wrapkey");
    }

    [Fact]
    public async Task A_slow_a_cut_an_endless_and_a_redirecting_service_are_said_without_a_token()
    {
        const string Slow = "has not answered in time";
        using var ended = new CancellationTokenSource();
        foreach (var (says, mayPass, answer) in ((string, bool, Func<HttpContext, Task>)[])[
            (Slow, true, context => Task.Delay(Timeout.Infinite, ended.Token)),
            ("with no JSON", false, context => context.Response.WriteAsync("""{"kid":"http""")),
            ("cannot be asked", true, context => context.Response.WriteAsync(new string('x', 70_000))),
            ("answered 307", false, context =>
            {
                context.Response.Redirect($"{vault.Url}elsewhere", permanent: false, preserveMethod: true);
                return Task.CompletedTask;
            })])
        {
            fault = async (context, _) =>
            {
                await answer(context);
                return true;
            };
            var settings = Settings(); // only one that never answers is given up soon
            var refused = await RefusedAsync(
                says == Slow ? settings with { CallPatience = TimeSpan.FromSeconds(2) } : settings);
            Assert.Contains(says, refused.Message, StringComparison.Ordinal);
            Assert.Equal(mayPass, refused.MayPass);
        }

        await ended.CancelAsync();
        Assert.DoesNotContain("elsewhere", asked);
    }

    [Fact]
    public async Task A_service_or_an_identity_that_is_away_may_come_back()
    {
        Environment.SetEnvironmentVariable("IDENTITY_HEADER", "another");
        var refused = await RefusedAsync();
        Assert.Contains("Azure gives no token: ", refused.Message, StringComparison.Ordinal);
        await vault.DisposeAsync();
        refused = await RefusedAsync(Settings() with { CallPatience = TimeSpan.FromSeconds(2) });
        Assert.True(refused.MayPass, refused.Message);
        vault = await WebServer.StartAsync(new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" });
    }

    [Theory]
    [InlineData("azurekv:http://vault.example/keys/coffer/1")]
    [InlineData("azurekv:https://user:password@v.vault.azure.net/keys/coffer/1")]
    [InlineData("azurekv:https://v.vault.azure.net/keys/coffer")]
    [InlineData("azurekv:https://v.vault.azure.net/keys/coffer/1/")]
    [InlineData("azurekv:https://v.vault.azure.net/secrets/coffer/1")]
    [InlineData("azurekv:https://v.vault.azure.net/keys/coffer/1?api-version=1")]
    [InlineData("azurekv:")]
    public void An_address_that_is_in_clear_or_holds_a_secret_or_no_version_is_none(string url) =>
        Assert.Null(WrapperUrl.Parse(url));

    private async Task RefusesAsync(Action<JsonObject> lie, string says)
    {
        fault = (_, answer) =>
        {
            lie(answer);
            return Task.FromResult(false);
        };
        Assert.Contains(says, (await RefusedAsync()).Message, StringComparison.Ordinal);
    }

    private async Task<KeyServiceException> RefusedAsync(KeySettings? settings = null)
    {
        using var text = SecretBytes.Copy("abc"u8);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(
            () => Open(settings).WrapAsync(Name, text, default));
        Assert.DoesNotContain(Token, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Header, refused.Message, StringComparison.Ordinal);
        return refused;
    }

    private KeyWrapper Open(KeySettings? settings = null) => KeyWrappers.Open(settings ?? Settings()).All.Single();

    private KeySettings Settings() => new([WrapperUrl.Parse($"azurekv:{vault.Url}keys/coffer/{Version}")!]);

    private async Task AnswerAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        asked.Enqueue(path.Split('/')[^1]);
        if (path == "/identity")
        {
            await IdentifyAsync(context);
            return;
        }

        Assert.Equal("?api-version=7.4", context.Request.QueryString.Value);
        Assert.Equal($"Bearer {Token}", (string?)context.Request.Headers.Authorization);
        var id = $"keys/coffer/{Version}";
        var answer = new JsonObject { ["kid"] = $"{vault.Url}{id}" };
        if (context.Request.Method == "GET")
        {
            Assert.Equal($"/{id}", path);
            context.Response.StatusCode = attributes.ContainsKey("denied") ? 403 : 200;
            answer = attributes.ContainsKey("denied")
                ? new JsonObject { ["error"] = new JsonObject { ["code"] = "Forbidden", ["message"] = "no get" } }
                : new JsonObject { ["key"] = answer, ["attributes"] = attributes.DeepClone() };
        }
        else
        {
            var body = (await JsonNode.ParseAsync(context.Request.Body))!;
            Assert.Equal("application/json", context.Request.ContentType);
            Assert.Equal("RSA-OAEP-256", (string?)body["alg"]);
            Assert.Equal(2, body.AsObject().Count);
            var value = Base64Url.DecodeFromChars((string)body["value"]!);
            answer["value"] = path == $"/{id}/wrapkey"
                ? Base64Url.EncodeToString(Key.Encrypt(value, RSAEncryptionPadding.OaepSHA256))
                : Base64Url.EncodeToString(Key.Decrypt(value, RSAEncryptionPadding.OaepSHA256));
        }

        if (!await fault(context, answer))
            await context.Response.WriteAsync(answer.ToJsonString());
    }

    // "How to use managed identities for App Service": the token is so short that it is asked for each time.
    private static async Task IdentifyAsync(HttpContext context)
    {
        var isAsked = context.Request.Query["resource"] == "https://vault.azure.net"
            && context.Request.Query["api-version"] == "2019-08-01"
            && context.Request.Headers["X-IDENTITY-HEADER"] == Header;
        context.Response.StatusCode = isAsked ? 200 : 401;
        context.Response.ContentType = "application/json";
        var until = TimeProvider.System.GetUtcNow().AddMinutes(1).ToUnixTimeSeconds();
        await context.Response.WriteAsync(new JsonObject
        {
            ["access_token"] = isAsked ? Token : null,
            ["expires_on"] = until.ToString(CultureInfo.InvariantCulture),
            ["resource"] = "https://vault.azure.net",
            ["token_type"] = "Bearer",
        }.ToJsonString());
    }
}
