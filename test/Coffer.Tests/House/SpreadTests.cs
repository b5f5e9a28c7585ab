using System.Text.RegularExpressions;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.House;

/// <summary>
/// "What stands where" of docs/scaling.md, held against the schema that PostgreSQL has: no table comes without a
/// decision.
/// </summary>
public sealed partial class SpreadTests(PostgresServer server)
{
    private const string ByTenant = "by tenant", Reference = "reference", ByNode = "by node";

    [Fact]
    public async Task Every_table_of_PostgreSQL_stands_somewhere()
    {
        var decided = Decided();
        Assert.Empty(decided.Values.Except([ByTenant, Reference, ByNode]));
        Assert.Equal(decided.Keys.Order(StringComparer.Ordinal), (await RowsAsync(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"))
            .Select(row => row[0]).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task What_stands_by_tenant_has_the_tenant_in_each_unique_key()
    {
        var keys = await RowsAsync("""
            SELECT c.relname, i.indexrelid::regclass::text, string_agg(a.attname, ' ' ORDER BY a.attnum)
            FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = i.indrelid
                AND a.attnum = ANY((i.indkey::int2[])[0 : i.indnkeyatts - 1])
            WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace GROUP BY 1, 2
            """);
        var spread = Names(ByTenant);
        Assert.Equal(["idempotency", "secrets"], keys.Select(key => key[0]).Intersect(spread).Order());
        Assert.All(keys.Where(key => spread.Contains(key[0])),
            key => Assert.True(key[2].Split(' ').Contains("tenant"), $"{key[1]} of {key[0]} is over {key[2]}"));
    }

    [Fact]
    public async Task What_stands_by_tenant_refers_to_reference_tables_only_and_nothing_refers_to_it()
    {
        var references = await RowsAsync(
            "SELECT c.relname, r.relname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class r "
                + "ON r.oid = f.confrelid WHERE f.contype = 'f'");
        var decided = Decided();
        Assert.NotEmpty(references);
        Assert.All(references,
            of => Assert.True(decided[of[1]] == Reference && decided[of[0]] != ByNode, $"{of[0]} refers to {of[1]}"));
    }

    private static HashSet<string> Names(string where) =>
        [.. Decided().Where(table => table.Value == where).Select(table => table.Key)];

    private static Dictionary<string, string> Decided() =>
        Row().Matches(Partitions.Section("What stands where")).ToDictionary(row => row.Groups["table"].Value,
            row => row.Groups["stands"].Value);

    private async Task<List<string[]>> RowsAsync(string sql)
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await using var connection = new NpgsqlConnection(store + ";Pooling=false");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await using var command = new NpgsqlCommand(sql, connection);
        await using var reader = await command.ExecuteReaderAsync(TestContext.Current.CancellationToken);
        var rows = new List<string[]>();
        while (await reader.ReadAsync(TestContext.Current.CancellationToken))
            rows.Add([.. Enumerable.Range(0, reader.FieldCount).Select(reader.GetString)]);
        return rows;
    }

    [GeneratedRegex(@"^\| `(?<table>\w+)` \| (?<stands>[^|]+) \|",
        RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Row();
}
