
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// What brings a store of an earlier release to the level of this one, in one start: it runs while no other node
/// starts, before requests are answered; a start after one that was killed continues.
/// </summary>
internal static class Upgrade
{
    private const int Batch = 200;

    /// <param name="engine">Where the store is.</param>
    /// <param name="audit">Commits.</param>
    /// <param name="instance">Whose store it is.</param>
    /// <param name="wrappers">Wrap the root keys.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <param name="told">The settings that the store begins to keep; null leaves that to a server.</param>
    /// <exception cref="ConfigurationException">What was written is not there: something undoes writes.</exception>
    /// <exception cref="KeyServiceException">A key wrapper could not wrap.</exception>
    public static async Task RunAsync(Engine engine, AuditParts audit, Instance instance, KeyWrappers wrappers,
        TimeProvider time, CancellationToken ct, IReadOnlyDictionary<string, string>? told = null)
    {
        if (instance.Facts is null)
        {
            var now = time.GetUtcNow().ToUnixTimeSeconds();
            await RaiseAsync(engine, audit.Committer, instance, wrappers, now, ct);
            await audit.BridgeAsync(engine, instance, time, ct); // before anything else is recorded
        }

        await new LevelUpgrade(engine, audit.Committer, instance, told).RunAsync(ct);
    }

    private static async Task RaiseAsync(
        Engine engine, Committer committer, Instance instance, KeyWrappers wrappers, long now, CancellationToken ct)
    {
        var notes = new List<Note> { new AuditEntry("raise_level", "ok") { Target = $"{Control.FirstLevel}" } };
        if (!instance.AppsAreSealed)
        {
            var count = await SealAsync(engine, committer, instance, ct);
            notes.Insert(0, new AuditEntry("seal_apps", "ok") { Count = count });
        }

        var (rows, durable) = await instance.RaiseAsync(engine, wrappers, now, ct);
        await committer.CommitAsync(new Change.Plain(rows) { Notes = notes });
        durable();
    }

    // The settings of every app that has none, as those of schema 1 had not. From then on an app without settings is
    // damaged: who writes the database cannot take them away to have what an app begins with.
    private static async Task<long> SealAsync(
        Engine engine, Committer committer, Instance instance, CancellationToken ct)
    {
        var count = 0L;
        await foreach (var apps in Engine.PagesAsync(
            Batch, (after, most) => engine.ListUnsealedAsync(after, most, ct), static app => app.Id))
        {
            var changes = apps.Select(app => new Sealing(app.Id, instance)).ToList();
            await Task.WhenAll(changes.Select(committer.CommitAsync));
            count += changes.Count(change => change.HasSealed);
        }

        if ((await engine.ListUnsealedAsync("", Batch, ct)).Any(app => app.IsSound))
            throw new ConfigurationException("the settings of apps cannot be sealed: the database did not keep what "
                + "was written",
                "Remove triggers and rules from the store's tables (Coffer has none), and start again.");
        return count;
    }

    /// <summary>Seals one app, unless it is gone or sealed: a node of an earlier version may run beside.</summary>
    private sealed class Sealing(string id, Instance instance) : Change
    {
        public bool HasSealed { get; private set; }

        public override ManagementKey ManagementAt { get; } = new() { App = id };

        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            HasSealed = found.Management!.App is { Sealed: null, IsSound: true }; // another one stays damaged
            return HasSealed ? [new RowWrite.PutApp(App.From(found.Management.App!, instance).ToRow(instance))] : [];
        }

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) =>
            HasSealed ? [new AuditEntry("seal_app", refusal is null ? "ok" : "failed") { App = id }] : [];
    }
}
