using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// The fixtures of the SDKs' own suites, which are written for a server without a memory ("Firm edges", 28).
/// </summary>
[Trait("Firm edges", "28")]
public sealed class FixturesTests : IAsyncLifetime
{
    private TestServer server = null!;

    private TestServer.Caller Client => server.Client("sk_test_anything");

    public async ValueTask InitializeAsync() =>
        server = await TestServer.StartAsync(dev: new("sk_test_anything", SeedFixtures: true));

    [Theory]
    [InlineData("sec_123", "very secret string")]
    [InlineData("my-api-key", "secret_key_xxxxxx")]
    public async Task What_was_deleted_is_there_for_the_next_request(string name, string payload)
    {
        for (var i = 0; i < 3; i++)
        {
            Assert.True((bool)(await Client.Delete(name)).IsOk().Json["deleted"]!);
            Assert.Equal(payload, (await Client.Find(name, null, ("expand[]", "payload"))).IsOk().Payload);
        }

        (await Client.Delete(name)).IsOk();
        Assert.Equal(["my-api-key", "sec_123"], (await Client.List()).IsOk().Names.Order());
    }

    [Fact]
    public async Task Of_many_deletes_at_once_each_finds_it()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Client.Delete("sec_123")));
        Assert.All(answers, answer => answer.IsOk());
    }

    [Fact]
    public async Task One_that_has_expired_or_went_with_its_account_is_there_too()
    {
        (await Client.Set("sec_123", "p", null, ("expires_at", $"{server.Time.Seconds + 60}"))).IsOk();
        server.Time.Move(TimeSpan.FromMinutes(2));
        Assert.Equal("very secret string",
            (await Client.Find("sec_123", null, ("expand[]", "payload"))).IsOk().Payload);
        (await server.Admin.Post($"{Apps}/app_dev/accounts/acct_dev/forget", [])).IsOk();
        (await Client.Delete("my-api-key")).IsOk();
    }

    [Fact]
    public async Task What_was_set_under_its_name_stays_until_it_is_deleted()
    {
        (await Client.Set("sec_123", "mine")).IsOk();
        Assert.Equal("mine", (await Client.Find("sec_123", null, ("expand[]", "payload"))).IsOk().Payload);
        (await Client.Delete("sec_123")).IsOk();
        Assert.Equal("very secret string",
            (await Client.Find("sec_123", null, ("expand[]", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task No_other_name_user_or_account_is_touched()
    {
        var account = server.Client("sk_test_anything", "acct_1");
        foreach (var (caller, name, user) in ((TestServer.Caller, string, string?)[])
            [(Client, "k", null), (Client, "sec_123", "usr_1"), (account, "sec_123", null)])
        {
            (await caller.Set(name, "p", user)).IsOk();
            (await caller.Delete(name, user)).IsOk();
            (await caller.Find(name, user)).IsError(404, "resource_missing", "name");
        }
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();
}
