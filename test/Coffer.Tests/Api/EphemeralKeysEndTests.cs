using System.Net.Sockets;
using System.Text;
using Coffer.Crypto;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>How ephemeral keys end before their time, and that no other token passes for one.</summary>
public sealed class EphemeralKeysEndTests : ServerTests
{
    private TestServer.Caller Client => Server.Client(account: "acct_1");

    [Fact]
    public async Task A_revoked_key_is_refused_at_once_and_revoking_it_again_is_no_error()
    {
        var (one, other) = (await NewAsync(), await NewAsync());
        (await Server.Client(one.Secret).List()).IsOk();
        var revoked = (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{one.Id}", null)).IsOk();
        Assert.Equal($$"""
            {
              "id": "{{one.Id}}",
              "object": "ephemeral_key",
              "account": "acct_1",
              "created": {{Server.Time.Seconds}},
              "expires": {{Server.Time.Seconds + 3_600}},
              "livemode": false
            }

            """, revoked.Text);
        (await Server.Client(one.Secret).List()).IsError(401, null, null);
        (await Server.Client(other.Secret).List()).IsOk();
        Assert.Equal(revoked.Text, (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{one.Id}", null)).IsOk().Text);

        await Server.StopAsync();
        await Server.StartAgainAsync();
        (await Server.Client(one.Secret).List()).IsError(401, null, null);
        (await Server.Client(other.Secret).List()).IsOk();
    }

    [Fact]
    public async Task A_key_of_another_app_mode_or_account_is_not_there()
    {
        var (id, secret) = await NewAsync();
        foreach (var other in (TestServer.Caller[])[Server.Client(), Server.Client(account: "acct_2"),
            Server.Client(Server.Keys.LiveSecretKey, "acct_1"), Server.Client(Server.OtherAppKey, "acct_1")])
            (await other.Raw(HttpMethod.Delete, $"{Ephemeral}/{id}", null)).IsError(404, "resource_missing", "id",
                $"No such ephemeral key: '{id}'");
        (await Server.Client(secret).List()).IsOk();

        string[] garbage = [
            "x", "ephkey_", id[..^1], id + "0", "ephkey_" + new string('z', 33), id[..^1] + (id[^1] == '0' ? '1' : '0'),
            "ephkey_" + (id[7] == '0' ? '1' : '0') + id[8..], id.ToUpperInvariant()];
        foreach (var text in garbage)
            (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{text}", null)).IsError(404, "resource_missing", "id");
        (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{secret}", null)).IsError(404,
            secret.Length > 255 ? null : "resource_missing", secret.Length > 255 ? null : "id");
        (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/", null)).IsError(404, null, null);
        (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{id}?x=y", null)).IsError(400, "parameter_unknown", "x");
    }

    [Fact]
    public async Task A_request_that_was_under_way_mints_nothing_for_a_key_that_was_revoked_meanwhile()
    {
        // The body comes after the key was revoked, at a later second.
        var minting = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        var text = await HoldAsync(minting.Secret(), Ephemeral, "user=usr_1", minting.Id());
        Assert.StartsWith("HTTP/1.1 401", text, StringComparison.Ordinal);
        Assert.DoesNotContain("ek_test_", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nor_does_it_reveal_or_set_anything()
    {
        var id = (await Client.Set("k", "canary")).Id;
        var admin = await Server.NewKeyAsync("admin", null);
        var text = await HoldAsync(admin.Secret(), $"{await Server.AccountAsync("acct_1")}/secrets/{id}/reveal",
            "reason=r", admin.Id());
        Assert.StartsWith("HTTP/1.1 401", text, StringComparison.Ordinal);
        var secret = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        Assert.StartsWith(
            "HTTP/1.1 401",
            await HoldAsync(secret.Secret(), "/v1/apps/secrets", "scope[type]=account&name=late&payload=p",
                secret.Id()),
            StringComparison.Ordinal);
        (await Server.Client().Find("late")).IsError(404, "resource_missing", "name");
    }

    [Fact]
    public async Task Nor_does_it_make_a_key_for_an_admin_key_that_was_revoked_meanwhile()
    {
        var admin = await Server.NewKeyAsync("admin", null);
        var text = await HoldAsync(admin.Secret(), KeysPath, "type=admin", admin.Id());
        Assert.StartsWith("HTTP/1.1 401", text, StringComparison.Ordinal);
        Assert.Single((await Server.Admin.Get(KeysPath)).IsOk().Json["data"]!.AsArray(),
            key => (string?)key!["type"] == "admin");
    }

    [Fact]
    public async Task A_deleted_apps_keys_are_refused_and_a_disabled_ones_too_even_when_it_is_enabled()
    {
        var app = await Server.NewAppAsync();
        var token = (await Server.Client((await Server.NewKeyAsync("secret", app)).Secret()).Post(Ephemeral,
            [("user", "usr_1")])).IsOk().Json.Secret();
        (await Server.Admin.Post($"{Apps}/{app}", [("disabled", "true")])).IsOk();
        (await Server.Client(token).List()).IsError(403, null, null);
        (await Server.Admin.Post($"{Apps}/{app}", [("disabled", "false")])).IsOk();
        (await Server.Client(token).List()).IsError(401, null, null);
        (await Server.Admin.Raw(HttpMethod.Delete, $"{Apps}/{app}", null)).IsOk();
        (await Server.Client(token).List()).IsError(401, null, null);
        (await Server.Client(token).Set("k", "p", "usr_1")).IsError(401, null, null);
    }

    [Fact]
    public async Task A_token_of_which_any_character_was_changed_is_refused()
    {
        var (_, token) = await NewAsync();
        foreach (var at in Enumerable.Range(0, token.Length).Where(
            at => at < 20 || at % 7 == 0 || at >= token.Length - 8))
        {
            var other = token[at] == 'A' ? 'B' : 'A';
            (await Server.Client(token[..at] + other + token[(at + 1)..]).List()).IsError(401, null, null);
        }

        foreach (var text in (string[])[token[..^1], token + "A", token[..^7], "ek_test_", "ek_test_cfr",
            "ek_test_cfr000000", "ek_x", token + token])
            (await Server.Client(text).List()).IsError(401, null, null);
        (await Server.Client(token).List()).IsOk();
    }

    [Fact]
    public async Task A_token_that_was_edited_with_a_right_checksum_is_refused_in_every_byte()
    {
        var (_, token) = await NewAsync();
        var envelope = Tokens.Unseal("ek_test_", token)!;
        Assert.Equal(token, Tokens.Seal("ek_test_", envelope));
        for (var at = 0; at < envelope.Length; at += 3)
        {
            envelope[at] ^= (byte)(1 << (at % 8));
            (await Server.Client(Tokens.Seal("ek_test_", envelope)).List()).IsError(401, null, null);
            envelope[at] ^= (byte)(1 << (at % 8));
        }

        (await Server.Client(Tokens.Seal("ek_test_", envelope.AsSpan(..^1))).List()).IsError(401, null, null);
        (await Server.Client(Tokens.Seal("ek_test_", [])).List()).IsError(401, null, null);
        // A test key does not become a live one.
        (await Server.Client(Tokens.Seal("ek_live_", envelope)).List()).IsError(401, null, null);
    }

    [Fact]
    public async Task Another_stores_token_is_refused()
    {
        await using var other = await TestServer.StartAsync(isOther: true);
        var (_, token) = await NewAsync();
        (await other.Client(token).List()).IsError(401, null, null);
        (await Server.Client(token).List()).IsOk();
    }

    [Fact]
    public async Task Test_and_live_never_meet()
    {
        await Client.Set("k", "test", "usr_1");
        var live = (await Server.Client(Server.Keys.LiveSecretKey, "acct_1").Post(Ephemeral,
            [("user", "usr_1")])).IsOk().Json;
        (await Server.Client(live.Secret()).Find("k", "usr_1")).IsError(404, "resource_missing", "name");
        (await Server.Client(live.Secret()).Set("k", "live", "usr_1")).IsOk();
        Assert.Equal(
            "test",
            (await Server.Client(await Server.MintAsync("usr_1", "acct_1")).Find("k", "usr_1",
                ("expand[]", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task A_token_is_neither_in_the_files_nor_in_the_log_and_its_id_is_on_record()
    {
        var (id, token) = await NewAsync();
        (await Server.Client(token).Set("k", "p", "usr_canary")).IsOk();
        (await Client.Raw(HttpMethod.Delete, $"{Ephemeral}/{id}", null)).IsOk();
        var log = (await Server.Admin.Get("/admin/v1/audit", ("account", "acct_1"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(["revoke_key", "set", "mint_key"], log.Select(entry => (string?)entry!["verb"]));
        Assert.Equal((id, id, id), ((string?)log[0]!["target"], (string?)log[1]!["key"], (string?)log[2]!["target"]));
        await Server.StopAsync();
        Assert.False(Server.IsInFiles(Encoding.ASCII.GetBytes(token)));
        Assert.False(Server.IsInFiles("usr_canary"u8));
    }

    private async Task<(string Id, string Secret)> NewAsync()
    {
        var minted = (await Client.Post(Ephemeral, [("user", "usr_canary")])).IsOk().Json;
        return (minted.Id(), minted.Secret());
    }

    /// <summary>Sends a request up to its body, revokes its key, lets a second go by and sends the rest.</summary>
    private async Task<string> HoldAsync(string token, string path, string body, string keyId)
    {
        using var connection = new TcpClient();
        await connection.ConnectAsync(Server.Url.Host, Server.Url.Port, TestContext.Current.CancellationToken);
        await using var stream = connection.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"POST {path} HTTP/1.1\r\nHost: {Server.Url.Authority}\r\nConnection: close\r\nAuthorization: Bearer "
                + $"{token}\r\n" +
            "Expect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
                + $"{body.Length}\r\n\r\n"), TestContext.Current.CancellationToken);
        // The server asks for the body once it has proven the key.
        var buffer = new byte[25];
        await stream.ReadExactlyAsync(buffer, TestContext.Current.CancellationToken);
        Assert.Equal("HTTP/1.1 100 Continue\r\n\r\n", Encoding.ASCII.GetString(buffer));

        (await Server.Admin.Post($"{KeysPath}/{keyId}/revoke", [])).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        await stream.WriteAsync(Encoding.ASCII.GetBytes(body), TestContext.Current.CancellationToken);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return await reader.ReadToEndAsync(TestContext.Current.CancellationToken);
    }
}
