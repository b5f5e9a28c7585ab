using Coffer.Access;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Transfer;

/// <summary>
/// Makes a store out of a back-up, in an empty directory or database of either engine, and proves it. Until then the
/// target says of itself that it is no store; then it is one that is held.
/// </summary>
internal static class Restore
{
    private const int MostRows = 500;
    private const long MostBytes = 4 << 20;

    /// <summary>What came of a restoration.</summary>
    /// <param name="Problems">What does not verify, naming the place; then the target is no store.</param>
    /// <param name="Rows">How many rows were written.</param>
    /// <param name="Secrets">How many secrets were opened.</param>
    public sealed record Restored(IReadOnlyList<string> Problems, long Rows, long Secrets);

    /// <summary>Writes the rows, then keys of another life of the store, and opens all of it.</summary>
    /// <param name="backup">The back-up.</param>
    /// <param name="to">Nothing yet, or what an interrupted restoration of the same back-up left.</param>
    /// <param name="directory">The data directory of the target, held.</param>
    /// <param name="wrappers">What wraps the root keys of the target.</param>
    /// <param name="watch">Told after each batch. If it throws, the run ends there, as if it were killed.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends the wait for a database or a wrapper.</param>
    /// <exception cref="ConfigurationException">The target may not be written.</exception>
    /// <exception cref="BackupDamagedException">The back-up was changed since it was opened.</exception>
    /// <exception cref="ApiError">The storage of the target cannot be used.</exception>
    public static async Task<Restored> RunAsync(OpenedBackup backup, StoreLocation to, DataDirectory directory,
        KeyWrappers wrappers, Action<Step> watch, long now, CancellationToken ct)
    {
        var isCurrent = backup.Header.Schema == BackupHeader.CurrentSchema;
        var rows = 0L;
        using (var target = await OpenAsync(isCurrent ? null : backup.Header.Schema))
        {
            Hold(target, to);
            Table[] tables = [.. backup.Tables.Select(each => each.Table), RootKeyRow.Table, WrappingRow.Table];
            StoreCopy.Claim(target, tables, backup.Header.Backup, to.Shown);
            foreach (var (table, _) in backup.Tables)
                rows += Write(backup, table, target, watch);
        }

        using var store = await OpenAsync(schema: null);
        Hold(store, to);
        foreach (var (table, position) in backup.Tables)
        {
            if (Tables.All.First(each => each.Name == table.Name) is { Numbered: not null } numbered)
                store.Continue(numbered, position);
        }

        var anchor = new Anchor(directory.AnchorFile);
        anchor.Check(backup.Instance);
        var keys = await backup.Instance.RestoreAsync(backup.Stored, wrappers, anchor.Serial, now, ct);
        keys.Replace(store);
        var instance = await Instance.OpenAsync(StoredKeys.Read(store), wrappers, ct);
        EndOfflineKeys(store, instance, now);
        var proof = new StoreProof(store.Read, store.Count, watch);
        proof.Run(instance, []);
        if (proof.Problems.Count == 0)
        {
            anchor.Write(instance);
            store.Write(MetaRow.Table, [[Instance.MigrationMetaKey, null]], []);
        }

        return new Restored(proof.Problems, rows, proof.Secrets);

        async Task<StoredTables> OpenAsync((int Sqlite, int Postgres)? schema) => to.Store is { } database
            ? await PostgresTables.OpenAsync(database, isNew: true, ct, schema?.Postgres)
            : SqliteTables.Open(directory.StoreFile, schema?.Sqlite);
    }

    // Those that were made beside the server would open the held store: only the one that comes with it does.
    private static void EndOfflineKeys(StoredTables store, Instance instance, long now)
    {
        var (gone, ended) = (new List<object?[]>(), new List<object?[]>());
        foreach (var row in store.Read(ApiKeyRow.Table))
        {
            var key = ApiKeyRow.Alone(row, account: null);
            if (!key.IsOffline)
                continue;
            gone.Add(row);
            var end = EndedKey.Put(instance, key, now, EndedKeyRow.Revoked).Row;
            ended.Add([end.Mac, end.Id, end.App, end.Kind, end.Livemode ? 1L : 0L, end.Created, end.Ended, end.How,
                end.Proof]);
        }

        store.Write(EndedKeyRow.Table, [], ended);
        store.Write(ApiKeyRow.Table, gone, []);
    }

    private static void Hold(StoredTables target, StoreLocation to)
    {
        if (!target.TryHold())
        {
            throw new ConfigurationException($"a server, a migration or another restoration uses {to.Shown}",
                "Stop it first, or choose another target.");
        }
    }

    // What an interrupted run has written is written again: it is the same.
    private static long Write(OpenedBackup backup, Table table, StoredTables target, Action<Step> watch)
    {
        var batch = new List<object?[]>();
        var (done, total, bytes) = (0L, backup.Count(table), 0L);
        foreach (var row in backup.Read(table))
        {
            batch.Add(row);
            bytes += Table.SizeOf(row);
            if (batch.Count >= MostRows || bytes >= MostBytes)
                Flush();
        }

        Flush();
        watch(new Step("writing", table.Name, done, done));
        return done;

        void Flush()
        {
            if (batch.Count > 0)
                target.Write(table, [], batch);
            done += batch.Count;
            batch.Clear();
            bytes = 0;
            watch(new Step("writing", table.Name, done, Math.Max(done, total)));
        }
    }
}
