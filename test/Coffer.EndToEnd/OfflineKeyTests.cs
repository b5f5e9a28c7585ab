using static Coffer.EndToEnd.AdminCli;

namespace Coffer.EndToEnd;

/// <summary><c>coffer keys create --offline</c>, as docs/trouble.md has it.</summary>
[Trait("Keys", "S34")]
public sealed class OfflineKeyTests
{
    [Fact]
    public async Task When_all_admin_keys_are_lost_a_key_is_made_beside_the_server_and_the_log_says_so()
    {
        using var data = new TemporaryDirectory();
        string[] create = ["keys", "create", "--type", "admin", "--offline", "--data", data.Path, "--json"];
        await using (var server = await CofferProcess.ServeAsync(data))
        {
            var refused = (await Ran.CofferAsync(create)).EndedWith(78);
            Assert.Contains("a server runs on the store in", refused.Stderr, StringComparison.Ordinal);
            Assert.Equal(0, await server.StopAsync());
        }

        var made = System.Text.Json.JsonElement.Parse((await Ran.CofferAsync(create)).EndedWith(0).Stdout);
        await using var again = await CofferProcess.ServeAsync(data);
        await again.PrintedAsync("Coffer serves");
        Assert.Contains($"{Text(made, "id")}: an admin key that was made beside the server", again.Stderr,
            StringComparison.Ordinal);
        var cli = new AdminCli(again, Text(made, "secret"));
        Assert.True((await cli.JsonAsync("keys", "show", Text(made, "id"))).GetProperty("offline").GetBoolean());
        Assert.StartsWith("ak_", Text(await cli.JsonAsync("keys", "create", "--type", "admin"), "secret"),
            StringComparison.Ordinal);
        Assert.Equal(0, await again.StopAsync());
        (await Ran.CofferAsync("audit", "verify", "--data", data.Path)).EndedWith(0);
    }

    [Theory]
    [InlineData("Give --type admin with --offline", "--offline")]
    [InlineData("Give --data with --offline only", "--type", "admin", "--data", "x")]
    [InlineData("--app cannot be used with --offline", "--type", "admin", "--offline", "--app", "app_1")]
    [InlineData("no data directory is set", "--type", "admin", "--offline")]
    public async Task What_does_not_go_together_is_refused(string message, params string[] arguments)
    {
        var refused = await Ran.CofferAsync(["keys", "create", .. arguments]);
        Assert.Contains(message, refused.Stderr, StringComparison.Ordinal);
        Assert.NotEqual(0, refused.ExitCode);
    }
}
