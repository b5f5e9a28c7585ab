using Coffer.Management;
using Coffer.Shared;
using Coffer.Storage.Sqlite;
using Microsoft.Data.Sqlite;

namespace Coffer.Tests.Storage;

/// <summary>A scan ends when who asked for it has hung up, wherever it is.</summary>
[Trait("Firm ground", "17")]
public sealed class HangUpTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public async Task A_statement_that_gives_no_row_for_long_is_ended()
    {
        using var session = new SqliteSession(directory.File("any.db"));
        const string Endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
        var running = Task.Run(() => session.Run(Endless));
        await Until.SoAsync("the statement is ended", () =>
        {
            session.Interrupt();
            return running.IsCompleted;
        });

        Assert.Equal(9, (await Assert.ThrowsAsync<SqliteException>(() => running)).SqliteErrorCode); // SQLITE_INTERRUPT
        Assert.Equal(1, session.Scalar("SELECT 1")); // and the session is as good as before
    }

    [Fact]
    public async Task A_scan_of_the_audit_log_ends_when_the_client_hangs_up()
    {
        using var engine = Filled();
        var filter = new AuditFilter(null, "acct_none", null, null, null, null, null);
        using var hangsUp = new CancellationTokenSource();
        var search = new AuditSearch(engine, filter, after: null, 10);
        var scan = Task.Run(async () =>
        {
            while (await search.StepAsync(hangsUp.Token))
                continue;
        });
        await hangsUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => scan);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            async () => await engine.ListAuditAsync(long.MaxValue, newestFirst: true, 10, hangsUp.Token));
    }

    // Of one tenant many secrets, and many entries.
    private SqliteEngine Filled()
    {
        var engine = SqliteEngine.Open(directory.File("coffer.db"));
        using var session = new SqliteSession(directory.File("coffer.db"));
        session.Execute("""
            INSERT INTO apps (id, name, account, created) VALUES ('app_1', 'a', 'acct_1', 1);
            INSERT INTO tenants (id, app, livemode, account, created, sealed_keys)
            VALUES (1, 'app_1', 0, 'acct_1', 1, x'00');
            WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 400000)
            INSERT INTO secrets (tenant, name, scope, id, version, created, sealed)
            SELECT 1, CAST(printf('%016d', x) AS BLOB), x'01', printf('appsecret_%d', x), 1, 1, x'02' FROM n;
            WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000)
            INSERT INTO audit (node, first, last, mac, entries)
            SELECT 'node_1', x, x, x'00', CAST('{"seq":' || x || ',"time":"2026-01-01T00:00:00.000Z"}' AS BLOB) FROM n;
            """);
        return engine;
    }
}
