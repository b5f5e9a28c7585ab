// Puts together what moves a store from one engine to another, as Server.cs does for serving: rows are copied as they
// are, and the root keys wrapped again. Until all of it is proven the target says of itself that it is no store.


using System.Globalization;
using System.Text;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Storage.Sqlite;

namespace Coffer.Transfer;

/// <summary>Copies a store into another directory or database, and proves the copy.</summary>
internal sealed class StoreCopy : IDisposable
{
    /// <summary>
    /// Rows are written at this many, or at <see cref="MostBytes"/> of them: what an interrupted run does again.
    /// </summary>
    private const int MostRows = 500;

    private const long MostBytes = 4 << 20;

    private readonly StoredTables source;
    private readonly StoredTables target;
    private readonly Instance instance;
    private readonly KeyWrappers targetKeys;
    private readonly Action<Step> watch;

    private StoreCopy(StoredTables source, StoredTables target, Instance instance, KeyWrappers targetKeys,
        Action<Step> watch) =>
        (this.source, this.target, this.instance, this.targetKeys, this.watch) =
            (source, target, instance, targetKeys, watch);

    // What differs in a copy: the same root keys are wrapped by others.
    private static IEnumerable<Table> Copied => Tables.All.Except([RootKeyRow.Table, WrappingRow.Table]);

    /// <summary>What came of a run.</summary>
    /// <param name="IsFinished">Whether the target is a store now.</param>
    /// <param name="Problems">What does not verify, naming the place.</param>
    /// <param name="Rows">How many rows the target holds.</param>
    /// <param name="Written">How many were put or removed by this run.</param>
    /// <param name="Secrets">How many secrets were opened.</param>
    public sealed record CopyReport(bool IsFinished, IReadOnlyList<string> Problems, long Rows, long Written,
        long Secrets)
    {
        /// <summary>Why the source could not be closed, so that it has to be destroyed; null is closed.</summary>
        public string? Open { get; init; }
    }

    /// <summary>
    /// Copies, and once no server uses the source proves the copy and makes it a store. While one does, the target is
    /// brought up to the source as it was when the run began, and stays unfinished. What a run that was interrupted did
    /// is not done again.
    /// </summary>
    /// <param name="from">The store.</param>
    /// <param name="to">Nothing yet, or what an unfinished migration of the same store left.</param>
    /// <param name="watch">Told after each batch. If it throws, the run ends there, as if it were killed.</param>
    /// <param name="time">For the date in a new key file.</param>
    /// <param name="ct">Ends the wait for a database.</param>
    /// <exception cref="ConfigurationException">
    /// The source is no store, its key file is not the right one, or the target may not be written.
    /// </exception>
    /// <exception cref="ApiError">The storage of one of the sides cannot be used.</exception>
    public static async Task<CopyReport> RunAsync(StoreLocation from, StoreLocation to, Action<Step> watch,
        TimeProvider time, CancellationToken ct)
    {
        if (Path.GetFullPath(from.Data) == Path.GetFullPath(to.Data))
            throw new ConfigurationException("the source and the target are in the same data directory",
                "Give the target a directory of its own.");
        var (sourceFile, sourceKeyFile, sourceCheckpoints) = DataDirectory.FilesOf(from.Data);
        if (from.Store is null && !File.Exists(sourceFile))
            throw new ConfigurationException($"there is no store in {from.Data}",
                "Give the --from directory of a store, and --from-store if it is in a database.");
        var fromKeys = KeyWrappers.Open(from.KeysOr(sourceKeyFile));
        StoredTables store = from.Store is null ? SqliteTables.OpenAnywhere(sourceFile)
            : await PostgresTables.OpenAsync(from.Store, isNew: false, ct);
        try
        {
            if (store.Meta(Instance.MigrationMetaKey) is not null)
                throw Instance.Unfinished();
            var opened = await Instance.OpenAsync(StoredKeys.Read(store), fromKeys, ct);
            using var directory = DataDirectory.Open(to.Data, holdsStore: to.Store is null);
            using StoredTables copy = to.Store is null ? SqliteTables.Open(directory.StoreFile)
                : await PostgresTables.OpenAsync(to.Store, isNew: true, ct);
            if (!copy.TryHold())
                throw new ConfigurationException($"a server or another migration uses {to.Shown}",
                    "Stop it first, or choose another target.");
            // Closed by this work before it was interrupted, or by another.
            if (store.Meta(Instance.MovedMetaKey) is { } moved
                && copy.Meta(Instance.MigrationMetaKey)?.AsSpan().SequenceEqual(opened.Id) != true)
                throw Instance.Moved(moved);
            Claim(copy, Tables.All, opened.Id, to.Shown);
            if (to.Keys is not { Urls.Count: > 0 } && !File.Exists(directory.KeyFile))
                KeyFile.Create(directory.KeyFile, time.GetUtcNow());

            var toKeys = KeyWrappers.Open(to.KeysOr(directory.KeyFile));
            using var migration = new StoreCopy(store, copy, opened, toKeys, watch) { To = to.Shown };
            using var held = Hold(store, from);
            var written = migration.Copy(isStill: held is not null);
            if (held is not null)
                return await migration.FinishAsync(written, sourceCheckpoints, directory, time, ct);

            // The server may have been stopped meanwhile.
            using var heldNow = Hold(store, from);
            if (heldNow is null)
                return new CopyReport(false, [], Tables.All.Sum(copy.Count) - 1, written, 0);
            written += migration.Copy(isStill: true);
            return await migration.FinishAsync(written, sourceCheckpoints, directory, time, ct);
        }
        finally
        {
            store.Dispose();
        }
    }

