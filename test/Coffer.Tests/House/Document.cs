using System.Text;
using System.Text.RegularExpressions;

namespace Coffer.Tests.House;

/// <summary>A Markdown document of the project in its parts: headings, links, code in lines and in blocks.</summary>
/// <param name="Path">From the root of the checkout, with <c>/</c>.</param>
/// <param name="Text">All of it that counts: of the changelog the unreleased part.</param>
internal sealed partial record Document(string Path, string Text)
{
    private static readonly Lazy<IReadOnlyList<Document>> Read = new(() => [.. Paths().Select(Load)]);

    private readonly (List<string> Headings, List<(string, string)> Blocks, string Prose) parts = Parse(Text);

    /// <summary>All documents that readers are sent to.</summary>
    public static IReadOnlyList<Document> All => Read.Value;

    public static Document Of(string path) => All.Single(document => document.Path == path);

    /// <summary>Whether it speaks of the code, to those who change or review it.</summary>
    public bool IsAboutCode =>
        Path is "SECURITY.md" or "CONTRIBUTING.md" or "docs/architecture.md" or "docs/envelope.md"
        || Path.StartsWith("docs/decisions/", StringComparison.Ordinal);

    /// <summary>What links with a <c>#</c> may name, as GitHub makes it of the headings.</summary>
    public IReadOnlySet<string> Anchors => parts.Headings.Select(Slug).ToHashSet(StringComparer.Ordinal);

    public IReadOnlyList<string> Headings => parts.Headings;

    /// <summary>Code in a line of text, with single spaces.</summary>
    public IReadOnlyList<string> Spans =>
        [.. Span().Matches(parts.Prose).Select(span => Spaces().Replace(span.Groups["code"].Value, " ").Trim())];

    /// <summary>Blocks of code with their language; an indented block has none.</summary>
    public IReadOnlyList<(string Language, string Text)> Blocks => parts.Blocks;

    /// <summary>The text with neither blocks nor spans of code nor the targets of links.</summary>
    public string Prose => Target().Replace(Span().Replace(parts.Prose, "`"), "]");

    /// <summary>Where its links lead, as they are written.</summary>
    public IReadOnlyList<string> Links =>
        [.. Link().Matches(Span().Replace(parts.Prose, "`")).Select(match => match.Groups["to"].Value)];

    private static IEnumerable<string> Paths()
    {
        var root = Repository.File("");
        string[] folders = ["docs", "bench", "packaging", ".github"];
        return Directory.GetFiles(root, "*.md")
            .Concat(folders.SelectMany(folder =>
                Directory.GetFiles(System.IO.Path.Combine(root, folder), "*.md", SearchOption.AllDirectories)))
            .Select(file => System.IO.Path.GetRelativePath(root, file).Replace('\\', '/'))
            .Order(StringComparer.Ordinal);
    }

    private static Document Load(string path)
    {
        var text = File.ReadAllText(Repository.File(path));
        if (path == "CHANGELOG.md" && Released().Match(text) is { Success: true } released)
            text = text[..released.Index];
        return new Document(path, text);
    }

    private static (List<string> Headings, List<(string, string)> Blocks, string Prose) Parse(string text)
    {
        var (headings, blocks, prose) = (new List<string>(), new List<(string, string)>(), new StringBuilder());
        var (block, language, isIndented, isInList, wasBlank) = ((StringBuilder?)null, "", false, false, true);
        foreach (var line in text.Split('\n'))
        {
            if (Fence().Match(line) is { Success: true } fence)
            {
                if (block is null || isIndented)
                    (block, language, isIndented) = (new StringBuilder(), fence.Groups["language"].Value, false);
                else
                {
                    blocks.Add((language, block.ToString()));
                    block = null;
                }

                continue;
            }

            var isBlank = line.Trim().Length == 0;
            if (block is not null && isIndented && !isBlank && !line.StartsWith("    ", StringComparison.Ordinal))
            {
                blocks.Add(("", block.ToString()));
                block = null;
            }

            if (block is null && wasBlank && !isInList && line.StartsWith("    ", StringComparison.Ordinal))
                (block, isIndented) = (new StringBuilder(), true);
            if (block is not null)
                block.Append(line).Append('\n');
            else
            {
                prose.Append(line).Append('\n');
                if (line.StartsWith('#'))
                    headings.Add(line.TrimStart('#').Trim());
                if (!isBlank && !line.StartsWith(' '))
                    isInList = Item().IsMatch(line);
            }

            wasBlank = isBlank;
        }

        if (block is not null)
            blocks.Add((isIndented ? "" : language, block.ToString()));
        return (headings, blocks, prose.ToString());
    }

    private static string Slug(string heading) =>
        NoSlug().Replace(Target().Replace(heading, "]").ToLowerInvariant(), "").Replace(' ', '-');

    [GeneratedRegex("`(?<code>[^`]+)`")]
    private static partial Regex Span();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@"\]\((?<to>[^)\s]+)\)", RegexOptions.ExplicitCapture)]
    private static partial Regex Link();

    [GeneratedRegex(@"\]\([^)\s]+\)")]
    private static partial Regex Target();

    [GeneratedRegex(@"^\s*```(?<language>\w*)\s*$")]
    private static partial Regex Fence();

    [GeneratedRegex(@"^([-*+]|\d+\.) ", RegexOptions.ExplicitCapture)]
    private static partial Regex Item();

    [GeneratedRegex(@"[^\p{L}\p{Nd} _-]")]
    private static partial Regex NoSlug();

    [GeneratedRegex(@"^## \[\d", RegexOptions.Multiline)]
    private static partial Regex Released();
}
