using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// A connection that was ended, by whom and for whatever reason, costs no read and no idle node a write.
/// </summary>
[Trait("Firm edges", "15")]
public sealed class EndedConnectionsTests(PostgresServer server)
{
    [Theory]
    [InlineData("FATAL", "57P05", true)] // idle_session_timeout
    [InlineData("FATAL", "25P03", true)] // idle_in_transaction_session_timeout
    [InlineData("FATAL", "25P04", true)] // transaction_timeout
    [InlineData("FATAL", "57P01", true)]
    [InlineData("FATAL", "57P03", true)]
    [InlineData("FATAL", "57P04", true)] // the database was dropped
    [InlineData("FATAL", "08P01", true)] // of poolers
    [InlineData("FATAL", "53300", true)]
    [InlineData("PANIC", "XX000", true)]
    [InlineData("ERROR", "08006", true)]
    [InlineData("ERROR", "25006", true)]
    [InlineData("ERROR", "0A000", true)] // a plan whose result has changed: another connection makes another
    [InlineData("ERROR", "42501", false)]
    [InlineData("ERROR", "57014", false)]
    [InlineData("ERROR", "53100", false)]
    public void What_ended_a_connection_is_seen_by_its_severity(string severity, string state, bool isBroken) =>
        Assert.Equal(isBroken,
            PostgresFailures.IsBroken(new PostgresException("said by the server", severity, severity, state)));

    [Theory]
    [InlineData("FATAL", "53300", true)]
    [InlineData("FATAL", "57P03", true)]
    [InlineData("FATAL", "28P01", true)]
    [InlineData("FATAL", "57P05", false)]
    [InlineData("FATAL", "57P01", false)]
    public void One_that_was_not_opened_says_nothing_of_those_that_are(
        string severity, string state, bool isOfOpening) =>
        Assert.Equal(isOfOpening,
            PostgresFailures.IsOfOpening(new PostgresException("said by the server", severity, severity, state)));

    [Theory]
    [InlineData(Way.Direct)]
    [InlineData(Way.PgBouncer)]
    public async Task Sessions_that_are_ended_when_they_rest_cost_nothing(Way way)
    {
        var store = await server.NewDatabaseAsync(way);
        using var engine = await PostgresEngine.OpenAsync(store, default);
        await engine.JoinAsync(default);
        await SetAsync(store, "idle_session_timeout = '300ms'");
        await PostgresServer.EndOthersAsync(server.Directly(store));
        for (var i = 0; i < 3; i++)
        {
            await Task.Delay(600, TestContext.Current.CancellationToken);
            engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [(byte)i]))], _ => null);
            Assert.Equal([(byte)i], (await engine.FindMetaAsync("k", default))!);
            Assert.Null(await engine.FindSecretAsync(new SecretKey(1, [1]), default));
            Assert.Equal([(byte)i], engine.FindByWriter(MetaRow.ByKey, "k")!);
        }
    }

    [Fact]
    public async Task What_is_read_over_a_while_is_not_ended_in_its_pauses()
    {
        var store = await server.NewDatabaseAsync();
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await SetAsync(store, "idle_in_transaction_session_timeout = '100ms'");
        using var snapshot = await PostgresEngine.OpenSnapshotAsync(store, default);
        Assert.Empty(await snapshot.ListAppsAsync(bound: null, newer: false, 10, default));
        await Task.Delay(300, TestContext.Current.CancellationToken);
        Assert.Empty(await snapshot.ListAppsAsync(bound: null, newer: false, 10, default));
    }

    // Of a session that is there already nothing changes.
    private Task SetAsync(string store, string setting)
    {
        var database = new NpgsqlConnectionStringBuilder(store).Database;
        return PostgresServer.ExecuteAsync(server.Admin, $"ALTER DATABASE {database} SET {setting}");
    }
}
