using Coffer.Access;
using Coffer.Hosting;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Storage;

/// <summary>A store that an earlier release made opens with this one, and all that was in it is still good.</summary>
public sealed class UpgradeTests : ServerTests
{
    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        (await Server.Client(account: "acct_1").Set("k", "kept", "usr_1")).IsOk();
        (await Server.Client(Server.Keys.LiveSecretKey).Post("/v1/apps/secrets",
            [("scope[type]", "account"), ("name", "l"), ("payload", "live")], "key")).IsOk();
        await Server.StopAsync();
        await Server.MakeEarlierAsync();
        MakeSchema1();
        // What this program has signed of its rows, an earlier one would not have.
        File.Delete(Path.Combine(Server.Data, "audit-checkpoints.jsonl"));
        await Server.StartAgainAsync();
    }

    [Fact]
    public async Task Keys_secrets_and_what_idempotency_keys_kept_are_as_they_were()
    {
        Assert.Equal("kept",
            (await Server.Client(account: "acct_1").Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("true", (await Server.Client(Server.Keys.LiveSecretKey).Post("/v1/apps/secrets",
            [("scope[type]", "account"), ("name", "l"), ("payload", "live")], "key"))
            .IsOk().Header("Idempotent-Replayed"));
        (await Server.Client(Server.OtherAppKey).List()).IsOk();
        Assert.Equal(4, (await Server.Admin.Get(KeysPath)).Ids().Count());
        Assert.Equal(["acct_1"], (await Server.Admin.Get($"{Operator.Apps}/{await Server.AppIdAsync()}/accounts")).Ids()
            .Where(id => id == "acct_1"));

        await Server.StopAsync();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(Server.Data, null, default)).Problems);
        using var session = new SqliteSession(Server.StoreFile);
        Assert.Equal(Coffer.Storage.Migrations.Of("sqlite").Count, session.Scalar("PRAGMA user_version"));
    }

    [Trait("Firm ground", "5")]
    [Fact]
    public async Task Keys_that_an_earlier_program_minted_are_accepted_for_a_day_and_end_as_they_did()
    {
        await Server.StopAsync();
        Execute("DELETE FROM meta WHERE key = 'ephemeral keys of format 1'");
        var now = Server.Time.Seconds;
        var token = await Server.OnStoreAsync(async (engine, _, instance) =>
        {
            var key = (await engine.ListApiKeysAsync(null, null, false, 10, default))
                .First(row => row is { Kind: "secret", Livemode: false } && row.App != Server.OtherApp);
            var (id, tenant) = (key.Id, new TenantId(key.App!, false, "acct_1"));
            return new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + 86_400), tenant,
                "usr_1"u8.ToArray(), Permissions.All, id, now, now + 86_400)
                .Seal(instance);
        });
        await Server.StartAgainAsync();
        Assert.Equal("kept", (await Server.Client(token).Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        Server.Time.Move(TimeSpan.FromHours(23));
        (await Server.Client(token).Find("k", "usr_1")).IsOk();
        (await Server.ForgetAsync("acct_1")).IsOk();
        (await Server.Client(token).Find("k", "usr_1")).IsError(401, null, null);
        await Server.StopAsync();
        Assert.True(await Server.OnStoreAsync(async (engine, _, _) =>
            await engine.FindMetaAsync("ephemeral keys of format 1", default) is { Length: 40 }));
    }

    [Fact]
    public async Task Old_apps_and_keys_can_do_what_is_new()
    {
        var app = $"{Operator.Apps}/{await Server.AppIdAsync()}";
        var browser = Server.Client(await Server.MintAsync("usr_1"));
        Assert.Equal(0, (int)(await Server.Admin.Get(app)).IsOk().Json["signing_secrets"]!["test"]!);
        (await browser.Get("/v1/apps/app_embedded_backend_signature")).IsError(400, "signing_secret_missing", null);
        (await Server.Admin.Post($"{app}/signing_secret/roll", [("grace_period", "60")])).IsOk();
        Assert.Equal(1, (int)(await Server.Admin.Get(app)).IsOk().Json["signing_secrets"]!["test"]!);
        (await browser.Get("/v1/apps/app_embedded_backend_signature")).IsOk();

        (await Server.Admin.Post(app, [("secrets_per_scope", "1")])).IsOk();
        (await Server.Client().Set("a")).IsOk();
        (await Server.Client().Set("b")).IsError(400, null, null);
        var old = (await Server.KeyAsync("secret", livemode: false)).Id();
        var rolled = (await Server.Admin.Post($"{KeysPath}/{old}/roll", [("grace_period", "60")])).IsOk().Json;
        (await Server.Client().List()).IsOk();
        (await Server.Client(rolled.Secret()).List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(60));
        (await Server.Client().List()).IsError(401, "api_key_expired", null);
        (await Server.ForgetAsync("acct_1")).IsOk();
    }

    [Fact]
    public async Task An_old_key_cannot_be_given_what_it_never_had()
    {
        await Server.StopAsync();
        foreach (var edit in (string[])["permissions = 'secret_read'", "pinned_account = 'acct_2'",
            "addresses = '0.0.0.0/0'", "permissions = '', pinned_account = '', addresses = ''"])
        {
            Execute(
                "UPDATE api_keys SET permissions = NULL, pinned_account = NULL, addresses = NULL; UPDATE api_keys "
                    + $"SET {edit}");
            await Server.StartAgainAsync();
            (await Server.Client().List()).IsError(500, null, null, type: "api_error");
            await Server.StopAsync();
        }
    }

    /// <summary>
    /// Replaces the store by one with the tables of schema 1, and in them what an earlier program would have written:
    /// it knew no other columns.
    /// </summary>
    private void MakeSchema1()
    {
        var old = Server.StoreFile + ".old";
        File.Move(Server.StoreFile, old);
        using var sql = new StreamReader(typeof(SqliteEngine).Assembly.GetManifestResourceStream(
            typeof(SqliteEngine).Assembly.GetManifestResourceNames().Single(
                name =>
                    name.EndsWith("0001-initial.sql", StringComparison.Ordinal)
                        && !name.Contains("postgres", StringComparison.Ordinal)))!);
        Execute($"""
            PRAGMA journal_mode = WAL;
            {sql.ReadToEnd()}
            PRAGMA application_id = {0x434F4652};
            PRAGMA user_version = 1;
            ATTACH '{old}' AS old;
            INSERT INTO meta SELECT key, value FROM old.meta;
            INSERT INTO root_keys SELECT version, created, wrapped FROM old.root_keys;
            INSERT INTO apps SELECT id, name, account, created FROM old.apps;
            INSERT INTO api_keys SELECT mac, id, app, kind, livemode, created, expires_at, proof FROM old.api_keys;
            INSERT INTO tenants SELECT id, app, livemode, account, created, sealed_keys FROM old.tenants;
            INSERT INTO secrets SELECT tenant, name, scope, id, version, created, expires_at, sealed FROM old.secrets;
            INSERT INTO idempotency SELECT seq, tenant, key, fingerprint, created, sealed FROM old.idempotency;
            INSERT INTO audit SELECT row, node, first, last, mac, entries FROM old.audit;
            """);
        File.Delete(old);
    }

    private void Execute(string sql)
    {
        using var connection = StoreEdits.Connect(Server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
