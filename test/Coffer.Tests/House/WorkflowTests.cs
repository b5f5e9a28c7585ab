using System.Text.RegularExpressions;

namespace Coffer.Tests.House;

/// <summary>The workflow runs what everybody runs, with few rights and with nothing that can be exchanged.</summary>
[Trait("House in order", "8")]
public sealed class WorkflowTests
{
    private static readonly string Workflow = File.ReadAllText(Repository.File(".github/workflows/ci.yml"));

    [Fact]
    public void The_workflow_runs_the_one_script_on_a_whole_history_and_may_only_read()
    {
        Assert.Matches(@"(?m)^      - run: \.ci/run$", Workflow);
        Assert.Contains("fetch-depth: 0", Workflow, StringComparison.Ordinal);
        Assert.Matches(@"(?m)^permissions:\n  contents: read\n\n", Workflow);
        Assert.DoesNotContain(": write", Workflow, StringComparison.Ordinal);
        Assert.DoesNotContain("secrets.", Workflow, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Fast", "5")]
    public void The_end_to_end_tests_run_on_the_native_build_and_each_night_on_the_other()
    {
        Assert.Matches("(?m)^  schedule:\n    - cron: \"[0-9]+ [0-9]+ \\* \\* \\*\"", Workflow);
        Assert.Contains("END_TO_END: ${{ github.event_name == 'schedule' && 'dotnet' || 'native' }}", Workflow,
            StringComparison.Ordinal);
        Assert.Contains("build=${END_TO_END:-native}", File.ReadAllText(Repository.File("test/run")),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Every_action_is_pinned_to_a_commit()
    {
        var used = Regex.Matches(Workflow, @"uses: (?<action>\S+)").Select(use => use.Groups["action"].Value).ToList();
        Assert.NotEmpty(used);
        Assert.All(used, action => Assert.Matches("@[0-9a-f]{40}$", action));
    }

    [Fact]
    public void Updates_are_asked_for_wherever_versions_are_named()
    {
        var updates = File.ReadAllText(Repository.File(".github/dependabot.yml"));
        var asked = Regex.Matches(updates, @"package-ecosystem: (?<what>\S+)\n    directory: (?<where>\S+)")
            .Select(update => $"{update.Groups["what"].Value} {update.Groups["where"].Value}");
        Assert.Equal(["github-actions /", "npm /test/Coffer.EndToEnd/sdk", "nuget /"], asked.Order());
        Assert.True(File.Exists(Repository.File("test/Coffer.EndToEnd/sdk/package-lock.json")));
    }

    [Fact]
    public void Editors_know_the_width_that_a_test_holds() =>
        Assert.Matches("(?m)^max_line_length = 120$", File.ReadAllText(Repository.File(".editorconfig")));
}
