using System.Text;

namespace Coffer.Storage;

/// <summary>A table as all engines have it: its columns in the order in which <see cref="Columns"/> reads them, and what tells its rows apart.</summary>
internal sealed class Table
{
    private readonly int[] key;
    private readonly int[] other;

    /// <param name="name">Its name.</param>
    /// <param name="columns">Name and type of each column, such as <c>tenant:n name:b</c>: <c>n</c> a number, <c>t</c> text, <c>b</c> bytes.</param>
    /// <param name="key">The columns of a key that is unique in all engines.</param>
    /// <param name="other">Other columns that no two rows share, whose rows may come back under other keys; none if there are none.</param>
    public Table(string name, string columns, string key, string other = "")
    {
        Name = name;
        Columns = [.. columns.Split(' ').Select(column => (column[..^2], column[^1]))];
        (this.key, this.other) = (Places(key), Places(other));
    }

    public string Name { get; }

    /// <summary>Names and types.</summary>
    public IReadOnlyList<(string Name, char Type)> Columns { get; }

    public IReadOnlyList<int> Key => key;

    public IReadOnlyList<int> Other => other;

    /// <summary>The column that the database numbers by itself, or null.</summary>
    public string? Numbered { get; init; }

    /// <summary>What has to go before a row of it does: statements over its key.</summary>
    public IReadOnlyList<string> Below { get; init; } = [];

    public object?[] KeyOf(object?[] row) => Array.ConvertAll(key, at => row[at]);

    public object?[] OtherOf(object?[] row) => Array.ConvertAll(other, at => row[at]);

    /// <summary>The order of rows in the engines: numbers, and else bytes.</summary>
    public int Compare(object?[] row, object?[] with)
    {
        foreach (var at in key)
        {
            var order = (row[at], with[at]) switch
            {
                (long a, long b) => a.CompareTo(b),
                (byte[] a, byte[] b) => a.AsSpan().SequenceCompareTo(b),
                (string a, string b) => Encoding.UTF8.GetBytes(a).AsSpan().SequenceCompareTo(Encoding.UTF8.GetBytes(b)),
                _ => throw new InvalidOperationException("a key is of one type, and never null"),
            };
            if (order != 0)
                return order;
        }

        return 0;
    }

    public static bool AreEqual(object?[] row, object?[] other)
    {
        for (var i = 0; i < row.Length; i++)
        {
            if (row[i] is byte[] bytes ? other[i] is not byte[] same || !bytes.AsSpan().SequenceEqual(same) : !Equals(row[i], other[i]))
                return false;
        }

        return true;
    }

    /// <summary>About how much memory a row takes.</summary>
    public static long SizeOf(object?[] row) => row.Sum(value => value is byte[] bytes ? bytes.Length : value is string text ? text.Length * 2L : 8);

    /// <summary>A row by its key, in words that may be shown: ids and numbers as they are, blind indexes in hexadecimal.</summary>
    public string Shown(object?[] row) =>
        $"{Name} {string.Join(", ", key.Select(at => $"{Columns[at].Name} {(row[at] is byte[] bytes ? Convert.ToHexStringLower(bytes) : row[at])}"))}";

    private int[] Places(string names) =>
        [.. names.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(name => Columns.Select(column => column.Name).ToList().IndexOf(name))];
}

/// <summary>All tables of a store, those first that others refer to.</summary>
internal static class Tables
{
    public static readonly Table Meta = new("meta", "key:t value:b", "key");
    public static readonly Table RootKeys = new("root_keys", "version:n created:n wrapped:b", "version");

    public static readonly Table Apps = new("apps", "id:t name:t account:t created:n sealed:b", "id")
    {
        Below =
        [
            "DELETE FROM secrets WHERE tenant IN (SELECT id FROM tenants WHERE app = $1)",
            "DELETE FROM idempotency WHERE tenant IN (SELECT id FROM tenants WHERE app = $1)",
            "DELETE FROM tenants WHERE app = $1",
            Sql.DeleteApiKeysOfApp,
        ],
    };

    public static readonly Table ApiKeys = new("api_keys",
        "mac:b id:t app:t kind:t livemode:n created:n expires_at:n proof:b permissions:t pinned_account:t addresses:t "
        + "last_used:n generation:n", "mac", "id");

    public static readonly Table Tenants = new("tenants", "id:n app:t livemode:n account:t created:n sealed_keys:b", "id")
    {
        Numbered = "id",
        Below = [Sql.DeleteSecretsOfTenant, Sql.DeleteIdempotencyOfTenant],
    };

    public static readonly Table Secrets = new("secrets", "tenant:n name:b scope:b id:t version:n created:n expires_at:n sealed:b", "tenant name");

    // PostgreSQL has its numbers in an index that is not unique: its key has the tenant in it (0002-tenant-in-keys.sql).
    public static readonly Table Idempotency = new("idempotency", "tenant:n key:b fingerprint:b created:n sealed:b seq:n", "tenant key", "seq") { Numbered = "seq" };

    public static readonly Table Revocations = new("revocations",
        "subject:t made_until:n kept_until:n n:n app:t ordered_until:n", "subject");
    public static readonly Table Generations = new("generations", "app:t livemode:n account:t n:n kept_until:n mac:b",
        "app livemode account");

    // Numbers go on in the copy where they were: none is given twice.
    public static readonly Table Epoch = new("epoch", "one:n n:n", "one");
    public static readonly Table Replies = new("replies", "key:b owner:b fingerprint:b created:n sealed:b seq:n", "seq", "key") { Numbered = "seq" };
    public static readonly Table Receipts = new("receipts", "id:t created:n signed:n sealed:b", "id");
    public static readonly Table Audit = new("audit", "node:t first:n last:n mac:b entries:b row:n", "row", "node first") { Numbered = "row" };

    public static readonly IReadOnlyList<Table> All =
    [
        Meta, RootKeys, Apps, ApiKeys, Tenants, Secrets, Idempotency, Revocations, Generations, Epoch, Replies,
        Receipts, Audit,
    ];
}

/// <summary>A row that was read whole, for <see cref="Columns"/>.</summary>
internal readonly struct ReadRow(object?[] values) : IRow
{
    public long Number(int column) => (long)values[column]!;

    public long? NumberOrNull(int column) => (long?)values[column];

    public string Text(int column) => (string)values[column]!;

    public string? TextOrNull(int column) => (string?)values[column];

    public byte[] Bytes(int column) => (byte[])values[column]!;

    public byte[]? BytesOrNull(int column) => (byte[]?)values[column];

    /// <summary>It was proven when the row was read.</summary>
    public bool Has(string types) => true;
}
