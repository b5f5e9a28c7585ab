using System.Text.Json;
using System.Text.RegularExpressions;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// What docs/observe.md says, tried with real Prometheus: the twenty questions are answered, the dashboard has data,
/// the alerts are as they are meant. Grafana cannot be had here; what it would ask is asked.
/// </summary>
[Trait("Telemetry", "1")]
public sealed partial class ObserveTests
{
    [Fact]
    public async Task The_twenty_questions_are_answered_and_the_dashboard_has_data()
    {
        Needs.OnPath("prometheus");
        using var data = new TemporaryDirectory();
        using var other = new TemporaryDirectory();
        var pem = PemPair.Make(other);
        await using var coffer = await CofferProcess.ServeAsync(data, "--metrics-listen", "https://127.0.0.1:0",
            "--tls-cert", pem.Cert, "--tls-key", pem.Key, "--metrics-apps", "3", "--backup-directory",
            other.File("backups"));
        var metrics = new Uri(coffer.Ready.GetProperty("metrics_url").GetString()!);
        await using var load = new Load(1, (_, round) => AskAsync(coffer, round));
        await using var prometheus = await Prometheus.StartAsync(metrics, pem.Cert);
        // What wraps root keys is asked by such commands only.
        await new AdminCli(coffer).OkAsync("root-keys", "rotate");

        var questions = Questions();
        Assert.Equal(20, questions.Count);
        var commands = questions.Where(answer => answer.StartsWith("coffer ", StringComparison.Ordinal)).ToList();
        var queries = questions.Except(commands).Concat(DashboardQueries()).ToHashSet();
        Assert.True(queries.Count > 45, $"{queries.Count} queries");
        await Until.SoAsync("each query finds something", async () =>
        {
            foreach (var query in queries.ToList())
            {
                if ((await prometheus.FindAsync(query)).Count > 0)
                    queries.Remove(query);
            }

            return queries.Count == 0;
        }, TimeSpan.FromSeconds(60), () => string.Join('\n', queries));
        foreach (var command in commands)
            Assert.NotEmpty(await new AdminCli(coffer).OkAsync(command.Split(' ')[1..]));

        var (alerts, errors) = await prometheus.AlertsAsync();
        Assert.True(alerts.Count > 20);
        Assert.Empty(errors);
        await Until.SoAsync("the rotation is seen",
            async () => await prometheus.FindAsync("coffer_root_key_version") is [2]);
        await load.MoreAsync(1);
    }

    [Fact]
    public async Task Promtool_has_nothing_to_say_of_the_metrics_and_the_alerts_do_what_they_are_to()
    {
        var promtool = Needs.OnPath("promtool");
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data, "--metrics-listen", "http://127.0.0.1:0"))
        {
            await AskAsync(coffer, 0);
            var metrics = $"{coffer.Ready.GetProperty("metrics_url").GetString()}/metrics";
            // Its first findings would be that names have a unit, or that a help is missing.
            var linted = await Ran.ShellAsync($"{Needs.Curl()} -sf {metrics} | {promtool} check metrics");
            Assert.Equal("", linted.EndedWith(0).Stdout + linted.Stderr);
        }

        (await Ran.ProgramAsync(promtool, ["check", "rules", Prometheus.Alerts])).EndedWith(0);
        (await Ran.ProgramAsync(promtool, ["test", "rules", Prometheus.Alerts.Replace(".yml", ".test.yml",
            StringComparison.Ordinal)])).EndedWith(0);
    }

    /// <summary>What the page answers the questions with, in their order.</summary>
    private static IReadOnlyList<string> Questions() =>
        [.. Question().Matches(File.ReadAllText(Path.Combine(Needs.Repository, "docs", "observe.md")))
            .Select(match => match.Groups["answer"].Value)];

    private static IEnumerable<string> DashboardQueries() => Dashboard.Queries(Needs.Repository).Select(query => query
        .Replace("$__rate_interval", "1m", StringComparison.Ordinal)
        .Replace("$job", "coffer", StringComparison.Ordinal));

    private static async Task AskAsync(CofferProcess coffer, int round)
    {
        using var app = new WireClient(coffer.Url, coffer.LiveKey);
        using var stranger = new WireClient(coffer.Url, "sk_test_nobody");
        (await app.SetAsync($"name-{round % 5}", "payload")).Is(200);
        (await app.FindAsync($"name-{round % 5}")).Is(200);
        (await app.FindBareAsync("nothing")).Is(404);
        (await app.ListAsync()).Is(200);
        (await stranger.FindBareAsync("nothing")).Is(401);
        (await app.PostAsync("/v1/apps/secrets", [("name", "soon"), ("payload", "p"), ("scope[type]", "account"),
            ("expires_at", $"{TimeProvider.System.GetUtcNow().AddHours(2).ToUnixTimeSeconds()}")])).Is(200);
        await Task.Delay(TimeSpan.FromMilliseconds(50), TestContext.Current.CancellationToken);
    }

    [GeneratedRegex(@"^\d+\. [^\n]+\?\n +`(?<answer>[^`]+)`$", RegexOptions.Multiline | RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 5_000)]
    private static partial Regex Question();
}
