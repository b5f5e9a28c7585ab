using System.Net;
using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>Chromium, headless. A page of a file has the origin <c>null</c>, as a sandboxed frame has.</summary>
public static partial class Browser
{
    /// <summary>The arguments that have it run a page to its end and print what became of it.</summary>
    public static string[] Arguments(string profile, string page) =>
    [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
            "--no-first-run", $"--user-data-dir={profile}",
        // the certificate is the test's own
        "--ignore-certificate-errors", "--virtual-time-budget=20000", "--dump-dom", page,
    ];

    /// <summary>A page that runs a module after a script.</summary>
    public static string Page(string script, string module) =>
        $"<!doctype html><meta charset=utf-8><body></body><script>{script}</script><script type=module>"
            + module.Replace("</script", "<\\/script", StringComparison.OrdinalIgnoreCase) + "</script>";

    /// <summary>The text of the page's body, of what the browser printed.</summary>
    public static string Body(Ran ran)
    {
        var body = Printed().Match(ran.EndedWith(0).Stdout);
        Assert.True(body.Success && body.Groups["said"].Length > 0,
            $"the page said nothing:\n{ran.Stdout[..Math.Min(ran.Stdout.Length, 500)]}\n{ran.Stderr}");
        return WebUtility.HtmlDecode(body.Groups["said"].Value);
    }

    [GeneratedRegex("<body>(?<said>.*)</body>", RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex Printed();
}
