using System.Security.Cryptography;
using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>The part of the contract that the management plane needs.</summary>
public abstract partial class EngineContract
{
    [Fact]
    public async Task An_app_put_again_has_its_new_name_and_settings_and_keeps_the_rest()
    {
        Write(new RowWrite.PutApp(new AppRow("app_1", "renamed", "acct_other", 99, [1, 2])));
        Assert.Equivalent(new AppRow("app_1", "renamed", "acct_own", 1, [1, 2]),
            await engine.FindAppAsync("app_1", default), strict: true);
        Assert.NotNull(await engine.FindTenantAsync(Tenant, default));
    }

    [Fact]
    public async Task Apps_come_newest_first_and_within_a_second_by_id_downwards()
    {
        foreach (var (id, created) in ((string, long)[])[("app_B", 5), ("app_a", 5), ("app_c", 7), ("app_d", 3)])
            Write(new RowWrite.PutApp(new AppRow(id, "x", "acct", created)));
        Assert.Equal("app_c app_a app_B app_d app_1", await PageAsync(null, 10));
        Assert.Equal("app_c app_a", await PageAsync(null, 2));
        Assert.Equal("app_B app_d", await PageAsync(new(5, "app_a"), 2));
        Assert.Equal("app_B app_d", await PageAsync(new(5, "app_X"), 2)); // nothing stands there
        Assert.Equal("", await PageAsync(new(0, "app_1"), 2));
        Assert.Equal("app_B app_a", await PageAsync(new(3, "app_d"), 2, newer: true)); // nearest first
        Assert.Equal("app_c", await PageAsync(new(5, "app_b"), 2, newer: true));

        async Task<string> PageAsync(Place? bound, int limit, bool newer = false) =>
            string.Join(' ', (await engine.ListAppsAsync(bound, newer, limit, default)).Select(app => app.Id));
    }

    [Fact]
    [Trait("Firm ground", "14")]
    public async Task Apps_without_settings_are_listed_by_id()
    {
        foreach (var id in (string[])["app_B", "app_a", "app_d"])
            Write(new RowWrite.PutApp(new AppRow(id, "x", "acct", 1)));
        foreach (var id in (string[])["app_c", "app_1"])
            Write(new RowWrite.PutApp(new AppRow(id, "x", "acct", 1, [1])));
        Assert.Equal("app_B app_a app_d", await PageAsync("", 10));
        Assert.Equal("app_B app_a", await PageAsync("", 2));
        Assert.Equal("app_d", await PageAsync("app_a", 2));
        Assert.Equal("", await PageAsync("app_d", 2));

        async Task<string> PageAsync(string bound, int limit) =>
            string.Join(' ', (await engine.ListUnsealedAsync(bound, limit, default)).Select(app => app.Id));
    }

    [Fact]
    public async Task A_key_is_found_by_its_mac_and_by_its_id_with_the_account_of_its_app()
    {
        var key = new ApiKeyRow([1, 1], "key_1", "app_1", "acct_own", "restricted", true, 5, 6, [7])
        {
            Permissions = "secret_read",
            PinnedAccount = "acct_1",
            Addresses = "10.0.0.0/8,::1/128",
        };
        var admin = new ApiKeyRow([2, 2], "key_2", null, null, "admin", true, 5, null, [8]);
        Write(new RowWrite.PutApiKey(key), new RowWrite.PutApiKey(admin));
        foreach (var row in (ApiKeyRow[])[key, admin])
        {
            Assert.Equivalent(row, await engine.FindApiKeyAsync(row.Id, default), strict: true);
            Assert.Equivalent(row, await engine.FindApiKeyAsync(row.Mac, default), strict: true);
        }

        Assert.Null(await engine.FindApiKeyAsync("key_none", default));
        Assert.Equal([[1, 1], [2, 2]], (await engine.ListApiKeyMacsAsync(default)).OrderBy(mac => mac[0]));
    }

