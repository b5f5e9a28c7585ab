// The composition root: what the server is made of, in the order in which it is put together.

using Coffer.Access;
using Coffer.Api;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Http;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer;

/// <summary>A running Coffer. Disposing of it finishes what runs, stores what waits and closes the store.</summary>
internal sealed class Server : IAsyncDisposable
{
    private readonly WebApplication web;
    private readonly List<IDisposable> open;

    /// <summary>What an address answers: the API, the management plane with health, or all of it where there is one address only.</summary>
    private enum Planes
    {
        Public,
        Admin,
        Both,
    }

    private Server(WebApplication web, List<IDisposable> open, Uri url, Uri? adminUrl, string store, FirstKeys? firstKeys) =>
        (this.web, this.open, Url, AdminUrl, Store, FirstKeys) = (web, open, url, adminUrl, store, firstKeys);

    /// <summary>Where it listens: never port 0.</summary>
    public Uri Url { get; }

    /// <summary>Where the management plane is reached, if it has an address of its own: never port 0.</summary>
    public Uri? AdminUrl { get; }

    /// <summary>Where the store is, in words that may be shown.</summary>
    public string Store { get; }

    /// <summary>The keys that this start made; null if the store had its keys already. They are nowhere else.</summary>
    public FirstKeys? FirstKeys { get; }

