namespace Coffer.Tests.Api.Management;

/// <summary>What runs here and since when (docs/management.md, "Status").</summary>
[Trait("Firm ground", "1")]
public sealed class StatusApiTests : ServerTests
{
    private const string Status = "/admin/v1/status";

    [Fact]
    public async Task A_node_says_what_it_runs_and_on_which_engine()
    {
        var status = (await Server.Admin.Get(Status)).IsOk().Json;
        Assert.Equal("object commit dotnet engine node settings started uptime version", status.Fields());
        Assert.Equal("status", (string?)status["object"]);
        Assert.Matches(@"^\d+\.\d+\.\d+$", (string?)status["version"]);
        Assert.Equal(Environment.Version.ToString(), (string?)status["dotnet"]);
        Assert.Equal("node_1", (string?)status["node"]);
        Assert.Equal(PostgresServer.IsChosen ? "connections name statements version" : "name version",
            status["engine"]!.Fields());
        Assert.Equal(PostgresServer.IsChosen ? "postgresql" : "sqlite", (string?)status["engine"]!["name"]);
        var oldest = PostgresServer.IsChosen ? new Version(14, 0) : new Version(3, 53);
        Assert.InRange(Version.Parse((string)status["engine"]!["version"]!), oldest, new Version(100, 0));
        Assert.Matches("^[0-9a-f]{7,64}$", (string?)status["commit"] ?? "0000000"); // a source without git has none
    }

    [Fact]
    public async Task Uptime_is_measured_and_not_told_by_a_clock_that_is_set()
    {
        var started = Server.Time.Seconds;
        Server.Time.Move(TimeSpan.FromSeconds(90));
        Server.Time.Move(TimeSpan.FromDays(-2)); // somebody sets the clock back
        var status = (await Server.Admin.Get(Status)).IsOk().Json;
        Assert.Equal((started, 90L), ((long)status["started"]!, (long)status["uptime"]!));
        await Server.StopAsync();
        await Server.StartAgainAsync();
        status = (await Server.Admin.Get(Status)).IsOk().Json;
        Assert.Equal((Server.Time.Seconds, 0L), ((long)status["started"]!, (long)status["uptime"]!));
    }

    [Fact]
    public async Task Nothing_else_is_accepted()
    {
        (await Server.Admin.Get(Status, ("node", "node_1"))).IsError(400, "parameter_unknown", "node");
        (await Server.Admin.Post(Status, [])).IsError(404, null, null);
        (await Server.Client().Get(Status)).IsError(403, null, null);
    }
}
