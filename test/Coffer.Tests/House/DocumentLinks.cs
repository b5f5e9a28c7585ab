using System.Text.RegularExpressions;

namespace Coffer.Tests.House;

/// <summary>Links and files that documents name, and documents that files of the code name.</summary>
internal static partial class DocumentLinks
{
    private static readonly string[] Kinds =
    [
        ".cs", ".csproj", ".html", ".http", ".lua", ".md", ".mjs", ".props", ".py", ".slnx", ".sql", ".svg", ".txt",
        ".yml",
    ];

    private static readonly string[] NotOurs = ["bin", "obj", "node_modules", "TestResults", "artifacts", ".git"];

    // Files that the reader of a document makes, or has.
    private static readonly string[] Readers =
        ["secrets.cs", "secrets.mjs", "secrets.py", "stripe.py", "partitions.sql"];

    private static readonly Lazy<HashSet<string>> Paths = new(() => Walk("").ToHashSet(StringComparer.Ordinal));

    private static readonly Lazy<string[]> Folders = new(() => [.. Directory.GetDirectories(Repository.File(""))
        .Select(folder => Path.GetFileName(folder)!).Except(NotOurs)]);

    /// <summary>Links that lead to no file, or to no heading of it.</summary>
    public static IEnumerable<string> Broken(Document document) => document.Links
        .Where(link => !link.StartsWith("http", StringComparison.Ordinal) && !Leads(document, link));

    /// <summary>Files in code of the text that are not there.</summary>
    public static IEnumerable<string> Missing(Document document) => document.Spans
        .Where(span => File().IsMatch(span) && !Readers.Contains(span))
        .Where(span => !span.Contains("NNNN", StringComparison.Ordinal))
        .Where(span => IsNamedAsFile(span) && !IsThere(document, span));

    /// <summary>Documents, and sections of them, that a file of the code cites and that are not there.</summary>
    public static IEnumerable<string> Uncited(string code)
    {
        var text = Comment().Replace(code, " ");
        foreach (var match in Citation().Matches(text).Cast<Match>())
        {
            var path = match.Groups["path"].Value;
            var document = Document.All.FirstOrDefault(each => each.Path == path)
                ?? Document.All.FirstOrDefault(each => each.Path.EndsWith($"/{path}", StringComparison.Ordinal));
            if (document is null)
                yield return path;
            else if (match.Groups["section"] is { Success: true } section && !document.Headings.Contains(section.Value))
                yield return $"{path}, \"{section.Value}\"";
        }
    }

    /// <summary>All files of the project's code.</summary>
    public static IEnumerable<string> Code() => Paths.Value.Where(path =>
        (path.StartsWith("src/", StringComparison.Ordinal) || path.StartsWith("test/", StringComparison.Ordinal)
            || path.StartsWith("requests/", StringComparison.Ordinal))
        && Path.GetExtension(path) is ".cs" or ".sql" or ".mjs" or ".http" or ".py");

    private static bool Leads(Document document, string link)
    {
        var (file, anchor) = link.Split('#') is [var before, var after] ? (before, after) : (link, null);
        var path = file.Length == 0 ? document.Path : Resolved(document, file);
        if (!System.IO.File.Exists(Repository.File(path)) && !Directory.Exists(Repository.File(path)))
            return false;
        return anchor is null || (file.Length == 0 ? document : Document.Of(path)).Anchors.Contains(anchor);
    }

    private static bool IsNamedAsFile(string span) =>
        Kinds.Contains(Path.GetExtension(span)) || Folders.Value.Contains(span.Split('/')[0]);

    private static bool IsThere(Document document, string span)
    {
        var path = span.TrimEnd('/');
        if (path.Contains('*', StringComparison.Ordinal))
            path = path[..path.IndexOf('*', StringComparison.Ordinal)].TrimEnd('/');
        string[] roots = ["", "src/", "src/Coffer/", "test/"];
        return roots.Select(root => root + path).Append(Resolved(document, path))
            .Any(at => System.IO.File.Exists(Repository.File(at)) || Directory.Exists(Repository.File(at)))
            || Paths.Value.Any(each => each.EndsWith($"/{path}", StringComparison.Ordinal));
    }

    private static string Resolved(Document document, string file)
    {
        var root = Repository.File("");
        var path = Path.Combine(root, Path.GetDirectoryName(document.Path)!, file);
        return Path.GetRelativePath(root, path).Replace('\\', '/');
    }

    private static IEnumerable<string> Walk(string folder) => Directory
        .EnumerateFileSystemEntries(Repository.File(folder))
        .Select(entry => (Name: Path.GetFileName(entry), IsFolder: Directory.Exists(entry)))
        .Where(entry => !NotOurs.Contains(entry.Name))
        .SelectMany(entry => entry.IsFolder ? Walk($"{folder}{entry.Name}/") : [folder + entry.Name]);

    [GeneratedRegex(@"^[\w.*-]+(/[\w.*-]+)*/?$", RegexOptions.ExplicitCapture)]
    private static partial Regex File();

    [GeneratedRegex(@"\r?\n\s*(///|//|--|#|\*)\s*", RegexOptions.ExplicitCapture)]
    private static partial Regex Comment();

    [GeneratedRegex("""(?<![\w./{}-])(?<path>[\w/.-]*[\w-]\.md)\b(, "(?<section>[^"]+)")?""",
        RegexOptions.ExplicitCapture)]
    private static partial Regex Citation();
}
