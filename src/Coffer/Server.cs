// The composition root: what the server is made of, in the order in which it is put together.

using System.Net;
using System.Net.Sockets;
using Coffer.Access;
using Coffer.Api;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Http;
using Coffer.Secrets;
using Coffer.Storage;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Logging.Console;

namespace Coffer;

/// <summary>A running Coffer. Disposing of it finishes what runs, stores what waits and closes the store.</summary>
internal sealed class Server : IAsyncDisposable
{
    /// <summary>Whose audit chain it is: a SQLite store has one node, whichever process it is.</summary>
    private const string Node = "node_1";

    private readonly WebApplication web;
    private readonly List<IDisposable> open;

    private Server(WebApplication web, List<IDisposable> open, Uri url, FirstKeys? firstKeys) =>
        (this.web, this.open, Url, FirstKeys) = (web, open, url, firstKeys);

    /// <summary>Where it listens: never port 0.</summary>
    public Uri Url { get; }

    /// <summary>The keys that this start made; null if the store had its keys already. They are nowhere else.</summary>
    public FirstKeys? FirstKeys { get; }

    /// <summary>Starts, and returns once requests are answered.</summary>
    /// <exception cref="ConfigurationException">It cannot start as it was told to; nothing was changed.</exception>
    public static async Task<Server> StartAsync(CofferOptions options, TimeProvider time, CancellationToken ct)
    {
        var listen = options.Validate();
        var parts = new List<IDisposable>();
        var opened = new TaskCompletionSource<RequestDelegate>(TaskCreationOptions.RunContinuationsAsynchronously);
        WebApplication? app = null;
        try
        {
            var directory = Part(DataDirectory.Open(options.Data));
            var engine = Part<Engine>(SqliteEngine.Open(directory.StoreFile));

            // It listens before a first start makes keys: keys that nobody sees would make the store useless.
            app = Build(listen);
            app.Run(context => opened.Task.IsCompletedSuccessfully ? opened.Task.Result(context) : WhenOpenedAsync(context));
            var url = await ListenAsync(app, listen, ct);

            var (instance, firstKeys, firstChange) = await FirstStart.OpenAsync(directory, engine, options, time, ct);
            var chain = Part(new AuditChain(instance.AuditKey, instance.Id, Node, await engine.FindLastAuditAsync(Node, ct), time));
            var checkpoints = Part(new Checkpoints(chain, instance.AuditSigningKey, instance.Id, options.Checkpoints ?? directory.CheckpointFile, time, Log<Checkpoints>()));
            checkpoints.Start();
            var committer = Part(new Committer(engine, CofferOptions.WaitingChanges, chain.InLoop(engine)));
            await committer.CommitAsync(firstChange);

            var refusals = Part(new Refusals(time));
            refusals.Start(committer);
            var recorder = new Recorder(committer, new AuditPolicy(options.Audit == "buffered", options.AuditMetadataReads), Log<Recorder>());
            var retention = options.AuditRetentionDays is { } days ? new Retention(
                engine, committer, instance.AuditKey, instance.AuditSigningKey, instance.Id, TimeSpan.FromDays(days), time, Log<Retention>()) : null;
            var gate = new Gate(refusals, recorder);
            var epoch = new Epoch();
            var management = new Management(committer, instance, epoch, time);
            var apps = Part(new Apps(engine, instance, gate, management, epoch, time));
            var ephemeralKeys = new EphemeralKeys(instance, apps, new Revocations(engine, epoch, time), management, gate, time);
            var apiKeys = Part(new ApiKeys(engine, committer, instance, apps, ephemeralKeys, gate, time, devMode: options.Dev is not null));
            var tenants = Part(new Tenants(engine, committer, instance, epoch, time));
            var store = new SecretStore(engine, committer, instance, gate, tenants, time, options.SecretsPerScope);
            if (options.Dev is { SeedFixtures: true })
                await Fixtures.SeedAsync(store, FirstStart.DevCaller, ct);
            Part(new Reaper(engine, committer, retention, time, Log<Reaper>())).Start();

            var authentication = new Authentication(apiKeys, Part(new RateLimits(options.RatePerKey, options.RatePerAddress, time)));
            var docs = new Uri(url, DocsApi.Path);
            var pipeline = new Pipeline(
                [.. new SecretsApi(store).Routes, .. new EphemeralKeysApi(ephemeralKeys, new Signatures(gate, time)).Routes],
                authentication, isAdmin: false, docs, Log<Pipeline>());
            var admin = new Pipeline(
                [
                    .. new AppsApi(apps).Routes,
                    .. new ApiKeysApi(new KeyRing(engine, instance, gate, management)).Routes,
                    .. new AccountsApi(new Accounts(engine, instance, gate, management, tenants, time)).Routes,
                    .. new AuditApi(new AuditTrail(engine, gate)).Routes,
                    .. new SettingsApi(gate, instance, options).Routes,
                ],
                authentication, isAdmin: true, docs, Log<Pipeline>());
            var health = new HealthApi(Part(new Readiness(committer, instance, () => checkpoints.Trouble ?? recorder.Trouble, time)));
            opened.SetResult(context => context.Request.Path.Value switch
            {
                DocsApi.Path => DocsApi.WriteErrorsAsync(context),
                HealthApi.Alive => HealthApi.WriteAliveAsync(context),
                HealthApi.Ready => health.WriteReadyAsync(context),
                "/" when options.Dev is not null => Fixtures.WriteMockVersionAsync(context),
                { } path when path.StartsWith(ManagementWire.Root + "/", StringComparison.Ordinal) => admin.RunAsync(context),
                _ => pipeline.RunAsync(context),
            });
            return new Server(app, parts, url, firstKeys);
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync();
            Close(parts);
            if (e is ApiError { IsFault: true })
                throw new ConfigurationException($"the store in {options.Data} cannot be used: {(e.InnerException ?? e).Message}", "Check the disk; if the store is damaged, restore it from a back-up.");
            throw;
        }

        async Task WhenOpenedAsync(HttpContext context) => await (await opened.Task)(context);

        ILogger<T> Log<T>() => app.Services.GetRequiredService<ILogger<T>>();

        T Part<T>(T part) where T : IDisposable
        {
            parts.Add(part);
            return part;
        }
    }