    [Fact]
    public async Task A_key_put_again_has_its_new_expiry_and_keeps_when_it_was_used()
    {
        var key = new ApiKeyRow([1], "key_1", "app_1", "acct_own", "secret", false, 5, null, [7]);
        Write(new RowWrite.PutApiKey(key), new RowWrite.TouchApiKey("key_1", 3_600),
            new RowWrite.TouchApiKey("key_none", 3_600));
        Write(new RowWrite.PutApiKey(key with { ExpiresAt = 60, Proof = [9] }));
        Assert.Equivalent(key with { ExpiresAt = 60, Proof = [9], LastUsed = 3_600 },
            await engine.FindApiKeyAsync("key_1", default), strict: true);
        Assert.Null(await engine.FindApiKeyAsync("key_none", default));
        Write(new RowWrite.DeleteApiKey("key_1"), new RowWrite.DeleteApiKey("key_none"),
            new RowWrite.TouchApiKey("key_1", 7_200));
        Assert.Null(await engine.FindApiKeyAsync("key_1", default));
        Assert.Empty(await engine.ListApiKeyMacsAsync(default));
    }

    [Fact]
    public async Task Keys_come_newest_first_of_an_app_or_of_all()
    {
        Write(new RowWrite.PutApp(new AppRow("app_2", "two", "acct_2", 1)));
        foreach (var (id, app, created) in ((string, string?, long)[])[("a", "app_1", 1), ("b", "app_2", 2),
            ("c", null, 2), ("d", "app_1", 2), ("e", "app_1", 3)])
            Write(new RowWrite.PutApiKey(NewKey(id, app, created)));
        Assert.Equal("e d c b a", await PageAsync(null, null, 10));
        Assert.Equal("c b", await PageAsync(null, new(2, "d"), 2));
        Assert.Equal("e d a", await PageAsync("app_1", null, 10));
        Assert.Equal("a", await PageAsync("app_1", new(2, "c"), 10)); // another app's may stand there
        Assert.Equal("", await PageAsync("app_none", null, 10));
        Assert.Equal("d e", await PageAsync(null, new(2, "c"), 10, newer: true));
        Assert.Equal("d", await PageAsync("app_1", new(1, "a"), 1, newer: true));

        async Task<string> PageAsync(string? app, Place? bound, int limit, bool newer = false) =>
            string.Join(' ', (await engine.ListApiKeysAsync(app, bound, newer, limit, default)).Select(key => key.Id));
    }

    [Fact]
    public async Task A_deleted_app_is_gone_with_its_keys_and_no_others()
    {
        Write(
            new RowWrite.PutApp(new AppRow("app_2", "two", "acct_2", 1)),
            new RowWrite.PutApiKey(NewKey("mine", "app_2", 1)), new RowWrite.PutApiKey(NewKey("other", "app_1", 1)),
            new RowWrite.PutApiKey(NewKey("admin", null, 1)));
        Write(new RowWrite.DeleteApp("app_2"), new RowWrite.DeleteApp("app_none"));
        Assert.Null(await engine.FindAppAsync("app_2", default));
        Assert.Equal(["admin", "other"],
            (await engine.ListApiKeysAsync(null, null, false, 10, default)).Select(key => key.Id).Order());
    }

    [Fact]
    public async Task A_tenant_of_an_app_that_is_not_there_is_not_added()
    {
        var id = new TenantId("app_none", false, "acct_1");
        Write(new RowWrite.AddTenant(id, 1, [1]), new RowWrite.PutMeta("after", [1]));
        Assert.Null(await engine.FindTenantAsync(id, default));
        Assert.NotNull(await engine.FindMetaAsync("after", default)); // nor is it a failure
    }

