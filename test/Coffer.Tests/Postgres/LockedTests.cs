using Coffer.Audit;
using Coffer.Settings;
using Coffer.Storage;
using Coffer.Storage.Postgres;
using Npgsql;

namespace Coffer.Tests.Postgres;

/// <summary>
/// What waits for a lock that another node or program holds waits alone: other apps and what is urgent continue.
/// </summary>
[Trait("Firm ground", "8")]
public sealed class LockedTests(PostgresServer server)
{
    [Fact]
    public async Task A_lock_on_one_apps_tenant_delays_neither_other_apps_nor_a_revocation()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        using var committer = new Committer(engine, 1_000, new Committer.Chain(_ => null, () => { }));
        await committer.CommitAsync(new Change.Plain([.. Enumerable.Range(1, 2).SelectMany(Rows)]));

        await using var holder = await HoldAsync(store, 1);
        var locked = Enumerable.Range(0, 5).Select(i => committer.CommitAsync(new Setting(1, (byte)i))).ToList();
        var others = Enumerable.Range(0, 5).Select(i => committer.CommitAsync(new Setting(2, (byte)i))).ToList();
        var revocation = new RowWrite.PutRevocation(new RevocationRow("key_1", 1, 2));
        var revoked = committer.CommitAsync(new Change.Plain(revocation) { In = Lane.Urgent });
        var ct = TestContext.Current.CancellationToken;
        await Task.WhenAll([revoked, .. others]).WaitAsync(TimeSpan.FromSeconds(30), ct);
        Assert.All(locked, change => Assert.False(change.IsCompleted));

        await ReleaseAsync(holder);
        await Task.WhenAll(locked);
        Assert.Equal(10L, await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM secrets"));
    }

    [Fact]
    public async Task What_never_gets_its_lock_is_answered_503_and_what_is_urgent_sooner()
    {
        var store = await server.NewDatabaseAsync();
        using var engine = await PostgresEngine.OpenAsync(store, default);
        using var committer = new Committer(engine, 1_000, new Committer.Chain(_ => null, () => { }));
        await committer.CommitAsync(new Change.Plain([.. Rows(1)]));

        await using var holder = await HoldAsync(store, 1);
        var ordinary = committer.CommitAsync(new Setting(1, 1));
        var urgent = committer.CommitAsync(new Setting(1, 2, Lane.Urgent));
        var first = await Task.WhenAny(ordinary, urgent);
        Assert.Same(urgent, first);
        foreach (var waited in (Task[])[urgent, ordinary])
        {
            var refused = await Assert.ThrowsAsync<ApiError>(() => waited);
            Assert.Equal((503, true), (refused.Status, refused.ShouldRetry));
        }

        await ReleaseAsync(holder);
        await committer.CommitAsync(new Setting(1, 3));
        Assert.Equal(1L, await PostgresServer.ScalarAsync(store, "SELECT count(*) FROM secrets"));
    }

    private static RowWrite[] Rows(int app) =>
    [
        new RowWrite.PutApp(new AppRow($"app_{app}", "an app", $"acct_{app}", 0)),
        new RowWrite.AddTenant(new TenantId($"app_{app}", false, $"acct_{app}"), 0, [1]),
    ];

    private static async Task<NpgsqlConnection> HoldAsync(string store, int tenant)
    {
        var connection = new NpgsqlConnection(store);
        await connection.OpenAsync();
        var held = $"BEGIN; SELECT id FROM tenants WHERE app = 'app_{tenant}' FOR UPDATE";
        await using var hold = new NpgsqlCommand(held, connection);
        await hold.ExecuteNonQueryAsync();
        return connection;
    }

    private static async Task ReleaseAsync(NpgsqlConnection holder)
    {
        await using var end = new NpgsqlCommand("ROLLBACK", holder);
        await end.ExecuteNonQueryAsync();
    }

    // The tenants were made in the order of their apps, so that their numbers are those of the apps.
    private sealed class Setting(int tenant, byte name, Lane lane = Lane.Ordinary) : Change
    {
        private readonly SecretKey key = new(tenant, [name]);

        public override Lane Lane => lane;

        public override Payer Payer { get; } = new($"app_{tenant}");

        public override SecretKey? SecretAt => key;

        public override IReadOnlyList<RowWrite> Decide(Found found) =>
            [new RowWrite.PutSecret(new SecretRow(key, [8], $"appsecret_{tenant}_{name}", 1, 0, null, [1]))];

        public override IReadOnlyList<Note> NotesOn(Exception? refusal) => [new AuditEntry("set", "ok")];
    }
}
