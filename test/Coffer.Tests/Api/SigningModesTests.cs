using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Settings;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>Each mode signs with a secret of its own: what a test key signs is worth nothing in live mode.</summary>
[Trait("Firm ground", "4")]
public sealed class SigningModesTests : ServerTests
{
    private const string Path = "/v1/apps/app_embedded_backend_signature";

    [Fact]
    public async Task A_signature_of_one_mode_does_not_verify_in_the_other()
    {
        var (test, live) = (await SignatureAsync(livemode: false), await SignatureAsync(livemode: true));
        Assert.True(Verifies(test, Server.Keys.SigningSecretTest!));
        Assert.False(Verifies(test, Server.Keys.SigningSecretLive!));
        Assert.True(Verifies(live, Server.Keys.SigningSecretLive!));
        Assert.False(Verifies(live, Server.Keys.SigningSecretTest!));
    }

    [Fact]
    public async Task Rolling_the_secret_of_one_mode_leaves_the_other_alone()
    {
        var roll = $"{Operator.Apps}/{await Server.AppIdAsync()}/signing_secret/roll";
        var test = (await Server.Admin.Post(roll, [("grace_period", "60")])).IsOk().Json;
        Assert.False(test.AsObject().ContainsKey("signing_secret_live"));
        Assert.True(Verifies(await SignatureAsync(livemode: true), Server.Keys.SigningSecretLive!));
        var inGrace = await SignatureAsync(livemode: false);
        Assert.True(Verifies(inGrace, Server.Keys.SigningSecretTest!));
        Assert.True(Verifies(inGrace, (string)test["signing_secret_test"]!));

        var live = (await Server.Admin.Post(roll, [("grace_period", "0"), ("livemode", "true")])).IsOk().Json;
        Assert.False(live.AsObject().ContainsKey("signing_secret_test"));
        Assert.False(Verifies(await SignatureAsync(livemode: true), Server.Keys.SigningSecretLive!));
        Assert.True(Verifies(await SignatureAsync(livemode: true), (string)live["signing_secret_live"]!));
        Assert.True(Verifies(await SignatureAsync(livemode: false), (string)test["signing_secret_test"]!));

        var rolls = await EntriesAsync("roll_signing_secret");
        Assert.Equal(["live", "test"], rolls.Select(entry => (string?)entry!["mode"]));
    }

    [Fact]
    public async Task A_mode_without_a_secret_answers_an_error_of_its_own_that_names_the_command()
    {
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.ResealAppAsync(app, fields => StoreEdits.Only(fields, 1, 2, 3, 4)); // as the version before does
        await Server.StartAgainAsync();

        var browser = await BrowserAsync(livemode: false);
        (await browser.Get(Path)).IsError(400, "signing_secret_missing", null,
            "The app has no signing secret for test mode. " +
            $"Ask the operator to create one: coffer apps roll-signing-secret {app} --grace 0");
        Assert.True(Verifies(await SignatureAsync(livemode: true), Server.Keys.SigningSecretLive!));
        (await Server.Client().Set("k")).IsOk(); // nothing else is lost with it
        Assert.Equal((1, 0), Counts((await Server.Admin.Get($"{Operator.Apps}/{app}")).IsOk().Json));

        await Server.Admin.Post($"{Operator.Apps}/{app}/signing_secret/roll", [("grace_period", "0")]);
        Assert.StartsWith("t=", (string?)(await browser.Get(Path)).IsOk().Json["signature"], StringComparison.Ordinal);
        Assert.Equal((1, 1), Counts((await Server.Admin.Get($"{Operator.Apps}/{app}")).IsOk().Json));

        static (int, int) Counts(JsonNode app) =>
            ((int)app["signing_secrets"]!["live"]!, (int)app["signing_secrets"]!["test"]!);
    }

    [Fact]
    public async Task Live_mode_without_a_secret_names_the_command_with_its_flag()
    {
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.ResealAppAsync(app, fields => StoreEdits.Only(fields, 6));
        await Server.StartAgainAsync();
        var browser = await BrowserAsync(livemode: true);
        var refused = (await browser.Get(Path)).IsError(400, "signing_secret_missing", null);
        var command = $"coffer apps roll-signing-secret {app} --live --grace 0";
        Assert.Contains(command, refused.Text, StringComparison.Ordinal);
        Assert.True(Verifies(await SignatureAsync(livemode: false), Server.Keys.SigningSecretTest!));
    }

    [Fact]
    public async Task A_program_of_before_sees_the_live_secret_and_takes_no_other_for_one()
    {
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.ResealAppAsync(app, fields =>
        {
            // It looks for all fields of tag 4, and skips tags that it does not know.
            var secrets = Tlv.All(fields, 4).Select(at => Encoding.ASCII.GetString(fields[at][8..]));
            Assert.Equal([Server.Keys.SigningSecretLive], secrets);
            return fields;
        });
    }

