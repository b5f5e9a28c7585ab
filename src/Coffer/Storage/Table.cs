using System.Text;

namespace Coffer.Storage;

/// <summary>
/// A table as all engines have it: its columns in the order in which its row is read, and what tells its rows apart.
/// </summary>
internal sealed class Table
{
    private readonly int[] key;
    private readonly int[] other;

    /// <param name="name">Its name.</param>
    /// <param name="columns">
    /// Name and type of each column, such as <c>tenant:n name:b</c>: <c>n</c> a number, <c>t</c> text, <c>b</c> bytes.
    /// </param>
    /// <param name="key">The columns of a key that is unique in all engines.</param>
    /// <param name="other">
    /// Other columns that no two rows share, whose rows may come back under other keys; none if there are none.
    /// </param>
    public Table(string name, string columns, string key, string other = "")
    {
        (Name, Form) = (name, columns);
        Columns = [.. columns.Split(' ').Select(column => (column[..^2], TypeOf(column[^1])))];
        (this.key, this.other) = (Places(key), Places(other));
    }

    public string Name { get; }

    /// <summary>Its columns, as they are given.</summary>
    public string Form { get; }

    /// <summary>Names and types.</summary>
    public IReadOnlyList<(string Name, SqlType Type)> Columns { get; }

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
            var isEqual = row[i] is byte[] bytes && other[i] is byte[] same
                ? bytes.AsSpan().SequenceEqual(same)
                : Equals(row[i], other[i]);
            if (!isEqual)
                return false;
        }

        return true;
    }

    /// <summary>About how much memory a row takes.</summary>
    public static long SizeOf(object?[] row) => row.Sum(value => value switch
    {
        byte[] bytes => bytes.Length,
        string text => text.Length * 2L,
        _ => 8,
    });

    /// <summary>
    /// A row by its key, in words that may be shown: ids and numbers as they are, blind indexes in hexadecimal.
    /// </summary>
    public string Shown(object?[] row)
    {
        return $"{Name} {string.Join(", ", key.Select(at => $"{Columns[at].Name} {Word(row[at])}"))}";

        static object? Word(object? value) => value is byte[] bytes ? Convert.ToHexStringLower(bytes) : value;
    }

    /// <summary>The names of columns, with commas between.</summary>
    /// <param name="columns">Which; null is all.</param>
    /// <param name="before">What stands before each, such as <c>s.</c></param>
    public string Names(IEnumerable<int>? columns = null, string before = "") => string.Join(", ",
        (columns ?? Enumerable.Range(0, Columns.Count)).Select(at => before + Columns[at].Name));

    /// <summary>
    /// A statement that adds a row, its columns as parameters, or replaces what stands under its key.
    /// </summary>
    public string Upsert() =>
        $"INSERT INTO {Name} ({Names()}) VALUES ({Parameters(Columns.Count)}) {OnConflict}";

    /// <summary>Replaces what stands under the key of a row that is inserted.</summary>
    public string OnConflict => $"ON CONFLICT ({Names(key)}) DO UPDATE SET " + string.Join(", ",
        Enumerable.Range(0, Columns.Count).Except(key)
            .Select(at => $"{Columns[at].Name} = excluded.{Columns[at].Name}"));

    /// <summary>A statement that deletes, of the $1 rows with the lowest numbers, those created by $2.</summary>
    public string DeleteOldest() =>
        $"DELETE FROM {Name} WHERE {Numbered} IN ({SelectOldest()})";

    /// <summary>The numbers of the rows that <see cref="DeleteOldest"/> deletes.</summary>
    public string SelectOldest() => $"SELECT {Numbered} FROM {Oldest} WHERE created <= $2";

    /// <summary>How many rows <see cref="DeleteOldest"/> is to delete.</summary>
    public Query<long> CountOldest() =>
        new($"SELECT count(*) FROM {Oldest} WHERE created <= $2", static row => row.Number(0));

    private string Oldest => $"(SELECT {Numbered}, created FROM {Name} ORDER BY {Numbered} LIMIT $1) AS oldest";

    /// <summary><c>$1, $2, …</c></summary>
    public static string Parameters(int count, int first = 1) =>
        string.Join(", ", Enumerable.Range(first, count).Select(number => $"${number}"));

    private static SqlType TypeOf(char type) => type switch
    {
        'n' => SqlType.Number,
        't' => SqlType.Text,
        _ => SqlType.Bytes,
    };

    private int[] Places(string names)
    {
        var columns = Columns.Select(column => column.Name).ToList();
        return [.. names.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(name => columns.IndexOf(name))];
    }
}
