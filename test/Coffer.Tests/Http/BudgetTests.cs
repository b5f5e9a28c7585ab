using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Http;

/// <summary>
/// What one app, or one ephemeral key, may have written: each bound is answered 429 with its reason, and hurts nobody
/// else.
/// </summary>
[Trait("Firm ground", "8")]
public sealed class BudgetTests
{
    private const string Secrets = "/v1/apps/secrets", Delete = $"{Secrets}/delete";

    private static readonly (string, string) WithPayload = ("expand[]", "payload");
    private static readonly (string, string) WithPayloads = ("expand[]", "data.payload");

    private static readonly (string, string)[] Nothing = [("scope[type]", "account"), ("name", "none")];

    [Fact]
    public async Task What_an_app_has_kept_under_idempotency_keys_is_bounded()
    {
        await using var server = await StartAsync(options => options with { KeptPerApp = 1 });
        var refused = await UntilRefusedAsync(200, i => SetAsync(server.Client(), $"{i}"));
        Assert.Equal("The app of the provided key has stored more under idempotency keys than it may in this time. " +
            "Nothing of this request was stored. Try again after as many seconds as Retry-After says, " +
            "or send it without an Idempotency-Key.", refused.Message());
        var wait = int.Parse(refused.Header("Retry-After")!);
        Assert.InRange(wait, 1, 10);
        (await server.Client().Set("k")).IsOk(); // without a key nothing is kept
        (await SetAsync(server.Client(server.OtherAppKey), "another app's")).IsOk();
        (await SetAsync(server.Client(server.Keys.LiveSecretKey), "the same app's")).IsError(429, "rate_limit", null);

        server.Time.Move(TimeSpan.FromSeconds(wait));
        (await SetAsync(server.Client(), "again")).IsOk();
    }

    [Fact]
    public async Task A_mint_and_a_refusal_that_is_kept_count_as_what_is_kept_too()
    {
        await using var server = await StartAsync(options => options with { KeptPerApp = 1 });
        var (one, other) = (server.Client(), server.Client(server.OtherAppKey));
        await UntilRefusedAsync(100, i => one.Post(Operator.Ephemeral, [("user", $"usr_{i}")], $"mint {i}"));
        (await other.Post(Operator.Ephemeral, [("user", "usr_1")], "mint")).IsOk();
        await UntilRefusedAsync(200, i => other.Post(Delete, Nothing, $"{i}"), status: 404);
    }

    [Fact]
    public async Task What_an_ephemeral_key_has_kept_is_bounded_by_itself()
    {
        await using var server = await StartAsync(options => options with { KeptPerEphemeralKey = 1 });
        var one = server.Client(await server.MintAsync("usr_1"));
        var other = server.Client(await server.MintAsync("usr_1"));
        var refused = await UntilRefusedAsync(200, i => SetAsync(one, $"{i}"));
        Assert.StartsWith("The provided key has stored more under", refused.Message(), StringComparison.Ordinal);
        Assert.Equal("true", refused.Header("Stripe-Should-Retry"));
        (await SetAsync(other, "of the same user")).IsOk();
        (await SetAsync(server.Client(), "of the backend")).IsOk();
    }

    [Fact]
    public async Task What_is_recorded_about_an_app_is_bounded_and_what_leaves_no_entry_is_not()
    {
        await using var server = await StartAsync(options => options with { AuditPerApp = 2 });
        (await server.Client().Set("k")).IsOk();
        var refused = await UntilRefusedAsync(200, _ => server.Client().Find("k", null, WithPayload));
        Assert.Equal("The app of the provided key has caused more entries in the audit log than it may in this time. " +
            "Nothing of this request was done. Try again after as many seconds as Retry-After says, " +
            "and ask for payloads only where they are needed.", refused.Message());
        (await server.Client().List(null, WithPayloads)).IsError(429, "rate_limit", null);
        (await server.Client().Set("k", "another")).IsError(429, "rate_limit", null);
        (await server.Client().Delete("k")).IsError(429, "rate_limit", null);
        (await server.Client().Post(Operator.Ephemeral, [("user", "usr_1")])).IsError(429, "rate_limit", null);
        (await server.Client().Find("k")).IsOk();
        (await server.Client().List()).IsOk();
        (await server.Client(server.OtherAppKey).Set("k")).IsOk();
        server.Time.Move(TimeSpan.FromSeconds(10));
        Assert.Equal("payload", (await server.Client().Find("k", null, WithPayload)).IsOk().Payload);
    }

