
namespace Coffer.Tests.Secrets;

/// <summary>
/// What the storage answers cannot keep anybody going without an end: here it does not keep what it was given, or takes
/// nothing away.
/// </summary>
[Trait("Engine", "SQLite")]
[Trait("Firm ground", "11")]
public sealed class StorageLoopTests : ServerTests
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_set_for_a_tenant_that_cannot_be_stored_ends()
    {
        Execute("CREATE TRIGGER quiet BEFORE INSERT ON tenants BEGIN SELECT RAISE(IGNORE); END");
        (await Server.Client(account: "acct_new").Set("k").WaitAsync(Bound))
            .IsError(503, null, null, type: "api_error");
        Execute("DROP TRIGGER quiet");
        (await Server.Client(account: "acct_new").Set("k")).IsOk();
    }

    [Fact]
    public async Task A_set_for_a_tenant_that_is_never_found_ends()
    {
        // What is stored is not what is read.
        Execute("""
            ALTER TABLE tenants RENAME TO hidden;
            CREATE VIEW tenants AS SELECT * FROM hidden WHERE account <> 'acct_new';
            CREATE TRIGGER quiet INSTEAD OF INSERT ON tenants BEGIN INSERT OR IGNORE INTO hidden (app, livemode,
                account, created, sealed_keys)
            VALUES (new.app, new.livemode, new.account, new.created, new.sealed_keys); END
            """);
        (await Server.Client(account: "acct_new").Set("k").WaitAsync(Bound))
            .IsError(503, null, null, type: "api_error");
    }

    [Fact]
    public async Task An_audit_log_whose_numbers_mean_nothing_is_not_walked_for_ever()
    {
        for (var i = 0; i < 20; i++)
            (await Server.Client().Set("k")).IsOk();
        Execute("""
            ALTER TABLE audit RENAME TO hidden;
            CREATE VIEW audit AS SELECT random() & 255 AS row, node, first, last, mac, entries FROM hidden
            """);
        var answer = await Server.Admin.Get("/admin/v1/audit", ("verb", "none")).WaitAsync(Bound);
        answer.IsError(503, null, null, type: "api_error");
    }

    private void Execute(string sql)
    {
        using var connection = StoreEdits.Connect(Server.StoreFile);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
