using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>The part of the contract that finds secrets across tenants.</summary>
public abstract partial class EngineContract
{
    private static readonly SecretFilter All = new(null, null, null, null);

    [Fact]
    public async Task A_search_goes_tenant_by_tenant_and_leaves_out_the_expired()
    {
        await FillAsync();
        var rows = await engine.SearchSecretsAsync(All, null, 99, 100, default);
        Assert.Equal("a0 a1 a2 b0 b1 b2 c0 c1 c2", Ids(rows.OrderBy(row => row.Secret.Id, StringComparer.Ordinal)));
        // none comes in two parts
        Assert.Equal(3, rows.Zip(rows.Skip(1)).Count(two => two.First.Tenant != two.Second.Tenant) + 1);
        Assert.Equal(
            rows.OrderBy(row => row.Secret.Key.Tenant)
                .ThenBy(row => Convert.ToHexString(row.Secret.Key.Name),
                    StringComparer.Ordinal).Select(row => row.Secret.Id),
            rows.Select(row => row.Secret.Id));
        Assert.Equal(
            "a0 a2 b0 b2 c0 c2",
            Ids(
                (await engine.SearchSecretsAsync(All, null, 100, 100, default)).OrderBy(row => row.Secret.Id,
                    StringComparer.Ordinal)));

        var found = rows.Single(row => row.Secret.Id == "b1");
        Assert.Equal(new TenantId("app_1", true, "acct_1"), found.Tenant);
        Assert.Equivalent(await engine.FindSecretAsync(found.Secret.Key, default), found.Secret, strict: true);
    }

    [Fact]
    public async Task A_search_by_expiry_goes_soonest_first()
    {
        await FillAsync();
        Assert.Equal("100 100 100 200 200 200",
            Times(await engine.SearchSecretsAsync(All with { ExpiringBefore = 201 }, null, 99, 100, default)));
        Assert.Equal("100 100 100",
            Times(await engine.SearchSecretsAsync(All with { ExpiringBefore = 200 }, null, 99, 100, default)));
        Assert.Equal("200 200 200",
            Times(await engine.SearchSecretsAsync(All with { ExpiringBefore = 999 }, null, 100, 100, default)));
        Assert.Equal("",
            Times(await engine.SearchSecretsAsync(All with { ExpiringBefore = 100 }, null, 99, 100, default)));
        Assert.Equal("100 100",
            Times(await engine.SearchSecretsAsync(All with { ExpiringBefore = 999 }, null, 99, 2, default)));

        static string Times(IReadOnlyList<FoundSecretRow> rows) =>
            string.Join(' ', rows.Select(row => row.Secret.ExpiresAt));
    }

    [Theory]
    [InlineData("app_1", null, null, "a b")]
    [InlineData("app_2", null, null, "c")]
    [InlineData(null, "acct_1", null, "a b c")]
    [InlineData(null, "acct_2", null, "")]
    [InlineData(null, null, true, "b")]
    [InlineData(null, null, false, "a c")]
    [InlineData("app_1", "acct_1", false, "a")]
    [InlineData("app_2", "acct_1", true, "")]
    public async Task Filters_narrow_a_search_in_either_order(string? app, string? account, bool? livemode,
        string tenants)
    {
        await FillAsync();
        foreach (var before in (long?[])[null, 999])
        {
            var rows = await engine.SearchSecretsAsync(new SecretFilter(app, account, livemode, before), null, 99, 100,
                default);
            Assert.Equal(tenants, string.Join(' ', rows.Select(row => row.Secret.Id[..1]).Distinct().Order()));
            Assert.Equal(tenants.Split(' ', StringSplitOptions.RemoveEmptyEntries).Length * (before is null ? 3 : 2),
                rows.Count);
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData(999L)]
    public async Task Pages_of_a_search_join(long? before)
    {
        await FillAsync();
        var filter = All with { ExpiringBefore = before };
        var all = (await engine.SearchSecretsAsync(filter, null, 99, 100, default)).Select(row => row.Secret.Id)
            .ToList();
        foreach (var limit in (int[])[1, 2, 4, 9])
        {
            var walked = new List<string>();
            (long?, SecretKey)? after = null;
            while (await engine.SearchSecretsAsync(filter, after, 99, limit, default) is { Count: > 0 } page)
            {
                Assert.InRange(page.Count, 1, limit);
                walked.AddRange(page.Select(row => row.Secret.Id));
                after = (page[^1].Secret.ExpiresAt, page[^1].Secret.Key);
            }

            Assert.Equal(all, walked);
        }
    }

    [Fact]
    public async Task A_search_by_expiry_gives_nothing_that_expired_since_the_page_before()
    {
        await FillAsync();
        var filter = All with { ExpiringBefore = 999 };
        var first = (await engine.SearchSecretsAsync(filter, null, 99, 1, default)).Single().Secret;
        Assert.Equal(100, first.ExpiresAt);
        var next = await engine.SearchSecretsAsync(filter, (first.ExpiresAt, first.Key), 100, 100, default);
        Assert.Equal(["a2", "b2", "c2"], next.Select(row => row.Secret.Id).Order());
    }

    [Fact]
    public async Task Secrets_are_counted_tenant_by_tenant_without_the_expired_and_by_what_expires_when()
    {
        await FillAsync();
        var empty = Tenant with { Account = "acct_none" };
        Write(new RowWrite.AddTenant(empty, 1, [1]));
        var all = await CountAsync(now: 99, after: 0, limit: 10);
        Assert.Equal(["False 0: 0 0 0", "False 3: 1 1 2", "False 3: 1 1 2", "True 3: 1 1 2"],
            all.Select(Shown).Order(StringComparer.Ordinal));
        Assert.Equal(["False 0: 0 0 0", "False 2: 0 0 1", "False 2: 0 0 1", "True 2: 0 0 1"],
            (await CountAsync(now: 100, after: 0, limit: 10)).Select(Shown).Order(StringComparer.Ordinal));
        Assert.Equal(all.Select(each => each.Tenant).Order(), all.Select(each => each.Tenant));
        Assert.Equal(all.Skip(1).Take(2).Select(Shown),
            (await CountAsync(now: 99, after: all[0].Tenant, limit: 2)).Select(Shown));

        static string Shown(SecretCount count) =>
            $"{count.Livemode} {count.Secrets}: {string.Join(' ', count.Sooner)}";

        ValueTask<IReadOnlyList<SecretCount>> CountAsync(long now, long after, int limit) =>
            engine.ListAsync(SecretCount.After, default, 100, 150, 200, after, limit, now);
    }

    // Tenants a and b are of one app, c is another's; in each, 0 never expires, 1 does at 100 and 2 at 200.
    private async Task FillAsync()
    {
        var (b, c) = (Tenant with { Livemode = true }, Tenant with { App = "app_2" });
        Write(new RowWrite.PutApp(new AppRow("app_2", "two", "acct_2", 1)), new RowWrite.AddTenant(c, 1, [1]),
            new RowWrite.AddTenant(b, 1, [1]));
        foreach (var (letter, id) in ((string, TenantId)[])[("a", Tenant), ("b", b), ("c", c)])
        {
            var number = (await engine.FindTenantAsync(id, default))!.Id;
            foreach (var (digit, expires) in ((int, long?)[])[(0, null), (1, 100), (2, 200)])
            {
                var row = NewSecret($"{letter}{digit}", expires);
                Write(new RowWrite.PutSecret(row with { Key = row.Key with { Tenant = number } }));
            }
        }
    }

    private static string Ids(IEnumerable<FoundSecretRow> rows) => string.Join(' ', rows.Select(row => row.Secret.Id));
}