    [Fact]
    public async Task A_shredded_tenant_is_gone_with_all_under_it_and_its_number_is_not_used_again()
    {
        var other = Tenant with { Livemode = true };
        Write(new RowWrite.AddTenant(other, 1, [9]));
        var kept = NewSecret("k") with { Key = new SecretKey((await engine.FindTenantAsync(other, default))!.Id, [1]) };
        var secret = NewSecret("s");
        Write(new RowWrite.PutSecret(secret), new RowWrite.PutSecret(kept),
            new RowWrite.PutIdempotency(new IdempotencyRow(new IdempotencyKey(tenant, [1]), [2], 3, [4])));
        Write(new RowWrite.ShredTenant(kept.Key.Tenant + 1_000, Tenant)); // none such

        Write(new RowWrite.ShredTenant(tenant, Tenant));
        Assert.Null(await engine.FindTenantAsync(Tenant, default));
        Assert.Null(await engine.FindSecretAsync(secret.Key, default));
        Assert.Null(await engine.FindOldestIdempotencyAsync(default));
        Assert.Empty(await engine.ListTenantSecretsAsync(tenant, null, 0, 10, default));
        Assert.NotNull(await engine.FindSecretAsync(kept.Key, default));
        var seen = new List<bool>();
        engine.Write(
            [new Recording(secret.Key, null, found => See(found)), new Recording(kept.Key, null, found => See(found))],
            _ => null);
        Assert.Equal([false, true], seen);

        Write(new RowWrite.AddTenant(Tenant, 2, [5]));
        Assert.True((await engine.FindTenantAsync(Tenant, default))!.Id > kept.Key.Tenant);
        engine.Write([new Recording(secret.Key, null, found => See(found))], _ => null);
        Assert.Equal([false, true, false], seen);

        IReadOnlyList<RowWrite> See(Change.Found found)
        {
            seen.Add(found.Counter is not null);
            return [];
        }
    }

    [Fact]
    public void What_was_shredded_before_it_in_the_batch_is_gone_for_a_change()
    {
        var secret = NewSecret("s");
        Write(new RowWrite.PutSecret(secret));
        var seen = new List<bool>();
        var again = new Recording(secret.Key, null, found =>
        {
            seen.Add(found.Counter is not null || found.Secret is not null);
            return [];
        });
        engine.Write(
            [again, new Change.Plain(new RowWrite.ShredTenant(tenant, Tenant)), new Recording(secret.Key, null,
                again.Decide)],
            _ => null);
        Assert.Equal([true, false], seen);
    }

    [Fact]
    public async Task Accounts_come_by_id_with_their_unexpired_secrets_counted_in_each_mode()
    {
        foreach (var (account, livemode, created) in ((string, bool, long)[])[("B", false, 9), ("B", true, 4),
            ("_", true, 5), ("a", false, 6)])
            Write(new RowWrite.AddTenant(new TenantId("app_1", livemode, account), created, [1]));
        Write(new RowWrite.PutApp(new AppRow("app_2", "two", "acct_2", 1)),
            new RowWrite.AddTenant(new TenantId("app_2", false, "B"), 1, [1]));
        foreach (var (account, livemode, expires) in ((string, bool, long?)[])[("B", false, null), ("B", false, 100),
            ("B", true, 101), ("_", true, 100)])
        {
            var number = (await engine.FindTenantAsync(new TenantId("app_1", livemode, account), default))!.Id;
            Write(
                new RowWrite.PutSecret(
                    NewSecret("s" + expires, expires) with
                    {
                        Key = new SecretKey(number,
                        RandomNumberGenerator.GetBytes(16))
                    }));
        }

        AccountRow[] all = [new("B", 4, 1, 1), new("_", 5, 0, 0), new("a", 6, 0, 0), new("acct_1", 1, 0, 0)];
        Assert.Equal(all, await engine.ListAccountsAsync("app_1", "", false, 100, 10, default));
        Assert.Equal(new AccountRow("B", 4, 2, 1),
            (await engine.ListAccountsAsync("app_1", "", false, 99, 1, default)).Single());
        Assert.Equal(all[1..3], await engine.ListAccountsAsync("app_1", "B", false, 100, 2, default));
        Assert.Equal(all[2..], await engine.ListAccountsAsync("app_1", "_x", false, 100, 10, default));
        Assert.Equal([all[1], all[0]], await engine.ListAccountsAsync("app_1", "_x", true, 100, 2, default));
        Assert.Empty(await engine.ListAccountsAsync("app_1", "", true, 100, 10, default));
        Assert.Empty(await engine.ListAccountsAsync("app_none", "", false, 100, 10, default));
    }

