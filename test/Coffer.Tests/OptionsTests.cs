namespace Coffer.Tests;

public sealed class OptionsTests
{
    [Theory]
    [InlineData("http://127.0.0.1:26333")]
    [InlineData("http://localhost:80")]
    [InlineData("http://[::1]:0")]
    [InlineData("http://127.9.9.9:1")]
    public void Loopback_needs_no_more_words(string listen) => Assert.Equal(new Uri(listen), Options(listen).Validate());

    [Theory]
    [InlineData("http://0.0.0.0:26333")]
    [InlineData("http://192.168.1.10:26333")]
    [InlineData("http://[::]:26333")]
    public void Plain_HTTP_beyond_this_machine_needs_the_operators_word(string listen)
    {
        Assert.Contains("--insecure-http", Assert.Throws<ConfigurationException>(() => Options(listen).Validate()).Message, StringComparison.Ordinal);
        Assert.Equal(new Uri(listen), Options(listen, insecure: true).Validate());
        Assert.Contains("this machine only", Assert.Throws<ConfigurationException>(() => Options(listen, insecure: true, dev: new(null, false)).Validate()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:26333")]
    [InlineData("https://127.0.0.1:26333")]
    [InlineData("http://example.com:26333")]
    [InlineData("http://127.0.0.1:26333/path")]
    [InlineData("http://user@127.0.0.1:26333")]
    [InlineData("http://127.0.0.1:99999")]
    [InlineData("")]
    public void An_address_that_cannot_be_listened_at_is_refused(string listen) =>
        Assert.Contains("--listen", Assert.Throws<ConfigurationException>(() => Options(listen, insecure: true).Validate()).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("sk_live_anything")]
    [InlineData("rk_test_anything")]
    [InlineData("sk_test_")]
    [InlineData("sk_test_with space")]
    [InlineData("anything")]
    public void Dev_mode_takes_test_keys_only(string key) =>
        Assert.Contains("--key", Assert.Throws<ConfigurationException>(() => Options("http://127.0.0.1:1", dev: new(key, false)).Validate()).Message, StringComparison.Ordinal);

    [Fact]
    public void All_problems_are_told_at_once()
    {
        var options = new CofferOptions { Data = ".", Listen = "nowhere", SecretsPerScope = 10_001, Audit = "off", AuditRetentionDays = 0, Dev = new("sk_live_x", false) };
        var message = Assert.Throws<ConfigurationException>(options.Validate).Message;
        foreach (var name in (string[])["--listen", "--secrets-per-scope", "--key", "--audit", "--audit-retention-days"])
            Assert.Contains(name, message, StringComparison.Ordinal);
    }

    private static CofferOptions Options(string listen, bool insecure = false, CofferOptions.DevOptions? dev = null) =>
        new() { Data = ".", Listen = listen, InsecureHttp = insecure, Dev = dev };
}
