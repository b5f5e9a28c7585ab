using System.Net;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Settings;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;

namespace Coffer.Tests;

/// <summary>What stands in front of all parsing: addresses, limits, proxies.</summary>
public sealed class ListenersTests
{
    private const string Get = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n";

    private static readonly CofferOptions Options = new() { Data = ".", Listen = "http://127.0.0.1:0" };

    [Fact]
    public async Task Requests_at_the_management_address_are_known_by_their_connection()
    {
        using var files = new PemFiles();
        foreach (var options in (CofferOptions[])[
                     Options with { AdminListen = "http://127.0.0.1:0" },
                     Options with { AdminListen = "https://127.0.0.1:0", TlsCert = files.Cert, TlsKey = files.Key },
                     Options with { Listen = "https://127.0.0.1:0", AdminListen = "http://127.0.0.1:0",
                         TlsCert = files.Cert, TlsKey = files.Key }])
        {
            await using var server = await WebServer.StartAsync(options);
            Assert.NotEqual(0, server.Url.Port);
            Assert.NotEqual(0, server.AdminUrl!.Port);
            foreach (var (url, as_) in ((Uri, string)[])[(server.Url, "public"), (server.AdminUrl, "admin")])
            {
                using var client = WebServer.Client(files.Root,
                    url.Scheme == "https" ? HttpVersion.Version20 : HttpVersion.Version11);
                using var request = WebServer.Named(url, url.Scheme == "https" ? "2.0" : "1.1");
                using var answer = await client.SendAsync(request);
                Assert.EndsWith(as_, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
                Assert.Equal(url.Scheme == "https", answer.Headers.Contains("Strict-Transport-Security"));
            }
        }
    }

    [Fact]
    public async Task Without_a_management_address_there_is_one_address()
    {
        await using var server = await WebServer.StartAsync(Options);
        Assert.Null(server.AdminUrl);
        Assert.EndsWith("public", (await server.SendAsync($"{Get}\r\n")).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_address_in_use_is_refused_by_its_name()
    {
        await using var first = await WebServer.StartAsync(Options);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => WebServer.StartAsync(Options with { AdminListen = first.Url.ToString() }));
        Assert.Contains(first.Url.ToString(), refused.Message, StringComparison.Ordinal);
        Assert.Contains("--admin-listen", refused.Hint, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_plain_address_speaks_no_HTTP_2()
    {
        await using var server = await WebServer.StartAsync(Options);
        using var client = new HttpClient(
            new SocketsHttpHandler
            {
                UseProxy =
                    false
            })
        {
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        await Assert.ThrowsAsync<HttpRequestException>(() => client.GetAsync(server.Url));
    }

    [Fact]
    public async Task Headers_of_more_than_32_KiB_together_are_431()
    {
        await using var server = await WebServer.StartAsync(Options);
        Assert.Equal(
            200,
            (await server.SendAsync(
                $"{Get}A: {new string('a', 15 * 1024)}\r\nB: {new string('b', 15 * 1024)}\r\n\r\n")).Status);
        Assert.Equal(
            431,
            (await server.SendAsync(
                $"{Get}A: {new string('a', 16 * 1024)}\r\nB: {new string('b', 17 * 1024)}\r\n\r\n")).Status);
    }

    [Fact]
    public async Task The_65th_header_is_431()
    {
        await using var server = await WebServer.StartAsync(Options);
        Assert.Equal(200, (await server.SendAsync($"{Get}{Headers(62)}\r\n")).Status); // with Host and Connection
        Assert.Equal(431, (await server.SendAsync($"{Get}{Headers(63)}\r\n")).Status);

        static string Headers(int count) =>
            string.Concat(Enumerable.Range(0, count).Select(number => $"H{number}: v\r\n"));
    }

    [Fact]
    public async Task A_request_line_of_more_than_64_KiB_is_414()
    {
        await using var server = await WebServer.StartAsync(Options);
        Assert.Equal(200, (await server.SendAsync(Line(64 * 1024))).Status);
        Assert.Equal(414, (await server.SendAsync(Line(64 * 1024 + 1))).Status);

        static string Line(int length)
        {
            var query = new string('q', length - "GET /? HTTP/1.1\r\n".Length);
            return $"GET /?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        }
    }

    [Fact]
    public async Task Over_HTTP_2_line_and_headers_are_32_KiB_and_64_together()
    {
        using var files = new PemFiles();
        await using var server = await WebServer.StartAsync(files);
        using var client = WebServer.Client(files.Root, HttpVersion.Version20);
        Assert.Equal(200, await StatusAsync(30 * 1024, 0));
        var toldBeforehand = await Assert.ThrowsAsync<HttpRequestException>(() => StatusAsync(33 * 1024, 0));
        // this client asks nothing that the server says it would refuse
        Assert.Contains("32768", toldBeforehand.Message, StringComparison.Ordinal);
        Assert.Equal(200, await StatusAsync(1, 50));
        Assert.Equal(431, await StatusAsync(1, 70));

        async Task<int> StatusAsync(int line, int headers)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get,
                new Uri(server.Url, $"/?{new string('q', line)}"))
            {
                Version = HttpVersion.Version20,
                VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            };
            for (var number = 0; number < headers; number++)
                request.Headers.Add($"H{number}", "v");
            using var answer = await client.SendAsync(request);
            return (int)answer.StatusCode;
        }
    }

    [Fact]
    public void Who_is_slow_is_cut_off_at_the_documented_times()
    {
        // Waiting for all of these times would test the framework's clock; those of heads are waited for in
        // ConnectionTimeTests.
        var (head, idle) = (HttpLimits.HeadTimeout, HttpLimits.IdleTimeout);
        Assert.Equal((TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(130)), (head, idle));
        using var app = Listeners.Build(Options with { Connections = 3 }, TimeProvider.System);
        var limits = ((IOptions<KestrelServerOptions>)app.Services.GetService(
            typeof(IOptions<KestrelServerOptions>))!).Value.Limits;
        Assert.Equal((head, idle), (limits.RequestHeadersTimeout, limits.KeepAliveTimeout));
        Assert.All([limits.MinRequestBodyDataRate!, limits.MinResponseDataRate!],
            rate => Assert.Equal((240.0, TimeSpan.FromSeconds(5)), (rate.BytesPerSecond, rate.GracePeriod)));
        Assert.Equal(
            (100, 4096, 32 * 1024),
            (limits.Http2.MaxStreamsPerConnection, limits.Http2.HeaderTableSize,
                limits.Http2.MaxRequestHeaderFieldSize));
    }

    [Theory]
    [InlineData(null, "203.0.113.9", "127.0.0.1")] // nobody is believed unless named
    [InlineData("10.0.0.0/8", "203.0.113.9", "127.0.0.1")] // and then only who is named
    [InlineData("127.0.0.0/8", null, "127.0.0.1")]
    [InlineData("127.0.0.1", "203.0.113.9", "203.0.113.9")]
    [InlineData("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9")] // what a client wrote itself stands first
    [InlineData("127.0.0.1,10.0.0.0/8", "198.51.100.1, 203.0.113.9, 10.1.2.3, 10.9.9.9", "203.0.113.9")]
    [InlineData("127.0.0.1", "nonsense", "127.0.0.1")]
    public async Task The_address_that_a_trusted_proxy_tells_is_believed(string? trusted, string? forwarded,
        string remote)
    {
        IPNetwork[] proxies = trusted is null
            ? []
            : [.. trusted.Split(',').Select(each => IPNetwork.Parse(each.Contains('/') ? each : $"{each}/32"))];
        await using var server = await WebServer.StartAsync(Options with { TrustedProxies = proxies });
        var answer = await server.SendAsync(
            $"{Get}{(forwarded is null ? "" : $"X-Forwarded-For: {forwarded}\r\nX-Forwarded-Proto: https\r\n")}\r\n");
        Assert.Equal($"HTTP/1.1 {remote} public", answer.Text);
    }
}
