// Where Coffer is reached: the web server with its addresses, TLS, and every limit that stands in front of all parsing.

using System.Collections.Frozen;
using System.Net;
using System.Net.Sockets;
using Coffer.Api;
using Coffer.Api.Admin;
using Coffer.Http;
using Coffer.Settings;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Coffer.Hosting;

/// <summary>Builds the web server and has it listen; what it answers with is the composition root's.</summary>
internal static class Listeners
{
    /// <summary>
    /// Connections beside all others, for health and the management plane, and how many of them a client may have.
    /// </summary>
    private const int Reserve = 32;
    private const int ReservePerAddress = 4;

    /// <summary>Files that are the store's, the log's and the database's, and no connection's.</summary>
    private const int OtherFiles = 512;

    /// <summary>
    /// What a client may send of bodies before they are read, in bytes: on a connection, and on one of its streams.
    /// </summary>
    private const int ConnectionWindow = 4 * Pipeline.LargestBody;
    private const int Window = 2 * Pipeline.LargestBody;

    /// <summary>
    /// Bytes a second, after 5 seconds' grace, below which a body or the reading of an answer is cut off.
    /// </summary>
    private static readonly MinDataRate SlowestBody = new(bytesPerSecond: 240, gracePeriod: TimeSpan.FromSeconds(5));

    private static readonly object AdminMark = new(), MetricsMark = new();

    // The program itself reports a failed start. The other one makes an activity of each request, at a tenth of what a
    // find costs, for lines that are not logged; what a request throws is in the server's own log.
    private static readonly FrozenSet<string> Silent = FrozenSet.Create(StringComparer.Ordinal,
        "Microsoft.Extensions.Hosting.Internal.Host", "Microsoft.AspNetCore.Hosting.Diagnostics");

    private static LogLevel LeastOf(string category)
    {
        if (ServerLog.IsOfRefusals(category))
            return LogLevel.Debug;
        return category.StartsWith("Coffer.", StringComparison.Ordinal) ? LogLevel.Information : LogLevel.Warning;
    }

    /// <summary>Whether the request came in at <see cref="CofferOptions.AdminListen"/>.</summary>
    public static bool IsAdmin(HttpContext context) => Has(context, AdminMark);

    /// <summary>Whether the request came in at <see cref="CofferOptions.MetricsListen"/>.</summary>
    public static bool IsOfMetrics(HttpContext context) => Has(context, MetricsMark);

    private static bool Has(HttpContext context, object mark) =>
        context.Features.Get<IConnectionItemsFeature>()?.Items.ContainsKey(mark) ?? false;