    [Fact]
    public async Task A_list_counts_with_every_payload_that_it_gives()
    {
        await using var server = await StartAsync(options => options with { AuditPerEphemeralKey = 1 });
        for (var i = 0; i < 10; i++)
            (await server.Client().Set($"k{i}")).IsOk();
        var browser = server.Client(await server.MintAsync("usr_1"));
        var lists = 0;
        var refused = await UntilRefusedAsync(20, _ =>
        {
            lists++;
            return browser.List(null, WithPayloads);
        });
        Assert.InRange(lists, 2, 5); // of ten entries each
        Assert.StartsWith("The provided key has caused more", refused.Message(), StringComparison.Ordinal);
        (await browser.List()).IsOk();
        (await server.Client(await server.MintAsync("usr_1")).List(null, WithPayloads)).IsOk();
    }

    [Fact]
    public async Task Where_metadata_reads_are_recorded_they_count_too()
    {
        await using var server = await StartAsync(
            options => options with { AuditPerApp = 1, AuditMetadataReads = true });
        (await server.Client().Set("k")).IsOk(); // where nothing was ever stored there is nothing to record
        await UntilRefusedAsync(100, _ => server.Client().Find("none"), status: 404);
        (await server.Client().List()).IsError(429, "rate_limit", null);
    }

    [Fact]
    public async Task New_accounts_are_bounded_and_those_that_are_there_are_served()
    {
        await using var server = await StartAsync(options => options with { TenantsPerApp = 3 });
        var refused = await UntilRefusedAsync(31, i => server.Client(account: $"acct_{i}").Set("k"), most: 30);
        Assert.Equal("The app of the provided key has stored something for more new accounts than it may " +
            "in this time. Nothing of this request was stored. Try again after as many seconds as Retry-After "
                + "says.", refused.Message());
        // A delete that keeps its outcome makes a tenant as well, to keep it under.
        (await server.Client(account: "acct_new").Post(Delete, Nothing, "key")).IsError(429, "rate_limit", null);
        (await server.Client(account: "acct_new").Delete("k")).IsError(404, "resource_missing", "name");
        // So does an install, unless an operator makes it.
        var app = await server.AppIdAsync();
        (await server.Client(account: "acct_new").Post("/v1/apps/installs", [("app", app)]))
            .IsError(429, "rate_limit", null);
        (await server.Admin.Post($"{Operator.Apps}/{app}/installs", [("account", "acct_new")])).IsOk();
        (await server.Client(account: "acct_1").Set("another")).IsOk();
        (await server.Client(server.OtherAppKey, "acct_new").Set("k")).IsOk();
        server.Time.Move(TimeSpan.FromSeconds(1));
        await UntilRefusedAsync(4, i => server.Client(account: $"acct_later_{i}").Set("k"), most: 3);
    }

    [Fact]
    public async Task An_app_whose_changes_wait_is_told_so_and_another_apps_change_waits_with_them()
    {
        await using var server = await StartAsync(
            options => options with { WaitingPerApp = 2, WaitingPerEphemeralKey = 1 });
        if (PostgresServer.IsChosen)
            return; // a file is locked here
        var browser = server.Client(await server.MintAsync("usr_1"));
        using var session = new SqliteSession(server.StoreFile);
        for (var tries = 1; ; tries++)
        {
            // Connections, and all that is done once, are there before the lock, which a change awaits for 5 seconds
            // only.
            await Task.WhenAll([server.Client(server.OtherAppKey).Set("k"), browser.List(), .. Sets(server)]);
            session.Execute("BEGIN IMMEDIATE");
            var sets = Sets(server);
            await Until.SoAsync("eight are refused", () => sets.Count(set => set.IsCompleted) >= 8);
            var other = server.Client(server.OtherAppKey).Set("k");
            var refused = await browser.Set("k");
            session.Execute("ROLLBACK");
            var answers = await Task.WhenAll(sets);
            if (tries < 10 && (await other).Status + refused.Status != 200 + 429)
                continue; // the machine was so busy that it took longer
            (await other).IsOk();
            refused.IsError(429, "rate_limit", null);
            Assert.Contains("too many changes waiting to be stored", refused.Message(), StringComparison.Ordinal);
            // Two that waited, and one or two that were being written.
            Assert.InRange(answers.Count(answer => answer.Status == 200), 3, 4);
            Assert.All(answers.Where(answer => answer.Status != 200),
                answer => answer.IsError(429, "rate_limit", null));
            return;
        }

        static List<Task<Answer>> Sets(TestServer server) =>
            [.. Enumerable.Range(0, 12).Select(i => server.Client().Set("k", $"{i}"))];
    }

