using System.Text.Json;
using System.Text.RegularExpressions;
using Coffer.Shared;
using Coffer.Telemetry;
using Coffer.Tests.House;

namespace Coffer.Tests.Telemetry;

/// <summary>
/// That alerts and the dashboard ask for what there is, and that somebody who is woken up finds what to do. Whether
/// Prometheus can read and answer them the tests with real programs try.
/// </summary>
[Trait("Telemetry", "1")]
public sealed partial class AlertsTests
{
    private static readonly string Rules = File.ReadAllText(Repository.File("packaging/prometheus/coffer-alerts.yml"));

    private static readonly string Tests =
        File.ReadAllText(Repository.File("packaging/prometheus/coffer-alerts.test.yml"));

    private static IEnumerable<string> Alerts => Name().Matches(Rules).Select(match => match.Groups["name"].Value);

    [Fact]
    public void Every_alert_has_a_section_that_says_what_to_do_and_every_section_an_alert()
    {
        var page = Document.Of("docs/operate/alerts.md");
        Assert.Equal(Alerts.Order(), page.Headings.Where(
            heading => heading.StartsWith("Coffer", StringComparison.Ordinal)).Order());
        var links = Link().Matches(Rules).Select(match => match.Groups["to"].Value).ToList();
        Assert.Equal(Alerts.Count(), links.Count);
        Assert.All(links, link => Assert.Contains(link, page.Anchors));
    }

    [Fact]
    public void A_page_and_a_ticket_are_what_the_section_says()
    {
        var text = Document.Of("docs/operate/alerts.md").Text;
        foreach (var alert in Regex.Matches(Rules, @"- alert: (?<name>\w+)(.|\n)*?severity: (?<severity>\w+)",
            RegexOptions.ExplicitCapture).Cast<Match>())
        {
            var begins = alert.Groups["severity"].Value == "page" ? "*Page.*" : "*Ticket.*";
            Assert.Contains($"### {alert.Groups["name"].Value}\n\n{begins} ", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Every_alert_is_tried_where_it_fires_and_where_all_is_well() => Assert.All(Alerts, alert =>
    {
        Assert.Contains($"  - name: {alert}\n", Tests, StringComparison.Ordinal);
        Assert.Contains($"  - name: {alert}, when all is well\n", Tests, StringComparison.Ordinal);
    });

    [Fact]
    public void What_alerts_and_the_dashboard_ask_for_is_counted_and_has_the_attributes()
    {
        Assert.Empty(Unknown(Rules));
        Assert.Empty(Unknown(string.Join('\n', Dashboard.Queries(Repository.File("")))));
        Assert.Equal(["coffer_nothing", "coffer_ready{place}"], Unknown("coffer_nothing + coffer_ready{place=\"x\"}"));
    }

    private static IEnumerable<string> Unknown(string queries)
    {
        string[] parts = ["", "_total", "_bucket", "_sum", "_count"];
        foreach (var asked in Asked().Matches(queries).Cast<Match>())
        {
            var name = asked.Groups["name"].Value;
            var metric = Metrics.All.FirstOrDefault(
                each => parts.Any(part => each.PrometheusName + part == name));
            if (metric is null)
            {
                yield return name;
                continue;
            }

            var labels = metric.Labels.Select(Metric.InPrometheus).Concat(["job", "instance", "le"]).ToHashSet();
            foreach (var label in Label().Matches(asked.Groups["labels"].Value)
                .Select(each => each.Groups["name"].Value).Where(label => !labels.Contains(label)))
                yield return $"{name}{{{label}}}";
        }
    }

    [GeneratedRegex(@"- alert: (?<name>\w+)\n", RegexOptions.ExplicitCapture)]
    private static partial Regex Name();

    [GeneratedRegex(@"runbook_url: docs/operate/alerts\.md#(?<to>\w+)\n", RegexOptions.ExplicitCapture)]
    private static partial Regex Link();

    // Names of metrics, with what is asked of their attributes; a label of `by` begins as one and is none.
    [GeneratedRegex(
        @"\b(?<name>(http_server|coffer|process)_(?!(lane|mode|part|outcome|reason|app|verb|file|directory|within"
            + @"|wrapper|operation|cache)\b)\w+)(\{(?<labels>[^}]*)\})?", RegexOptions.ExplicitCapture)]
    private static partial Regex Asked();

    [GeneratedRegex(@"(?<name>\w+)\s*(=~|!=|=)", RegexOptions.ExplicitCapture)]
    private static partial Regex Label();
}
