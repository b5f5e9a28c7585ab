using System.Text.RegularExpressions;

namespace Coffer.Tests.House;

/// <summary>
/// Nothing hangs on a session of PostgreSQL: no lock, no setting and no object outlives a transaction.
/// </summary>
[Trait("Right behind any pooler", "3")]
public sealed partial class SessionTests
{
    [Fact]
    public void No_statement_leaves_anything_on_its_session()
    {
        var files = DocumentLinks.Code().Where(path => path.StartsWith("src/", StringComparison.Ordinal)
            && Path.GetExtension(path) is ".cs" or ".sql").ToList();
        Assert.Contains(files, file => file.EndsWith("/PostgresNode.cs", StringComparison.Ordinal));
        Assert.Empty(files.SelectMany(file => Left().Matches(File.ReadAllText(Repository.File(file)))
            .Select(match => $"{file}: {match.Value}")));
    }

    [Fact]
    public void What_is_listened_to_is_read_all_the_same()
    {
        var node = File.ReadAllText(Repository.File("src/Coffer/Storage/Postgres/PostgresNode.cs"));
        Assert.Single(Regex.Matches(node, "\\$\"LISTEN "));
        Assert.Matches(@"if \(hasBell\)\s*\{[^}]*LISTEN", node);
        Assert.DoesNotContain(DocumentLinks.Code(), file => file.StartsWith("src/", StringComparison.Ordinal)
            && !file.EndsWith("/PostgresNode.cs", StringComparison.Ordinal)
            && File.ReadAllText(Repository.File(file)).Contains("\"LISTEN", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("pg_advisory_lock($1)", true)]
    [InlineData("pg_try_advisory_lock($1)", true)]
    [InlineData("pg_advisory_lock_shared(1, 2)", true)]
    [InlineData("pg_advisory_xact_lock($1)", false)]
    [InlineData("pg_try_advisory_xact_lock($1)", false)]
    [InlineData("set_config('a', 'b', false)", true)]
    [InlineData("set_config('a', 'b', true)", false)]
    [InlineData("\"SET a = 1\"", true)]
    [InlineData("; SET a = 1", true)]
    [InlineData("UPDATE t SET a = 1", false)]
    [InlineData("CREATE TEMP TABLE t", true)]
    [InlineData("DISCARD ALL", true)]
    public void A_statement_counts_by_what_it_leaves(string sql, bool leaves) =>
        Assert.Equal(leaves, Left().IsMatch(sql));

    [GeneratedRegex("""
        pg_(try_)?advisory_lock(_shared)?\(|set_config\([^)]*,\s*false\)|["';]\s*SET\s|CREATE\s+TEMP|DISCARD\s+[A-Z]
        """, RegexOptions.ExplicitCapture | RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Left();
}
