using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests;

/// <summary>What concerns the store is kept in the store, and every node goes by it.</summary>
[Trait("Firm edges", "23")]
public sealed class StoreSettingsTests : ServerTests
{
    private const string Settings = "/admin/v1/settings", Quota = "secrets-per-scope", Days = "audit-retention-days";

    private string Note => Path.Combine(Server.Data, "coffer.settings");

    [Fact]
    public async Task A_store_keeps_what_its_first_start_is_told_and_goes_by_it_when_nothing_is_told()
    {
        using var directory = new TemporaryDirectory();
        FirstKeys keys;
        await using (var first = await StartAsync(directory.Path, 3))
            keys = first.FirstKeys!;
        Assert.Equal("secrets-per-scope = 3\n", await File.ReadAllTextAsync(directory.File("coffer.settings")));
        await using var node = new Nodes.Node(
            await StartAsync(directory.Path, CofferOptions.DefaultSecretsPerScope), directory.Path);
        Assert.Equal(("3", "store"), await InForceAsync(node, keys.AdminKey!, Quota));
        Assert.Equal(("for ever", "default"), await InForceAsync(node, keys.AdminKey!, Days));
        for (var i = 0; i < 3; i++)
            (await node.Set(keys.TestSecretKey, $"k{i}")).IsOk();
        (await node.Set(keys.TestSecretKey, "k3")).IsError(400, null, null);
    }

    [Fact]
    public async Task A_value_that_was_edited_is_refused_by_its_name_and_changes_nothing()
    {
        await Server.StopAsync();
        var before = await File.ReadAllTextAsync(Note);
        foreach (var edited in (Func<CofferOptions, CofferOptions>[])
            [
                options => options with { SecretsPerScope = 11 }, options => options with { AuditRetentionDays = 1 },
                options => options with { AuditMetadataReads = true }, options => options with { Audit = "buffered" },
            ])
        {
            var options = edited(Options(Server.Data));
            var (name, value) = Assert.Single(StoreSettings.Told(options));
            var refused = await Assert.ThrowsAsync<ConfigurationException>(
                () => Coffer.Hosting.Server.StartAsync(options, Server.Time, default));
            Assert.Contains($"--{name} is {value}, and the store has ", refused.Message, StringComparison.Ordinal);
            Assert.Contains($"coffer settings set {name} {value}", refused.Hint, StringComparison.Ordinal);
        }

        Assert.Equal(before, await File.ReadAllTextAsync(Note));
        await Server.StartAgainAsync();
        Assert.Equal(("10", "default"), await InForceAsync(Quota));
    }

    [Fact]
    public void A_hint_has_a_value_as_the_command_takes_it()
    {
        var bare = new CofferOptions { Data = "" };
        Assert.All(StoreSettings.All, setting =>
        {
            Assert.Equal("default", StoreSettings.Typed(setting.Name, setting.OfStore!(bare)));
            Assert.Equal("7", StoreSettings.Typed(setting.Name, "7"));
        });
    }