    [Fact]
    public async Task Every_signing_is_in_the_audit_log_with_who_asked_and_in_which_mode()
    {
        var signed = (await (await BrowserAsync(livemode: true)).Get(Path)).IsOk();
        var entry = (await EntriesAsync("sign"))[0]!;
        Assert.Equal(("sign", "ok", "live", "acct_1", "user", "127.0.0.1", signed.Header("Request-Id")),
            ((string?)entry["verb"], (string?)entry["outcome"], (string?)entry["mode"], (string?)entry["account"],
            (string?)entry["scope"], (string?)entry["remote"], (string?)entry["request"]));
        Assert.StartsWith("ephkey_", (string?)entry["key"], StringComparison.Ordinal);
        Assert.DoesNotContain("usr_1", entry.ToJsonString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Refused_signings_are_in_the_audit_log_too()
    {
        var browser = await BrowserAsync(livemode: false);
        (await browser.Get(Path, ("payload", "{\"user_id\":\"usr_2\"}"))).IsError(400, null, "payload");
        (await browser.Get(Path, ("payload", "no json"))).IsError(400, null, "payload");
        (await Server.Client().Get(Path)).IsError(403, null, null);
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        await Server.ResealAppAsync(app, fields => StoreEdits.Only(fields, 4));
        await Server.StartAgainAsync();
        (await browser.Get(Path)).IsError(400, "signing_secret_missing", null);
        Assert.Equal(["signing_secret_missing", "wrong_kind_of_key", "payload_refused", "payload_refused"],
            (await EntriesAsync("sign")).Select(entry => (string?)entry!["outcome"]));
    }

    [Fact]
    public async Task A_signature_that_cannot_be_recorded_is_not_given()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, _, instance) =>
        {
            var closed = new Committer(engine, 10, new Committer.Chain(_ => null, () => { }));
            closed.Dispose();
            using var refusals = new Refusals(Server.Time);
            var policy = new AuditPolicy(Buffered: false, MetadataReads: false);
            var recorder = new Recorder(closed, () => policy, NullLogger<Recorder>.Instance);
            var signatures = new Signatures(new Gate(refusals, recorder, engine), Server.Time);
            var app = App.Create(instance, "a", Server.Time.Seconds).App;
            var tenant = new TenantId(app.Id, Livemode: false, app.Account);
            var caller = new Caller("ephkey_1", KeyKind.Ephemeral, tenant, Origin.Internal)
            {
                App = app,
                User = "usr_1"u8.ToArray(),
            };
            var sign = () => signatures.SignAsync(caller, "{}"u8.ToArray()).AsTask();
            var refused = await Assert.ThrowsAsync<ApiError>(sign);
            Assert.Equal(503, refused.Status);
            return instance;
        });
    }

    [Fact]
    public async Task Dev_makes_a_secret_for_test_mode_at_each_start_and_keeps_what_its_app_was_set_to()
    {
        await using var dev = await TestServer.StartAsync(dev: new CofferOptions.DevOptions(null, SeedFixtures: false));
        var first = dev.Keys.SigningSecretTest!;
        Assert.StartsWith("absec_", first, StringComparison.Ordinal);
        Assert.Null(dev.Keys.SigningSecretLive);
        (await dev.Admin.Post($"{Operator.Apps}/app_dev", [("secrets_per_scope", "3")])).IsOk();
        Assert.True(Verifies(await SignedAsync(dev, dev.Keys.TestSecretKey), first));

        await dev.StopAsync();
        await dev.StartAgainAsync(dev: new CofferOptions.DevOptions(null, SeedFixtures: false));
        var keys = dev.LastKeys!;
        Assert.NotEqual(first, keys.SigningSecretTest);
        var signature = await SignedAsync(dev, keys.TestSecretKey);
        Assert.True(Verifies(signature, keys.SigningSecretTest!));
        Assert.False(Verifies(signature, first));
        var app = (await dev.Client(keys.AdminKey).Get($"{Operator.Apps}/app_dev")).IsOk().Json;
        Assert.Equal(3, (int)app["secrets_per_scope"]!);

        static async Task<string> SignedAsync(TestServer dev, string key)
        {
            var minted = (await dev.Client(key, "acct_1").Post(Ephemeral, [("user", "usr_1")])).IsOk().Json.Secret();
            return (string)(await dev.Client(minted).Get(Path)).IsOk().Json["signature"]!;
        }
    }

    private async Task<TestServer.Caller> BrowserAsync(bool livemode)
    {
        var key = livemode ? Server.Keys.LiveSecretKey : Server.Keys.TestSecretKey;
        var minted = (await Server.Client(key, "acct_1").Post(Ephemeral, [("user", "usr_1")])).IsOk().Json;
        return Server.Client(minted.Secret());
    }

    private async Task<string> SignatureAsync(bool livemode) =>
        (string)(await (await BrowserAsync(livemode)).Get(Path)).IsOk().Json["signature"]!;

    private async Task<JsonArray> EntriesAsync(string verb) =>
        (await Server.Admin.Get("/admin/v1/audit", ("verb", verb))).IsOk().Json["data"]!.AsArray();

    // As a backend does it: any of the signatures may be the one.
    private static bool Verifies(string header, string secret)
    {
        var parts = header.Split(',');
        var message = $"{parts[0][2..]}.{{\"user_id\":\"usr_1\",\"account_id\":\"acct_1\"}}";
        var expected = HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes(message));
        return parts.Contains($"v1={Convert.ToHexStringLower(expected)}");
    }
}
