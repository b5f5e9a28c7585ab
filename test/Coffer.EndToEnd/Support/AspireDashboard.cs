using System.Net.Http.Json;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The Aspire dashboard as a collector of OTLP (the NuGet package Aspire.Dashboard.Sdk.linux-x64, which the build
/// fetches): what it was sent it gives back by its API.
/// </summary>
internal sealed class AspireDashboard : IAsyncDisposable
{
    /// <summary>What senders have to name.</summary>
    public const string Key = "k1";

    private const string Reading = "r1";

    private readonly TemporaryDirectory copy;
    private readonly Beside program;
    private readonly HttpClient http;

    private AspireDashboard(TemporaryDirectory copy, Beside program, Uri url, string endpoint)
    {
        (this.copy, this.program, Endpoint) = (copy, program, endpoint);
        http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = url };
        http.DefaultRequestHeaders.Add("X-API-Key", Reading);
    }

    /// <summary>A span as it came.</summary>
    /// <param name="Links">The spans that it is linked to.</param>
    /// <param name="Text">All that it says.</param>
    public sealed record Span(
        string Name, string Trace, string Id, string Parent, IReadOnlyList<string> Links, string Text);

    /// <summary>Where spans are sent, by gRPC.</summary>
    public string Endpoint { get; }

    public static async Task<AspireDashboard> StartAsync()
    {
        var packages = Environment.GetEnvironmentVariable("NUGET_PACKAGES") ?? Path.Combine(
            Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        var package = Path.Combine(packages, "aspire.dashboard.sdk.linux-x64");
        var version = Directory.Exists(package) ? Directory.GetDirectories(package).Max() : null;
        if (version is null)
            Needs.Missing("Aspire.Dashboard.Sdk.linux-x64 (dotnet restore)");
        var tools = new TemporaryDirectory();
        var folder = Path.Combine(version!, "tools");
        foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
        {
            var to = tools.File(Path.GetRelativePath(folder, file));
            Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            File.Copy(file, to);
        }

        var at = tools.File("Aspire.Dashboard");
        File.SetUnixFileMode(at, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        var (web, grpc) = (PostgresPrograms.FreePort(), PostgresPrograms.FreePort());
        var dashboard = Beside.Start(at, [], new Dictionary<string, string>
        {
            ["ASPNETCORE_URLS"] = $"http://127.0.0.1:{web}",
            ["ASPIRE_DASHBOARD_OTLP_ENDPOINT_URL"] = $"http://127.0.0.1:{grpc}",
            ["ASPIRE_DASHBOARD_OTLP_HTTP_ENDPOINT_URL"] = $"http://127.0.0.1:{PostgresPrograms.FreePort()}",
            ["Dashboard__Frontend__AuthMode"] = "Unsecured",
            ["Dashboard__Otlp__AuthMode"] = "ApiKey",
            ["Dashboard__Otlp__PrimaryApiKey"] = Key,
            ["Dashboard__Api__AuthMode"] = "ApiKey",
            ["Dashboard__Api__PrimaryApiKey"] = Reading,
        }, tools.Path);
        var started = new AspireDashboard(
            tools, dashboard, new Uri($"http://127.0.0.1:{web}"), $"http://127.0.0.1:{grpc}");
        try
        {
            foreach (var port in (int[])[grpc, web])
                await Until.ListensAsync(port, () => dashboard.HasEnded, () => dashboard.Stdout + dashboard.Stderr);
            return started;
        }
        catch
        {
            await started.DisposeAsync();
            throw;
        }
    }

    /// <summary>All spans that it was sent, once they are enough.</summary>
    public async Task<IReadOnlyList<Span>> SpansAsync(Func<IReadOnlyList<Span>, bool> areEnough)
    {
        IReadOnlyList<Span> spans = [];
        await Until.SoAsync("the spans are there", async () =>
        {
            var json = await http.GetFromJsonAsync<JsonElement>(
                "/api/telemetry/spans", TestContext.Current.CancellationToken);
            spans = [.. Find(json, "spans").SelectMany(list => list.EnumerateArray()).Select(Read)];
            return areEnough(spans);
        }, TimeSpan.FromSeconds(30), () => string.Join('\n', spans.Select(span => span.Text)));
        return spans;
    }

    public async ValueTask DisposeAsync()
    {
        http.Dispose();
        await program.DisposeAsync();
        copy.Dispose();
    }

    private static Span Read(JsonElement span) => new(
        Text(span, "name"), Text(span, "traceId"), Text(span, "spanId"), Text(span, "parentSpanId"),
        span.TryGetProperty("links", out var links) && links.ValueKind == JsonValueKind.Array
            ? [.. links.EnumerateArray().Select(link => Text(link, "spanId"))]
            : [],
        span.GetRawText());

    private static string Text(JsonElement json, string name) =>
        json.TryGetProperty(name, out var value) ? value.GetString() ?? "" : "";

    // Every value of that name, however deep it stands.
    private static IEnumerable<JsonElement> Find(JsonElement json, string name) => json.ValueKind switch
    {
        JsonValueKind.Object => json.EnumerateObject().SelectMany(
            each => each.Name == name ? [each.Value] : Find(each.Value, name)),
        JsonValueKind.Array => json.EnumerateArray().SelectMany(each => Find(each, name)),
        _ => [],
    };
}