    [Fact]
    public async Task All_secrets_of_a_tenant_come_newest_first_whatever_their_scope()
    {
        foreach (var id in (string[])["B", "a", "c", "d"])
            Write(
                new RowWrite.PutSecret(
                    NewSecret(id, id == "c" ? 100 : null) with { Scope = RandomNumberGenerator.GetBytes(16) }));
        Assert.Equal("d c a B", await PageAsync(null, 99, 10));
        Assert.Equal("d a B", await PageAsync(null, 100, 10));
        Assert.Equal("a", await PageAsync("c", 100, 1));
        Assert.Equal("", await PageAsync("B", 100, 10));
        Assert.Equal("c", (await engine.FindSecretAsync(tenant, "c", 99, default))!.Id);
        Assert.Null(await engine.FindSecretAsync(tenant, "c", 100, default));
        Assert.Null(await engine.FindSecretAsync(tenant + 1, "d", 99, default));

        async Task<string> PageAsync(string? bound, long now, int limit) =>
            string.Join(' ',
                (await engine.ListTenantSecretsAsync(tenant, bound, now, limit, default)).Select(row => row.Id));
    }

    [Fact]
    public void A_reply_is_kept_under_its_key_until_it_is_replaced_pruned_or_its_owner_forgotten()
    {
        ReplyRow mine =
            new([1], [7], [2], 100, [3]), others =
                new([2], [8], [2], 100, [3]), nobodys = new([3], null, [2], 200, [3]);
        Write(new RowWrite.PutReply(mine), new RowWrite.PutReply(others), new RowWrite.PutReply(nobodys));
        Assert.Equivalent(mine, Reply(1), strict: true);
        Assert.Equivalent(nobodys, Reply(3), strict: true);
        Assert.Null(Reply(9));
        Write(new RowWrite.PutReply(mine with { Fingerprint = [5], Created = 150, Sealed = [6] }));
        Assert.Equivalent(mine with { Fingerprint = [5], Created = 150, Sealed = [6] }, Reply(1), strict: true);

        Write(new RowWrite.DeleteReplies([7]), new RowWrite.DeleteReplies([99]));
        Assert.Null(Reply(1));
        Write(new RowWrite.PruneReplies(99, 200));
        Assert.NotNull(Reply(2));
        Write(new RowWrite.PruneReplies(100, 200));
        Assert.Null(Reply(2));
        Assert.NotNull(Reply(3));

        ReplyRow? Reply(byte key) => Managed(new Change.ManagementKey { Reply = [key] }).Reply;
    }

    [Fact]
    [Trait("Firm ground", "10")]
    public async Task Receipts_that_wait_come_oldest_first_and_signed_ones_go_when_they_are_old()
    {
        foreach (var (id, created, signed) in ((string, long, long?)[])[("b", 5, null), ("a", 5, null), ("c", 4, null),
            ("d", 3, 9), ("e", 3, 10)])
            Write(new RowWrite.PutReceipt(new ReceiptRow(id, created, signed, [1])));
        Assert.Equal("c a b", await PageAsync(null, 10));
        Assert.Equal("c a", await PageAsync(null, 2));
        Assert.Equal("b", await PageAsync((5, "a"), 2));
        Assert.Equal("", await PageAsync((5, "b"), 2));
        Assert.Equivalent(new ReceiptRow("d", 3, 9, [1]), await engine.FindReceiptAsync("d", default), strict: true);
        Assert.Null(await engine.FindReceiptAsync("none", default));

        Write(new RowWrite.PutReceipt(new ReceiptRow("a", 99, 11, [2])));
        Assert.Equivalent(new ReceiptRow("a", 5, 11, [2]), await engine.FindReceiptAsync("a", default), strict: true);
        Assert.Equal("c b", await PageAsync(null, 10));
        Write(new RowWrite.PruneReceipts(9));
        Assert.Null(await engine.FindReceiptAsync("d", default));
        Assert.NotNull(await engine.FindReceiptAsync("e", default));
        Assert.Equal("c b", await PageAsync(null, 10));
        Assert.True(await engine.EraseAsync(default));

        async Task<string> PageAsync((long, string)? after, int limit) =>
            string.Join(' ', (await engine.ListPendingReceiptsAsync(after, limit, default)).Select(row => row.Id));
    }

