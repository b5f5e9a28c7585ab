using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Hosting;

/// <summary>
/// A store that is opened beside the server by someone with its root key, to be changed in a way that no request can.
/// </summary>
internal sealed class OfflineStore : IAsyncDisposable
{
    private readonly Parts parts;
    private readonly IAsyncDisposable? start;
    private readonly AuditParts audit;
    private readonly KeyParts keys;
    private readonly RowWrite.PutMeta? mark;
    private readonly TimeProvider time;

    private OfflineStore(
        (Parts Parts, IAsyncDisposable? Start) held, AuditParts audit, KeyParts keys, RowWrite.PutMeta? mark,
        TimeProvider time) =>
        (parts, start, this.audit, this.keys, this.mark, this.time) = (held.Parts, held.Start, audit, keys, mark, time);

    public required Engine Engine { get; init; }

    public required Instance Instance { get; init; }

    /// <summary>What is set to unwrap root keys.</summary>
    public KeyWrappers Wrappers => keys.Wrappers;

    /// <summary>Unix seconds.</summary>
    public long Now => time.GetUtcNow().ToUnixTimeSeconds();

    /// <param name="options">The settings of the server, as far as they say where store and root keys are.</param>
    /// <param name="time">The clock.</param>
    /// <param name="ct">Ends the wait for a database or a key service.</param>
    /// <exception cref="ConfigurationException">There is no such store, or a server holds it. Nothing was
    /// changed.</exception>
    public static async Task<OfflineStore> OpenAsync(CofferOptions options, TimeProvider time, CancellationToken ct)
    {
        Preflight.Require(options);
        RequireFree(options);
        var opened = new Parts();
        IAsyncDisposable? held = null;
        try
        {
            var storage = await StorageParts.OpenAsync(options, opened, ct);
            held = await storage.JoinAsync(url: null, ct);
            if (!await Instance.ExistsAsync(storage.Engine, ct))
                throw NoStore(options);
            var verb = await StoreVerb.RequireAsync(storage.Engine, isNew: false, isDev: false, ct);
            var wrapping = KeyParts.Open(storage, options, isNew: false, time.GetUtcNow());
            var instance = await Instance.OpenAsync(storage.Engine, wrapping.Wrappers, ct);
            wrapping.Anchor.Check(instance);
            var around = new Surroundings(time, NullLoggerFactory.Instance, opened);
            var policy = new StorePolicy(instance, options, storage.Directory.SettingsFile);
            var log = await AuditParts.OpenAsync(storage, policy, wrapping.Anchor, options, around, ct);
            await Upgrade.RunAsync(storage.Engine, log, instance, wrapping.Wrappers, time, ct);
            wrapping.Anchor.Write(instance);
            if (instance.Level < Control.SecondKeyRows)
                throw new ConfigurationException("nodes of an earlier release run on this store, and know no such key",
                    "Update all nodes first, or stop them.");
            return new OfflineStore((opened, held), log, wrapping, verb, time)
            {
                Engine = storage.Engine,
                Instance = instance,
            };
        }
        catch
        {
            if (held is not null)
                await held.DisposeAsync();
            opened.Dispose();
            throw;
        }
    }

    /// <summary>Writes rows and what is recorded of them, in one transaction.</summary>
    /// <exception cref="ConfigurationException">A node has changed the control row; nothing of them is stored.
    /// </exception>
    public Task CommitAsync(IReadOnlyList<RowWrite> rows, IReadOnlyList<Note> notes) => audit.Committer.CommitAsync(
        new Change.Plain(mark is null ? [.. rows] : [mark, .. rows]) { Notes = notes });

    /// <summary>Makes a change of the control row, and has the anchor follow.</summary>
    /// <exception cref="ConfigurationException">A node has changed it; nothing is stored.</exception>
    public async Task CommitAsync(ControlChange change)
    {
        await audit.Committer.CommitAsync(change);
        if (!change.HasChanged)
            throw ControlChange.Refused();
        keys.Anchor.Write(Instance);
    }

    public async ValueTask DisposeAsync()
    {
        if (start is not null)
            await start.DisposeAsync();
        parts.Dispose();
    }

    // Before anything is opened or made.
    private static void RequireFree(CofferOptions options)
    {
        if (options.Store is null && !File.Exists(DataDirectory.FilesOf(options.Data).Store))
            throw NoStore(options);
        using var held = DataDirectory.TryOpen(options.Data, holdsStore: options.Store is null);
        if (held is not null)
            return;
        throw options.Store is null
            ? new ConfigurationException($"a server runs on the store in {Path.GetFullPath(options.Data)}",
                "Stop it first, or create the key with another admin key, without --offline. Nothing was changed.")
            : new ConfigurationException($"a node runs in the directory {Path.GetFullPath(options.Data)}",
                "Give --data another directory, with copies of coffer.key and coffer.anchor. Nothing was changed.");
    }

    private static ConfigurationException NoStore(CofferOptions options) => new(
        $"there is no store in {options.Store ?? Path.GetFullPath(options.Data)}",
        "Give --data, and --store if the store is in a database, as the server has them.");
}
