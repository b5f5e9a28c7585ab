using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Storage;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// A minted key ends with what it was minted by, and nothing brings it back: neither a clock nor an operator.
/// </summary>
[Trait("Firm ground", "5")]
public sealed class MintedKeysTests : ServerTests
{
    [Fact]
    public async Task It_ends_with_the_key_that_minted_it_when_that_is_revoked_and_others_do_not()
    {
        var (key, token) = await NewAsync();
        var (_, other) = await NewAsync();
        (await Server.Admin.Post($"{KeysPath}/{key}/revoke", [])).IsOk();
        await IsDeadAsync(token);
        (await Server.Client(other).List()).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        await IsDeadAsync(token);
        (await Server.Client(other).List()).IsOk();
    }

    [Fact]
    public async Task It_ends_when_its_key_is_rolled_without_grace_whatever_the_clock_says_later()
    {
        var (key, token) = await NewAsync();
        (await Server.Admin.Post($"{KeysPath}/{key}/roll", [("grace_period", "0")])).IsOk();
        await IsDeadAsync(token);
        // A clock that goes back takes the rolled key for one that has not expired yet.
        Server.Time.Move(TimeSpan.FromSeconds(-20));
        await IsDeadAsync(token);
        await Server.StopAsync();
        await Server.StartAgainAsync();
        await IsDeadAsync(token);
    }

