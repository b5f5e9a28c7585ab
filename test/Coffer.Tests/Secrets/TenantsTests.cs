using Microsoft.Data.Sqlite;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Secrets;

public sealed class TenantsTests
{
    [Fact]
    public async Task The_keys_of_a_tenant_stay_open_whatever_else_is_changed_until_its_own_account_is_forgotten()
    {
        await using var server = await TestServer.StartAsync();
        var app = await server.AppIdAsync();
        var (kept, forgotten) = (server.Client(account: "acct_1"), server.Client(account: "acct_2"));
        await kept.Set("k", "one");
        await forgotten.Set("k", "two");

        // From here on keys that are read from the store are found to be damaged.
        using (var connection = StoreEdits.Connect(server.StoreFile))
        {
            using var edit = new SqliteCommand("UPDATE tenants SET sealed_keys = zeroblob(300)", connection);
            Assert.Equal(2, edit.ExecuteNonQuery());
        }

        var key = await server.NewKeyAsync("restricted", app, ("permissions", "secret_read"));
        (await server.Admin.Post($"{KeysPath}/{key.Id()}/revoke", [])).IsOk();
        (await server.Admin.Post($"{Apps}/{app}", [("name", "another name")])).IsOk();
        (await server.Admin.Post($"{Apps}/{app}/accounts/acct_2/forget", [])).IsOk();
        Assert.Equal("one", (await kept.Find("k", null, ("expand[]", "payload"))).IsOk().Payload);

        // A tenant that is made again has keys of its own.
        Assert.Equal(404, (await forgotten.Find("k")).Status);
        (await forgotten.Set("k", "three")).IsOk();
        Assert.Equal("three", (await forgotten.Find("k", null, ("expand[]", "payload"))).IsOk().Payload);

        await server.StopAsync();
        await server.StartAgainAsync();
        (await kept.Find("k")).IsError(500, null, null, type: "api_error");
    }
}
