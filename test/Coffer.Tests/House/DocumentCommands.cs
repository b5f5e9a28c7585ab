using System.CommandLine;
using System.Text;
using System.Text.RegularExpressions;
using Coffer.Hosting;

namespace Coffer.Tests.House;

/// <summary>
/// Command lines that documents show, given to the parser of the program. One with <c>…</c> in it is a sketch and is
/// not looked at; a word in capitals stands for a value.
/// </summary>
internal static partial class DocumentCommands
{
    // Options of other programs that documents name in a line of text.
    private static readonly HashSet<string> Foreign = new(StringComparer.Ordinal) { "--unshallow" };

    private static readonly Dictionary<string, string> Values = new(StringComparer.Ordinal)
    {
        ["DURATION"] = "24h",
        ["TIME"] = "2030-03-01",
        ["N"] = "1",
        ["URL"] = "https://127.0.0.1:1",
        ["NODE:SEQUENCE"] = "node_1:1",
    };

    private static readonly Lazy<RootCommand> Tree = new(() =>
    {
        var root = new RootCommand();
        foreach (var verb in typeof(Server).Assembly.GetTypes().Where(type => type.Namespace == "Coffer.Cli"))
        {
            if (verb.GetMethod("Command", []) is { ReturnType: var made } method && made == typeof(Command))
                root.Add((Command)method.Invoke(null, null)!);
        }

        return root;
    });

    /// <summary>Each command that does something, as it is typed: <c>coffer apps create</c>.</summary>
    public static IEnumerable<string> Leaves() => LeavesOf(Tree.Value, "coffer");

    /// <summary>Each option of each command.</summary>
    public static IEnumerable<Option> AllOptions() => OptionsOf(Tree.Value);

    /// <summary>The verbs with a command that may open a store, and need not be told so.</summary>
    public static IEnumerable<string> VerbsWithRootKey() => Tree.Value.Subcommands.Where(HasRootKey)
        .Select(verb => verb.Name);

    /// <summary>Every option of any command.</summary>
    public static IReadOnlySet<string> Options { get; } = OptionsOf(Tree.Value)
        .SelectMany(option => option.Aliases.Prepend(option.Name)).ToHashSet(StringComparer.Ordinal);

    /// <summary>Command lines that the program would refuse, and why.</summary>
    public static IEnumerable<string> Refused(Document document) => Lines(document)
        .Select(line => (Line: line, Why: Refusal(line))).Where(line => line.Why is not null)
        .Select(line => $"{string.Join(' ', line.Line)}: {line.Why}");

    /// <summary>Options in code of the text that no command has.</summary>
    public static IEnumerable<string> UnknownOptions(Document document) => document.Spans
        .Select(span => Option().Match(span)).Where(match => match.Success).Select(match => match.Groups["name"].Value)
        .Where(name => !Options.Contains(name) && !Foreign.Contains(name));

    /// <summary>The words of each command line of <c>coffer</c>, in blocks for a shell and in spans.</summary>
    public static IEnumerable<string[]> Lines(Document document) =>
        document.Blocks.Where(block => block.Language is "sh" or "").Select(block => block.Text)
            .Concat(document.Spans.Where(span => Typed().IsMatch(span)))
            .SelectMany(Split)
            .Where(words => words is ["coffer", _, ..])
            .Where(words => !string.Concat(words).Contains('…', StringComparison.Ordinal));

    private static string? Refusal(string[] words)
    {
        // What the shell puts in is an id of some kind.
        var given = words.Skip(1)
            .Select(word => word.StartsWith('$') ? "id_1" : Values.GetValueOrDefault(word, word)).ToArray();
        string? why;
        try
        {
            why = Tree.Value.Parse(given).Errors.Select(error => error.Message).FirstOrDefault();
        }
        catch (InvalidOperationException e)
        {
            why = e.Message;
        }

        return why is null || IsName(words) ? null : why;
    }

    // A command that is only named, with or without words for its arguments: coffer keys create, coffer apps set APP.
    private static bool IsName(string[] words)
    {
        Command at = Tree.Value;
        var named = 1;
        while (named < words.Length && at.Subcommands.FirstOrDefault(child => child.Name == words[named]) is { } next)
            (at, named) = (next, named + 1);
        var rest = words[named..];
        return at != Tree.Value && rest.Length <= at.Arguments.Count && rest.All(Capitals().IsMatch);
    }

    private static IEnumerable<string> LeavesOf(Command command, string path) => command.Subcommands.Count == 0
        ? [path] : command.Subcommands.SelectMany(child => LeavesOf(child, $"{path} {child.Name}"));

    private static bool HasRootKey(Command command) => command.Subcommands.Any(HasRootKey)
        || (command.Options.Any(option => option.Name is "--root-key" or "--key-file" or "--from-root-key")
            && command.Options.All(option => option.Name != "--offline"));

    private static IEnumerable<Option> OptionsOf(Command command) =>
        command.Options.Concat(command.Subcommands.SelectMany(OptionsOf));

    /// <summary>A shell's text as simple commands and their words, as far as the documents use a shell.</summary>
    private static IEnumerable<string[]> Split(string text)
    {
        var (words, word, hasWord, quote, depth) = (new List<string>(), new StringBuilder(), false, '\0', 0);
        text = text.Replace("\\\n", " ", StringComparison.Ordinal) + "\n";
        for (var at = 0; at < text.Length; at++)
        {
            var c = text[at];
            if (quote != '\0')
            {
                if (c == '(' && text[at - 1] == '$')
                    depth++;
                else if (c == ')' && depth > 0)
                    depth--;
                if (c == quote && depth == 0)
                    quote = '\0';
                else
                    word.Append(c);
                continue;
            }

            if (c is '\'' or '"')
            {
                (quote, hasWord) = (c, true);
                continue;
            }

            var isEnd = c is '|' or ';' or '&' or '>' or '<' or '(' or ')' or '\n' || (c == '#' && !hasWord);
            if (!isEnd && c is not (' ' or '$') || c == '$' && text[at + 1] != '(')
            {
                word.Append(c);
                hasWord = true;
                continue;
            }

            if (hasWord && Bracket().Replace(word.ToString(), "") is { Length: > 0 } found)
                words.Add(found);
            word.Clear();
            hasWord = false;
            if (!isEnd)
                continue;
            var command = words.SkipWhile(each => each is "$" or "export" || Assignment().IsMatch(each)).ToArray();
            if (command.Length > 0)
                yield return command;
            words.Clear();
            if (c == '#')
                at = text.IndexOf('\n', at);
        }
    }

    [GeneratedRegex(@"^(?<name>--[a-z][a-z-]*)", RegexOptions.ExplicitCapture)]
    private static partial Regex Option();

    // And no label of a key, such as coffer v1 token.
    [GeneratedRegex(@"^coffer (?!v\d )")]
    private static partial Regex Typed();

    [GeneratedRegex("^[A-Z_]+$")]
    private static partial Regex Capitals();

    [GeneratedRegex(@"^\[|\]$")]
    private static partial Regex Bracket();

    [GeneratedRegex("^[A-Z_]+=")]
    private static partial Regex Assignment();
}