    private string To { get; init; } = "";

    public void Dispose() => target.Dispose();

    // Of a store in a database, the one that holds it is the connection itself.
    private static IDisposable? Hold(StoredTables source, StoreLocation from)
    {
        if (source.IsCopy)
            return HoldCopied(source, from);
        if (from.Store is null)
            return DataDirectory.TryOpen(from.Data, holdsStore: false); // it is open here already
        return source.TryHold() ? source : null;
    }

    // What a server has written since the store was copied is not in the copy, though it may have ended by now.
    private static IDisposable? HoldCopied(StoredTables source, StoreLocation from)
    {
        var held = DataDirectory.TryHoldToRead(from.Data);
        if (held is null || source.IsCurrent)
            return held;
        held.Dispose();
        return null;
    }

    /// <summary>Marks an empty target; takes one that this work has marked.</summary>
    /// <param name="target">What is to become a store.</param>
    /// <param name="tables">The tables that it has.</param>
    /// <param name="mark">What tells this work from others.</param>
    /// <param name="shown">The target, in words that may be shown.</param>
    /// <exception cref="ConfigurationException">It is not empty, or marked by another work.</exception>
    public static void Claim(StoredTables target, IEnumerable<Table> tables, byte[] mark, string shown)
    {
        if (target.Meta(Instance.MigrationMetaKey) is { } found)
        {
            if (!found.AsSpan().SequenceEqual(mark))
            {
                throw new ConfigurationException(
                    $"{shown} is the unfinished target of another migration or of the restoration of another back-up",
                    "Finish that one, or choose an empty target.");
            }

            return;
        }

        if (tables.Any(table => target.Count(table) > 0))
            throw new ConfigurationException($"there is already a store in {shown}",
                "Choose an empty target. Nothing was changed.");
        target.Write(MetaRow.Table, [], [[Instance.MigrationMetaKey, mark]]);
    }

    /// <summary>
    /// Makes the target what the source is at this moment, but for the mark, table by table in the order of keys. A
    /// source that is still stays so.
    /// </summary>
    private long Copy(bool isStill)
    {
        source.Freeze(isStill);
        var written = 0L;
        foreach (var table in Copied)
            written += Copy(table);
        if (!isStill)
            source.Leave();
        return written;
    }

    private long Copy(Table table)
    {
        var (gone, put) = (new List<object?[]>(), new List<object?[]>());
        var (done, total, written, bytes) = (0L, source.Count(table), 0L, 0L);
        foreach (var (row, old) in Pairs(table, source, target))
        {
            if (row is not null)
                done++;
            if (row is null)
                gone.Add(old!);
            else if (old is null || !Table.AreEqual(row, old))
                put.Add(row);
            bytes += row is null ? 0 : Table.SizeOf(row);
            if (gone.Count + put.Count >= MostRows || bytes >= MostBytes)
                Flush();
        }

        Flush();
        return written;

        void Flush()
        {
            if (gone.Count + put.Count > 0)
                target.Write(table, gone, put);
            written += gone.Count + put.Count;
            gone.Clear();
            put.Clear();
            bytes = 0;
            watch(new Step("copying", table.Name, done, Math.Max(done, total)));
        }
    }

