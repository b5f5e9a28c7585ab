using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>The signature that lets a backend trust a browser, verified as the backend does it.</summary>
public sealed class SignatureTests : ServerTests
{
    private const string Path = "/v1/apps/app_embedded_backend_signature";

    [Fact]
    public async Task It_is_over_the_time_and_the_payload_with_the_keys_user_and_account_last()
    {
        var browser = await BrowserAsync("usr_1");
        var answer = (await browser.Get(Path, ("payload", """{"b":1,"a":"x"}"""))).IsOk();
        Assert.Equal("signature", answer.Json.Fields());
        var signed = """{"b":1,"a":"x","user_id":"usr_1","account_id":"acct_1"}""";
        Assert.Equal(Expected(signed), (string?)answer.Json["signature"]);
    }

    [Theory]
    [InlineData(null, "")]
    [InlineData("{}", "")]
    [InlineData(" {\n} ", "\n")]
    [InlineData("""{"a":{"user_id":"nested"}}""", """
        "a":{"user_id":"nested"},
        """)]
    [InlineData("""{"a":[1,2.50,null,true,"\u00e9"],"":0} """, """
        "a":[1,2.50,null,true,"\u00e9"],"":0,
        """)]
    [InlineData("""{"User_id":1,"user_id ":2}""", """
        "User_id":1,"user_id ":2,
        """)]
    public async Task The_payload_stays_as_the_page_wrote_it(string? payload, string head)
    {
        var browser = await BrowserAsync("usr_1");
        var answer = (await browser.Get(Path, payload is null ? [] : [("payload", payload)])).IsOk();
        var signed = $$"""{{{head}}"user_id":"usr_1","account_id":"acct_1"}""";
        Assert.Equal(Expected(signed), (string?)answer.Json["signature"]);
    }

    [Fact]
    public async Task A_user_is_quoted_as_JSON_stringify_does()
    {
        const string User = "é𝄞\"\\/\b\f\n\r\t\u0001\u001f\u007f\u2028<&'";
        const string Quoted = "\"é𝄞\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\u007f\u2028<&'\"";
        Assert.Equal(User, JsonSerializer.Deserialize<string>(Quoted));
        var answer = (await (await BrowserAsync(User)).Get(Path)).IsOk();
        Assert.Equal(Expected($$"""{"user_id":{{Quoted}},"account_id":"acct_1"}"""), (string?)answer.Json["signature"]);
    }

    [Fact]
    public async Task While_a_roll_has_its_grace_both_secrets_sign_newest_first_and_then_one()
    {
        var browser = await BrowserAsync("usr_1");
        var roll = $"{Apps}/{await Server.AppIdAsync()}/signing_secret/roll";
        var (first, second) = (Server.Keys.SigningSecretTest!, await RollAsync("60"));
        Assert.Equal(Signed(second, first), await SignatureAsync());
        Server.Time.Move(TimeSpan.FromSeconds(59));
        Assert.Equal(Signed(second, first), await SignatureAsync());
        Server.Time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal(Signed(second), await SignatureAsync());

        var third = await RollAsync("0");
        Assert.Equal(Signed(third), await SignatureAsync());
        await Server.StopAsync();
        await Server.StartAgainAsync();
        Assert.Equal(Signed(third), await SignatureAsync());

        async Task<string> RollAsync(string grace) =>
            (string)(await Server.Admin.Post(roll, [("grace_period", grace)])).IsOk().Json["signing_secret_test"]!;

        async Task<string> SignatureAsync() => (string)(await browser.Get(Path)).IsOk().Json["signature"]!;

        string Signed(params string[] secrets)
        {
            var signed = $$"""{{Server.Time.Seconds}}.{"user_id":"usr_1","account_id":"acct_1"}""";
            return $"t={Server.Time.Seconds},"
                + string.Join(',', secrets.Select(secret => $"v1={Hmac(secret, signed)}"));
        }
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[]")]
    [InlineData("\"text\"")]
    [InlineData("7")]
    [InlineData("null")]
    [InlineData("{")]
    [InlineData("{}{}")]
    [InlineData("{} // comment")]
    [InlineData("{\"a\":1,}")]
    [InlineData("{a:1}")]
    [InlineData("{\"user_id\":\"usr_2\"}")]
    [InlineData("{\"account_id\":\"acct_2\"}")]
    [InlineData("{\"user\\u005fid\":\"usr_2\"}")]
    [InlineData("{\"\\u0061ccount_id\":null}")]
    [InlineData("{\"a\":1,\"a\":1}")]
    [InlineData("{\"a\":1,\"\\u0061\":2}")]
    [InlineData("{\"n\":{\"a\":1,\"a\":2}}")]
    [InlineData("{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}")]
    public async Task A_payload_that_could_be_read_in_two_ways_is_refused(string payload) =>
        (await (await BrowserAsync("usr_1")).Get(Path, ("payload", payload))).IsError(400, null, "payload");

    [Fact]
    public async Task A_payload_has_at_most_5000_characters()
    {
        var browser = await BrowserAsync("usr_1");
        (await browser.Get(Path, ("payload", Payload(5_000)))).IsOk();
        (await browser.Get(Path, ("payload", Payload(5_001)))).IsError(400, null, "payload");
        (await browser.Get(Path, ("payload", ""))).IsError(400, "parameter_invalid_empty", "payload");

        static string Payload(int length) => $$"""{"a":"{{new string('x', length - 8)}}"}""";
    }

    [Fact]
    public async Task Only_the_signature_may_be_asked_for()
    {
        var browser = await BrowserAsync("usr_1");
        (await browser.Get(Path, ("include_only[]", "signature"))).IsOk();
        (await browser.Get(Path, ("include_only", "signature"))).IsOk();
        (await browser.Get(Path, ("include_only[]", "secret"))).IsError(400, null, "include_only");
        (await browser.Get(Path, ("user_id", "usr_2"))).IsError(400, "parameter_unknown", "user_id");
        (await browser.Post(Path, [])).IsError(404, null, null);
    }

    [Fact]
    public async Task Only_ephemeral_keys_are_signed_for()
    {
        var restricted = await Server.NewKeyAsync("restricted", await Server.AppIdAsync(),
            ("permissions", "secret_read"));
        foreach (var token in (string[])[Server.Keys.TestSecretKey, restricted.Secret(), Server.Keys.AdminKey!])
            (await Server.Client(token).Get(Path)).IsError(
                403, null, null,
                "This request needs an ephemeral key, because it signs the user of the key. Use an ephemeral key of "
                    + "that user (ek_test_… or ek_live_…).");
        (await Server.Client("ek_test_none").Get(Path)).IsError(401, null, null);
        // What the key may do with secrets does not matter.
        (await Server.Client(await Server.MintAsync("usr_1", null, ("permissions", "secret_write"))).Get(Path)).IsOk();
    }

    private async Task<TestServer.Caller> BrowserAsync(string user) =>
        Server.Client(await Server.MintAsync(user, "acct_1"));

    private string Expected(string signed) =>
        $"t={Server.Time.Seconds},v1={Hmac(Server.Keys.SigningSecretTest!, $"{Server.Time.Seconds}.{signed}")}";

    private static string Hmac(string secret, string message) =>
        Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes(message)));
}
