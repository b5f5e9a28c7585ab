using System.Text.RegularExpressions;

namespace Coffer.Tests.House;

/// <summary>Plain English: words that a tired operator stumbles over, and the ones to use.</summary>
[Trait("House in order", "6")]
public sealed class WordsTests
{
    // A text of Stripe that is kept byte for byte.
    private static readonly string[] Recorded = ["This API call cannot be made with a publishable API key"];

    // The program's messages under the headings of the wire's errors: as they are, which DocsTests holds.
    private static readonly Regex Messages = new(
        @"^### \d{3}: .*\n\n((-|  ).*\n)+", RegexOptions.Multiline | RegexOptions.ExplicitCapture);

    // What is wrong, and what to say.
    private static readonly (string Wrong, string Right)[] Words =
    [
        (@"\b(is|are|be|was|were|not) taken\b(?! (away|from|off|out))", "accepted, used, ignored"),
        (@"\bon record\b", "recorded in the audit log"),
        (@"\banew\b", "again"),
        (@"\bis no setting\b", "unknown setting"),
        (@"\bcannot be made\b", "cannot be created"),
        (@"\b(is|are|was|were) told\b(?! to\b)(?! of\b)", "reported, known"),
        (@"\bof how many\b", "how many"),
        (@"\b(by|of|to|for|from|with|than) who\b", "of someone who"),
        (@"\b(hears?|heard|deaf)\b", "knows, receives"),
        (@"\b(go|goes|went) on\b", "continue"),
        (@"\bpass(ed|es)? over\b", "ignored, skipped"),
        (@"\bas ever\b", "as before"),
        (@"\ball else\b", "everything else"),
        (@"\bthat is none\b", "unknown"),
        (@"\bin the place of\b", "instead of"),
        (@"\b(hitherto|thereof|therein|whence|thence|hereby|herewith|upon which)\b", "plain words"),
        (@"\bdearest\b", "most expensive"),
    ];

    public static TheoryData<string> Paths() =>
        [.. Document.All.Where(document => !document.Path.StartsWith("docs/decisions/0", StringComparison.Ordinal)
            && document.Path != "docs/architecture.md").Select(document => document.Path)];

    [Theory]
    [MemberData(nameof(Paths))]
    public void A_document_has_no_word_of_the_list(string path) =>
        Assert.Empty(Faults(Messages.Replace(Document.Of(path).Prose, "")));

    [Fact]
    public void Texts_and_comments_of_the_sources_have_no_word_of_the_list() => Assert.Empty(DocumentLinks.Code()
        .Where(path => !path.EndsWith("/WordsTests.cs", StringComparison.Ordinal))
        .SelectMany(path => Faults(File.ReadAllText(Repository.File(path))).Select(fault => $"{path}: {fault}")));

    [Theory]
    [InlineData("A key that is not taken\nfrom here, and one is\n  taken now.")]
    [InlineData("The request is made anew.")]
    [InlineData("Each read goes\non record.")]
    [InlineData("For who has an admin key.")]
    public void A_word_of_the_list_is_found(string text) => Assert.NotEmpty(Faults(text));

    private static IEnumerable<string> Faults(string text)
    {
        var own = Recorded.Aggregate(text, (rest, known) => rest.Replace(known, "", StringComparison.Ordinal));
        var line = Regex.Replace(own, @"\s+(///?|--)?\s*", " ");
        foreach (var (wrong, right) in Words)
        {
            foreach (var match in Regex.Matches(line, wrong, RegexOptions.IgnoreCase).Cast<Match>())
            {
                var from = Math.Max(0, match.Index - 40);
                yield return $"'{line[from..Math.Min(line.Length, match.Index + match.Length + 30)]}': say {right}";
            }
        }
    }
}
