using System.Reflection;
using Coffer.Storage;
using Coffer.Storage.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>A write that changes other rows than it had to is a fault: nothing of its batch is stored.</summary>
[Trait("Firm ground", "11")]
public sealed class WriteProofTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly SqliteEngine engine;
    private readonly long tenant;

    public WriteProofTests()
    {
        engine = SqliteEngine.Open(directory.File("coffer.db"));
        var id = new TenantId("app_1", Livemode: false, "acct_1");
        Write(new RowWrite.PutApp(new AppRow("app_1", "one", "acct", 1)), new RowWrite.AddTenant(id, 1, [1]));
        tenant = engine.FindTenantAsync(id, default).AsTask().Result!.Id;
        Write([.. Known().Select(write => write.Before).OfType<RowWrite>(), new RowWrite.PutMeta("other", [1])]);
    }

    public static TheoryData<string, string> Tricks()
    {
        var tricks = new TheoryData<string, string>();
        foreach (var (table, verb) in ((string, string)[])[
            ("audit", "INSERT"), ("audit", "DELETE"), ("revocations", "INSERT"), ("revocations", "DELETE"),
            ("epoch", "UPDATE"), ("generations", "INSERT"), ("generations", "UPDATE"), ("generations", "DELETE"),
            ("secrets", "INSERT"), ("secrets", "UPDATE"), ("secrets", "DELETE"), ("tenants", "INSERT"),
            ("tenants", "DELETE"), ("idempotency", "INSERT"), ("idempotency", "DELETE"), ("replies", "INSERT"),
            ("replies", "DELETE"), ("api_keys", "INSERT"), ("api_keys", "UPDATE"), ("api_keys", "DELETE"),
            ("apps", "INSERT"), ("apps", "UPDATE"), ("apps", "DELETE"), ("meta", "INSERT"), ("meta", "DELETE"),
            ("root_keys", "INSERT"), ("root_keys", "UPDATE"), ("root_keys", "DELETE"),
            ("root_key_wrappings", "INSERT"), ("root_key_wrappings", "DELETE"), ("tenants", "UPDATE"),
            ("idempotency", "UPDATE"), ("replies", "UPDATE"),
            ("receipts", "INSERT"), ("receipts", "UPDATE"), ("receipts", "DELETE"), ("meta", "UPDATE"),
            ("uninstalls", "INSERT"), ("uninstalls", "DELETE"),
            ("ended_keys", "INSERT"), ("ended_keys", "UPDATE"),
            ("ended_keys", "DELETE"), ("events", "INSERT"), ("events", "UPDATE"), ("events", "DELETE"),
            ("webhook_endpoints", "INSERT"), ("webhook_endpoints", "UPDATE"), ("webhook_endpoints", "DELETE"),
            ("deliveries", "INSERT"), ("deliveries", "DELETE")])
        {
            tricks.Add($"{verb} ON {table}", "BEFORE {0} BEGIN SELECT RAISE(IGNORE); END");
            tricks.Add($"{verb} ON {table}", "AFTER {0} BEGIN UPDATE meta SET value = x'00' WHERE key = 'other'; END");
        }

        return tricks;
    }

    [Theory]
    [MemberData(nameof(Tricks))]
    public void A_trigger_that_was_put_in_its_way_fails_the_batch(string verb, string trick)
    {
        Execute($"CREATE TRIGGER quiet {string.Format(trick, verb)}");
        var failed = 0;
        foreach (var (table, kind, _, write) in Known().Where(known => $"{known.Verb} ON {known.Table}" == verb))
        {
            var fault = Assert.Throws<ApiError>(() => Write(new RowWrite.PutMeta("beside", [1]), write));
            Assert.Equal((503, true), (fault.Status, fault.IsFault));
            Assert.Contains($"a write to {table} ", fault.InnerException!.Message, StringComparison.Ordinal);
            Assert.Equal(0L, Execute("SELECT count(*) FROM meta WHERE key = 'beside'"));
            failed++;
        }

        Assert.True(failed > 0, $"there is no {verb}");
        Execute("DROP TRIGGER quiet");
        foreach (var (_, _, _, write) in Known().Where(known => $"{known.Verb} ON {known.Table}" == verb))
            Write(write);
    }

    [Fact]
    public void Each_write_that_is_known_is_tried() =>
        Assert.Empty(Known().Select(known => $"{known.Verb} ON {known.Table}")
            .Except(Tricks().Select(trick => trick.Data.Item1)));

    [Fact]
    public void A_view_in_the_place_of_a_table_fails_the_batch()
    {
        Execute("""
            ALTER TABLE audit RENAME TO hidden;
            CREATE VIEW audit AS SELECT * FROM hidden;
            CREATE TRIGGER quiet INSTEAD OF INSERT ON audit BEGIN INSERT INTO hidden VALUES (NULL, new.node, new.first,
                new.last, new.mac, new.entries); END
            """);
        Assert.Equal(503,
            Assert.Throws<ApiError>(() => Write(new RowWrite.PutAudit(new AuditRow("node_1", 9, 9, [1], [2])))).Status);
    }

    [Fact]
    public void Each_statement_that_writes_is_proven()
    {
        var statements = Known().SelectMany(known => known.Write.Statements).ToList();
        var written = typeof(RowWrite).GetNestedTypes().Where(type => type.IsSubclassOf(typeof(RowWrite)));
        Assert.Empty(written.Except(Known().Select(known => known.Write.GetType())));
        Assert.All(statements, statement =>
        {
            foreach (var text in (string[])[statement.Text.Sqlite, statement.Text.Postgres])
                Assert.True(statement.Count is not null || WriteProof.Of(text) != WriteProof.Promise.None, text);
        });
    }

    public void Dispose()
    {
        engine.Dispose();
        directory.Dispose();
    }

    // Table, verb, what has to be there before, and what is written.
    private IEnumerable<(string Table, string Verb, RowWrite? Before, RowWrite Write)> Known()
    {
        SecretRow Secret(byte name) => new(new SecretKey(tenant, [name]), [1], $"id_{name}", 1, 1, null, [1]);
        IdempotencyRow Kept(byte key) => new(new IdempotencyKey(tenant, [key]), [1], 1, [1]);
        ApiKeyRow Key(byte mac) => new([mac], $"key_{mac}", null, null, "admin", true, 1, null, [1]);
        EndedKeyRow Ended(byte mac) => new([mac], $"key_{mac}", null, "admin", true, 1, 2, "revoked", [1]);
        RowWrite.PutReply Reply(byte key) => new(new ReplyRow([key], [key], [1], 1, [1]));
        AppRow App(string id) => new(id, "app", "acct", 1);
        EventRow Event(string id) => new(id, "app_1", false, null, null, "key.created", 1, [1]);
        EndpointRow Endpoint(string id) => new(id, "app_1", false, 1, [1]);
        DeliveryRow Delivery(string endpoint) => new(endpoint, 1, "", 1, 0, 1, 0);
        TenantId Of(string account) => new("app_1", false, account);
        RowWrite.PutGeneration Generation(string account) => new(new GenerationRow(Of(account), 1, 2, [1]));

        yield return ("audit", "INSERT", null, new RowWrite.PutAudit(new AuditRow("node_1", 2, 2, [1], [2])));
        yield return ("audit", "DELETE", new RowWrite.PutAudit(new AuditRow("node_1", 1, 1, [1], [2])),
            new RowWrite.PruneAudit(1));
        yield return ("revocations", "INSERT", null, new RowWrite.PutRevocation(new RevocationRow("a", 1, 2)));
        yield return ("revocations", "DELETE", new RowWrite.PutRevocation(new RevocationRow("b", 1, 2)),
            new RowWrite.DeleteRevocations(["b"], 2));
        yield return ("epoch", "UPDATE", null, new RowWrite.PutRevocation(new RevocationRow("c", 1, 2)));
        yield return ("generations", "INSERT", null, Generation("acct_1"));
        yield return ("generations", "UPDATE", Generation("acct_2"), new RowWrite.KeepGeneration(Of("acct_2"), 9));
        yield return ("generations", "DELETE", Generation("acct_3"), new RowWrite.DeleteGeneration(Of("acct_3"), 1, 2));
        yield return ("secrets", "INSERT", null, new RowWrite.PutSecret(Secret(1)));
        yield return ("secrets", "UPDATE", new RowWrite.PutSecret(Secret(2)), new RowWrite.PutSecret(Secret(2)));
        yield return ("secrets", "UPDATE", new RowWrite.PutSecret(Secret(4)),
            new RowWrite.PutSecret(Secret(4) with { Version = 2 }));
        yield return ("secrets", "DELETE", new RowWrite.PutSecret(Secret(3)),
            new RowWrite.DeleteSecret(new SecretKey(tenant, [3])));
        yield return ("tenants", "INSERT", null, new RowWrite.AddTenant(new TenantId("app_1", true, "acct_2"), 1, [1]));
        yield return ("tenants", "DELETE", null,
            new RowWrite.ShredTenant(tenant, new TenantId("app_1", false, "acct_1")));
        yield return ("idempotency", "INSERT", null, new RowWrite.PutIdempotency(Kept(1)));
        yield return ("idempotency", "DELETE", new RowWrite.PutIdempotency(Kept(2)),
            new RowWrite.PruneIdempotency(1, 100));
        yield return ("replies", "INSERT", null, Reply(1));
        yield return ("replies", "DELETE", null, new RowWrite.PruneReplies(1, 200));
        yield return ("replies", "DELETE", Reply(2), new RowWrite.DeleteReplies([2]));
        yield return ("api_keys", "INSERT", null, new RowWrite.PutApiKey(Key(1)));
        yield return ("api_keys", "UPDATE", new RowWrite.PutApiKey(Key(2)), new RowWrite.TouchApiKey("key_2", 3_600));
        yield return ("api_keys", "UPDATE", new RowWrite.PutApiKey(Key(3)), new RowWrite.PutApiKey(Key(3)));
        yield return ("api_keys", "DELETE", new RowWrite.PutApiKey(Key(4)), new RowWrite.DeleteApiKey("key_4"));
        yield return ("ended_keys", "INSERT", null, new RowWrite.PutEndedKey(Ended(1)));
        yield return ("ended_keys", "UPDATE", new RowWrite.PutEndedKey(Ended(2)), new RowWrite.PutEndedKey(Ended(2)));
        yield return ("ended_keys", "DELETE", new RowWrite.PutEndedKey(Ended(3)), new RowWrite.DeleteEndedKey([3]));
        yield return ("apps", "INSERT", null, new RowWrite.PutApp(App("app_2")));
        yield return ("apps", "UPDATE", new RowWrite.PutApp(App("app_3")), new RowWrite.PutApp(App("app_3")));
        yield return ("apps", "DELETE", new RowWrite.PutApp(App("app_4")), new RowWrite.DeleteApp("app_4"));
        yield return ("meta", "INSERT", null, new RowWrite.PutMeta("made", [1]));
        yield return ("meta", "DELETE", new RowWrite.PutMeta("gone", [1]), new RowWrite.DeleteMeta("gone"));
        yield return ("root_keys", "INSERT", null, new RowWrite.PutRootKey(new RootKeyRow(7, 1, [1])));
        yield return ("root_keys", "UPDATE", new RowWrite.PutRootKey(new RootKeyRow(8, 1, [1])),
            new RowWrite.EmptyRootKey(8));
        yield return ("root_keys", "DELETE", new RowWrite.PutRootKey(new RootKeyRow(9, 1, [])),
            new RowWrite.DeleteRootKey(9));
        yield return ("root_key_wrappings", "INSERT", null, new RowWrite.PutWrapping(new WrappingRow(1, "w", [1], 1)));
        yield return ("root_key_wrappings", "DELETE", new RowWrite.PutWrapping(new WrappingRow(2, "w", [1], 1)),
            new RowWrite.DeleteWrapping(2, "w"));
        yield return ("tenants", "UPDATE", null, new RowWrite.RewrapTenant(tenant, [1], [2]));
        yield return ("tenants", "UPDATE", null, new RowWrite.PutTenantKeys(tenant, Of("acct_1"), [3], 2, 2));
        yield return ("idempotency", "UPDATE", new RowWrite.PutIdempotency(Kept(3)),
            new RowWrite.ResealIdempotency(Kept(3), [2]));
        yield return ("replies", "UPDATE", Reply(3), new RowWrite.ResealReply(Reply(3).Row, [2]));
        yield return ("apps", "UPDATE", new RowWrite.PutApp(new AppRow("app_5", "five", "acct", 1, [1])),
            new RowWrite.RewrapApp("app_5", [1], [2]));
        yield return ("receipts", "INSERT", null, new RowWrite.PutReceipt(new ReceiptRow("rcpt_1", 1, null, [1])));
        yield return ("receipts", "DELETE", new RowWrite.PutReceipt(new ReceiptRow("rcpt_2", 1, 1, [1])),
            new RowWrite.PruneReceipts(1));
        yield return ("receipts", "UPDATE", new RowWrite.PutReceipt(new ReceiptRow("rcpt_3", 1, null, [1])),
            new RowWrite.ResealReceipt("rcpt_3", [1], [2]));
        yield return ("tenants", "UPDATE", null, new RowWrite.GiveInstall(tenant, "install_1"));
        yield return ("uninstalls", "INSERT", null, new RowWrite.PutUninstall(Closed(1)));
        yield return ("uninstalls", "DELETE", new RowWrite.PutUninstall(Closed(2)),
            new RowWrite.DeleteUninstall(Closed(2).Key));
        yield return ("meta", "UPDATE", new RowWrite.PutMeta("replaced", [1]),
            new RowWrite.ReplaceMeta("replaced", [1], [2]));
        yield return ("api_keys", "UPDATE", new RowWrite.PutApiKey(Key(5)),
            new RowWrite.ReproveApiKey("key_5", [1], [2]));
        yield return ("ended_keys", "UPDATE", new RowWrite.PutEndedKey(Ended(4)),
            new RowWrite.ReproveEndedKey([4], [1], [2]));
        yield return ("generations", "UPDATE", Generation("acct_4"),
            new RowWrite.ReproveGeneration(Of("acct_4"), [1], [2]));
        yield return ("events", "INSERT", null, new RowWrite.PutEvent(Event("evt_1")));
        yield return ("events", "UPDATE", new RowWrite.PutEvent(Event("evt_2")),
            new RowWrite.ResealEvent(Event("evt_2") with { Number = 1 }, [2]));
        yield return ("events", "DELETE", new RowWrite.PutEvent(Event("evt_3")), new RowWrite.PruneEvents(1, 1_000));
        yield return ("webhook_endpoints", "INSERT", null, new RowWrite.PutEndpoint(Endpoint("we_1")));
        yield return ("webhook_endpoints", "UPDATE", new RowWrite.PutEndpoint(Endpoint("we_2")),
            new RowWrite.MoveEndpoint("we_2", 7, 8));
        yield return ("webhook_endpoints", "UPDATE", new RowWrite.PutEndpoint(Endpoint("we_3")),
            new RowWrite.RewrapEndpoint("we_3", [1], [2]));
        yield return ("webhook_endpoints", "DELETE", new RowWrite.PutEndpoint(Endpoint("we_4")),
            new RowWrite.DeleteEndpoint("we_4"));
        yield return ("deliveries", "INSERT", null, new RowWrite.PutDelivery(Delivery("we_1")));
        yield return ("deliveries", "DELETE", new RowWrite.PutDelivery(Delivery("we_5")),
            new RowWrite.DeleteDelivery("we_5", 1));
    }

    private static UninstallRow Closed(byte account) =>
        new(new UninstallKey("app_1", Livemode: false, [account]), "install_1", 1, 1, "rcpt_1");

    private void Write(params RowWrite[] rows) => engine.Write([new Change.Plain(rows)], _ => null);

    private object? Execute(string sql)
    {
        using var connection = StoreEdits.Connect(directory.File("coffer.db"));
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
