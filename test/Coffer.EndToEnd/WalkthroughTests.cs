using System.Net;

namespace Coffer.EndToEnd;

/// <summary>
/// "From an app to a forgotten account" of docs/commands.md, run as it stands: commands in a shell, the page's part in
/// a browser.
/// </summary>
public sealed class WalkthroughTests
{
    [Fact]
    public async Task The_walk_from_an_app_to_a_forgotten_account_does_what_the_document_says()
    {
        Needs.Curl();
        Needs.OnPath("jq");
        var chromium = Needs.Chromium();
        var page = new Transcript("docs/commands.md", "## From an app to a forgotten account");
        using var data = new TemporaryDirectory();
        using var folder = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);

        var script = new List<string> { "set -eu", $"cd '{folder.Path}'", $"coffer() {{ '{Needs.Program}' \"$@\"; }}" };
        foreach (var (language, text) in page.Blocks)
            script.Add(language == "sh" ? text : InBrowser(chromium, folder, text));

        Assert.InRange(page.Expected.Count, 10, 30);
        var ran = (await Ran.ProgramAsync("/bin/sh", ["-c", string.Join('\n', script)], new Dictionary<string, string>
        {
            ["COFFER_URL"] = coffer.Url.GetLeftPart(UriPartial.Authority),
            ["COFFER_ADMIN_KEY"] = coffer.AdminKey,
        })).EndedWith(0);
        page.AssertPrinted(WebUtility.HtmlDecode(ran.Stdout), ran.Stderr);
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
}
