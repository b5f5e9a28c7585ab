using System.Text.Json;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Settings;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Access;

/// <summary>The way in when all admin keys are lost (docs/trouble.md).</summary>
[Trait("Keys", "S34")]
public sealed class OfflineKeyTests(PostgresServer postgres) : ServerTests
{
    [Fact]
    public async Task A_key_that_is_made_beside_the_server_opens_the_management_plane_for_a_day_and_says_what_it_is()
    {
        await Server.StopAsync();
        var made = await CreateAsync();
        await Server.StartAgainAsync();
        var admin = Server.Client(made.GetProperty("secret").GetString());
        var id = made.GetProperty("id").GetString()!;
        var shown = (await admin.Get($"{KeysPath}/{id}")).IsOk().Json;
        Assert.True((bool)shown["offline"]!);
        Assert.Equal(Server.Time.Seconds + 86_400, (long)shown["expires_at"]!);
        (await admin.Post(Apps, [("name", "made with it")])).IsOk();
        Assert.Equal(id, Assert.Single((await admin.Get(KeysPath)).IsOk().Json["data"]!.AsArray(),
            key => key!["offline"] is not null)!.Id());

        var entry = Assert.Single((await admin.Get("/admin/v1/audit", ("verb", "create_key"), ("limit", "100")))
            .IsOk().Json["data"]!.AsArray(), entry => (string?)entry!["target"] == id)!;
        Assert.Equal("made beside the server", (string?)entry["reason"]);
        Assert.Null(entry["key"]);

        Server.Time.Move(TimeSpan.FromHours(24));
        (await admin.Get(Apps)).IsError(401, "api_key_expired", null);
        await Server.StopAsync();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(Server.Location, null, default)).Problems);
    }

    [Fact]
    public async Task It_is_in_the_log_at_every_start_and_in_the_list_for_seven_days_over_or_not()
    {
        await Server.StopAsync();
        var id = (await CreateAsync()).GetProperty("id").GetString()!;
        for (var day = 0; day < 8; day++)
        {
            var warned = await Server.OnStoreAsync(async (engine, committer, instance) =>
            {
                await new EndedKeys(engine, committer, instance).SweepAsync(Server.Time.Seconds, default);
                return await OfflineKey.WarningsAsync(engine, instance, Server.Time.GetUtcNow(), default);
            });
            if (day == 7)
                Assert.Empty(warned);
            else
                Assert.StartsWith($"{id}: an admin key that was made beside the server at ", Assert.Single(warned),
                    StringComparison.Ordinal);
            Server.Time.Move(TimeSpan.FromDays(1));
        }

        await Server.StartAgainAsync();
        (await Server.Admin.Get($"{KeysPath}/{id}")).IsError(404, "resource_missing", "id");
    }

    [Fact]
    public async Task It_ends_when_it_is_said_to_and_in_no_time_that_no_key_may_have()
    {
        await Server.StopAsync();
        var end = Server.Time.GetUtcNow().AddHours(1);
        Assert.Equal(end.ToUnixTimeSeconds(), (await CreateAsync(end)).GetProperty("expires_at").GetInt64());
        foreach (var wrong in (DateTimeOffset[])[Server.Time.GetUtcNow(), Server.Time.GetUtcNow().AddYears(101)])
            await Assert.ThrowsAsync<ConfigurationException>(() => CreateAsync(wrong));
    }

    [Fact]
    public async Task While_a_server_runs_or_nothing_is_there_it_is_refused_and_leaves_nothing()
    {
        if (Server.Location.Store is null)
            Assert.StartsWith("a server runs on the store in ",
                (await Assert.ThrowsAsync<ConfigurationException>(() => CreateAsync())).Message,
                StringComparison.Ordinal);
        string[] keys = [.. (await Server.Admin.Get(KeysPath)).Ids()];
        using var empty = new TemporaryDirectory();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => CreateAsync(data: empty.Path));
        Assert.StartsWith("there is no store in ", refused.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(empty.Path));

        // Without the root key, nothing.
        await Server.StopAsync();
        var file = Path.Combine(Server.Data, "coffer.key");
        File.Move(file, file + ".away");
        await Assert.ThrowsAsync<ConfigurationException>(() => CreateAsync());
        File.Move(file + ".away", file);
        await Server.StartAgainAsync();
        Assert.Equal(keys, (await Server.Admin.Get(KeysPath)).Ids());
    }

    /// <summary>As a renewal does that begins beside it: what a pepper of before proves is believed no more.</summary>
    [Fact]
    [Trait("Keys", "S36")]
    public async Task Under_a_control_row_that_a_node_has_changed_meanwhile_it_is_refused_and_nothing_is_stored()
    {
        string[] keys = [.. (await Server.Admin.Get(KeysPath)).Ids()];
        await Server.StopAsync();
        var options = new CofferOptions { Data = Server.Data, Store = Server.Location.Store };
        await using (var store = await OfflineStore.OpenAsync(options, Server.Time, default))
        {
            var node = await Instance.OpenAsync(store.Engine, store.Wrappers, default);
            await store.CommitAsync(new ControlChange(node, static control => control, [], []));
            var refused = await Assert.ThrowsAsync<ConfigurationException>(
                () => OfflineKey.CreateAsync(store, store.Now + 60, [], default));
            Assert.Contains("changed at the same time", refused.Message, StringComparison.Ordinal);
            Assert.StartsWith("Run it again", refused.Hint, StringComparison.Ordinal);
            await Assert.ThrowsAsync<ConfigurationException>(() => store.CommitAsync(
                new ControlChange(store.Instance, static control => control, [], [])));
        }

        var again = (await CreateAsync()).GetProperty("id").GetString()!;
        await Server.StartAgainAsync();
        Assert.Equal(keys.Append(again).ToHashSet(), (await Server.Admin.Get(KeysPath)).Ids().ToHashSet());
        await Server.StopAsync();
        Assert.Empty((await AuditArchive.VerifyStoreAsync(Server.Location, null, default)).Problems);
    }

    [Fact]
    public async Task On_PostgreSQL_it_is_made_beside_nodes_that_run_and_they_know_it_at_once()
    {
        await using var nodes = await Nodes.StartAsync(await postgres.NewDatabaseAsync());
        (await nodes[0].Get(nodes.Keys.AdminKey!, KeysPath)).IsOk();
        var options = new CofferOptions { Data = nodes[0].Data, Store = nodes.Store };
        var held = await Assert.ThrowsAsync<ConfigurationException>(() =>
            OfflineKey.CreateAsync(options, null, TimeProvider.System, default));
        Assert.StartsWith("a node runs in the directory ", held.Message, StringComparison.Ordinal);

        var data = nodes.NewData();
        foreach (var file in (string[])["coffer.key", "coffer.anchor"])
            File.Copy(Path.Combine(nodes[0].Data, file), Path.Combine(data, file));
        var made = await OfflineKey.CreateAsync(options with { Data = data }, null, TimeProvider.System, default);
        var token = made.GetProperty("secret").GetString()!;
        foreach (var node in (int[])[0, 1])
            (await nodes[node].Get(token, KeysPath)).IsOk();
        // Its entry is in the log of a node of its own.
        var entry = (await nodes[1].Get(token, "/admin/v1/audit?verb=create_key&limit=1")).IsOk().Json["data"]![0]!;
        Assert.Equal("node_3", (string?)entry["node"]);

        // A node changes the control row after it was read, and before what was made by it is stored.
        await using var store = await OfflineStore.OpenAsync(
            options with { Data = data }, TimeProvider.System, default);
        (await nodes[0].Post(nodes.Keys.AdminKey!, "/admin/v1/settings", ("name", "secrets-per-scope"),
            ("value", "20"))).IsOk();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(
            () => OfflineKey.CreateAsync(store, store.Now + 60, [], default));
        Assert.StartsWith("Run it again", refused.Hint, StringComparison.Ordinal);
        Assert.Single((await nodes[1].Get(token, KeysPath)).IsOk().Json["data"]!.AsArray(),
            key => key!["offline"] is not null);
    }

    private Task<JsonElement> CreateAsync(DateTimeOffset? expires = null, string? data = null) =>
        OfflineKey.CreateAsync(new CofferOptions { Data = data ?? Server.Data, Store = Server.Location.Store }, expires,
            Server.Time, default);
}
