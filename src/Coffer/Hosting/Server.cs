// The composition root: the rooms of the server, in the order in which they are opened.

using System.Data.Common;
using Coffer.Api;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Transfer;
using Coffer.Webhooks;

namespace Coffer.Hosting;

/// <summary>A running Coffer. Disposing of it finishes what runs, stores what waits and closes the store.</summary>
internal sealed class Server : IAsyncDisposable
{
    // Of the time to stop in, what running requests may use; the rest is for the changes that wait, and the store.
    private const double OfRequests = 0.75;

    private readonly WebApplication web;
    private readonly Surroundings surroundings;
    private readonly ServerLog lines;
    private readonly Draining draining;

    private Server(WebApplication web, Surroundings surroundings, ServerLog lines, Draining draining) =>
        (this.web, this.surroundings, this.lines, this.draining) = (web, surroundings, lines, draining);

    /// <summary>What there is to be said of it.</summary>
    public required Started Started { get; init; }

    /// <summary>Where it listens: never port 0.</summary>
    public Uri Url => Started.Url;

    /// <summary>Where the management plane is reached, if it has an address of its own: never port 0.</summary>
    public Uri? AdminUrl => Started.AdminUrl;

    /// <summary>Where the metrics are, if they have an address of their own: never port 0.</summary>
    public Uri? MetricsUrl => Started.MetricsUrl;

    /// <summary>The keys that this start made; null if the store had its keys already. They are nowhere else.</summary>
    public FirstKeys? FirstKeys => Started.FirstKeys;

    /// <summary>Starts, and returns once requests are answered.</summary>
    /// <param name="options">Validated here.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the start, whatever it waits for.</param>
    /// <param name="steps">What is done at its points; null is nothing.</param>
    /// <exception cref="ConfigurationException">It cannot start with these settings; nothing was changed.</exception>
    public static async Task<Server> StartAsync(
        CofferOptions options, TimeProvider time, CancellationToken ct, StartSteps? steps = null)
    {
        Preflight.Require(options);
        steps ??= new StartSteps();
        var shown = new StoreLocation(options.Data, options.Store).Shown;
        var (parts, waiting, draining) = (new Parts(), new WaitingDoor(), new Draining());
        var observers = steps.Observers;
        var log = new ServerLog(options.Log, steps.OpenLog(), time, observers);
        WebApplication? app = null;
        try
        {
            var storage = await StorageParts.OpenAsync(options, parts, ct);
            steps.DirectoryIsHeld();

            // It listens before a first start makes keys: keys that nobody sees would make the store useless.
            app = Listeners.Build(options, time, draining, observers, log);
            app.Run(waiting.AnswerAsync);
            var (url, adminUrl, metricsUrl) = await Listeners.ListenAsync(app, options, ct);
            var around = new Surroundings(time, app.Services.GetRequiredService<ILoggerFactory>(), parts)
            {
                Observers = observers,
            };
            storage.Engine.Log = around.Log<Engine>();
            if (options.Dev is null)
                log.Start(options, storage.Engine.Name, await storage.Engine.FindReleaseAsync(ct));
            var telemetry = TelemetryParts.Open(options, storage.Engine, around);

            await using var start = await storage.JoinAsync(url, ct);
            var isNew = !await Instance.ExistsAsync(storage.Engine, ct);
            if (isNew)
                OldStore.RequireNone(AuditParts.CheckpointFile(options));
            var keys = KeyParts.Open(storage, options, isNew, time.GetUtcNow());
            var first = await FirstStart.OpenAsync(storage.Engine, keys.Wrappers, isNew, options, time, ct);
            var instance = first.Instance;
            var isAnchored = keys.Anchor.Check(instance);

            var policy = new StorePolicy(instance, options, storage.Directory.SettingsFile);
            policy.RequireUnedited();

            var audit = await AuditParts.OpenAsync(storage, policy, keys.Anchor, options, around, ct);
            await WarnAsync(storage, instance, options, around, ct);
            keys.Warn(instance, isAnchored || isNew, around.Log<KeyParts>());
            var lastCommit = await IdMark.LastCommitAsync(storage.Engine, ct);
            var clock = new ClockWatch(time, lastCommit, around.Log<ClockWatch>(), () => storage.Engine.ClockOffset);
            var mark = await IdMark.OpenAsync(storage.Engine, ct);
            var started = new Started(url, adminUrl,
                storage.Engine.Connections is { } connections ? $"{shown} ({connections.Shown})" : shown,
                Convert.ToHexStringLower(instance.Id), first.Keys)
            {
                MetricsUrl = metricsUrl,
            };
            if (first.Keys is not null)
                steps.KeysAreMade(started);
            await audit.Committer.CommitAsync(first.Change);
            await Upgrade.RunAsync(storage.Engine, audit, instance, keys.Wrappers, time, ct, policy.Told);
            policy.Keep(around.Log<StorePolicy>());
            keys.Follow(storage.Engine, instance, around);
            audit.Refusals.Start(audit.Committer);

            var access = await AccessParts.OpenAsync(storage, instance, audit, options, around, ct);
            var secrets = SecretsParts.Open(storage, policy, audit, access, mark, time);
            if (options.Dev is { SeedFixtures: true })
                await Fixtures.SeedAsync(secrets.Store, FirstStart.DevCaller, ct);
            var management = await ManagementParts.OpenAsync(
                storage, policy, keys, audit, access, secrets, around, ct);
            StartReaper(storage, policy, audit, access, secrets, clock, around);
            StartWebhooks(storage, audit, management.Events, options, around);
            var certificate = StartCertificate(app, around);
            var backups = StartBackups(instance, audit, options, around);
            if (storage.Engine.Loop is { } node)
                around.Loops.Add(node);
            var readiness = parts.Add(new Readiness(
                audit.Committer, instance, () => keys.Health, () => audit.Trouble, time, clock)
            {
                BackupTrouble = () => backups?.Trouble,
                ReceiptTrouble = () => management.Folder?.Trouble,
                CertificateTrouble = () => certificate?.Warning,
                Loops = around.Loops,
                TryWrites = storage.Engine.TryWritesAsync,
            });
            var health = new HealthApi(readiness, draining);
            telemetry.Start(new Gauges(time)
            {
                Options = policy.InForce,
                Engine = storage.Engine,
                Instance = instance,
                Audit = audit,
                Access = access,
                Tenants = secrets.Tenants,
                Readiness = readiness,
                Census = telemetry.Census,
                Observers = observers,
                Certificate = certificate,
                Backups = backups,
            });
            storage.Engine.IsServing = true;
            if (AccessLog.Begin(options.Log.Access, log, observers, time) is { } accessLog)
                parts.Add(accessLog);
            var doors = Doors.Open(secrets, management, access, health, new AuditKeyApi(instance), telemetry.Api, url,
                options, around);
            waiting.Open(telemetry.Around(doors.AnswerAsync));
            return new Server(app, around, log, draining) { Started = started };
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync();
            parts.Dispose();
            log.Dispose();
            if (e is not (ApiError { IsFault: true } or DbException or TimeoutException))
                throw;
            throw new ConfigurationException(
                $"the store in {shown} cannot be used: {Cause.Of(e)}", StoreTrouble.HintOn(e));
        }
    }

