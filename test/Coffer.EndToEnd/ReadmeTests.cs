using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>What the documents give a reader to run is run here, word for word.</summary>
public sealed class ReadmeTests
{
    private const string Sdks = "docs/sdks.md";
    private const string Printed = @"\Asecret_key_xxxxxx\nappsecret_[0-9A-Za-z]{30} my-api-key\n\z";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("README.md", "")]
    [InlineData("docs/sdks.md", "appsecret_[0-9A-Za-z]{30} my-api-key\n")]
    public async Task The_Node_file_runs_as_it_stands(string document, string listed)
    {
        var node = Needs.Node();
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        Directory.CreateSymbolicLink(folder.File("node_modules"), Path.Combine(Needs.SdkFolder, "node_modules"));
        await File.WriteAllTextAsync(folder.File("secrets.mjs"), Block(document, "js"), Ct);
        var ran = (await Ran.ProgramAsync(node, [folder.File("secrets.mjs")], Exported(coffer))).EndedWith(0);
        Assert.Matches($@"\Asecret_key_xxxxxx\n{listed}\z", ran.Stdout);
    }

    [Fact]
    public async Task The_Python_file_of_the_SDK_page_runs_as_it_stands()
    {
        var python = Needs.PythonWithStripe();
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        await File.WriteAllTextAsync(folder.File("secrets_demo.py"), Block(Sdks, "python"), Ct);
        var ran = (await Ran.ProgramAsync(python, [folder.File("secrets_demo.py")], Exported(coffer))).EndedWith(0);
        Assert.Matches(Printed, ran.Stdout);
    }

    /// <summary>
    /// It is built as a reader builds it, of the package that the tests are built with and that is there already.
    /// </summary>
    [Fact]
    [Trait("House in order", "7")]
    public async Task The_dotnet_file_of_the_SDK_page_runs_as_it_stands()
    {
        var dotnet = Needs.OnPath("dotnet");
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        await File.WriteAllTextAsync(folder.File("secrets.cs"), Block(Sdks, "csharp"), Ct);
        var ran = (await Ran.ProgramAsync(dotnet, ["run", folder.File("secrets.cs")], Exported(coffer))).EndedWith(0);
        // Before it the build may warn that the feed lacks advisories, or a version that a package names.
        Assert.Matches(Printed.Replace(@"\A", "(?m)^", StringComparison.Ordinal), ran.Stdout);
    }

    [Fact]
    [Trait("House in order", "7")]
    public void The_SDK_page_names_the_versions_that_the_tests_have()
    {
        var page = Text(Sdks);
        var node = Found("test/Coffer.EndToEnd/sdk/package.json", "\"stripe\": \"([^\"]+)\"");
        Assert.Contains($"tested with {node})", page, StringComparison.Ordinal);
        var dotnet = Found("Directory.Packages.props", "\"Stripe.net\" Version=\"([^\"]+)\"");
        Assert.Contains($"#:package Stripe.net@{dotnet}\n", page, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_first_command_lines_of_an_app_run_as_they_stand()
    {
        await using var coffer = await CofferProcess.DevAsync();
        var lines = Block("docs/commands.md", "sh", "coffer secrets set");
        var script = $"set -e\nTOKEN='to ken'\ncoffer() {{ '{Needs.Program}' \"$@\"; }}\n{lines}";
        var ran = (await Ran.ProgramAsync("/bin/sh", ["-c", script], Exported(coffer))).EndedWith(0);
        Assert.Contains("to ken", ran.Stdout, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_first_lines_of_the_README_set_and_find_a_secret()
    {
        Needs.Curl();
        await using var coffer = await CofferProcess.DevAsync();
        var lines = Block("README.md", "sh", "curl -G");
        var ran = (await Ran.ProgramAsync("/bin/sh", ["-c", lines], Exported(coffer))).EndedWith(0);
        Assert.Contains("\"payload\": \"secret_key_xxxxxx\"", ran.Stdout, StringComparison.Ordinal);
    }

    /// <summary>
    /// A second implementation, in Node's own crypto, agrees with the known answers that the unit tests hold Coffer to.
    /// </summary>
    [Fact]
    public async Task Another_implementation_of_the_envelope_agrees_with_the_vectors()
    {
        var program = Path.Combine(Needs.Repository, "vectors", "envelope.mjs");
        var ran = (await Ran.ProgramAsync(Needs.OnPath("node"), [program, "check"])).EndedWith(0);
        Assert.Matches(@"\A\d+ cases hold\n\z", ran.Stdout);
    }

    private static Dictionary<string, string> Exported(CofferProcess coffer) => new()
    {
        ["COFFER_URL"] = coffer.Url.ToString().TrimEnd('/'),
        ["COFFER_API_KEY"] = coffer.TestKey,
    };

    private static string Found(string path, string pattern) => Regex.Match(Text(path), pattern).Groups[1].Value;

    private static string Text(string path) => File.ReadAllText(Path.Combine(Needs.Repository, path));

    /// <summary>The first fenced block of a language that holds a text.</summary>
    private static string Block(string document, string language, string holding = "") =>
        Regex.Matches(Text(document), $"^```{language}\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)
            .Select(match => match.Groups[1].Value).First(block => block.Contains(holding, StringComparison.Ordinal));
}
