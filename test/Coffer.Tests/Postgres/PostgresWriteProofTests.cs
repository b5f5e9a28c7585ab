using Coffer.Hosting;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// What is put in the way of a write while a node runs fails its batch, and nothing of that is stored.
/// </summary>
[Trait("Firm ground", "11")]
public sealed class PostgresWriteProofTests(PostgresServer server)
{
    private const string Quiet =
        "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';";

    private static readonly TenantId Tenant = new("app_1", Livemode: false, "acct_1");

    [Theory]
    [InlineData("audit", "INSERT")]
    [InlineData("audit", "DELETE")]
    [InlineData("revocations", "INSERT")]
    [InlineData("revocations", "DELETE")]
    [InlineData("secrets", "INSERT")]
    [InlineData("secrets", "UPDATE")]
    [InlineData("secrets", "DELETE")]
    [InlineData("idempotency", "INSERT")]
    [InlineData("tenants", "INSERT")]
    [InlineData("tenants", "DELETE")]
    [InlineData("replies", "INSERT")]
    [InlineData("replies", "DELETE")]
    [InlineData("api_keys", "INSERT")]
    [InlineData("api_keys", "UPDATE")]
    [InlineData("api_keys", "DELETE")]
    [InlineData("apps", "UPDATE")]
    [InlineData("apps", "DELETE")]
    [InlineData("meta", "INSERT")]
    [InlineData("receipts", "INSERT")]
    [InlineData("receipts", "DELETE")]
    public async Task A_trigger_or_a_rule_fails_the_batch(string table, string verb)
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        var tenant = await SeedAsync(engine);
        foreach (var (make, drop) in ((string, string)[])[
            ($"{Quiet} CREATE TRIGGER quiet BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION quiet()",
                "DROP FUNCTION quiet CASCADE"),
            ($"CREATE RULE quiet AS ON {verb} TO {table} DO INSTEAD NOTHING", $"DROP RULE quiet ON {table}")])
        {
            await PostgresServer.ExecuteAsync(store, make);
            var fault = Assert.Throws<ApiError>(() =>
                Write(engine, new RowWrite.PutMeta("beside", [1]), Known(tenant)[(table, verb)]));
            Assert.Equal((503, true), (fault.Status, fault.IsFault));
            Assert.Equal(0L, await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM meta WHERE key = 'beside'"));
            await PostgresServer.ExecuteAsync(store, drop);
        }

        Write(engine, new RowWrite.PutMeta("beside", [1]), Known(tenant)[(table, verb)]);
        Assert.NotNull(await engine.FindMetaAsync("beside", default));
    }