    /// <summary>Starts, and returns once requests are answered.</summary>
    /// <exception cref="ConfigurationException">It cannot start as it was told to; nothing was changed.</exception>
    public static async Task<Server> StartAsync(CofferOptions options, TimeProvider time, CancellationToken ct)
    {
        options.Validate();
        var shown = new Place(options.Data, options.Store).Shown;
        var parts = new List<IDisposable>();
        var opened = new TaskCompletionSource<RequestDelegate>(TaskCreationOptions.RunContinuationsAsynchronously);
        WebApplication? app = null;
        try
        {
            var directory = Part(DataDirectory.Open(options.Data, holdsStore: options.Store is null));
            var engine = Part<Engine>(options.Store is { } database ? await PostgresEngine.OpenAsync(database, ct) : SqliteEngine.Open(directory.StoreFile));
            await Instance.RequireWholeAsync(engine, ct); // before it waits for who may be migrating
            var epoch = new Epoch();
            engine.Changed = epoch.Advance;

            // It listens before a first start makes keys: keys that nobody sees would make the store useless.
            app = Listeners.Build(options, time);
            app.Run(context => opened.Task.IsCompletedSuccessfully ? opened.Task.Result(context) : WhenOpenedAsync(context));
            var (url, adminUrl) = await Listeners.ListenAsync(app, options, ct);

            engine.Address = url.ToString();
            await engine.JoinAsync(ct);
            await using var start = await engine.HoldStartAsync(ct); // of nodes that start at once, one makes the identity
            var checkpointFile = options.Checkpoints ?? directory.CheckpointFile;
            if (!await Instance.ExistsAsync(engine, ct))
                OldStore.RequireNone(checkpointFile);
            var (instance, firstKeys, firstChange) = await FirstStart.OpenAsync(directory, engine, options, time, ct);
            var auditKeys = new AuditKeys(instance.AuditKey, instance.AuditSigningKey, instance.Id);
            var acceptance = new OldStore(engine, auditKeys, checkpointFile, time, Log<OldStore>())
                .Check(options.AcceptedRollbacks);
            var chain = Part(new AuditChain(instance.AuditKey, instance.Id, engine.Node, await engine.FindLastAuditAsync(engine.Node, ct), time));
            var inLoop = chain.InLoop(engine);
            var checkpoints = Part(new Checkpoints(chain, engine, auditKeys, checkpointFile, time, Log<Checkpoints>()));
            checkpoints.Start();
            var waiting = new Turns.Bounds(
                CofferOptions.WaitingChanges, options.WaitingPerApp, options.WaitingPerEphemeralKey);
            var committer = Part(new Committer(engine, waiting, inLoop));
            if (acceptance is not null)
            {
                await committer.CommitAsync(acceptance);
                checkpoints.Write(); // from now on a copy of before the acceptance is an old one
            }

            await TellAsync(directory, engine, options);
            var clock = new ClockWatch(time, await IdMark.LastCommitAsync(engine, ct), Log<ClockWatch>());
            var mark = await IdMark.OpenAsync(engine, ct);
            await committer.CommitAsync(firstChange);
            await AppSealing.RunAsync(engine, committer, instance, ct);

            var refusals = Part(new Refusals(time));
            refusals.Start(committer);
            var recorder = new Recorder(committer, new AuditPolicy(options.Audit == "buffered", options.AuditMetadataReads), Log<Recorder>());
            var retention = options.AuditRetentionDays is { } days ? new Retention(
                engine, committer, instance.AuditKey, instance.AuditSigningKey, instance.Id, TimeSpan.FromDays(days), time, Log<Retention>()) : null;
            var budgets = Part(new Budgets(options.ToBudgets(), time));
            var gate = new Gate(refusals, recorder, engine, new Damages(recorder, time, Log<Damages>()), budgets);
            var order = await CreationOrder.OpenAsync(engine, instance, ct);
            var management = new Management(committer, instance, time, order, budgets);
            var apps = Part(new Apps(engine, instance, gate, management, epoch, time));
            var formatOne = new FormatOne(engine, committer, instance, time);
            await formatOne.StartAsync(ct);
            var endings = new Endings(engine, instance, Part(new Revocations(engine, instance, time)),
                Part(new MintingKeys(engine, instance, epoch)), formatOne, time);
            var ephemeralKeys = new EphemeralKeys(instance, apps, endings, management, gate, time);
            var apiKeys = Part(new ApiKeys(engine, committer, instance, apps, ephemeralKeys, gate, time, devMode: options.Dev is not null));
            var tenants = new Tenants(engine, committer, instance, time, options.OpenTenants, budgets);
            engine.Changed += tenants.Forget;
            var store = new SecretStore(
                engine, committer, instance, gate, tenants, time, options.SecretsPerScope, mark);
            if (options.Dev is { SeedFixtures: true })
                await Fixtures.SeedAsync(store, FirstStart.DevCaller, ct);
            Part(new Reaper(engine, committer, retention, time, Log<Reaper>(), clock)
            {
                SweepsMinted = endings.SweepAsync,
            }).Start();
            var receipts = Part(new Receipts(engine, committer, instance, gate, time, Log<Receipts>()));
            receipts.Start();

            var authentication = new Authentication(apiKeys, Part(new RateLimits(options.RatePerKey, options.RatePerAddress, time)));
            var docs = new Uri(url, DocsApi.Path);
            var pipeline = new Pipeline(
                [.. new SecretsApi(store).Routes, .. new EphemeralKeysApi(ephemeralKeys, new Signatures(gate, time)).Routes],
                authentication, gate, isAdmin: false, docs, Log<Pipeline>());
            var admin = new Pipeline(
                [
                    .. new AppsApi(apps).Routes,
                    .. new ApiKeysApi(new KeyRing(engine, instance, gate, management)).Routes,
                    .. new AccountsApi(new Accounts(engine, instance, gate, management, tenants, time),
                        receipts).Routes,
                    .. new ReceiptsApi(receipts).Routes,
                    .. new AuditApi(new AuditTrail(engine, gate)).Routes,
                    .. new SettingsApi(gate, instance, options).Routes,
                    .. new StatusApi(gate, new NodeStatus(engine, time), options).Routes,
                ],
                authentication, gate, isAdmin: true, docs, Log<Pipeline>());
            var health = new HealthApi(Part(new Readiness(
                committer, instance, () => chain.Trouble ?? checkpoints.Trouble ?? recorder.Trouble, time, clock)));
            opened.SetResult(context => (context.Request.Path.Value, Plane(context)) switch
            {
                (DocsApi.Path, _) => DocsApi.WriteErrorsAsync(context),
                (HealthApi.Alive, not Planes.Public) => HealthApi.WriteAliveAsync(context),
                (HealthApi.Ready, not Planes.Public) => health.WriteReadyAsync(context),
                ("/", not Planes.Admin) when options.Dev is not null => Fixtures.WriteMockVersionAsync(context),
                (_, Planes.Admin) => admin.RunAsync(context),
                ({ } path, Planes.Both) when path.StartsWith(ManagementWire.Root + "/", StringComparison.Ordinal) => admin.RunAsync(context),
                _ => pipeline.RunAsync(context),
            });
            return new Server(app, parts, url, adminUrl, shown, firstKeys);
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync();
            Close(parts);
            if (e is ApiError { IsFault: true })
                throw new ConfigurationException($"the store in {shown} cannot be used: {(e.InnerException ?? e).Message}",
                    options.Store is null ? "Check the disk; if the store is damaged, restore it from a back-up." : PostgresEngine.HintOn(e.InnerException));
            throw;
        }

        // What an operator has to know of a store that starts, once.
        async Task TellAsync(DataDirectory directory, Engine engine, CofferOptions given)
        {
            foreach (var change in directory.Tighten())
                Log<DataDirectory>().LogWarning("{Change}", change);
            if (given.Dev is null && await FirstStart.LeftByDevAsync(engine, ct) is { Count: > 0 } left)
            {
                const string Left = "{Keys}: made by coffer dev, and good here. Revoke with: coffer keys revoke";
                Log<Server>().LogWarning(Left, string.Join(" and ", left));
            }
        }

        async Task WhenOpenedAsync(HttpContext context) => await (await opened.Task)(context);

        Planes Plane(HttpContext context) => options.AdminListen is null ? Planes.Both : Listeners.IsAdmin(context) ? Planes.Admin : Planes.Public;

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
}

/// <summary>The keys that a first start made, to be shown once.</summary>
internal sealed record FirstKeys(
    string TestSecretKey, string? LiveSecretKey, string? AdminKey, string? SigningSecretTest, string? SigningSecretLive)
{
    public override string ToString() => "[redacted]";
}
