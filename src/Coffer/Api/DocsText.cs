using System.Net;
using System.Text.RegularExpressions;

namespace Coffer.Api;

/// <summary>
/// The texts of a document as HTML. Of CommonMark, in which OpenAPI has its descriptions, they use paragraphs, lists of
/// one level, code, bold and links; anything else is shown as it stands.
/// </summary>
internal static partial class DocsText
{
    public static string Escaped(string text) => WebUtility.HtmlEncode(text);

    public static string Code(string text) => $"<code>{Escaped(text)}</code>";

    /// <summary>Paragraphs and lists, which blank lines part.</summary>
    public static string Blocks(string text) =>
        string.Concat(text.Split("\n\n").Select(block => block.StartsWith("- ", StringComparison.Ordinal)
            ? $"<ul>{string.Concat(block.Split('\n').Select(line => $"<li>{Inline(line[2..])}</li>"))}</ul>\n"
            : $"<p>{Inline(block)}</p>\n"));

    /// <summary>A text without paragraphs.</summary>
    public static string Inline(string text)
    {
        var html = "";
        var at = 0;
        foreach (var mark in Mark().Matches(text).Cast<Match>())
        {
            html += Escaped(text[at..mark.Index]) + Marked(mark);
            at = mark.Index + mark.Length;
        }

        return html + Escaped(text[at..]);
    }

    private static string Marked(Match mark)
    {
        if (mark.Groups["code"] is { Success: true } code)
            return Code(code.Value);
        return mark.Groups["bold"] is { Success: true } bold
            ? $"<b>{Inline(bold.Value)}</b>"
            : $"<a href=\"{Escaped(mark.Groups["href"].Value)}\">{Inline(mark.Groups["text"].Value)}</a>";
    }

    [GeneratedRegex(@"`(?<code>[^`]+)`|\*\*(?<bold>[^*]+)\*\*|\[(?<text>[^\]]+)\]\((?<href>[^)\s]+)\)",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex Mark();
}
