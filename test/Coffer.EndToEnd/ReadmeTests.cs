using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>What the documents give a reader to run is run here, word for word.</summary>
public sealed class ReadmeTests
{
    private const string Sdks = "docs/sdks.md";
    private const string Listed = @"appsecret_[0-9A-Za-z]{30} my-api-key\n(appsecret_[0-9A-Za-z]{30} k\d+\n){11}";
    private const string Printed = @"\Asecret_key_xxxxxx\n" + Listed + @"\z";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    /// <summary>The project is read as the first command reads it; what it builds is there already.</summary>
    [Fact]
    public async Task The_first_command_finds_a_project_that_can_be_run()
    {
        var ran = await Ran.ProgramAsync(Needs.OnPath("dotnet"), ["run", "--no-build", "--project",
            Path.Combine(Needs.Repository, "src", "Coffer"), "-c", "Release", "--", "--version"]);
        Assert.StartsWith("coffer ", ran.EndedWith(0).Stdout, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("README.md", "")]
    [InlineData("docs/sdks.md", Listed)]
    [Trait("Firm edges", "30")]
    public async Task The_Node_file_runs_as_it_stands(string document, string listed)
    {
        var node = Needs.Node();
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        await FillAsync(coffer);
        Directory.CreateSymbolicLink(folder.File("node_modules"), Path.Combine(Needs.SdkFolder, "node_modules"));
        await File.WriteAllTextAsync(folder.File("secrets.mjs"), Block(document, "js"), Ct);
        var ran = (await Ran.ProgramAsync(node, [folder.File("secrets.mjs")], Exported(coffer))).EndedWith(0);
        Assert.Matches($@"\Asecret_key_xxxxxx\n{listed}\z", ran.Stdout);
    }

    [Fact]
    [Trait("Firm edges", "30")]
    public async Task The_Python_file_of_the_SDK_page_runs_as_it_stands()
    {
        var python = Needs.PythonWithStripe();
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        await FillAsync(coffer);
        await File.WriteAllTextAsync(folder.File("secrets_demo.py"), Block(Sdks, "python"), Ct);
        var ran = (await Ran.ProgramAsync(python, [folder.File("secrets_demo.py")], Exported(coffer))).EndedWith(0);
        Assert.Matches(Printed, ran.Stdout);
    }

    /// <summary>
    /// It is built as a reader builds it, of the package that the tests are built with and that is there already.
    /// </summary>
    [Fact]
    [Trait("House in order", "7")]
    [Trait("Firm edges", "30")]
    public async Task The_dotnet_file_of_the_SDK_page_runs_as_it_stands()
    {
        var dotnet = Needs.OnPath("dotnet");
        await using var coffer = await CofferProcess.DevAsync();
        using var folder = new TemporaryDirectory();
        await FillAsync(coffer);
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

    /// <summary>
    /// Those that cannot be run here follow pages by the library's own base, which is not the client's.
    /// </summary>
    [Theory]
    [Trait("Firm edges", "30")]
    [InlineData("ruby", "Stripe.api_base = ENV.fetch(\"COFFER_URL\"", "auto_paging_each")]
    [InlineData("php", "\\Stripe\\Stripe::$apiBase = getenv('COFFER_URL')", "'api_base' => \\Stripe\\Stripe::$apiBase")]
    public void The_Ruby_and_PHP_lines_set_the_base_of_the_library_first(string language, string first, string then)
    {
        var lines = Block(Sdks, language);
        Assert.StartsWith(first, lines, StringComparison.Ordinal);
        Assert.Contains(then, lines, StringComparison.Ordinal);
        foreach (var other in (string[])["Go", "Ruby", "PHP", "Elixir"])
        {
            Assert.Matches($@"(?m)^## {other}\n\nNot run by the tests\. On 2026-[\d-]+ written from the sources of ",
                Text(Sdks));
        }
    }

    [Fact]
    [Trait("Firm edges", "34")]
    public async Task The_certificate_of_the_browser_page_is_made_and_served_as_it_says()
    {
        Needs.OnPath("openssl");
        using var folder = new TemporaryDirectory();
        var lines = Block("docs/browser.md", "sh", "openssl req").Split("coffer dev ");
        (await Ran.ProgramAsync("/bin/sh", ["-c", $"cd '{folder.Path}' && set -e\n{lines[0]}"])).EndedWith(0);
        Assert.Equal("--listen https://127.0.0.1:8443 --tls-cert cert.pem --tls-key key.pem\n", lines[1]);
        await using var coffer = await CofferProcess.DevAsync("--listen", "https://127.0.0.1:0", "--tls-cert",
            folder.File("cert.pem"), "--tls-key", folder.File("key.pem"));
        using var client = new PemPair(folder.File("cert.pem"), folder.File("key.pem")).Client(
            new UriBuilder(coffer.Url) { Host = "localhost" }.Uri);
        Assert.Equal("ok\n", await client.GetStringAsync(new Uri("healthcheck", UriKind.Relative), Ct));
    }

    // More than a page of the app's own scope, so that a walk of it needs a second one.
    private static async Task FillAsync(CofferProcess coffer)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = coffer.Url };
        await PostAsync("admin/v1/apps/app_dev", coffer.AdminKey, ("secrets_per_scope", "20"));
        for (var i = 0; i < 11; i++)
        {
            await PostAsync("v1/apps/secrets", coffer.TestKey, ("scope[type]", "account"), ("name", $"k{i}"),
                ("payload", "p"));
        }

        async Task PostAsync(string path, string key, params (string Name, string Value)[] form)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(path, UriKind.Relative));
            request.Headers.Authorization = new System.Net.Http.Headers.AuthenticationHeaderValue("Bearer", key);
            request.Content = new FormUrlEncodedContent(
                form.Select(field => KeyValuePair.Create(field.Name, field.Value)));
            using var response = await http.SendAsync(request, Ct);
            Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Ct));
        }
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