    [Fact]
    public async Task Who_has_used_up_all_of_it_can_still_revoke_disable_and_forget()
    {
        await using var server = await StartAsync(options => options with
        {
            AuditPerApp = 1,
            KeptPerApp = 1,
            TenantsPerApp = 1,
            RatePerKey = 200,
        });
        var ephemeral = (await server.Client().Post(Operator.Ephemeral, [("user", "usr_1")])).IsOk().Json;
        var key = (await server.KeyAsync("secret", livemode: false)).Id();
        var app = await server.AppIdAsync();
        await UntilRefusedAsync(200, i => SetAsync(server.Client(), $"{i}"));
        for (var i = 0; (await server.Client().Find("none")).Status != 429; i++) // until the key's rate is used up too
            Assert.InRange(i, 0, 300);

        (await server.Client().Raw(HttpMethod.Delete, $"{Operator.Ephemeral}/{ephemeral.Id()}", null)).IsOk();
        for (var i = 0; (await server.Admin.Get(Operator.Apps)).Status != 429; i++) // and the operator's
            Assert.InRange(i, 0, 300);

        (await server.Admin.Post($"{Operator.Apps}/{app}/accounts/acct_1/forget", [])).IsOk();
        (await server.Admin.Post($"{Operator.KeysPath}/{key}/revoke", [])).IsOk();
        (await server.Admin.Post($"{Operator.Apps}/{app}", [("disabled", "true")])).IsOk();
        (await server.Client().List()).IsError(401, null, null);
    }

    [Fact]
    public async Task Nothing_is_bounded_where_the_operator_says_so()
    {
        await using var server = await StartAsync(
            options => options with { WaitingPerApp = 0, WaitingPerEphemeralKey = 0 });
        var browser = server.Client(await server.MintAsync("usr_1"));
        for (var i = 0; i < 300; i++)
            (await SetAsync(browser, $"{i}")).IsOk();
    }

    [Fact]
    public void What_an_honest_app_leaves_at_the_rate_of_its_key_is_within_the_defaults()
    {
        const int Entry = 350, KeptOutcome = 400;
        Assert.True(CofferOptions.DefaultRatePerKey * KeptOutcome < CofferOptions.DefaultKeptPerApp * 1024);
        Assert.True(CofferOptions.DefaultRatePerKey * Entry < CofferOptions.DefaultAuditPerApp * 1024);
    }

    private static Task<Answer> SetAsync(TestServer.Caller caller, string idempotencyKey) =>
        caller.Post(Secrets, [("scope[type]", "account"), ("name", "k"), ("payload", "p")], idempotencyKey);

    /// <summary>Asks again and again until the answer is 429, which must come.</summary>
    private static async Task<Answer> UntilRefusedAsync(
        int tries, Func<int, Task<Answer>> ask, int status = 200, int? most = null)
    {
        for (var i = 0; i < tries; i++)
        {
            var answer = await ask(i);
            if (answer.Status == 429)
            {
                Assert.True(i > 0, "nothing was let in");
                Assert.True(most is null || i == most, $"{i} were let in");
                Assert.NotNull(answer.Header("Retry-After"));
                return answer.IsError(429, "rate_limit", null);
            }

            Assert.True(answer.Status == status, $"{answer.Status}: {answer.Text}");
        }

        throw new InvalidOperationException($"not refused in {tries} requests");
    }

    private static async Task<TestServer> StartAsync(Func<CofferOptions, CofferOptions> with)
    {
        var server = await TestServer.StartAsync();
        await server.StopAsync();
        await server.StartAgainAsync(with: with);
        return server;
    }
}

internal static class AnswerMessage
{
    public static string Message(this Answer answer) => (string)answer.Json["error"]!["message"]!;
}