    /// <param name="options">Validated ones.</param>
    /// <param name="time">When the certificate is looked at again.</param>
    /// <param name="draining">Whether the server is about to stop; null never is.</param>
    /// <param name="observers">Who is told of what is refused before it is a request; null is nobody.</param>
    /// <param name="log">Where its log goes; null is nowhere.</param>
    public static WebApplication Build(CofferOptions options, TimeProvider time, Draining? draining = null,
        Observers? observers = null, ServerLog? log = null)
    {
        observers ??= new Observers();
        // Nothing of the framework's own configuration (appsettings.json, ASPNETCORE_URLS) is read: settings are ours
        // alone.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions
        {
            ContentRootPath = AppContext.BaseDirectory, // the current directory may be gone
        });
        if (log is not null)
            builder.Logging.AddProvider(log);
        builder.Logging.AddFilter((category, level) => level >= LeastOf(category!) && !Silent.Contains(category!));
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = options.StopWithin);
        builder.Services.AddSingleton<IHostLifetime>(new NoSignals());
        if (TlsPair.Of(options) is { } files)
        {
            builder.Services.AddSingleton(services =>
                new TlsCertificate(files, time, services.GetRequiredService<ILogger<TlsCertificate>>()));
        }

        builder.Services.Configure<SocketTransportOptions>(
            static sockets => sockets.UnsafePreferInlineScheduling = ReadingThread.Answers);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            // A field may have any byte from 0x80 (RFC 9110, 5.5). As UTF-8, which few of them are, a request would be
            // refused without a body before it is known what is wrong.
            kestrel.RequestHeaderEncodingSelector = static _ => System.Text.Encoding.Latin1;
            Limit(kestrel.Limits, options);
            var tls = kestrel.ApplicationServices.GetService<TlsCertificate>();
            // Where there is a second address, health and the management plane are there, and need no reserve at the
            // first.
            Listen(kestrel, options.Listen, tls, mark: null,
                Gate(options, options.AdminListen is null, time, observers));
            if (options.AdminListen is { } admin)
                Listen(kestrel, admin, tls, AdminMark, Gate(options, hasReserve: true, time, observers));
            if (options.MetricsListen is { } metrics)
                Listen(kestrel, metrics, tls, MetricsMark, Gate(options, hasReserve: true, time, observers));
        });

        var app = builder.Build();
        if (draining is not null)
            app.Use(next => context => draining.AnswerAsync(context, next));
        app.Use(next => context => ConnectionGate.RunAsync(context, next));
        if (options.TrustedProxies.Count > 0)
            app.UseForwardedHeaders(Forwarded(options.TrustedProxies));
        if (options is { TlsCert: not null, Dev: null, StrictTransport: { } strict })
        {
            app.Use((context, next) =>
            {
                if (context.Request.IsHttps && IsNameOfItsOwn(context.Request.Host.Host))
                    context.Response.Headers.StrictTransportSecurity = strict;
                return next(context);
            });
        }

        return app;
    }

    // What a browser keeps of a host it keeps of all its ports. Of addresses (RFC 6797, 8.1.1) and of localhost it is
    // to keep nothing.
    private static bool IsNameOfItsOwn(string host) => !IPAddress.TryParse(host, out _)
        && !host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        && !host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase);

    /// <summary>The addresses with the ports that are bound: never port 0.</summary>
    public sealed record Bound(Uri Url, Uri? AdminUrl, Uri? MetricsUrl);

    /// <exception cref="ConfigurationException">An address cannot be listened at.</exception>
    public static async Task<Bound> ListenAsync(WebApplication app, CofferOptions options, CancellationToken ct)
    {
        try
        {
            await app.StartAsync(ct);
            var addresses =
                app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Select(
                    address => new Uri(address)).ToArray();
            return new Bound(addresses[0], options.AdminListen is null ? null : addresses[1],
                options.MetricsListen is null ? null : addresses[^1]);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            var where = string.Join(" or ", options.Addresses.Select(address => new Uri(address.Text)));
            var settings = string.Join(" or ", options.Addresses.Select(address => $"--{address.Setting}"));
            throw new ConfigurationException($"cannot listen on {where}: {e.Message}",
                $"Stop the program that listens there, or choose another {settings} address.");
        }
    }

    private static void Limit(KestrelServerLimits limits, CofferOptions options)
    {
        limits.MaxRequestBodySize = Pipeline.LargestBody;
        limits.MaxRequestLineSize = Pipeline.LargestBody;
        limits.MaxRequestHeadersTotalSize = HttpLimits.LargestHead;
        limits.MaxRequestHeaderCount = HttpLimits.MostHeaders;
        limits.RequestHeadersTimeout = HttpLimits.HeadTimeout;
        limits.KeepAliveTimeout = HttpLimits.IdleTimeout;
        limits.MinRequestBodyDataRate = limits.MinResponseDataRate = SlowestBody;
        limits.MaxRequestBufferSize = Window;
        limits.Http2.MaxStreamsPerConnection = HttpLimits.MostStreams;
        limits.Http2.HeaderTableSize = HttpLimits.HeaderTable;
        limits.Http2.MaxRequestHeaderFieldSize = HttpLimits.LargestHead;
        limits.Http2.InitialConnectionWindowSize = ConnectionWindow;
        limits.Http2.InitialStreamWindowSize = Window;
    }

    /// <summary>How many connections each address may have, so that files are left for everything else.</summary>
    /// <param name="options">What is wanted.</param>
    /// <param name="files">How many files the process may open.</param>
    public static int ConnectionsOf(CofferOptions options, long files) =>
        (int)Math.Clamp((files - OtherFiles) / options.Addresses.Count - Reserve, 1, options.Connections);

    private static ConnectionGate Gate(
        CofferOptions options, bool hasReserve, TimeProvider time, Observers observers) => new(
        new Seats(ConnectionsOf(options, ProcessLimits.OpenFiles), options.ConnectionsPerAddress,
            options.TrustedProxies, time),
        new Seats(hasReserve ? Reserve : 0, ReservePerAddress, options.TrustedProxies, time) { IsReserve = true },
        path => path is HealthApi.Alive or HealthApi.Ready or MetricsApi.Path
            || path.StartsWith(ManagementWire.Root + "/", StringComparison.Ordinal),
        time, observers);

    private static void Listen(
        KestrelServerOptions kestrel, string url, TlsCertificate? tls, object? mark, ConnectionGate gate)
    {
        var address = CofferOptions.Address(url)!;
        kestrel.Listen(CofferOptions.EndPoint(address), listen =>
        {
            listen.Use(gate.Admit);
            if (mark is not null)
            {
                listen.Use(next => connection =>
                {
                    connection.Items[mark] = true;
                    return next(connection);
                });
            }

            var isTls = address.Scheme == Uri.UriSchemeHttps;
            listen.Protocols = isTls ? HttpProtocols.Http1AndHttp2 : HttpProtocols.Http1;
            if (isTls)
            {
                listen.UseHttps(new TlsHandshakeCallbackOptions
                {
                    HandshakeTimeout = HttpLimits.HeadTimeout,
                    // A reserved connection has one request, and over HTTP/1.1 it is known which before it is read.
                    OnConnection = context => ValueTask.FromResult(
                        tls!.Handshake(withHttp2: context.Connection.Features.Get<Seat>() is not { IsReserve: true })),
                });
            }

            listen.Use(gate.Hold);
        });
    }

    private static ForwardedHeadersOptions Forwarded(IReadOnlyList<System.Net.IPNetwork> proxies)
    {
        // However many of them a request came through: what the first one that is not ours says of itself is believed.
        var forwarded = new ForwardedHeadersOptions
        {
            ForwardedHeaders = ForwardedHeaders.XForwardedFor,
            ForwardLimit = null,
        };
        forwarded.KnownProxies.Clear();
        forwarded.KnownIPNetworks.Clear();
        foreach (var proxy in proxies)
            forwarded.KnownIPNetworks.Add(proxy);
        return forwarded;
    }

    // What ends the process is the command line's to decide.
    private sealed class NoSignals : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
