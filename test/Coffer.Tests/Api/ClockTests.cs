using System.Text.Json.Nodes;
using Coffer.Tests.Api.Management;
using static Coffer.Tests.Api.Management.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// What a client sees while the clock is set forward and back, and after a restart: right order, and what expires
/// does.
/// </summary>
[Trait("Firm ground", "16")]
public sealed class ClockTests : IAsyncLifetime
{
    private TestServer server = null!;

    public async ValueTask InitializeAsync() => server = await TestServer.StartAsync(secretsPerScope: 100);

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Theory]
    [InlineData(+400)]
    [InlineData(+2)]
    [InlineData(-1)]
    public async Task Secrets_stay_newest_first_over_a_step_there_and_back_with_restarts_between(int days)
    {
        var ids = new List<string>();
        await SetAsync("a");
        server.Time.Step(TimeSpan.FromDays(days));
        await SetAsync("b");
        await RestartAsync();
        await SetAsync("c");
        server.Time.Step(TimeSpan.FromDays(-days));
        await SetAsync("d");
        await RestartAsync();
        await SetAsync("e");
        await RestartAsync();
        await SetAsync("f");

        Assert.Equal(["f", "e", "d", "c", "b", "a"], (await server.Client().List()).IsOk().Names);
        Assert.Equal(ids.Order(StringComparer.Ordinal), ids);
        Assert.Equal(["d", "c", "b", "a"], (await server.Client().List(null, ("starting_after", ids[4]))).IsOk().Names);
        Assert.Equal(["f", "e"], (await server.Client().List(null, ("ending_before", ids[3]))).IsOk().Names);

        async Task SetAsync(string name) => ids.Add((await server.Client().Set(name)).IsOk().Id!);
    }

    [Fact]
    public async Task A_deleted_secrets_id_is_not_passed_by_a_newer_one_after_a_step_back()
    {
        server.Time.Step(TimeSpan.FromDays(400));
        var deleted = (await server.Client().Set("deleted")).IsOk().Id!;
        (await server.Client().Delete("deleted")).IsOk();
        await server.StopAsync();
        server.Time.Step(TimeSpan.FromDays(-400));
        await server.StartAgainAsync();
        (await server.Client().Set("new")).IsOk();
        Assert.Equal(["new"], (await server.Client().List(null, ("ending_before", deleted))).IsOk().Names);
    }

    [Fact]
    public async Task Apps_and_keys_stay_newest_first_over_a_step_back_and_a_restart()
    {
        server.Time.Move(TimeSpan.FromSeconds(1)); // those of one second are in the order of their ids
        var made = new List<string> { await server.NewAppAsync("1") };
        var app = made[0];
        var keys = new List<string>();
        server.Time.Step(TimeSpan.FromDays(400));
        await MakeAsync();
        server.Time.Step(TimeSpan.FromDays(-400));
        await MakeAsync();
        await MakeAsync();
        await RestartAsync();
        await MakeAsync();
        server.Time.Move(TimeSpan.FromDays(401));
        await MakeAsync();
        var newest = (await server.Admin.Get($"{KeysPath}/{keys[^1]}")).IsOk().Json;
        Assert.Equal(server.Time.Seconds - 1, (long)newest["created"]!);

        var listed = (await server.Admin.Get(KeysPath, ("app", app), ("limit", "100"))).Ids();
        Assert.Equal(keys.AsEnumerable().Reverse(), listed);
        Assert.Equal(keys.AsEnumerable().Reverse(), await server.Admin.WalkAsync(KeysPath, 1, ("app", app)));
        Assert.Equal(made.AsEnumerable().Reverse(), (await server.Admin.Get(Apps)).Ids().Take(made.Count));

        async Task MakeAsync()
        {
            made.Add(await server.NewAppAsync("more"));
            keys.Add((await server.NewKeyAsync("secret", app)).Id());
            server.Time.Move(TimeSpan.FromSeconds(1));
            keys.Add((await server.Admin.Post($"{KeysPath}/{keys[^1]}/roll", [("grace_period", "600")])).IsOk().Id!);
            server.Time.Move(TimeSpan.FromSeconds(1));
        }
    }

    [Fact]
    public async Task Reads_go_by_the_clock_and_come_back_with_it_and_readiness_tells_of_the_step()
    {
        (await server.Client().Set("k", "kept", null, ("expires_at", $"{server.Time.Seconds + 86_400}"))).IsOk();
        Assert.Null((await ReadyAsync())["clock"]);

        server.Time.Step(TimeSpan.FromDays(400));
        (await server.Client().Find("k")).IsError(404, "resource_missing", "name");
        var told = await ReadyAsync();
        Assert.Equal("ok", (string?)told["status"]);
        Assert.Contains("stepped forward by 400 days", (string?)told["clock"], StringComparison.Ordinal);

        server.Time.Step(TimeSpan.FromDays(-400));
        Assert.Equal("kept", (await server.Client().Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Contains("stepped back by 400 days", (string?)(await ReadyAsync())["clock"], StringComparison.Ordinal);
        server.Time.Move(TimeSpan.FromHours(1));
        Assert.Null((await ReadyAsync())["clock"]);
    }

    [Fact]
    public async Task A_start_with_a_clock_before_the_last_change_says_so_and_serves()
    {
        (await server.Client().Set("k")).IsOk();
        await server.StopAsync();
        server.Time.Step(TimeSpan.FromDays(-1));
        await server.StartAgainAsync();
        (await server.Client().Find("k")).IsOk();
        Assert.Contains("before the last change", (string?)(await ReadyAsync())["clock"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_clock_before_1970_and_one_at_the_end_of_dates_make_ids_in_order_too()
    {
        server.Time.Step(new DateTimeOffset(9999, 12, 31, 23, 0, 0, TimeSpan.Zero) - server.Time.Now);
        var last = (await server.Client().Set("last")).IsOk().Id!;
        await server.StopAsync();
        server.Time.Step(new DateTimeOffset(1960, 1, 1, 0, 0, 0, TimeSpan.Zero) - server.Time.Now);
        await server.StartAgainAsync();
        var first = (await server.Client().Set("first")).IsOk().Id!;
        Assert.True(string.CompareOrdinal(last, first) < 0);
    }

    private async Task<JsonNode> ReadyAsync()
    {
        var request = new HttpRequestMessage(HttpMethod.Get, new Uri("/readyz", UriKind.Relative));
        return (await server.SendAsync(request)).IsOk().Json;
    }

    private async Task RestartAsync()
    {
        await server.StopAsync();
        await server.StartAgainAsync(secretsPerScope: 100);
    }
}
