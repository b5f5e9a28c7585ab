using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Transfer;

/// <summary>
/// A back-up whose two parts were read from end to end and are whole, of one back-up, and of the store that they name.
/// </summary>
internal sealed class OpenedBackup : IDisposable
{
    // What hangs on a tenant has its number as its first column.
    private const string Owner = "tenant";

    private readonly BackupReader data;
    private readonly BackupReader keys;
    private readonly Dictionary<string, (Table Table, long Position, (long, long) Place)> tables;
    private readonly Dictionary<string, long> counts;

    private OpenedBackup(BackupReader data, BackupReader keys, Instance instance,
        Dictionary<string, (Table Table, long Position, (long, long) Place)> tables, Dictionary<string, long> counts) =>
        (this.data, this.keys, Instance, this.tables, this.counts) = (data, keys, instance, tables, counts);

    public BackupHeader Header => data.Header;

    /// <summary>That of the keys of tenants.</summary>
    public BackupHeader KeysHeader => keys.Header;

    /// <summary>The identity of the store, as it was then.</summary>
    public Instance Instance { get; }

    /// <summary>What the back-up has of the store's own keys.</summary>
    public required StoredKeys Stored { get; init; }

    /// <summary>Whether the identity was compared with an anchor.</summary>
    public bool IsAnchored { get; private init; }

    /// <summary>The tables, those first that others refer to, as the program that made the back-up had them.</summary>
    public IEnumerable<(Table Table, long Position)> Tables => tables.Values.Select(each => (
        each.Table.Name == TenantRow.Table.Name ? BackupKeys.Joined(each.Table) : each.Table, each.Position));

    /// <summary>How many tenants have no keys any more, since their accounts were taken out of the back-up.</summary>
    public required long Forgotten { get; init; }

    public long Count(Table table) => counts.GetValueOrDefault(table.Name);

    /// <param name="file">The data.</param>
    /// <param name="keysFile">The keys of tenants; null is beside the data.</param>
    /// <param name="by">What wraps its root keys, and the data directory with the key file and the anchor.</param>
    /// <param name="anchor">An anchor that must be there; null is that of the data directory, if there is one.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <param name="wrappers">What opens it instead of what wraps its root keys; null is that.</param>
    /// <inheritdoc cref="OpenAsync(string, string, KeyWrappers, Anchor?, CancellationToken)" path="/exception"/>
    public static Task<OpenedBackup> OpenAsync(string file, string? keysFile, StoreLocation by, string? anchor,
        CancellationToken ct, KeyWrappers? wrappers = null)
    {
        if (anchor is not null && !File.Exists(anchor))
        {
            throw new ConfigurationException($"there is no anchor at {anchor}",
                "Give a copy of a node's coffer.anchor, or leave --anchor out.");
        }

        return OpenAsync(file, keysFile ?? file + BackupKeys.Suffix, wrappers ?? by.OpenWrappers(),
            new Anchor(anchor ?? Path.Combine(by.Data, DataDirectory.Anchor)), ct);
    }

