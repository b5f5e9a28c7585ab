using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Checks;
using Coffer.Keys;
using Coffer.Settings;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Keys;

/// <summary>
/// Root keys wrapped by AWS KMS as its API reference has it: a server of the tests' own that proves each request's
/// Signature Version 4, as the signing reference states it, and answers in KMS's form.
/// </summary>
[Trait("Keys", "S19")]
public sealed class AwsKmsWrapperTests : IAsyncLifetime
{
    private const string Arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        AccessKey = "AKIDEXAMPLE", SecretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    private static readonly RootKeyName Name = new(new byte[16], 3);

    private readonly ConcurrentQueue<string> asked = new();
    private readonly byte[] key = RandomNumberGenerator.GetBytes(32);
    private WebServer kms = null!;
    private Func<HttpContext, Task<bool>> fault = static _ => Task.FromResult(false);
    private string answeredKey = Arn;
    private string state = "Enabled";

    public async ValueTask InitializeAsync()
    {
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", AccessKey);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", SecretKey);
        kms = await WebServer.StartAsync(
            new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" }, answer: AnswerAsync);
    }

    public ValueTask DisposeAsync() => kms.DisposeAsync();

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
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"awskms:{Arn}")])).IsOk();
        (await server.Admin.Post("/admin/v1/root_keys/wrappers/remove", [("wrapper", $"{own}")])).IsOk();
        (await server.Client().Set("k")).IsOk();
        await server.StopAsync();
        await server.StartAgainAsync(with: options => options with { RootKey = Settings() });
        (await server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
        (await server.Client().Find("k")).IsOk();
        Assert.Equal(["TrentService.Decrypt", "TrentService.Encrypt"], asked.Distinct().Order());
    }

    [Theory]
    [InlineData("Enabled", Grade.Ok, "every wrapper opens", "")]
    [InlineData("Disabled", Grade.Problem, "the key is not enabled at AWS KMS, but Disabled", "Enable the key")]
    [InlineData("PendingDeletion", Grade.Problem, "about to delete the key on 2026-12-24", "Cancel the deletion")]
    [InlineData("denied", Grade.Warning, "is not known: AWS KMS answered 400 AccessDeniedException", "DescribeKey")]
    internal async Task A_check_asks_for_the_state_of_its_key(string said, Grade grade, string text, string hint)
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        var both = Settings() with
        {
            Urls = [WrapperUrl.Of(Path.Combine(server.Data, "coffer.key")), .. Settings().Urls],
        };
        await server.StartAgainAsync(with: options => options with { RootKey = both });
        (await server.Admin.Post("/admin/v1/root_keys/wrappers", [("wrapper", $"awskms:{Arn}")])).IsOk();
        await server.StopAsync();
        state = said;
        var options = new CofferOptions { Data = server.Data, Store = server.Location.Store, RootKey = both };
        (await Checked.RunAsync(options, server.Time)).AndNothingElseBut("root_keys", "clock", "postgresql")
            .Says(grade, "root_keys", text, hint);
        Assert.Contains("TrentService.DescribeKey", asked);
    }

    [Fact]
    public async Task The_store_and_the_version_are_its_encryption_context()
    {
        var wrapper = Open();
        using var text = SecretBytes.Copy("abc"u8);
        var wrapped = await wrapper.WrapAsync(Name, text, default);
        using var unwrapped = await wrapper.UnwrapAsync(Name, wrapped, default);
        Assert.Equal("abc"u8.ToArray(), unwrapped!.Span.ToArray());
        foreach (var other in (RootKeyName[])[Name with { Version = 4 }, new RootKeyName([.. new byte[15], 1], 3)])
        {
            var refused = await Assert.ThrowsAsync<KeyServiceException>(
                () => wrapper.UnwrapAsync(other, wrapped, default));
            Assert.Contains("InvalidCiphertextException", refused.Message, StringComparison.Ordinal);
            Assert.False(refused.MayPass);
        }
    }

    [Fact]
    public async Task An_answer_for_another_key_is_not_believed()
    {
        answeredKey = Arn.Replace("1234abcd", "ffffffff", StringComparison.Ordinal);
        using var text = SecretBytes.Copy("abc"u8);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(() => Open().WrapAsync(Name, text, default));
        Assert.Contains("answered for another key", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(400, "AccessDeniedException", false)]
    [InlineData(400, "DisabledException", false)]
    [InlineData(400, "KMSInvalidStateException", false)] // it is about to be deleted
    [InlineData(400, "ThrottlingException", true)]
    [InlineData(500, "KMSInternalException", true)]
    [InlineData(503, "DependencyTimeoutException", true)]
    public async Task What_it_refuses_is_said_by_its_name(int status, string type, bool mayPass)
    {
        fault = async context =>
        {
            context.Response.StatusCode = status;
            context.Response.ContentType = "application/x-amz-json-1.1";
            await context.Response.WriteAsync($$"""{"__type":"{{type}}","message":"it says so"}""");
            return true;
        };
        using var text = SecretBytes.Copy("abc"u8);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(() => Open().WrapAsync(Name, text, default));
        Assert.Contains($"answered {status} {type}: it says so", refused.Message, StringComparison.Ordinal);
        Assert.Equal(mayPass, refused.MayPass);
        Assert.DoesNotContain(SecretKey, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_service_that_is_slow_or_away_may_come_back()
    {
        using var ended = new CancellationTokenSource();
        fault = async _ =>
        {
            await Task.Delay(Timeout.Infinite, ended.Token);
            return true;
        };
        var hasty = KeyWrappers.Open(Settings() with { CallPatience = TimeSpan.FromMilliseconds(400) }).All.Single();
        using (var slow = SecretBytes.Copy("abc"u8))
        {
            var late = await Assert.ThrowsAsync<KeyServiceException>(() => hasty.WrapAsync(Name, slow, default));
            Assert.Contains("has not answered in time", late.Message, StringComparison.Ordinal);
            Assert.True(late.MayPass);
        }

        await ended.CancelAsync();
        await kms.DisposeAsync();
        using var text = SecretBytes.Copy("abc"u8);
        var refused = await Assert.ThrowsAsync<KeyServiceException>(() => Open().WrapAsync(Name, text, default));
        Assert.True(refused.MayPass, refused.Message);
        kms = await WebServer.StartAsync(new CofferOptions { Data = ".", Listen = "http://127.0.0.1:0" });
    }

    [Theory]
    [InlineData("awskms:")]
    [InlineData("awskms:alias/coffer")]
    [InlineData("awskms:arn:aws:s3:eu-central-1:111122223333:key/1")]
    [InlineData("awskms:arn:aws:kms::111122223333:key/1")]
    public void What_is_no_ARN_of_a_key_is_no_wrapper(string url) => Assert.Null(WrapperUrl.Parse(url));

    private KeyWrapper Open() => KeyWrappers.Open(Settings()).All.Single();

    private KeySettings Settings() => new([WrapperUrl.Parse($"awskms:{Arn}")!])
    {
        AwsEndpoint = kms.Url.ToString(),
    };

    private async Task AnswerAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        var target = (string?)context.Request.Headers["X-Amz-Target"] ?? "";
        asked.Enqueue(target);
        var authorization = (string?)context.Request.Headers.Authorization ?? "";
        if (!authorization.EndsWith($"Signature={Signature(context.Request, body.ToArray(), authorization)}",
            StringComparison.Ordinal))
        {
            await RefuseAsync(context, "InvalidSignatureException");
            return;
        }

        if (await fault(context))
            return;
        var asking = JsonNode.Parse(body.ToArray())!;
        if (target == "TrentService.DescribeKey")
        {
            await DescribeAsync(context);
            return;
        }

        var bound = Encoding.UTF8.GetBytes(string.Join('\n', asking["EncryptionContext"]!.AsObject()
            .OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}")));
        Assert.Contains("coffer:store=", Encoding.UTF8.GetString(bound), StringComparison.Ordinal);
        using var gcm = new AesGcm(key, 16);
        var answer = new JsonObject { ["KeyId"] = answeredKey, ["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT" };
        if (target == "TrentService.Encrypt")
        {
            var plaintext = Convert.FromBase64String((string)asking["Plaintext"]!);
            var (nonce, tag) = (RandomNumberGenerator.GetBytes(12), new byte[16]);
            var sealedBytes = new byte[plaintext.Length];
            gcm.Encrypt(nonce, plaintext, sealedBytes, tag, bound);
            answer["CiphertextBlob"] = Convert.ToBase64String([.. nonce, .. sealedBytes, .. tag]);
        }
        else
        {
            var bytes = Convert.FromBase64String((string)asking["CiphertextBlob"]!);
            var plaintext = new byte[bytes.Length - 28];
            try
            {
                gcm.Decrypt(bytes[..12], bytes[12..^16], bytes[^16..], plaintext, bound);
            }
            catch (CryptographicException)
            {
                await RefuseAsync(context, "InvalidCiphertextException");
                return;
            }

            answer["Plaintext"] = Convert.ToBase64String(plaintext);
        }

        context.Response.ContentType = "application/x-amz-json-1.1";
        await context.Response.WriteAsync(answer.ToJsonString());
    }

    // AWS KMS API Reference, "DescribeKey": times are seconds.
    private async Task DescribeAsync(HttpContext context)
    {
        if (state == "denied")
        {
            await RefuseAsync(context, "AccessDeniedException");
            return;
        }

        var shown = new JsonObject
        {
            ["Arn"] = Arn,
            ["KeyId"] = Arn.Split('/')[^1],
            ["Enabled"] = state == "Enabled",
            ["KeyState"] = state,
        };
        if (state == "PendingDeletion")
            shown["DeletionDate"] = 1_798_110_000.5;
        context.Response.ContentType = "application/x-amz-json-1.1";
        await context.Response.WriteAsync(new JsonObject { ["KeyMetadata"] = shown }.ToJsonString());
    }

    private static async Task RefuseAsync(HttpContext context, string type)
    {
        context.Response.StatusCode = 400;
        context.Response.ContentType = "application/x-amz-json-1.1";
        await context.Response.WriteAsync($$"""{"__type":"{{type}}","message":null}""");
    }

    // AWS General Reference, "Create a signed AWS API request".
    private static string Signature(HttpRequest request, byte[] body, string authorization)
    {
        var parts = authorization.Split(", ").Select(part => part.Split('=', 2)).ToDictionary(
            part => part[0].Split(' ')[^1], part => part[1]);
        if (!parts.TryGetValue("Credential", out var credential)
            || credential.Split('/') is not [AccessKey, var date, var region, "kms", "aws4_request"])
            return "none";
        var names = parts["SignedHeaders"].Split(';');
        var canonical = new StringBuilder().Append(request.Method).Append('\n').Append(request.Path).Append("\n\n");
        foreach (var name in names)
            canonical.Append(name).Append(':').Append(((string?)request.Headers[name] ?? "").Trim()).Append('\n');
        canonical.Append('\n').Append(parts["SignedHeaders"]).Append('\n')
            .Append(Convert.ToHexStringLower(SHA256.HashData(body)));
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(canonical.ToString())));
        var text = $"AWS4-HMAC-SHA256\n{request.Headers["X-Amz-Date"]}\n{date}/{region}/kms/aws4_request\n{hash}";
        var signing = Encoding.UTF8.GetBytes($"AWS4{SecretKey}");
        foreach (var step in (string[])[date, region, "kms", "aws4_request", text])
            signing = HMACSHA256.HashData(signing, Encoding.UTF8.GetBytes(step));
        return Convert.ToHexStringLower(signing);
    }
}