    /// <summary>Returns when the process is told to end (SIGTERM, SIGINT) or the token is cancelled.</summary>
    public Task WaitForStopAsync(CancellationToken ct) => web.WaitForShutdownAsync(ct);

    public async ValueTask DisposeAsync()
    {
        // Running requests first, then the changes they handed in, then the store.
        await web.StopAsync(CancellationToken.None);
        await web.DisposeAsync();
        Close(open);
    }

    private static void Close(List<IDisposable> parts)
    {
        for (var i = parts.Count - 1; i >= 0; i--)
            parts[i].Dispose();
    }

    private static WebApplication Build(Uri listen)
    {
        // Nothing of the framework's own configuration (appsettings.json, ASPNETCORE_URLS) is read: settings are ours alone.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Logging.AddSimpleConsole(console => (console.SingleLine, console.TimestampFormat, console.UseUtcTimestamp) = (true, "yyyy-MM-ddTHH:mm:ssZ ", true))
            .AddFilter((category, level) => level >= LogLevel.Warning && category != "Microsoft.Extensions.Hosting.Internal.Host"); // a failed start is ours to tell
        builder.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Pipeline.LargestBody;
            kestrel.Limits.MaxRequestLineSize = Pipeline.LargestBody;
            kestrel.Listen(listen.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(listen.Host.Trim('[', ']')), listen.Port);
        });
        return builder.Build();
    }

    /// <returns>The address with the port that was taken.</returns>
    private static async Task<Uri> ListenAsync(WebApplication app, Uri listen, CancellationToken ct)
    {
        try
        {
            await app.StartAsync(ct);
            return new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            throw new ConfigurationException($"cannot listen at {listen}: {e.Message}", "End what listens there, or choose another --listen address.");
        }
    }
}

/// <summary>The keys that a first start made, to be shown once.</summary>
internal sealed record FirstKeys(string TestSecretKey, string? LiveSecretKey, string? AdminKey, string? SigningSecret)
{
    public override string ToString() => "[redacted]";
}
