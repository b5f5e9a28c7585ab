using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>What a backend hands to a browser: how it is minted, what it reaches, how it ends.</summary>
public sealed class EphemeralKeysTests : ServerTests
{
    private const string ForSession = "more_permissions_required_for_session";

    private const string Secrets = "/v1/apps/secrets";

    private TestServer.Caller Client => Server.Client(account: "acct_1");

    [Fact]
    public async Task A_mint_gives_a_key_for_one_user_of_one_account_for_an_hour()
    {
        var minted = (await Client.Post(Ephemeral, [("user", "usr_1")])).IsOk();
        Assert.Equal($$"""
            {
              "id": "{{minted.Id}}",
              "object": "ephemeral_key",
              "account": "acct_1",
              "created": {{Server.Time.Seconds}},
              "expires": {{Server.Time.Seconds + 3_600}},
              "livemode": false,
              "permissions": [
                "secret_read",
                "secret_write"
              ],
              "secret": "{{minted.Json.Secret()}}",
              "user": "usr_1"
            }

            """, minted.Text);
        Assert.Matches("^ephkey_[0-9A-Za-z]{33}$", minted.Id);
        Assert.Matches("^ek_test_cfr[0-9A-Za-z_-]+$", minted.Json.Secret());
        Assert.DoesNotContain("usr_1", minted.Json.Secret(), StringComparison.Ordinal);
        var live = (await Server.Client(Server.Keys.LiveSecretKey).Post(Ephemeral, [("user", "usr_1")])).IsOk().Json;
        Assert.Matches("^ek_live_cfr", live.Secret());
        Assert.True((bool)live["livemode"]!);
        Assert.NotEqual(minted.Id, (await Client.Post(Ephemeral, [("user", "usr_1")])).IsOk().Id);
    }

    [Theory]
    [InlineData("", "parameter_missing", "user")]
    [InlineData("user=", "parameter_invalid_empty", "user")]
    [InlineData("user[]=usr_1", null, "user")]
    [InlineData("user=usr_1&user=usr_2", null, "user")]
    [InlineData("user=%FF", null, "user")]
    [InlineData("user=%ED%A0%80", null, "user")] // half of a surrogate pair
    [InlineData("user=LONG", null, "user")]
    [InlineData("user=u&expires_in=59", "parameter_invalid_integer", "expires_in")]
    [InlineData("user=u&expires_in=86401", "parameter_invalid_integer", "expires_in")]
    [InlineData("user=u&expires_in=-60", "parameter_invalid_integer", "expires_in")]
    [InlineData("user=u&expires_in=1h", "parameter_invalid_integer", "expires_in")]
    [InlineData("user=u&permissions=", null, "permissions")]
    [InlineData("user=u&permissions[]=secret_delete", null, "permissions")]
    [InlineData("user=u&account=acct_2", "parameter_unknown", "account")]
    [InlineData("user=u&livemode=true", "parameter_unknown", "livemode")]
    public async Task Bad_input_names_the_parameter(string form, string? code, string param) =>
        (await Client.Raw(HttpMethod.Post, Ephemeral,
            form.Replace("LONG", new string('u', 501), StringComparison.Ordinal))).IsError(400, code, param);

