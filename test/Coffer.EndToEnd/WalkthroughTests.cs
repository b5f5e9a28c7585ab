using System.Net;
using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// "From an app to a forgotten account" of docs/commands.md, run as it stands: commands in a shell, the page's part in
/// a browser.
/// </summary>
public sealed partial class WalkthroughTests
{
    [Fact]
    public async Task The_walk_from_an_app_to_a_forgotten_account_does_what_the_document_says()
    {
        Needs.Curl();
        Needs.OnPath("jq");
        var chromium = Needs.Chromium();
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);

        var (script, expected) =
            (new List<string> { "set -eu", $"cd '{folder.Path}'", $"coffer() {{ '{Needs.Program}' "
                + "\"$@\"; }" }, new List<string>());
        foreach (var (language, text) in Blocks())
        {
            expected.AddRange(Arrow().Matches(text).Select(match => match.Groups["says"].Value));
            script.Add(language == "sh" ? text : InBrowser(chromium, folder, text));
        }

        Assert.InRange(expected.Count, 10, 30);
        var ran = (await Ran.ProgramAsync("/bin/sh", ["-c", string.Join('\n', script)], new Dictionary<string, string>
        {
            ["COFFER_URL"] = coffer.Url.GetLeftPart(UriPartial.Authority),
            ["COFFER_ADMIN_KEY"] = coffer.AdminKey,
        })).EndedWith(0);
        var rest = WebUtility.HtmlDecode(ran.Stdout);
        foreach (var says in expected)
        {
            var at = rest.IndexOf(says + "\n", StringComparison.Ordinal);
            Assert.True(
                at >= 0,
                $"'{says}' was to be printed next, but what came is:\n{rest}\n--- all\n{ran.Stdout}\n--- "
                    + $"stderr\n{ran.Stderr}");
            rest = rest[(at + says.Length)..];
        }
    }

    // The page says on its body what it logs; the shell puts address and key into it, as a backend renders a page.
    private static string InBrowser(string chromium, TemporaryDirectory folder, string module)
    {
        var template =
            Browser.Page("globalThis.COFFER_URL = '@URL@'; globalThis.EPHEMERAL = '@KEY@'; console.log = (...said) "
                + "=> { document.body.append(said.join(' ') + '\\n'); };", module);
        File.WriteAllText(folder.File("page.template"), template);
        var arguments = string.Join(
            ' ',
            Browser.Arguments(folder.File("profile"), $"file://{folder.File("page.html")}").Select(
                argument => $"'{argument}'"));
        return $"sed -e \"s|@URL@|$COFFER_URL|\" -e \"s|@KEY@|$EPHEMERAL|\" page.template > page.html\n'{chromium}' "
            + $"{arguments}";
    }

    private static IEnumerable<(string Language, string Text)> Blocks()
    {
        var document = File.ReadAllText(Path.Combine(Needs.Repository, "docs", "commands.md"));
        var begin = document.IndexOf("## From an app to a forgotten account", StringComparison.Ordinal);
        var end = document.IndexOf("\n## ", begin + 1, StringComparison.Ordinal);
        return Block().Matches(document[begin..end])
            .Select(match => (match.Groups["language"].Value, match.Groups["text"].Value));
    }

    [GeneratedRegex("^```(?<language>sh|js)\n(?<text>.*?)^```",
        RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex Block();

    [GeneratedRegex("(#|//) → (?<says>.*)$", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Arrow();
}
