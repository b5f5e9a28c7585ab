namespace Coffer.Tests.Api;

/// <summary>Set, find, list and delete as a client sees them.</summary>
public sealed class VerbsTests : ServerTests
{
    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task A_secret_has_the_fields_of_the_reference_in_their_order()
    {
        var answer = (await Client.Set("my-api-key", "secret_key_xxxxxx")).IsOk();
        Assert.Equal($$"""
            {
              "id": "{{answer.Id}}",
              "object": "apps.secret",
              "created": {{Server.Time.Seconds}},
              "expires_at": null,
              "livemode": false,
              "name": "my-api-key",
              "scope": {
                "type": "account"
              }
            }

            """, answer.Text);
        Assert.Matches("^appsecret_[0-9A-Za-z]{30}$", answer.Id);
    }

    [Fact]
    public async Task A_users_secret_names_its_user_and_its_expiry()
    {
        var at = Server.Time.Seconds + 60;
        var json = (await Client.Set("token", "p", "usr_1", ("expires_at", $"{at}"))).IsOk().Json;
        Assert.Equal(at, (long)json["expires_at"]!);
        Assert.Equal("""{"type":"user","user":"usr_1"}""", json["scope"]!.ToJsonString());
    }

    [Fact]
    public async Task Find_returns_no_payload_unless_expanded()
    {
        await Client.Set("k", "very secret");
        Assert.Null((await Client.Find("k")).IsOk().Json.AsObject()["payload"]);
        Assert.DoesNotContain("payload", (await Client.Find("k")).Text, StringComparison.Ordinal);
        Assert.Equal("very secret", (await Client.Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Equal("very secret",
            (await Client.Find("k", null, ("expand[0]", "payload"), ("expand[1]", "scope"))).IsOk().Payload);
        Assert.Equal("very secret", (await Client.Find("k", null, ("expand", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task Set_shows_the_payload_when_it_is_expanded() =>
        Assert.Equal("very secret",
            (await Client.Set("k", "very secret", null, ("expand[]", "payload"))).IsOk().Payload);

    [Fact]
    public async Task List_shows_payloads_when_they_are_expanded()
    {
        await Client.Set("k", "very secret");
        Assert.DoesNotContain("payload", (await Client.List()).IsOk().Text, StringComparison.Ordinal);
        var expanded = (await Client.List(null, ("expand[]", "data.payload"), ("expand[]", "data"))).IsOk();
        Assert.Equal("very secret", (string?)expanded.Json["data"]![0]!["payload"]);
    }

    [Fact]
    public async Task Replacing_keeps_id_and_created_and_replaces_payload_and_expiry()
    {
        var first = (await Client.Set("k", "one", null, ("expires_at", $"{Server.Time.Seconds + 60}"))).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(5));
        var second = (await Client.Set("k", "two")).IsOk();
        Assert.Equal(first.Id, second.Id);
        Assert.Equal((long)first.Json["created"]!, (long)second.Json["created"]!);
        Assert.Null(second.Json["expires_at"]);
        Assert.Equal(("1", "2"), (first.Header("Coffer-Secret-Version"), second.Header("Coffer-Secret-Version")));
        Assert.Equal("two", (await Client.Find("k", null, ("expand[]", "payload"))).Payload);
        Assert.Single((await Client.List()).Names);
    }

    [Fact]
    public async Task Delete_answers_the_whole_secret_once_and_then_404()
    {
        var set = (await Client.Set("k", "very secret")).IsOk();
        var deleted = (await Client.Delete("k", null, ("expand[]", "payload"))).IsOk();
        Assert.True((bool)deleted.Json["deleted"]!);
        Assert.Equal((set.Id, "k", "very secret"), (deleted.Id, (string?)deleted.Json["name"], deleted.Payload));
        (await Client.Delete("k")).IsError(404, "resource_missing", "name", "No such secret: 'k'");
        (await Client.Find("k")).IsError(404, "resource_missing", "name", "No such secret: 'k'");
    }

    [Fact]
    public async Task A_name_that_is_set_again_after_a_delete_is_a_new_secret()
    {
        var first = (await Client.Set("k")).IsOk();
        await Client.Delete("k");
        var second = (await Client.Set("k")).IsOk();
        Assert.NotEqual(first.Id, second.Id);
        Assert.Equal("1", second.Header("Coffer-Secret-Version"));
    }

    [Fact]
    public async Task The_same_name_in_two_scopes_is_two_secrets()
    {
        await Client.Set("k", "account's");
        await Client.Set("k", "one's", "usr_1");
        await Client.Set("k", "two's", "usr_2");
        Assert.Equal("account's", (await Client.Find("k", null, ("expand[]", "payload"))).Payload);
        Assert.Equal("one's", (await Client.Find("k", "usr_1", ("expand[]", "payload"))).Payload);
        Assert.Equal("two's", (await Client.Find("k", "usr_2", ("expand[]", "payload"))).Payload);
        await Client.Delete("k", "usr_1");
        (await Client.Find("k", "usr_1")).IsError(404, "resource_missing", "name");
        (await Client.Find("k", "usr_2")).IsOk();
    }

    [Fact]
    public async Task The_eleventh_secret_of_a_scope_is_refused_and_a_replacement_is_not()
    {
        for (var i = 0; i < 10; i++)
            (await Client.Set($"k{i}")).IsOk();
        var refused = (await Client.Set("k10")).IsError(400, null, null);
        Assert.Contains("10 secrets", refused.Text, StringComparison.Ordinal);
        Assert.Contains("GET /v1/apps/secrets", refused.Text, StringComparison.Ordinal);
        (await Client.Set("k3", "replaced")).IsOk();
        (await Client.Set("k10", user: "usr_1")).IsOk();
        await Client.Delete("k0");
        (await Client.Set("k10")).IsOk();
    }

    [Fact]
    public async Task The_quota_is_exact_under_concurrency()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => Client.Set($"k{i}")));
        Assert.Equal(10, answers.Count(answer => answer.Status == 200));
        Assert.Equal(30, answers.Count(answer => answer.Status == 400));
        Assert.Equal(10, (await Client.List(null, ("limit", "100"))).Names.Length);
    }

    [Fact]
    public async Task Concurrent_sets_of_one_name_leave_one_secret_with_a_version_for_each()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => Client.Set("k", $"payload {i}")));
        Assert.Single(answers.Select(answer => answer.IsOk().Id).Distinct());
        Assert.Equal(Enumerable.Range(1, 20),
            answers.Select(answer => int.Parse(answer.Header("Coffer-Secret-Version")!)).Order());
        var last = answers.Single(answer => answer.Header("Coffer-Secret-Version") == "20");
        Assert.Equal($"payload {Array.IndexOf(answers, last)}",
            (await Client.Find("k", null, ("expand[]", "payload"))).Payload);
    }

    [Fact]
    public async Task The_quota_can_be_set()
    {
        await Server.StopAsync();
        await Server.StartAgainAsync(secretsPerScope: 2);
        (await Client.Set("a")).IsOk();
        (await Client.Set("b")).IsOk();
        Assert.Contains("2 secrets", (await Client.Set("c")).IsError(400, null, null).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Secrets_survive_a_restart()
    {
        var set = (await Client.Set("k", "very secret", "usr_1")).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        var found = (await Client.Find("k", "usr_1", ("expand[]", "payload"))).IsOk();
        Assert.Equal((set.Id, "very secret"), (found.Id, found.Payload));
    }
}
