using Coffer.Keys;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage;
using Coffer.Storage.Postgres;

namespace Coffer.Tests.Postgres;

/// <summary>Nodes of one store go by one setting, whatever each of them is started with.</summary>
[Trait("Firm edges", "23")]
public sealed class StoreSettingsNodesTests(PostgresServer server)
{
    private const string Settings = "/admin/v1/settings";

    [Fact]
    public async Task A_node_that_is_told_something_else_is_overruled_and_hears_of_each_change()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), secretsPerScope: 2);
        var (first, key) = (nodes[0], nodes.Keys.AdminKey!);
        var data = nodes.NewData();
        File.Copy(Path.Combine(first.Data, "coffer.key"), Path.Combine(data, "coffer.key"));
        var told = new CofferOptions
        {
            Data = data,
            Store = nodes.Store,
            Listen = "http://127.0.0.1:0",
            SecretsPerScope = 50,
            AuditRetentionDays = 1,
            AuditMetadataReads = true,
        };
        await using var other = new Nodes.Node(
            await Coffer.Hosting.Server.StartAsync(told, TimeProvider.System, default), data);
        Assert.Equal("2", await ValueAsync(other, "secrets-per-scope"));
        Assert.Equal("for ever", await ValueAsync(other, "audit-retention-days"));
        Assert.Equal("false", await ValueAsync(other, "audit-metadata-reads"));

        (await first.Post(key, Settings, ("name", "secrets-per-scope"), ("value", "3"))).IsOk();
        await Until.SoAsync("the other node knows of it",
            async () => await ValueAsync(other, "secrets-per-scope") == "3");

        for (var i = 0; i < 3; i++)
            (await other.Set(nodes.Keys.TestSecretKey, $"k{i}")).IsOk();
        (await other.Set(nodes.Keys.TestSecretKey, "k3")).IsError(400, null, null);

        async Task<string> ValueAsync(Nodes.Node node, string name) => (string)(await node.Get(key, Settings)).IsOk()
            .Json["settings"]!.AsArray().Single(setting => (string)setting!["name"]! == name)!["value"]!;
    }

    [Fact]
    public async Task While_a_node_of_before_runs_each_goes_by_what_it_is_told_and_nothing_is_set()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var (key, data) = (nodes.Keys.AdminKey!, nodes[0].Data);
        await nodes.StopAsync(0);
        await LowerAsync(nodes.Store, data);
        // It says that it reads no later level, and lives.
        await PostgresServer.ExecuteAsync(nodes.Store, """
            INSERT INTO nodes (number, holder, until, version, address, started, seen, clock_offset, draining, level,
                reads_format_2)
            VALUES (900, 'before', now() + interval '1 hour', '0.0.1', NULL, now(), now(), 0, 0, 5, 'before')
            """);
        await using (var node = new Nodes.Node(await nodes.StartAsync(data, secretsPerScope: 4), data))
        {
            (await node.Post(key, Settings, ("name", "secrets-per-scope"), ("value", "3"))).IsError(400, null, "name");
            for (var i = 0; i < 4; i++)
                (await node.Set(nodes.Keys.TestSecretKey, $"k{i}")).IsOk();
            (await node.Set(nodes.Keys.TestSecretKey, "k4")).IsError(400, null, null);
        }

        await PostgresServer.ExecuteAsync(nodes.Store, "DELETE FROM nodes WHERE number = 900");
        await using (var node = new Nodes.Node(await nodes.StartAsync(data, secretsPerScope: 4), data))
            (await node.Post(key, Settings, ("name", "secrets-per-scope"), ("value", "5"))).IsOk();
    }

    private static async Task LowerAsync(string store, string data)
    {
        using var engine = await PostgresEngine.OpenAsync(store, default);
        var instance = await Instance.OpenAsync(
            engine, KeyWrappers.OfFile(Path.Combine(data, "coffer.key")), default);
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        await committer.CommitAsync(new ControlChange(instance,
            control => control with { Level = Control.RetiredSeeds, Settings = null }, [], []));
    }
}