    /// <summary>What is done beside requests and has ended by a fault of Coffer; null is well.</summary>
    public string? DeadLoop => surroundings.Loops.FirstOrDefault(loop => loop.HasDied)?.Name;

    /// <summary>The log, for what runs the server.</summary>
    public ILogger Log => lines.CreateLogger(ServerLog.Source<Server>());

    /// <summary>Looks at the certificate again now, and says so in the log.</summary>
    public void Reload() => web.Services.GetService<TlsCertificate>()?.Reload();

    /// <summary>
    /// Answers for so long what still comes, and says that it is about to stop: see <see cref="Draining"/>.
    /// </summary>
    /// <param name="most">How long.</param>
    /// <param name="ct">Ends it earlier.</param>
    public async Task DrainAsync(TimeSpan most, CancellationToken ct)
    {
        draining.Begin();
        await Task.Delay(most, ct).ContinueWith(static _ => { }, TaskScheduler.Default);
    }

    /// <summary>
    /// Stops within a time, whatever clients and the database do: what is not finished by then is cut off. Nothing that
    /// was answered is lost by that.
    /// </summary>
    /// <returns>Whether all was finished.</returns>
    public async Task<bool> StopAsync(TimeSpan most)
    {
        using var requests = new CancellationTokenSource(most * OfRequests);
        var stopping = Task.Run(() => StopAsync(requests.Token), CancellationToken.None);
        try
        {
            await stopping.WaitAsync(most);
            return true;
        }
        catch (TimeoutException)
        {
            _ = stopping.ContinueWith(static ended => ended.Exception, TaskScheduler.Default); // nobody is left to know
            const string CutOff = "Not all was finished within {Seconds:0} seconds, and was cut off. Nothing that was "
                + "answered is lost";
            Log.LogWarning(CutOff, most.TotalSeconds);
            lines.Dispose();
            return false;
        }
    }

    public async ValueTask DisposeAsync() => await StopAsync(CancellationToken.None);

