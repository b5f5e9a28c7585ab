using System.Security.Cryptography;
using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>What every engine must do. Each engine is one subclass.</summary>
public abstract partial class EngineContract : IAsyncLifetime
{
    private static readonly TenantId Tenant = new("app_1", Livemode: false, "acct_1");
    private static readonly byte[] Scope = RandomNumberGenerator.GetBytes(16);

    private Engine engine = null!;
    private long tenant;

    public async ValueTask InitializeAsync()
    {
        engine = await OpenAsync();
        Write(new RowWrite.PutApp(new AppRow("app_1", "one", "acct_own", 1)),
            new RowWrite.AddTenant(Tenant, 1, [1, 2, 3]));
        tenant = (await engine.FindTenantAsync(Tenant, default))!.Id;
    }

    public ValueTask DisposeAsync()
    {
        engine.Dispose();
        GC.SuppressFinalize(this);
        return CloseAsync();
    }

    [Fact]
    public async Task What_is_not_there_is_null()
    {
        Assert.Null(await engine.FindMetaAsync("x", default));
        Assert.Null(await engine.FindAppAsync("x", default));
        Assert.Null(await engine.FindApiKeyAsync([1], default));
        Assert.Null(await engine.FindTenantAsync(Tenant with { Livemode = true }, default));
        Assert.Null(await engine.FindSecretAsync(new SecretKey(tenant, [1]), default));
        Assert.Empty((await engine.ListSecretsAsync(tenant, [1], null, false, 0, 10, default)).Rows);
        Assert.Empty(await engine.ListRootKeysAsync(default));
    }

    [Fact]
    [Trait("Reports from the field", "R2-26")]
    public async Task Audit_rows_are_read_by_their_size_and_one_is_read_however_large_it_is()
    {
        int[] sizes = [10, 2_000_000, 30, .. Enumerable.Repeat(5, 40), 100, 1];
        for (var i = 0; i < sizes.Length; i++)
        {
            var row = new AuditRow("node_1", i + 1, i + 1, [(byte)i], new byte[sizes[i]]);
            engine.Write([new Change.Plain()], _ => new RowWrite.PutAudit(row));
        }

        Assert.Equal([10], await PageAsync(0, newestFirst: false, 100));
        Assert.Equal([10], await PageAsync(0, newestFirst: false, 0));
        Assert.Equal([10, 2_000_000], await PageAsync(0, newestFirst: false, 2_000_010));
        Assert.Equal([1], await PageAsync(long.MaxValue, newestFirst: true, 100));
        Assert.Equal([1, 100], await PageAsync(long.MaxValue, newestFirst: true, 101));
        Assert.Equal([1, 100, .. Enumerable.Repeat(5, 40), 30],
            await PageAsync(long.MaxValue, newestFirst: true, 1_000_000));
        var all = await engine.ListAuditAsync(0, newestFirst: false, long.MaxValue, default);
        Assert.Equal(sizes, all.Select(row => row.Row.Entries.Length));
        Assert.Equal([2_000_000], await PageAsync(all[0].Number, newestFirst: false, 50));
        Assert.Equal([30, 5, 5], await PageAsync(all[1].Number, newestFirst: false, 44));
        Assert.Empty(await PageAsync(all[^1].Number, newestFirst: false, 100));

        async Task<IEnumerable<int>> PageAsync(long bound, bool newestFirst, long size) =>
            (await engine.ListAuditAsync(bound, newestFirst, size, default)).Select(row => row.Row.Entries.Length);
    }

    [Fact]
    [Trait("Reports from the field", "R2-26")]
    public async Task The_size_of_a_page_is_known_before_it_is_read()
    {
        for (var i = 0; i < 5; i++)
        {
            Write(new RowWrite.PutSecret(
                NewSecret($"appsecret_{i}") with { Scope = Scope, Sealed = new byte[i * 10] }));
        }

        Assert.Equal(100, await engine.SizeOfListAsync(tenant, Scope, null, false, 0, 10, default));
        Assert.Equal(70, await engine.SizeOfListAsync(tenant, Scope, null, false, 0, 2, default));
        Assert.Equal(30, await engine.SizeOfListAsync(tenant, Scope, "appsecret_3", false, 0, 10, default));
        Assert.Equal(70, await engine.SizeOfListAsync(tenant, Scope, "appsecret_2", true, 0, 10, default));
        Assert.Equal(0, await engine.SizeOfListAsync(tenant, [2], null, false, 0, 10, default));
        Assert.Equal(70, await engine.SizeOfTenantListAsync(tenant, null, 0, 2, default));
        Assert.Equal(10, await engine.SizeOfTenantListAsync(tenant, "appsecret_2", 0, 10, default));
    }

