// The composition root: the rooms of the server, in the order in which they are opened.

using Coffer.Api;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Transfer;

namespace Coffer.Hosting;

/// <summary>A running Coffer. Disposing of it finishes what runs, stores what waits and closes the store.</summary>
internal sealed class Server : IAsyncDisposable
{
    private readonly WebApplication web;
    private readonly Parts parts;

    private Server(WebApplication web, Parts parts) => (this.web, this.parts) = (web, parts);

    /// <summary>Where it listens: never port 0.</summary>
    public required Uri Url { get; init; }

    /// <summary>Where the management plane is reached, if it has an address of its own: never port 0.</summary>
    public Uri? AdminUrl { get; init; }

    /// <summary>Where the store is, in words that may be shown.</summary>
    public required string Store { get; init; }

    /// <summary>The keys that this start made; null if the store had its keys already. They are nowhere else.</summary>
    public FirstKeys? FirstKeys { get; init; }

    /// <summary>Starts, and returns once requests are answered.</summary>
    /// <exception cref="ConfigurationException">It cannot start with these settings; nothing was changed.</exception>
    public static async Task<Server> StartAsync(CofferOptions options, TimeProvider time, CancellationToken ct)
    {
        Preflight.Require(options);
        var shown = new StoreLocation(options.Data, options.Store).Shown;
        var (parts, waiting) = (new Parts(), new WaitingDoor());
        WebApplication? app = null;
        try
        {
            var storage = await StorageParts.OpenAsync(options, parts, ct);

            // It listens before a first start makes keys: keys that nobody sees would make the store useless.
            app = Listeners.Build(options, time);
            app.Run(waiting.AnswerAsync);
            var (url, adminUrl) = await Listeners.ListenAsync(app, options, ct);
            var around = new Surroundings(time, app.Services.GetRequiredService<ILoggerFactory>(), parts);

            await using var start = await storage.JoinAsync(url, ct);
            var isNew = !await Instance.ExistsAsync(storage.Engine, ct);
            if (isNew)
                OldStore.RequireNone(AuditParts.CheckpointFile(storage, options));
            var keys = KeyParts.Open(storage, options, isNew, time.GetUtcNow());
            var first = await FirstStart.OpenAsync(storage.Engine, keys.Wrappers, options, time, ct);
            var instance = first.Instance;
            var isAnchored = keys.Anchor.Check(instance);

            var audit = await AuditParts.OpenAsync(storage, instance, keys.Anchor, options, around, ct);
            await WarnAsync(storage, instance, options, around, ct);
            keys.Warn(instance, isAnchored || isNew, around.Log<KeyParts>());
            var lastCommit = await IdMark.LastCommitAsync(storage.Engine, ct);
            var clock = new ClockWatch(time, lastCommit, around.Log<ClockWatch>());
            var mark = await IdMark.OpenAsync(storage.Engine, ct);
            await audit.Committer.CommitAsync(first.Change);
            await Upgrade.RunAsync(storage.Engine, audit, instance, keys.Wrappers, time, ct);
            keys.Follow(storage.Engine, instance, around);
            audit.Refusals.Start(audit.Committer);

            var access = await AccessParts.OpenAsync(storage, instance, audit, options, around, ct);
            var secrets = SecretsParts.Open(storage, instance, audit, access, mark, options, time);
            if (options.Dev is { SeedFixtures: true })
                await Fixtures.SeedAsync(secrets.Store, FirstStart.DevCaller, ct);
            var management = await ManagementParts.OpenAsync(
                storage, instance, keys, audit, access, secrets, options, around, ct);
            StartReaper(storage, instance, audit, access, clock, around);
            var backups = StartBackups(instance, audit, options, around);
            var health = new HealthApi(parts.Add(new Readiness(
                audit.Committer, instance, () => keys.Health, () => audit.Trouble, time, clock)
            {
                BackupTrouble = () => backups?.Trouble,
                ReceiptTrouble = () => management.Folder?.Trouble,
            }));
            waiting.Open(Doors.Open(
                secrets, management, access, health, new AuditKeyApi(instance), url, options, around));
            return new Server(app, parts)
            {
                Url = url,
                AdminUrl = adminUrl,
                Store = storage.Engine.Connections is { } connections ? $"{shown} ({connections.Shown})" : shown,
                FirstKeys = first.Keys,
            };
        }
        catch (Exception e)
        {
            if (app is not null)
                await app.DisposeAsync();
            parts.Dispose();
            if (e is not ApiError { IsFault: true })
                throw;
            throw new ConfigurationException(
                $"the store in {shown} cannot be used: {(e.InnerException ?? e).Message}",
                options.Store is null
                    ? "Check the disk; if the store is damaged, restore it from a back-up."
                    : PostgresEngine.HintOn(e.InnerException));
        }
    }

    /// <summary>Returns when the process is told to end (SIGTERM, SIGINT) or the token is cancelled.</summary>
    public Task WaitForStopAsync(CancellationToken ct) => web.WaitForShutdownAsync(ct);

    public async ValueTask DisposeAsync()
    {
        // Running requests first, then the changes they handed in, then the store.
        await web.StopAsync(CancellationToken.None);
        await web.DisposeAsync();
        parts.Dispose();
    }

    private static void StartReaper(
        StorageParts storage, Instance instance, AuditParts audit, AccessParts access, ClockWatch clock,
        Surroundings around)
    {
        var rows = new KeyRowUpgrade(storage.Engine, audit.Committer, instance);
        var ended = new EndedKeys(storage.Engine, audit.Committer, instance);
        around.Parts.Add(new Reaper(
            storage.Engine, audit.Committer, audit.Retention, around.Time, around.Log<Reaper>(), clock)
        {
            SweepsMore = async ct =>
            {
                await access.Endings.SweepAsync(audit.Committer, ct);
                await rows.RunAsync(ct);
            },
            SweepsKeys = ended.SweepAsync,
            IsHeld = () => instance.IsHeld,
        }).Start();
    }

    private static BackupSchedule? StartBackups(
        Instance instance, AuditParts audit, CofferOptions options, Surroundings around)
    {
        if (BackupSchedule.Plan.Of(options.Backups) is not { } plan)
            return null;
        var schedule = around.Parts.Add(new BackupSchedule(new StoreLocation(options.Data, options.Store), instance,
            audit.Committer, plan, around.Time, around.Log<BackupSchedule>()));
        schedule.Start();
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
        foreach (var change in storage.Directory.Tighten())
            around.Log<DataDirectory>().LogWarning("{Change}", change);
        if (options.Dev is null && await FirstStart.LeftByDevAsync(storage.Engine, ct) is { Count: > 0 } left)
        {
            const string Left = "{Keys}: made by coffer dev, and good here. Revoke with: coffer keys revoke";
            around.Log<Server>().LogWarning(Left, string.Join(" and ", left));
        }
    }
}