    /// <summary>Opens the two files of a back-up.</summary>
    /// <param name="file">The data.</param>
    /// <param name="keysFile">The keys of tenants.</param>
    /// <param name="wrappers">What may open its root keys.</param>
    /// <param name="anchor">What the identity is compared with, if it is there; or null.</param>
    /// <param name="ct">Ends the wait for a wrapper.</param>
    /// <exception cref="ConfigurationException">
    /// A file is not that part of a back-up, or of another one; no wrapper opens it; or the anchor is of another store.
    /// </exception>
    /// <exception cref="BackupDamagedException">A part is not as it was written.</exception>
    /// <exception cref="KeyServiceException">A wrapper could not be asked.</exception>
    public static async Task<OpenedBackup> OpenAsync(
        string file, string keysFile, KeyWrappers wrappers, Anchor? anchor, CancellationToken ct)
    {
        var first = BackupReader.Open(file, BackupHeader.Data);
        BackupReader? second = null;
        try
        {
            RequireKnown(first.Header, file);
            second = BackupReader.Open(keysFile, BackupHeader.Keys);
            if (!second.Header.Backup.AsSpan().SequenceEqual(first.Header.Backup)
                || !second.Header.Store.AsSpan().SequenceEqual(first.Header.Store))
            {
                throw new ConfigurationException($"{keysFile} is of another back-up than {file}",
                    "Give the two files that one coffer backup create made.");
            }

            await first.UnlockAsync(wrappers, ct);
            await second.UnlockAsync(wrappers, ct);
            return await ReadAsync(first, second, wrappers, anchor, ct);
        }
        catch
        {
            first.Dispose();
            second?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The rows of a table; those of tenants with their keys. Tenants that have none any more are left out, with what
    /// hangs on them.
    /// </summary>
    public IEnumerable<object?[]> Read(Table table)
    {
        if (!tables.TryGetValue(table.Name, out var known))
            return []; // of an earlier release, that had it not
        var own = data.Again();
        own.MoveTo(known.Place);
        var read = Rows(own, table.Name);
        if (table.Name == TenantRow.Table.Name)
            return OfKnown(read, BackupKeys.Joined);
        return Forgotten > 0 && known.Table.Columns[0].Name == Owner ? OfKnown(read, static (row, _) => row) : read;
    }

    /// <summary>Whether an account had tenants when the back-up was made, with keys here or not.</summary>
    public bool HasAccount(string app, string account)
    {
        var own = data.Again();
        own.MoveTo(tables[TenantRow.Table.Name].Place);
        return Rows(own, TenantRow.Table.Name).Any(row => (string)row[1]! == app && (string)row[3]! == account);
    }

    /// <summary>Opens every record, and verifies the log. No payload is kept.</summary>
    public StoreProof Prove(Action<Step> watch)
    {
        var proof = new StoreProof(Read, Count, watch);
        if (Header.Schema == BackupHeader.CurrentSchema)
            proof.Run(Instance, []);
        else
            proof.Add($"its rows are those of an earlier release: verify it with Coffer {Header.Version}, or restore "
                + "it into an empty directory, which opens all of it");
        return proof;
    }

    /// <summary>The keys from their beginning, for the caller to dispose of.</summary>
    public BackupReader AgainKeys()
    {
        var own = keys.Again();
        own.MoveTo((0, own.Start));
        return own;
    }

    public void Dispose()
    {
        data.Dispose();
        keys.Dispose();
    }

    private static async Task<OpenedBackup> ReadAsync(
        BackupReader first, BackupReader second, KeyWrappers wrappers, Anchor? anchor, CancellationToken ct)
    {
        var meta = new Dictionary<string, byte[]>();
        var (places, heads) = (new Dictionary<string, (Table, long, (long, long))>(),
            new Dictionary<string, (long, byte[])>());
        var counted = Counted(first, record =>
        {
            if (record.Row is null)
                places.Add(record.Table!.Name, (record.Table, record.Position, first.Frame));
            else if (record.Table!.Name == MetaRow.Table.Name && Instance.MetaKeys.Contains((string)record.Row[0]!))
                meta.Add((string)record.Row[0]!, (byte[])record.Row[1]!);
            else if (record.Table.Name == AuditRow.Table.Name)
                heads[(string)record["node"]!] = ((long)record["last"]!, (byte[])record["mac"]!);
        });
        var stored = new StoredKeys(first.Header.Roots, first.Header.Wrappings, meta);
        var instance = await Instance.OpenAsync(stored, wrappers, ct);
        if (!instance.Id.AsSpan().SequenceEqual(first.Header.Store))
            throw first.Damaged("its first line names another store");
        var isAnchored = anchor?.Check(instance) == true;
        Require(first, instance, counted, heads);
        var keysCounted = Counted(second, static _ => { });
        Require(second, instance, keysCounted, []);
        if (!places.ContainsKey(TenantRow.Table.Name))
            throw first.Damaged("it has no tenants");
        return new OpenedBackup(first, second, instance, places, counted.Rows)
        {
            Stored = stored,
            IsAnchored = isAnchored,
            Forgotten = counted.Rows[TenantRow.Table.Name] - keysCounted.Rows.GetValueOrDefault(BackupKeys.Table.Name),
        };
    }

    private static (Dictionary<string, long> Rows, string Closing) Counted(
        BackupReader from, Action<BackupRows.Record> watch)
    {
        var seen = new Dictionary<string, long>();
        string? closing = null;
        foreach (var record in BackupRows.Read(from))
        {
            if (closing is not null)
                throw from.Damaged("something follows its end");
            closing = record.Closing;
            if (closing is not null)
                continue;
            if (record.Row is not null)
                seen[record.Table!.Name]++;
            else if (!seen.TryAdd(record.Table!.Name, 0))
                throw from.Damaged($"it has the table {record.Table.Name} twice");
            watch(record);
        }

        return (seen, closing ?? throw from.Damaged("its end is missing"));
    }

    private static void Require(BackupReader part, Instance instance,
        (Dictionary<string, long> Rows, string Closing) counted, Dictionary<string, (long Last, byte[] Mac)> heads)
    {
        if (BackupClosing.Read(counted.Closing, instance, part.Hash) is not { } closing)
            throw part.Damaged("its end was not written by this store");
        var isSame = closing.Rows.Count == counted.Rows.Count
            && closing.Rows.All(table => counted.Rows.GetValueOrDefault(table.Key, -1) == table.Value)
            && closing.Heads.Count == heads.Count
            && closing.Heads.All(head => heads.TryGetValue(head.Key, out var found)
                && found.Last == head.Value.Last && found.Mac.AsSpan().SequenceEqual(head.Value.Mac));
        if (!isSame)
            throw part.Damaged("its end speaks of other rows than it has");
    }

    private static void RequireKnown(BackupHeader header, string file)
    {
        var (sqlite, postgres) = BackupHeader.CurrentSchema;
        if (header.Schema.Sqlite > sqlite || header.Schema.Postgres > postgres)
        {
            throw new ConfigurationException($"{file} was made by a newer Coffer, {header.Version}",
                "Use the Coffer that made it, or a newer one.");
        }
    }

    private static IEnumerable<object?[]> Rows(BackupReader own, string table)
    {
        using (own)
        {
            var isFirst = true;
            foreach (var record in BackupRows.Read(own))
            {
                if (record.Row is null && !isFirst)
                    yield break;
                isFirst = false;
                if (record.Row is not null)
                    yield return record.Row;
            }
        }
    }

    private IEnumerable<object?[]> KeyRows() => Rows(AgainKeys(), BackupKeys.Table.Name);

    // Both are in the order of the tenants' numbers.
    private IEnumerable<object?[]> OfKnown(
        IEnumerable<object?[]> rows, Func<object?[], object?[], object?[]> join)
    {
        using var keysOf = KeyRows().GetEnumerator();
        var hasKeys = keysOf.MoveNext();
        foreach (var row in rows)
        {
            while (hasKeys && (long)keysOf.Current[0]! < (long)row[0]!)
                hasKeys = keysOf.MoveNext();
            if (hasKeys && (long)keysOf.Current[0]! == (long)row[0]!)
                yield return join(row, keysOf.Current);
        }
    }
}