    [Fact]
    [Trait("Firm ground", "12")]
    public void What_writes_finds_the_audit_row_of_an_entry_or_the_newest_before_it()
    {
        foreach (var (node, first, last) in ((string, long, long)[])[("node_1", 1, 3), ("node_2", 1, 1),
            ("node_1", 4, 4), ("node_1", 5, 9)])
            engine.Write([new Change.Plain()], _ => new RowWrite.PutAudit(
                new AuditRow(node, first, last, [(byte)last], [])));
        Write(new RowWrite.PutMeta("about", [7]));
        foreach (var (asked, last) in ((long, long?)[])[(0, null), (1, 3), (3, 3), (4, 4), (6, 9), (8, 9),
            (long.MaxValue, 9)])
            Assert.Equal(last, engine.FindAudit("node_1", asked)?.Last);
        Assert.Equal([1], engine.FindAudit("node_2", 5)!.Mac);
        Assert.Null(engine.FindAudit("node_3", 5));
        Assert.Equal([7], engine.FindMeta("about"));
        Assert.Null(engine.FindMeta("nothing"));

        // And within a transaction, what was there before it.
        AuditRow? found = null;
        engine.Write([new Change.Plain()], _ =>
        {
            found = engine.FindAudit("node_1", long.MaxValue);
            return new RowWrite.PutAudit(new AuditRow("node_1", 10, 10, [10], []));
        });
        Assert.Equal((9, 10), (found!.Last, engine.FindAudit("node_1", long.MaxValue)!.Last));
    }

    [Fact]
    [Trait("Firm ground", "1")]
    public async Task An_engine_names_its_kind_and_its_release()
    {
        Assert.Matches("^(sqlite|postgresql)$", engine.Name);
        Assert.Matches(@"^\d+(\.\d+)+$", await engine.FindReleaseAsync(default));
    }

    [Fact]
    public async Task Rows_come_back_as_they_were_put()
    {
        var key = new ApiKeyRow([9, 9], "key_1", "app_1", "acct_own", "secret", true, 5, 6, [7, 8]);
        var secret = NewSecret("b", expiresAt: 77);
        Write(new RowWrite.PutMeta("m", [1, 0, 255]), new RowWrite.PutRootKey(new RootKeyRow(uint.MaxValue, 3, [4])),
            new RowWrite.PutApiKey(key), new RowWrite.PutSecret(secret));

        Assert.Equal([1, 0, 255], await engine.FindMetaAsync("m", default));
        Assert.Equivalent(new RootKeyRow(uint.MaxValue, 3, [4]), Assert.Single(await engine.ListRootKeysAsync(default)),
            strict: true);
        Assert.Equivalent(key, await engine.FindApiKeyAsync([9, 9], default), strict: true);
        Assert.Equivalent(secret, await engine.FindSecretAsync(secret.Key, default), strict: true);
        Assert.Equal(new AppRow("app_1", "one", "acct_own", 1), await engine.FindAppAsync("app_1", default));
    }

    [Fact]
    public async Task Rows_that_many_ask_for_at_once_come_each_to_who_asked()
    {
        TenantId[] owners = [Tenant, Tenant with { Livemode = true }, Tenant with { Account = "acct_2" },
            Tenant with { Account = "acct_\0" }];
        Write(new RowWrite.AddTenant(owners[1], 1, [4]), new RowWrite.AddTenant(owners[2], 1, [5]));
        var found = await Task.WhenAll(
            Enumerable.Range(0, 200).Select(
                i => Task.Run(() => engine.FindTenantAsync(owners[i % 4], default).AsTask())));
        Assert.Equal([[1, 2, 3], [4], [5], null], found[..4].Select(row => row?.SealedKeys));
        Assert.Equivalent(Enumerable.Range(0, 200).Select(i => found[i % 4]), found, strict: true);

        // The same name in several tenants: every third is not there.
        var secrets = Enumerable.Range(0, 100)
            .Select(i => NewSecret($"{i}") with { Key = new SecretKey(found[i % 3]!.Id, [(byte)(i / 3)]) }).ToList();
        Write([.. secrets.Where((_, i) => i % 7 > 0).Select(row => new RowWrite.PutSecret(row))]);
        var rows = await Task.WhenAll(
            secrets.Concat(secrets).Select(row => Task.Run(() => engine.FindSecretAsync(row.Key, default).AsTask())));
        for (var i = 0; i < rows.Length; i++)
            Assert.Equivalent(i % 100 % 7 > 0 ? secrets[i % 100] : null, rows[i], strict: true);
    }

