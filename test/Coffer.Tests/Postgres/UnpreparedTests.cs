using Coffer.Storage;
using Coffer.Storage.Postgres;

namespace Coffer.Tests.Postgres;

/// <summary>
/// The driver may take for prepared what the server does not have, as after a batch that ended in the middle: another
/// connection is used then, and no request learns of it.
/// </summary>
public sealed class UnpreparedTests(PostgresServer server)
{
    private const string Forget = """
        CREATE FUNCTION forget() RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN true; END $$;
        """;

    [Fact]
    public async Task What_writes_goes_on_with_another_connection()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        for (var round = 0; round < 5; round++)
            Write(engine);
        var before = engine.Failovers;
        await PostgresServer.ExecuteAsync(store, $"""
            {Forget}
            CREATE FUNCTION then_forget() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM forget(); RETURN NEW; END $$;
            CREATE TRIGGER forgetting BEFORE INSERT OR UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION then_forget();
            """);
        Write(engine);
        await PostgresServer.ExecuteAsync(store, "DROP TRIGGER forgetting ON meta");
        for (var round = 0; round < 5; round++)
            Write(engine);
        Assert.NotEqual(before, engine.Failovers);
        Assert.Equal([1], await engine.FindMetaAsync("k", default));
    }

    [Fact]
    public async Task What_reads_goes_on_with_another_connection()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        Write(engine);
        for (var round = 0; round < 5; round++)
            Assert.NotNull(await engine.FindMetaAsync("k", default));
        await PostgresServer.ExecuteAsync(store, $"""
            {Forget}
            ALTER TABLE meta RENAME TO hidden;
            CREATE VIEW meta AS SELECT hidden.* FROM hidden WHERE forget();
            """);
        Assert.NotNull(await engine.FindMetaAsync("k", default));
        await PostgresServer.ExecuteAsync(store, "DROP VIEW meta; ALTER TABLE hidden RENAME TO meta");
        for (var round = 0; round < 5; round++)
            Assert.NotNull(await engine.FindMetaAsync("k", default));
    }

    private static void Write(PostgresEngine engine) =>
        engine.Write([new Change.Plain(new RowWrite.PutMeta("k", [1]))], _ => null);
}