    [Fact]
    public async Task A_value_that_stands_where_it_stood_is_overruled_and_one_that_is_edited_then_is_refused()
    {
        await Server.StopAsync();
        await Server.StartAgainAsync(secretsPerScope: 2); // kept as 2, and written so
        await SetAsync(Quota, "3");
        await Server.StopAsync();
        await using (await StartAsync(Server.Data, 2))
        {
            // as it stood when the store had it
        }

        await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(Server.Data, 4));
        await using (var node = new Nodes.Node(await StartAsync(Server.Data, 3), Server.Data))
            Assert.Equal(("3", "store"), await InForceAsync(node, Server.Keys.AdminKey!, Quota));
        await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(Server.Data, 2)); // edited since
        File.Delete(Note); // a node that is new: nobody can say
        await using (await StartAsync(Server.Data, 2))
            Assert.Equal("secrets-per-scope = 2\n", await File.ReadAllTextAsync(Note));
    }

    [Fact]
    public async Task A_change_is_in_force_at_once_survives_a_start_and_is_on_record()
    {
        (await Server.Client().Set("a")).IsOk();
        await SetAsync(Quota, "1");
        (await Server.Client().Set("b")).IsError(400, null, null);
        await SetAsync("audit-metadata-reads", "true");
        (await Server.Client().Find("a")).IsOk();
        await SetAsync(Quota, "default");
        (await Server.Client().Set("b")).IsOk();
        await SetAsync(Days, "7");
        var entries = (await Server.Admin.Get("/admin/v1/audit", ("limit", "100"))).IsOk().Json["data"]!.AsArray();
        Assert.Single(entries, entry => (string)entry!["verb"]! == "find_metadata");
        Assert.Equal(
            [
                """audit-retention-days {"audit-retention-days":[null,"7"]}""",
                """secrets-per-scope {"secrets-per-scope":["1",null]}""",
                """audit-metadata-reads {"audit-metadata-reads":[null,"true"]}""",
                """secrets-per-scope {"secrets-per-scope":[null,"1"]}""",
            ],
            entries.Where(entry => (string)entry!["verb"]! == "change_settings")
                .Select(entry => $"{entry!["target"]} {entry["changed"]!.ToJsonString()}"));
        await Server.StopAsync();
        await Server.StartAgainAsync();
        Assert.Equal(("7", "store"), await InForceAsync(Days));
        Assert.Equal(("10", "default"), await InForceAsync(Quota));
    }

    [Fact]
    public Task What_is_no_setting_of_the_store_or_no_value_of_it_is_refused() => Assert.AllAsync(
        ((string Form, string? Code, string Param)[])
        [
            ("name=listen&value=http://127.0.0.1:1", null, "name"), // a node's own
            ("name=nothing&value=1", null, "name"), ("value=1", "parameter_missing", "name"),
            ("name=secrets-per-scope", "parameter_missing", "value"), ("name=secrets-per-scope&value=0", null, "value"),
            ("name=audit&value=off", null, "value"),
        ],
        async row =>
        {
            (await Server.Admin.Raw(HttpMethod.Post, Settings, row.Form)).IsError(400, row.Code, row.Param);
            Assert.Equal(("10", "default"), await InForceAsync(Quota));
        });

    [Fact]
    public async Task A_store_of_before_keeps_what_the_first_start_after_it_is_told_and_says_so()
    {
        await Server.StopAsync();
        await Server.MakeEarlierAsync(appsAreSealed: true);
        await using (var node = new Nodes.Node(await StartAsync(Server.Data, 7), Server.Data))
            Assert.Equal(("7", "store"), await InForceAsync(node, Server.Keys.AdminKey!, Quota));
        await Server.StartAgainAsync();
        Assert.Equal(("7", "store"), await InForceAsync(Quota));
        var begun = Assert.Single((await Server.Admin.Get("/admin/v1/audit", ("verb", "change_settings"))).IsOk()
            .Json["data"]!.AsArray())!;
        Assert.Equal("""{"secrets-per-scope":[null,"7"]}""", begun["changed"]!.ToJsonString());
    }

    [Fact]
    public async Task A_store_that_was_made_without_being_served_begins_with_what_its_first_server_is_told()
    {
        using var directory = new TemporaryDirectory();
        FirstKeys? keys = null;
        await NewStore.MakeAsync(Options(directory.Path), Server.Time, made =>
        {
            keys = made;
            return Task.CompletedTask;
        }, default);
        await using var node = new Nodes.Node(await StartAsync(directory.Path, 5), directory.Path);
        Assert.Equal(("5", "store"), await InForceAsync(node, keys!.AdminKey!, Quota));
    }

    private static CofferOptions Options(string data) => new() { Data = data, Listen = "http://127.0.0.1:0" };

    private Task<Server> StartAsync(string data, int quota) => Coffer.Hosting.Server.StartAsync(
        Options(data) with { SecretsPerScope = quota }, Server.Time, default);

    private async Task SetAsync(string name, string value) =>
        (await Server.Admin.Post(Settings, [("name", name), ("value", value)])).IsOk();

    private async Task<(string?, string?)> InForceAsync(string name) =>
        InForce((await Server.Admin.Get(Settings)).IsOk(), name);

    private static async Task<(string?, string?)> InForceAsync(Nodes.Node node, string key, string name) =>
        InForce((await node.Get(key, Settings)).IsOk(), name);

    private static (string?, string?) InForce(Answer answer, string name)
    {
        var found = answer.Json["settings"]!.AsArray().Single(setting => (string)setting!["name"]! == name)!;
        return ((string?)found["value"], (string?)found["source"]);
    }
}
