using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Coffer.Shared;
using Microsoft.Data.Sqlite;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>What forgetting an account destroys, ends and proves (docs/management.md, "Accounts").</summary>
public sealed class ForgetTests : ServerTests
{
    private string app = null!;

    private TestServer.Caller Client => Server.Client(account: "acct_1");

    private TestServer.Caller Live => Server.Client(Server.Keys.LiveSecretKey, "acct_1");

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    [Trait("Engine", "SQLite")] // nodes are waited for by a clock that stands still here: PostgresReceiptTests
    public async Task Both_modes_are_gone_at_once_and_nothing_else()
    {
        await Client.Set("k", "p", "usr_1");
        await Client.Set("expired", "p", null, ("expires_at", $"{Server.Time.Seconds + 1}"));
        await Live.Set("k");
        await Live.Set("l");
        await Server.Client(account: "acct_2").Set("k", "another account's");
        await Server.Client(Server.OtherAppKey, "acct_1").Set("k", "another app's");
        Server.Time.Move(TimeSpan.FromSeconds(1));

        var forgotten = await SettledAsync("acct_1");
        Assert.Equal($$"""
            {
              "object": "account.forgotten",
              "account": "acct_1",
              "app": "{{app}}",
              "forgotten_at": {{Server.Time.Seconds}},
              "secrets": {
                "live": 2,
                "test": 1
              },
              "done": [
                {{Words(forgotten.Json["done"]!)}}
              ],
              "pending": [],
              "receipt": "{{forgotten.Json["receipt"]}}",
              "receipt_id": "{{forgotten.Json["receipt_id"]}}",
              "receipt_status": "signed"
            }

            """, forgotten.Text);
        await VerifyAsync(forgotten.Json);
        foreach (var caller in (TestServer.Caller[])[Client, Live])
        {
            (await caller.Find("k")).IsError(404, "resource_missing", "name");
            (await caller.Find("k", "usr_1", ("expand[]", "payload"))).IsError(404, "resource_missing", "name");
            (await caller.Delete("k")).IsError(404, "resource_missing", "name");
            Assert.Empty((await caller.List()).IsOk().Names);
        }

        Assert.Equal(["acct_2"], (await Server.Admin.Get($"{Apps}/{app}/accounts")).Ids());
        Assert.Empty((await Server.Admin.Post($"{Apps}/{app}/accounts/acct_1/export", [("reason", "r")])).Ids());
        Assert.Equal("another account's",
            (await Server.Client(account: "acct_2").Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal(
            "another app's",
            (await Server.Client(Server.OtherAppKey, "acct_1").Find("k", null,
                ("expand[]", "payload"))).IsOk().Payload);
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task What_is_set_afterwards_has_new_keys()
    {
        var before = (await Client.Set("k", "before")).IsOk().Id;
        var (number, keys) = SealedKeys("acct_1").Single();
        (await Server.ForgetAsync("acct_1")).IsOk();
        Assert.Empty(SealedKeys("acct_1"));
        var after = (await Client.Set("k", "after")).IsOk();
        Assert.Equal(("1", "after"),
            (after.Header("Coffer-Secret-Version"), (await Client.Find("k", null, ("expand[]", "payload"))).Payload));
        var (newNumber, newKeys) = SealedKeys("acct_1").Single();
        Assert.True(newNumber > number);
        Assert.NotEqual(keys, newKeys);
        // An old id is proven by the old keys, so it marks no place any more.
        (await Client.List(null, ("starting_after", before!))).IsError(400, "resource_missing", "starting_after");
        (await Client.List(null, ("starting_after", after.Id!))).IsOk();
    }

    [Fact]
    [Trait("Engine", "SQLite")] // nodes are waited for by a clock that stands still here: PostgresReceiptTests
    public async Task An_account_that_nothing_was_stored_for_is_forgotten_already()
    {
        var forgotten = (await SettledAsync("acct_none")).Json;
        Assert.Equal((0, 0), ((int)forgotten["secrets"]!["live"]!, (int)forgotten["secrets"]!["test"]!));
        await VerifyAsync(forgotten);
        (await Server.Admin.Post($"{Apps}/app_none/accounts/acct_1/forget", [])).IsError(404, "resource_missing", "id");
        (await Server.Admin.Post($"{Apps}/{app}/accounts/acct_1/forget", [("reason", "r")])).IsError(400,
            "parameter_unknown", "reason");
    }

    [Fact]
    [Trait("Engine", "SQLite")] // nodes are waited for by a clock that stands still here: PostgresReceiptTests
    public async Task The_receipt_is_signed_with_the_key_that_the_settings_show()
    {
        await Client.Set("k");
        var forgotten = (await SettledAsync("acct_1")).Json;
        var payload = await VerifyAsync(forgotten);
        var settings = (await Server.Admin.Get("/admin/v1/settings")).IsOk().Json;
        Assert.Equal($$$"""
            {"account":"acct_1","app":"{{{app}}}","done":{{{forgotten["done"]!.ToJsonString()}}},
            "forgotten_at":{{{Server.Time.Seconds}}},"id":"{{{forgotten["receipt_id"]}}}",
            "not_reached":{{{payload["not_reached"]!.ToJsonString()}}},"object":"account.forgotten",
            "secrets":{"live":0,"test":1},"signed_at":{{{Server.Time.Seconds}}},
            "generation":"{{{payload["generation"]}}}","instance":"{{{settings["instance"]}}}","signing_key":1}
            """.ReplaceLineEndings(""), payload.ToJsonString());

        // A receipt of which anything was changed does not verify.
        var parts = ((string)forgotten["receipt"]!).Split('.');
        parts[1] = Base64Url.EncodeToString(
            Encoding.UTF8.GetBytes(payload.ToJsonString().Replace("acct_1", "acct_2", StringComparison.Ordinal)));
        Assert.False(await IsSignedAsync(string.Join('.', parts)));
    }

    [Fact]
    public async Task Ephemeral_keys_that_were_minted_until_then_are_dead_and_later_ones_work()
    {
        var test = await Server.MintAsync("usr_1", "acct_1");
        var live = (await Live.Post(Ephemeral, [("user", "usr_1")])).IsOk().Json.Secret();
        var other = await Server.MintAsync("usr_1", "acct_2");
        (await Server.Client(test).List()).IsOk();
        (await Server.ForgetAsync("acct_1")).IsOk();
        var sameSecond = await Server.MintAsync("usr_1", "acct_1");
        Server.Time.Move(TimeSpan.FromSeconds(1));
        var later = await Server.MintAsync("usr_1", "acct_1");
        foreach (var dead in (string[])[test, live])
            (await Server.Client(dead).List()).IsError(401, null, null);
        foreach (var alive in (string[])[other, sameSecond, later])
            (await Server.Client(alive).List()).IsOk();

        await Server.StopAsync();
        await Server.StartAgainAsync();
        (await Server.Client(test).List()).IsError(401, null, null);
        (await Server.Client(later).List()).IsOk();
    }

    [Fact]
    public async Task A_clock_that_is_set_back_brings_no_ephemeral_key_back()
    {
        var token = await Server.MintAsync("usr_1", "acct_1");
        (await Server.ForgetAsync("acct_1")).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(-10));
        (await Server.Client(token).List()).IsError(401, null, null);
        (await Server.ForgetAsync("acct_1")).IsOk();
        (await Server.Client(token).List()).IsError(401, null, null);
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task What_idempotency_keys_have_kept_of_the_account_is_gone()
    {
        (string, string)[] form = [("scope[type]", "account"), ("name", "k"), ("payload", "p")];
        (await Client.Post("/v1/apps/secrets", form, "set")).IsOk();
        var minted = (await Client.Post(Ephemeral, [("user", "usr_1")], "mint")).IsOk();
        (await Server.Client(account: "acct_2").Post(Ephemeral, [("user", "usr_1")], "mint")).IsOk();
        Assert.Equal((1, 2), (Count("idempotency"), Count("replies")));
        (await Server.ForgetAsync("acct_1")).IsOk();
        Assert.Equal((0, 1), (Count("idempotency"), Count("replies")));

        Server.Time.Move(TimeSpan.FromSeconds(1));
        Assert.Null(
            (await Client.Post("/v1/apps/secrets", [.. form[..2], ("payload", "another")], "set")).IsOk()
                .Header("Idempotent-Replayed"));
        var again = (await Client.Post(Ephemeral, [("user", "usr_1")], "mint")).IsOk();
        Assert.Null(again.Header("Idempotent-Replayed"));
        Assert.NotEqual(minted.Json.Secret(), again.Json.Secret());
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    public async Task The_tenants_keys_are_nowhere_in_the_stores_files_afterwards()
    {
        // So many tenants that their rows are moved from page to page when others go.
        for (var i = 0; i < 60; i++)
            (await Server.Client(account: $"acct_{i % 30}").Set($"k{i}", $"payload {i}",
                i % 2 == 0 ? null : "usr_1")).IsOk();
        await Live.Set("k");
        var keys = Enumerable.Range(0, 30).Where(i => i % 3 != 0).SelectMany(i => SealedKeys($"acct_{i}")).ToList();
        var secrets = Rows(
            "SELECT id, sealed FROM secrets WHERE tenant IN (SELECT id FROM tenants WHERE account = 'acct_1')");
        Assert.Equal((21, 3), (keys.Count, secrets.Count));
        Assert.All(keys, row => Assert.True(Server.IsInFiles(row.Bytes)));
        Assert.All(secrets, row => Assert.True(Server.IsInFiles(row.Bytes)));

        for (var i = 0; i < 30; i++)
        {
            if (i % 3 != 0)
                (await Server.ForgetAsync($"acct_{i}")).IsOk();
            if (i == 1)
                Assert.All(secrets, row => Assert.False(Server.IsInFiles(row.Bytes)));
        }

        Assert.All(keys, row => Assert.False(Server.IsInFiles(row.Bytes)));
        (await Server.Client(account: "acct_3").Find("k3", "usr_1")).IsOk();
    }

    [Trait("Engine", "SQLite")] // it looks into the store's files
    [Fact]
    [Trait("Engine", "SQLite")] // nodes are waited for by a clock that stands still here: PostgresReceiptTests
    public async Task Sets_beside_it_never_fail_and_a_last_one_leaves_nothing()
    {
        await using var load = new Load(4, async (client, count) =>
        {
            var answer = (count % 4) switch
            {
                0 => await Live.Set($"k{client}", "p", "usr_1"),
                1 =>
                    await Client.Post("/v1/apps/secrets/delete",
                        [("scope[type]", "account"), ("name", $"k{client}")], $"{client} {count}"),
                _ =>
                    await Client.Post(
                        "/v1/apps/secrets", [("scope[type]", "account"), ("name", $"k{client}"), ("payload", "p")],
                        $"{client} {count}"),
            };
            Assert.True(answer.Status == 200 || (count % 4 == 1 && answer.Status == 404), answer.Text);
            var found = await Client.Find($"k{client}");
            Assert.True(found.Status is 200 or 404, found.Text);
        });
        for (var i = 0; i < 40; i++)
            await VerifyAsync((await SettledAsync("acct_1")).Json);
        await load.EndAsync();
        Assert.All(load.Done, count => Assert.InRange(count, 10, int.MaxValue));

        (await Server.ForgetAsync("acct_1")).IsOk();
        Assert.Equal((0, 0, 0), (Count("tenants"), Count("secrets"), Count("idempotency")));
        Assert.Empty((await Client.List()).IsOk().Names);
        (await Client.Set("k")).IsOk();
    }

    [Fact]
    public async Task It_is_on_record_with_how_much_there_was()
    {
        await Client.Set("k");
        await Live.Set("k");
        (await Server.ForgetAsync("acct_1")).IsOk();
        var entry = (await Server.Admin.Get("/admin/v1/audit", ("verb", "forget_account")))
            .IsOk().Json["data"]!.AsArray().Single()!;
        Assert.Equal(("ok", app, "acct_1", 2),
            ((string?)entry["outcome"], (string?)entry["app"], (string?)entry["account"], (int)entry["count"]!));
    }

    /// <summary>Forgets an account, and asks again with the same key until its receipt is signed.</summary>
    private async Task<Answer> SettledAsync(string account)
    {
        var key = Guid.NewGuid().ToString();
        for (var tries = 1; ; tries++)
        {
            var answer = (await Server.ForgetAsync(account, key)).IsOk();
            if (tries == 200 || (string?)answer.Json["receipt_status"] == "signed")
                return answer;
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Checks a receipt as whoever asked for it would, and gives what it says.</summary>
    private async Task<JsonNode> VerifyAsync(JsonNode forgotten)
    {
        var receipt = (string)forgotten["receipt"]!;
        Assert.True(await IsSignedAsync(receipt));
        var parts = receipt.Split('.');
        Assert.Equal("""{"alg":"ES256","typ":"JWT"}""", Encoding.UTF8.GetString(Base64Url.DecodeFromChars(parts[0])));
        var payload = JsonNode.Parse(Base64Url.DecodeFromChars(parts[1]))!;
        foreach (var field in (string[])["object", "account", "app", "forgotten_at", "secrets"])
            Assert.True(JsonNode.DeepEquals(forgotten[field], payload[field]), field);
        return payload;
    }

    private async Task<bool> IsSignedAsync(string receipt)
    {
        var jwk = (await Server.Admin.Get("/admin/v1/settings")).IsOk().Json["receipt_key"]!;
        Assert.Equal(("EC", "P-256"), ((string?)jwk["kty"], (string?)jwk["crv"]));
        using var key = ECDsa.Create(new ECParameters
        {
            Curve = ECCurve.NamedCurves.nistP256,
            Q =
                new ECPoint
                {
                    X = Base64Url.DecodeFromChars((string)jwk["x"]!),
                    Y = Base64Url.DecodeFromChars((string)jwk["y"]!)
                },
        });
        var end = receipt.LastIndexOf('.');
        return key.VerifyData(
            Encoding.ASCII.GetBytes(receipt[..end]), Base64Url.DecodeFromChars(receipt.AsSpan(end + 1)),
            HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }

    private static string Words(JsonNode words) =>
        string.Join(",\n    ", words.AsArray().Select(word => $"\"{word}\""));

    private List<(long Number, byte[] Bytes)> SealedKeys(string account) =>
        [.. Rows($"SELECT id, sealed_keys FROM tenants WHERE account = '{account}' AND app = '{app}'").Select(
            row => (long.Parse(row.Id), row.Bytes))];

    private long Count(string table) =>
        Rows($"SELECT count(*), x'' FROM {table}").Select(row => long.Parse(row.Id)).Single();

    private List<(string Id, byte[] Bytes)> Rows(string sql)
    {
        using var connection = new SqliteConnection($"Data Source={Server.StoreFile};Pooling=False;Mode=ReadOnly");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        using var reader = command.ExecuteReader();
        var rows = new List<(string, byte[])>();
        while (reader.Read())
            rows.Add((reader.GetValue(0).ToString()!, (byte[])reader.GetValue(1)));
        return rows;
    }
}
