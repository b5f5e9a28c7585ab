namespace Coffer.Tests.Api;

/// <summary>Compare-and-set with <c>if_version</c> (docs/wire.md, "Compare and set").</summary>
public sealed class VersionsTests : ServerTests
{
    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task A_set_of_the_current_version_is_made_and_of_another_refused()
    {
        await Client.Set("k", "one");
        Assert.Equal("2", (await If("1", "two")).IsOk().Header("Coffer-Secret-Version"));
        var refused = (await If("1", "three")).IsError(409, "resource_version_mismatch", "if_version");
        Assert.Equal("false", refused.Header("Stripe-Should-Retry"));
        Assert.Contains("its version is 2, not 1", refused.Text, StringComparison.Ordinal);
        Assert.Equal("two", (await Client.Find("k", null, ("expand[]", "payload"))).Payload);
    }

    [Fact]
    public async Task Version_0_means_that_there_must_be_none()
    {
        (await If("0", "one")).IsOk();
        (await If("0", "two")).IsError(409, "resource_version_mismatch", "if_version");
        await Client.Delete("k");
        (await If("1", "three")).IsError(409, "resource_version_mismatch", "if_version");
        (await If("0", "four")).IsOk();
    }

    [Fact]
    public async Task An_expired_secret_has_no_version()
    {
        await Client.Set("k", "one", null, ("expires_at", $"{Server.Time.Seconds + 1}"));
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await If("1", "two")).IsError(409, "resource_version_mismatch", "if_version");
        (await If("0", "two")).IsOk();
    }

    [Fact]
    public async Task A_delete_takes_a_version_too()
    {
        await Client.Set("k", "one");
        (await Client.Delete("k", null, ("if_version", "2"))).IsError(409, "resource_version_mismatch", "if_version");
        (await Client.Delete("k", null, ("if_version", "1"))).IsOk();
        (await Client.Delete("k", null, ("if_version", "1"))).IsError(404, "resource_missing", "name");
    }

    [Fact]
    public async Task Of_many_writers_of_one_version_one_wins()
    {
        await Client.Set("k", "one");
        var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(i => If("1", $"writer {i}")));
        Assert.Single(answers, answer => answer.Status == 200);
        Assert.Equal(29, answers.Count(answer => answer.Status == 409));
        Assert.Equal("2", (await Client.Find("k")).Header("Coffer-Secret-Version"));
    }

    [Fact]
    public async Task A_mismatch_is_not_kept_under_an_idempotency_key()
    {
        (string, string)[] form = [("scope[type]", "account"), ("name", "k"), ("payload", "p"), ("if_version", "1")];
        (await Client.Post("/v1/apps/secrets", form, "key")).IsError(409, "resource_version_mismatch", "if_version");
        await Client.Set("k");
        Assert.Null((await Client.Post("/v1/apps/secrets", form, "key")).IsOk().Header("Idempotent-Replayed"));
        Assert.Equal("true", (await Client.Post("/v1/apps/secrets", form, "key")).IsOk().Header("Idempotent-Replayed"));
    }

    [Theory]
    [InlineData("-1", "This value must be greater than or equal to 0.")]
    [InlineData("one", "Invalid integer: one")]
    public async Task A_version_is_a_whole_number(string version, string message) =>
        (await If(version, "p")).IsError(400, "parameter_invalid_integer", "if_version", message);

    private Task<Answer> If(string version, string payload) => Client.Set("k", payload, null, ("if_version", version));
}