    [Fact]
    public void A_change_is_given_what_of_the_management_plane_it_asked_for_and_no_more()
    {
        Write(new RowWrite.PutApp(new AppRow("app_2", "two", "acct_2", 1)), new RowWrite.PutApiKey(
            NewKey("secret", "app_1", 1)), new RowWrite.PutSecret(NewSecret("a", 100)),
            new RowWrite.PutApiKey(NewKey("admin", null, 1)), new RowWrite.PutApiKey(
                NewKey("expiring", null, 1) with { ExpiresAt = 9_999 }));
        Assert.Equivalent(new Change.ManagementFound(null, false, null, 0, [], null),
            Managed(new Change.ManagementKey()));

        var app = Managed(new Change.ManagementKey { App = "app_1" });
        Assert.Equal(("app_1", true, 0), (app.App!.Id, app.AppHasTenants, app.Tenants.Count));
        Assert.False(Managed(new Change.ManagementKey { App = "app_2" }).AppHasTenants);
        Assert.Null(Managed(new Change.ManagementKey { App = "app_none" }).App);

        Assert.Equal(
            ("secret", 1),
            (Managed(
                new Change.ManagementKey { ApiKey = "secret" }) is var one ? one.ApiKey!.Id : null,
                    one.OtherOwnerKeys));
        // the one that expires does not count
        Assert.Equal(0, Managed(new Change.ManagementKey { ApiKey = "admin" }).OtherOwnerKeys);
        Assert.Equal(1, Managed(new Change.ManagementKey { ApiKey = "expiring" }).OtherOwnerKeys);
        Assert.Null(Managed(new Change.ManagementKey { ApiKey = "none" }).ApiKey);

        Write(new RowWrite.AddTenant(Tenant with { Livemode = true }, 1, [1]));
        Assert.Equal([(false, 1L), (true, 0L)], Tenants(99));
        Assert.Equal([(false, 0L), (true, 0L)], Tenants(100));
        Assert.Empty(Managed(new Change.ManagementKey { App = "app_2", Account = ("acct_1", 99) }).Tenants);

        List<(bool, long)> Tenants(long now) =>
            [.. Managed(new Change.ManagementKey { App = "app_1", Account = ("acct_1", now) }).Tenants.Select(
                row => (row.Livemode, row.Secrets)).Order()];
    }

    [Fact]
    [Trait("Firm ground", "8")]
    public async Task Kept_replies_are_removed_so_many_at_a_time_the_oldest_first()
    {
        Assert.Null(await engine.FindOldestReplyAsync(default));
        for (byte i = 1; i <= 5; i++)
            Write(new RowWrite.PutReply(new ReplyRow([i], null, [1], 100 + i, [1])));
        Assert.Equal(101, await engine.FindOldestReplyAsync(default));
        Write(new RowWrite.PruneReplies(104, 2));
        Assert.Equal(103, await engine.FindOldestReplyAsync(default));
        Write(new RowWrite.PruneReplies(103, 2));
        Assert.Equal(104, await engine.FindOldestReplyAsync(default));
        Write(new RowWrite.PruneReplies(104, 2));
        Assert.Equal(105, await engine.FindOldestReplyAsync(default));
    }

