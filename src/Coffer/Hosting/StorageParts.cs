using Coffer.Access;
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
        var directory = parts.Add(DataDirectory.Open(options.Data, holdsStore: options.Store is null));
        var engine = parts.Add<Engine>(options.Store is { } database
            ? await PostgresEngine.OpenAsync(database, ct)
            : SqliteEngine.Open(directory.StoreFile));
        await Instance.RequireWholeAsync(engine, ct); // before it waits for a node that may be migrating
        var epoch = new Epoch();
        engine.Changed = epoch.Advance;
        return new StorageParts(directory, engine, epoch);
    }

    /// <summary>Takes a name among the nodes of the store.</summary>
    /// <returns>
    /// Until it is disposed of no other node starts: of nodes that start at once, one makes the identity.
    /// </returns>
    public async Task<IAsyncDisposable?> JoinAsync(Uri url, CancellationToken ct)
    {
        Engine.Address = url.ToString();
        await Engine.JoinAsync(ct);
        return await Engine.HoldStartAsync(ct);
    }
}
