using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Coffer.Telemetry;

namespace Coffer.Tests.Telemetry;

/// <summary>
/// <c>/metrics</c> of a server: where it is, and that what happens is counted. Other servers of the tests count in the
/// same process, so a count is only ever looked at for how it grows; that it is right a process of its own shows.
/// </summary>
[Trait("Telemetry", "1")]
public sealed partial class MetricsApiTests : ServerTests
{
    private const string Free = "http://127.0.0.1:0";

    private readonly HttpClient http = new();

    public override async ValueTask DisposeAsync()
    {
        http.Dispose();
        await base.DisposeAsync();
    }

    [Fact]
    public async Task It_is_nowhere_unless_there_is_a_second_address_and_never_where_apps_ask()
    {
        Assert.Equal(404, await StatusAsync(Server.Url));
        await AgainAsync(metrics: false, admin: true);
        Assert.Equal((404, 200), (await StatusAsync(Server.Url), await StatusAsync(Server.AdminUrl!)));
        await AgainAsync(metrics: true, admin: true);
        Assert.Equal((404, 404), (await StatusAsync(Server.Url), await StatusAsync(Server.AdminUrl!)));
        var own = Server.MetricsUrl!;
        Assert.Equal((200, 404), (await StatusAsync(own), await StatusAsync(own, "/v1/apps/secrets")));
        Assert.Equal(404, await StatusAsync(own, "/readyz"));
        using var post = await http.PostAsync(new Uri(own, "/metrics"), null);
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "GET"),
            (post.StatusCode, post.Content.Headers.Allow.First()));
        using var got = await http.GetAsync(new Uri(own, "/metrics"));
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8",
            got.Content.Headers.GetValues("Content-Type").Single());
    }

    [Fact]
    public async Task What_happens_is_counted()
    {
        await AgainAsync(metrics: true, admin: false);
        var before = await ReadAsync();
        var client = Server.Client();
        await client.Set("name-1");
        await client.Find("name-1", null, ("expand[]", "payload"));
        await client.Find("name-2");
        await Server.Client("sk_test_unknown").List();
        await Server.Client().Delete("name-1");
        await Server.Admin.Get("/admin/v1/status");
        var after = await ReadAsync();
        Assert.All((string[])
        [
            "coffer_secrets_operations_total{coffer_verb=\"set\",coffer_outcome=\"ok\"}",
            "coffer_secrets_operations_total{coffer_verb=\"find\",coffer_outcome=\"ok\"}",
            "coffer_secrets_operations_total{coffer_verb=\"find\",coffer_outcome=\"absent\"}",
            "coffer_secrets_operations_total{coffer_verb=\"list\",coffer_outcome=\"refused\"}",
            "coffer_secrets_operations_total{coffer_verb=\"delete\",coffer_outcome=\"ok\"}",
            "coffer_requests_refused_total{coffer_reason=\"unknown_key\",http_response_status_code=\"401\"}",
            "coffer_requests_refused_total{coffer_reason=\"no_such_secret\",http_response_status_code=\"404\"}",
            "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_response_status_code=\"200\","
                + "http_route=\"/admin/v1/status\",url_scheme=\"http\"}",
            "coffer_commit_duration_seconds_count{coffer_lane=\"ordinary\",coffer_outcome=\"stored\"}",
            "coffer_commit_sync_duration_seconds_count",
            "coffer_commit_wait_seconds_count{coffer_lane=\"ordinary\"}",
            "coffer_commit_batch_size_sum{coffer_lane=\"ordinary\"}",
            "coffer_tenants_lookups_total{coffer_cache=\"hit\"}",
            "coffer_tenants_lookups_total{coffer_cache=\"miss\"}",
            "coffer_audit_entries_total",
            "coffer_audit_written_bytes_total",
        ], series => Assert.True(after.GetValueOrDefault(series) > before.GetValueOrDefault(series), series));
        Assert.Equal(1, after["coffer_ready{coffer_part=\"storage\"}"]);
        Assert.Equal(0, after["coffer_warning{coffer_part=\"reaper\"}"]);
        Assert.True(after["coffer_disk_free_bytes{coffer_directory=\"data\"}"] > 0);
        Assert.True(after["coffer_tenants_open"] >= 1);
        Assert.Equal(1, after["coffer_root_key_version"]);
    }

    [Fact]
    public async Task Apps_are_counted_by_their_ids_only_as_many_as_the_setting_says()
    {
        await AgainAsync(metrics: true, admin: false, apps: 1);
        await Server.Client().Set("name-1");
        await Server.Client(Server.OtherAppKey).Set("name-1");
        var series = (await ReadAsync()).Keys.Where(
            key => key.StartsWith("coffer_app_requests_total", StringComparison.Ordinal)).ToList();
        Assert.Contains("coffer_app_requests_total{coffer_app=\"_OTHER\"}", series);
        Assert.DoesNotContain(series, each => each.Contains(Server.OtherApp, StringComparison.Ordinal));
    }

    [Fact]
    public async Task No_value_of_an_attribute_is_a_clients()
    {
        await AgainAsync(metrics: true, admin: false);
        const string Canary = "canary7f3a";
        await Server.Client().Set(Canary, payload: Canary);
        await Server.Client().Find(Canary, Canary);
        await Server.Client($"sk_test_{Canary}").Get($"/v1/{Canary}");
        await Server.Client(account: $"acct_{Canary}").Set(Canary);
        using var odd = new HttpRequestMessage(new HttpMethod(Canary), new Uri(Server.Url, $"/{Canary}?{Canary}"));
        using var refused = await http.SendAsync(odd);
        var text = await http.GetStringAsync(new Uri(Server.MetricsUrl!, "/metrics"));
        Assert.DoesNotContain(Canary, text, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("http_request_method=\"_OTHER\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Secrets_are_counted_by_mode_and_by_when_they_expire()
    {
        foreach (var (name, days) in ((string, double?)[])[("a", null), ("b", 0.5), ("c", 6), ("d", 29), ("e", 31)])
        {
            (string, string)[] expires = days is { } left
                ? [("expires_at", $"{Server.Time.Seconds + (long)(left * 86_400)}")]
                : [];
            var set = await Server.Client().Post("/v1/apps/secrets",
                [("name", name), ("payload", "p"), ("scope[type]", "account"), .. expires]);
            Assert.Equal(200, set.Status);
        }

        await Server.Client(Server.Keys.LiveSecretKey).Set("f");
        await AgainAsync(metrics: true, admin: false); // it is counted at the start, and again some seconds later
        Dictionary<string, double> read = [];
        await Shared.Until.SoAsync("the census has counted", async () =>
            (read = await ReadAsync()).ContainsKey("coffer_tenants{coffer_mode=\"live\"}"));
        var engine = PostgresServer.IsChosen ? "postgresql" : "sqlite";
        Assert.Equal((5, 1), (SecretsIn("test"), SecretsIn("live")));
        Assert.Equal([1, 2, 3], ((string[])["1d", "7d", "30d"]).Select(within =>
            read[$"coffer_secrets_expiring{{coffer_mode=\"test\",coffer_within=\"{within}\"}}"]));
        Assert.Equal(1, read["coffer_tenants{coffer_mode=\"test\"}"]);
        Assert.Equal(1, read["coffer_tenants{coffer_mode=\"live\"}"]);

        double SecretsIn(string mode) =>
            read[$"coffer_secrets{{coffer_mode=\"{mode}\",db_system_name=\"{engine}\"}}"];
    }

    [Fact]
    public async Task Every_metric_of_the_table_that_is_read_is_one_that_a_server_reads()
    {
        await AgainAsync(metrics: true, admin: false);
        await Shared.Until.SoAsync("the census has counted", async () =>
            (await ReadAsync()).ContainsKey("coffer_secrets_expiring{coffer_mode=\"live\",coffer_within=\"30d\"}"));
        var read = (await ReadAsync()).Keys.Select(key => key.Split('{')[0]).ToHashSet(StringComparer.Ordinal);
        // Of PostgreSQL, of TLS and of a schedule.
        Metric[] elsewhere =
            [Metrics.ClockOffset, Metrics.CertificateLeft, Metrics.BackupAge, Metrics.BackupPeriod];
        Assert.Empty(Metrics.All.Except(elsewhere).Where(metric => metric is Gauge or ReadCounter)
            .Select(metric => metric.PrometheusName + (metric is ReadCounter ? "_total" : ""))
            .Except(read));
    }

    private Task AgainAsync(bool metrics, bool admin, int apps = 0) => Server.RestartAsync(options => options with
    {
        MetricsListen = metrics ? Free : null,
        AdminListen = admin ? Free : null,
        MetricsApps = apps,
    });

    private async Task<int> StatusAsync(Uri server, string path = "/metrics")
    {
        using var answer = await http.GetAsync(new Uri(server, path));
        return (int)answer.StatusCode;
    }

    private async Task<Dictionary<string, double>> ReadAsync()
    {
        var text = await http.GetStringAsync(new Uri(Server.MetricsUrl!, "/metrics"));
        return Sample().Matches(text).ToDictionary(
            line => line.Groups["series"].Value,
            line => double.Parse(line.Groups["value"].Value, CultureInfo.InvariantCulture));
    }

    [GeneratedRegex(@"^(?<series>[a-z_]+(\{.*\})?) (?<value>\S+)$", RegexOptions.Multiline
        | RegexOptions.ExplicitCapture)]
    private static partial Regex Sample();
}
