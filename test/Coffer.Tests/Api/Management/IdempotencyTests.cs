using System.Text;
using System.Text.Json.Nodes;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api.Management;

/// <summary>
/// An Idempotency-Key on the management plane keeps successes, sealed, for 24 hours (docs/management.md).
/// </summary>
public sealed class IdempotencyTests : ServerTests
{
    private string app = null!;

    private TestServer.Caller Admin => Server.Admin;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    public async Task Every_write_is_replayed_to_the_byte_with_what_is_shown_once_and_has_one_effect()
    {
        var key = (await Server.NewKeyAsync("secret", app)).Id();
        await Server.Client(account: "acct_1").Set("k");
        foreach (var (path, form) in ((string, (string, string)[])[])[
            (Apps, [("name", "x")]),
            ($"{Apps}/{app}", [("name", "y")]),
            ($"{Apps}/{app}/signing_secret/roll", [("grace_period", "10")]),
            (KeysPath, [("type", "secret"), ("app", app)]),
            ($"{KeysPath}/{key}/roll", [("grace_period", "10")]),
            ($"{KeysPath}/{key}/revoke", []),
            ($"{Apps}/{app}/accounts/acct_1/forget", [])])
        {
            var first = (await Admin.Post(path, form, path)).IsOk();
            Assert.Equal(
                (path, "false", null),
                (first.Header("Idempotency-Key"), first.Header("Stripe-Should-Retry"),
                    first.Header("Idempotent-Replayed")));
            Assert.Equal(first.Header("Request-Id"), first.Header("Original-Request"));
            var (apps, keys) = await CountAsync();

            Server.Time.Move(TimeSpan.FromSeconds(20));
            var replay = (await Admin.Post(path, form, path)).IsOk();
            // A receipt is signed behind the answer: a repetition shows how it stands now.
            if (path.EndsWith("/forget", StringComparison.Ordinal))
                Assert.Equal((string?)first.Json["receipt_id"], (string?)replay.Json["receipt_id"]);
            else
                Assert.Equal(first.Text, replay.Text);
            Assert.Equal(("true", first.Header("Request-Id")),
                (replay.Header("Idempotent-Replayed"), replay.Header("Original-Request")));
            Assert.NotEqual(first.Header("Request-Id"), replay.Header("Request-Id"));
            Assert.Equal((apps, keys), await CountAsync());
        }

        async Task<(int, int)> CountAsync() =>
            ((await Admin.Get(Apps, ("limit", "100"))).Ids().Count(), (await Admin.Get(KeysPath,
                ("limit", "100"))).Ids().Count());
    }

    [Fact]
    public async Task The_same_key_with_another_request_is_refused()
    {
        (await Admin.Post(Apps, [("name", "x"), ("secrets_per_scope", "5")], "k")).IsOk();
        (string, (string, string)[])[] others =
        [
            (Apps, [("name", "y"),
                ("secrets_per_scope", "5")]), (Apps, [("name", "x")]), (KeysPath, [("type", "admin")]),
            ($"{Apps}/{app}", [("name", "x"),
                ("secrets_per_scope", "5")]), ($"{Apps}/{app}/accounts/acct_1/forget", []),
        ];
        foreach (var (path, form) in others)
        {
            (await Admin.Post(path, form, "k")).IsError(400, null, null,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                    + "Try using a key other than 'k' if you meant to execute a different request.",
                "idempotency_error");
        }

        Assert.Equal(3, (await Admin.Get(Apps)).Ids().Count());
        // The order of the parameters does not make another request of it.
        Assert.Equal(
            "true",
            (await Admin.Post(Apps, [("secrets_per_scope", "5"), ("name", "x")], "k")).IsOk()
                .Header("Idempotent-Replayed"));
    }

    [Fact]
    public async Task An_idempotency_key_is_its_admin_keys_own()
    {
        var second = Server.Client((await Server.NewKeyAsync("admin", null)).Secret());
        var mine = (await Admin.Post(Apps, [("name", "mine")], "k")).IsOk();
        var theirs = (await second.Post(Apps, [("name", "theirs")], "k")).IsOk();
        Assert.Null(theirs.Header("Idempotent-Replayed"));
        Assert.NotEqual(mine.Id, theirs.Id);
        Assert.Equal(mine.Text, (await Admin.Post(Apps, [("name", "mine")], "k")).Text);
    }

