using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Checks;
using Coffer.Keys;
using Coffer.Settings;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Keys;

/// <summary>
/// Root keys wrapped by Google Cloud KMS as its REST reference has it: a server of the tests' own that checks paths,
/// tokens, bodies and checksums and answers in its form. The token is one that the same server gives for the signed
/// assertion of a service account. Google's library reads the account's file once in a process, so there is one server.
/// </summary>
[Trait("Keys", "S19")]
public sealed class GoogleKmsWrapperTests(GoogleKmsServer kms) : IClassFixture<GoogleKmsServer>
{
    private static readonly RootKeyName Name = new(new byte[16], 3);

    [Fact]
    public async Task A_store_is_wrapped_by_it_alone_rotates_and_is_wrapped_again_by_a_newer_version_of_its_key()
    {
        kms.Reset();
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
        kms.Keys.Add(RandomNumberGenerator.GetBytes(32));
        (await server.Admin.Post("/admin/v1/root_keys/rewrap", [])).IsOk();
        kms.Keys[0] = []; // the old version is destroyed
        await server.StopAsync();
        await server.StartAgainAsync(with: options => options with { RootKey = Settings() });
        (await server.Client().Find("k")).IsOk();
    }

    [Theory]
    [InlineData("ENABLED", Grade.Ok, "every wrapper opens", "")]
    [InlineData("DISABLED", Grade.Warning, "version 1 of the key is disabled", "Enable it")]
    [InlineData("DESTROY_SCHEDULED", Grade.Warning, "version 1 of the key is destroyed on 2026-12-24", "Restore it")]
    [InlineData("denied", Grade.Warning, "is not known: 127.0.0.1 answered 403: PERMISSION_DENIED: no", "Versions")]
    internal async Task A_check_asks_for_versions_of_its_key(string state, Grade grade, string text, string hint)
    {
        kms.Reset();
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var both = Settings() with
        {
            Urls = [WrapperUrl.Of(Path.Combine(server.Data, "coffer.key")), .. Settings().Urls],
        };
        await server.StartAgainAsync(with: options => options with { RootKey = both });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"{Settings().Urls[0]}")])).IsOk();
        await server.StopAsync();
        kms.State = state;
        var options = new CofferOptions { Data = server.Data, Store = server.Location.Store, RootKey = both };
        (await Checked.RunAsync(options, server.Time)).AndNothingElseBut("root_keys", "clock", "postgresql")
            .Says(grade, "root_keys", text, hint);
    }

    [Fact]
    public async Task The_store_and_the_version_are_its_additional_authenticated_data()
    {
        kms.Reset();
        using var text = SecretBytes.Copy("abc"u8);
        var wrapped = await Open().WrapAsync(Name, text, default);
        using var unwrapped = await Open().UnwrapAsync(Name, wrapped, default);
        Assert.Equal("abc"u8.ToArray(), unwrapped!.Span.ToArray());
        foreach (var other in (RootKeyName[])[Name with { Version = 4 }, new RootKeyName([.. new byte[15], 1], 3)])
        {
            var refused = await Assert.ThrowsAsync<KeyServiceException>(
                () => Open().UnwrapAsync(other, wrapped, default));
            Assert.Equal("127.0.0.1 answered 400: INVALID_ARGUMENT: Decryption failed.", refused.Message);
            Assert.False(refused.MayPass);
        }
    }

    [Fact]
    public async Task Another_key_another_checksum_and_an_answer_that_is_none_are_refused()
    {
        const string Another = "projects/p/locations/eu/keyRings/r/cryptoKeys/k2/cryptoKeyVersions/1";
        await RefusesAsync(answer => answer["name"] = Another, $"answered for another key, {Another}", false);
        await RefusesAsync(answer => answer.Remove("name"), "answered for another key, none", false);
        await RefusesAsync(answer => answer["ciphertextCrc32c"] = "1", "the ciphertext that Google", true);
        await RefusesAsync(answer => answer.Remove("ciphertextCrc32c"), "has another CRC32C", true);
        await RefusesAsync(answer => answer["verifiedPlaintextCrc32c"] = false, "did not verify what it", true);
        await RefusesAsync(answer => answer.Remove("verifiedAdditionalAuthenticatedDataCrc32c"), "did not", true);
        await RefusesAsync(answer => answer.Remove("ciphertext"), "without a ciphertext", false);
        await RefusesAsync(answer => answer["ciphertext"] = "*", "without a ciphertext", false);

        kms.Reset();
        using var text = SecretBytes.Copy("abc"u8);
        var wrapped = await Open().WrapAsync(Name, text, default);
        kms.Lie = answer => answer["plaintextCrc32c"] = "1";
        Assert.Contains("the plaintext that Google Cloud KMS sent has another CRC32C",
            (await Assert.ThrowsAsync<KeyServiceException>(() => Open().UnwrapAsync(Name, wrapped, default))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_gives_back_another_plaintext_is_named()
    {
        kms.Reset();
        kms.Lie = answer =>
        {
            if (!answer.ContainsKey("plaintext"))
                return;
            answer["plaintext"] = Convert.ToBase64String(new byte[94]);
            answer["plaintextCrc32c"] = GoogleKmsServer.Crc32C(new byte[94]);
        };
        using var root = new Coffer.Crypto.SealingKey(1, new byte[32]);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(
            () => Open().WrapProvenAsync(new byte[16], root, 0, default));
        Assert.Contains("does not give back what it wrapped", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(403, "PERMISSION_DENIED", false)]
    [InlineData(400, "FAILED_PRECONDITION", false)] // a version is disabled, or about to be destroyed
    [InlineData(404, "NOT_FOUND", false)]
    [InlineData(429, "RESOURCE_EXHAUSTED", true)]
    [InlineData(503, "UNAVAILABLE", true)]
    public async Task What_it_refuses_is_said_by_its_name(int status, string word, bool mayPass)
    {
        kms.Reset();
        kms.Fault = context => GoogleKmsServer.RefuseAsync(context, status, word, "it says so");
        var refused = await RefusedAsync();
        Assert.Equal($"127.0.0.1 answered {status}: {word}: it says so", refused.Message);
        Assert.Equal((mayPass, status == 429 ? 7 : 0), (refused.MayPass, refused.RetryAfter.TotalSeconds));
    }

    [Fact]
    public async Task A_slow_a_cut_and_an_endless_service_and_one_that_is_away_are_said_without_a_token()
    {
        kms.Reset();
        const string Slow = "has not answered in time";
        using var ended = new CancellationTokenSource();
        foreach (var (says, mayPass, answer) in ((string, bool, Func<HttpContext, Task>)[])[
            (Slow, true, context => Task.Delay(Timeout.Infinite, ended.Token)),
            ("with no JSON", false, context => context.Response.WriteAsync("""{"name":"projects""")),
            ("cannot be asked", true, context => context.Response.WriteAsync(new string('x', 70_000)))])
        {
            kms.Fault = answer;
            var settings = Settings(); // only one that never answers is given up soon
            var refused = await RefusedAsync(
                says == Slow ? settings with { CallPatience = TimeSpan.FromSeconds(2) } : settings);
            Assert.Contains(says, refused.Message, StringComparison.Ordinal);
            Assert.Equal(mayPass, refused.MayPass);
        }

        await ended.CancelAsync();
        Assert.True((await RefusedAsync(Settings() with { GoogleEndpoint = "http://127.0.0.1:9" })).MayPass);
    }

    [Fact]
    public async Task A_token_that_is_refused_is_said_without_the_key_of_the_account()
    {
        kms.Reset();
        kms.GivesTokens = false;
        var refused = await RefusedAsync();
        Assert.Contains("Google gives no token: ", refused.Message, StringComparison.Ordinal);
        Assert.Contains("invalid_grant", refused.Message, StringComparison.Ordinal);
        Assert.False(refused.MayPass);
    }

    [Theory]
    [InlineData("gcpkms:")]
    [InlineData("gcpkms:projects/p/locations/eu/keyRings/r/cryptoKeys/")]
    [InlineData("gcpkms:projects/p/locations/eu/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1")]
    [InlineData("gcpkms:projects/../locations/eu/keyRings/r/cryptoKeys/k")]
    [InlineData("gcpkms:projects/p/locations/eu/keyRings/r/cryptoKeys/k?x")]
    [InlineData("gcpkms:https://cloudkms.googleapis.com/v1/projects/p/locations/eu/keyRings/r/cryptoKeys/k")]
    public void What_is_no_name_of_a_key_is_no_wrapper(string url) => Assert.Null(WrapperUrl.Parse(url));

    private async Task RefusesAsync(Action<JsonObject> lie, string says, bool mayPass)
    {
        kms.Reset();
        kms.Lie = lie;
        var refused = await RefusedAsync();
        Assert.Contains(says, refused.Message, StringComparison.Ordinal);
        Assert.Equal(mayPass, refused.MayPass);
    }

    private async Task<KeyServiceException> RefusedAsync(KeySettings? settings = null)
    {
        using var text = SecretBytes.Copy("abc"u8);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(
            () => Open(settings).WrapAsync(Name, text, default));
        Assert.DoesNotContain(GoogleKmsServer.Token, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("PRIVATE KEY", refused.Message, StringComparison.Ordinal);
        return refused;
    }

    private KeyWrapper Open(KeySettings? settings = null) => KeyWrappers.Open(settings ?? Settings()).All.Single();

    private KeySettings Settings() => new([WrapperUrl.Parse($"gcpkms:{GoogleKmsServer.Key}")!])
    {
        GoogleEndpoint = kms.Url.ToString(),
    };
}

/// <summary>Google Cloud KMS with one key, and the endpoint at which a service account gets its token.</summary>
public sealed class GoogleKmsServer : IAsyncLifetime
{
    internal const string Key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k", Token = "ya29.token",
        Account = "coffer@p.iam.gserviceaccount.com";

    private readonly TemporaryDirectory directory = new();
    private readonly RSA account = RSA.Create(2048);
    private WebServer server = null!;

    internal Uri Url => server.Url;

    /// <summary>The versions of the key; one that was destroyed is empty.</summary>
    internal List<byte[]> Keys { get; } = [];

    internal string State { get; set; } = "";

    internal bool GivesTokens { get; set; }

    internal Action<JsonObject> Lie { get; set; } = static _ => { };

    internal Func<HttpContext, Task>? Fault { get; set; }

    public async ValueTask InitializeAsync()
    {
        server = await WebServer.StartAsync(
            new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" }, answer: AnswerAsync);
        File.WriteAllText(directory.File("account.json"), new JsonObject
        {
            ["type"] = "service_account",
            ["project_id"] = "p",
            ["private_key_id"] = "1",
            ["private_key"] = account.ExportPkcs8PrivateKeyPem(),
            ["client_email"] = Account,
            ["token_uri"] = $"{Url}token",
        }.ToJsonString());
        Environment.SetEnvironmentVariable("GOOGLE_APPLICATION_CREDENTIALS", directory.File("account.json"));
    }

    public async ValueTask DisposeAsync()
    {
        await server.DisposeAsync();
        account.Dispose();
        directory.Dispose();
    }

    internal void Reset()
    {
        Keys.Clear();
        Keys.Add(RandomNumberGenerator.GetBytes(32));
        (State, GivesTokens, Lie, Fault) = ("ENABLED", true, static _ => { }, null);
    }

    // google.rpc.Status, as Google's APIs give it.
    internal static async Task RefuseAsync(HttpContext context, int status, string word, string message)
    {
        context.Response.StatusCode = status;
        if (status == 429)
            context.Response.Headers.RetryAfter = "7";
        await context.Response.WriteAsync(new JsonObject
        {
            ["error"] = new JsonObject { ["code"] = status, ["message"] = message, ["status"] = word },
        }.ToJsonString());
    }

    // By the polynomial, as RFC 3720 states it: not as Coffer does it.
    internal static string Crc32C(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var value in bytes)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ (0x82F6_3B78 & (uint)-(int)(crc & 1));
        }

        return (~crc).ToString(CultureInfo.InvariantCulture);
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        if (path == "/token")
        {
            await GiveTokenAsync(context);
            return;
        }

        Assert.Equal($"Bearer {Token}", (string?)context.Request.Headers.Authorization);
        if (Fault is { } fault)
        {
            await fault(context);
            return;
        }

        if (path == $"/v1/{Key}/cryptoKeyVersions")
        {
            await ListAsync(context);
            return;
        }

        var body = (await JsonNode.ParseAsync(context.Request.Body))!;
        var bound = Bytes(body, "additionalAuthenticatedData");
        Assert.Equal(("POST", "application/json"), (context.Request.Method, context.Request.ContentType));
        var answer = path switch
        {
            $"/v1/{Key}:encrypt" => Encrypt(Bytes(body, "plaintext"), bound),
            $"/v1/{Key}:decrypt" => Decrypt(Bytes(body, "ciphertext"), bound),
            _ => throw new InvalidOperationException(path),
        };
        if (answer is null)
        {
            await RefuseAsync(context, 400, "INVALID_ARGUMENT", "Decryption failed.");
            return;
        }

        Lie(answer);
        await context.Response.WriteAsync(answer.ToJsonString());
    }

    private static byte[] Bytes(JsonNode body, string field)
    {
        var bytes = Convert.FromBase64String((string)body[field]!);
        Assert.Equal(Crc32C(bytes), (string?)body[$"{field}Crc32c"]);
        return bytes;
    }

    private JsonObject Encrypt(byte[] plaintext, byte[] bound)
    {
        var (nonce, tag, text) = (RandomNumberGenerator.GetBytes(12), new byte[16], new byte[plaintext.Length]);
        using var gcm = new AesGcm(Keys[^1], 16);
        gcm.Encrypt(nonce, plaintext, text, tag, bound);
        var version = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(version, Keys.Count);
        byte[] all = [.. version, .. nonce, .. text, .. tag];
        return new JsonObject
        {
            ["name"] = $"{Key}/cryptoKeyVersions/{Keys.Count}",
            ["ciphertext"] = Convert.ToBase64String(all),
            ["ciphertextCrc32c"] = Crc32C(all),
            ["verifiedPlaintextCrc32c"] = true,
            ["verifiedAdditionalAuthenticatedDataCrc32c"] = true,
            ["protectionLevel"] = "SOFTWARE",
        };
    }

    private JsonObject? Decrypt(byte[] all, byte[] bound)
    {
        var plaintext = new byte[all.Length - 32];
        try
        {
            using var gcm = new AesGcm(Keys[BinaryPrimitives.ReadInt32BigEndian(all) - 1], 16);
            gcm.Decrypt(all[4..16], all[16..^16], all[^16..], plaintext, bound);
        }
        catch (CryptographicException)
        {
            return null;
        }

        return new JsonObject
        {
            ["plaintext"] = Convert.ToBase64String(plaintext),
            ["plaintextCrc32c"] = Crc32C(plaintext),
            ["usedPrimary"] = true,
            ["protectionLevel"] = "SOFTWARE",
        };
    }

    private async Task ListAsync(HttpContext context)
    {
        Assert.Equal(("GET", "20", "state=DISABLED OR state=DESTROY_SCHEDULED"), (context.Request.Method,
            (string?)context.Request.Query["pageSize"], (string?)context.Request.Query["filter"]));
        if (State == "denied")
        {
            await RefuseAsync(context, 403, "PERMISSION_DENIED", "no");
            return;
        }

        var version = new JsonObject { ["name"] = $"{Key}/cryptoKeyVersions/1", ["state"] = State };
        if (State == "DESTROY_SCHEDULED")
            version["destroyTime"] = "2026-12-24T10:00:00.5Z";
        var answer = State == "ENABLED" ? [] : new JsonObject { ["cryptoKeyVersions"] = new JsonArray(version) };
        await context.Response.WriteAsync(answer.ToJsonString());
    }

    // "Using OAuth 2.0 for Server to Server Applications": a JWT that is signed by the account's key.
    private async Task GiveTokenAsync(HttpContext context)
    {
        var form = await context.Request.ReadFormAsync();
        Assert.Equal("urn:ietf:params:oauth:grant-type:jwt-bearer", (string?)form["grant_type"]);
        var parts = ((string)form["assertion"]!).Split('.');
        Assert.True(account.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"),
            System.Buffers.Text.Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1));
        var claims = JsonNode.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(parts[1]))!;
        Assert.Equal((Account, "https://oauth2.googleapis.com/token", "https://www.googleapis.com/auth/cloudkms"),
            ((string?)claims["iss"], (string?)claims["aud"], (string?)claims["scope"]));
        context.Response.StatusCode = GivesTokens ? 200 : 400;
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(GivesTokens
            ? $$"""{"access_token":"{{Token}}","expires_in":3600,"token_type":"Bearer"}"""
            : """{"error":"invalid_grant","error_description":"Invalid JWT Signature."}""");
    }
}
