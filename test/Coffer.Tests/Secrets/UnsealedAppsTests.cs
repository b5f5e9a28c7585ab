using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Settings;
using Coffer.Tests.Api.Management;

namespace Coffer.Tests.Secrets;

/// <summary>An app without settings: of schema 1 it was as it was made, and after the upgrade it is damaged.</summary>
[Trait("Firm ground", "14")]
public sealed class UnsealedAppsTests : IAsyncLifetime
{
    private const string Audit = "/admin/v1/audit";

    private TestServer server = null!;
    private string app = null!;

    public async ValueTask InitializeAsync()
    {
        server = await TestServer.StartAsync();
        app = await server.AppIdAsync();
    }

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Settings_that_were_taken_away_do_not_enable_a_disabled_app()
    {
        var path = $"{Operator.Apps}/{app}";
        (await server.Admin.Post(path, [("disabled", "true"), ("origins[]", "https://a.example")])).IsOk();
        await server.StopAsync();
        server.Execute($"UPDATE apps SET sealed = NULL WHERE id = '{app}'");
        await server.StartAgainAsync();
        await IsDamagedAsync();
    }

    [Theory]
    [InlineData("DELETE FROM meta WHERE key NOT IN ('identity', 'audit signing key')")]
    [InlineData("UPDATE meta SET value = zeroblob(length(value)) " +
        "WHERE key NOT IN ('identity', 'audit signing key', 'verb')")]
    [InlineData("INSERT INTO meta (key, value) VALUES ('apps sealed', x'00')")]
    public async Task Nothing_that_is_written_beside_the_identity_makes_it_an_earlier_store_again(string edit)
    {
        await server.StopAsync();
        server.Execute($"{edit}; UPDATE apps SET sealed = NULL WHERE id = '{app}'");
        await server.StartAgainAsync();
        await IsDamagedAsync();
    }

    [Fact]
    public async Task An_earlier_stores_apps_are_sealed_at_its_first_start_and_recorded_one_by_one()
    {
        await server.StopAsync();
        await server.MakeEarlierAsync();
        server.Execute("UPDATE apps SET sealed = NULL");
        await server.StartAgainAsync();
        (await server.Client().Set("k")).IsOk();
        Assert.Equal(0L, server.Scalar("SELECT count(*) FROM apps WHERE sealed IS NULL"));
        var sealedApps = await EntriesAsync("seal_app");
        string[] both = [app, server.OtherApp];
        Assert.Equal(both.Order(), sealedApps.Select(entry => (string)entry!["app"]!).Order());
        Assert.Equal(2, (int)Assert.Single(await EntriesAsync("seal_apps"))!["count"]!);

        await server.StopAsync();
        server.Execute("UPDATE apps SET sealed = NULL");
        await server.StartAgainAsync();
        await IsDamagedAsync();
        Assert.Equal(2, (await EntriesAsync("seal_app")).Count);
        Assert.Single(await EntriesAsync("seal_apps"));
    }

    [Fact]
    public async Task A_start_that_was_killed_after_some_apps_is_followed_by_one_that_seals_the_others()
    {
        await server.StopAsync();
        await server.MakeEarlierAsync();
        server.Execute($"UPDATE apps SET sealed = NULL WHERE id = '{app}'"); // the other one was reached
        await server.StartAgainAsync();
        Assert.Equal(app, (string?)Assert.Single(await EntriesAsync("seal_app"))!["app"]);
        Assert.Equal(1, (int)Assert.Single(await EntriesAsync("seal_apps"))!["count"]!);
        (await server.Client().List()).IsOk();
        (await server.Client(server.OtherAppKey).List()).IsOk();
    }

    [Fact]
    public async Task Many_apps_are_sealed_in_batches()
    {
        for (var i = 0; i < 5; i++)
            await server.NewAppAsync($"app {i}");
        await server.StopAsync();
        await server.MakeEarlierAsync();
        const string Copies = """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
            INSERT INTO apps (id, name, account, created) SELECT 'app_copy' || i, 'copy', 'acct_copy' || i, i FROM n
            """;
        server.Execute($"UPDATE apps SET sealed = NULL; {Copies}");
        await server.StartAgainAsync();
        Assert.Equal(0L, server.Scalar("SELECT count(*) FROM apps WHERE sealed IS NULL"));
        Assert.Equal(457, (int)Assert.Single(await EntriesAsync("seal_apps"))!["count"]!);
    }

    [Fact]
    public async Task A_trigger_that_undoes_the_sealing_stops_the_start()
    {
        await server.StopAsync();
        await server.MakeEarlierAsync();
        server.Execute("""
            UPDATE apps SET sealed = NULL;
            CREATE TRIGGER t BEFORE UPDATE ON apps BEGIN SELECT RAISE(IGNORE); END
            """);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => server.StartAgainAsync());
        server.Execute("DROP TRIGGER t");
        await server.StartAgainAsync(); // nothing was lost
        (await server.Client().List()).IsOk();
        Assert.NotEmpty(refused.Message);
    }

    [Fact]
    public async Task A_row_of_an_earlier_store_whose_columns_hold_what_they_may_not_stays_damaged()
    {
        await server.StopAsync();
        await server.MakeEarlierAsync();
        server.Execute($"UPDATE apps SET sealed = NULL; UPDATE apps SET created = 'soon' WHERE id = '{app}'");
        await server.StartAgainAsync();
        await IsDamagedAsync();
        (await server.Client(server.OtherAppKey).List()).IsOk();
    }

    [Fact]
    public async Task Dev_does_not_go_on_over_a_damaged_app()
    {
        await using var dev = await TestServer.StartAsync(dev: new CofferOptions.DevOptions(null, SeedFixtures: false));
        await dev.StopAsync();
        dev.Execute("UPDATE apps SET sealed = NULL");
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => dev.StartAgainAsync(dev: new CofferOptions.DevOptions(null, SeedFixtures: false)));
        Assert.Contains("app_dev", refused.Message, StringComparison.Ordinal);
    }

    private async Task IsDamagedAsync()
    {
        (await server.Client().List()).IsError(500, null, null, type: "api_error");
        (await server.Client(origin: "https://b.example").List()).IsError(500, null, null, type: "api_error");
        var enabled = await server.Admin.Post($"{Operator.Apps}/{app}", [("disabled", "false")]);
        enabled.IsError(500, null, null, type: "api_error");
        var shown = (await server.Admin.Get(Operator.Apps)).IsOk().Json["data"]!.AsArray();
        Assert.True((bool?)Assert.Single(shown, one => (string?)one!["id"] == app)!["damaged"]);

        // Named once, however often it is met.
        var entry = Assert.Single(await EntriesAsync("check_row"), entry => (string?)entry!["app"] == app)!;
        Assert.Equal(("damaged", $"apps {app}"), ((string?)entry["outcome"], (string?)entry["target"]));
    }

    private async Task<JsonArray> EntriesAsync(string verb) =>
        (await server.Admin.Get(Audit, ("verb", verb), ("limit", "100"))).IsOk().Json["data"]!.AsArray();
}
