using Coffer.Secrets;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Api;

/// <summary>
/// An ephemeral key keeps small answers only, and every answer that is kept is replayed whole (docs/wire.md,
/// "Idempotency").
/// </summary>
[Trait("Firm ground", "8")]
public sealed class SmallAnswersTests : ServerTests
{
    private const string Delete = "/v1/apps/secrets/delete";

    private static readonly (string, string)[] WithPayload =
        [("scope[type]", "account"), ("name", "k"), ("expand[]", "payload")];

    private TestServer.Caller browser = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        browser = Server.Client(await Server.MintAsync("usr_1"));
    }

    [Theory]
    [InlineData("a", Idempotency.LargestPayload)]
    [InlineData("é", Idempotency.LargestPayload / 2)]
    public async Task What_is_small_is_deleted_and_replayed_whole(string of, int times)
    {
        var payload = string.Concat(Enumerable.Repeat(of, times));
        (await Server.Client().Set("k", payload)).IsOk();
        var first = (await browser.Post(Delete, WithPayload, "key")).IsOk();
        var replay = (await browser.Post(Delete, WithPayload, "key")).IsOk();
        Assert.Equal((first.Text, payload), (replay.Text, replay.Payload));
        Assert.Equal("true", replay.Header("Idempotent-Replayed"));
    }

    [Fact]
    public async Task What_is_larger_is_refused_before_anything_is_deleted_and_the_key_can_be_used_again()
    {
        (await Server.Client().Set("k", new string('p', Idempotency.LargestPayload + 1))).IsOk();
        for (var i = 0; i < 2; i++)
        {
            (await browser.Post(Delete, WithPayload, "key")).IsError(400, null, "expand",
                "The payload is longer than 2048 bytes, which is the most that is stored for an ephemeral key " +
                "under an Idempotency-Key. Nothing was deleted. " +
                "Find the secret first, then delete it without 'expand[]=payload'; or send no Idempotency-Key.");
        }

        // What the message says to do works, under the same key.
        Assert.Equal(2_049, (await browser.Find("k", null, ("expand[]", "payload"))).IsOk().Payload!.Length);
        var first = (await browser.Post(Delete, WithPayload[..2], "key")).IsOk();
        Assert.Equal(first.Text, (await browser.Post(Delete, WithPayload[..2], "key")).IsOk().Text);
        var audit = (await Server.Admin.Get("/admin/v1/audit")).IsOk().Text;
        Assert.Contains("payload_too_large", audit, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_an_idempotency_key_and_with_a_backends_key_any_payload_is_given()
    {
        foreach (var (caller, key) in ((TestServer.Caller, string?)[])[(browser, null), (Server.Client(), "key")])
        {
            (await Server.Client().Set("k", new string('p', 5_000))).IsOk();
            Assert.Equal(5_000, (await caller.Post(Delete, WithPayload, key)).IsOk().Payload!.Length);
        }

        Assert.Equal(5_000, (await Server.Client().Post(Delete, WithPayload, "key")).IsOk().Payload!.Length);
    }

    [Fact]
    public async Task A_404_with_a_long_name_is_replayed_whole_and_keeps_no_name()
    {
        (string, string)[] none = [("scope[type]", "account"), ("name", new string('n', 5_000))];
        foreach (var caller in (TestServer.Caller[])[browser, Server.Client()])
        {
            var first = await caller.Post(Delete, none, "key");
            first.IsError(404, "resource_missing", "name", $"No such secret: '{none[1].Item2}'");
            var replay = await caller.Post(Delete, none, "key");
            Assert.Equal((404, first.Text, "true"), (replay.Status, replay.Text, replay.Header("Idempotent-Replayed")));
        }

        await Server.StopAsync();
        if (PostgresServer.IsChosen)
            return; // what a row takes is looked at in the file
        using var session = new SqliteSession(Server.StoreFile);
        Assert.InRange(session.Scalar("SELECT max(length(sealed)) FROM idempotency"), 1, 1_000);
    }
}
