namespace Coffer.Tests.House;

/// <summary>Lines of at most 120 columns: no file has more that are wider than test/wide-lines.txt allows it.</summary>
[Trait("Firm ground", "3")]
public sealed class LinesTests
{
    private const int Widest = 120;
    private const string List = "test/wide-lines.txt";

    private static readonly string[] Kinds = [".cs", ".md", ".sql", ".http", ".props", ".csproj", ".sh", ".mjs", ".py",
        ".lua", ".html", ""];
    private static readonly string[] NotOurs = ["bin", "obj", "node_modules", "TestResults", ".git", "fixtures"];

    [Fact]
    public void No_file_has_more_wide_lines_than_the_list_allows()
    {
        var allowed = Allowed();
        var worse = Found().Where(file => file.Wide > allowed.GetValueOrDefault(file.Path));
        Assert.True(!worse.Any(), $"Break these lines, they are wider than {Widest} columns: " +
            string.Join(", ",
                worse.Select(file => $"{file.Path} has {file.Wide}, allowed {allowed.GetValueOrDefault(file.Path)}")));
    }

    [Fact]
    public void The_list_allows_no_more_than_there_are()
    {
        var found = Found().ToDictionary(file => file.Path, file => file.Wide, StringComparer.Ordinal);
        var stale = Allowed().Where(line => line.Value > found.GetValueOrDefault(line.Key)).Select(line => line.Key);
        Assert.True(!stale.Any(), $"Lower these numbers in {List} to what is left: {string.Join(", ", stale)}");
    }

    /// <summary>Lines of "N path".</summary>
    private static Dictionary<string, int> Allowed() => File.ReadAllLines(Repository.File(List))
        .Where(line => line.Length > 0 && line[0] != '#')
        .Select(line => line.Split(' ', 2))
        .ToDictionary(line => line[1], line => int.Parse(line[0], null), StringComparer.Ordinal);

    private static IEnumerable<(string Path, int Wide)> Found()
    {
        var root = Repository.File("");
        foreach (var file in Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories))
        {
            var path = Path.GetRelativePath(root, file).Replace('\\', '/');
            if (path.Split('/').Any(NotOurs.Contains) || !Kinds.Contains(Path.GetExtension(path)) || path == "LICENSE")
                continue;
            if (File.ReadLines(file).Count(line => line.EnumerateRunes().Count() > Widest) is var wide and > 0)
                yield return (path, wide);
        }
    }
}
