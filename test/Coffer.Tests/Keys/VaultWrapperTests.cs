using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Keys;
using Coffer.Settings;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Keys;

/// <summary>
/// Root keys wrapped by a transit engine as HashiCorp Vault and OpenBao document theirs: a server of the tests' own
/// that checks paths, heads and bodies, and answers in their form.
/// </summary>
[Trait("Keys", "S19")]
public sealed class VaultWrapperTests : IAsyncLifetime
{
    private const string Token = "hvs.token", RoleToken = "hvs.of-the-role", Role = "role-1", Secret = "secret-1";

    private static readonly RootKeyName Name = new(new byte[16], 3);

    private readonly TemporaryDirectory directory = new();
    private readonly ConcurrentQueue<string> asked = new();
    private readonly List<byte[]> versions = [RandomNumberGenerator.GetBytes(32)];
    private WebServer vault = null!;
    private Func<HttpContext, Task<bool>> fault = static _ => Task.FromResult(false);

    public async ValueTask InitializeAsync()
    {
        vault = await WebServer.StartAsync(
            new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" }, answer: AnswerAsync);
        File.WriteAllText(directory.File("token"), Token + "\n");
        File.WriteAllText(directory.File("secret"), Secret + "\n");
    }

    public async ValueTask DisposeAsync()
    {
        await vault.DisposeAsync();
        directory.Dispose();
    }

    [Fact]
    public async Task A_store_is_wrapped_by_it_alone_rotates_and_is_wrapped_again_by_a_newer_version_of_its_key()
    {
        var keys = Settings() with { VaultTokenFile = directory.File("token"), VaultNamespace = "team/a" };
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var both = keys with { Urls = [WrapperUrl.Of(Path.Combine(server.Data, "coffer.key")), .. keys.Urls] };
        await server.StartAgainAsync(with: options => options with { RootKey = both });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{keys.Urls[0]}")])).IsOk();
        (await server.Admin.Post("/admin/v1/root_keys/wrappers/remove", [("wrapper", $"{both.Urls[0]}")])).IsOk();
        (await server.Client().Set("k")).IsOk();
        await server.StopAsync();
        File.Delete(Path.Combine(server.Data, "coffer.key"));

        await server.StartAgainAsync(with: options => options with { RootKey = keys });
        versions.Add(RandomNumberGenerator.GetBytes(32));
        (await server.Admin.Post("/admin/v1/root_keys/rewrap", [])).IsOk();
        await server.StopAsync();
        versions[0] = []; // the old version of its key is destroyed
        await server.StartAgainAsync(with: options => options with { RootKey = keys });
        (await server.Client().Find("k")).IsOk();
        Assert.All(asked, line => Assert.EndsWith(" team/a", line, StringComparison.Ordinal));
        Assert.Equal(
            [$"/v1/transit/decrypt/coffer {Token} team/a", $"/v1/transit/encrypt/coffer {Token} team/a"],
            asked.Distinct().Order());
    }

    [Fact]
    public async Task A_wrapper_stays_while_another_wraps_and_can_no_longer_unwrap_what_is_stored()
    {
        var keys = Settings() with { VaultTokenFile = directory.File("token") };
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var own = WrapperUrl.Of(Path.Combine(server.Data, "coffer.key"));
        var both = keys with { Urls = [own, .. keys.Urls] };
        await server.StartAgainAsync(with: options => options with { RootKey = both });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{keys.Urls[0]}")])).IsOk();
        versions.Add(RandomNumberGenerator.GetBytes(32));
        var old = versions[0];
        versions[0] = []; // the version of its key that wrapped is destroyed
        (await server.Admin.Post("/admin/v1/root_keys/wrappers/remove", [("wrapper", $"{own}")]))
            .IsError(400, null, "wrapper");
        versions[0] = old;
        (await server.Admin.Post("/admin/v1/root_keys/wrappers/remove", [("wrapper", $"{own}")])).IsOk();
    }

    [Theory]
    [InlineData(200, """{"data":{"deletion_allowed":false,"type":"aes256-gcm96"}}""", 0)]
    [InlineData(200, """{"data":{"deletion_allowed":true,"type":"aes256-gcm96"}}""", 1)]
    [InlineData(403, """{"errors":["permission denied"]}""", null)]
    public async Task Its_key_is_asked_for_and_one_that_may_be_deleted_is_named(int status, string body, int? troubles)
    {
        fault = async context =>
        {
            Assert.Equal("GET", context.Request.Method);
            context.Response.StatusCode = status;
            await context.Response.WriteAsync(body);
            return true;
        };
        var wrapper = Open(Settings() with { VaultTokenFile = directory.File("token") });
        if (troubles is { } count)
            Assert.Equal(count, (await wrapper.FindTroublesAsync(default)).Count);
        else
            Assert.Contains("answered 403: permission denied", (await Assert.ThrowsAsync<KeyServiceException>(
                () => wrapper.FindTroublesAsync(default))).Message, StringComparison.Ordinal);
        Assert.Equal([$"/v1/transit/keys/coffer {Token} "], asked);
    }

    [Fact]
    public async Task A_role_is_signed_in_for_each_call_and_no_token_is_kept()
    {
        var wrapper = Open(Settings() with { VaultRole = Role, VaultSecretFile = directory.File("secret") });
        using var text = SecretBytes.Copy("abc"u8);
        var wrapped = await wrapper.WrapAsync(Name, text, default);
        Assert.StartsWith("vault:v1:", Encoding.UTF8.GetString(wrapped), StringComparison.Ordinal);
        using var unwrapped = await wrapper.UnwrapAsync(Name, wrapped, default);
        Assert.Equal("abc"u8.ToArray(), unwrapped!.Span.ToArray());
        string[] calls = ["/v1/auth/approle/login  ", $"/v1/transit/encrypt/coffer {RoleToken} "];
        Assert.Equal([.. calls, calls[0], $"/v1/transit/decrypt/coffer {RoleToken} "], asked);
        File.WriteAllText(directory.File("secret"), "another");
        var refused = await Assert.ThrowsAsync<KeyServiceException>(() => wrapper.WrapAsync(Name, text, default));
        Assert.Contains("answered 400: invalid role or secret ID", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_wrapped_for_another_root_key_or_changed_is_refused_by_the_service_too()
    {
        var wrapper = Open(Settings() with { VaultTokenFile = directory.File("token") });
        using var text = SecretBytes.Copy("abc"u8);
        var wrapped = await wrapper.WrapAsync(Name, text, default);
        foreach (var (name, given) in ((RootKeyName, byte[])[])[
            (Name with { Version = 4 }, wrapped), (new RootKeyName([.. new byte[15], 1], 3), wrapped),
            (Name, "vault:v1:AAAA"u8.ToArray()), (Name, "vault:v9:AAAA"u8.ToArray())])
        {
            var refused = await Assert.ThrowsAsync<KeyServiceException>(
                () => wrapper.UnwrapAsync(name, given, default));
            Assert.Contains("answered 400", refused.Message, StringComparison.Ordinal);
            Assert.False(refused.MayPass);
        }
    }

    [Theory]
    [InlineData(403, """{"errors":["permission denied"]}""", "answered 403: permission denied", false)]
    [InlineData(429, """{"errors":["rate limit quota exceeded"]}""", "answered 429: rate limit", true)]
    [InlineData(503, """{"errors":["Vault is sealed"]}""", "answered 503: Vault is sealed", true)]
    [InlineData(307, "", "answered 307", false)]
    [InlineData(200, "<html>", "no JSON", false)]
    [InlineData(200, "{}", "without a ciphertext", false)]
    [InlineData(200, """{"data":null}""", "without a ciphertext", false)]
    [InlineData(200, """{"data":{"ciphertext":7}}""", "without a ciphertext", false)]
    public async Task What_it_does_not_do_is_said_in_a_sentence(int status, string body, string expected, bool mayPass)
    {
        fault = async context =>
        {
            context.Response.StatusCode = status;
            context.Response.Headers.Location = $"{vault.Url}elsewhere";
            await context.Response.WriteAsync(body);
            return true;
        };
        var wrapper = Open(Settings() with { VaultTokenFile = directory.File("token") });
        using var text = SecretBytes.Copy("abc"u8);
        var failed = await Assert.ThrowsAsync<KeyServiceException>(() => wrapper.WrapAsync(Name, text, default));
        Assert.Contains(expected, failed.Message, StringComparison.Ordinal);
        Assert.Equal(mayPass, failed.MayPass);
        Assert.DoesNotContain(Token, failed.Message, StringComparison.Ordinal);
        Assert.Single(asked); // nothing was followed
    }

    [Fact]
    public async Task A_service_that_is_slow_or_away_an_endless_answer_and_a_missing_token_are_said_too()
    {
        using var text = SecretBytes.Copy("abc"u8);
        var settings = Settings() with { VaultTokenFile = directory.File("token") };
        using var ended = new CancellationTokenSource();
        fault = async _ =>
        {
            await Task.Delay(Timeout.Infinite, ended.Token);
            return true;
        };
        var hasty = Open(settings with { CallPatience = TimeSpan.FromMilliseconds(400) });
        var late = await Assert.ThrowsAsync<KeyServiceException>(() => hasty.WrapAsync(Name, text, default));
        Assert.Contains("has not answered in time", late.Message, StringComparison.Ordinal);
        Assert.True(late.MayPass);
        await ended.CancelAsync();
        fault = async context =>
        {
            await context.Response.WriteAsync(new string('x', 200_000));
            return true;
        };
        Assert.False((await Assert.ThrowsAsync<KeyServiceException>(
            () => Open(settings).WrapAsync(Name, text, default))).Message.Contains("xxx", StringComparison.Ordinal));
        Assert.Contains("there is no token", (await Assert.ThrowsAsync<KeyServiceException>(
            () => Open(Settings()).WrapAsync(Name, text, default))).Message, StringComparison.Ordinal);
        Assert.Contains("cannot be read", (await Assert.ThrowsAsync<KeyServiceException>(
            () => Open(Settings() with { VaultTokenFile = "/none" }).WrapAsync(Name, text, default))).Message,
            StringComparison.Ordinal);
        await vault.DisposeAsync();
        Assert.True((await Assert.ThrowsAsync<KeyServiceException>(
            () => Open(settings).WrapAsync(Name, text, default))).MayPass);
        vault = await WebServer.StartAsync(new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" });
    }

    [Theory]
    [InlineData("vault:http://vault.example/transit/coffer")]
    [InlineData("vault:https://user:password@vault.example/transit/coffer")]
    [InlineData("vault:https://vault.example/transit/coffer?token=x")]
    [InlineData("vault:https://vault.example/coffer")]
    [InlineData("vault:https://vault.example/transit//coffer")]
    [InlineData("vault:vault.example/transit/coffer")]
    [InlineData("vault:")]
    public void An_address_that_is_in_clear_or_holds_a_secret_or_no_key_is_none(string url) =>
        Assert.Null(WrapperUrl.Parse(url));

    private static KeyWrapper Open(KeySettings settings) => KeyWrappers.Open(settings).All.Single();

    private KeySettings Settings() => new([WrapperUrl.Parse($"vault:{vault.Url}transit/coffer")!]);

    private async Task AnswerAsync(HttpContext context)
    {
        var (path, token) = ((string)context.Request.Path!, (string?)context.Request.Headers["X-Vault-Token"] ?? "");
        asked.Enqueue($"{path} {token} {(string?)context.Request.Headers["X-Vault-Namespace"]}");
        if (await fault(context))
            return;
        var body = (await JsonNode.ParseAsync(context.Request.Body))!;
        var isWell = context.Request.Method == "POST" && context.Request.ContentType == "application/json"
            && (string?)context.Request.Headers["X-Vault-Request"] == "true";
        var answer = path switch
        {
            _ when !isWell => null,
            "/v1/auth/approle/login" when (string?)body["role_id"] == Role && (string?)body["secret_id"] == Secret =>
                new JsonObject { ["auth"] = new JsonObject { ["client_token"] = RoleToken } },
            "/v1/transit/encrypt/coffer" when token is Token or RoleToken => Data("ciphertext", Encrypt(body)),
            "/v1/transit/decrypt/coffer" when token is Token or RoleToken => Data("plaintext", Decrypt(body)),
            _ => null,
        };
        if (answer is null)
        {
            context.Response.StatusCode = 400;
            var error = path.EndsWith("login", StringComparison.Ordinal) ? "invalid role or secret ID" : "bad request";
            answer = new JsonObject { ["errors"] = new JsonArray(error) };
        }

        await context.Response.WriteAsync(answer.ToJsonString());
    }

    private static JsonObject? Data(string field, string? value) =>
        value is null ? null : new JsonObject { ["data"] = new JsonObject { [field] = value } };

    private string Encrypt(JsonNode body)
    {
        var plaintext = Convert.FromBase64String((string)body["plaintext"]!);
        var (nonce, tag) = (RandomNumberGenerator.GetBytes(12), new byte[16]);
        var sealedBytes = new byte[plaintext.Length];
        using var gcm = new AesGcm(versions[^1], 16);
        gcm.Encrypt(nonce, plaintext, sealedBytes, tag, Convert.FromBase64String((string)body["associated_data"]!));
        return $"vault:v{versions.Count}:{Convert.ToBase64String([.. nonce, .. sealedBytes, .. tag])}";
    }

    private string? Decrypt(JsonNode body)
    {
        var parts = ((string)body["ciphertext"]!).Split(':');
        var version = int.Parse(parts[1][1..], System.Globalization.CultureInfo.InvariantCulture);
        if (version > versions.Count || versions[version - 1].Length == 0)
            return null;
        try
        {
            var bytes = Convert.FromBase64String(parts[2]);
            var plaintext = new byte[bytes.Length - 28];
            using var gcm = new AesGcm(versions[version - 1], 16);
            gcm.Decrypt(bytes[..12], bytes[12..^16], bytes[^16..], plaintext,
                Convert.FromBase64String((string)body["associated_data"]!));
            return Convert.ToBase64String(plaintext);
        }
        catch (Exception e) when (e is CryptographicException or OverflowException)
        {
            return null;
        }
    }
}
