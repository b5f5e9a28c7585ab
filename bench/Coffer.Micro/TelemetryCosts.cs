using System.Diagnostics;
using System.Globalization;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Micro;

/// <summary>
/// What metrics and traces cost a find, in processor time: three servers in this process, which so run the same code,
/// are measured in turn by wrk. Only the first neither counts nor sends; the second counts and is asked for its metrics
/// each second; the third also sends a span for one request in a hundred to a collector.
/// </summary>
internal sealed class TelemetryCosts(int seconds, string collector)
{
    private const int PairsOfServers = 5;

    private static readonly string[] Modes = ["none", "metrics", "traces"];

    private readonly Dictionary<string, (Server Server, string Key, string Data)> servers = [];
    private readonly List<double> metrics = [], traces = [];
    private double sent, finds;

    /// <summary>Prints each pair, and the medians of their ratios.</summary>
    public static async Task RunAsync(int pairs, int seconds, int warm, string collector)
    {
        ReadingThread.Use();
        var costs = new TelemetryCosts(seconds, collector);
        Console.WriteLine("pair    none us   metrics     ratio    traces     ratio");
        for (var pair = 0; pair < pairs; pair++)
        {
            if (pair % PairsOfServers == 0)
                await costs.RenewAsync(pair / PairsOfServers, pair == 0 ? warm : 1);
            costs.Measure(pair);
        }

        await costs.StopAsync();
        costs.Show();
    }

    // New servers, started in another order: where one lies in memory is worth a percent, too.
    private async Task RenewAsync(int turn, int warm)
    {
        await StopAsync();
        var order = Turned(turn);
        foreach (var mode in order)
            await StartAsync(mode);
        foreach (var mode in order)
            Load(mode, "set", 2); // every name is there
        foreach (var mode in order.Concat(order))
            Load(mode, "find", (warm + 1) / 2);
    }

    private async Task StopAsync()
    {
        foreach (var (server, _, data) in servers.Values)
        {
            await server.DisposeAsync();
            Directory.Delete(data, recursive: true);
        }

        servers.Clear();
    }

    private async Task StartAsync(string mode)
    {
        var data = Directory.CreateTempSubdirectory("coffer-telemetry-").FullName;
        string[] sending = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_METRICS_EXPORTER",
            "OTEL_TRACES_SAMPLER_ARG"];
        string?[] values = mode == "traces" ? [collector, "http/protobuf", "none", "0.01"] : [null, null, null, null];
        foreach (var (name, value) in sending.Zip(values))
            Environment.SetEnvironmentVariable(name, value);
        var server = await Server.StartAsync(new CofferOptions
        {
            Data = data,
            Listen = "http://127.0.0.1:0",
            // Where bench/telemetry asks.
            MetricsListen = mode switch
            {
                "metrics" => "http://127.0.0.1:26424",
                "traces" => "http://127.0.0.1:26425",
                _ => null,
            },
            RatePerKey = 0,
            KeptPerApp = 0,
            AuditPerApp = 0,
        }, TimeProvider.System, default);
        servers[mode] = (server, server.FirstKeys!.TestSecretKey, data);
    }

    private void Measure(int pair)
    {
        var took = new Dictionary<string, double>();
        var before = Sent();
        foreach (var mode in pair % 2 == 0 ? Turned(pair) : Turned(pair).Reverse())
        {
            var (cost, count) = Load(mode, "find", seconds);
            took[mode] = cost;
            finds += mode == "traces" ? count : 0;
        }

        sent += Sent() - before;
        metrics.Add(took["metrics"] / took["none"]);
        traces.Add(took["traces"] / took["none"]);
        Console.WriteLine($"{pair + 1,-5} {took["none"],9:F2} {took["metrics"],9:F2} {metrics[^1],9:F3} "
            + $"{took["traces"],9:F2} {traces[^1],9:F3}");
    }

    private void Show()
    {
        foreach (var (name, ratios) in new[] { ("metrics", metrics), ("traces", traces) })
        {
            ratios.Sort();
            Console.WriteLine($"{name}, median of the ratios and quartiles: {At(ratios, 0.5):F3} "
                + $"{At(ratios, 0.25):F3} {At(ratios, 0.75):F3}");
        }

        Console.WriteLine($"the thread that sends: {sent / 1000 / finds:F3} us a find");
    }

    // Each comes first as often as the others.
    private static string[] Turned(int by) => [.. Modes[(by % 3)..], .. Modes[..(by % 3)]];

    /// <returns>Microseconds of processor time a request, of the whole process, and how many there were.</returns>
    private (double Cost, long Count) Load(string mode, string script, int duration)
    {
        var (server, key, _) = servers[mode];
        var start = new ProcessStartInfo("wrk", ["-t1", "-c32", $"-d{duration}s", "-H", $"Authorization: Bearer {key}",
            "-s", $"bench/{script}.lua", server.Url.ToString().TrimEnd('/')])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            Environment = { ["key"] = key, ["run"] = $"{Stopwatch.GetTimestamp()}" },
        };
        var before = Environment.CpuUsage.TotalTime;
        using var wrk = Process.Start(start)!;
        var said = wrk.StandardOutput.ReadToEnd();
        var took = Environment.CpuUsage.TotalTime - before;
        var line = said.Split('\n').FirstOrDefault(each => each.Contains(" requests in ", StringComparison.Ordinal));
        var count = long.Parse(line?.Trim().Split(' ')[0] ?? "0", CultureInfo.InvariantCulture);
        if (count == 0 || said.Contains("Non-2xx", StringComparison.Ordinal))
            throw new InvalidOperationException($"requests were refused: {said}");
        return (took.TotalMicroseconds / count, count);
    }

    // Nanoseconds: it works for less than a tick at a time.
    private static double Sent() => Directory.GetDirectories("/proc/self/task")
        .Where(thread => File.ReadAllText($"{thread}/comm").StartsWith("OpenTelemetry", StringComparison.Ordinal))
        .Select(thread => File.ReadAllText($"{thread}/schedstat").Split(' ')[0])
        .Sum(nanoseconds => double.Parse(nanoseconds, CultureInfo.InvariantCulture));

    private static double At(List<double> sorted, double share)
    {
        var at = share * (sorted.Count - 1);
        var (below, above) = (sorted[(int)at], sorted[(int)Math.Ceiling(at)]);
        return below + ((above - below) * (at - Math.Floor(at)));
    }
}
