using System.Text.Json.Nodes;
using Coffer.Hosting;

namespace Coffer.Tests.Audit;

/// <summary>What is recorded, and what never is (docs/audit-log.md, "What is recorded").</summary>
public sealed class AuditEntriesTests : ServerTests
{
    private TestServer.Caller Client => Server.Client(account: "acct_1");

    [Fact]
    public async Task A_first_start_puts_its_keys_on_record()
    {
        var log = await LogAsync();
        Assert.Equal(3, log.Count(entry => (string?)entry["verb"] == "create_key"));
    }

    [Fact]
    public async Task Every_change_is_on_record_with_who_what_and_where()
    {
        var set = (await Client.Set("k", "very secret", "usr_1")).IsOk();
        var entry = (await LogAsync())[0];
        Assert.Equal(("set", "ok", "acct_1", "test", "user", 1), ((string?)entry["verb"], (string?)entry["outcome"],
            (string?)entry["account"],
            (string?)entry["mode"], (string?)entry["scope"], (int)entry["version"]!));
        Assert.Equal(set.Header("Request-Id"), (string?)entry["request"]);
        Assert.Equal("127.0.0.1", (string?)entry["remote"]);
        Assert.Matches("^key_[0-9A-Za-z]{27}$", (string?)entry["key"]);
        Assert.Matches("^[0-9a-f]{32}$", (string?)entry["name"]);
    }

    [Fact]
    public async Task Each_outcome_has_its_word()
    {
        (string, string)[] form = [("scope[type]", "account"), ("name", "k"), ("payload", "p")];
        await Client.Post("/v1/apps/secrets", form, "key");
        await Client.Post("/v1/apps/secrets", form, "key");
        await Client.Post("/v1/apps/secrets", [.. form, ("expires_at", "4000000000")], "key");
        await Client.Set("k", "p", null, ("if_version", "7"));
        await Client.Delete("none");
        for (var i = 0; i < 10; i++)
            await Client.Set($"k{i}");
        await Client.Delete("k");
        Assert.Equal(
            ["set ok", "set replayed", "set idempotency_mismatch", "set version_mismatch", "delete absent",
                .. Enumerable.Repeat("set ok", 9), "set quota_reached", "delete ok"],
            (await LogAsync()).AsEnumerable().Reverse().Skip(3).Select(entry => $"{entry["verb"]} {entry["outcome"]}"));
    }

    [Fact]
    public async Task Every_payload_that_left_is_on_record_and_metadata_is_not()
    {
        await Client.Set("a", "payload");
        await Client.Set("b", "payload");
        var before = (await LogAsync()).Count;
        await Client.Find("a");
        await Client.List();
        await Client.Find("none", null, ("expand[]", "payload"));
        Assert.Equal(before, (await LogAsync()).Count);

        var found = await Client.Find("a", null, ("expand[]", "payload"));
        await Client.List(null, ("expand[]", "data.payload"));
        var log = await LogAsync();
        Assert.Equal(["list ok", "list ok", "find ok"],
            log.Take(log.Count - before).Select(entry => $"{entry["verb"]} {entry["outcome"]}"));
        Assert.Equal(found.Header("Request-Id"), (string?)log[2]["request"]);
        Assert.Equal((string?)log[2]["name"], (string?)log[0]["name"]);
    }

    [Fact]
    public async Task Reads_of_metadata_are_on_record_when_that_is_asked_for()
    {
        await Client.Set("k", "payload");
        await Server.StopAsync();
        await Server.StartAgainAsync(auditsMetadata: true);
        await Client.Find("k");
        await Client.Find("none");
        await Client.List();
        Assert.Equal(["list_metadata ok", "find absent", "find_metadata ok", "set ok"],
            (await LogAsync()).Take(4).Select(entry => $"{entry["verb"]} {entry["outcome"]}"));
    }