    // Running requests first, until the token ends them, then the changes they handed in, then the store.
    private async Task StopAsync(CancellationToken ct)
    {
        await web.StopAsync(ct);
        await web.DisposeAsync();
        await ReadingThread.LeaveAsync(); // some of what ends now is waited for, and by whom else would it be read?
        surroundings.Parts.Dispose();
        lines.Dispose();
    }

    private static void StartReaper(
        StorageParts storage, StorePolicy policy, AuditParts audit, AccessParts access, SecretsParts secrets,
        ClockWatch clock, Surroundings around)
    {
        var instance = policy.Instance;
        var rows = new LevelUpgrade(storage.Engine, audit.Committer, instance, policy.Told);
        var ended = new EndedKeys(storage.Engine, audit.Committer, instance);
        var notices = new ExpiryNotices(storage.Engine, audit.Committer, secrets.Tenants);
        var reaper = around.Parts.Add(new Reaper(
            storage.Engine, audit.Committer, audit.Retention, around.Time, around.Log<Reaper>(), clock)
        {
            SweepsMore = async ct =>
            {
                await access.Endings.SweepAsync(audit.Committer, ct);
                await rows.RunAsync(ct);
                await notices.SweepAsync(storage.Engine.SecondToRead(around.Time), ct);
            },
            Tenants = secrets.Tenants,
            SweepsKeys = ended.SweepAsync,
            IsHeld = () => instance.IsHeld,
        });
        reaper.Start();
        around.Loops.Add(reaper.Loop);
    }

    private static void StartWebhooks(
        StorageParts storage, AuditParts audit, EventList events, CofferOptions options, Surroundings around)
    {
        var sender = new Sender(new Destinations(options.WebhookNetworks), around.Time);
        var deliveries = around.Parts.Add(new Deliveries(
            storage.Engine, audit.Committer, events, sender, around.Time, around.Log<Deliveries>()));
        storage.Engine.Changed += deliveries.Wake;
        deliveries.Start();
        around.Loops.Add(deliveries.Loop);
    }

    private static TlsCertificate? StartCertificate(WebApplication web, Surroundings around)
    {
        if (web.Services.GetService<TlsCertificate>() is not { Loop: var loop } certificate)
            return null;
        loop.Start();
        around.Loops.Add(loop);
        return certificate;
    }

    private static BackupSchedule? StartBackups(
        Instance instance, AuditParts audit, CofferOptions options, Surroundings around)
    {
        if (BackupSchedule.Plan.Of(options.Backups) is not { } plan)
            return null;
        var schedule = around.Parts.Add(new BackupSchedule(new StoreLocation(options.Data, options.Store), instance,
            audit.Committer, plan, around.Time, around.Log<BackupSchedule>()));
        schedule.Start();
        around.Loops.Add(schedule.Loop);
        return schedule;
    }

    // What an operator has to know of a store that starts, once.
    private static async Task WarnAsync(
        StorageParts storage, Instance instance, CofferOptions options, Surroundings around, CancellationToken ct)
    {
        foreach (var key in await OfflineKey.WarningsAsync(storage.Engine, instance, around.Time.GetUtcNow(), ct))
            around.Log<Server>().LogWarning("{Key}", key);
        if (Product.TroubleOf(Environment.Version) is { } trouble)
            around.Log<Server>().LogWarning("{Trouble}", trouble);
        var files = ProcessLimits.OpenFiles;
        if (Listeners.ConnectionsOf(options, files) is var connections && connections < options.Connections)
        {
            const string Fewer = "This process may open {Files} files: there is room for {Count} connections at each "
                + "address, and not for the {Wanted} of {Setting}";
            around.Log<Server>().LogWarning(Fewer, files, connections, options.Connections,
                options.Written("connections"));
        }

        foreach (var wide in options.TrustedProxies.Where(Networks.IsWide))
        {
            const string Wide = "{Written} has {Network}: whoever has an address of it can forge the one that the "
                + "audit log and limits go by. Name the proxies one by one";
            around.Log<Server>().LogWarning(Wide, options.Written("trusted-proxies"), wide);
        }

        var changed = storage.Directory.Tighten().Concat(PrivateFiles.TightenKeys(
            [storage.Directory.KeyFile, .. options.RootKey.Files], options.TlsKey));
        foreach (var change in changed)
            around.Log<DataDirectory>().LogWarning("{Change}", change);
        if (options.Dev is null && await FirstStart.LeftByDevAsync(storage.Engine, ct) is { Count: > 0 } left)
        {
            const string Left = "{Keys}: made by coffer dev, and good here. Revoke with: coffer keys revoke";
            around.Log<Server>().LogWarning(Left, string.Join(" and ", left));
        }
    }
}
