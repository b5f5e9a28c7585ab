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
        var (header, key) = (from.Header with { Number = from.Header.Number + 1 }).WithKey(instance.Roots);
        using var writer = new BackupWriter(to, header, key);
        BackupRows.WriteTable(writer, Table, 0);
        var (kept, gone) = (0L, 0);
        foreach (var record in BackupRows.Read(from).Where(record => record.Row is not null))
        {
            if (isForgotten((string)record.Row![1]!, (string)record.Row[3]!))
            {
                gone++;
                continue;
            }

            BackupRows.WriteRow(writer, record.Row);
            kept++;
        }

        var rows = new Dictionary<string, long> { [Table.Name] = kept };
        BackupRows.WriteClosing(writer,
            new BackupClosing(rows, new Dictionary<string, (long, byte[])>()).ToText(instance, writer.Hash));
        return (header, gone);
    }

    private static int At { get; } = ColumnOf(SealedKeys);

    private static int ColumnOf(string name) =>
        TenantRow.Table.Columns.ToList().FindIndex(column => column.Name == name);

    private static bool IsKeys(string column) => column.StartsWith(SealedKeys, StringComparison.Ordinal);
}
