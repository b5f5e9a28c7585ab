using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Hosting;

/// <summary>Makes a store as a first start does, without serving it.</summary>
internal static class NewStore
{
    /// <param name="options">The settings of the server, as far as they say where store and root keys are.</param>
    /// <param name="time">The clock.</param>
    /// <param name="keep">
    /// Puts its first keys where they last. Once it returns the store may know them, even if this fails.
    /// </param>
    /// <param name="ct">Ends the wait for a database or a key service.</param>
    /// <exception cref="ConfigurationException">There is a store, or none can be made there.</exception>
    public static async Task MakeAsync(
        CofferOptions options, TimeProvider time, Func<FirstKeys, Task> keep, CancellationToken ct)
    {
        Preflight.Require(options);
        using var opened = new Parts();
        var storage = await StorageParts.OpenAsync(options, opened, ct);
        await using var start = await storage.JoinAsync(url: null, ct);
        if (await Instance.ExistsAsync(storage.Engine, ct))
        {
            throw new ConfigurationException("there is a store already, whose keys were shown when it was made",
                "Start it with coffer serve. If its admin keys are lost, run coffer keys create --type admin "
                    + "--offline.");
        }

        OldStore.RequireNone(AuditParts.CheckpointFile(options));
        var keys = KeyParts.Open(storage, options, isNew: true, time.GetUtcNow());
        var first = await FirstStart.OpenAsync(
            storage.Engine, keys.Wrappers, isNew: true, options, time, ct, isServed: false);
        keys.Anchor.Check(first.Instance);
        var around = new Surroundings(time, NullLoggerFactory.Instance, opened);
        var policy = new StorePolicy(first.Instance, options, storage.Directory.SettingsFile);
        var audit = await AuditParts.OpenAsync(storage, policy, keys.Anchor, options, around, ct);
        await keep(first.Keys!);
        await audit.Committer.CommitAsync(first.Change);
        await Upgrade.RunAsync(storage.Engine, audit, first.Instance, keys.Wrappers, time, ct);
        keys.Anchor.Write(first.Instance);
    }
}
