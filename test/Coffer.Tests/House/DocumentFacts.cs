using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Coffer.Cli;
using Coffer.Settings;
using Coffer.Tests.Access;

namespace Coffer.Tests.House;

/// <summary>Routes, variables, exit codes, audit verbs and messages that documents name.</summary>
internal static partial class DocumentFacts
{
    // Variables that are for clients, backends and tests, and those that are made of the name of a service.
    private static readonly string[] Variables =
    [
        "COFFER_URL", "COFFER_API_KEY", "COFFER_ADMIN_URL", "COFFER_ADMIN_KEY", "COFFER_CONFIG",
        "COFFER_PROXY", "COFFER_CA",
        "COFFER_SIGNING_SECRET", "COFFER_SERVICE_HOST", "COFFER_PORT", "COFFER_",
    ];

    private static readonly Lazy<HashSet<string>> Routes = new(() => AuthorizationTable.Routes
        .Select(route => $"{route.Method} {Plain(route.Path)}")
        .Concat(AuthorizationTable.Open.Append("/").Select(path => $"GET {path}")).ToHashSet(StringComparer.Ordinal));

    private static readonly Lazy<HashSet<int>> ExitCodes = new(() => typeof(ExitCode)
        .GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(code => (int)code.GetRawConstantValue()!).ToHashSet());

    /// <summary>The product's sources, with texts that are put together of several lines as one.</summary>
    private static readonly Lazy<string> Source = new(() => Joint().Replace(string.Concat(
        DocumentLinks.Code().Where(path => path.StartsWith("src/", StringComparison.Ordinal))
            .Select(path => File.ReadAllText(Repository.File(path)))), "")
        .Replace("\\\"", "\"", StringComparison.Ordinal));

    /// <summary>The sentences of texts with something put into them, as patterns.</summary>
    private static readonly Lazy<IReadOnlyList<Regex>> Sentences = new(() => [.. Literal().Matches(Source.Value)
        .SelectMany(literal => End().Split(literal.Groups["text"].Value))
        .Select(sentence => Hole().Split(sentence.Trim()))
        .Where(fixedParts => fixedParts.Length > 1 && fixedParts.Sum(part => part.Length) >= 8)
        .Select(fixedParts => new Regex($"^{string.Join(".+", fixedParts.Select(Regex.Escape))}$"))]);

    public static IEnumerable<string> UnknownRoutes(Document document) =>
        Named(document).Where(route => !Routes.Value.Contains(route) && !route.Contains('…', StringComparison.Ordinal));

    /// <summary>Routes that none of some documents names.</summary>
    public static IEnumerable<string> Undocumented(IEnumerable<Document> documents) =>
        Routes.Value.Except(documents.SelectMany(Named));

    public static IEnumerable<string> UnknownVariables(Document document) => Variable().Matches(document.Text)
        .Select(match => match.Value).Distinct()
        .Where(name => !Variables.Contains(name) && !SettingsTable.All.Any(setting => setting.Environment == name));

    public static IEnumerable<string> UnknownExitCodes(Document document) => Ending().Matches(document.Text)
        .Select(match => int.Parse(match.Groups["code"].Value, CultureInfo.InvariantCulture)).Distinct()
        .Where(code => !ExitCodes.Value.Contains(code)).Select(code => $"{code}");

    /// <summary>The codes of a document's table, and those that the program has, where they differ.</summary>
    public static IEnumerable<int> MissingExitCodes(Document document)
    {
        var listed = Code().Matches(document.Text)
            .Select(row => int.Parse(row.Groups["code"].Value, CultureInfo.InvariantCulture)).ToHashSet();
        listed.SymmetricExceptWith(ExitCodes.Value);
        return listed;
    }

    /// <summary>The verbs of the audit log, by the calls that make its entries.</summary>
    public static IReadOnlySet<string> AuditVerbs() =>
        Verb().Matches(Source.Value).Select(match => match.Groups["verb"].Value).ToHashSet(StringComparer.Ordinal);

    /// <summary>Verbs that a document gives in items that begin with a verb, and that no source has.</summary>
    public static IEnumerable<string> UnknownVerbs(Document document) => VerbItem().Matches(document.Text)
        .SelectMany(item => Word().Matches(item.Groups["verbs"].Value).Select(word => word.Groups["word"].Value))
        .Where(verb => !Source.Value.Contains($"\"{verb}\"", StringComparison.Ordinal));

