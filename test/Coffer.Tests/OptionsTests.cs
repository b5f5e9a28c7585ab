using System.Net;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Tests;

/// <summary>Which addresses may be listened at, and what has to go together.</summary>
public sealed class OptionsTests
{
    [Theory]
    [InlineData("http://127.0.0.1:26333")]
    [InlineData("http://localhost:80")]
    [InlineData("http://[::1]:0")]
    [InlineData("http://127.9.9.9:1")]
    public void Loopback_needs_no_more_words(string listen)
    {
        Preflight.Require(Options(listen));
        Preflight.Require(
            Options("http://127.0.0.1:26333", admin: listen.Replace("26333", "1", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("http://0.0.0.0:26333")]
    [InlineData("http://192.168.1.10:26333")]
    [InlineData("http://[::]:26333")]
    public void Plain_HTTP_beyond_this_machine_needs_the_operators_word(string listen)
    {
        foreach (var options in (CofferOptions[])[Options(listen), Options("http://127.0.0.1:0", admin: listen)])
        {
            var message = Refusal(options);
            foreach (var word in (string[])["--insecure-http", "https://", "--tls-cert", $"listen '{listen}'"])
                Assert.Contains(word, message, StringComparison.Ordinal);
            Preflight.Require(options with { InsecureHttp = true });
        }

        Assert.Contains("this machine only",
            Refusal(Options(listen, dev: new(null, false)) with { InsecureHttp = true }), StringComparison.Ordinal);
        Assert.Contains(
            "this machine only",
            Refusal(Options(listen.Replace("http", "https", StringComparison.Ordinal), dev: new(null, false))),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:26333")]
    [InlineData("ftp://127.0.0.1:26333")]
    [InlineData("http://example.com:26333")]
    [InlineData("http://127.0.0.1:26333/path")]
    [InlineData("http://127.0.0.1:26333/#fragment")]
    [InlineData("http://user@127.0.0.1:26333")]
    [InlineData("http://127.0.0.1:99999")]
    [InlineData("")]
    public void An_address_that_cannot_be_listened_at_is_refused(string listen)
    {
        Assert.StartsWith($"--listen '{listen}' is not of the form",
            Refusal(Options(listen) with { InsecureHttp = true }), StringComparison.Ordinal);
        Assert.StartsWith(
            $"--admin-listen '{listen}' is not of the form",
            Refusal(Options("http://127.0.0.1:0", admin: listen) with { InsecureHttp = true }),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://127.0.0.1:26333", "http://127.0.0.1:26333")]
    [InlineData("http://127.0.0.1:26333", "http://localhost:26333")]
    [InlineData("http://127.0.0.1:26333", "https://127.0.0.1:26333")]
    public void The_management_plane_has_an_address_of_its_own(string listen, string admin) =>
        Assert.Contains("--admin-listen", Refusal(Options(listen, admin)), StringComparison.Ordinal);

    [Theory]
    [InlineData(null, "http://127.0.0.1:26333", "is also the address of --listen: give the metrics an address")]
    [InlineData("http://127.0.0.1:1", "http://127.0.0.1:1", "is also the address of --admin-listen: leave it out")]
    [InlineData(null, "http://192.0.2.1:1", "would send secrets in plain text")]
    [InlineData(null, "https://127.0.0.1:1", "--metrics-listen is https, which needs --tls-cert and --tls-key")]
    [InlineData(null, "127.0.0.1:1", "--metrics-listen '127.0.0.1:1' is not of the form")]
    public void Metrics_have_an_address_of_their_own(string? admin, string metrics, string problem) => Assert.Contains(
        problem, Refusal(Options("http://127.0.0.1:26333", admin) with { MetricsListen = metrics }),
        StringComparison.Ordinal);

    [Fact]
    public void Two_free_ports_are_two_addresses() =>
        Preflight.Require(Options("http://127.0.0.1:0", "http://127.0.0.1:0"));

    [Fact]
    public void Certificate_key_and_https_go_together()
    {
        using var files = new PemFiles();
        var tls = Options("https://127.0.0.1:0") with { TlsCert = files.Cert, TlsKey = files.Key };
        Preflight.Require(tls);
        Preflight.Require(tls with { Listen = "https://0.0.0.0:0" }); // encrypted: no other word is needed
        Preflight.Require(tls with { Listen = "http://127.0.0.1:0", AdminListen = "https://0.0.0.0:0" });
        Preflight.Require(tls with { Dev = new(null, false) });

        Assert.Equal("--tls-cert needs --tls-key with it", Refusal(tls with { TlsKey = null }));
        Assert.Equal("--tls-key needs --tls-cert with it", Refusal(tls with { TlsCert = null }));
        Assert.Equal("--listen is https, which needs --tls-cert and --tls-key",
            Refusal(Options("https://127.0.0.1:0")));
        Assert.Equal("--admin-listen is https, which needs --tls-cert and --tls-key",
            Refusal(Options("http://127.0.0.1:0", admin: "https://127.0.0.1:0")));
        Assert.Contains("no listening address is https", Refusal(tls with { Listen = "http://127.0.0.1:0" }),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Options_show_nothing_when_printed() =>
        Assert.Equal("[redacted]", Options("http://127.0.0.1:0", dev: new("sk_test_x", false)).ToString());

    [Fact]
    public void A_proxy_is_no_more_than_its_network() => Assert.Equal(
        [IPNetwork.Parse("10.0.0.0/8"), IPNetwork.Parse("192.0.2.1/32"), IPNetwork.Parse("2001:db8::1/128")],
        Configuration.ForDev(new Dictionary<string, string>
        { ["trusted-proxies"] = "10.0.0.0/8, 192.0.2.1,2001:db8::1" }).TrustedProxies);

    private static string Refusal(CofferOptions options) =>
        Assert.Throws<ConfigurationException>(() => Preflight.Require(options)).Message;

    private static CofferOptions Options(string listen, string? admin = null, CofferOptions.DevOptions? dev = null) =>
        new() { Data = ".", Listen = listen, AdminListen = admin, Dev = dev };
}
