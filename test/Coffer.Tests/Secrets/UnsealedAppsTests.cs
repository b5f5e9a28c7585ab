using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Settings;

namespace Coffer.Tests.Secrets;

/// <summary>An app without settings: of schema 1 it was as it was made, and after the upgrade it is damaged.</summary>
[Trait("Firm ground", "14")]
public sealed class UnsealedAppsTests : ServerTests
{
    private const string Audit = "/admin/v1/audit";

    private string app = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        app = await Server.AppIdAsync();
    }

    [Fact]
    public async Task Settings_that_were_taken_away_do_not_enable_a_disabled_app()
    {
        var path = $"{Operator.Apps}/{app}";
        (await Server.Admin.Post(path, [("disabled", "true"), ("origins[]", "https://a.example")])).IsOk();
        await Server.StopAsync();
        Server.Execute($"UPDATE apps SET sealed = NULL WHERE id = '{app}'");
        await Server.StartAgainAsync();
        await IsDamagedAsync();
    }

    [Theory]
    [InlineData("DELETE FROM meta WHERE key NOT IN ('control', 'store id')")]
    [InlineData("UPDATE meta SET value = zeroblob(length(value)) " +
        "WHERE key NOT IN ('control', 'store id', 'verb')")]
    [InlineData("INSERT INTO meta (key, value) VALUES ('apps sealed', x'00')")]
    public async Task Nothing_that_is_written_beside_the_identity_makes_it_an_earlier_store_again(string edit)
    {
        await Server.StopAsync();
        Server.Execute($"{edit}; UPDATE apps SET sealed = NULL WHERE id = '{app}'");
        await Server.StartAgainAsync();
        await IsDamagedAsync();
    }

    [Fact]
    public async Task An_earlier_stores_apps_are_sealed_at_its_first_start_and_recorded_one_by_one()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync();
        Server.Execute("UPDATE apps SET sealed = NULL");
        await Server.StartAgainAsync();
        (await Server.Client().Set("k")).IsOk();
        Assert.Equal(0L, Server.Scalar("SELECT count(*) FROM apps WHERE sealed IS NULL"));
        var sealedApps = await EntriesAsync("seal_app");
        string[] both = [app, Server.OtherApp];
        Assert.Equal(both.Order(), sealedApps.Select(entry => (string)entry!["app"]!).Order());
        Assert.Equal(2, (int)Assert.Single(await EntriesAsync("seal_apps"))!["count"]!);

        await Server.StopAsync();
        Server.Execute("UPDATE apps SET sealed = NULL");
        await Server.StartAgainAsync();
        await IsDamagedAsync();
        Assert.Equal(2, (await EntriesAsync("seal_app")).Count);
        Assert.Single(await EntriesAsync("seal_apps"));
    }

    [Fact]
    public async Task A_start_that_was_killed_after_some_apps_is_followed_by_one_that_seals_the_others()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync();
        Server.Execute($"UPDATE apps SET sealed = NULL WHERE id = '{app}'"); // the other one was reached
        await Server.StartAgainAsync();
        Assert.Equal(app, (string?)Assert.Single(await EntriesAsync("seal_app"))!["app"]);
        Assert.Equal(1, (int)Assert.Single(await EntriesAsync("seal_apps"))!["count"]!);
        (await Server.Client().List()).IsOk();
        (await Server.Client(Server.OtherAppKey).List()).IsOk();
    }

    [Fact]
    public async Task Many_apps_are_sealed_in_batches()
    {
        for (var i = 0; i < 5; i++)
            await Server.NewAppAsync($"app {i}");
        await Server.StopAsync();
        await Server.MakeEarlierAsync();
        const string Copies = """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
            INSERT INTO apps (id, name, account, created) SELECT 'app_copy' || i, 'copy', 'acct_copy' || i, i FROM n
            """;
        Server.Execute($"UPDATE apps SET sealed = NULL; {Copies}");
        await Server.StartAgainAsync();
        Assert.Equal(0L, Server.Scalar("SELECT count(*) FROM apps WHERE sealed IS NULL"));
        Assert.Equal(457, (int)Assert.Single(await EntriesAsync("seal_apps"))!["count"]!);
    }

    [Fact]
    public async Task A_trigger_that_undoes_the_sealing_stops_the_start()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync();
        Server.Execute("""
            UPDATE apps SET sealed = NULL;
            CREATE TRIGGER t BEFORE UPDATE ON apps BEGIN SELECT RAISE(IGNORE); END
            """);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Server.Execute("DROP TRIGGER t");
        await Server.StartAgainAsync(); // nothing was lost
        (await Server.Client().List()).IsOk();
        Assert.NotEmpty(refused.Message);
    }

    [Fact]
    public async Task A_row_of_an_earlier_store_whose_columns_hold_what_they_may_not_stays_damaged()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync();
        Server.Execute($"UPDATE apps SET sealed = NULL; UPDATE apps SET created = 'soon' WHERE id = '{app}'");
        await Server.StartAgainAsync();
        await IsDamagedAsync();
        (await Server.Client(Server.OtherAppKey).List()).IsOk();
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
        (await Server.Client().List()).IsError(500, null, null, type: "api_error");
        (await Server.Client(origin: "https://b.example").List()).IsError(500, null, null, type: "api_error");
        var enabled = await Server.Admin.Post($"{Operator.Apps}/{app}", [("disabled", "false")]);
        enabled.IsError(500, null, null, type: "api_error");
        var shown = (await Server.Admin.Get(Operator.Apps)).IsOk().Json["data"]!.AsArray();
        Assert.True((bool?)Assert.Single(shown, one => (string?)one!["id"] == app)!["damaged"]);

        // Named once, however often it is met.
        var entry = Assert.Single(await EntriesAsync("check_row"), entry => (string?)entry!["app"] == app)!;
        Assert.Equal(("damaged", $"apps {app}"), ((string?)entry["outcome"], (string?)entry["target"]));
    }

    private async Task<JsonArray> EntriesAsync(string verb) =>
        (await Server.Admin.Get(Audit, ("verb", verb), ("limit", "100"))).IsOk().Json["data"]!.AsArray();
}