    /// <summary>Parts of messages, in items under headings such as "### 404", that no source has.</summary>
    public static IEnumerable<string> UnknownErrors(Document document) => Errors().Matches(document.Text)
        .SelectMany(section => Item().Matches(section.Groups["items"].Value))
        .SelectMany(item => Parts(Lead().Replace(Blank().Replace(item.Groups["text"].Value, " "), "")
            .Replace("\\*", "*", StringComparison.Ordinal)))
        .Where(part => !IsSaid(part));

    /// <summary>Messages in code of the text, with <c>…</c> for what differs, that no source has.</summary>
    public static IEnumerable<string> UnknownMessages(Document document) => document.Spans
        .Where(span => Sentence().IsMatch(span)).SelectMany(Parts).Where(part => !IsSaid(part));

    private static bool IsSaid(string part) =>
        Source.Value.Contains(part, StringComparison.Ordinal)
        || Sentences.Value.Any(sentence => sentence.IsMatch(part));

    private static IEnumerable<string> Parts(string message) => Various().Split(Aside().Replace(message, ""))
        .Select(part => part.Trim()).Where(part => part.Length >= 12);

    private static IEnumerable<string> Named(Document document) => Route().Matches(document.Text)
        .Select(route => $"{route.Groups["method"].Value} {Plain(route.Groups["path"].Value.TrimEnd('.', ','))}")
        .Distinct();

    private static string Plain(string path) => Hole().Replace(path, "{}");

    [GeneratedRegex(@"""\s*\+\s*\$?""")]
    private static partial Regex Joint();

    [GeneratedRegex("""\$"(?<text>([^"\\{]|\\.|\{[^}]*\})*)["]""", RegexOptions.ExplicitCapture)]
    private static partial Regex Literal();

    [GeneratedRegex("[.:;](?= |$)")]
    private static partial Regex End();

    [GeneratedRegex(@"\{[^}]*\}")]
    private static partial Regex Hole();

    [GeneratedRegex(@"\b(?<method>GET|POST|DELETE|PUT|PATCH) (?<path>/[^\s`?""|)]*)", RegexOptions.ExplicitCapture)]
    private static partial Regex Route();

    [GeneratedRegex("COFFER_[A-Z_]*")]
    private static partial Regex Variable();

    [GeneratedRegex(@"\bends?\s+(a start |it |them )?with\s+(?<code>\d+)\b", RegexOptions.ExplicitCapture)]
    private static partial Regex Ending();

    [GeneratedRegex(@"^\| (?<code>\d+) \| ", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Code();

    [GeneratedRegex("""((Entry|RecordAsync|PassAsync)\((?!string)[^;"]{0,60}|Verb =>? |requestId\) => new\()"""
        + @"""(?<verb>[a-z_]+)""", RegexOptions.ExplicitCapture)]
    private static partial Regex Verb();

    [GeneratedRegex(@"^- (?<verbs>`[a-z_]+`(,\s+`[a-z_]+`)*): ", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex VerbItem();

    [GeneratedRegex("`(?<word>[a-z_]+)`", RegexOptions.ExplicitCapture)]
    private static partial Regex Word();

    [GeneratedRegex(@"^### \d{3}: .*\n\n(?<items>(-.*\n(  .*\n)*)+)",
        RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Errors();

    [GeneratedRegex(@"^- (?<text>.*\n(  .*\n)*)", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Item();

    // The code and the param in front of a message.
    [GeneratedRegex(@"^((`[^`]+`|\([^)]*\)|the \w+)[, ]*)+: ", RegexOptions.ExplicitCapture)]
    private static partial Regex Lead();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blank();

    [GeneratedRegex(@" \((also|several|live|on a list|four|see)\b.*$", RegexOptions.ExplicitCapture)]
    private static partial Regex Aside();

    // What differs from one message to another: quoted text, numbers, ids and examples.
    [GeneratedRegex(@"'[^']*'|…|\{[^}]*\}[#\w-]*|\b\d+\b|[\w.]*_[\w.*]+|\bN\b|\bfoo\S*|\bname\b|/\S+"
        + @"|\(GET: \S+|[.;:](?= |$)|""|aaaa\S*")]
    private static partial Regex Various();

    [GeneratedRegex(@"^(…|[a-z-]+) .* \S+ ")]
    private static partial Regex Sentence();
}
