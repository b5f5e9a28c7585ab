using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Secrets;

/// <summary>
/// Someone who can write the database but has no key widens no key's rights and changes no app's settings (SECURITY.md,
/// "What is stored").
/// </summary>
public sealed class ManagementTamperingTests : ServerTests
{
    private string app = null!, keyId = null!, token = null!;

    private TestServer.Caller Client => Server.Client(token);

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
        await Server.Client(account: "acct_1").Set("k", "one");
        await Server.Client(account: "acct_2").Set("k", "two");
        var key = await Server.NewKeyAsync("restricted", app,
            ("permissions", "secret_read"), ("account", "acct_1"), ("addresses[]", "127.0.0.0/8"),
                ("expires_at", $"{Server.Time.Seconds + 1_000}"));
        (keyId, token) = (key.Id(), key.Secret());
        (await Client.Find("k")).IsOk();
    }

    [Theory]
    [InlineData("permissions = 'secret_read,secret_write'")]
    [InlineData("permissions = NULL")]
    [InlineData("permissions = ''")]
    [InlineData("permissions = 'everything'")]
    [InlineData("pinned_account = 'acct_2'")]
    [InlineData("pinned_account = NULL")]
    [InlineData("pinned_account = ''")]
    [InlineData("addresses = NULL")]
    [InlineData("addresses = '0.0.0.0/0'")]
    [InlineData("addresses = 'nonsense'")]
    [InlineData("addresses = addresses || ',0.0.0.0/0'")]
    [InlineData("permissions = NULL, pinned_account = NULL, addresses = NULL")]
    [InlineData("permissions = addresses, addresses = permissions")]
    [InlineData("kind = 'secret'")]
    [InlineData("kind = 'admin', app = NULL")]
    [InlineData("kind = 'unknown'")]
    [InlineData("expires_at = NULL")]
    [InlineData("expires_at = expires_at + 1")]
    [InlineData("livemode = 1")]
    [InlineData("created = created - 1")]
    [InlineData("app = (SELECT id FROM apps WHERE name = 'other')")]
    [InlineData("app = NULL")]
    public async Task An_edited_key_is_worth_nothing_and_cannot_be_rolled_into_a_good_one(string edit)
    {
        await Server.StopAsync();
        Execute($"UPDATE api_keys SET {edit} WHERE id = '{keyId}'");
        await Server.StartAgainAsync();
        foreach (var answer in (Answer[])[
            await Client.Find("k"), await Client.Set("k"), await Client.List(), await Client.Get(Apps),
                await Server.Client(token, "acct_2").Find("k"),
            await Server.Admin.Post($"{KeysPath}/{keyId}/roll", [("grace_period", "0")])])
            answer.IsError(
                500, null, null,
                "The stored API key failed its integrity check and was not sent. Tell the operator of this server "
                    + "the Request-Id.",
                "api_error");
        (await Server.Client().List()).IsOk();

        // It is shown as what it is, does not hide the others, and can be revoked.
        Assert.True((bool?)(await Server.Admin.Get($"{KeysPath}/{keyId}")).IsOk().Json["damaged"]);
        var all = (await Server.Admin.Get(KeysPath, ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        Assert.Equal(keyId, (string?)Assert.Single(all, key => key!["damaged"] is not null)!["id"]);
        (await Server.Admin.Post($"{KeysPath}/{keyId}/revoke", [])).IsOk();
        (await Client.Find("k")).IsError(401, null, null);
    }

    [Fact]
    public async Task A_key_row_under_another_keys_token_is_worth_nothing()
    {
        // The restricted key's token finds the row of the secret key, and the other way round.
        await Server.StopAsync();
        Execute($"""
            CREATE TEMP TABLE k AS SELECT id, mac FROM api_keys
            WHERE id = '{keyId}' OR (app = '{app}' AND livemode = 0 AND kind = 'secret');
            UPDATE api_keys SET mac = zeroblob(26) || CAST(substr(id, -6) AS BLOB) WHERE id IN (SELECT id FROM k);
            UPDATE api_keys SET mac = (SELECT mac FROM k WHERE k.id <> api_keys.id) WHERE id IN (SELECT id FROM k)
            """);
        await Server.StartAgainAsync();
        (await Client.Set("k")).IsError(500, null, null, type: "api_error");
        (await Server.Client().Find("k")).IsError(500, null, null, type: "api_error");
    }

    [Fact]
    public async Task A_made_up_key_row_is_worth_nothing()
    {
        // All but the proof is as it should be: only who has the store's key can make that.
        await Server.StopAsync();
        Execute(
            "UPDATE api_keys SET permissions = NULL, pinned_account = NULL, addresses = NULL, expires_at = NULL, "
                + $"kind = 'secret', proof = (SELECT proof FROM api_keys WHERE kind = 'admin') WHERE id = '{keyId}'");
        await Server.StartAgainAsync();
        (await Client.Find("k")).IsError(500, null, null, type: "api_error");
    }

    [Theory]
    [InlineData("sealed = (SELECT o.sealed FROM o WHERE o.id <> apps.id)")]
    [InlineData("sealed = zeroblob(300)")]
    [InlineData("sealed = x''")]
    [InlineData("sealed = substr(sealed, 1, length(sealed) - 1)")]
    [InlineData("account = 'acct_1'")]
    [InlineData("created = created - 1")]
    public async Task An_edited_app_is_found_out_and_its_keys_are_worth_nothing(string edit)
    {
        (await Server.Admin.Post($"{Apps}/{app}", [("disabled", "true")])).IsOk();
        var browser = Server.Client(await MintOfOtherAsync());
        await Server.StopAsync();
        Execute($"CREATE TEMP TABLE o AS SELECT * FROM apps; UPDATE apps SET {edit}");
        await Server.StartAgainAsync();
        foreach (var answer in (Answer[])[
            await Server.Client().List(), await Client.List(), await Server.Client(Server.OtherAppKey).List(),
                await browser.List(),
            await Server.Admin.Post($"{Apps}/{app}", [("name", "laundered")]), await Server.Admin.Post(
                $"{Apps}/{app}/signing_secret/roll", [("grace_period", "9")])])
            answer.IsError(500, null, null, type: "api_error");
        Assert.True((bool?)(await Server.Admin.Get($"{Apps}/{app}")).IsOk().Json["damaged"]);
        Assert.NotEmpty((await Server.Admin.Get(Apps)).IsOk().Json["data"]!.AsArray());

        async Task<string> MintOfOtherAsync() =>
            (await Server.Client(Server.OtherAppKey).Post(Ephemeral, [("user", "usr_1")])).IsOk().Json.Secret();
    }

    [Theory]
    [InlineData("sealed = zeroblob(300)")]
    [InlineData("sealed = x''")]
    [InlineData("sealed = (SELECT o.sealed FROM o WHERE o.key <> replies.key)")]
    [InlineData(
        "sealed = (SELECT o.sealed FROM o WHERE o.key <> replies.key), fingerprint = (SELECT o.fingerprint FROM o "
            + "WHERE o.key <> replies.key)")]
    [InlineData("fingerprint = (SELECT o.fingerprint FROM o WHERE o.key <> replies.key)")]
    [InlineData("fingerprint = zeroblob(32)")]
    [InlineData("created = created + 1")]
    public async Task An_edited_or_exchanged_reply_is_not_given_out(string edit)
    {
        var another = (await Server.Admin.Post(Apps, [("name", "x")], "k")).IsOk();
        var mine = (await Server.Client().Post(Ephemeral, [("user", "usr_1")], "k")).IsOk();
        Execute($"CREATE TEMP TABLE o AS SELECT * FROM replies; UPDATE replies SET {edit}");
        foreach (var answer in (Answer[])[await Server.Admin.Post(Apps, [("name", "x")], "k"),
            await Server.Client().Post(Ephemeral, [("user", "usr_1")], "k")])
        {
            answer.IsError(
                500, null, null,
                "The stored idempotency record failed its integrity check and was not sent. Tell the operator of "
                    + "this server the Request-Id.",
                "api_error");
            Assert.DoesNotContain(mine.Json.Secret(), answer.Text, StringComparison.Ordinal);
            Assert.DoesNotContain((string)another.Json["signing_secret_test"]!, answer.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Replies_under_each_others_keys_are_not_given_out()
    {
        var second = Server.Client((await Server.NewKeyAsync("admin", null)).Secret());
        (await Server.Admin.Post(Apps, [("name", "x")], "k")).IsOk();
        (await second.Post(Apps, [("name", "x")], "k")).IsOk();
        Execute(
            "CREATE TEMP TABLE o AS SELECT seq, key FROM replies; UPDATE replies SET key = zeroblob(seq); UPDATE "
                + "replies SET key = (SELECT o.key FROM o WHERE o.seq <> replies.seq)");
        (await Server.Admin.Post(Apps, [("name", "x")], "k")).IsError(500, null, null, type: "api_error");
        (await second.Post(Apps, [("name", "x")], "k")).IsError(500, null, null, type: "api_error");
    }

    [Fact]
    public async Task The_signing_key_of_receipts_is_not_another_that_was_put_in_its_place()
    {
        await using var other = await TestServer.StartAsync(isOther: true);
        await other.StopAsync();
        await Server.StopAsync();
        Execute(
            $"ATTACH '{other.StoreFile}' AS other; UPDATE meta SET value = (SELECT o.value FROM other.meta o WHERE "
                + "o.key = meta.key) WHERE key = 'control'");
        await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
    }

    private void Execute(string sql)
    {
        using var connection = StoreEdits.Connect(Server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = $"PRAGMA foreign_keys = OFF; {sql}";
        Assert.NotEqual(0, command.ExecuteNonQuery());
    }
}
