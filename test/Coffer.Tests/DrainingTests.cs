using System.Net;
using Coffer.Hosting;
using Coffer.Settings;
using Microsoft.Extensions.DependencyInjection;

namespace Coffer.Tests;

/// <summary>A server that is told to stop says so before it does, and then stops in time.</summary>
[Trait("Firm edges", "6")]
public sealed class DrainingTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly PemFiles files = new();

    private CofferOptions Options => new()
    {
        Data = directory.Path,
        Listen = "https://127.0.0.1:0",
        TlsCert = files.Cert,
        TlsKey = files.Key,
    };

    [Theory]
    [InlineData("1.1")]
    [InlineData("2.0")]
    public async Task Readiness_says_no_requests_are_answered_and_each_answer_ends_its_connection(string version)
    {
        await using var server = await Server.StartAsync(Options, TimeProvider.System, default);
        using var client = WebServer.Client(files.Root, Version.Parse(version));
        client.BaseAddress = server.Url;
        using (var before = await client.GetAsync(Page("/readyz")))
            Assert.Equal((HttpStatusCode.OK, null), (before.StatusCode, before.Headers.ConnectionClose));

        using var enough = new CancellationTokenSource();
        var draining = server.DrainAsync(TimeSpan.FromMinutes(1), enough.Token);
        using (var ready = await client.GetAsync(Page("/readyz")))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
            Assert.Contains("about to stop", await ready.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            Assert.Equal(version == "1.1" ? true : null, ready.Headers.ConnectionClose);
        }

        using (var alive = await client.GetAsync(Page("/healthz")))
            Assert.Equal(HttpStatusCode.OK, alive.StatusCode);
        client.DefaultRequestHeaders.Authorization = new("Bearer", server.FirstKeys!.TestSecretKey);
        using (var list = await client.GetAsync(Page("/v1/apps/secrets?scope[type]=account")))
            Assert.Equal(HttpStatusCode.OK, list.StatusCode);
        Assert.False(draining.IsCompleted);
        await enough.CancelAsync();
        await draining;
    }

    [Fact]
    public async Task Over_HTTP_2_the_connection_is_told_to_end()
    {
        await using var server = await Server.StartAsync(Options, TimeProvider.System, default);
        await using var tls = await ConnectHttp2Async(server.Url);
        _ = server.DrainAsync(TimeSpan.Zero, default);
        // A request for /healthz, as HPACK's static table has it but the path, which stands there.
        byte[] head = [0x82, 0x87, 0x04, 8, .. "/healthz"u8, 0x41, 1, (byte)'x'];
        await tls.WriteAsync((byte[])[0, 0, (byte)head.Length, 1, 5, 0, 0, 0, 1, .. head]);
        const byte GoAway = 7;
        for (var frame = new byte[9]; ; await tls.ReadExactlyAsync(new byte[frame[1] << 8 | frame[2]]))
        {
            await tls.ReadExactlyAsync(frame);
            if (frame[3] == GoAway)
                break;
        }
    }

    [Fact]
    public async Task A_stop_takes_no_longer_than_it_may_whatever_a_client_does()
    {
        var plain = Options with { Listen = "http://127.0.0.1:0", TlsCert = null, TlsKey = null };
        var server = await Server.StartAsync(plain, TimeProvider.System, default);
        using var client = new System.Net.Sockets.TcpClient();
        await client.ConnectAsync(server.Url.Host, server.Url.Port);
        // A body that does not come to its end.
        await client.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes(
            "POST /v1/apps/secrets HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                + $"Authorization: Bearer {server.FirstKeys!.TestSecretKey}\r\nContent-Length: 1000\r\n\r\nname="));
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.True(await server.StopAsync(TimeSpan.FromSeconds(3)));
        Assert.True(System.Diagnostics.Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(6)); // not 30
    }

    [Fact]
    public async Task A_certificate_is_read_again_when_that_is_asked_for()
    {
        await using var server = await Server.StartAsync(Options, new ManualTime(), default);
        files.Renew("renewed"); // by this clock nobody looks again
        Assert.Equal("CN=first", await SubjectAsync());
        server.Reload();
        Assert.Equal("CN=renewed", await SubjectAsync());
        File.WriteAllText(files.Cert, "nothing");
        server.Reload();
        Assert.Equal("CN=renewed", await SubjectAsync());

        async Task<string> SubjectAsync()
        {
            await using var tls = await ConnectAsync(server.Url, "http/1.1");
            return tls.RemoteCertificate!.Subject;
        }
    }

    [Fact]
    public void Drain_and_stop_together_fit_into_the_time_that_containers_get() =>
        Assert.True(Options.Drain + Options.StopWithin < TimeSpan.FromSeconds(10));

    public void Dispose()
    {
        files.Dispose();
        directory.Dispose();
    }

    private static Uri Page(string path) => new(path, UriKind.Relative);

    private async Task<System.Net.Security.SslStream> ConnectHttp2Async(Uri url)
    {
        var tls = await ConnectAsync(url, "h2");
        await tls.WriteAsync((byte[])[.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, 0, 0, 0, 4, 0, 0, 0, 0, 0]);
        return tls;
    }

    private async Task<System.Net.Security.SslStream> ConnectAsync(Uri url, string protocol)
    {
        var tcp = new System.Net.Sockets.TcpClient();
        await tcp.ConnectAsync(url.Host, url.Port);
        var tls = new System.Net.Security.SslStream(tcp.GetStream());
        await tls.AuthenticateAsClientAsync(new System.Net.Security.SslClientAuthenticationOptions
        {
            TargetHost = "127.0.0.1",
            ApplicationProtocols = [new System.Net.Security.SslApplicationProtocol(protocol)],
            CertificateChainPolicy = new System.Security.Cryptography.X509Certificates.X509ChainPolicy
            {
                TrustMode = System.Security.Cryptography.X509Certificates.X509ChainTrustMode.CustomRootTrust,
                CustomTrustStore = { files.Root },
                RevocationMode = System.Security.Cryptography.X509Certificates.X509RevocationMode.NoCheck,
            },
        });
        return tls;
    }
}
