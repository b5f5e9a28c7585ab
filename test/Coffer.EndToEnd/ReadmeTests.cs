using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>What the documents give a reader to run is run here, word for word.</summary>
public sealed class ReadmeTests
{
    private static readonly string Readme = File.ReadAllText(Path.Combine(Needs.Repository, "README.md"));

    [Fact]
    public async Task The_Node_file_of_the_README_runs_as_it_stands()
    {
        var node = Needs.Node();
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        Directory.CreateSymbolicLink(folder.File("node_modules"), Path.Combine(Needs.SdkFolder, "node_modules"));
        await File.WriteAllTextAsync(folder.File("secrets.mjs"), Block("js"), TestContext.Current.CancellationToken);
        var ran = (await Ran.ProgramAsync(node, [folder.File("secrets.mjs")], Exported(coffer))).EndedWith(0);
        Assert.Matches(@"\Asecret_key_xxxxxx\nappsecret_[0-9A-Za-z]{30} my-api-key\n\z", ran.Stdout);
    }

    [Fact]
    public async Task The_Python_file_of_the_README_runs_as_it_stands()
    {
        var python = Needs.PythonWithStripe();
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        await File.WriteAllTextAsync(folder.File("secrets_demo.py"), Block("python"), TestContext.Current.CancellationToken);
        var ran = (await Ran.ProgramAsync(python, [folder.File("secrets_demo.py")], Exported(coffer))).EndedWith(0);
        Assert.Matches(@"\Asecret_key_xxxxxx\nappsecret_[0-9A-Za-z]{30} my-api-key\n\z", ran.Stdout);
    }

    [Fact]
    public async Task The_command_line_of_the_README_runs_as_it_stands()
    {
        await using var coffer = await CofferProcess.DevAsync();
        var lines = Block("sh", "coffer secrets set");
        var script = $"set -e\nTOKEN='to ken'\ncoffer() {{ '{Needs.Program}' \"$@\"; }}\n{lines}";
        var ran = (await Ran.ProgramAsync("/bin/sh", ["-c", script], Exported(coffer))).EndedWith(0);
        Assert.Contains("to ken", ran.Stdout, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_first_lines_of_the_README_set_and_find_a_secret()
    {
        Needs.Curl();
        await using var coffer = await CofferProcess.DevAsync();
        var ran = (await Ran.ProgramAsync("/bin/sh", ["-c", Block("sh", "curl -G")], Exported(coffer))).EndedWith(0);
        Assert.Contains("\"payload\": \"secret_key_xxxxxx\"", ran.Stdout, StringComparison.Ordinal);
    }

    /// <summary>A second implementation, in Node's own crypto, agrees with the known answers that the unit tests hold Coffer to.</summary>
    [Fact]
    public async Task Another_implementation_of_the_envelope_agrees_with_the_vectors()
    {
        var ran = (await Ran.ProgramAsync(Needs.OnPath("node"), [Path.Combine(Needs.Repository, "vectors", "envelope.mjs"), "check"])).EndedWith(0);
        Assert.Matches(@"\A\d+ cases hold\n\z", ran.Stdout);
    }

    private static Dictionary<string, string> Exported(CofferProcess coffer) => new()
    {
        ["COFFER_URL"] = coffer.Url.ToString().TrimEnd('/'),
        ["COFFER_API_KEY"] = coffer.TestKey,
    };

    /// <summary>The first fenced block of a language that holds a text.</summary>
    private static string Block(string language, string holding = "") =>
        Regex.Matches(Readme, $"^```{language}\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)
            .Select(match => match.Groups[1].Value).First(block => block.Contains(holding, StringComparison.Ordinal));
}
