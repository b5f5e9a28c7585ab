using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The real program as its unit starts it: what it tells the service manager, and a log of which every line is an
/// object, whatever clients send.
/// </summary>
[Trait("Telemetry", "2")]
public sealed class ServiceTests : IDisposable
{
    private const string Marker = "canary";

    private static readonly string Unit = Path.Combine(Needs.Repository, "packaging", "systemd", "coffer.service");

    private readonly TemporaryDirectory data = new();
    private readonly TemporaryDirectory own = new();

    [Fact]
    public async Task As_a_service_it_says_how_it_is_and_each_request_is_in_its_log_by_its_id()
    {
        using var manager = new NotifySocket(own.File("notify"));
        await File.WriteAllTextAsync(own.File("coffer.conf"), $"data = {data.Path}\naccess-log = failures\n");
        await using var coffer = await CofferProcess.StartAsync(
            [.. Command().Select(word => word.EndsWith(".conf", StringComparison.Ordinal)
                ? own.File("coffer.conf")
                : word), "--access-log", "all"],
            environment: new Dictionary<string, string>
            {
                ["NOTIFY_SOCKET"] = own.File("notify"),
                ["WATCHDOG_USEC"] = "400000",
            });
        Assert.Equal($"READY=1\nSTATUS=It serves {coffer.Url}", await manager.NextAsync());
        Assert.Equal("WATCHDOG=1", await manager.NextAsync());
        Assert.Equal("WATCHDOG=1", await manager.NextAsync());

        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync(Marker, $"{Marker}-payload")).Is(200);
        (await client.FindAsync(Marker)).Is(200);
        var ids = new List<string>();
        foreach (var (key, target) in ((string, string)[])[
            (coffer.TestKey, $"/v1/{Marker}%0a%0d%1b%5b2K%e2%80%ae"),
            (coffer.TestKey, $"/v1/apps/secrets?{Marker}=%0a"), ($"sk_test_{Marker}", "/v1/apps/secrets"),
            ("", "/v1/apps/secrets")])
            ids.Add(await RequestIdAsync(coffer.Url, target, key));
        foreach (var bytes in (string[])[$"GET /{Marker}\u001b[2J HTTP/1.1\r\n\r\n", $"\u0001{Marker}\r\n\r\n",
            $"{Marker} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-{Marker}: \u009b2J\r\n\r\n"])
            await SendAsync(coffer.Url, bytes);

        coffer.Signal(Signals.Hup);
        Assert.Matches("^RELOADING=1\nMONOTONIC_USEC=[0-9]+$", await manager.NextAsync("RELOADING"));
        Assert.StartsWith("READY=1\n", await manager.NextAsync("READY"), StringComparison.Ordinal);
        coffer.Signal();
        Assert.StartsWith("STOPPING=1\n", await manager.NextAsync("STOPPING"), StringComparison.Ordinal);
        Assert.Equal(0, await coffer.ExitAsync());

        Assert.DoesNotContain(Marker, coffer.Stderr.Replace(data.Path, "", StringComparison.Ordinal),
            StringComparison.Ordinal);
        var lines = coffer.Stderr.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonElement.Parse(line)).ToArray();
        var start = Assert.Single(lines, line => line.GetProperty("body").GetString() == "Coffer starts");
        Assert.Equal(("sqlite", data.Path, "json"), (Fact(start, "db.system.name"), Fact(start, "coffer.setting.data"),
            Fact(start, "coffer.setting.log-format")));
        string?[] reasons = [.. ids.Select(id => Fact(Assert.Single(lines, line =>
            Fact(line, "coffer.request_id") == id), "error.type"))];
        Assert.Equal(["unknown_route", "parameter_unknown", "unknown_key", "no_api_key"], reasons);
        Assert.Equal(2, lines.Count(line => Fact(line, "error.type") == "malformed"));
        Assert.Single(lines, line => Fact(line, "http.request.method") == "_OTHER");
        Assert.Equal(2, lines.Count(line => Fact(line, "http.response.status_code") == "200"));
    }

    [Fact]
    public async Task The_unit_is_one_that_systemd_accepts()
    {
        var unit = await File.ReadAllTextAsync(Unit);
        Assert.Contains("\nType=notify\n", unit, StringComparison.Ordinal);
        Assert.Equal("/usr/bin/coffer", Line().Split(' ')[0]);
        await File.WriteAllTextAsync(own.File("coffer.service"),
            unit.Replace("/usr/bin/coffer ", $"{Needs.Program} ", StringComparison.Ordinal));
        var ran = await Ran.ProgramAsync(Needs.OnPath("systemd-analyze"), ["verify", own.File("coffer.service")]);
        Assert.Equal("", ran.EndedWith(0).Stderr);
    }

    public void Dispose()
    {
        data.Dispose();
        own.Dispose();
    }

    private static string Line() => File.ReadLines(Unit).Single(
        line => line.StartsWith("ExecStart=", StringComparison.Ordinal))["ExecStart=".Length..];

    // Without the access log, of which the test wants more.
    private static string[] Command() => [.. Line().Replace(" --access-log failures", "", StringComparison.Ordinal)
        .Split(' ')[1..]];

    private static string? Fact(JsonElement line, string name) =>
        line.GetProperty("attributes").TryGetProperty(name, out var value) ? value.ToString() : null;

    private static async Task<string> RequestIdAsync(Uri url, string target, string key)
    {
        var answer = await SendAsync(url, string.Create(CultureInfo.InvariantCulture,
            $"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"));
        const string Header = "Request-Id: ";
        var line = answer.Split("\r\n").Single(line => line.StartsWith(Header, StringComparison.OrdinalIgnoreCase));
        return line[Header.Length..];
    }

    private static async Task<string> SendAsync(Uri url, string request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(url.Host, url.Port);
        await using var stream = client.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(request));
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return await reader.ReadToEndAsync();
    }
}
