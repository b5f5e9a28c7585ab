using System.Security.Cryptography;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Transfer;

/// <summary>
/// Writes a store as it is at one moment into two files, while it is served: its rows, and apart from them the keys of
/// its tenants. Memory is bounded, however large the store is.
/// </summary>
internal static class Backup
{
    /// <summary>What a node writes again and again to prove its disk.</summary>
    private const string Proof = "ready";

    // Wrapped in the header, or of no use in another life of the store.
    private static readonly Table[] Left = [RootKeyRow.Table, WrappingRow.Table, ReplyRow.Table];

    // Events of this life of the store, sent or not: their numbers continue, and they do not come back.
    private static readonly Table[] Emptied = [EventRow.Table, DeliveryRow.Table];

    /// <summary>What was written.</summary>
    /// <param name="Header">That of the data.</param>
    /// <param name="Rows">How many rows.</param>
    /// <param name="Secrets">How many of them are secrets.</param>
    /// <param name="Bytes">Bytes of the data.</param>
    /// <param name="KeyBytes">Bytes of the keys.</param>
    public sealed record Made(BackupHeader Header, long Rows, long Secrets, long Bytes, long KeyBytes);

    /// <summary>Writes both parts.</summary>
    /// <param name="store">The store, on a connection of its own.</param>
    /// <param name="open">Opens the store's identity from what is stored at that moment.</param>
    /// <param name="data">Where the rows go.</param>
    /// <param name="keys">Where the keys of tenants go.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="watch">Told after each batch.</param>
    /// <exception cref="ConfigurationException">It is no whole store, or none of this version yet.</exception>
    /// <exception cref="IOException">A part cannot be written.</exception>
    public static async Task<Made> WriteAsync(StoredTables store, Func<StoredKeys, Task<Instance>> open, Stream data,
        Stream keys, long now, Action<Step> watch)
    {
        store.Freeze(still: false);
        if (store.Meta(Instance.MigrationMetaKey) is not null)
            throw Instance.Unfinished();
        if (store.Meta(Instance.MovedMetaKey) is { } where)
            throw Instance.Moved(where);
        var stored = StoredKeys.Read(store);
        if (!stored.Meta.ContainsKey(Control.MetaKey))
        {
            throw new ConfigurationException("the store was not started with this version yet",
                "Start coffer serve on it once: that brings it up to date.");
        }

        var instance = await open(stored);
        var header = new BackupHeader
        {
            Part = BackupHeader.Data,
            Backup = RandomNumberGenerator.GetBytes(Control.StoreIdSize),
            Store = instance.Id,
            Number = 1,
            Created = now,
            Version = Product.Version,
            Schema = BackupHeader.CurrentSchema,
            Roots = stored.Roots,
            Wrappings = stored.Wrappings,
            RecoveryShares = stored.Meta.GetValueOrDefault(RecoveryShares.MetaKey),
        };
        var roots = instance.Roots.SealingBy(stored.SealingOf(instance));
        var made = WriteData(store, instance, header.WithKey(roots), data, watch);
        var keyBytes = BackupKeys.Write(keys, (header with { Part = BackupHeader.Keys }).WithKey(roots), instance,
            store.Read(TenantRow.Table).Select(BackupKeys.Of));
        store.Leave();
        return made with { KeyBytes = keyBytes };
    }

    private static Made WriteData(StoredTables store, Instance instance,
        (BackupHeader Header, Crypto.SealingKey Key) with, Stream to, Action<Step> watch)
    {
        using var writer = new BackupWriter(to, with.Header, with.Key);
        var (rows, heads) = (new Dictionary<string, long>(), new Dictionary<string, (long Last, byte[] Mac)>());
        foreach (var table in Tables.All.Except(Left))
        {
            var isTenants = table == TenantRow.Table;
            BackupRows.WriteTable(writer, BackupKeys.WithoutKeys(table),
                table.Numbered is null ? 0 : store.Position(table));
            var (done, total) = (0L, store.Count(table));
            var rowsOf = Emptied.Contains(table) ? [] : store.Read(table);
            foreach (var row in rowsOf.Where(row => table != MetaRow.Table || (string)row[0]! != Proof))
            {
                BackupRows.WriteRow(writer, isTenants ? BackupKeys.Without(row) : row);
                if (table == AuditRow.Table && AuditRow.From(new ReadRow(row)) is var entries)
                    heads[entries.Node] = (entries.Last, entries.Mac);
                if (++done % Step.Stride == 0)
                    watch(new Step("writing", table.Name, done, Math.Max(done, total)));
            }

            rows[table.Name] = done;
            watch(new Step("writing", table.Name, done, done));
        }

        BackupRows.WriteClosing(writer, new BackupClosing(rows, heads).ToText(instance, writer.Hash));
        return new Made(with.Header, rows.Values.Sum(), rows[SecretRow.Table.Name], writer.Written, 0);
    }
}
