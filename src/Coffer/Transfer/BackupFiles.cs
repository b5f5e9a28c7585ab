using System.Text;
using System.Text.Json.Nodes;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Transfer;

/// <summary>The two files of a back-up: under their names they are there whole and durable, or not at all.</summary>
internal static class BackupFiles
{
    /// <summary>The same by whatever wraps the root keys of the store.</summary>
    /// <inheritdoc cref="WriteAsync"/>
    /// <exception cref="KeyServiceException">A wrapper could not be asked.</exception>
    public static Task<Backup.Made> CreateAsync(StoreLocation from, string? file, Stream? pipe, string keysFile,
        Action<Step> watch, long now, CancellationToken ct)
    {
        var wrappers = from.OpenWrappers();
        return WriteAsync(
            from, stored => Instance.OpenAsync(stored, wrappers, ct), file, pipe, keysFile, watch, now, ct);
    }

    /// <summary>Writes a store into two new files.</summary>
    /// <param name="from">The store; beside a running server, if there is one.</param>
    /// <param name="open">Opens its identity from what is stored at that moment.</param>
    /// <param name="file">The data; null writes them to <paramref name="pipe"/>.</param>
    /// <param name="pipe">Where the data go if there is no file for them.</param>
    /// <param name="keysFile">The keys of tenants.</param>
    /// <param name="watch">Told after each batch.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends the wait for a database.</param>
    /// <exception cref="ConfigurationException">There is no store, or one of the files is there already.</exception>
    /// <exception cref="IOException">A file cannot be written; nothing of either is left.</exception>
    public static async Task<Backup.Made> WriteAsync(StoreLocation from, Func<StoredKeys, Task<Instance>> open,
        string? file, Stream? pipe, string keysFile, Action<Step> watch, long now, CancellationToken ct)
    {
        foreach (var path in (string?[])[file, keysFile])
        {
            if (File.Exists(path))
            {
                throw new ConfigurationException($"{path} is there already",
                    "Give another name, or move it away: a back-up is never overwritten.");
            }
        }

        using var store = await OpenAsync(from, ct);
        using var data = file is null ? null : new NewFile(file);
        using var keys = new NewFile(keysFile);
        var made = await Backup.WriteAsync(store, open, data?.Content ?? pipe!, keys.Content, now, watch);
        if (pipe is not null)
            await pipe.FlushAsync(ct);
        keys.Keep(overwrite: false);
        data?.Keep(overwrite: false); // last: where it is, the keys are
        return made;
    }

    /// <summary>Opens a store by its rows.</summary>
    /// <exception cref="ConfigurationException">There is none.</exception>
    public static async Task<StoredTables> OpenAsync(StoreLocation from, CancellationToken ct)
    {
        if (from.Store is { } database)
            return await PostgresTables.OpenAsync(database, isNew: false, ct);
        var (store, _, _) = DataDirectory.FilesOf(from.Data);
        return File.Exists(store)
            ? SqliteTables.OpenAnywhere(store)
            : throw new ConfigurationException($"there is no store in {from.Data}",
                "Give the --data directory of a store, and --store if it is in a database.");
    }

    /// <summary>
    /// Takes an account out of a back-up's keys: the file is replaced by one without it, and what it had is overwritten
    /// where the medium allows. Then a receipt for that is written, signed by the key of the store in the back-up.
    /// Where a run ended between the two, the next one writes the receipt.
    /// </summary>
    /// <param name="backup">The back-up.</param>
    /// <param name="keysFile">Its keys of tenants.</param>
    /// <param name="app">The app.</param>
    /// <param name="account">The account.</param>
    /// <param name="receipts">The directory for the receipt.</param>
    /// <param name="now">Unix seconds.</param>
    /// <returns>
    /// The number of the keys that have the account no more, how many tenants were taken out of them by this run, and
    /// the file of the receipt; null if the account is not in the back-up.
    /// </returns>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public static (long Part, int Gone, string Receipt)? Forget(
        OpenedBackup backup, string keysFile, string app, string account, string receipts, long now)
    {
        if (!backup.HasAccount(app, account))
            return null;
        var (header, gone) = Rewrite(backup, keysFile, (its, one) => its == app && one == account);
        var part = gone > 0 ? header.Number : backup.KeysHeader.Number;
        var id = SignedReceipt.NewId();
        var statement = new JsonObject
        {
            ["account"] = account,
            ["app"] = app,
            ["backup"] = header.Id,
            ["done"] = new JsonArray("keys_taken_out"),
            ["forgotten_at"] = now,
            ["id"] = id,
            ["not_reached"] = new JsonArray("copies", "storage_medium"),
            ["object"] = SignedReceipt.TakenOut,
            ["part"] = part,
            ["part_before"] = backup.KeysHeader.Number,
            ["signed_at"] = now,
            ["tenants"] = gone,
        };
        var file = Path.Combine(receipts, id + SignedReceipt.Suffix);
        var text = SignedReceipt.Sign(backup.Instance, statement) + "\n";
        DurableFile.Write(file, Encoding.ASCII.GetBytes(text), overwrite: false);
        return (part, gone, file);
    }

    private static (BackupHeader Header, int Gone) Rewrite(
        OpenedBackup backup, string keysFile, Func<string, string, bool> isForgotten)
    {
        using var from = backup.AgainKeys();
        using var to = new NewFile(keysFile);
        var rewritten = BackupKeys.Rewrite(from, to.Content, backup.Instance, isForgotten);
        if (rewritten.Gone > 0)
        {
            using var old = new FileStream(keysFile, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            to.Keep(overwrite: true);
            Overwrite(old);
        }

        return rewritten;
    }

    // Where a medium writes in place, what was taken out is gone; nobody can promise more of one that does not.
    private static void Overwrite(FileStream old)
    {
        var zeros = new byte[1 << 16];
        for (var left = old.Length; left > 0; left -= zeros.Length)
            old.Write(zeros, 0, (int)Math.Min(left, zeros.Length));
        DurableFile.Sync(old);
    }
}
