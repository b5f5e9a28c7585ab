using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Hosting;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Settings;
using Coffer.Shared;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Keys;

/// <summary>
/// A store is renewed in place after its root key has leaked (docs/keys.md, "After a root key has leaked").
/// </summary>
[Trait("Keys", "S36")]
public sealed class StoreRenewalTests : ServerTests
{
    private const string Root = "/admin/v1/root_keys", Confirmation = $"{Root}/confirmation",
        Minting = "/v1/ephemeral_keys",
        Signature = "/v1/apps/app_embedded_backend_signature", Keys = "/admin/v1/api_keys";

    private string KeyFilePath => Path.Combine(Server.Data, "coffer.key");

    [Fact]
    public async Task All_that_hangs_on_the_root_key_is_renewed_and_an_owner_has_the_last_word()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("k", "payload")).IsOk();
        var minted = (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk();
        var page = Server.Client((string)minted.Json["secret"]!);
        (await page.Get(Signature, ("payload", "{}"))).IsOk();
        var gone = await NewKeyAsync();
        (await Server.Admin.Post($"{Keys}/{gone.Id}/revoke", [])).IsOk();
        var rolled = await NewKeyAsync();
        var successor = (await Server.Admin.Post($"{Keys}/{rolled.Id}/roll", [("grace_period", "86400")])).IsOk();
        (await Server.Admin.Post($"/admin/v1/apps/{Server.OtherApp}/accounts/acct_9/forget", []))
            .IsOk();
        (await Server.Client(Server.OtherAppKey, "acct_9").Set("other")).IsOk();
        var anchor = await File.ReadAllTextAsync(Path.Combine(Server.Data, "coffer.anchor"));

        Assert.Null((await ShowAsync())["renewal"]);
        await RenewAsync();
        var shown = await ShowAsync();
        Assert.Equal((2, "waiting_for_owner"),
            ((int)shown["renewal"]!["pepper"]!, (string?)shown["renewal"]!["state"]));
        Assert.All(shown["keys"]!.AsArray(), root => Assert.True((int)root!["version"]! > 2));

        // What was stored is there, and each key is good, or ended, as before; but what a browser had ends.
        Assert.Equal("payload", (await client.Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
        (await Server.Client(rolled.Token, "acct_1").Find("k")).IsOk();
        (await Server.Client((string)successor.Json["secret"]!, "acct_1").Find("k")).IsOk();
        Assert.Equal(401, (await Server.Client(gone.Token, "acct_1").Find("k")).Status);
        Assert.Equal(401, (await page.Find("k", "usr_1")).Status);
        var fresh = (await client.Post(Minting, [("user", "usr_1")], "mint")).IsOk();
        Assert.Null(fresh.Header("Idempotent-Replayed"));
        (await Server.Client((string)fresh.Json["secret"]!).List("usr_1")).IsOk();
        (await Server.Client((string)fresh.Json["secret"]!).Get(Signature, ("payload", "{}")))
            .IsError(400, "signing_secret_missing", null);
        Assert.NotEqual(anchor, await File.ReadAllTextAsync(Path.Combine(Server.Data, "coffer.anchor")));

        // Until then no key is made, and no key of before says that all is well.
        var listed = (string)(await Server.Admin.Get(Confirmation)).IsOk().Json["keys"]!;
        (await Server.Admin.Post(Keys, await SecretKeyAsync())).IsError(400, null, null);
        (await Server.Admin.Post($"{Keys}/{rolled.Id}/roll", [("grace_period", "0")])).IsError(400, null, null);
        (await Server.Admin.Post(Confirmation, [("keys", listed)])).IsError(403, null, null);
        (await Server.Admin.Post($"{Root}/rotate", [("compromised", "true")])).IsError(400, null, "compromised");

        var offline = await OfflineAsync();
        var owner = Server.Client(offline);
        (await owner.Post(Confirmation, [("keys", listed)])).IsError(409, null, "keys"); // there is one more by now
        (await owner.Post(Keys, await SecretKeyAsync())).IsOk();
        listed = (string)(await owner.Get(Confirmation)).IsOk().Json["keys"]!;
        Assert.Null((await owner.Post(Confirmation, [("keys", listed)], "done")).IsOk().Json["renewal"]);
        (await owner.Post(Confirmation, [("keys", listed)])).IsError(400, null, null);
        (await Server.Admin.Post(Keys, await SecretKeyAsync())).IsOk();
        Assert.Equal(
            ["confirm_renewal refused", "confirm_renewal ok", "confirm_renewal refused", "renew_store refused",
                "confirm_renewal refused", "renew_store waiting_for_owner", "renew_store rotating_tenant_keys",
                "renew_store proving", "renew_store replacing_root_key"],
            await EntriesAsync("confirm_renewal", "renew_store"));
        Assert.Equal(2, (await EntriesAsync("end_signing_secrets")).Count);

        // Again, and by a server that starts on it: the peppers of before open nothing but what is of their time.
        await Server.StopAsync();
        await VerifiedAsync();
        await Server.StartAgainAsync();
        await RenewAsync();
        (await client.Find("k")).IsOk();
        (await Server.Client(rolled.Token, "acct_1").Find("k")).IsOk();
        await Server.StopAsync();
        await VerifiedAsync();
    }

    [Fact]
    public async Task Killed_after_each_commit_whoever_starts_next_goes_on()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("k", "payload")).IsOk();
        var rolled = await NewKeyAsync();
        (await Server.Admin.Post($"{Keys}/{rolled.Id}/roll", [("grace_period", "86400")])).IsOk();
        (await Server.Admin.Post($"/admin/v1/apps/{Server.OtherApp}/accounts/acct_9/forget", []))
            .IsOk();
        await Server.StopAsync();
        await AskAsync();
        var states = new List<string>();
        while (states.Count == 0 || !states[^1].StartsWith("Waiting", StringComparison.Ordinal))
        {
            Assert.True(states.Count < 80, string.Join("\n", states));
            Server.Time.Move(TimeSpan.FromSeconds(1));
            states.Add(await UntilKilledAsync());
        }

        // Pepper, generation, key that signs and state are one change; a root key comes before it, and one after the
        // tenants.
        Assert.Equal(
            ["Asked, 2 roots from 1, pepper 1, signed by 1",
                "Asked, 1 root from 2, pepper 1, signed by 1", "Proving, 1 root from 2, pepper 2, signed by 2",
                "Listed, 1 root from 2, pepper 2, signed by 2", "Listed, 2 roots from 2, pepper 2, signed by 2",
                "Listed, 1 root from 3, pepper 2, signed by 2", "Waiting, 1 root from 3, pepper 2, signed by 2"],
            states.Where((state, i) => i == 0 || state != states[i - 1]));
        Assert.InRange(states.Count(state => state.StartsWith("Proving", StringComparison.Ordinal)), 6, 20);
        await Server.StartAgainAsync();
        Assert.Equal("payload", (await client.Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
        (await Server.Client(rolled.Token, "acct_1").Find("k")).IsOk();
        Assert.Equal("waiting_for_owner", (string?)(await ShowAsync())["renewal"]!["state"]);
        await Server.StopAsync();
        await VerifiedAsync();
    }

    [Fact]
    [Trait("Engine", "SQLite")] // rows are planted in the file
    public async Task The_thief_who_has_the_root_key_the_pepper_and_every_copy_forges_nothing_once_it_is_listed()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("k", "payload")).IsOk();
        var app = await Server.AppIdAsync();
        await Server.StopAsync();
        var thief = await StealAsync();
        // A key that he plants in time stays, and an owner sees it.
        var (early, beside) = (thief.Key(null, "key_early"), thief.Key(null, "key_beside", isOffline: true));
        await PlantAsync(early.Row);
        await PlantAsync(beside.Row);
        await Server.StartAgainAsync();
        (await Server.Client(beside.Token).Get(Keys)).IsOk(); // what is kept of it is of before
        await RenewAsync();
        (await Server.Client(beside.Token).Post(Keys, [("type", "admin")])).IsError(400, null, null);

        // One that he plants later is not: a secret key, an owner's, and one that was made beside the server.
        var late = thief.Key(app, "key_late");
        var offline = thief.Key(null, "key_offline", isOffline: true);
        await Server.StopAsync();
        await PlantAsync(late.Row);
        await PlantAsync(offline.Row);
        await Server.StartAgainAsync();
        (await Server.Client(late.Token, "acct_1").Find("k")).IsError(500, null, null, type: "api_error");
        (await Server.Client(offline.Token).Get(Keys)).IsError(500, null, null, type: "api_error");
        Server.Execute("DELETE FROM api_keys WHERE id IN ('key_late', 'key_offline')");

        // The early one is good until an owner ends it; it makes no key meanwhile, and confirms nothing.
        var planted = Server.Client(early.Token);
        var listed = (string)(await planted.Get(Confirmation)).IsOk().Json["keys"]!;
        (await planted.Post(Confirmation, [("keys", listed)])).IsError(403, null, null);
        (await planted.Post(Keys, [("type", "admin")])).IsError(400, null, null);
        (await Server.Client(beside.Token).Post(Confirmation, [("keys", listed)])).IsError(403, null, null);
        (await Server.Client(beside.Token).Post(Keys, [("type", "admin")])).IsError(400, null, null);
        var owner = Server.Client(await OfflineAsync());
        Assert.Contains("key_early", (await owner.Get(Keys, ("limit", "100"))).IsOk().Text, StringComparison.Ordinal);
        (await owner.Post($"{Keys}/key_early/revoke", [])).IsOk();
        (await owner.Post($"{Keys}/key_beside/revoke", [])).IsOk();
        // Nor does a key that was made over the network since, as he may have had one made with an early one.
        var online = (await owner.Post(Keys, [("type", "admin")])).IsOk();
        listed = (string)(await owner.Get(Confirmation)).IsOk().Json["keys"]!;
        (await Server.Client((string)online.Json["secret"]!).Post(Confirmation, [("keys", listed)]))
            .IsError(403, null, null);
        (await owner.Post(Confirmation, [("keys", listed)])).IsOk();
        Assert.Equal(401, (await planted.Get(Keys)).Status);

        // A browser's key of his making, in the generation that he reads in the audit log.
        var minter = await KeyIdAsync(app);
        await Server.StopAsync();
        var generation = await OnStoreAsync((_, _, instance) => Task.FromResult(instance.Facts!.Generation));
        var id = new TenantId(app, false, "acct_1");
        var now = Server.Time.Seconds;
        var forged = new EphemeralKey(EphemeralKey.NewId(thief.Instance, id, now, now + 600), id, "usr_1"u8.ToArray(),
            Permissions.All, minter, now, now + 600)
        {
            Ties = new Ties(0, 0, 0, 1_000) { Store = generation },
        };
        await Server.StartAgainAsync();
        Assert.Equal(401, (await Server.Client(forged.Seal(thief.Instance)).List("usr_1")).Status);

        // An ended key that he makes up ends nothing, nor does a generation that he raises.
        Server.Execute($"""
            INSERT INTO ended_keys SELECT mac, id, app, kind, livemode, created, 1, 'revoked', $b0 FROM api_keys
            WHERE app = '{app}' AND livemode = 1
            """, ((RowWrite.PutEndedKey)EndedKey.Put(thief.Instance, late.Row, 1, "revoked")).Row.Proof);
        await Server.StopAsync();
        await OnStoreAsync(async (engine, _, instance) =>
        {
            var ended = await engine.ListAsync(EndedKeyRow.AfterMac, default, Array.Empty<byte>(), 10);
            Assert.Contains(ended, row => row.How == "revoked" && !EndedKey.IsWhole(instance, row));
            Assert.False(Generations.IsWhole(instance, Generations.Raise(thief.Instance, id, 9, now).Row));
            return true;
        });
    }

    [Fact]
    [Trait("Engine", "SQLite")] // rows are planted in the file
    public async Task The_log_is_believed_as_far_as_it_had_come_and_no_further()
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        await Server.StopAsync();
        var thief = await StealAsync();
        // Another node had a log, and is gone.
        var (before, after) = (thief.Row("node_2", null, "set"), (AuditRow?)null);
        await AppendAsync(before);
        await Server.StartAgainAsync();
        await RenewAsync();
        await Server.StopAsync();
        await VerifiedAsync();

        // More of the old generation behind it, a log of a node that never was, an entry in place of another.
        after = thief.Row("node_2", before, "revoke_key");
        await ProblemAsync("node_2 had come to entry 1", AppendAsync, after);
        await ProblemAsync("node_9 has 1 entries under a pepper of before", AppendAsync,
            thief.Row("node_9", null, "set"));
        var edited = thief.Row("node_2", null, "delete");
        Server.Execute("UPDATE audit SET entries = $b0, mac = $b1, public = $b2 WHERE node = 'node_2'",
            edited.Entries, edited.Mac, edited.Public!);
        Assert.Contains(await ProblemsAsync(),
            problem => problem.Contains("node_2 had come to", StringComparison.Ordinal));
        Server.Execute("UPDATE audit SET entries = $b0, mac = $b1, public = $b2 WHERE node = 'node_2'",
            before.Entries, before.Mac, before.Public!);
        await VerifiedAsync();

        // Behind what is of the new generation; and the same in the new generation, by the old pepper.
        var last = await OnStoreAsync(async (engine, _, _) => (await engine.FindLastAuditAsync("node_1", default))!);
        var tail = thief.Row("node_1", last, "revoke_key");
        await ProblemAsync("of a generation before", AppendAsync, tail);
        var generation = await OnStoreAsync((_, _, instance) => Task.FromResult(instance.Facts!.Generation));
        await ProblemAsync("were changed", AppendAsync, thief.Row("node_1", last, "revoke_key", generation));
        await ProblemAsync("were changed", AppendAsync, thief.Row("node_7", null, "set", generation));

        // The list of how far they had come cannot be taken away, or be another one.
        var heads = (byte[])Server.Scalar("SELECT value FROM meta WHERE key = 'audit heads'")!;
        Server.Execute("DELETE FROM meta WHERE key = 'audit heads'");
        Assert.Contains(await ProblemsAsync(),
            problem => problem.Contains("is gone, or was", StringComparison.Ordinal));
        Server.Execute("INSERT INTO meta (key, value) VALUES ('audit heads', $b0)", heads);
        await VerifiedAsync();

        // Where the log begins, as the old pepper has it: nothing.
        Server.Execute("INSERT INTO meta (key, value) VALUES ('audit cut node_2', $b0)",
            thief.Cut("node_2", before));
        Assert.Contains(await ProblemsAsync(),
            problem => problem.Contains("was not written by this store", StringComparison.Ordinal));
        Server.Execute("DELETE FROM meta WHERE key = 'audit cut node_2'");

        // A checkpoint that the old key signs of the new generation is no word of this store; of its own time it is.
        var place = new ChainPlace("node_1", new ChainPosition(9_999, new byte[32])
        {
            Public = new PublicPlace(new byte[32], generation),
        }, 0);
        Assert.Contains(await ProblemsAsync(thief.Checkpoint(place)),
            problem => problem.Contains("is not a checkpoint that this store signed", StringComparison.Ordinal));
        Assert.Empty(await ProblemsAsync(thief.Checkpoint(
            new ChainPlace("node_2", ChainPosition.Of(before), 0))));
    }

    /// <summary>While the second proves rows again, the last two peppers are believed, and the first is not.</summary>
    [Fact]
    [Trait("Engine", "SQLite")] // rows are planted in the file
    public async Task The_log_is_whole_on_every_step_of_a_second_renewal_and_nothing_of_the_first_pepper_is_added()
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        await Server.StopAsync();
        var thief = await StealAsync();
        // Another node had a log, and is gone.
        await AppendAsync(thief.Row("node_2", null, "set"));
        await Server.StartAgainAsync();
        await RenewAsync();
        await Server.StopAsync();
        await AskAsync(pepper: 3);
        await UntilAsync(RenewalState.Proving);
        await OnStoreAsync(async (_, committer, _) =>
        {
            await committer.CommitAsync(new Change.Noted(new AuditEntry("set", "ok"))); // by the third pepper
            return true;
        });
        await VerifiedAsync();
        await ProblemAsync("node_9 has 1 entries under a pepper of before", AppendAsync,
            thief.Row("node_9", null, "set"));

        // Nor does what is found when the second pepper is believed no more make good what the first one has written.
        var planted = thief.Row("node_9", null, "set");
        await AppendAsync(planted);
        await UntilAsync(RenewalState.Listed);
        await ProblemAsync("node_9 has 1 entries under a pepper of before", _ => Task.FromResult(true), planted);
    }

    [Fact]
    public async Task A_control_row_of_before_starts_nothing_and_stops_a_node_that_runs()
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        await Server.StopAsync();
        StoredKeys stolen = null!;
        RootKeys roots = null!;
        await OnStoreAsync(async (engine, _, instance) =>
        {
            (stolen, roots) = (await StoredKeys.ReadAsync(engine, default), instance.Roots);
            return true;
        });
        await Server.StartAgainAsync();
        await RenewAsync();
        await Server.StopAsync();
        await OnStoreAsync(async (engine, committer, instance) =>
        {
            // Its rows as they were, with a serial of the thief's.
            using var control = Control.Open(instance.Id, stolen.Meta[Control.MetaKey], roots)!;
            var forged = (control with { Serial = 1_000 }).Write(instance.Id, roots);
            var now = await StoredKeys.ReadAsync(engine, default);
            engine.KnownControl = static () => null;
            await committer.CommitAsync(new Change.Plain([
                .. now.Wrappings.Select(row => new RowWrite.DeleteWrapping(row.Version, row.Wrapper)),
                .. now.Roots.Select(row => new RowWrite.DeleteRootKey(row.Version)),
                .. stolen.Writes.Where(row => row is RowWrite.PutRootKey or RowWrite.PutWrapping), forged,
            ]));
            await Assert.ThrowsAsync<ConfigurationException>(() =>
                instance.FollowAsync(engine, KeyWrappers.OfFile(KeyFilePath), asksForNew: true, default));
            return true;
        });
        var refused = await Assert.ThrowsAsync<ConfigurationException>(() => Server.StartAgainAsync());
        Assert.Contains("coffer.anchor names", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_app_that_is_made_or_rolled_meanwhile_keeps_its_secrets()
    {
        await RenewAsync();
        var made = (await Server.Admin.Post("/admin/v1/apps", [("name", "new")])).IsOk();
        Assert.NotNull(made.Json["signing_secret_live"]);
        var app = await Server.AppIdAsync();
        (await Server.Admin.Post($"/admin/v1/apps/{app}/signing_secret/roll", [("grace_period", "0")])).IsOk();
        await Server.StopAsync();
        await OnStoreAsync(async (engine, _, instance) =>
        {
            foreach (var row in await engine.ListAppsAsync(null, newer: false, 10, default))
            {
                var found = App.From(row, instance);
                Assert.Null(found.WithoutSecretsOf(instance.Peppers.Newest));
                Assert.Equal((found.Id == made.Id, found.Id == made.Id || found.Id == app),
                    (found.LiveSigningSecrets.Count > 0, found.TestSigningSecrets.Count > 0));
            }

            return true;
        });
    }

    /// <summary>SQLite keeps what it is given, and gives what is of another type in no order.</summary>
    [Theory]
    [Trait("Engine", "SQLite")] // rows are planted in the file
    [InlineData("UPDATE meta SET value = CAST(value AS TEXT) WHERE key = 'ephemeral keys of format 1'", null)]
    [InlineData("INSERT INTO meta (key, value) VALUES ('ephemeral keys of format 12', x'00')", null)]
    [InlineData("INSERT INTO meta (key, value) VALUES ('tenant rotations', x'00')", "meta tenant rotations")]
    [InlineData("INSERT INTO apps SELECT CAST('app_b' AS BLOB), name, account, created, sealed FROM apps LIMIT 1",
        "apps app_b")]
    [InlineData("""
        INSERT INTO apps WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
        SELECT 'app_planted' || i, name, account, 'never', sealed FROM n, (SELECT * FROM apps LIMIT 1)
        """, "apps app_planted99")]
    public async Task What_was_put_into_the_tables_neither_holds_it_up_nor_leads_it_past_an_app(
        string sql, string? damaged)
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        var own = await Server.AppIdAsync();
        await Server.StopAsync();
        Server.Execute(sql);
        await Server.StartAgainAsync();
        await RenewAsync();
        var reported = (await Server.Admin.Get("/admin/v1/audit", ("verb", "check_row"), ("limit", "100"))).IsOk();
        Assert.Contains($"\"{damaged ?? ""}", reported.Text, StringComparison.Ordinal);
        (await Server.Client(account: "acct_1").Find("k")).IsOk();
        await Server.StopAsync();
        await OnStoreAsync(async (engine, _, instance) =>
        {
            foreach (var id in (string[])[own, Server.OtherApp])
            {
                var app = App.From((await engine.FindAppAsync(id, default))!, instance);
                Assert.Null(app.WithoutSecretsOf(instance.Peppers.Newest));
            }

            return true;
        });
    }

    [Fact]
    public async Task A_node_that_does_not_know_the_pepper_yet_accepts_a_key_that_it_has_proven()
    {
        await Server.StopAsync();
        var node = await OnStoreAsync((_, _, instance) => Task.FromResult(instance));
        await Server.StartAgainAsync();
        await RenewAsync();
        await Server.StopAsync();
        await OnStoreAsync(async (engine, committer, _) =>
        {
            node.Reload = ct => node.FollowAsync(engine, KeyWrappers.OfFile(KeyFilePath), asksForNew: false, ct);
            using var refusals = new Refusals(Server.Time);
            using var apps = new Apps(engine, node, new Epoch());
            using var keys = new ApiKeys(engine, node, apps, new LastUses(committer, Server.Time),
                new Gate(refusals, null!, engine), Server.Time);
            var (caller, refusal) = await keys.FindCallerAsync(
                Server.Keys.TestSecretKey, null, Origin.Internal, default);
            Assert.Null(refusal);
            Assert.Equal(KeyKind.Secret, caller!.Kind);
            return true;
        });
    }

    [Fact]
    [Trait("Engine", "SQLite")] // SQLite keeps text and numbers where bytes belong
    public async Task An_end_of_a_key_that_is_planted_where_no_page_begins_is_named()
    {
        foreach (var mac in (string[])["'text'", "7", "x''", "x'01'"])
        {
            Server.Execute($"""
                INSERT INTO ended_keys (mac, id, kind, livemode, created, ended, how, proof)
                VALUES ({mac}, 'key_' || typeof({mac}) || length({mac}), 'secret', 0, 1, 1, 'revoked', x'00')
                """);
        }

        await RenewAsync();
        var named = (await Server.Admin.Get("/admin/v1/audit", ("verb", "check_row"), ("limit", "100"))).IsOk()
            .Json["data"]!.AsArray().Select(entry => (string)entry!["target"]!);
        Assert.Equal(
            ["ended_keys key_blob0", "ended_keys key_blob1", "ended_keys key_integer1", "ended_keys key_text4"],
            named.Where(target => target.StartsWith("ended_keys", StringComparison.Ordinal)).Order());
    }

    /// <summary>As on a node that had handed it in, and follows another only then.</summary>
    [Fact]
    [Trait("Engine", "SQLite")] // what is read there is not read at once
    public async Task What_waits_while_a_pepper_begins_is_proven_by_that_one()
    {
        await Server.StopAsync();
        await OnStoreAsync(async (engine, committer, instance) =>
        {
            await committer.CommitAsync(new ControlChange(instance, control => control with
            {
                Renewal = new Renewal(RenewalState.Asked, instance.Facts!.NewestVersion, 2, Server.Time.Seconds),
            }, [], []));
            var receipt = Receipt.New(Server.OtherApp, "acct_9", 0, 0, Server.Time.Seconds);
            var ended = Generations.Raise(
                instance, new TenantId(Server.OtherApp, false, "acct_9"), 1, Server.Time.Seconds);
            await committer.CommitAsync(new Change.Plain(receipt.ToRow(instance), ended));
            Server.Time.Move(TimeSpan.FromDays(31));
            using var refusals = new Refusals(Server.Time);
            var gate = new Gate(refusals, null!, engine);
            using var held = new ManualResetEventSlim();
            var blocking = new BlockingChange(held);
            using var receipts = new Receipts(
                engine, committer, instance, gate, Server.Time, NullLogger<Receipts>.Instance)
            {
                Backups = () =>
                {
                    _ = committer.CommitAsync(blocking);
                    blocking.Running.Wait();
                    return null;
                },
            };
            var retention = new Retention(engine, committer, AuditKeys.Of(instance),
                static () => TimeSpan.FromDays(30), Server.Time, NullLogger<Retention>.Instance);
            var formatOne = new FormatOne(engine, committer, instance, Server.Time);
            await committer.CommitAsync(new Change.Plain(new RowWrite.DeleteMeta(FormatOne.MetaKey)));
            var endings = new Endings(engine, instance, null!, null!, formatOne, Server.Time);
            var roots = new RootRotation(engine, committer, instance, KeyWrappers.OfFile(KeyFilePath), Server.Time);
            var renewal = new StoreRenewal(engine, committer, instance, roots, gate, Server.Time);

            // Each is handed in once its call returns, and the renewal is urgent.
            var waiting = Task.WhenAll(receipts.SignAsync(default), retention.SweepAsync(default),
                endings.SweepAsync(committer, default), formatOne.StartAsync(default));
            var begun = renewal.StepAsync(default);
            held.Set();
            Assert.True(await begun);
            await waiting;

            // As from the next state on, the pepper before is believed no more.
            await committer.CommitAsync(new ControlChange(instance, control => control with
            {
                Renewal = control.Renewal! with { State = RenewalState.Waiting },
            }, [], []));
            Assert.Equal(2u, Assert.Single(instance.Peppers.Believed).Number);
            var signed = Receipt.From((await engine.FindReceiptAsync(receipt.Id, default))!, instance);
            Assert.NotNull(signed?.SignedAt);
            Assert.True(Generations.IsWhole(instance, Assert.Single(await engine.ListGenerationsAsync(-1, default))));
            var accepting = new FormatOne(engine, committer, instance, Server.Time);
            await accepting.StartAsync(default);
            Assert.True(accepting.IsAcceptedAt(Server.Time.Seconds));
            Assert.Single(await engine.ListMetaAsync(AuditCut.MetaPrefix, default), row =>
                AuditCut.Read(AuditKeys.Of(instance).Proof, "node_1", row.Value) is not null);
            return true;
        });
    }

    /// <summary>As by a node that leads no more, and does not know it yet.</summary>
    [Fact]
    public async Task Two_that_take_a_step_at_once_take_it_once_and_it_waits_for_each_rotation_of_its_own()
    {
        await Server.StopAsync();
        await OnStoreAsync(async (engine, committer, instance) =>
        {
            await committer.CommitAsync(new ControlChange(instance, control => control with
            {
                Renewal = new Renewal(RenewalState.Asked, instance.Facts!.NewestVersion, 2, Server.Time.Seconds),
            }, [], []));
            using var refusals = new Refusals(Server.Time);
            var roots = new RootRotation(engine, committer, instance, KeyWrappers.OfFile(KeyFilePath), Server.Time);
            StoreRenewal Node() => new(
                engine, committer, instance, roots, new Gate(refusals, null!, engine), Server.Time);
            var (one, other) = (Node(), Node());
            foreach (var state in (RenewalState[])[RenewalState.Proving, RenewalState.Listed, RenewalState.Listed])
            {
                // Neither is stored before both have decided on what they read.
                using var held = new ManualResetEventSlim();
                var blocking = new BlockingChange(held);
                _ = committer.CommitAsync(blocking);
                blocking.Running.Wait();
                var steps = Task.WhenAll(one.StepAsync(default), other.StepAsync(default));
                await Until.SoAsync("both have handed in",
                    () => committer.Depths.Sum(static lane => lane.Count) >= 2);
                held.Set();
                Assert.Equal([false, true], (await steps).Order());
                Assert.Equal(state, instance.Facts!.Renewal!.State);
            }

            Assert.Equal((2u, 2u), (instance.Peppers.Newest.Number, instance.Signing.Number));
            var asked = Assert.Single(TenantRotations.Read(
                instance, await engine.FindMetaAsync(TenantRotations.MetaKey, default)).All);
            Assert.Null(await one.StepAsync(default)); // it is the turn of the tenants
            // Two, as in a store that was restored meanwhile.
            await committer.CommitAsync(new Change.Plain(
                new TenantRotations([asked with { Ended = 1 }, asked with { Id = "tkr_2" }]).Write(instance)));
            Assert.Null(await one.StepAsync(default));
            await committer.CommitAsync(new Change.Plain(
                new TenantRotations([asked with { Ended = 1 }]).Write(instance)));
            Assert.True(await one.StepAsync(default));
            Assert.Equal(RenewalState.Waiting, instance.Facts!.Renewal!.State);
            return true;
        });
    }

    [Fact]
    public async Task A_node_that_is_behind_does_not_take_root_keys_for_removed()
    {
        (await Server.Admin.Post($"{Root}/rotate", [])).IsOk();
        await Until.SoAsync("the root key seals", async () =>
            (string?)(await ShowAsync())["keys"]!.AsArray()[^1]!["state"] == "done");
        await Server.StopAsync();
        await OnStoreAsync(async (engine, committer, instance) =>
        {
            var behind = await Instance.OpenAsync(engine, KeyWrappers.OfFile(KeyFilePath), default);
            await committer.CommitAsync(new ControlChange(instance, control => control with { }, [], []));
            foreach (var (node, isSo) in ((Instance, bool)[])[(behind, false), (instance, true)])
            {
                var roots = new RootRotation(engine, committer, node, KeyWrappers.OfFile(KeyFilePath), Server.Time);
                Assert.Equal(isSo, await roots.ReplaceAsync(2, null, default));
            }

            return true;
        });
    }

    [Fact]
    public void The_register_of_what_a_pepper_proves_is_the_documents()
    {
        var lines = File.ReadAllLines(Repository.File("docs/envelope.md"));
        var table = lines.SkipWhile(line => !line.StartsWith("| what a pepper proves", StringComparison.Ordinal))
            .Skip(2).TakeWhile(line => line.StartsWith('|'));
        Assert.Equal(ProvenKind.All.Select(kind =>
            $"| {kind.Name} | `{kind.Table}` |{(kind.Key is null ? "" : $" `{kind.Key}`")} |"), table);
    }

    private Task<Thief> StealAsync() =>
        OnStoreAsync((_, _, instance) => Task.FromResult(new Thief(instance, Server.Time.Seconds)));

    private Task<T> OnStoreAsync<T>(Func<Engine, Committer, Instance, Task<T>> work) => Server.OnStoreAsync(work);

    private Task<bool> PlantAsync(ApiKeyRow row) => OnStoreAsync(async (_, committer, _) =>
    {
        await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row)));
        return true;
    });

    private Task<bool> AppendAsync(AuditRow row) => OnStoreAsync(async (_, committer, _) =>
    {
        await committer.CommitAsync(new Change.Plain(new RowWrite.PutAudit(row)));
        return true;
    });

    private async Task ProblemAsync(string about, Func<AuditRow, Task<bool>> plant, AuditRow row)
    {
        await plant(row);
        var problems = await ProblemsAsync();
        Assert.True(problems.Any(problem => problem.Contains(about, StringComparison.Ordinal)),
            $"{about}: {string.Join("; ", problems)}");
        Server.Execute($"DELETE FROM audit WHERE node = '{row.Node}' AND first = {row.First}");
        await VerifiedAsync();
    }

    private Task<IReadOnlyList<string>> ProblemsAsync(params string[] checkpoints) =>
        OnStoreAsync(async (engine, _, instance) => (await AuditArchive.VerifyAsync(
            engine, AuditKeys.Of(instance).Proof, checkpoints, default)).Problems);

    private async Task VerifiedAsync() =>
        Assert.Empty(await ProblemsAsync(await File.ReadAllLinesAsync(
            DataDirectory.FilesOf(Server.Data).Checkpoints)));

    private async Task RenewAsync()
    {
        (await Server.Admin.Post($"{Root}/rotate", [("compromised", "true")])).IsOk();
        for (var tries = 0; (string?)(await ShowAsync())["renewal"]!["state"] != "waiting_for_owner";)
        {
            Assert.InRange(tries++, 0, 300);
            await Task.Delay(50);
        }
    }

    private async Task<JsonNode> ShowAsync() => (await Server.Admin.Get(Root)).IsOk().Json;

    private async Task<(string, string)[]> SecretKeyAsync() =>
        [("type", "secret"), ("app", await Server.AppIdAsync()), ("livemode", "false")];

    private async Task<(string Id, string Token)> NewKeyAsync()
    {
        var made = (await Server.Admin.Post(Keys, await SecretKeyAsync())).IsOk();
        return (made.Id!, (string)made.Json["secret"]!);
    }

    private async Task<string> KeyIdAsync(string app) => (string)(await Server.Admin.Get(Keys, ("app", app)))
        .IsOk().Json["data"]![0]!["id"]!;

    private async Task<string> OfflineAsync()
    {
        await Server.StopAsync();
        var made = await OfflineKey.CreateAsync(
            new CofferOptions { Data = Server.Data, Store = Server.Location.Store }, null, Server.Time, default);
        await Server.StartAgainAsync();
        return made.GetProperty("secret").GetString()!;
    }

    // Newest first.
    private async Task<List<string>> EntriesAsync(params string[] verbs)
    {
        var entries = new List<JsonNode>();
        foreach (var verb in verbs)
        {
            entries.AddRange((await Server.Admin.Get("/admin/v1/audit", ("verb", verb), ("limit", "100"))).IsOk()
                .Json["data"]!.AsArray()!);
        }

        return [.. entries.OrderByDescending(Place).Select(entry => $"{entry["verb"]} {entry["outcome"]}")];

        static (long Row, long Sequence) Place(JsonNode entry) => ((string)entry["id"]!).Split('_') is [_, var row,
            var sequence] ? (long.Parse(row), long.Parse(sequence)) : default;
    }

    private Task<bool> AskAsync(uint pepper = 2) => OnStoreAsync(async (_, committer, instance) =>
    {
        var change = new ControlChange(instance, control => control with
        {
            Renewal = new Renewal(RenewalState.Asked, instance.Facts!.NewestVersion + 1, pepper,
                Server.Time.Seconds),
        }, [], []);
        await committer.CommitAsync(change);
        return change.HasChanged;
    });

    private async Task UntilAsync(RenewalState state)
    {
        for (var tries = 0; !(await UntilKilledAsync()).StartsWith($"{state}", StringComparison.Ordinal); tries++)
            Assert.InRange(tries, 0, 40);
    }

    // What a process leaves that is killed after its first commit.
    private async Task<string> UntilKilledAsync()
    {
        await KilledProcess.AfterOneCommitAsync(Server);
        return await OnStoreAsync((_, _, instance) =>
        {
            var facts = instance.Facts!;
            return Task.FromResult($"{facts.Renewal!.State}, {facts.Roots.Count} root"
                + $"{(facts.Roots.Count == 1 ? "" : "s")} from {facts.Roots[0].Version}, pepper "
                + $"{instance.Peppers.Newest.Number}, signed by {instance.Signing.Number}");
        });
    }
}
