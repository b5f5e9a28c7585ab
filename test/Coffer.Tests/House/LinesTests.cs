namespace Coffer.Tests.House;

/// <summary>
/// Lines of at most 120 columns, in code, scripts and documents. In requests/ what is sent and what is expected of the
/// answer is one line each, however long.
/// </summary>
[Trait("House in order", "5")]
public sealed class LinesTests
{
    private const int Widest = 120;

    private static readonly string[] Kinds = [".cs", ".md", ".sql", ".http", ".props", ".csproj", ".sh", ".mjs", ".py",
        ".lua", ".html", ".yml", ""];
    private static readonly string[] NotOurs =
        ["bin", "obj", "node_modules", "TestResults", "artifacts", ".git", "fixtures"];

    [Fact]
    public void No_line_is_wider_than_120_columns()
    {
        var files = Files().ToList();
        Assert.True(files.Count > 400, $"only {files.Count} files were found");
        Assert.Empty(files.SelectMany(file => Wide(File.ReadLines(file), Path.GetExtension(file))
            .Select(number => $"{file}:{number}")));
    }

    [Theory]
    [InlineData("x", 120, ".cs", false)]
    [InlineData("x", 121, ".cs", true)]
    [InlineData("# ", 121, ".http", true)]
    [InlineData("# expect body error.message = ", 121, ".http", false)]
    [InlineData("name=", 121, ".http", false)]
    public void A_line_counts_by_its_characters(string begin, int length, string kind, bool isWide)
    {
        var line = begin + string.Concat(Enumerable.Repeat("ü", length - begin.Length));
        Assert.Equal(isWide ? [1] : [], Wide([line], kind));
    }

    private static IEnumerable<int> Wide(IEnumerable<string> lines, string kind) => lines.Index()
        .Where(line => line.Item.EnumerateRunes().Count() > Widest && !(kind == ".http" && IsRecorded(line.Item)))
        .Select(line => line.Index + 1);

    private static bool IsRecorded(string line) =>
        !line.StartsWith("# ", StringComparison.Ordinal) || line.StartsWith("# expect ", StringComparison.Ordinal);

    private static IEnumerable<string> Files()
    {
        var root = Repository.File("");
        return Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories).Where(file =>
        {
            var path = Path.GetRelativePath(root, file).Replace('\\', '/');
            return path != "LICENSE" && Kinds.Contains(Path.GetExtension(path)) &&
                !path.Split('/').Any(NotOurs.Contains);
        });
    }
}
