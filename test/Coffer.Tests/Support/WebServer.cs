using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Coffer.Hosting;
using Coffer.Http;
using Coffer.Settings;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Coffer.Tests.Support;

/// <summary>The listeners with nothing of Coffer behind them but one answer: who asked, how, and where.</summary>
internal sealed class WebServer : IAsyncDisposable
{
    /// <summary>A name of its own, as a server's that browsers know.</summary>
    public const string Name = "coffer.example";

    private readonly WebApplication app;

    private readonly ServerLog lines;

    private WebServer(WebApplication app, ServerLog lines, Observers observers, Uri url, Uri? adminUrl) =>
        (this.app, this.lines, Observers, Url, AdminUrl) = (app, lines, observers, url, adminUrl);

    /// <summary>What counts refusals that no application sees.</summary>
    public Observers Observers { get; }

    public Uri Url { get; }

    public Uri? AdminUrl { get; }

    /// <param name="options">Where it listens, and its limits.</param>
    /// <param name="time">The clock, if not the real one.</param>
    /// <param name="answer">What it answers, if not who asked.</param>
    public static async Task<WebServer> StartAsync(
        CofferOptions options, TimeProvider? time = null, RequestDelegate? answer = null)
    {
        Preflight.Require(options);
        var observers = new Observers();
        var log = new ServerLog(options.Log, Stream.Null, TimeProvider.System, observers);
        var web = Listeners.Build(options, time ?? TimeProvider.System, observers: observers, log: log);
        web.Run(answer ?? Describe);
        try
        {
            var (url, admin, _) = await Listeners.ListenAsync(web, options, default);
            return new WebServer(web, log, observers, url, admin);
        }
        catch
        {
            await web.DisposeAsync();
            log.Dispose();
            throw;
        }
    }

    public static async Task<WebServer> StartAsync(PemFiles files, TimeProvider? time = null) =>
        await StartAsync(
            new CofferOptions { Data = ".", Listen = "https://127.0.0.1:0", TlsCert = files.Cert, TlsKey = files.Key },
            time);

    public Task<Answer> SendAsync(string head) => RawHttp.SendAsync(Url, System.Text.Encoding.ASCII.GetBytes(head));

    /// <summary>
    /// Connects with TLS, trusting the root alone; no intermediate is known but those that the server sends.
    /// </summary>
    public async Task<SslStream> ConnectAsync(
        X509Certificate2 root, SslProtocols protocols = SslProtocols.None, TlsCipherSuite? only = null)
    {
        var tcp = new TcpClient();
        await tcp.ConnectAsync(Url.Host, Url.Port);
        var tls = new SslStream(tcp.GetStream());
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "127.0.0.1",
            EnabledSslProtocols = protocols,
            CertificateChainPolicy = Trust(root),
            CipherSuitesPolicy = only is null || OperatingSystem.IsWindows() ? null
                : new CipherSuitesPolicy([only.Value]),
        });
        return tls;
    }

    /// <summary>A client that trusts the root alone.</summary>
    public static HttpClient Client(X509Certificate2 root, Version version) => new(new SocketsHttpHandler
    {
        UseProxy = false,
        SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = Trust(root) },
    })
    {
        DefaultRequestVersion = version,
        DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
    };

    /// <summary>A GET that names a host, and is sent to another address.</summary>
    public static HttpRequestMessage Named(Uri url, string version, string host = Name) => new(HttpMethod.Get, url)
    {
        Version = Version.Parse(version),
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Headers = { Host = host },
    };

    public async ValueTask DisposeAsync()
    {
        await app.StopAsync();
        await app.DisposeAsync();
        lines.Dispose();
    }

    private static Task Describe(HttpContext context)
    {
        var door = Listeners.IsAdmin(context) ? "admin" : "public";
        var text = $"{context.Request.Protocol} {context.Connection.RemoteIpAddress} {door}";
        context.Response.ContentLength = text.Length;
        return context.Response.WriteAsync(text);
    }

    private static X509ChainPolicy Trust(X509Certificate2 root) => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        CustomTrustStore = { root },
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };
}