    [Theory]
    [InlineData("60")]
    [InlineData("86400")]
    public async Task A_key_lives_as_long_as_it_was_asked_to_and_not_a_second_more(string life)
    {
        var seconds = int.Parse(life, CultureInfo.InvariantCulture);
        var minted = (await Client.Post(Ephemeral, [("user", "usr_1"), ("expires_in", life)])).IsOk().Json;
        Assert.Equal(Server.Time.Seconds + seconds, (long)minted["expires"]!);
        Server.Time.Move(TimeSpan.FromSeconds(seconds) - TimeSpan.FromMilliseconds(1));
        (await Server.Client(minted.Secret()).List("usr_1")).IsOk();
        Server.Time.Move(TimeSpan.FromMilliseconds(1));
        (await Server.Client(minted.Secret()).List("usr_1")).IsError(401, "api_key_expired", null);
        (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{minted.Id()}", null)).IsOk();
        (await Server.Client(minted.Secret()).List("usr_1")).IsError(401, "api_key_expired", null);
    }

    [Theory]
    [InlineData("u")]
    [InlineData("𝄞")]
    [InlineData("a\0b\u2028\u202e\u200d ")]
    [InlineData("caf\u00e9")]
    [InlineData("cafe\u0301")]
    public async Task Any_user_of_up_to_500_characters_is_told_apart(string user)
    {
        foreach (var id in (string[])[
            user,
            string.Concat(Enumerable.Repeat(user, 500)).EnumerateRunes().Take(500)
                .Aggregate("", (text, rune) => text + rune)])
        {
            var minted = (await Client.Post(Ephemeral, [("user", id)])).IsOk().Json;
            Assert.Equal(id, (string?)minted["user"]);
            var browser = Server.Client(minted.Secret());
            (await browser.Set("k", "mine", id)).IsOk();
            Assert.Equal("mine", (await Client.Find("k", id, ("expand[]", "payload"))).IsOk().Payload);
            foreach (var other in (string[])[id + " ", id.ToUpperInvariant() + "!",
                id.Normalize() == id ? id.Normalize(NormalizationForm.FormD) + "\u0301" : id.Normalize()])
                (await browser.Find("k", other)).IsError(403, ForSession, "scope[user]");
        }
    }

    [Fact]
    public async Task Only_secret_keys_mint_and_revoke()
    {
        var app = await Server.AppIdAsync();
        var minted = (await Client.Post(Ephemeral, [("user", "usr_1")])).IsOk().Json;
        foreach (var token in (string[])[
            (await Server.NewKeyAsync("restricted", app, ("permissions[]", "secret_read"),
                ("permissions[]", "secret_write"))).Secret(), minted.Secret(), Server.Keys.AdminKey!])
        {
            (await Server.Client(token).Post(Ephemeral, [("user", "usr_1")])).IsError(403, null, null);
            (await Server.Client(token).Raw(HttpMethod.Delete, $"{Ephemeral}/{minted.Id()}",
                null)).IsError(403, null, null);
        }

        (await Server.Client(minted.Secret()).List()).IsOk();
    }

    [Fact]
    public async Task A_key_is_taken_as_Bearer_and_Basic_however_long_its_user_is()
    {
        foreach (var user in (string[])["u", string.Concat(Enumerable.Repeat("𝄞", 500))])
        {
            var token = await Server.MintAsync(user, "acct_1");
            foreach (var authorization in (string[])[
                $"Bearer {token}", $"Basic {token}", $"Basic {token}:",
                    $"Basic {Convert.ToBase64String(Encoding.ASCII.GetBytes($"{token}:"))}",
                $"Basic {Convert.ToBase64String(Encoding.ASCII.GetBytes($"{token}:any password"))}"])
            {
                var request = new HttpRequestMessage(HttpMethod.Get,
                    new Uri($"{Secrets}?scope[type]=account", UriKind.Relative));
                Assert.True(request.Headers.TryAddWithoutValidation("Authorization", authorization));
                (await Server.SendAsync(request)).IsOk();
            }
        }
    }

    [Fact]
    public async Task The_account_is_the_keys_alone()
    {
        await Client.Set("k", "one");
        await Server.Client(account: "acct_2").Set("k", "two");
        var token = await Server.MintAsync("usr_1", "acct_1");
        Assert.Equal("one", (await Server.Client(token).Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("one",
            (await Server.Client(token, "acct_1").Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        (await Server.Client(token, "acct_2").Find("k")).IsError(403, "account_invalid", null);
        (await Server.Client(token, "acct 2").Find("k")).IsError(400, null, "Stripe-Account");
        await Server.Client().Set("k", "the app's own");
        var own = (string)(await Server.Client().Post(Ephemeral, [("user", "usr_1")])).IsOk().Json["account"]!;
        (await Server.Client(token, own).Find("k")).IsError(403, "account_invalid", null);
        var request = new HttpRequestMessage(HttpMethod.Get,
            new Uri($"{Secrets}?scope[type]=account", UriKind.Relative));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        request.Headers.Add("Stripe-Context", "acct_2");
        (await Server.SendAsync(request)).IsError(403, "account_invalid", null);
    }

    [Fact]
    public async Task It_reaches_the_account_and_its_own_user_and_cannot_tell_whether_others_have_anything()
    {
        await Client.Set("k", "shared");
        await Client.Set("k", "mine", "usr_1");
        await Client.Set("k", "another's", "usr_2");
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        Assert.Equal("shared", (await browser.Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("mine", (await browser.Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        (await browser.Set("k", "new", "usr_1")).IsOk();
        Assert.Equal(["k"], (await browser.List("usr_1")).IsOk().Names);

        foreach (var ask in (Func<string, Task<Answer>>[])[
            user =>
                browser.Find("k", user), user =>
                    browser.Find("k", user, ("expand[]", "payload")), user =>
                        browser.List(user), user => browser.Set("k", "p", user),
            user =>
                browser.Delete("k", user), user =>
                    browser.Set("k", "p", user, ("if_version", "7")), user =>
                        browser.List(user, ("starting_after", "appsecret_none"))])
        {
            var stored = (await ask("usr_2")).IsError(403, ForSession, "scope[user]");
            Assert.Equal(stored.Text, (await ask("usr_3")).IsError(403, ForSession, "scope[user]").Text);
        }

        Assert.Equal("another's", (await Client.Find("k", "usr_2", ("expand[]", "payload"))).Payload);
        (await browser.Delete("k", "usr_1")).IsOk();
    }

    [Theory]
    [InlineData("scope[type]=user&scope[user]=usr_1&scope[user]=usr_2", 400, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=usr_1&scope%5Buser%5D=usr_2", 400, "scope[user]")]
    [InlineData("scope[type]=user&scope%5Buser%5D=usr_2", 403, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=%75sr_2", 403, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=usr_1%20", 403, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=usr_1%00", 403, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=USR_1", 403, "scope[user]")]
    [InlineData("scope[type]=user&scope[user][]=usr_2", 400, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=usr_1&scope[user][]=usr_2", 400, "scope[user]")]
    [InlineData("scope[type]=user&scope[User]=usr_2&scope[user]=usr_1", 400, "scope[User]")]
    [InlineData("scope[type]=user", 400, "scope[user]")]
    [InlineData("scope[type]=account&scope[user]=usr_2", 400, "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=%75sr_1", 200, null)]
    public async Task Another_user_cannot_be_slipped_in(string form, int status, string? param)
    {
        foreach (var user in (string[])["usr_1", "usr_2", "USR_1", "usr_1 ", "usr_1\0"])
            await Client.Set("k", $"of {user}", user);
        var browser = Server.Client(await Server.MintAsync("usr_1", "acct_1"));
        foreach (var answer in (Answer[])[
            await browser.Raw(HttpMethod.Get, $"{Secrets}/find?{form}&name=k&expand[]=payload",
                null), await browser.Raw(HttpMethod.Get, $"{Secrets}?{form}&expand[]=data.payload", null),
            await browser.Raw(HttpMethod.Post, Secrets, $"{form}&name=k&payload=of+usr_1"), await browser.Raw(
                HttpMethod.Post, $"{Secrets}?{form}", "name=k&payload=of+usr_1"),
            await browser.Raw(HttpMethod.Post, $"{Secrets}/delete?{form}", "name=k&expand[]=payload")])
        {
            Assert.Equal((status, param), (answer.Status, (string?)answer.Json["error"]?["param"]));
            Assert.DoesNotContain("of usr_2", answer.Text, StringComparison.Ordinal);
        }

        (await browser.Raw(HttpMethod.Post, $"{Secrets}?scope[type]=user&scope[user]=usr_1",
            "name=k&payload=p&scope[user]=usr_2")).IsError(400, null, "scope[user]");
        Assert.Equal("of usr_2", (await Client.Find("k", "usr_2", ("expand[]", "payload"))).Payload);
    }

    [Theory]
    [InlineData("application/json", """{"name":"k","payload":"p","scope":{"type":"user","user":"usr_2"}}""")]
    [InlineData("multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"scope[user]\"\r\n\r\nusr_2\r\n--x--")]
    public async Task Nor_can_another_encoding_slip_one_in(string type, string body)
    {
        var request = new HttpRequestMessage(HttpMethod.Post,
            new Uri($"{Secrets}?scope[type]=user&scope[user]=usr_1&name=k&payload=p", UriKind.Relative))
        {
            Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)),
        };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer",
            await Server.MintAsync("usr_1", "acct_1"));
        (await Server.SendAsync(request)).IsError(400, null, null);
    }

    [Fact]
    public async Task Permissions_are_those_it_was_minted_with()
    {
        await Client.Set("k", "p", "usr_1");
        var minted = (await Client.Post(Ephemeral, [("user", "usr_1"), ("permissions[]", "secret_read")])).IsOk().Json;
        Assert.Equal("""["secret_read"]""", minted["permissions"]!.ToJsonString());
        var reader = Server.Client(minted.Secret());
        (await reader.Find("k", "usr_1", ("expand[]", "payload"))).IsOk();
        (await reader.Set("k", "p", "usr_1")).IsError(403, ForSession, null);
        (await reader.Delete("k", "usr_1")).IsError(403, ForSession, null);
        var writer = Server.Client(await Server.MintAsync("usr_1", "acct_1", ("permissions", "secret_write")));
        (await writer.Find("k", "usr_1")).IsError(403, ForSession, null);
        (await writer.List("usr_1")).IsError(403, ForSession, null);
        (await writer.Delete("k", "usr_1", ("expand[]", "payload"))).IsError(403, ForSession, null);
        (await writer.Set("k", "p", "usr_1")).IsOk();
        (await writer.Delete("k", "usr_1")).IsOk();
    }

    [Fact]
    public async Task Idempotency_keys_of_a_browser_are_its_users_own()
    {
        (string, string)[] form = [("scope[type]", "account"), ("name", "k"), ("payload", "p"),
            ("expand[]", "payload")];
        var (one, again, two) = (Server.Client(await Server.MintAsync("usr_1", "acct_1")), Server.Client(
            await Server.MintAsync("usr_1", "acct_1")), Server.Client(await Server.MintAsync("usr_2", "acct_1")));
        (await Client.Post(Secrets, form, "key")).IsOk();
        foreach (var (caller, replays) in ((TestServer.Caller, bool)[])[(one, false), (two, false), (again, true),
            (Client, true), (two, true)])
            Assert.Equal(replays ? "true" : null,
                (await caller.Post(Secrets, form, "key")).IsOk().Header("Idempotent-Replayed"));
        form[2] = ("payload", "q");
        (await again.Post(Secrets, form, "key")).IsError(400, null, null, type: "idempotency_error");
    }

    [Fact]
    public async Task A_mint_is_replayed_with_its_secret_to_the_same_app_mode_and_account_only()
    {
        var minted = (await Client.Post(Ephemeral, [("user", "usr_1")], "key")).IsOk();
        var replay = (await Client.Post(Ephemeral, [("user", "usr_1")], "key")).IsOk();
        Assert.Equal((minted.Text, "true"), (replay.Text, replay.Header("Idempotent-Replayed")));
        (await Client.Post(Ephemeral, [("user", "usr_2")], "key")).IsError(400, null, null, type: "idempotency_error");
        foreach (var other in (TestServer.Caller[])[Server.Client(account: "acct_2"),
            Server.Client(Server.Keys.LiveSecretKey, "acct_1"), Server.Client(Server.OtherAppKey, "acct_1")])
            Assert.Null((await other.Post(Ephemeral, [("user", "usr_1")], "key")).IsOk().Header("Idempotent-Replayed"));
    }
}
