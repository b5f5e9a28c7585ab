using System.Net.Http.Headers;
using System.Text;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Tests.Api;

/// <summary>Who is let in, and what the others receive (docs/wire.md, "Authentication").</summary>
public sealed class AuthenticationTests : ServerTests
{
    private const string Target = "/v1/apps/secrets?scope[type]=account";

    [Fact]
    public async Task No_key_is_told_how_to_send_one()
    {
        var answer = (await Ask()).IsError(401, null, null,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                + "Bearer auth " +
            $"(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See {Server.Url}docs/errors#authentication for details.");
        Assert.Equal("Bearer realm=\"Coffer\"", answer.Header("WWW-Authenticate"));
        Assert.Matches("^req_[0-9A-Za-z]{14}$", answer.Header("Request-Id"));
        Assert.Null(answer.Header("Stripe-Version"));
    }

    [Theory]
    [InlineData("Bearer")]
    [InlineData("Bearer ")]
    [InlineData("Basic")]
    [InlineData("Basic Og==")] // an empty user name
    [InlineData("Digest x")]
    [InlineData("sk_test_x")]
    [InlineData("Basic !!!")]
    public async Task A_malformed_header_is_refused(string authorization) =>
        (await Ask(authorization)).IsError(401, null, null);

    [Fact]
    public async Task Bearer_and_Basic_and_the_unencoded_Basic_that_Stripe_tolerates_are_taken()
    {
        var key = Server.Keys.TestSecretKey;
        (await Ask($"Bearer {key}")).IsOk();
        (await Ask($"bearer {key}")).IsOk();
        (await Ask("Basic " + Convert.ToBase64String(Encoding.ASCII.GetBytes($"{key}:")))).IsOk();
        (await Ask("Basic " + Convert.ToBase64String(Encoding.ASCII.GetBytes(key)))).IsOk();
        (await Ask($"Basic {key}")).IsOk();
        (await Ask($"Basic {key}:")).IsOk();
    }

    [Fact]
    public async Task Two_Authorization_headers_are_refused_even_if_both_are_good()
    {
        var key = Server.Keys.TestSecretKey;
        (await Ask($"Bearer {key}", $"Bearer {key}")).IsError(401, null, null);
        (await Ask($"Bearer {key}",
            "Basic " + Convert.ToBase64String(Encoding.ASCII.GetBytes($"{key}:")))).IsError(401, null, null);
    }

    [Fact]
    public async Task An_unknown_key_is_shown_by_its_ends_only()
    {
        var key = Tokens.Generate("sk_test_");
        (await Ask($"Bearer {key}")).IsError(401, null, null,
            $"Invalid API Key provided: sk_test_{new string('*', 32)}{key[^4..]}");
        (await Ask("Bearer sk_test_short")).IsError(401, null, null, "Invalid API Key provided: sk_test_*hort");
        (await Ask("Bearer sk_x")).IsError(401, null, null, "Invalid API Key provided: ****");
        (await Ask("Bearer " + new string('a', 10_000))).IsError(401, null, null);
    }

    [Fact]
    public async Task A_publishable_key_is_told_apart() =>
        (await Ask("Bearer pk_test_123")).IsError(401, "secret_key_required", null);

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task A_key_with_a_wrong_checksum_is_refused_without_a_look_up()
    {
        // The store is gone: any look-up fails otherwise than by 401.
        await Server.StopAsync();
        var refusal = await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            using var refusals = new Refusals(Server.Time);
            var (gate, uses) = (new Gate(refusals, null!, engine), new LastUses(committer, Server.Time));
            using var apps = new Apps(engine, instance, new Epoch());
            using var keys = new ApiKeys(engine, instance, apps, uses, gate, Server.Time);
            engine.Dispose();
            File.Delete(Server.StoreFile);
            await Assert.ThrowsAsync<ApiError>(async () =>
                await keys.FindCallerAsync(Server.Keys.TestSecretKey, null, Origin.Internal, default));
            var typo = Server.Keys.TestSecretKey[..^1] + (Server.Keys.TestSecretKey[^1] == '0' ? '1' : '0');
            return (await keys.FindCallerAsync(typo, null, Origin.Internal, default)).Refusal;
        });
        Assert.Equal(401, refusal!.Status);
    }

    [Fact]
    public async Task A_key_is_refused_once_it_has_expired_and_not_before()
    {
        var key = await Server.KeyAsync("secret", livemode: false);
        (await Server.Admin.Post($"/admin/v1/api_keys/{key["id"]}/roll", [("grace_period", "60")])).IsOk();

        (await Server.Client().List()).IsOk(); // within its grace period
        Server.Time.Move(TimeSpan.FromSeconds(59));
        (await Server.Client().List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Server.Client().List()).IsError(401, "api_key_expired", null);
        (await Server.Client(Server.Keys.LiveSecretKey).List()).IsOk();
    }

    [Fact]
    public async Task A_revoked_key_is_refused_at_once_where_it_was_revoked()
    {
        (await Server.Client().List()).IsOk(); // it is cached now
        var key = await Server.KeyAsync("secret", livemode: false);
        (await Server.Admin.Post($"/admin/v1/api_keys/{key["id"]}/revoke", [])).IsOk();
        (await Server.Client().List()).IsError(401, null, null);
        (await Server.Client(Server.OtherAppKey).List()).IsOk();
    }

    [Fact]
    public async Task An_admin_key_never_reaches_secrets()
    {
        var admin = Server.Client(Server.Keys.AdminKey);
        (await admin.List()).IsError(403, null, null);
        (await admin.Find("k")).IsError(403, null, null);
        (await admin.Set("k")).IsError(403, null, null);
        (await admin.Delete("k")).IsError(403, null, null);
    }

    [Fact]
    public async Task Test_and_live_keys_never_see_each_others_secrets()
    {
        var (test, live) = (Server.Client(), Server.Client(Server.Keys.LiveSecretKey));
        await test.Set("k", "test");
        (await live.Find("k")).IsError(404, "resource_missing", "name");
        await live.Set("k", "live");
        Assert.True((bool)(await live.Find("k")).IsOk().Json["livemode"]!);
        Assert.Equal("test", (await test.Find("k", null, ("expand[]", "payload"))).Payload);
        Assert.Equal("live", (await live.Find("k", null, ("expand[]", "payload"))).Payload);
        await test.Delete("k");
        (await live.Find("k")).IsOk();
    }

    private Task<Answer> Ask(params string[] authorization)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, new Uri(Target, UriKind.Relative));
        foreach (var value in authorization)
            Assert.True(request.Headers.TryAddWithoutValidation("Authorization", value));
        return Server.SendAsync(request);
    }
}