    [Fact]
    public async Task It_lives_while_the_grace_of_its_rolled_key_lasts_and_not_longer()
    {
        var (key, token) = await NewAsync();
        var rolled = (await Server.Admin.Post($"{KeysPath}/{key}/roll", [("grace_period", "600")])).IsOk().Json;
        Server.Time.Move(TimeSpan.FromSeconds(599));
        (await Server.Client(token).List()).IsOk();
        var next = await MintAsync(rolled.Secret());
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Server.Client(token).List()).IsError(401, "api_key_expired", null);
        (await Server.Client(next).List()).IsOk();
    }

    [Fact]
    public async Task It_expires_no_later_than_the_key_that_minted_it()
    {
        var expires = Server.Time.Seconds + 120;
        var key = await Server.NewKeyAsync("secret", await Server.AppIdAsync(), ("expires_at", $"{expires}"));
        var minted = (await Server.Client(key.Secret()).Post(Ephemeral, [("user", "usr_1"), ("expires_in", "3600")]))
            .IsOk().Json;
        Assert.Equal(expires, (long)minted["expires"]!);
        var shorter = (await Server.Client(key.Secret()).Post(Ephemeral, [("user", "usr_1"), ("expires_in", "60")]))
            .IsOk().Json;
        Assert.Equal(Server.Time.Seconds + 60, (long)shorter["expires"]!);
        Server.Time.Move(TimeSpan.FromSeconds(119));
        (await Server.Client(minted.Secret()).List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Server.Client(minted.Secret()).List()).IsError(401, "api_key_expired", null);
    }

    [Fact]
    public async Task Disabling_its_app_ends_it_and_enabling_does_not_bring_it_back()
    {
        var app = $"{Operator.Apps}/{await Server.AppIdAsync()}";
        var token = await Server.MintAsync("usr_1");
        (await Server.Admin.Post(app, [("name", "another")])).IsOk();
        (await Server.Client(token).List()).IsOk();
        (await Server.Admin.Post(app, [("disabled", "true")])).IsOk();
        (await Server.Client(token).List()).IsError(403, null, null);
        (await Server.Admin.Post(app, [("disabled", "false")])).IsOk();
        await IsDeadAsync(token);
        (await Server.Client(await Server.MintAsync("usr_1")).List()).IsOk();
        (await Server.Client().List()).IsOk();
    }

    [Fact]
    public async Task Forgetting_its_account_ends_it_though_the_account_is_set_again_and_others_live_on()
    {
        (await Server.Client(account: "acct_1").Set("k", "old", "usr_1")).IsOk();
        var (token, other) = (await Server.MintAsync("usr_1", "acct_1"), await Server.MintAsync("usr_1", "acct_2"));
        (await Server.ForgetAsync("acct_1")).IsOk();
        (await Server.Client(account: "acct_1").Set("k", "new", "usr_1")).IsOk();
        await IsDeadAsync(token);
        (await Server.Client(other).List()).IsOk();
        // In the same second: what counts is the order of commits.
        var next = await Server.MintAsync("usr_1", "acct_1");
        Assert.Equal("new", (await Server.Client(next).Find("k", "usr_1", ("expand[]", "payload"))).IsOk().Payload);
        (await Server.ForgetAsync("acct_1")).IsOk();
        await IsDeadAsync(next);
    }

    [Fact]
    public async Task A_generation_is_kept_as_long_as_a_key_may_live_and_then_goes_without_bringing_one_back()
    {
        var early = await Server.MintAsync("usr_1", "acct_1", ("expires_in", "86400"));
        (await Server.ForgetAsync("acct_1")).IsOk();
        for (var hour = 0; hour < 30; hour += 5)
        {
            // Minted all the while: each is good for as long as it says.
            var token = await Server.MintAsync("usr_1", "acct_1", ("expires_in", "86400"));
            Server.Time.Move(TimeSpan.FromHours(5));
            await SweepAsync();
            (await Server.Client(token).List()).IsOk();
        }

        (await Server.Client(early).List()).IsError(401, "api_key_expired", null);
        var last = await Server.MintAsync("usr_1", "acct_1", ("expires_in", "86400"));
        Server.Time.Move(TimeSpan.FromHours(23));
        await SweepAsync();
        (await Server.Client(last).List()).IsOk();
        Server.Time.Move(TimeSpan.FromHours(4));
        await SweepAsync();
        Assert.Empty(await GenerationsAsync("acct_1"));
        (await Server.Client(await Server.MintAsync("usr_1", "acct_1")).List()).IsOk();
    }

    [Fact]
    public async Task What_a_fast_clock_minted_before_a_generation_does_not_come_back_when_the_generation_is_gone()
    {
        Server.Time.Move(TimeSpan.FromHours(48));
        var fast = await Server.MintAsync("usr_1", "acct_1", ("expires_in", "86400"));
        var spared = await Server.MintAsync("usr_1", "acct_2", ("expires_in", "86400"));
        Server.Time.Move(TimeSpan.FromHours(-48));
        (await Server.Client(fast).List()).IsError(401, null, null); // it is made 48 hours ahead
        (await Server.ForgetAsync("acct_1")).IsOk();
        Server.Time.Move(TimeSpan.FromHours(30));
        await SweepAsync();
        Assert.Empty(await GenerationsAsync("acct_1"));
        Server.Time.Move(TimeSpan.FromHours(19));
        await IsDeadAsync(fast);
        await IsDeadAsync(spared); // nor what was minted before that commit for others: it is more than a day old
        (await Server.Client(await Server.MintAsync("usr_1", "acct_1")).List()).IsOk();
    }

    [Fact]
    public async Task It_is_refused_while_it_is_made_more_than_half_a_minute_ahead()
    {
        Server.Time.Move(TimeSpan.FromSeconds(31));
        var token = await Server.MintAsync("usr_1");
        Server.Time.Move(TimeSpan.FromSeconds(-31));
        (await Server.Client(token).List()).IsError(401, null, null);
        Server.Time.Move(TimeSpan.FromSeconds(1));
        (await Server.Client(token).List()).IsOk();
    }

    [Fact]
    public async Task It_is_refused_if_it_would_live_for_more_than_a_day()
    {
        var (now, tenant, key) = (Server.Time.Seconds, await TenantAsync(),
            (await Server.KeyAsync("secret", livemode: false)).Id());
        var (day, longer) = await SealAsync(instance => (Seal(instance, 86_400), Seal(instance, 86_401)));
        (await Server.Client(day).List()).IsOk();
        (await Server.Client(longer).List()).IsError(401, null, null);

        string Seal(Instance instance, long life) =>
            new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + life), tenant, "usr_1"u8.ToArray(),
            Permissions.All, key, now, now + life)
            { Ties = new Ties(0, 0, 0, 0) { Store = instance.Facts!.Generation } }.Seal(instance);
    }

    [Theory]
    [InlineData(1, 0, 0)]
    [InlineData(0, 1, 0)]
    [InlineData(0, 0, 1)]
    [InlineData(-1, 0, 0)]
    public async Task A_generation_that_is_not_the_same_is_refused_whichever_is_greater(long ofKey, long ofApp,
        long ofTenant)
    {
        var (now, tenant, key) = (Server.Time.Seconds, await TenantAsync(),
            (await Server.KeyAsync("secret", livemode: false)).Id());
        var token = await SealAsync(instance =>
            new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + 60), tenant, "usr_1"u8.ToArray(),
            Permissions.All, key, now, now + 60)
            { Ties = new Ties(ofKey, ofApp, ofTenant, 99) { Store = instance.Facts!.Generation } }.Seal(instance));
        await IsDeadAsync(token);
    }

    [Fact]
    public async Task A_key_of_format_1_follows_the_old_rule_for_a_day_after_the_upgrade_and_is_refused_then()
    {
        var (now, tenant, key) = (Server.Time.Seconds, await TenantAsync(),
            (await Server.KeyAsync("secret", livemode: false)).Id());
        // As it is after a store of the release before was opened: see UpgradeTests.
        var (early, late) = await SealAsync(instance => (Seal(instance, now), Seal(instance, now + 80_000)),
            acceptsFormatOne: true);
        (await Server.Client(early).List()).IsOk();
        (await Server.Admin.Post($"{Operator.Apps}/{await Server.AppIdAsync()}", [("disabled", "true")])).IsOk();
        (await Server.Admin.Post($"{Operator.Apps}/{await Server.AppIdAsync()}", [("disabled", "false")])).IsOk();
        await IsDeadAsync(early);
        Server.Time.Move(TimeSpan.FromSeconds(80_001));
        (await Server.Client(late).List()).IsOk(); // made after it was disabled
        await Server.StopAsync();
        await Server.StartAgainAsync();
        (await Server.Client(late).List()).IsOk();
        Server.Time.Move(TimeSpan.FromHours(4));
        (await Server.Client(late).List()).IsError(401, "api_key_expired", null);

        string Seal(Instance instance, long created) =>
            new EphemeralKey(EphemeralKey.NewId(instance, tenant, created, created + 86_400), tenant,
            "usr_1"u8.ToArray(), Permissions.All, key, created, created + 86_400).Seal(instance);
    }

    [Fact]
    public async Task A_new_store_accepts_no_key_of_format_1_and_neither_does_one_whose_word_on_it_was_edited()
    {
        var (now, tenant, key) = (Server.Time.Seconds, await TenantAsync(),
            (await Server.KeyAsync("secret", livemode: false)).Id());
        string Seal(Instance instance) =>
            new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + 60), tenant, "usr_1"u8.ToArray(),
            Permissions.All, key, now, now + 60).Seal(instance);
        (await Server.Client(await SealAsync(Seal)).List()).IsError(401, "api_key_expired", null);
        await Server.StopAsync();
        var token = await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            var row = FormatOne.Row(instance, now + 60);
            row.Value[7] ^= 64;
            await committer.CommitAsync(new Change.Plain(row));
            return Seal(instance);
        });
        await Server.StartAgainAsync();
        (await Server.Client(token).List()).IsError(401, "api_key_expired", null);
    }

    [Fact]
    public async Task A_generation_that_was_edited_in_the_database_is_refused()
    {
        var token = await Server.MintAsync("usr_1", "acct_1");
        (await Server.ForgetAsync("acct_1")).IsOk();
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, _) =>
        {
            foreach (var row in await engine.ListGenerationsAsync(-1, default))
            {
                await committer.CommitAsync(new Change.Plain(
                    new RowWrite.DeleteGeneration(row.Tenant, row.Number, long.MaxValue)));
                await committer.CommitAsync(new Change.Plain(
                    new RowWrite.PutGeneration(row with { Number = row.Number + 1 })));
            }

            return true;
        });
        await Server.StartAgainAsync();
        await IsDeadAsync(token);
        (await Server.Client(account: "acct_1").Post(Ephemeral, [("user", "usr_1")]))
            .IsError(500, null, null, type: "api_error");
        (await Server.Client(await Server.MintAsync("usr_1", "acct_2")).List()).IsOk();
    }

    [Fact]
    public async Task A_token_opens_in_its_own_format_and_mode_only()
    {
        var token = await Server.MintAsync("usr_1");
        var envelope = Tokens.Unseal("ek_test_", token)!;
        Assert.Equal(2u, Envelope.KeyVersionOf(envelope)); // which a program that knows format 1 only has no key for
        envelope[5] = 1;
        (await Server.Client(Tokens.Seal("ek_test_", envelope)).List()).IsError(401, null, null);
        envelope[5] = 2;
        (await Server.Client(Tokens.Seal("ek_live_", envelope)).List()).IsError(401, null, null);
        (await Server.Client(Tokens.Seal("ek_test_", envelope)).List()).IsOk();
    }

    [Fact]
    [Trait("Keys", "S4")]
    public async Task After_a_step_back_it_is_refused_and_so_is_the_reply_that_was_kept_of_its_minting()
    {
        var backend = Server.Client();
        var token = (await backend.Post(Ephemeral, [("user", "usr_1")], "mint once")).IsOk().Json.Secret();
        Assert.Equal(token,
            (await backend.Post(Ephemeral, [("user", "usr_1")], "mint once")).IsOk().Json.Secret());
        var app = (await Server.Admin.Post(Operator.Apps, [("name", "kept")], "app once")).IsOk().Json.Id();
        await StepBackAsync();
        await IsDeadAsync(token);
        var again = await backend.Post(Ephemeral, [("user", "usr_1")], "mint once");
        Assert.NotEqual(token, again.IsOk().Json.Secret());
        Assert.Null(again.Header("Idempotent-Replayed"));
        (await Server.Client(again.Json.Secret()).List()).IsOk();
        // Of another request it is still refused, and what is stored is not created twice.
        Assert.Equal(400, (await backend.Post(Ephemeral, [("user", "usr_2")], "mint once")).Status);
        var replayed = await Server.Admin.Post(Operator.Apps, [("name", "kept")], "app once");
        Assert.Equal((app, "true"), (replayed.IsOk().Json.Id(), replayed.Header("Idempotent-Replayed")));
    }

    [Theory]
    [Trait("Keys", "S4")]
    [InlineData(1, 0)]
    [InlineData(-1, 0)]
    [InlineData(0, 1)]
    public async Task A_generation_of_the_store_that_is_not_the_same_is_refused_whichever_is_greater(
        long number, byte mark)
    {
        var (now, tenant, key) = (Server.Time.Seconds, await TenantAsync(),
            (await Server.KeyAsync("secret", livemode: false)).Id());
        var token = await SealAsync(instance =>
        {
            var ours = instance.Facts!.Generation;
            byte[] marks = [(byte)(ours.Mark[0] ^ mark), .. ours.Mark[1..]];
            return new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + 60), tenant, "usr_1"u8.ToArray(),
                Permissions.All, key, now, now + 60)
            {
                Ties = new Ties(0, 0, 0, 0) { Store = new StoreGeneration(ours.Number + number, marks) },
            }.Seal(instance);
        });
        await IsDeadAsync(token);
    }

    [Fact]
    [Trait("Engine", "SQLite")] // its rows are edited
    [Trait("Keys", "S4")]
    public async Task One_that_a_release_before_has_minted_lives_for_a_day_after_the_upgrade_and_not_after_a_step_back()
    {
        var (now, tenant, key) = (Server.Time.Seconds, await TenantAsync(),
            (await Server.KeyAsync("secret", livemode: false)).Id());
        await Server.StopAsync();
        var (token, late) = await Server.OnStoreAsync((_, _, instance) =>
            Task.FromResult((Seal(instance, now), Seal(instance, now + 86_000))));
        await Server.StartAgainAsync();
        await IsDeadAsync(token); // the store is this release's: none was ever minted so

        // As a release before has left it.
        await Server.StopAsync();
        Server.Execute("UPDATE audit SET public = NULL");
        File.Delete(Path.Combine(Server.Data, "audit-checkpoints.jsonl"));
        await Server.StartAgainAsync();
        (await Server.Client(token).List()).IsOk();
        await Server.StopAsync();
        await Server.StartAgainAsync();
        (await Server.Client(token).List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(86_300));
        (await Server.Client(late).List()).IsOk();
        Server.Time.Move(TimeSpan.FromSeconds(200));
        await IsDeadAsync(late);
        Server.Time.Move(TimeSpan.FromSeconds(-200));
        (await Server.Client(late).List()).IsOk();
        await StepBackAsync();
        await IsDeadAsync(late);

        string Seal(Instance instance, long created) =>
            new EphemeralKey(EphemeralKey.NewId(instance, tenant, created, created + 86_400), tenant,
                "usr_1"u8.ToArray(), Permissions.All, key, created, created + 86_400)
            {
                Ties = new Ties(0, 0, 0, 0),
            }.Seal(instance);
    }

    // As an accepted roll-back does.
    private async Task StepBackAsync()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var (rows, _, durable) = await instance.StepBackAsync(engine, 0, 0, Server.Time.Seconds, default);
            await committer.CommitAsync(new Change.Plain(rows));
            durable();
            return true;
        });
        await Server.StartAgainAsync();
    }

    private async Task IsDeadAsync(string token) => (await Server.Client(token).List()).IsError(401, null, null);

    private async Task<string> MintAsync(string key) =>
        (await Server.Client(key).Post(Ephemeral, [("user", "usr_1")])).IsOk().Json.Secret();

    /// <summary>A secret key of the first app, and a token that it minted.</summary>
    private async Task<(string Key, string Token)> NewAsync()
    {
        var key = await Server.NewKeyAsync("secret", await Server.AppIdAsync());
        return (key.Id(), await MintAsync(key.Secret()));
    }

    private async Task<TenantId> TenantAsync()
    {
        var app = (await Server.Admin.Get($"{Operator.Apps}/{await Server.AppIdAsync()}")).IsOk().Json;
        return new TenantId(app.Id(), Livemode: false, (string)app["account"]!);
    }

    /// <summary>Makes tokens that no server would mint.</summary>
    private async Task<T> SealAsync<T>(Func<Instance, T> seal, bool acceptsFormatOne = false)
    {
        await Server.StopAsync();
        var tokens = await Server.OnStoreAsync(async (_, committer, instance) =>
        {
            if (acceptsFormatOne)
                await committer.CommitAsync(new Change.Plain(FormatOne.Row(instance, Server.Time.Seconds + 90_000)));
            return seal(instance);
        });
        await Server.StartAgainAsync();
        return tokens;
    }

    // What the server's own sweep does once an hour.
    private async Task SweepAsync()
    {
        await Server.StopAsync();
        await Server.OnStoreAsync(async (engine, committer, instance) =>
        {
            var rows = Generations.Prune(instance, await engine.ListGenerationsAsync(-1, default), Server.Time.Seconds);
            await committer.CommitAsync(new Change.Plain(rows));
            return true;
        });
        await Server.StartAgainAsync();
    }

    private async Task<List<GenerationRow>> GenerationsAsync(string account)
    {
        await Server.StopAsync();
        var rows = await Server.OnStoreAsync(async (engine, _, _) => await engine.ListGenerationsAsync(-1, default));
        await Server.StartAgainAsync();
        return [.. rows.Where(row => row.Tenant.Account == account)];
    }
}