    [Fact]
    public async Task What_is_in_its_way_is_named_by_the_table()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        await PostgresServer.ExecuteAsync(
            store, $"{Quiet} CREATE TRIGGER quiet BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION quiet()");
        var fault = Assert.Throws<ApiError>(() =>
            Write(engine, new RowWrite.PutAudit(new AuditRow("node_1", 1, 1, [1], [2]))));
        Assert.Contains("a write to audit ", fault.InnerException!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sweep_ends_when_records_do_not_go_away()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        var tenant = await SeedAsync(engine);
        Write(engine, Known(tenant)[("idempotency", "INSERT")]);
        await PostgresServer.ExecuteAsync(store, "CREATE RULE quiet AS ON DELETE TO idempotency DO INSTEAD NOTHING");
        using var committer = new Committer(engine, 100, new Committer.Chain(_ => null, () => { }));
        using var reaper = new Coffer.Hosting.Reaper(
            engine, committer, null, TimeProvider.System,
                Microsoft.Extensions.Logging.Abstractions.NullLogger<Coffer.Hosting.Reaper>.Instance);
        var failure =
            await Assert.ThrowsAsync<ApiError>(() => reaper.SweepAsync(default)).WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Contains("contradicts itself", failure.InnerException!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_view_in_the_place_of_a_table_fails_the_batch()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        var tenant = await SeedAsync(engine);
        await PostgresServer.ExecuteAsync(store, """
            ALTER TABLE revocations RENAME TO hidden; CREATE VIEW revocations AS SELECT * FROM hidden;
            CREATE RULE quiet AS ON INSERT TO revocations DO INSTEAD NOTHING
            """);
        Assert.Equal(503,
            Assert.Throws<ApiError>(() => Write(engine, Known(tenant)[("revocations", "INSERT")])).Status);
    }

    [Fact]
    public async Task A_policy_fails_the_batch()
    {
        var store = await server.NewDatabaseAsync();
        var role = $"rows_{Guid.NewGuid():n}";
        (await PostgresEngine.OpenAsync(store, default)).Dispose();
        await PostgresServer.ExecuteAsync(store, $"""
            CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA public TO {role};
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}
            """);
        var limited = new NpgsqlConnectionStringBuilder(store) { Username = role }.ConnectionString;
        using var engine = await PostgresEngine.OpenAsync(limited, default);
        var tenant = await SeedAsync(engine);
        await PostgresServer.ExecuteAsync(store, $"""
            ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON secrets USING (true) WITH CHECK
                (false);
            CREATE POLICY theirs ON secrets AS RESTRICTIVE FOR DELETE USING (false)
            """);
        foreach (var verb in (string[])["INSERT", "UPDATE"])
            Assert.Equal(503, Assert.Throws<ApiError>(() => Write(engine, Known(tenant)[("secrets", verb)])).Status);
        var reading =
            new Asking(new SecretKey(tenant, [2]), _ => [new RowWrite.DeleteSecret(new SecretKey(tenant, [2]))]);
        Assert.Equal(503, Assert.Throws<ApiError>(() => engine.Write([reading], _ => null)).Status);
    }

    [Fact]
    public async Task A_deletion_of_what_was_not_read_is_proven_too()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        var tenant = await SeedAsync(engine);
        await PostgresServer.ExecuteAsync(store, "CREATE RULE quiet AS ON DELETE TO secrets DO INSTEAD NOTHING");
        var asking = new Asking(new SecretKey(tenant, [2]),
            found => found.Secret is null ? [] : [new RowWrite.DeleteSecret(new SecretKey(tenant, [2]))]);
        Assert.Equal(503, Assert.Throws<ApiError>(() => engine.Write([asking], _ => null)).Status);
        await PostgresServer.ExecuteAsync(store, "DROP RULE quiet ON secrets");
        engine.Write([new Asking(new SecretKey(tenant, [2]), asking.Decide)], _ => null);
        Assert.Null(await engine.FindSecretAsync(new SecretKey(tenant, [2]), default));
    }

    private static async Task<long> SeedAsync(PostgresEngine engine)
    {
        Write(engine, new RowWrite.PutApp(new AppRow("app_1", "one", "acct", 1)),
            new RowWrite.AddTenant(Tenant, 1, [1]));
        var tenant = (await engine.FindTenantAsync(Tenant, default))!.Id;
        Write(engine, new RowWrite.PutSecret(Secret(tenant, 2)), new RowWrite.PutSecret(Secret(tenant, 3)),
            new RowWrite.PutAudit(new AuditRow("node_1", 1, 1, [1], [2])),
            new RowWrite.PutRevocation(new RevocationRow("b", 1, 2)),
                new RowWrite.PutReply(new ReplyRow([2], [2], [1], 1, [1])),
            new RowWrite.PutApiKey(Key(2)), new RowWrite.PutApiKey(Key(4)), new RowWrite.PutEndedKey(Ended(2)),
                new RowWrite.PutApp(new AppRow("app_4", "app", "acct", 1)),
            new RowWrite.PutReceipt(new ReceiptRow("rcpt_2", 1, 1, [1])), Generation("acct_2"));
        return tenant;
    }

