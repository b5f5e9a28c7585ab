using Coffer.Hosting;
using Coffer.Settings;
using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Access;

/// <summary>A store belongs to the verb that made it, and the other does not open it.</summary>
[Trait("Firm ground", "17")]
[Trait("Engine", "SQLite")] // dev has no database
public sealed class StoreVerbTests(PostgresServer postgres)
{
    private const string Dev = "dev", Serve = "serve";

    [Theory]
    [InlineData(Serve, Dev, "belongs to coffer serve")]
    [InlineData(Dev, Serve, "created by coffer dev")]
    public async Task A_store_is_opened_by_its_verb_alone(string maker, string other, string refusal)
    {
        using var data = new TemporaryDirectory();
        await StartAsync(data, maker);
        await StartAsync(data, maker);
        await RefusedAsync(data, other, refusal);
        await StartAsync(data, maker);
        Assert.Equal(maker, Mark(data));
    }

    [Theory]
    [InlineData(Serve, null, Serve, Dev)]
    [InlineData(Dev, null, Dev, Serve)]
    [InlineData(Dev, "INSERT INTO apps (id, name, account, created) VALUES ('app_2', 'x', 'acct_2', 5)", Serve, Dev)]
    [InlineData(Serve, "INSERT INTO apps (id, name, account, created) VALUES ('app_dev', 'x', 'a', 0)", Serve, Dev)]
    [InlineData(Serve, "DELETE FROM api_keys WHERE app IS NOT NULL; DELETE FROM apps", Serve, Dev)]
    public async Task A_store_without_the_mark_is_dev_s_if_its_only_app_is_and_is_marked_at_its_next_start(
        string maker, string? change, string owner, string other)
    {
        using var data = new TemporaryDirectory();
        await StartAsync(data, maker);
        Sql(data, $"DELETE FROM meta WHERE key = 'verb'; {change}");
        await RefusedAsync(data, other, "coffer");
        Assert.Null(Mark(data)); // a refusal leaves no mark
        await StartAsync(data, owner);
        Assert.Equal(owner, Mark(data));
    }

    [Theory]
    [InlineData("x''")]
    [InlineData("CAST('Serve' AS BLOB)")]
    [InlineData("CAST('serve ' AS BLOB)")]
    public async Task A_mark_that_is_no_verb_is_damage_to_both(string mark)
    {
        using var data = new TemporaryDirectory();
        await StartAsync(data, Serve);
        Sql(data, $"UPDATE meta SET value = {mark} WHERE key = 'verb'");
        await RefusedAsync(data, Serve, "meta table was changed");
        await RefusedAsync(data, Dev, "meta table was changed");
    }

    [Fact]
    public async Task Dev_s_keys_do_not_open_what_is_served()
    {
        using var data = new TemporaryDirectory();
        await using (await ServerAsync(data, Dev, key: "sk_test_anything"))
        {
        }

        await RefusedAsync(data, Serve, "created by coffer dev");
        using var served = new TemporaryDirectory();
        await StartAsync(served, Serve);
        await RefusedAsync(served, Dev, "belongs to coffer serve");
        Assert.Equal(3L, Scalar(served, "SELECT count(*) FROM api_keys")); // none was left
    }

    [Fact]
    public async Task A_database_is_marked_as_served_by_the_first_of_its_nodes()
    {
        await using var nodes = await Nodes.StartAsync(await postgres.NewDatabaseAsync());
        const string Read = "SELECT convert_from(value, 'UTF8') FROM meta WHERE key = 'verb'";
        Assert.Equal(Serve, await PostgresServer.ScalarAsync(nodes.Store, Read));
        await PostgresServer.ExecuteAsync(nodes.Store, "DELETE FROM meta WHERE key = 'verb'");
        await nodes.AddAsync();
        Assert.Equal(Serve, await PostgresServer.ScalarAsync(nodes.Store, Read));
    }

    private static async Task StartAsync(TemporaryDirectory data, string verb) =>
        await (await ServerAsync(data, verb)).DisposeAsync();

    private static Task<Server> ServerAsync(TemporaryDirectory data, string verb, string? key = null)
    {
        var options = new CofferOptions { Data = data.Path, Listen = "http://127.0.0.1:0" };
        var dev = new CofferOptions.DevOptions(key, SeedFixtures: false);
        return Server.StartAsync(verb == Dev ? options with { Dev = dev } : options, TimeProvider.System, default);
    }

    private static async Task RefusedAsync(TemporaryDirectory data, string verb, string said)
    {
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => ServerAsync(data, verb));
        Assert.Contains(said, refused.Message, StringComparison.Ordinal);
        Assert.Contains("Nothing was changed", refused.Hint, StringComparison.Ordinal);
    }

    private static string? Mark(TemporaryDirectory data) =>
        (string?)Scalar(data, "SELECT CAST(value AS TEXT) FROM meta WHERE key = 'verb'");

    private static void Sql(TemporaryDirectory data, string sql) => Scalar(data, sql);

    private static object? Scalar(TemporaryDirectory data, string sql)
    {
        using var connection = StoreEdits.Connect(data.File("coffer.db"));
        using var command = new SqliteCommand(sql, connection);
        return command.ExecuteScalar();
    }
}
