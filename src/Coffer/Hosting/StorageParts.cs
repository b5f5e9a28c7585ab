using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Hosting;

/// <summary>The data directory, the engine, and what this node knows of changes to what it keeps in memory.</summary>
internal sealed record StorageParts(DataDirectory Directory, Engine Engine, Epoch Epoch)
{
    public static async Task<StorageParts> OpenAsync(CofferOptions options, Parts parts, CancellationToken ct)
    {
        var expected = new Anchor(DataDirectory.AnchorOf(options.Data)).Expected
            ?? OldStore.Expected(AuditParts.CheckpointFile(options));
        if (options.Store is null)
            RequireFile(options, expected);
        var directory = parts.Add(DataDirectory.Open(options.Data, holdsStore: options.Store is null));
        var engine = parts.Add<Engine>(options.Store is { } database
            ? await PostgresEngine.OpenAsync(database, ct, upTo: null, expected)
            : SqliteEngine.Open(
                directory.StoreFile, reserve: options.Dev is null ? directory.ReserveFile : null));
        await Instance.RequireServableAsync(engine, ct); // before it waits for a node that may be migrating
        var epoch = new Epoch();
        engine.Changed = epoch.Advance;
        return new StorageParts(directory, engine, epoch);
    }

    // Before one is made: that it is empty does not say that it is new.
    private static void RequireFile(CofferOptions options, string? expected)
    {
        var file = new FileInfo(DataDirectory.FilesOf(options.Data).Store);
        if (expected is null || file is { Exists: true, Length: > 0 })
            return;
        throw new ConfigurationException($"{expected}, and {file.FullName} is {(file.Exists ? "empty" : "not there")}",
            "Restore the store from a back-up. To create a new store, move that file away first. Nothing was changed.");
    }

    /// <summary>Takes a name among the nodes of the store, and waits until no other node starts.</summary>
    /// <param name="url">Where the node serves; null if it does not.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">
    /// The store was migrated, or is the target of a migration: who it was waited for may have done so.
    /// </exception>
    /// <returns>
    /// Until it is disposed of no other node starts: of nodes that start at once, one makes the identity.
    /// </returns>
    public async Task<IAsyncDisposable?> JoinAsync(Uri? url, CancellationToken ct)
    {
        Engine.Address = url?.ToString();
        await Engine.JoinAsync(ct);
        var start = await Engine.HoldStartAsync(ct);
        try
        {
            await Instance.RequireServableAsync(Engine, ct);
            return start;
        }
        catch
        {
            if (start is not null)
                await start.DisposeAsync();
            throw;
        }
    }
}
