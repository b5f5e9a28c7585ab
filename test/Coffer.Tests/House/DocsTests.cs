using System.Text.RegularExpressions;
using Coffer.Settings;

namespace Coffer.Tests.House;

/// <summary>
/// What the documents say of the project is so: names, files, links, routes, settings, commands, exit codes, messages.
/// Each check is shown to find a fault, in a document that is made up for it.
/// </summary>
[Trait("House in order", "9")]
public sealed partial class DocsTests
{
    public static TheoryData<string> Paths() => [.. Document.All.Select(document => document.Path)];

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_link_leads_somewhere(string path) => Assert.Empty(DocumentLinks.Broken(Document.Of(path)));

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_file_that_is_named_is_there(string path) =>
        Assert.Empty(DocumentLinks.Missing(Document.Of(path)));

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_type_and_member_that_is_named_exists(string path) =>
        Assert.Empty(DocumentNames.Unknown(Document.Of(path)));

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_route_that_is_named_exists(string path) =>
        Assert.Empty(DocumentFacts.UnknownRoutes(Document.Of(path)));

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_variable_and_option_that_is_named_exists(string path)
    {
        Assert.Empty(DocumentFacts.UnknownVariables(Document.Of(path)));
        Assert.Empty(DocumentCommands.UnknownOptions(Document.Of(path)));
    }

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_command_line_is_one_that_the_program_accepts(string path) =>
        Assert.Empty(DocumentCommands.Refused(Document.Of(path)));

    [Theory]
    [MemberData(nameof(Paths))]
    public void Every_exit_code_that_is_named_exists(string path) =>
        Assert.Empty(DocumentFacts.UnknownExitCodes(Document.Of(path)));

    [Theory]
    [InlineData("docs/trouble.md")]
    [InlineData("docs/audit-log.md")]
    public void Every_message_that_is_quoted_is_one_of_the_programs(string path) =>
        Assert.Empty(DocumentFacts.UnknownMessages(Document.Of(path)));

    [Fact]
    public void Every_error_of_the_wire_is_one_of_the_programs() =>
        Assert.Empty(DocumentFacts.UnknownErrors(Document.Of("docs/wire.md")));

    [Fact]
    public void Every_route_is_documented() => Assert.Empty(
        DocumentFacts.Undocumented([Document.Of("docs/wire.md"), Document.Of("docs/management.md")]));

    [Fact]
    public void Every_command_is_documented()
    {
        var lines = Document.All.SelectMany(DocumentCommands.Lines);
        var shown = lines.Select(words => string.Join(' ', words) + " ").ToList();
        var hidden = DocumentCommands.Leaves()
            .Where(command => !shown.Any(line => line.StartsWith(command + " ", StringComparison.Ordinal))).ToList();
        Assert.Empty(hidden);
    }

    [Fact]
    public void Every_exit_code_is_in_the_table_of_the_commands() =>
        Assert.Empty(DocumentFacts.MissingExitCodes(Document.Of("docs/commands.md")));

    [Fact]
    public void Every_audit_verb_is_documented()
    {
        var (verbs, document) = (DocumentFacts.AuditVerbs(), Document.Of("docs/audit-log.md"));
        Assert.True(verbs.Count > 30, $"Other calls make entries than before: {string.Join(", ", verbs.Order())}");
        Assert.Empty(verbs.Except(document.Spans));
        Assert.Empty(DocumentFacts.UnknownVerbs(document));
    }

    [Fact]
    public void Every_setting_of_the_table_exists()
    {
        var rows = SettingRow().Matches(Document.Of("docs/settings.md").Text).Select(row => row.Groups["name"].Value);
        Assert.Equal(SettingsTable.All.Select(setting => setting.Name).Order(), rows.Order());
    }

    [Fact]
    public void Every_document_that_the_code_cites_is_there() => Assert.Empty(DocumentLinks.Code()
        .Where(path => !path.EndsWith("/DocsTests.cs", StringComparison.Ordinal))
        .Select(path => (Path: path, Missing: DocumentLinks.Uncited(File.ReadAllText(Repository.File(path)))))
        .SelectMany(file => file.Missing.Select(document => $"{file.Path}: {document}")));

    [Fact]
    public void Every_page_says_at_its_top_whom_it_is_for() => Assert.All(
        Document.All.Where(document => Regex.IsMatch(document.Path, @"^((docs|bench)/)?[\w-]+\.md$")
            && document.Path is not ("README.md" or "CHANGELOG.md")),
        document => Assert.Matches(@"\A# .+\n\n\*(For|Find)\b", document.Text));

    [Fact]
    public void The_indexes_list_every_page_and_every_decision()
    {
        var pages = Document.All.Where(document => Regex.IsMatch(document.Path, @"^docs/[\w-]+\.md$"));
        var listed = Document.Of("docs/README.md").Links.Append("README.md");
        Assert.Empty(pages.Select(page => page.Path[5..]).Except(listed));
        var decisions = Document.All.Where(document => Regex.IsMatch(document.Path, @"^docs/decisions/\d"));
        Assert.Empty(decisions.Select(page => page.Path[15..]).Except(Document.Of("docs/decisions/README.md").Links));
    }

