using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Secrets;

/// <summary>
/// Someone who can write the database but has no key changes nothing unnoticed (SECURITY.md, "What is stored"). Every
/// edit is made on a real store file, by hand, as SQL.
/// </summary>
public sealed class TamperingTests : ServerTests
{
    private TestServer.Caller Client => Server.Client();

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        (await Client.Set("k", "very secret", "usr_1", ("expires_at", $"{Server.Time.Seconds + 1000}"))).IsOk();
        (await Client.Set("l", "another secret", "usr_1")).IsOk();
        (await Client.Set("k", "second user's", "usr_2")).IsOk();
        (await Server.Client(Server.OtherAppKey).Set("k", "another app's", "usr_1")).IsOk();
    }

    [Theory]
    [InlineData("expires_at = expires_at + 1000")]
    [InlineData("expires_at = NULL")]
    [InlineData("created = created - 1")]
    [InlineData("version = version + 1")]
    [InlineData("id = 'appsecret_000000000000000000000000000000'")]
    [InlineData("scope = zeroblob(16)")]
    [InlineData("sealed = zeroblob(300)")]
    [InlineData("sealed = x''")]
    [InlineData("sealed = substr(sealed, 1, length(sealed) - 64)")]
    public async Task An_edited_column_is_found_out_with_and_without_the_payload(string edit)
    {
        Execute($"UPDATE secrets SET {edit} WHERE expires_at IS NOT NULL");
        await IsDamaged();
    }

    [Fact]
    public async Task Every_flipped_bit_of_a_sealed_record_is_found_out()
    {
        // Every byte, one bit each; the envelope's own test flips every bit of every byte.
        var row = (byte[])Scalar("SELECT sealed FROM secrets WHERE expires_at IS NOT NULL")!;
        for (var at = 0; at < row.Length; at++)
        {
            row[at] ^= (byte)(1 << (at % 8));
            Execute("UPDATE secrets SET sealed = $b WHERE expires_at IS NOT NULL", row);
            (await Client.Find("k", "usr_1", ("expand[]", "payload"))).IsError(500, null, null, type: "api_error");
            row[at] ^= (byte)(1 << (at % 8));
        }

        Execute("UPDATE secrets SET sealed = $b WHERE expires_at IS NOT NULL", row);
        Assert.Equal("very secret", (await Client.Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task Swapped_envelopes_of_two_names_are_found_out()
    {
        Execute("UPDATE secrets SET sealed = (SELECT s.sealed FROM secrets s WHERE s.tenant = secrets.tenant AND "
            + "s.scope = secrets.scope AND s.name <> secrets.name) " +
                "WHERE expires_at IS NOT NULL");
        await IsDamaged();
    }

    [Fact]
    public async Task Whole_rows_under_each_others_names_are_found_out()
    {
        var names = "SELECT name FROM secrets WHERE tenant = 1 ORDER BY rowid";
        Execute($"CREATE TEMP TABLE n AS {names}; " +
                "UPDATE secrets SET name = zeroblob(16) WHERE name = (SELECT name FROM n LIMIT 1); " +
                "UPDATE secrets SET name = (SELECT name FROM n LIMIT 1) WHERE name = (SELECT name FROM n LIMIT 1 "
                    + "OFFSET 1); " +
                "UPDATE secrets SET name = (SELECT name FROM n LIMIT 1 OFFSET 1) WHERE name = zeroblob(16)");
        await IsDamaged();
    }

    [Fact]
    public async Task A_secret_moved_to_another_app_is_not_there_for_it()
    {
        // The other app asks for the same name of the same user: its blind index is another, and so is its key.
        Execute("UPDATE secrets SET tenant = 2 WHERE expires_at IS NOT NULL");
        Assert.Equal("another app's",
            (await Server.Client(Server.OtherAppKey).Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        Execute("DELETE FROM secrets WHERE tenant = 2 AND expires_at IS NULL");
        (await Server.Client(Server.OtherAppKey).Find("k", "usr_1")).IsError(404, "resource_missing", "name");
        Execute("UPDATE secrets SET name = $b WHERE tenant = 2 AND expires_at IS NOT NULL",
            await BlindNameOfOtherApp());
        (await Server.Client(Server.OtherAppKey).Find("k", "usr_1", ("expand[]", "payload"))).IsError(500, null, null,
            type: "api_error");
    }

    [Fact]
    public async Task Tenant_keys_swapped_between_apps_are_found_out()
    {
        await Server.StopAsync();
        Execute(
            "CREATE TEMP TABLE t AS SELECT id, sealed_keys FROM tenants; UPDATE tenants SET sealed_keys = (SELECT "
                + "sealed_keys FROM t WHERE t.id <> tenants.id LIMIT 1)");
        await Server.StartAgainAsync();
        (await Client.Find("k", "usr_1")).IsError(500, null, null, type: "api_error");
        (await Client.Set("new")).IsError(500, null, null, type: "api_error");
    }

    [Theory]
    [InlineData("app = (SELECT id FROM apps WHERE name = 'other')")]
    [InlineData("livemode = 1 - livemode")]
    [InlineData("kind = 'admin'")]
    [InlineData("expires_at = 4000000000")]
    [InlineData("id = 'key_another'")]
    [InlineData("proof = zeroblob(32)")]
    public async Task An_edited_api_key_is_worth_nothing(string edit)
    {
        await Server.StopAsync();
        Execute(
            $"UPDATE api_keys SET {edit} WHERE id = (SELECT id FROM api_keys WHERE livemode = 0 AND app = (SELECT id "
                + "FROM apps WHERE name = 'default'))");
        await Server.StartAgainAsync();
        (await Client.List()).IsError(500, null, null, type: "api_error");
        (await Server.Client(Server.OtherAppKey).List("usr_1")).IsOk();
    }

    [Fact]
    public async Task An_app_given_another_account_of_its_own_is_found_out()
    {
        await Server.StopAsync();
        Execute("UPDATE apps SET account = 'acct_1'");
        await Server.StartAgainAsync();
        (await Client.List()).IsError(500, null, null, type: "api_error");
    }

    [Theory]
    [InlineData("sealed = zeroblob(300)")]
    [InlineData("fingerprint = zeroblob(16)")]
    [InlineData("created = created + 1")]
    public async Task An_edited_idempotency_record_is_found_out(string edit)
    {
        (string, string)[] form = [("scope[type]", "account"), ("name", "i"), ("payload", "p")];
        (await Client.Post("/v1/apps/secrets", form, "key")).IsOk();
        Execute($"UPDATE idempotency SET {edit}");
        (await Client.Post("/v1/apps/secrets", form, "key")).IsError(500, null, null, type: "api_error");
    }

    [Theory]
    [InlineData("UPDATE meta SET value = zeroblob(length(value))")]
    [InlineData("UPDATE root_key_wrappings SET wrapped = zeroblob(length(wrapped))")]
    [InlineData("UPDATE root_key_wrappings SET wrapper = 'file:00'")]
    [InlineData("DELETE FROM root_key_wrappings")]
    [InlineData("INSERT INTO root_key_wrappings VALUES (1, 'exec:/planted', x'01', 1)")]
    [InlineData("INSERT INTO root_keys VALUES (2, 1, x'')")]
    [InlineData("DELETE FROM meta WHERE key = 'control'")]
    [InlineData("DELETE FROM meta WHERE key = 'store id'")]
    [InlineData("UPDATE meta SET value = zeroblob(16) WHERE key = 'store id'")]
    [InlineData("INSERT INTO meta SELECT 'identity', value FROM meta WHERE key = 'control'")]
    [InlineData("DELETE FROM root_keys")]
    [InlineData("UPDATE root_keys SET version = 2")]
    public async Task A_store_whose_own_keys_were_edited_does_not_start(string edit)
    {
        await Server.StopAsync();
        Execute(edit);
        await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
    }

    [Fact]
    public async Task A_damaged_secret_does_not_hide_the_others()
    {
        Execute("UPDATE secrets SET sealed = zeroblob(300) WHERE expires_at IS NOT NULL");
        Assert.Equal("another secret", (await Client.Find("l", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("second user's", (await Client.Find("k", "usr_2", ("expand[]", "payload"))).IsOk().Payload);
    }

    private async Task IsDamaged()
    {
        const string Message =
            "The stored secret failed its integrity check and was not sent. Tell the operator of this server the "
                + "Request-Id.";
        (await Client.Find("k", "usr_1")).IsError(500, null, null, Message, "api_error");
        (await Client.Find("k", "usr_1", ("expand[]", "payload"))).IsError(500, null, null, Message, "api_error");
        (await Client.Set("k", "laundered", "usr_1")).IsError(500, null, null, Message, "api_error");
        (await Client.Delete("k", "usr_1")).IsError(500, null, null, Message, "api_error");
    }

    private async Task<byte[]> BlindNameOfOtherApp()
    {
        (await Server.Client(Server.OtherAppKey).Set("k", "to see where it goes", "usr_1")).IsOk();
        var name = (byte[])Scalar("SELECT name FROM secrets WHERE tenant = 2 AND expires_at IS NULL")!;
        Execute("DELETE FROM secrets WHERE tenant = 2 AND expires_at IS NULL");
        return name;
    }

    private void Execute(string sql, byte[]? bytes = null) => Command(sql, bytes, command => command.ExecuteNonQuery());

    private object? Scalar(string sql) => Command(sql, null, command => command.ExecuteScalar());

    private T Command<T>(string sql, byte[]? bytes, Func<SqliteCommand, T> run)
    {
        using var connection = StoreEdits.Connect(Server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = $"PRAGMA foreign_keys = OFF; {sql}";
        if (bytes is not null)
            command.Parameters.AddWithValue("$b", bytes);
        return run(command);
    }
}
