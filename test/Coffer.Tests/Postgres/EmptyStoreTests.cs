using Coffer.Hosting;
using Coffer.Settings;
using Coffer.Storage.Postgres;
using Coffer.Tests.Support;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>What is empty is not new where something knows a store: nothing is made, and both are named.</summary>
[Trait("Firm edges", "20")]
public sealed class EmptyStoreTests(PostgresServer server)
{
    private const string CountTables = """
        SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = '{0}'::regnamespace
        """;

    [Fact]
    public async Task A_schema_that_appears_in_front_is_not_taken_for_the_store()
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var key = nodes.Keys.TestSecretKey;
        (await nodes[0].Set(key, "k", "payload")).IsOk();
        var data = nodes[0].Data;
        await PostgresServer.ExecuteAsync(nodes.Store, "CREATE SCHEMA postgres"); // as the role
        await PostgresServer.EndOthersAsync(nodes.Store);
        // What was on its way on one that was ended is not known.
        var found = await nodes[0].Find(key, "k");
        for (var tries = 0; found.Status == 503 && tries < 5; tries++)
            found = await nodes[0].Find(key, "k");
        Assert.Equal("payload", found.IsOk().Payload);
        await nodes.StopAsync(0);

        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => nodes.StartAsync(data));
        Assert.Contains("coffer.anchor says that there was one (", refused.Message, StringComparison.Ordinal);
        Assert.Contains("the schema postgres of ", refused.Message, StringComparison.Ordinal);
        Assert.Contains("there is a store in the schema public", refused.Message, StringComparison.Ordinal);
        Assert.Contains("Search Path=public", refused.Hint, StringComparison.Ordinal);

        // Nor by a node that knows nothing: the one that it would leave behind is in the search path.
        var stranger = await Assert.ThrowsAsync<ConfigurationException>(
            () => nodes.StartAsync(nodes.NewData(withKey: true)));
        Assert.Contains("there is a store in the schema public", stranger.Message, StringComparison.Ordinal);
        Assert.Equal(0L, await PostgresServer.ScalarAsync(nodes.Store,
            CountTables.Replace("{0}", "postgres", StringComparison.Ordinal)));

        // As the hint says; and a schema that is said is new if it is empty.
        using (await PostgresEngine.OpenAsync($"{nodes.Store};Search Path=public", default, null, "there is one"))
        using (await PostgresEngine.OpenAsync($"{nodes.Store};Search Path=postgres", default))
            Assert.NotEqual(0L, await PostgresServer.ScalarAsync(nodes.Store,
                CountTables.Replace("{0}", "postgres", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_wrong_database_that_is_empty_stays_so(bool hasAnchor)
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(), count: 1);
        var data = nodes[0].Data;
        await nodes.StopAsync(0); // which leaves a checkpoint
        if (!hasAnchor)
            File.Delete(Path.Combine(data, "coffer.anchor"));
        var wrong = await server.NewDatabaseAsync();
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(data, wrong));
        Assert.Contains(hasAnchor ? "coffer.anchor says that there was one" : "audit-checkpoints.jsonl has checkpoints",
            refused.Message, StringComparison.Ordinal);
        Assert.Contains($"the schema public of the database {new NpgsqlConnectionStringBuilder(wrong).Database}",
            refused.Message, StringComparison.Ordinal);
        Assert.Contains("Check --data and --store", refused.Hint, StringComparison.Ordinal);
        Assert.Equal(0L, await PostgresServer.ScalarAsync(wrong,
            CountTables.Replace("{0}", "public", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public async Task A_file_that_is_gone_is_not_made_again(bool hasAnchor, bool isEmpty)
    {
        await using var test = await TestServer.StartAsync();
        Assert.SkipWhen(PostgresServer.IsChosen, "the store is in a database");
        (await test.Client().Set("k")).IsOk();
        await test.StopAsync(); // which leaves a checkpoint
        foreach (var file in Directory.GetFiles(test.Data, "coffer.db*"))
            File.Delete(file);
        if (!hasAnchor)
            File.Delete(Path.Combine(test.Data, "coffer.anchor"));
        if (isEmpty)
            await File.WriteAllBytesAsync(test.StoreFile, [], TestContext.Current.CancellationToken);
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => test.StartAgainAsync());
        Assert.Contains(hasAnchor ? "coffer.anchor says that there was one" : "audit-checkpoints.jsonl has checkpoints",
            refused.Message, StringComparison.Ordinal);
        Assert.EndsWith($"{test.StoreFile} is {(isEmpty ? "empty" : "not there")}", refused.Message,
            StringComparison.Ordinal);
        Assert.Equal(isEmpty ? 0 : -1, new FileInfo(test.StoreFile) is { Exists: true } file2 ? file2.Length : -1);
    }

    private static Task<Server> StartAsync(string data, string store) => Server.StartAsync(
        new CofferOptions { Data = data, Store = store, Listen = "http://127.0.0.1:0" }, TimeProvider.System, default);
}