    [Fact]
    [Trait("House in order", "7")]
    public void The_README_has_fewer_than_120_lines_and_its_picture_shows_what_it_says()
    {
        var readme = Document.Of("README.md");
        Assert.InRange(readme.Text.Split('\n').Length, 40, 119);
        var shown = Typed().Matches(File.ReadAllText(Repository.File("docs/first-minute.svg")))
            .Select(line => System.Net.WebUtility.HtmlDecode(line.Groups["text"].Value).TrimStart('$').Trim()).ToList();
        Assert.InRange(shown.Count, 3, 12);
        Assert.All(shown, line => Assert.Contains(line, readme.Text, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("[a](nowhere.md)")]
    [InlineData("[a](wire.md#nowhere)")]
    [InlineData("[a](#nowhere)")]
    public void A_link_that_leads_nowhere_is_found(string text) => Assert.Single(DocumentLinks.Broken(Made(text)));

    [Theory]
    [InlineData("`src/Coffer/Nowhere.cs`")]
    [InlineData("`Nowhere.cs`")]
    [InlineData("`test/nowhere`")]
    public void A_file_that_is_not_there_is_found(string text) => Assert.Single(DocumentLinks.Missing(Made(text)));

    [Theory]
    [InlineData("`ApiKeys.Create`")]
    [InlineData("`Nowhere.FindAsync`")]
    [InlineData("`TheVault`")]
    [InlineData("`VerbsTests.Find_returns_gold`")]
    [InlineData("`CrashTests.Find_returns_gold`")]
    public void A_name_that_nothing_has_is_found(string text) => Assert.Single(DocumentNames.Unknown(Made(text)));

    [Theory]
    [InlineData("`SecretStore.FindAsync`, `CrashTests`, `Committer`")]
    public void A_name_that_something_has_is_accepted(string text) => Assert.Empty(DocumentNames.Unknown(Made(text)));

    [Theory]
    [InlineData("`GET /v1/apps/secrets/search`")]
    [InlineData("`DELETE /v1/apps/secrets`")]
    public void A_route_that_is_not_there_is_found(string text) =>
        Assert.Single(DocumentFacts.UnknownRoutes(Made(text)));

    [Fact]
    public void A_variable_or_an_option_that_is_not_there_is_found()
    {
        Assert.Equal(["COFFER_SECRETS"], DocumentFacts.UnknownVariables(Made("`COFFER_SECRETS=20`")));
        Assert.Equal(["--secrets-per-app"], DocumentCommands.UnknownOptions(Made("`--secrets-per-app 20`")));
    }

    [Theory]
    [InlineData("`coffer secrets search --until 2030-01-31`")]
    [InlineData("```sh\nprintf x | coffer secrets put my-api-key\n```")]
    [InlineData("text\n\n    $ coffer keys roll \"$(jq -r .id key.json)\" --for 1h\n")]
    [InlineData("```sh\nKEY=$(coffer keys mint --minutes 5 | jq -r .secret)\n```")]
    public void A_command_line_that_the_program_refuses_is_found(string text) =>
        Assert.Single(DocumentCommands.Refused(Made(text)));

    [Theory]
    [InlineData("`coffer keys create`, `coffer apps set APP`, `coffer … --sketch`, `coffer audit`")]
    public void A_command_that_is_only_named_is_accepted(string text) =>
        Assert.Empty(DocumentCommands.Refused(Made(text)));

    [Fact]
    public void An_exit_code_that_is_not_there_is_found()
    {
        Assert.Equal(["3"], DocumentFacts.UnknownExitCodes(Made("It ends with 3.")));
        Assert.Contains(78, DocumentFacts.MissingExitCodes(Made("| 0 | done |\n")));
    }

    [Theory]
    [InlineData("### 404: not there\n\n- `resource_missing`, `name`: There is no such secret: 'my-api-key'\n")]
    public void An_error_that_the_program_has_not_is_found(string text) =>
        Assert.Single(DocumentFacts.UnknownErrors(Made(text)));

    [Theory]
    [InlineData("`the key file … is nowhere to be found`")]
    public void A_message_that_the_program_has_not_is_found(string text) =>
        Assert.Single(DocumentFacts.UnknownMessages(Made(text)));

    [Fact]
    public void An_audit_verb_that_is_not_there_is_found() =>
        Assert.Equal(["borrow"], DocumentFacts.UnknownVerbs(Made("- `set`, `borrow`: `ok`\n")));

    [Theory]
    [InlineData("/// <summary>Exact text (vault.md section \"Names\").</summary>", "vault.md")]
    [InlineData("/// (docs/wire.md,\n/// \"Versions\")", "docs/wire.md, \"Versions\"")]
    public void A_citation_of_what_is_not_there_is_found(string code, string fault) =>
        Assert.Equal([fault], DocumentLinks.Uncited(code));

    private static Document Made(string text) => new("docs/architecture.md", text + "\n");

    [GeneratedRegex(@"^\| `(?<name>[a-z-]+)` \| (serve|dev)", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex SettingRow();

    [GeneratedRegex("fill=\"#f2f3f5\">(?<text>[^<]+)<", RegexOptions.ExplicitCapture)]
    private static partial Regex Typed();
}
