using System.Text.Json;
using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// <c>coffer --version</c> and <c>coffer status</c>: what to name in a report, and what runs at the other end.
/// </summary>
[Trait("Build", "both")]
[Trait("Firm ground", "1")]
public sealed partial class StatusTests : IDisposable
{
    private readonly TemporaryDirectory data = new();

    [Fact]
    public async Task The_version_names_the_program_its_commit_its_SQLite_and_its_runtime()
    {
        var lines = (await Ran.CofferAsync("--version")).EndedWith(0).Stdout.TrimEnd('\n').Split('\n');
        Assert.Collection(lines.Take(4),
            line => Assert.Matches(@"^coffer \d+\.\d+\.\d+", line),
            line => Assert.Matches("^commit ([0-9a-f]{40,64}|unknown)$", line),
            line => Assert.Matches(@"^SQLite 3\.\d+\.\d+$", line),
            line => Assert.Matches(@"^\.NET 10\.", line));
        Assert.Equal(Needs.IsNative ? ["native, without azurekv: gcpkms:"] : [], lines.Skip(4));
        Assert.Equal(lines, (await Ran.CofferAsync("--version", "what")).EndedWith(0).Stdout.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task A_running_server_shows_what_it_is_and_the_settings_that_are_not_defaults()
    {
        await using var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "7");
        var cli = new AdminCli(coffer);
        var status = await cli.JsonAsync("status");
        var settings = Settings(status);
        Assert.Equal(["data", "drain", "listen", "ready-file", "secrets-per-scope"], settings.Keys.Order());
        Assert.Equal(("7", data.Path), (settings["secrets-per-scope"], settings["data"]));

        var shown = await cli.OkAsync("status");
        Assert.Matches(@"^VERSION +COMMIT +ENGINE +\.NET +NODE +STARTED +UPTIME\s*\n", shown);
        Assert.Matches(@"\n\d+\.\d+\.\d+ +\w+ +sqlite 3\.\d+\.\d+ +10\.[\d.]+ +node_1 +\d{4}-.*Z +\d+[sm]", shown);
        Assert.Matches(@"\nsecrets-per-scope +7 +store\b", shown);

        var version = (await Ran.CofferAsync("--version")).Stdout;
        var engine = status.GetProperty("engine");
        Assert.Contains($"coffer {AdminCli.Text(status, "version")}\n", version, StringComparison.Ordinal);
        Assert.Contains($"SQLite {AdminCli.Text(engine, "version")}\n", version, StringComparison.Ordinal);
    }

    [Fact]
    public async Task On_PostgreSQL_the_servers_release_is_shown_and_the_connection_is_not()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var coffer = await CofferProcess.ServeAsync(data, "--store", cluster.Store(cluster.Primary.Port));
        var cli = new AdminCli(coffer);
        var status = await cli.JsonAsync("status");
        var engine = status.GetProperty("engine");
        Assert.Equal("postgresql", AdminCli.Text(engine, "name"));
        Assert.Matches(Release(), AdminCli.Text(engine, "version"));
        Assert.Equal("[redacted]", Settings(status)["store"]);
        Assert.DoesNotContain("Username=", await cli.OkAsync("status"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_app_key_is_not_answered()
    {
        await using var coffer = await CofferProcess.ServeAsync(data);
        (await new AdminCli(coffer).RunAsync(["status"], coffer.TestKey)).Refused(77, "admin key");
    }

    public void Dispose() => data.Dispose();

    private static Dictionary<string, string> Settings(JsonElement status) =>
        status.GetProperty("settings").EnumerateArray().ToDictionary(
            setting => AdminCli.Text(setting, "name"), setting => AdminCli.Text(setting, "value"));

    [GeneratedRegex(@"^\d+(\.\d+)+$")]
    private static partial Regex Release();
}
