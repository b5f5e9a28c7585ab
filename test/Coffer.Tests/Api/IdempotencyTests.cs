namespace Coffer.Tests.Api;

/// <summary>One key, one effect (docs/wire.md, "Idempotency").</summary>
public sealed class IdempotencyTests : ServerTests
{
    private const string Secrets = "/v1/apps/secrets";
    private const string Delete = $"{Secrets}/delete";

    private static readonly (string, string)[] Where = [("scope[type]", "account"), ("name", "k")];

    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task A_repeated_set_is_replayed_to_the_byte_and_has_one_effect()
    {
        (string, string)[] form = [.. Where, ("payload", "one"), ("expand[]", "payload")];
        var first = (await Client.Post(Secrets, form, "key")).IsOk();
        Assert.Equal(("key", "false"), (first.Header("Idempotency-Key"), first.Header("Stripe-Should-Retry")));
        Assert.Equal(first.Header("Request-Id"), first.Header("Original-Request"));
        Assert.Null(first.Header("Idempotent-Replayed"));

        await Client.Set("k", "two");
        Server.Time.Move(TimeSpan.FromHours(1));
        var replay = (await Client.Post(Secrets, form, "key")).IsOk();
        Assert.Equal(first.Text, replay.Text);
        Assert.Equal("true", replay.Header("Idempotent-Replayed"));
        Assert.Equal(first.Header("Request-Id"), replay.Header("Original-Request"));
        Assert.NotEqual(first.Header("Request-Id"), replay.Header("Request-Id"));
        Assert.Equal("1", replay.Header("Coffer-Secret-Version"));
        Assert.Equal("two", (await Client.Find("k", null, ("expand[]", "payload"))).Payload);
    }

    [Fact]
    public async Task A_repeated_delete_replays_what_was_deleted()
    {
        await Client.Set("k", "very secret");
        var first = (await Client.Post(Delete, [.. Where, ("expand[]", "payload")], "key")).IsOk();
        await Client.Set("k", "new");
        var replay = (await Client.Post(Delete, [.. Where, ("expand[]", "payload")], "key")).IsOk();
        Assert.Equal(first.Text, replay.Text);
        Assert.Equal("very secret", replay.Payload);
        (await Client.Find("k")).IsOk();
    }

    [Fact]
    public async Task A_refusal_that_came_of_what_was_stored_is_kept_too()
    {
        var missing = (await Client.Post(Delete, Where, "delete")).IsError(404, "resource_missing", "name");
        await Client.Set("k");
        var replay = await Client.Post(Delete, Where, "delete");
        Assert.Equal((missing.Text, "true"), (replay.Text, replay.Header("Idempotent-Replayed")));

        for (var i = 1; i < 10; i++)
            await Client.Set($"k{i}");
        (string, string)[] eleventh = [("scope[type]", "account"), ("name", "more"), ("payload", "p")];
        var full = (await Client.Post(Secrets, eleventh, "set")).IsError(400, null, null);
        await Client.Delete("k1");
        Assert.Equal(full.Text, (await Client.Post(Secrets, eleventh, "set")).Text);
        (await Client.Post(Secrets, eleventh, "another")).IsOk();
    }

    [Fact]
    public async Task A_refusal_of_the_request_as_such_is_not_kept()
    {
        (await Client.Post(Secrets, Where, "key")).IsError(400, "parameter_missing", "payload");
        var set = (await Client.Post(Secrets, [.. Where, ("payload", "p")], "key")).IsOk();
        Assert.Null(set.Header("Idempotent-Replayed"));
    }

    [Theory]
    [InlineData(Secrets, "payload", "other")]
    [InlineData(Secrets, "name", "other")]
    [InlineData(Secrets, "expires_at", "1900000000")]
    [InlineData(Delete, null, null)]
    public async Task The_same_key_with_another_request_is_refused(string path, string? param, string? value)
    {
        var form = new Dictionary<string, string> { ["scope[type]"] = "account", ["name"] = "k", ["payload"] = "p" };
        (await Client.Post(Secrets, Fields(form), "key")).IsOk();
        if (param is not null)
            form[param] = value!;
        else
            form.Remove("payload");
        var refused = (await Client.Post(path, Fields(form), "key")).IsError(400, null, null,
            "Keys for idempotent requests can only be used with the same parameters they were first used with. " +
            "Try using a key other than 'key' if you meant to execute a different request.", "idempotency_error");
        Assert.Null(refused.Header("Idempotent-Replayed"));
        (await Client.Find("k")).IsOk();

        static (string, string)[] Fields(Dictionary<string, string> form) =>
            [.. form.Select(field => (field.Key, field.Value))];
    }

    [Fact]
    public async Task Many_at_once_have_one_effect_and_the_others_replay_or_are_told_to_retry()
    {
        (string, string)[] form = [.. Where, ("payload", "p")];
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => Client.Post(Secrets, form, "key")));
        Assert.Single(answers, answer => answer.Status == 200 && answer.Header("Idempotent-Replayed") is null);
        foreach (var busy in answers.Where(answer => answer.Status != 200))
        {
            busy.IsError(409, "idempotency_key_in_use", null, type: "idempotency_error");
            Assert.Equal("true", busy.Header("Stripe-Should-Retry"));
        }

        Assert.Equal("1", (await Client.Find("k")).Header("Coffer-Secret-Version"));
    }

    [Fact]
    public async Task An_outcome_survives_a_restart()
    {
        (string, string)[] form = [.. Where, ("payload", "p")];
        var first = (await Client.Post(Secrets, form, "key")).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        var replay = (await Client.Post(Secrets, form, "key")).IsOk();
        Assert.Equal((first.Text, "true"), (replay.Text, replay.Header("Idempotent-Replayed")));
    }

    [Fact]
    public async Task A_key_is_as_new_after_24_hours()
    {
        (await Client.Post(Secrets, [.. Where, ("payload", "one")], "key")).IsOk();
        Server.Time.Move(TimeSpan.FromHours(24) - TimeSpan.FromSeconds(1));
        (await Client.Post(Secrets, [.. Where, ("payload", "two")], "key")).IsError(400, null, null,
            type: "idempotency_error");
        Server.Time.Move(TimeSpan.FromSeconds(1));
        var fresh = (await Client.Post(Secrets, [.. Where, ("payload", "two")], "key")).IsOk();
        Assert.Null(fresh.Header("Idempotent-Replayed"));
        var replay = (await Client.Post(Secrets, [.. Where, ("payload", "two")], "key")).IsOk();
        Assert.Equal("true", replay.Header("Idempotent-Replayed"));
    }

    [Fact]
    public async Task A_key_has_1_to_255_printable_characters()
    {
        (await Client.Post(Secrets, [.. Where, ("payload", "p")], new string('k', 255))).IsOk();
        (await Client.Post(Secrets, [.. Where, ("payload", "p")], new string('k', 256))).IsError(400, null, null);
    }

    [Fact]
    public async Task A_key_on_a_GET_is_passed_over()
    {
        var answer = await Client.Raw(HttpMethod.Get, $"{Secrets}?scope[type]=account", null, "key");
        Assert.Null(answer.IsOk().Header("Idempotency-Key"));
        (await Client.Post(Secrets, [.. Where, ("payload", "p")], "key")).IsOk();
    }
}