    [Fact]
    [Trait("Keys", "S8")]
    public async Task A_key_has_its_role_and_the_end_that_was_noted_of_it_whichever_is_sooner()
    {
        var key = new ApiKeyRow([1], "key_1", null, null, "admin", true, 5, null, [7])
        {
            Role = "operator",
            Apps = "app_1,app_2",
            CreatedBy = "key_0",
            IsOffline = true,
        };
        Write(new RowWrite.PutApiKey(key));
        Assert.Equivalent(key, await engine.FindApiKeyAsync("key_1", default), strict: true);
        Write(new RowWrite.PutApiKey(key with { Role = "owner", Apps = null, CreatedBy = null, IsOffline = false }));
        Assert.Equal("owner", (await engine.FindApiKeyAsync("key_1", default))!.Role);
        Assert.Null(await engine.FindEndedKeyAsync([1], default));

        Write(new RowWrite.PutEndedKey(Ended(90, "rolled")));
        Assert.Equivalent(Ended(90, "rolled"), await engine.FindEndedKeyAsync([1], default), strict: true);
        var found = await engine.FindApiKeyAsync([1], default);
        Assert.Equal((90, "rolled"), (found!.Ended, found.How));
        Assert.Equal(0, Managed(new Change.ManagementKey { ApiKey = "none" }).OtherOwnerKeys);
        Write(new RowWrite.PutEndedKey(Ended(91, "expired")));
        Assert.Equal(90, (await engine.FindEndedKeyAsync([1], default))!.Ended);
        Write(new RowWrite.PutEndedKey(Ended(50, "revoked")));
        Assert.Equivalent(Ended(50, "revoked"), await engine.FindEndedKeyAsync([1], default), strict: true);
        // It outlives the key.
        Write(new RowWrite.DeleteApiKey("key_1"));
        Assert.NotNull(await engine.FindEndedKeyAsync([1], default));
        Write(new RowWrite.DeleteEndedKey([1]), new RowWrite.DeleteEndedKey([2]));
        Assert.Null(await engine.FindEndedKeyAsync([1], default));

        static EndedKeyRow Ended(long at, string how) => new([1], "key_1", null, "admin", true, 5, at, how, [9]);
    }

    [Fact]
    [Trait("Keys", "S8 S34")]
    public async Task Keys_that_are_over_are_found_in_the_order_of_their_ids()
    {
        Write(
            new RowWrite.PutApiKey(NewKey("a", "app_1", 1) with { ExpiresAt = 60 }),
            new RowWrite.PutApiKey(NewKey("b", "app_1", 1) with { ExpiresAt = 61 }),
            new RowWrite.PutApiKey(NewKey("c", null, 1)),
            new RowWrite.PutApiKey(NewKey("d", null, 50) with { ExpiresAt = 55, IsOffline = true }));
        var ended = NewKey("e", null, 1);
        Write(new RowWrite.PutApiKey(ended), new RowWrite.PutEndedKey(
            new EndedKeyRow(ended.Mac, "e", null, "admin", true, 1, 60, "rolled", [1])));
        Assert.Equal(["a", "e"], await engine.ListKeysOverAsync(60, 49, "", 10, default));
        Assert.Equal(["e"], await engine.ListKeysOverAsync(60, 49, "a", 10, default));
        Assert.Equal(["a", "b"], await engine.ListKeysOverAsync(61, 49, "", 2, default));
        Assert.Equal(["a", "d", "e"], await engine.ListKeysOverAsync(60, 50, "", 10, default));
        Assert.Equal(["d"], (await engine.ListOfflineKeysAsync(49, default)).Select(key => key.Id));
        Assert.Empty(await engine.ListOfflineKeysAsync(50, default));

        foreach (var (mac, at, how) in ((byte, long, string)[])[(1, 10, "expired"), (2, 9, "expired"),
            (3, 11, "expired"), (4, 1, "revoked"), (5, 1, "rolled")])
            Write(new RowWrite.PutEndedKey(new EndedKeyRow([mac], $"{mac}", null, "admin", true, 1, at, how, [1])));
        Assert.Equal([[2], [1]], await engine.ListLongExpiredKeysAsync(10, 10, default));
        Assert.Equal([[2]], await engine.ListLongExpiredKeysAsync(10, 1, default));
    }

    private Change.ManagementFound Managed(Change.ManagementKey at)
    {
        var managing = new Managing(at);
        engine.Write([managing], _ => null);
        return managing.Found!;
    }

    private static ApiKeyRow NewKey(string id, string? app, long created) =>
        new(RandomNumberGenerator.GetBytes(32), id, app, app is null ? null : "acct", app is null ? "admin" : "secret",
            true, created, null, [1]);

    private sealed class Managing(Change.ManagementKey at) : Change
    {
        public override ManagementKey ManagementAt => at;

        public new ManagementFound? Found { get; private set; }

        public override IReadOnlyList<RowWrite> Decide(Change.Found found)
        {
            Assert.Null(found.Counter);
            Found = found.Management;
            return [];
        }
    }
}