    private static Dictionary<(string, string), RowWrite> Known(long tenant) => new()
    {
        [("audit", "INSERT")] = new RowWrite.PutAudit(new AuditRow("node_1", 2, 2, [1], [2])),
        [("audit", "DELETE")] = new RowWrite.PruneAudit(1),
        [("revocations", "INSERT")] = new RowWrite.PutRevocation(new RevocationRow("a", 1, 2)),
        [("revocations", "DELETE")] = new RowWrite.DeleteRevocations(["b"], 2),
        [("epoch", "UPDATE")] = new RowWrite.PutRevocation(new RevocationRow("c", 1, 2)),
        [("told", "INSERT")] = new RowWrite.PutRevocation(new RevocationRow("d", 1, 2)),
        [("generations", "INSERT")] = Generation("acct_1"),
        [("generations", "UPDATE")] = new RowWrite.KeepGeneration(new TenantId("app_1", false, "acct_2"), 9),
        [("generations", "DELETE")] = new RowWrite.DeleteGeneration(new TenantId("app_1", false, "acct_2"), 1, 2),
        [("secrets", "INSERT")] = new RowWrite.PutSecret(Secret(tenant, 1)),
        [("secrets", "UPDATE")] = new RowWrite.PutSecret(Secret(tenant, 2)),
        [("secrets", "DELETE")] = new RowWrite.DeleteSecret(new SecretKey(tenant, [3])),
        [("idempotency", "INSERT")] =
            new RowWrite.PutIdempotency(new IdempotencyRow(new IdempotencyKey(tenant, [1]), [1], 1, [1])),
        [("tenants", "INSERT")] = new RowWrite.AddTenant(new TenantId("app_1", true, "acct_2"), 1, [1]),
        [("tenants", "DELETE")] = new RowWrite.ShredTenant(tenant, Tenant),
        [("replies", "INSERT")] = new RowWrite.PutReply(new ReplyRow([1], [1], [1], 1, [1])),
        [("replies", "DELETE")] = new RowWrite.DeleteReplies([2]),
        [("api_keys", "INSERT")] = new RowWrite.PutApiKey(Key(1)),
        [("api_keys", "UPDATE")] = new RowWrite.TouchApiKey("key_2", 3_600),
        [("api_keys", "DELETE")] = new RowWrite.DeleteApiKey("key_4"),
        [("ended_keys", "INSERT")] = new RowWrite.PutEndedKey(Ended(1)),
        [("ended_keys", "UPDATE")] = new RowWrite.PutEndedKey(Ended(2)),
        [("ended_keys", "DELETE")] = new RowWrite.DeleteEndedKey([2]),
        [("apps", "UPDATE")] = new RowWrite.PutApp(new AppRow("app_1", "new", "acct", 1)),
        [("apps", "DELETE")] = new RowWrite.DeleteApp("app_4"),
        [("meta", "INSERT")] = new RowWrite.PutMeta("made", [1]),
        [("receipts", "INSERT")] = new RowWrite.PutReceipt(new ReceiptRow("rcpt_1", 1, null, [1])),
        [("receipts", "DELETE")] = new RowWrite.PruneReceipts(1),
    };

    private static RowWrite.PutGeneration Generation(string account) =>
        new(new GenerationRow(new TenantId("app_1", false, account), 1, 2, [1]));

    private static SecretRow Secret(long tenant, byte name) =>
        new(new SecretKey(tenant, [name]), [1], $"id_{name}", 1, 1, null, [1]);

    private static EndedKeyRow Ended(byte mac) =>
        new([mac], $"key_{mac}", null, "admin", true, 1, 2, "revoked", [1]);

    private static ApiKeyRow Key(byte mac) => new([mac], $"key_{mac}", null, null, "admin", true, 1, null, [1]);

    private static void Write(PostgresEngine engine, params RowWrite[] rows) =>
        engine.Write([new Change.Plain(rows)], _ => null);

    private sealed class Asking(SecretKey key, Func<Change.Found, IReadOnlyList<RowWrite>> decide) : Change
    {
        public override SecretKey? SecretAt => key;

        public override IReadOnlyList<RowWrite> Decide(Found found) => decide(found);
    }
}
