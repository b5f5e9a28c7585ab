using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Shared;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Tests.Keys;

/// <summary>
/// What who knows the keys of tenants and writes the database while they rotate has of it once they have
/// (docs/keys.md, "After a compromise").
/// </summary>
[Trait("Keys", "S2")]
public sealed class TenantThiefTests() : ServerTests
{
    [Fact]
    public async Task Keys_of_before_that_are_put_back_after_the_last_look_are_left_behind_and_fresh_ones_are_not()
    {
        foreach (var account in (string[])["acct_1", "acct_2"])
            (await Server.Client(account: account).Set("k", $"payload of {account}")).IsOk();
        var other = Server.Client(Server.OtherAppKey, "acct_1");
        (await other.Set("k", "of another app")).IsOk();
        var id = await IdAsync("acct_1");
        await Server.StopAsync();
        await AskAsync(id.App);
        // Sealed under the root key that it begins with, and as they were: what a thief keeps of them.
        await UntilAsync(async (_, engine, facts) => facts.Roots is [{ Version: 2 }]
            && (await engine.FindTenantAsync(id, default))!.Counter == 1);
        var old = await RowAsync(id);
        // The root key is made that ends it: all tenants were looked at.
        await UntilAsync((_, _, facts) => Task.FromResult(facts.Roots is [{ Version: 2 }, { Version: 3 }]));
        await Server.StepsAsync(async (tenants, committer, _) =>
        {
            await committer.CommitAsync(new Change.Plain(
                new RowWrite.PutTenantKeys(old.Id, id, old.SealedKeys, old.Counter, old.Keys)));
            await tenants.FindOrAddAsync(id with { Account = "acct_3" }, null, default);
        });
        if (!PostgresServer.IsChosen)
        {
            Server.Execute($"UPDATE tenants SET id = 99 WHERE id = {old.Id}");
            Server.Execute($"UPDATE secrets SET tenant = 99 WHERE tenant = {old.Id}");
        }

        await Server.StartAgainAsync();
        await DoneAsync();
        await Server.StopAsync();
        await Server.StartAgainAsync(); // it has seen no later keys
        (await Server.Client(account: "acct_1").Find("k")).IsError(500, null, null, type: "api_error");
        (await Server.Client(account: "acct_1").Set("k")).IsError(500, null, null, type: "api_error");
        Assert.Equal("payload of acct_2",
            (await Server.Client(account: "acct_2").Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
        // Nobody else's keys were said to be known, and those are of before it.
        Assert.Equal("of another app", (await other.Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
        (await Server.Client(account: "acct_3").Set("k")).IsOk();
        // Which was begun under the second root key, and needed no rotation.
        Assert.Equal($"{(1L << 32) + 1}",
            await Server.OnTheSideAsync("SELECT counter FROM tenants WHERE account = 'acct_3'"));
        Assert.Equal(1, (int)(await EntriesAsync("rotate_root_key", "done"))[0]["count"]!);
        Assert.Contains(await EntriesAsync("check_row", null),
            entry => ((string)entry["target"]!).StartsWith("tenants ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_rotation_is_not_ended_by_a_root_key_that_took_over_what_there_was()
    {
        (await Server.Client(account: "acct_1").Set("k", "payload")).IsOk();
        var id = await IdAsync("acct_1");
        (await Server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
        await RootAsync(2);
        (await Server.Admin.Post("/admin/v1/root_keys/rotate", [])).IsOk();
        await RootAsync(3);
        await Server.StopAsync();
        // A record that says that only its end is left: of another time, which its writer has kept.
        await AskAsync(id.App, rotation => rotation with { Place = rotation.UpTo, FirstRoot = 2, LastRoot = 3 });
        await UntilAsync(async (instance, engine, _) =>
            (await RotationsAsync(instance, engine)).All[0].Ended is not null);
        Assert.True((await RowAsync(id)).Counter > 2L << 32);
        await Server.StartAgainAsync();
        Assert.Equal("payload",
            (await Server.Client(account: "acct_1").Find("k", more: ("expand[]", "payload"))).IsOk().Payload);
    }

    [Fact]
    public async Task Nor_is_it_by_one_that_ended_another_or_while_one_of_before_is_there()
    {
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        var id = await IdAsync("acct_1");
        await Server.StopAsync();
        await AskAsync(id.App);
        await UntilAsync((_, _, facts) => Task.FromResult(
            facts.Roots is [{ Version: 2 }, { Version: 3, State: RootState.Done }]));
        // Records of another time: no root key is older than this one names, but one is than that which ends it.
        await AskAsync(id.App, rotation => rotation with { Place = rotation.UpTo, FirstRoot = 2, LastRoot = 2 });
        await UntilAsync(EndedAsync);
        Assert.Equal([4], await RootsAsync());
        await AskAsync(id.App, rotation => rotation with
        {
            Id = "tkr_2",
            Place = rotation.UpTo,
            FirstRoot = 2,
            LastRoot = 4,
        });
        await UntilAsync(EndedAsync);
        Assert.Equal([5], await RootsAsync());
    }

    [Fact]
    public async Task A_rotation_that_comes_between_neither_undoes_nor_repeats_what_has_ended_the_one_before()
    {
        var id = await AskBesideAnotherAsync();
        await UntilAsync((_, _, facts) => Task.FromResult(
            facts.Roots is [{ Version: 2 }, { Version: 3, State: RootState.Done }]));
        Assert.Equal(1, (await RowAsync(id with { App = Server.OtherApp })).Counter); // which nobody asked for
        Assert.Equal("replacing_root_key", await StateAsync()); // one that is older is there
        await AskMoreAsync(Server.OtherApp);
        await UntilAsync((_, _, facts) => Task.FromResult(facts.Roots[^1].Version == 4));
        await UntilAsync((_, _, facts) => Task.FromResult(facts.Compromises is [{ Rotation: "tkr_1", Root: 3 }]));
        await UntilAsync(EndedAsync);
        var all = await AllAsync();
        Assert.Equal((3, 4, 5), (all[0].LastRoot, all[1].FirstRoot, all[1].LastRoot));
        Assert.Equal([5], await RootsAsync());
        // What ended the first is of no use any more.
        await UntilAsync((_, _, facts) => Task.FromResult(facts.Compromises is [{ Rotation: "tkr_2", Root: 5 }]));
    }

    [Fact]
    public async Task Of_one_that_is_not_swept_yet_a_root_key_that_begins_another_takes_over_the_keys()
    {
        await AskBesideAnotherAsync();
        await UntilAsync(async (instance, engine, _) =>
            (await RotationsAsync(instance, engine)).All[0].IsBeforeLastRoot);
        await AskMoreAsync(Server.OtherApp);
        await UntilAsync((_, _, facts) =>
        {
            Assert.Empty(facts.Compromises);
            return Task.FromResult(facts.Roots is [{ Version: 3 }]);
        });
        await UntilAsync(EndedAsync);
        Assert.Equal([4, 4], (await AllAsync()).Select(each => each.LastRoot));
        Assert.Equal([4], await RootsAsync());
    }

    [Fact]
    public async Task Keys_that_claim_a_root_key_of_later_than_that_which_seals_them_are_made_up()
    {
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        var id = await IdAsync("acct_1");
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, _) =>
        {
            var row = (await tenants.FindAsync(id, default))!;
            await committer.CommitAsync(new Change.Plain(Made(tenants.Instance, id, row.Number, root: 9)));
        });
        await AskAsync(id.App);
        await Server.StartAgainAsync();
        await DoneAsync();
        (await Server.Client(account: "acct_1").Find("k")).IsError(500, null, null, type: "api_error");
    }

    [Fact]
    [Trait("Engine", "SQLite")] // the file is edited
    public async Task An_old_row_that_is_put_back_under_another_number_stops_the_tenant_and_one_of_a_life_before_too()
    {
        var client = Server.Client(account: "acct_1");
        (await client.Set("k")).IsOk();
        var old = (byte[])Server.Scalar("SELECT sealed_keys FROM tenants")!;
        (await Server.Admin.Post("/admin/v1/tenant_keys/rotate", [("app", await Server.AppIdAsync())])).IsOk();
        await Until.SoAsync("the keys are others", () => Task.FromResult(
            (long)Server.Scalar("SELECT counter FROM tenants")! == 3));
        (await client.Find("k")).IsOk();
        PutBack(old, 99);
        (await client.Find("k")).IsError(500, null, null, type: "api_error");
        (await client.Set("k")).IsError(500, null, null, type: "api_error");

        // Its account begins again when it was forgotten, by a row with a lower counter; the one of before does not.
        (await Server.Admin.Post($"/admin/v1/apps/{await Server.AppIdAsync()}/accounts/acct_1/forget", [])).IsOk();
        (await client.Set("k", "of later")).IsOk();
        Assert.Equal(1L, Server.Scalar("SELECT counter FROM tenants"));
        PutBack(old, 100);
        (await client.Find("k")).IsError(500, null, null, type: "api_error");

        void PutBack(byte[] keys, long number)
        {
            Server.Execute($"UPDATE secrets SET tenant = {number}");
            Server.Execute($"UPDATE tenants SET id = {number}, sealed_keys = $b0, counter = 1", keys);
        }
    }

    [Fact]
    public async Task A_root_key_takes_over_no_keys_of_before_any_compromise_of_their_tenant()
    {
        var id = await IdAsync("acct_1");
        await Server.StopAsync();
        await Server.StepsAsync(async (tenants, committer, engine) =>
        {
            await tenants.FindOrAddAsync(id, null, default);
            var owned = new OwnedTenantRow(id, (await engine.FindTenantAsync(id, default))!);
            foreach (var (compromises, isTaken) in ((Compromise[], bool)[])[([], true), ([Of(1)], true),
                ([Of(2)], false), ([Of(1), Of(2)], false), ([Of(2), Of(1)], false), ([Of(2, Server.OtherApp)], true),
                ([Of(2, account: "acct_2")], true), ([Of(2, livemode: true)], true),
                ([Of(2, id.App, "acct_1", false)], false)])
            {
                await committer.CommitAsync(new ControlChange(
                    tenants.Instance, control => control with { Compromises = compromises }, [], []));
                Assert.Equal(isTaken, Tenants.Rewrap(tenants.Instance, owned, out var damage) is not null);
                Assert.Equal(isTaken ? null : "its keys, which are of before a compromise", damage?.Fault);
            }
        });

        static Compromise Of(uint first, string? app = null, string? account = null, bool? livemode = null) =>
            new(9, first, "tkr_1", new TenantChoice(app, account, livemode));
    }

    private async Task<TenantId> IdAsync(string account) => new(await Server.AppIdAsync(), Livemode: false, account);

    private async Task DoneAsync() => await Until.SoAsync("the rotation is done", async () =>
        (string?)(await Server.Admin.Get("/admin/v1/tenant_keys")).IsOk().Json["rotations"]![0]!["state"] == "done");

    private async Task RootAsync(int version) => await Until.SoAsync("the root key seals", async () =>
        (await Server.Admin.Get("/admin/v1/root_keys")).IsOk().Json["keys"]!.AsArray()
            .Any(key => ((int)key!["version"]!, (string)key["state"]!) == (version, "done")));

    // As it is asked for; nothing of it is carried out yet.
    private Task AskAsync(string app, Func<TenantRotation, TenantRotation>? at = null) =>
        Server.StepsAsync(async (tenants, committer, _) =>
        {
            var asked = new TenantRotation("tkr_1", app, null, null, Server.Time.Seconds, 9, 9)
            {
                IsCompromised = true,
            };
            await committer.CommitAsync(new Change.Plain(
                new TenantRotations([at?.Invoke(asked) ?? asked]).Write(tenants.Instance)));
        });

    // The same of an account that another app has too.
    private async Task<TenantId> AskBesideAnotherAsync()
    {
        (await Server.Client(account: "acct_1").Set("k")).IsOk();
        (await Server.Client(Server.OtherAppKey, "acct_1").Set("k")).IsOk();
        var id = await IdAsync("acct_1");
        await Server.StopAsync();
        await AskAsync(id.App);
        return id;
    }

    // The same beside it, of another app.
    private Task AskMoreAsync(string app) => Server.StepsAsync(async (tenants, committer, engine) =>
    {
        var asked = new TenantRotation("tkr_2", app, null, null, Server.Time.Seconds, 9, 9) { IsCompromised = true };
        await committer.CommitAsync(new Change.Plain(
            (await RotationsAsync(tenants.Instance, engine)).With(asked).Write(tenants.Instance)));
    });

    private static async Task<bool> EndedAsync(Instance instance, Engine engine, ControlFacts facts) =>
        (await RotationsAsync(instance, engine)).All.All(each => each.Ended is not null);

    private async Task<IReadOnlyList<TenantRotation>> AllAsync()
    {
        IReadOnlyList<TenantRotation> all = [];
        await Server.StepsAsync(async (tenants, _, engine) =>
            all = (await RotationsAsync(tenants.Instance, engine)).All);
        return all;
    }

    // Of the first, as an owner is shown it.
    private async Task<string> StateAsync()
    {
        var state = "";
        await Server.StepsAsync(async (tenants, committer, engine) =>
        {
            using var refusals = new Refusals(Server.Time);
            var gate = new Gate(refusals, new Recorder(committer, static () => new AuditPolicy(Buffered: false,
                MetadataReads: false), NullLogger<Recorder>.Instance), engine);
            using var rotation = new TenantKeyRotation(
                engine, committer, tenants, gate, Server.Time, NullLogger<TenantKeyRotation>.Instance)
            {
                Roots = null!,
            };
            var keys = new ManagedTenantKeys(
                engine, tenants.Instance, rotation, gate, new ManagementWriter(committer, tenants, Server.Time));
            var owner = new Caller("key_1", KeyKind.Admin, null, Origin.Internal) { Role = Role.Owner };
            state = (await keys.ShowAsync(owner, default)).Rotations[0].State;
        });
        return state;
    }

    private async Task<List<int>> RootsAsync()
    {
        List<int> roots = [];
        await Server.StepsAsync((tenants, _, _) =>
        {
            roots.AddRange(tenants.Instance.Facts!.Roots.Select(root => (int)root.Version));
            return Task.CompletedTask;
        });
        return roots;
    }

    private async Task<TenantRow> RowAsync(TenantId id)
    {
        TenantRow row = null!;
        await Server.StepsAsync(async (_, _, engine) => row = (await engine.FindTenantAsync(id, default))!);
        return row;
    }

    // Fresh keys that a thief has made, under the root key that he has.
    private static RowWrite.PutTenantKeys Made(Instance instance, TenantId id, long number, long root)
    {
        using var made = TenantKeys.Generate(root);
        using var keys = TenantKeys.Parse(made.Span)!;
        using var bound = Tenants.Bound(SealedKind.TenantKeys, instance, id);
        bound.Add(keys.Counter);
        bound.Add(1);
        return new(number, id, instance.Roots.Seal(SealedKind.TenantKeys, made.Span, bound.Span), keys.Counter, 1);
    }

    // Processes one after the other, each of which has written once.
    private async Task UntilAsync(Func<Instance, Engine, ControlFacts, Task<bool>> isSo)
    {
        for (var (steps, so) = (0, false); !so; steps++)
        {
            Assert.True(steps < 60, "it does not come so far");
            await KilledProcess.AfterOneCommitAsync(Server);
            await Server.StepsAsync(async (tenants, _, engine) =>
                so = await isSo(tenants.Instance, engine, tenants.Instance.Facts!));
        }
    }

    private static async Task<TenantRotations> RotationsAsync(Instance instance, Engine engine) =>
        TenantRotations.Read(instance, await engine.FindMetaAsync(TenantRotations.MetaKey, default));

    private async Task<List<System.Text.Json.Nodes.JsonNode>> EntriesAsync(string verb, string? outcome) =>
        [.. (await Server.Admin.Get("/admin/v1/audit", ("verb", verb), ("limit", "100"))).IsOk().Json["data"]!.AsArray()
            .Select(entry => entry!).Where(entry => outcome is null || (string?)entry["outcome"] == outcome)];
}
