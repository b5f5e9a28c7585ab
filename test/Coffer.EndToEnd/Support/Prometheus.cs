using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>A real Prometheus that asks one server each second, over TLS, with the alerts of packaging.</summary>
internal sealed class Prometheus : IAsyncDisposable
{
    private readonly TemporaryDirectory data;
    private readonly Beside program;
    private readonly HttpClient http;

    private Prometheus(TemporaryDirectory data, Beside program, Uri url)
    {
        (this.data, this.program) = (data, program);
        http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = url };
    }

    public static string Alerts { get; } =
        Path.Combine(Needs.Repository, "packaging", "prometheus", "coffer-alerts.yml");

    /// <param name="target">What it asks.</param>
    /// <param name="authority">PEM file with the certificate that it trusts.</param>
    public static async Task<Prometheus> StartAsync(Uri target, string authority)
    {
        var at = Needs.OnPath("prometheus");
        var (data, port) = (new TemporaryDirectory(), PostgresPrograms.FreePort());
        await File.WriteAllTextAsync(data.File("prometheus.yml"), $$"""
            global: {scrape_interval: 1s, evaluation_interval: 1s}
            rule_files: ['{{Alerts}}']
            scrape_configs:
              - job_name: coffer
                scheme: https
                tls_config: {ca_file: '{{authority}}'}
                static_configs: [{targets: ['{{target.Authority}}']}]
            """);
        var server = Beside.Start(at,
        [
            $"--config.file={data.File("prometheus.yml")}", $"--storage.tsdb.path={data.File("data")}",
            $"--web.listen-address=127.0.0.1:{port}",
        ]);
        var prometheus = new Prometheus(data, server, new Uri($"http://127.0.0.1:{port}"));
        try
        {
            await Until.ListensAsync(port, () => server.HasEnded, () => server.Stderr);
            // Until it has read what it kept it answers with 503.
            await Until.SoAsync("it is ready", prometheus.IsReadyAsync, null, () => server.Stderr);
            await Until.SoAsync("it has asked twice",
                async () => (await prometheus.FindAsync("count_over_time(up[1m])")) is [>= 2], null,
                () => server.Stderr);
            return prometheus;
        }
        catch
        {
            await prometheus.DisposeAsync();
            throw;
        }
    }

    private async Task<bool> IsReadyAsync()
    {
        using var answer = await http.GetAsync("/-/ready", TestContext.Current.CancellationToken);
        return answer.IsSuccessStatusCode;
    }

    /// <summary>The values of what a query finds; those that are no numbers are left out.</summary>
    public async Task<IReadOnlyList<double>> FindAsync(string query)
    {
        using var answer = await http.PostAsync("/api/v1/query",
            new FormUrlEncodedContent([new("query", query)]), TestContext.Current.CancellationToken);
        var json = await answer.Content.ReadFromJsonAsync<JsonElement>(TestContext.Current.CancellationToken);
        Assert.True(json.GetProperty("status").GetString() == "success", $"{query}: {json}");
        return [.. json.GetProperty("data").GetProperty("result").EnumerateArray()
            .Select(series => double.Parse(series.GetProperty("value")[1].GetString()!, CultureInfo.InvariantCulture))
            .Where(value => !double.IsNaN(value))];
    }

    /// <summary>The names of the alerts that it knows, and what went wrong with one.</summary>
    public async Task<(IReadOnlyList<string> Names, IReadOnlyList<string> Errors)> AlertsAsync()
    {
        var json = await http.GetFromJsonAsync<JsonElement>("/api/v1/rules", TestContext.Current.CancellationToken);
        var rules = json.GetProperty("data").GetProperty("groups").EnumerateArray()
            .SelectMany(group => group.GetProperty("rules").EnumerateArray()).ToList();
        return ([.. rules.Select(rule => rule.GetProperty("name").GetString()!)],
            [.. rules.Where(HasFailed).Select(rule => $"{rule}")]);

        static bool HasFailed(JsonElement rule) =>
            rule.TryGetProperty("lastError", out var error) && error.GetString() is { Length: > 0 };
    }

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        await program.DisposeAsync();
        data.Dispose();
    }
}
