using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Transfer;

/// <summary>
/// What stands in the second part of a back-up: the sealed keys of tenants, without which nothing that is sealed of
/// them in the first opens, whoever has the root key.
/// </summary>
internal static class BackupKeys
{
    public const string Suffix = ".keys";

    private const string SealedKeys = "sealed_keys";

    /// <summary>A tenant's sealed keys, and whose they are.</summary>
    public static readonly Table Table = new(
        "tenant_keys", $"id:n app:t livemode:n account:t {SealedKeys}:b", "id");

    /// <summary>What the first part has of a table: all but the keys of tenants.</summary>
    public static Table WithoutKeys(Table table) => table != TenantRow.Table ? table : new Table(table.Name,
        string.Join(' ', table.Form.Split(' ').Where(column => !IsKeys(column))), "id");

    /// <summary>A row of tenants without their keys.</summary>
    public static object?[] Without(object?[] row) => [.. row.Where((_, at) => at != At)];

    /// <summary>The keys of a row of tenants.</summary>
    public static object?[] Of(object?[] row) => [.. Table.Columns.Select(column => row[ColumnOf(column.Name)])];

    /// <summary>A row of tenants of a back-up, and its keys, as one row again.</summary>
    public static object?[] Joined(object?[] row, object?[] keys) =>
        [.. row.Take(At), keys[^1], .. row.Skip(At)];

    /// <summary>The table of tenants as a back-up has it, with the keys in their place.</summary>
    public static Table Joined(Table tenants)
    {
        var columns = tenants.Form.Split(' ');
        return new Table(tenants.Name,
            string.Join(' ', [.. columns.Take(At), $"{SealedKeys}:b", .. columns.Skip(At)]), "id");
    }

    /// <summary>
    /// Takes accounts out of a keys part: the same lines without theirs, under a key of its own, with the next number.
    /// </summary>
    /// <param name="from">The part as it is, read once already.</param>
    /// <param name="to">Where the new one is written.</param>
    /// <param name="instance">The store's identity, to prove the new one.</param>
    /// <param name="isForgotten">Whether the keys of an app's account are left out.</param>
    /// <returns>The header of the new one, and how many lines were left out.</returns>
    /// <exception cref="BackupDamagedException">The part is not as it was written.</exception>
    public static (BackupHeader Header, int Gone) Rewrite(
        BackupReader from, Stream to, Instance instance, Func<string, string, bool> isForgotten)
    {
        var with = (from.Header with { Number = from.Header.Number + 1 }).WithKey(instance.Roots);
        var gone = 0;
        Write(to, with, instance, Kept());
        return (with.Header, gone);

        IEnumerable<object?[]> Kept()
        {
            foreach (var record in BackupRows.Read(from))
            {
                if (record.Row is not { } row)
                    continue;
                if (isForgotten((string)row[1]!, (string)row[3]!))
                    gone++;
                else
                    yield return row;
            }
        }
    }

    /// <summary>Writes a keys part.</summary>
    /// <param name="to">Where it goes.</param>
    /// <param name="with">Its header, and the key that seals it.</param>
    /// <param name="instance">The store's identity, to prove it.</param>
    /// <param name="rows">Those of <see cref="Table"/>.</param>
    /// <returns>How many bytes were written.</returns>
    public static long Write(
        Stream to, (BackupHeader Header, SealingKey Key) with, Instance instance, IEnumerable<object?[]> rows)
    {
        using var writer = new BackupWriter(to, with.Header, with.Key);
        BackupRows.WriteTable(writer, Table, 0);
        var count = 0L;
        foreach (var row in rows)
        {
            BackupRows.WriteRow(writer, row);
            count++;
        }

        var counts = new Dictionary<string, long> { [Table.Name] = count };
        BackupRows.WriteClosing(writer,
            new BackupClosing(counts, new Dictionary<string, (long, byte[])>()).ToText(instance, writer.Hash));
        return writer.Written;
    }

    private static int At { get; } = ColumnOf(SealedKeys);

    private static int ColumnOf(string name) =>
        TenantRow.Table.Columns.ToList().FindIndex(column => column.Name == name);

    private static bool IsKeys(string column) => column.StartsWith(SealedKeys, StringComparison.Ordinal);
}
