using Coffer.Client;

namespace Coffer.Tests.Client;

/// <summary>A server may send any number as a time: the client gives it, and does not end because of it.</summary>
[Trait("Firm ground", "16")]
public sealed class TimesTests
{
    [Theory]
    [InlineData("9223372036854775807", long.MaxValue, 9999)]
    [InlineData("-9223372036854775808", long.MinValue, 1)]
    [InlineData("1795887533000", 1_795_887_533_000, 9999)]
    [InlineData("4105080000", 4_105_080_000, 2100)]
    public async Task A_time_that_is_no_date_is_the_nearest_date_and_its_number(string sent, long seconds, int year)
    {
        await using var server = await ScriptedServer.StartAsync((200, Secret(sent, sent)), (200, Key(sent)));
        using var client = new CofferClient(server.Url, "sk_test_1");
        var secret = (await client.FindAsync(SecretScope.Account, "k"))!;
        Assert.Equal((seconds, seconds), (secret.CreatedSeconds, secret.ExpiresAtSeconds));
        Assert.Equal((year, year), (secret.Created.Year, secret.ExpiresAt!.Value.Year));
        var key = await client.MintAsync("usr_1");
        Assert.Equal((seconds, year), (key.ExpiresSeconds, key.Expires.Year));
    }

    [Theory]
    [InlineData("1e300")]
    [InlineData("1.5")]
    [InlineData("\"tomorrow\"")]
    [InlineData("9223372036854775808")]
    public async Task What_is_no_number_of_seconds_is_an_answer_that_makes_no_sense(string sent)
    {
        await using var server = await ScriptedServer.StartAsync((200, Secret("1", sent)));
        using var client = new CofferClient(server.Url, "sk_test_1");
        var e = await Assert.ThrowsAsync<CofferException>(() => client.FindAsync(SecretScope.Account, "k"));
        Assert.Contains("expires_at", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_never_expires_has_no_time()
    {
        await using var server = await ScriptedServer.StartAsync((200, Secret("4105080000", "null")));
        using var client = new CofferClient(server.Url, "sk_test_1");
        var secret = (await client.FindAsync(SecretScope.Account, "k"))!;
        Assert.Null(secret.ExpiresAt);
        Assert.Null(secret.ExpiresAtSeconds);
    }

    private static string Secret(string created, string expires) => $$"""
        {"id": "appsecret_1", "object": "apps.secret", "created": {{created}}, "expires_at": {{expires}},
        "livemode": false, "name": "k", "scope": {"type": "account"} }
        """;

    private static string Key(string at) => $$"""
        {"id": "ephkey_1", "object": "ephemeral_key", "account": "acct_1", "user": "usr_1", "livemode": false,
        "permissions": [], "created": {{at}}, "expires": {{at}}, "secret": "ek_test_1"}
        """;
}
