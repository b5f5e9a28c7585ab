using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>
/// The pages of the API in a real browser, light and dark, wide and narrow: axe finds nothing, and their policy refuses
/// nothing of them. What drives the browser stands in sdk/page-check.mjs.
/// </summary>
public sealed class DocsInBrowserTests : IDisposable
{
    private readonly TemporaryDirectory files = new();

    [Fact]
    public async Task The_pages_of_the_API_are_accessible_and_need_nothing_that_their_policy_refuses()
    {
        var (node, chromium) = (Needs.Node(), Needs.Chromium());
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        // What a page must not be, so that a tool that finds nothing anywhere is noticed.
        var wrong = files.File("wrong.html");
        await File.WriteAllTextAsync(wrong, """
            <!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'">
            <title>wrong</title><h1>wrong</h1><p style="color: #fff">x</p><a href="#nowhere"></a>
            """, TestContext.Current.CancellationToken);
        object[] pages =
        [
            Page("/docs", "light", 1_280), Page("/docs", "dark", 360), Page("/docs/admin", "dark", 1_280),
            Page("/docs/errors", "light", 360),
            new { url = new Uri(wrong).AbsoluteUri, scheme = "light", width = 800 },
        ];

        var ran = await Ran.ProgramAsync(node, [Path.Combine(Needs.SdkFolder, "page-check.mjs"), chromium,
            files.File("profile"), JsonSerializer.Serialize(pages)]);

        var said = JsonElement.Parse(ran.EndedWith(0).Stdout).EnumerateArray().ToList();
        Assert.Equal(["Coffer", "Coffer", "Coffer: management", "Errors", "wrong"],
            said.Select(page => page.GetProperty("heading").GetString()));
        Assert.All(said[..^1], page =>
        {
            Assert.Empty(Texts(page, "violations"));
            Assert.Empty(Texts(page, "refused"));
            Assert.False(page.GetProperty("isTooWide").GetBoolean());
            Assert.InRange(page.GetProperty("passes").GetInt32(), 15, 200);
        });
        Assert.Equal(["rgb(255, 255, 255)", "rgb(20, 22, 29)"],
            said[..2].Select(page => page.GetProperty("background").GetString()));
        Assert.Contains("link-name", string.Join('\n', Texts(said[^1], "violations")), StringComparison.Ordinal);
        Assert.Contains("style-src", string.Join('\n', Texts(said[^1], "refused")), StringComparison.Ordinal);

        object Page(string path, string scheme, int width) => new { url = new Uri(coffer.Url, path), scheme, width };
    }

    public void Dispose() => files.Dispose();

    private static IEnumerable<string> Texts(JsonElement page, string name) =>
        page.GetProperty(name).EnumerateArray().Select(text => text.GetString()!);
}
