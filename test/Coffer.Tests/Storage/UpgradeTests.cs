using Coffer.Access;
using Coffer.Hosting;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Storage.Sqlite;
using Coffer.Tests.Api.Management;
using Coffer.Tests.Secrets;
using Microsoft.Data.Sqlite;
using static Coffer.Tests.Api.Management.Operator;

namespace Coffer.Tests.Storage;

/// <summary>A store that an earlier release made opens with this one, and all that was in it is still good.</summary>
public sealed class UpgradeTests : IAsyncLifetime
{
    private TestServer server = null!;

    public async ValueTask InitializeAsync()
    {
        server = await TestServer.StartAsync();
        (await server.Client(account: "acct_1").Set("k", "kept", "usr_1")).IsOk();
        (await server.Client(server.Keys.LiveSecretKey).Post("/v1/apps/secrets",
            [("scope[type]", "account"), ("name", "l"), ("payload", "live")], "key")).IsOk();
        await server.StopAsync();
        await server.MakeEarlierAsync();
        MakeSchema1();
        await server.StartAgainAsync();
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Keys_secrets_and_what_idempotency_keys_kept_are_as_they_were()
    {
        Assert.Equal("kept",
            (await server.Client(account: "acct_1").Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("true", (await server.Client(server.Keys.LiveSecretKey).Post("/v1/apps/secrets",
            [("scope[type]", "account"), ("name", "l"), ("payload", "live")], "key"))
            .IsOk().Header("Idempotent-Replayed"));
        (await server.Client(server.OtherAppKey).List()).IsOk();
        Assert.Equal(4, (await server.Admin.Get(KeysPath)).Ids().Count());
        Assert.Equal(["acct_1"], (await server.Admin.Get($"{Operator.Apps}/{await server.AppIdAsync()}/accounts")).Ids()
            .Where(id => id == "acct_1"));

        await server.StopAsync();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(server.Data, null, default)).Problems);
        using var session = new SqliteSession(server.StoreFile);
        Assert.Equal(Coffer.Storage.Migrations.Of("sqlite").Count, session.Scalar("PRAGMA user_version"));
    }

    [Trait("Firm ground", "5")]
    [Fact]
    public async Task Keys_that_an_earlier_program_minted_are_accepted_for_a_day_and_end_as_they_did()
    {
        await server.StopAsync();
        Execute("DELETE FROM meta WHERE key = 'ephemeral keys of format 1'");
        var now = server.Time.Seconds;
        var token = await server.OnStoreAsync(async (engine, _, instance) =>
        {
            var key = (await engine.ListApiKeysAsync(null, null, 10, default))
                .First(row => row is { Kind: "secret", Livemode: false } && row.App != server.OtherApp);
            var (id, tenant) = (key.Id, new TenantId(key.App!, false, "acct_1"));
            return new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + 86_400), tenant,
                "usr_1"u8.ToArray(), Permissions.All, id, now, now + 86_400)
                .Seal(instance);
        });
        await server.StartAgainAsync();
        Assert.Equal("kept", (await server.Client(token).Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        server.Time.Move(TimeSpan.FromHours(23));
        (await server.Client(token).Find("k", "usr_1")).IsOk();
        (await server.ForgetAsync("acct_1")).IsOk();
        (await server.Client(token).Find("k", "usr_1")).IsError(401, null, null);
        await server.StopAsync();
        Assert.True(await server.OnStoreAsync(async (engine, _, _) =>
            await engine.FindMetaAsync("ephemeral keys of format 1", default) is { Length: 40 }));
    }

    [Fact]
    public async Task Old_apps_and_keys_can_do_what_is_new()
    {
        var app = $"{Operator.Apps}/{await server.AppIdAsync()}";
        var browser = server.Client(await server.MintAsync("usr_1"));
        Assert.Equal(0, (int)(await server.Admin.Get(app)).IsOk().Json["signing_secrets"]!["test"]!);
        (await browser.Get("/v1/apps/app_embedded_backend_signature")).IsError(400, "signing_secret_missing", null);
        (await server.Admin.Post($"{app}/signing_secret/roll", [("grace_period", "60")])).IsOk();
        Assert.Equal(1, (int)(await server.Admin.Get(app)).IsOk().Json["signing_secrets"]!["test"]!);
        (await browser.Get("/v1/apps/app_embedded_backend_signature")).IsOk();

        (await server.Admin.Post(app, [("secrets_per_scope", "1")])).IsOk();
        (await server.Client().Set("a")).IsOk();
        (await server.Client().Set("b")).IsError(400, null, null);
        var old = (await server.KeyAsync("secret", livemode: false)).Id();
        var rolled = (await server.Admin.Post($"{KeysPath}/{old}/roll", [("grace_period", "60")])).IsOk().Json;
        (await server.Client().List()).IsOk();
        (await server.Client(rolled.Secret()).List()).IsOk();
        server.Time.Move(TimeSpan.FromSeconds(60));
        (await server.Client().List()).IsError(401, "api_key_expired", null);
        (await server.ForgetAsync("acct_1")).IsOk();
    }

    [Fact]
    public async Task An_old_key_cannot_be_given_what_it_never_had()
    {
        await server.StopAsync();
        foreach (var edit in (string[])["permissions = 'secret_read'", "pinned_account = 'acct_2'",
            "addresses = '0.0.0.0/0'", "permissions = '', pinned_account = '', addresses = ''"])
        {
            Execute(
                "UPDATE api_keys SET permissions = NULL, pinned_account = NULL, addresses = NULL; UPDATE api_keys "
                    + $"SET {edit}");
            await server.StartAgainAsync();
            (await server.Client().List()).IsError(500, null, null, type: "api_error");
            await server.StopAsync();
        }
    }

    /// <summary>
    /// Replaces the store by one with the tables of schema 1, and in them what an earlier program would have written:
    /// it knew no other columns.
    /// </summary>
    private void MakeSchema1()
    {
        var old = server.StoreFile + ".old";
        File.Move(server.StoreFile, old);
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
        using var connection = new SqliteConnection($"Data Source={server.StoreFile};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