    [Fact]
    public async Task The_first_keys_of_a_tenant_stay()
    {
        Write(new RowWrite.AddTenant(Tenant, 2, [9]));
        Assert.Equivalent(new TenantRow(tenant, [1, 2, 3]), await engine.FindTenantAsync(Tenant, default),
            strict: true);
    }

    [Fact]
    public async Task A_secret_put_again_is_replaced_and_deleted_is_gone()
    {
        var first = NewSecret("a");
        var second = first with { Version = 2, Sealed = [5], ExpiresAt = 9 };
        Write(new RowWrite.PutSecret(first), new RowWrite.PutSecret(second));
        Assert.Equivalent(second, await engine.FindSecretAsync(first.Key, default), strict: true);
        Write(new RowWrite.DeleteSecret(first.Key));
        Assert.Null(await engine.FindSecretAsync(first.Key, default));
    }

    [Fact]
    public async Task A_page_is_nearest_to_its_bound_first_and_leaves_out_the_expired()
    {
        foreach (var id in (string[])["a", "b", "c", "d", "e"])
            Write(new RowWrite.PutSecret(NewSecret(id, expiresAt: id == "c" ? 100 : null)));
        Write(new RowWrite.PutSecret(NewSecret("z") with { Scope = [0] }));

        Assert.Equal("e d c b a", await Page(null, newer: false, now: 99, limit: 10));
        Assert.Equal("e d b a", await Page(null, newer: false, now: 100, limit: 10));
        Assert.Equal("b a", await Page("c", newer: false, now: 100, limit: 10));
        Assert.Equal("d", await Page("c", newer: true, now: 100, limit: 1));
        Assert.Equal("e d", await Page(null, newer: false, now: 100, limit: 2));
        Assert.Equal("", await Page("a", newer: false, now: 100, limit: 2));

        async Task<string> Page(string? bound, bool newer, long now, int limit) =>
            string.Join(
                ' ',
                (await engine.ListSecretsAsync(tenant, Scope, bound, newer, now, limit,
                    default)).Rows.Select(row => row.Id));
    }

    [Fact]
    public void A_change_sees_what_those_before_it_in_the_batch_wrote()
    {
        var (seen, counts) = (new List<long?>(), new List<int>());
        var secret = NewSecret("a", 1_000);
        engine.Write([.. Enumerable.Range(1, 3).Select(version => new Recording(secret.Key,
            new IdempotencyKey(tenant, [1]), found =>
        {
            seen.Add(found.Secret?.Version);
            counts.Add(found.LiveInScope(0));
            Assert.Equal(version > 1, found.Idempotency is not null);
            return [new RowWrite.PutSecret(secret with { Version = version }),
                new RowWrite.PutIdempotency(new IdempotencyRow(new IdempotencyKey(tenant, [1]), [2], 3, [4]))];
        }))], _ => null);
        Assert.Equal([null, 1L, 2L], seen);
        Assert.Equal([0, 1, 1], counts);
    }

    [Fact]
    public void Only_what_is_not_expired_is_counted()
    {
        Write(new RowWrite.PutSecret(NewSecret("a")), new RowWrite.PutSecret(NewSecret("b", 100)),
            new RowWrite.PutSecret(NewSecret("c", 101)));
        engine.Write([new Recording(new SecretKey(tenant, [0]), null, found =>
        {
            Assert.Equal((3, 2, 1), (found.LiveInScope(99), found.LiveInScope(100), found.LiveInScope(101)));
            return [];
        })], _ => null);
    }

