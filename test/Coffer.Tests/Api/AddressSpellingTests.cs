using System.Net;
using System.Net.Http.Headers;

namespace Coffer.Tests.Api;

/// <summary>A client's address has one spelling, by whichever way it came.</summary>
[Trait("Firm edges", "13")]
public sealed class AddressSpellingTests : ServerTests
{
    private const string Bad = "sk_test_nobody";

    [Fact]
    public async Task An_IPv4_client_of_an_IPv6_listener_is_the_same_client_for_log_networks_and_limits()
    {
        var app = await Server.AppIdAsync();
        var held = (await Server.NewKeyAsync("secret", app, ("addresses[]", "127.0.0.1"))).Secret();
        await Server.StopAsync();
        await Server.StartAgainAsync(ratePerAddress: 3, with: options => options with
        {
            Listen = "http://[::]:0",
            InsecureHttp = true,
            TrustedProxies = [IPNetwork.Parse("::1/128")],
        });
        Assert.Equal(200, await Ask(held, "127.0.0.1"));
        Assert.Equal(403, await Ask(held, "[::1]"));
        foreach (var spelled in (string[])["127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7f00:1", "127.0.0.1:4711"])
            Assert.Equal(200, await Ask(held, "[::1]", spelled)); // by a proxy

        // Refused keys of one client, however it is spelled: the fourth is one too many.
        foreach (var (at, spelled) in ((string, string?)[])[
            ("127.0.0.1", null), ("[::1]", "127.0.0.1"), ("[::1]", "::ffff:127.0.0.1")])
            Assert.Equal(401, await Ask(Bad, at, spelled));
        Assert.Equal(429, await Ask(Bad, "127.0.0.1"));
        Assert.Equal(401, await Ask(Bad, "[::1]", "192.0.2.1"));

        var entries = new HttpRequestMessage(HttpMethod.Get, At("127.0.0.1", "/admin/v1/audit?limit=100"));
        entries.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Server.Keys.AdminKey);
        var log = (await Server.SendAsync(entries)).IsOk().Text;
        Assert.Contains("\"127.0.0.1\"", log, StringComparison.Ordinal);
        Assert.DoesNotContain("ffff:", log, StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData("::ffff:192.0.2.1", "192.0.2.1")]
    [InlineData("192.0.2.1", "192.0.2.1")]
    [InlineData("2001:DB8:0:0::1", "2001:db8::1")]
    [InlineData("fe80::1%3", "fe80::1")]
    public void It_is_the_shortest(string address, string plain) =>
        Assert.Equal(plain, Networks.Plain(IPAddress.Parse(address)).ToString());

    private Uri At(string host, string path) => new($"http://{host}:{Server.Url.Port}{path}");

    private async Task<int> Ask(string key, string at, string? from = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, At(at, "/v1/apps/secrets"))
        {
            Content = new FormUrlEncodedContent(new Dictionary<string, string>
            {
                ["scope[type]"] = "account",
                ["name"] = "k",
                ["payload"] = "p",
            }),
        };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        if (from is not null)
            request.Headers.Add("X-Forwarded-For", from);
        return (await Server.SendAsync(request)).Status;
    }
}