    [Fact]
    public async Task A_refusal_is_decided_anew()
    {
        var first = (await Server.KeyAsync("admin", null)).Id();
        var key = await Server.NewKeyAsync("admin", null);
        var forLast = Server.Client(key.Secret());
        (await forLast.Post($"{KeysPath}/{key.Id()}/revoke", [("x", "y")], "k")).IsError(400, "parameter_unknown", "x");
        (await forLast.Post($"{Apps}/app_none/accounts/acct_1/forget", [], "k")).IsError(404, "resource_missing", "id");
        Assert.Null((await forLast.Post($"{KeysPath}/{first}/revoke", [], "k")).IsOk().Header("Idempotent-Replayed"));
        (await forLast.Post($"{KeysPath}/{key.Id()}/revoke", [], "l")).IsError(400, null, null);
        (await forLast.Post(KeysPath, [("type", "admin")])).IsOk();
        Assert.Null(
            (await forLast.Post($"{KeysPath}/{key.Id()}/revoke", [], "l")).IsOk().Header("Idempotent-Replayed"));
    }

    [Fact]
    public async Task Many_at_once_have_one_effect()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(_ => Admin.Post(Apps, [("name", "x")], "k")));
        Assert.Single(answers.Select(answer => answer.IsOk().Text).Distinct());
        Assert.Single(answers, answer => answer.Header("Idempotent-Replayed") is null);
        Assert.Equal(3, (await Admin.Get(Apps)).Ids().Count());
    }

    [Fact]
    public async Task A_reply_is_kept_over_a_restart_and_for_24_hours()
    {
        var first = (await Admin.Post(Apps, [("name", "x")], "k")).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        Assert.Equal(first.Text, (await Admin.Post(Apps, [("name", "x")], "k")).IsOk().Text);
        Server.Time.Move(TimeSpan.FromHours(24) - TimeSpan.FromSeconds(1));
        (await Admin.Post(Apps, [("name", "y")], "k")).IsError(400, null, null, type: "idempotency_error");
        Server.Time.Move(TimeSpan.FromSeconds(1));
        var fresh = (await Admin.Post(Apps, [("name", "y")], "k")).IsOk();
        Assert.Null(fresh.Header("Idempotent-Replayed"));
        Assert.Equal(fresh.Text, (await Admin.Post(Apps, [("name", "y")], "k")).IsOk().Text);
    }

    [Fact]
    public async Task What_is_kept_is_nowhere_in_clear()
    {
        var made = (await Admin.Post(Apps, [("name", "x")], "canary-idempotency-key")).IsOk();
        var key = (await Admin.Post(KeysPath, [("type", "secret"), ("app", app)], "canary-another")).IsOk();
        var minted = (await Server.Client().Post(Ephemeral, [("user", "canary-user")], "canary-third")).IsOk();
        await Server.StopAsync();
        foreach (var canary in (string[])[
            "canary", (string)made.Json["signing_secret_test"]!, (string)made.Json["signing_secret_live"]!,
            key.Json.Secret(), minted.Json.Secret(), minted.Json.Secret()[20..80]])
            Assert.False(Server.IsInFiles(Encoding.UTF8.GetBytes(canary)), canary);
    }

    [Fact]
    public async Task Replays_and_refusals_are_on_record_as_such()
    {
        await Admin.Post(Apps, [("name", "x")], "k");
        await Admin.Post(Apps, [("name", "x")], "k");
        await Admin.Post(Apps, [("name", "y")], "k");
        Assert.Equal(
            ["refused", "replayed", "ok"],
            (await Admin.Get("/admin/v1/audit", ("verb", "create_app"))).IsOk().Json["data"]!.AsArray()
                .Select(entry => (string?)entry!["outcome"]));
    }

    [Fact]
    public async Task A_reveal_and_an_export_keep_nothing()
    {
        var id = (await Server.Client(account: "acct_1").Set("k", "one")).Id;
        var account = await Server.AccountAsync("acct_1");
        foreach (var path in (string[])[$"{account}/secrets/{id}/reveal", $"{account}/export"])
        {
            (await Admin.Post(path, [("reason", "r")], "k")).IsOk();
            await Server.Client(account: "acct_1").Set("k", "two");
            var again = (await Admin.Post(path, [("reason", "r")], "k")).IsOk();
            Assert.Null(again.Header("Idempotent-Replayed"));
            Assert.Contains("\"payload\": \"two\"", again.Text, StringComparison.Ordinal);
            (await Admin.Post(path, [("reason", "another")], "k")).IsOk();
            await Server.Client(account: "acct_1").Set("k", "one");
        }
    }
}