    [Fact]
    public void What_replaces_a_secret_that_never_expires_cannot_count_and_what_follows_its_removal_can()
    {
        var (lasting, other) = (NewSecret("a"), NewSecret("b"));
        Write(new RowWrite.PutSecret(lasting), new RowWrite.PutSecret(other));
        var counts = new List<int>();
        engine.Write(
        [
            new Recording(lasting.Key, null, found =>
            {
                Assert.Throws<InvalidOperationException>(() => found.LiveInScope(0));
                return [new RowWrite.PutSecret(lasting with { Version = 2 })];
            }),
            new Recording(new SecretKey(tenant, [0]), null, Count),
            new Recording(lasting.Key, null, _ => [new RowWrite.DeleteSecret(lasting.Key)]),
            new Recording(lasting.Key, null, Count),
            new Recording(other.Key, null, _ => [new RowWrite.PutSecret(other with { ExpiresAt = 100 })]),
            new Recording(other.Key, null, Count),
        ], _ => null);
        Assert.Equal([2, 1, 1], counts);

        IReadOnlyList<RowWrite> Count(Change.Found found)
        {
            counts.Add(found.LiveInScope(0));
            return [];
        }
    }

    [Fact]
    public async Task Readers_see_a_batch_whole_or_not_at_all()
    {
        var (a, b) = (NewSecret("a"), NewSecret("b"));
        using var stop = new CancellationTokenSource();
        var reading = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                var page = (await engine.ListSecretsAsync(tenant, Scope, null, false, 0, 10, default)).Rows;
                Assert.Single(page.Select(row => row.Version).DefaultIfEmpty(0).Distinct());
                Assert.NotEqual(1, page.Count);
            }
        }, TestContext.Current.CancellationToken);
        for (var version = 1; version <= 200; version++)
            Write(new RowWrite.PutSecret(a with { Version = version }),
                new RowWrite.PutSecret(b with { Version = version }));
        await stop.CancelAsync();
        await reading;
    }

    /// <summary>An empty store of this engine.</summary>
    private protected abstract Task<Engine> OpenAsync();

    private protected abstract ValueTask CloseAsync();

    private void Write(params RowWrite[] rows)
    {
        var change = new Change.Plain(rows);
        engine.Write([change], _ => null);
    }

    /// <summary>Also where the engine writes what is usual in a cheaper way.</summary>
    [Fact]
    [Trait("Fast", "2")]
    public async Task What_is_put_replaces_all_of_what_stood_there()
    {
        var first = NewSecret("a", expiresAt: 100) with { Version = 2 };
        var again = first with { Version = 3, ExpiresAt = null, Sealed = [1] };
        foreach (var row in (SecretRow[])[first, again, again with { Id = "b", Version = 4 },
            again with { Id = "b", Created = 11, Version = 5 }, again with { Scope = [9], Version = 6, ExpiresAt = 7 }])
        {
            Write(new RowWrite.PutSecret(row));
            var found = (await engine.FindSecretAsync(row.Key, default))!;
            Assert.Equal((row.Id, row.Version, row.Created, row.ExpiresAt),
                (found.Id, found.Version, found.Created, found.ExpiresAt));
            Assert.Equal((byte[][])[row.Scope, row.Sealed], (byte[][])[found.Scope, found.Sealed]);
            var listed = (await engine.ListSecretsAsync(tenant, row.Scope, null, false, 0, 10, default)).Rows;
            Assert.Equal([row.Id], listed.Select(other => other.Id));
        }

        var kept = new IdempotencyRow(new IdempotencyKey(tenant, [1]), [2], 3, [4]);
        Write(new RowWrite.PutIdempotency(kept));
        Write(new RowWrite.PutIdempotency(kept with { Created = 5, Sealed = [6] }));
        IdempotencyRow? last = null;
        engine.Write([new Recording(null, kept.Key, found =>
        {
            last = found.Idempotency;
            return [];
        })], static _ => null);
        Assert.Equal((5L, 6), (last!.Created, last.Sealed[0]));
    }

    private SecretRow NewSecret(string id, long? expiresAt = null) =>
        new(new SecretKey(tenant, RandomNumberGenerator.GetBytes(16)), Scope, id, 1, 10, expiresAt,
            RandomNumberGenerator.GetBytes(200));

    private sealed class Recording(SecretKey? secret, IdempotencyKey? idempotency,
        Func<Change.Found, IReadOnlyList<RowWrite>> decide) : Change
    {
        public override SecretKey? SecretAt => secret;

        public override ScopeKey? ScopeAt => secret is { } at ? new ScopeKey(at.Tenant, Scope) : null;

        public override IdempotencyKey? IdempotencyAt => idempotency;

        public override IReadOnlyList<RowWrite> Decide(Found found) => decide(found);
    }
}
