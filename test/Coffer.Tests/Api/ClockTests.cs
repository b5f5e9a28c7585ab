using System.Text.Json.Nodes;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// What a client sees while the clock is set forward and back, and after a restart: right order, and what expires
/// does.
/// </summary>
[Trait("Firm ground", "16")]
public sealed class ClockTests() : ServerTests(secretsPerScope: 100)
{
    [Theory]
    [InlineData(+400)]
    [InlineData(+2)]
    [InlineData(-1)]
    public async Task Secrets_stay_newest_first_over_a_step_there_and_back_with_restarts_between(int days)
    {
        var ids = new List<string>();
        await SetAsync("a");
        Server.Time.Step(TimeSpan.FromDays(days));
        await SetAsync("b");
        await RestartAsync();
        await SetAsync("c");
        Server.Time.Step(TimeSpan.FromDays(-days));
        await SetAsync("d");
        await RestartAsync();
        await SetAsync("e");
        await RestartAsync();
        await SetAsync("f");

        Assert.Equal(["f", "e", "d", "c", "b", "a"], (await Server.Client().List()).IsOk().Names);
        Assert.Equal(ids.Order(StringComparer.Ordinal), ids);
        Assert.Equal(["d", "c", "b", "a"], (await Server.Client().List(null, ("starting_after", ids[4]))).IsOk().Names);
        Assert.Equal(["f", "e"], (await Server.Client().List(null, ("ending_before", ids[3]))).IsOk().Names);

        async Task SetAsync(string name) => ids.Add((await Server.Client().Set(name)).IsOk().Id!);
    }

    [Fact]
    public async Task A_deleted_secrets_id_is_not_passed_by_a_newer_one_after_a_step_back()
    {
        Server.Time.Step(TimeSpan.FromDays(400));
        var deleted = (await Server.Client().Set("deleted")).IsOk().Id!;
        (await Server.Client().Delete("deleted")).IsOk();
        await Server.StopAsync();
        Server.Time.Step(TimeSpan.FromDays(-400));
        await Server.StartAgainAsync();
        (await Server.Client().Set("new")).IsOk();
        Assert.Equal(["new"], (await Server.Client().List(null, ("ending_before", deleted))).IsOk().Names);
    }

    [Fact]
    public async Task Apps_and_keys_stay_newest_first_over_a_step_back_and_a_restart()
    {
        Server.Time.Move(TimeSpan.FromSeconds(1)); // those of one second are in the order of their ids
        var made = new List<string> { await Server.NewAppAsync("1") };
        var app = made[0];
        var keys = new List<string>();
        Server.Time.Step(TimeSpan.FromDays(400));
        await MakeAsync();
        Server.Time.Step(TimeSpan.FromDays(-400));
        await MakeAsync();
        await MakeAsync();
        await RestartAsync();
        await MakeAsync();
        Server.Time.Move(TimeSpan.FromDays(401));
        await MakeAsync();
        var newest = (await Server.Admin.Get($"{KeysPath}/{keys[^1]}")).IsOk().Json;
        Assert.Equal(Server.Time.Seconds - 1, (long)newest["created"]!);

        var listed = (await Server.Admin.Get(KeysPath, ("app", app), ("limit", "100"))).Ids();
        Assert.Equal(keys.AsEnumerable().Reverse(), listed);
        Assert.Equal(keys.AsEnumerable().Reverse(), await Server.Admin.WalkAsync(KeysPath, 1, ("app", app)));
        Assert.Equal(made.AsEnumerable().Reverse(), (await Server.Admin.Get(Apps)).Ids().Take(made.Count));

        async Task MakeAsync()
        {
            made.Add(await Server.NewAppAsync("more"));
            keys.Add((await Server.NewKeyAsync("secret", app)).Id());
            Server.Time.Move(TimeSpan.FromSeconds(1));
            keys.Add((await Server.Admin.Post($"{KeysPath}/{keys[^1]}/roll", [("grace_period", "600")])).IsOk().Id!);
            Server.Time.Move(TimeSpan.FromSeconds(1));
        }
    }

    [Fact]
    public async Task Reads_go_by_the_clock_and_come_back_with_it_and_readiness_tells_of_the_step()
    {
        (await Server.Client().Set("k", "kept", null, ("expires_at", $"{Server.Time.Seconds + 86_400}"))).IsOk();
        Assert.Null((await ReadyAsync())["clock"]);

        Server.Time.Step(TimeSpan.FromDays(400));
        (await Server.Client().Find("k")).IsError(404, "resource_missing", "name");
        var told = await ReadyAsync();
        Assert.Equal("ok", (string?)told["status"]);
        Assert.Contains("stepped forward by 400 days", (string?)told["clock"], StringComparison.Ordinal);

        Server.Time.Step(TimeSpan.FromDays(-400));
        Assert.Equal("kept", (await Server.Client().Find("k", null, ("expand[]", "payload"))).IsOk().Payload);
        Assert.Contains("stepped back by 400 days", (string?)(await ReadyAsync())["clock"], StringComparison.Ordinal);
        Server.Time.Move(TimeSpan.FromHours(1));
        Assert.Null((await ReadyAsync())["clock"]);
    }

    [Fact]
    public async Task A_start_with_a_clock_before_the_last_change_says_so_and_serves()
    {
        (await Server.Client().Set("k")).IsOk();
        await Server.StopAsync();
        Server.Time.Step(TimeSpan.FromDays(-1));
        await Server.StartAgainAsync();
        (await Server.Client().Find("k")).IsOk();
        Assert.Contains("before the last change", (string?)(await ReadyAsync())["clock"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_clock_before_1970_and_one_at_the_end_of_dates_make_ids_in_order_too()
    {
        Server.Time.Step(new DateTimeOffset(9999, 12, 31, 23, 0, 0, TimeSpan.Zero) - Server.Time.Now);
        var last = (await Server.Client().Set("last")).IsOk().Id!;
        await Server.StopAsync();
        Server.Time.Step(new DateTimeOffset(1960, 1, 1, 0, 0, 0, TimeSpan.Zero) - Server.Time.Now);
        await Server.StartAgainAsync();
        var first = (await Server.Client().Set("first")).IsOk().Id!;
        Assert.True(string.CompareOrdinal(last, first) < 0);
    }

    private async Task<JsonNode> ReadyAsync()
    {
        var request = new HttpRequestMessage(HttpMethod.Get, new Uri("/readyz", UriKind.Relative));
        return (await Server.SendAsync(request)).IsOk().Json;
    }

    private async Task RestartAsync()
    {
        await Server.StopAsync();
        await Server.StartAgainAsync(secretsPerScope: 100);
    }
}
