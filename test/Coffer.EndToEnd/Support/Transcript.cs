using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// What a document gives a reader to run, in its fenced blocks, and what it says is printed: behind <c>→</c> in a
/// comment, a line each, in this order, with <c>…</c> for what differs each time.
/// </summary>
public sealed partial class Transcript
{
    private readonly string text;

    /// <param name="document">Its path in the repository.</param>
    /// <param name="heading">The part of it to run; null is all.</param>
    public Transcript(string document, string? heading = null)
    {
        text = File.ReadAllText(Path.Combine(Needs.Repository, document));
        if (heading is null)
            return;
        var begin = text.IndexOf(heading, StringComparison.Ordinal);
        text = text[begin..text.IndexOf("\n## ", begin + 1, StringComparison.Ordinal)];
    }

    public IEnumerable<(string Language, string Text)> Blocks => Block().Matches(text)
        .Select(match => (match.Groups["language"].Value, match.Groups["text"].Value));

    public IReadOnlyList<string> Expected => [.. Blocks.SelectMany(block => Arrow().Matches(block.Text))
        .Select(match => match.Groups["says"].Value)];

    /// <summary>Fails, showing all that was printed, unless each line of the document came in its turn.</summary>
    /// <param name="printed">What was printed.</param>
    /// <param name="beside">What else helps to understand why not.</param>
    public void AssertPrinted(string printed, string beside)
    {
        var rest = printed;
        foreach (var says in Expected)
        {
            var pattern = Regex.Escape(says).Replace("…", "[^\n]*", StringComparison.Ordinal);
            var found = Regex.Match(rest, $"{pattern} *\n", RegexOptions.None, TimeSpan.FromSeconds(10));
            Assert.True(found.Success, $"'{says}' was to be printed next, but what came is:\n{rest}\n--- all\n"
                + $"{printed}\n--- beside\n{beside}");
            rest = rest[(found.Index + found.Length)..];
        }
    }

    [GeneratedRegex("^```(?<language>sh|js)\n(?<text>.*?)^```",
        RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex Block();

    [GeneratedRegex("(#|//) → (?<says>.*)$", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Arrow();
}