    private async Task<CopyReport> FinishAsync(
        long written, string checkpoints, DataDirectory directory, TimeProvider time, CancellationToken ct)
    {
        var copiedCheckpoints = directory.CheckpointFile;
        var keys = await instance.MoveAsync(
            StoredKeys.Read(source), targetKeys, time.GetUtcNow().ToUnixTimeSeconds(), ct);
        written += keys.Replace(target);
        foreach (var table in Tables.All.Where(table => table.Numbered is not null))
            target.Continue(table, source.Position(table));
        if (File.Exists(checkpoints))
            DurableFile.Write(copiedCheckpoints, File.ReadAllBytes(checkpoints), overwrite: true);

        var proof = new StoreProof(target.Read, target.Count, watch);
        foreach (var table in Copied)
            Compare(table, proof);
        var copied = await Instance.OpenAsync(StoredKeys.Read(target), targetKeys, ct);
        if (!copied.Id.AsSpan().SequenceEqual(instance.Id)
            || !copied.AnchorMark.AsSpan().SequenceEqual(instance.AnchorMark))
            proof.Add("the identity is not the same in the source and the target");
        proof.Run(copied, File.Exists(copiedCheckpoints) ? File.ReadAllLines(copiedCheckpoints) : []);
        if (proof.Problems.Count > 0)
            return new CopyReport(false, proof.Problems, Tables.All.Sum(target.Count) - 1, written, proof.Secrets);
        if (!source.IsCurrent) // written where no lock could be had
            return new CopyReport(false, [], Tables.All.Sum(target.Count) - 1, written, proof.Secrets);

        // In this order: whenever it ends, at most one of the two is open.
        var trouble = Close(time.GetUtcNow());
        new Anchor(directory.AnchorFile).Write(copied);
        target.Write(MetaRow.Table, [[Instance.MigrationMetaKey, null]], []);
        return new CopyReport(true, [], Tables.All.Sum(target.Count), written, proof.Secrets) { Open = trouble };
    }

    // A source that cannot be written, on a medium that is read only for example, is nobody's to close.
    private string? Close(DateTimeOffset now)
    {
        if (source.IsCopy)
            return "it cannot be written where it is";
        try
        {
            var where = string.Create(CultureInfo.InvariantCulture, $"on {now:yyyy-MM-dd HH:mm:ss'Z'} to {To}");
            source.Write(MetaRow.Table, [], [[Instance.MovedMetaKey, Encoding.UTF8.GetBytes(where)]]);
            source.Leave();
            return null;
        }
        catch (ApiError e)
        {
            return Cause.Of(e);
        }
    }

    /// <summary>
    /// Holds the counts against each other, and each row byte for byte.
    /// </summary>
    private void Compare(Table table, StoreProof proof)
    {
        var (expected, found) = (Count(table, source), Count(table, target));
        if (expected != found)
            proof.Add($"the source has {expected} rows of {table.Name}, the target {found}");
        var done = 0L;
        foreach (var (row, old) in Pairs(table, source, target))
        {
            if (row is null || old is null || !Table.AreEqual(row, old))
                proof.Add($"{table.Shown((row ?? old)!)} is not the same in the source and the target");
            if (++done % MostRows == 0)
                watch(new Step("comparing", table.Name, done, Math.Max(done, expected)));
        }

        watch(new Step("comparing", table.Name, done, done));
    }

    /// <summary>
    /// The rows of both sides in the order of their keys, those of one key together; null where a side has none.
    /// </summary>
    private static IEnumerable<(object?[]? Row, object?[]? Old)> Pairs(Table table, StoredTables source,
        StoredTables target)
    {
        using var rows = Rows(table, source).GetEnumerator();
        using var olds = Rows(table, target).GetEnumerator();
        var (hasRow, hasOld) = (rows.MoveNext(), olds.MoveNext());
        while (hasRow || hasOld)
        {
            var order = (hasRow, hasOld) switch
            {
                (false, _) => 1,
                (_, false) => -1,
                _ => table.Compare(rows.Current, olds.Current),
            };
            yield return (order <= 0 ? rows.Current : null, order >= 0 ? olds.Current : null);
            // The target is read ahead of what is written: never again what this run has put there.
            if (order <= 0)
                hasRow = rows.MoveNext();
            if (order >= 0)
                hasOld = olds.MoveNext();
        }
    }

    // Without the mark, and without what hangs on how the root keys are wrapped.
    private static IEnumerable<object?[]> Rows(Table table, StoredTables tables) => table != MetaRow.Table
        ? tables.Read(table)
        : tables.Read(table).Where(row => (string)row[0]! is var key
            && key is not (Instance.MigrationMetaKey or Instance.MovedMetaKey) && !Instance.MetaKeys.Contains(key));

    private static long Count(Table table, StoredTables tables) =>
        table == MetaRow.Table ? Rows(table, tables).Count() : tables.Count(table);
}
