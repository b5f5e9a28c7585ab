using System.Net;

namespace Coffer.Tests.Webhooks;

/// <summary>Where Coffer may send what a client named (S25).</summary>
[Trait("Events", "S25")]
public sealed class DestinationsTests
{
    [Theory]
    [InlineData("1.1.1.1")]
    [InlineData("8.8.8.8")]
    [InlineData("172.15.255.255")]
    [InlineData("172.32.0.0")]
    [InlineData("2606:4700:4700::1111")]
    [InlineData("::ffff:8.8.8.8")]
    [InlineData("64:ff9b::8.8.8.8")]
    [InlineData("2002:808:808::1")]
    public void Addresses_of_the_public_internet_may_be_called(string address)
    {
        Assert.True(new Destinations([]).May(IPAddress.Parse(address), isTls: true));
        Assert.False(new Destinations([]).May(IPAddress.Parse(address), isTls: false));
    }

    [Theory]
    [InlineData("0.0.0.0")]
    [InlineData("10.1.2.3")]
    [InlineData("100.64.0.1")]
    [InlineData("127.0.0.1")]
    [InlineData("169.254.169.254")]
    [InlineData("172.16.0.1")]
    [InlineData("172.31.255.255")]
    [InlineData("192.0.0.8")]
    [InlineData("192.0.2.1")]
    [InlineData("192.88.99.1")]
    [InlineData("192.168.0.1")]
    [InlineData("198.19.255.255")]
    [InlineData("198.51.100.7")]
    [InlineData("203.0.113.7")]
    [InlineData("224.0.0.1")]
    [InlineData("255.255.255.255")]
    [InlineData("::")]
    [InlineData("::1")]
    [InlineData("fe80::1")]
    [InlineData("fe80::1%1")]
    [InlineData("fc00::1")]
    [InlineData("fd12:3456::1")]
    [InlineData("ff02::1")]
    [InlineData("2001:db8::1")]
    [InlineData("3fff::1")]
    [InlineData("2001:20::1")]
    [InlineData("4000::1")]
    [InlineData("64:ff9b:1::8.8.8.8")]
    [InlineData("::ffff:127.0.0.1")]
    [InlineData("::ffff:10.0.0.1")]
    [InlineData("::127.0.0.1")]
    [InlineData("64:ff9b::169.254.169.254")]
    [InlineData("2002:7f00:1::1")]
    [InlineData("2002:a9fe:a9fe::1")]
    [InlineData("2001:0:808:808::f5ff:fffe")] // Teredo, whose client is 10.0.0.1
    [InlineData("2606:4700::5efe:10.0.0.1")]
    [InlineData("2606:4700::200:5efe:192.168.0.1")]
    public void No_other_is_called_in_whatever_form_it_carries_an_address(string address)
    {
        Assert.False(new Destinations([]).May(IPAddress.Parse(address), isTls: true));
        // What is named is another.
        Assert.False(new Destinations([IPNetwork.Parse("192.0.3.0/24")]).May(IPAddress.Parse(address), isTls: true));
    }

    [Theory]
    [InlineData("10.0.0.0/8", "10.1.2.3")]
    [InlineData("10.0.0.0/8", "::ffff:10.1.2.3")]
    [InlineData("10.0.0.0/8", "64:ff9b::10.1.2.3")]
    [InlineData("127.0.0.0/8", "127.0.0.1")]
    [InlineData("fd00::/8", "fd12:3456::1")]
    [InlineData("::1/128", "::1")]
    public void What_the_operator_names_may_be_called_by_http_too(string network, string address)
    {
        var named = new Destinations([IPNetwork.Parse(network)]);
        Assert.True(named.May(IPAddress.Parse(address), isTls: true));
        Assert.True(named.May(IPAddress.Parse(address), isTls: false));
        Assert.False(named.May(IPAddress.Parse("8.8.8.8"), isTls: false));
    }

    [Theory]
    [InlineData("https://hooks.example.com/coffer?a=b", true)]
    [InlineData("https://8.8.8.8:8443/", true)]
    [InlineData("http://hooks.example.com/", false)]
    [InlineData("ftp://hooks.example.com/", false)]
    [InlineData("hooks.example.com", false)]
    [InlineData("https:///path", false)]
    [InlineData("https://user@hooks.example.com/", false)]
    [InlineData("https://user:password@hooks.example.com/", false)]
    [InlineData("https://hooks.example.com/#fragment", false)]
    [InlineData("https://127.0.0.1/", false)]
    [InlineData("https://2130706433/", false)]
    [InlineData("https://0x7f.1/", false)]
    [InlineData("https://[::ffff:7f00:1]/", false)]
    [InlineData("https://[fe80::1]/", false)]
    public void A_URL_is_refused_for_what_can_be_seen_of_it(string url, bool may) =>
        Assert.Equal(may, new Destinations([]).ProblemOf(url) is null);

    [Fact]
    public void Http_is_for_networks_that_are_named()
    {
        var named = new Destinations([IPNetwork.Parse("127.0.0.0/8")]);
        Assert.Null(named.ProblemOf("http://127.0.0.1:8080/"));
        Assert.Null(named.ProblemOf("http://receiver/")); // its addresses are looked at when it is called
        Assert.NotNull(named.ProblemOf("http://10.0.0.1/"));
        Assert.NotNull(named.ProblemOf("http://8.8.8.8/"));
    }
}