    [Fact]
    [Trait("Firm edges", "27")]
    public async Task A_key_that_is_refused_is_in_the_log_by_the_request_id_that_its_sender_was_given()
    {
        var refused = (await Server.Client("sk_test_unknown").List()).IsError(401, null, null);
        Assert.Null(refused.Header("Stripe-Version"));
        await Server.StopAsync(); // writes what was counted
        var entry = (await LogAsync()).First(entry => (string?)entry["verb"] == "authenticate");
        Assert.Equal(refused.Header("Request-Id")!, (string?)entry["request"]);
    }

    [Fact]
    public async Task A_flood_of_refusals_is_counted_in_few_entries()
    {
        var before = (await LogAsync()).Count;
        for (var i = 0; i < 300; i++)
            await Server.Client("sk_test_unknown").List();
        await Server.Client(Server.Keys.AdminKey).List();
        await Server.StopAsync(); // writes what was counted
        var log = (await LogAsync()).Take((await LogAsync()).Count - before).ToList();
        Assert.Equal(300,
            log.Where(entry => (string?)entry["outcome"] == "unknown_key").Sum(entry => (long)entry["count"]!));
        Assert.InRange(log.Count, 2, 30);
        Assert.NotNull(log.Single(entry => (string?)entry["outcome"] == "admin_key_on_secrets")["key"]);
    }

    [Fact]
    [Trait("Firm edges", "22")]
    public async Task An_expired_secret_that_is_swept_is_on_record()
    {
        await Client.Set("k", "p", null, ("expires_at", $"{Server.Time.Seconds + 1}"));
        Server.Time.Move(TimeSpan.FromSeconds(1));
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, _) =>
        {
            using var reaper = new Coffer.Hosting.Reaper(engine, committer, null, Server.Time,
                Microsoft.Extensions.Logging.Abstractions.NullLogger<Coffer.Hosting.Reaper>.Instance);
            await reaper.SweepAsync(default);
            return true;
        });
        var log = await LogAsync();
        Assert.Equal("expire", (string?)log[0]["verb"]);
        foreach (var field in (string[])["name", "app", "account", "mode"])
            Assert.Equal(((string?)log[1][field])!, (string?)log[0][field]);
    }

    [Fact]
    public async Task No_name_user_payload_or_key_is_in_the_log()
    {
        await Client.Post(
            "/v1/apps/secrets",
            [("scope[type]", "user"), ("scope[user]", "canary_user"), ("name", "canary_name"),
                ("payload", "canary_payload")],
            "canary_idempotency");
        await Client.Find("canary_name", "canary_user", ("expand[]", "payload"));
        await Server.Client("sk_test_canary_key").Find("canary_name");
        await Client.Delete("canary_name", "canary_user", ("expand[]", "payload"));
        await Server.StopAsync();
        var text = string.Join('\n', (await LogAsync()).Select(entry => entry.ToJsonString()));
        Assert.DoesNotContain("canary", text, StringComparison.Ordinal);
        Assert.DoesNotContain("sk_", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_list_is_filtered_by_any_field()
    {
        await Client.Set("k");
        await Server.Client(Server.OtherAppKey, "acct_2").Set("k");
        await Client.Delete("k");
        Assert.Equal(2, (await LogAsync(new(null, "acct_1", null, null, null, null, null))).Count);
        Assert.Single(await LogAsync(new(null, null, "delete", "ok", null, null, null)));
        Assert.Empty(await LogAsync(new(null, null, null, null, null, Server.Time.Now.AddSeconds(1), null)));
        Assert.Empty(await LogAsync(new(null, null, null, null, null, null, Server.Time.Now)));
    }

    private async Task<List<JsonNode>> LogAsync(AuditFilter? filter = null) =>
        [.. (await AuditArchive.ListAsync(Server.Data, filter ?? new(null, null, null, null, null, null, null), 1_000,
            default)).Select(line => JsonNode.Parse(line)!)];
}
