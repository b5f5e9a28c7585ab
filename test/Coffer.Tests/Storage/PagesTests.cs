using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>
/// A table is read to its end page by page, whatever stands for a text in it. SQLite keeps bytes that are no text: they
/// are read as others, and all that begin with them stay greater than what was read.
/// </summary>
public sealed class PagesTests : IDisposable
{
    private const int Most = 3;

    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;

    public PagesTests() => engine = SqliteEngine.Open(directory.File("coffer.db"));

    [Theory]
    [InlineData("'a', 'b', 'c', 'd', 'e', 'f', 'g'", "a b c d e f g")]
    [InlineData("'a', 'b', 'c'", "a b c")]
    [InlineData("'a', CAST(x'61ff31' AS TEXT), CAST(x'61ff32' AS TEXT), 'b', 'c'", "a a\uFFFD1 a\uFFFD2 b c")]
    [InlineData("'a', 'b', CAST('a1' AS BLOB), CAST('c1' AS BLOB)", "a a1 b c1")]
    [InlineData("'b', 'c', CAST('a' AS BLOB)", "a b c")]
    [InlineData("'a\uFFFD', 'b\uFFFD', 'c\uFFFD', 'c\U0001F600', 'd'", "a\uFFFD b\uFFFD c\U0001F600 c\uFFFD d")]
    [InlineData("'\uFFFD1', '\uFFFD2', '\uFFFD3', '\U0001F6001', '\U0001F6002', '\U0001F6003', '\U0001F6004'",
        "\U0001F6001 \U0001F6002 \U0001F6003 \U0001F6004 \uFFFD1 \uFFFD2 \uFFFD3")]
    public async Task Every_row_is_seen_and_it_ends(string ids, string seen) =>
        Assert.Equal(seen, string.Join(' ', (await ReadAsync(ids)).Distinct().Order(StringComparer.Ordinal)));

    [Theory]
    [InlineData("CAST(x'61ff31' AS TEXT), CAST(x'61ff32' AS TEXT), CAST(x'61ff33' AS TEXT), 'b'")]
    [InlineData("'b', CAST('a1' AS BLOB), CAST('a2' AS BLOB), CAST('a3' AS BLOB), CAST('a4' AS BLOB)")]
    public async Task What_cannot_be_seen_for_a_page_full_of_such_rows_is_said(string ids)
    {
        var refused = await Assert.ThrowsAsync<ApiError>(() => ReadAsync(ids));
        Assert.Contains("contradicts itself", Cause.Of(refused), StringComparison.Ordinal);
    }

    public void Dispose()
    {
        engine.Dispose();
        directory.Dispose();
    }

    private async Task<List<string>> ReadAsync(string ids)
    {
        Plant(ids.Split(", ").Select(id => $"({id}, 1, 1, x'00')"));
        var seen = new List<string>();
        await foreach (var rows in Engine.PagesAsync(
            Most, (after, most) => engine.ListAsync(ReceiptRow.AfterId, default, after, most), static row => row.Id))
        {
            Assert.True(seen.Count < 100, "it ends");
            seen.AddRange(rows.Select(row => row.Id));
        }

        return seen;
    }

    private void Plant(IEnumerable<string> rows)
    {
        using var connection = StoreEdits.Connect(directory.File("coffer.db"));
        using var command = connection.CreateCommand();
        command.CommandText = $"INSERT INTO receipts (id, created, signed, sealed) VALUES {string.Join(", ", rows)}";
        command.ExecuteNonQuery();
    }
}
