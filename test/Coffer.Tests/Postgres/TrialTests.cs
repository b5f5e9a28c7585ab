using Coffer.Storage;
using Coffer.Storage.Postgres;
using Coffer.Tests.Support;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// Readiness takes the way of requests: what refuses a set is found, and nothing of the trial is left.
/// </summary>
[Trait("Firm edges", "19")]
public sealed class TrialTests(PostgresServer server)
{
    [Theory]
    [InlineData(Way.Direct, "INSERT ON audit", "INSERT ON secrets", "DELETE ON secrets", "INSERT ON tenants",
        "UPDATE ON tenants")]
    [InlineData(Way.PgBouncer, "UPDATE ON secrets")]
    [InlineData(Way.SharedSessions, "INSERT ON idempotency")]
    public async Task A_right_that_a_set_needs_and_the_role_has_lost_is_named(Way way, params string[] rights)
    {
        await using var nodes = await Nodes.StartAsync(await server.NewDatabaseAsync(way), count: 1);
        var direct = server.Directly(nodes.Store);
        (await nodes[0].Set(nodes.Keys.TestSecretKey, "k", account: "acct_1")).IsOk();
        var role = $"rows_{Guid.NewGuid():N}";
        await PostgresServer.ExecuteAsync(direct, $"""
            CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}
            """);
        // The stand-in and PgBouncer let in whom the server does.
        using var engine = await PostgresEngine.OpenAsync(
            new NpgsqlConnectionStringBuilder(way == Way.PgBouncer ? direct : nodes.Store)
            {
                Username = role,
            }.ConnectionString, default);
        var before = await CountAsync(direct);
        await engine.TryWritesAsync(default);
        await engine.TryWritesAsync(default);
        Assert.Equal(before, await CountAsync(direct));

        foreach (var right in rights)
        {
            await PostgresServer.ExecuteAsync(direct, $"REVOKE {right} FROM {role}");
            var refused = await Assert.ThrowsAsync<ApiError>(() => engine.TryWritesAsync(default).AsTask());
            Assert.Contains($"permission denied for table {right.Split(' ')[^1]}", refused.InnerException!.Message,
                StringComparison.Ordinal);
            await PostgresServer.ExecuteAsync(direct, $"GRANT {right} TO {role}");
            await engine.TryWritesAsync(default);
        }
    }

    [Fact]
    public async Task A_node_that_could_set_nothing_is_not_ready_and_no_entry_is_left_of_the_question()
    {
        var store = await server.NewDatabaseAsync();
        await using var nodes = await Nodes.StartAsync(store, count: 1);
        var key = nodes.Keys.TestSecretKey;
        (await nodes[0].Set(key, "k")).IsOk();
        var before = await CountAsync(store);
        Assert.Equal(200, (await nodes[0].Get(key, "/readyz")).Status);
        Assert.Equal(before, await CountAsync(store));
        // What writes the row of readiness is let through.
        await PostgresServer.ExecuteAsync(store, """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no room''; END';
            CREATE TRIGGER refuse BEFORE INSERT ON audit EXECUTE FUNCTION refuse()
            """);
        Assert.Equal(503, (await nodes[0].Set(key, "k")).Status);
        await Task.Delay(1_100, TestContext.Current.CancellationToken); // a proof is believed for a second
        var ready = await nodes[0].Get(key, "/readyz");
        Assert.Equal(503, ready.Status);
        Assert.Contains("no room", (string?)ready.Json["storage"], StringComparison.Ordinal);
    }

    private static async Task<string> CountAsync(string store) => (string)(await PostgresServer.ScalarAsync(store, """
        SELECT concat_ws(' ', (SELECT count(*) FROM audit), (SELECT count(*) FROM secrets),
            (SELECT count(*) FROM tenants), (SELECT count(*) FROM idempotency), (SELECT count(*) FROM apps))
        """))!;
}
