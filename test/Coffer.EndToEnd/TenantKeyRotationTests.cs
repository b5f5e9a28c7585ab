using System.Globalization;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The keys of tenants rotate in real processes that are killed on the way, at each write of it and at any moment: what
/// was stored opens, what is stored meanwhile is acknowledged, and the rotation is finished by whoever runs then.
/// </summary>
[Trait("Keys", "S2")]
public sealed class TenantKeyRotationTests
{
    private const string Root = "/admin/v1/tenant_keys", RootKeys = "/admin/v1/root_keys";
    private const int Accounts = 25;

    /// <summary>
    /// As many kept outcomes as a rotation needs three seconds for, which is longer than any of the rounds waits with
    /// its kill (docs/keys.md says how many rows a second are sealed at most).
    /// </summary>
    private const int OutcomesOfARotation = 6_000;

    private static readonly int Rounds =
        int.Parse(Environment.GetEnvironmentVariable("ROTATION_ROUNDS") ?? "2", CultureInfo.InvariantCulture);

    private static readonly bool IsLongForm = Rounds > 2;

    /// <summary>
    /// Accounts go through a rotation in two pages. Each syncs once for the new keys, for its secrets, outcomes and
    /// replies, for the old keys, and for how far it has come.
    /// </summary>
    [Fact]
    public async Task Killed_at_each_sync_of_a_rotation_the_next_start_finishes_it()
    {
        using var data = new TemporaryDirectory();
        string key, admin;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            (key, admin) = (coffer.TestKey, coffer.AdminKey);
            for (var i = 0; i < Accounts; i++)
                await StoreAsync(coffer, key, i);
        }

        var kills = 0;
        // Each third in the short form.
        for (var nth = 1; nth <= 15; nth += IsLongForm ? 1 : 3)
        {
            await using (var coffer = await CofferProcess.ServeAsync(data))
            {
                await DoneAsync(coffer, admin);
                await using var strace = await Strace.AttachAsync(coffer, "fdatasync,fsync",
                    $"signal=SIGKILL:when={nth}", data.File("coffer.db-wal"));
                try
                {
                    await RotateAsync(coffer, admin);
                }
                catch (HttpRequestException)
                {
                    kills++;
                    await coffer.ExitAsync();
                }
            }

            await using var again = await CofferProcess.ServeAsync(data);
            await DoneAsync(again, admin);
            await AssertWholeAsync(again, key);
        }

        Assert.InRange(kills, IsLongForm ? 10 : 3, 15);
        await AuditVerb.VerifiedAsync(data);
    }

    [Fact]
    public async Task Two_nodes_rotate_under_load_and_either_may_be_killed_at_any_moment()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        var admin = store.Nodes[0].Process.AdminKey;
        await store.UntilAcknowledgedAsync(IsLongForm ? OutcomesOfARotation : 80);
        // Each request leaves an outcome, and each rotation seals all of them again: with more they take ever longer.
        store.Slow(IsLongForm ? TimeSpan.FromMilliseconds(250) : TimeSpan.Zero);
        var halfway = 0;
        for (var round = 0; round < Rounds; round++)
        {
            var (asked, killed) = (store.Nodes[round % 2], store.Nodes[(round / 2) % 2]);
            await AskAsync(asked.Process, admin);
            await store.RunAsync(0.4 * (round % 8));
            await killed.CrashAsync();
            store.Tally.Fault();
            halfway += await AreDoneAsync(store.Nodes.Single(node => node.IsAlive).Process, admin) ? 0 : 1;
            await killed.StartAsync();
            await store.UntilRecoveredAsync();
            await DoneAsync(killed.Process, admin);
        }

        await store.AssertWholeAsync();
        TestContext.Current.TestOutputHelper?.WriteLine($"{halfway} of {Rounds} kills in the middle of a rotation");
        // Where next to none was, the rounds would prove nothing.
        Assert.InRange(halfway, IsLongForm ? Rounds * 3 / 4 : 0, Rounds);
        Assert.Equal("0", await cluster.AskAsync(cluster.Primary, """
            SELECT count(*) FROM secrets s JOIN tenants t ON t.id = s.tenant WHERE t.keys <> 1
                OR substr(s.sealed, 3, 4) <> (
                    SELECT substr(r.sealed, 3, 4) FROM secrets r WHERE r.tenant = t.id ORDER BY 1 DESC LIMIT 1)
            """));
    }

    [Fact]
    public async Task A_node_that_slept_through_a_rotation_finds_and_stores_by_the_new_keys_at_once()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        using var data = new TemporaryDirectory();
        await using var first = await CofferProcess.ServeAsync(data, "--store", cluster.Store(cluster.Primary.Port));
        for (var i = 0; i < Accounts; i++)
            await StoreAsync(first, first.TestKey, i);
        using var copy = new TemporaryDirectory();
        File.Copy(data.File("coffer.key"), copy.File("coffer.key"));
        File.Copy(data.File("coffer.anchor"), copy.File("coffer.anchor"));
        await using var second = await CofferProcess.ServeAsync(copy, "--store", cluster.Store(cluster.Primary.Port));
        await AssertWholeAsync(second, first.TestKey); // it keeps all these keys
        second.Suspend();
        await RotateAsync(first, first.AdminKey);
        second.Resume();
        await AssertWholeAsync(second, first.TestKey);
        using (var client = new WireClient(second.Url, first.TestKey, "acct_0"))
            (await client.SetAsync("new", "by the late one")).Is(200);
        using (var client = new WireClient(first.Url, first.TestKey, "acct_0"))
            Assert.Equal("by the late one", (await client.FindAsync("new")).Is(200).Payload);
        Assert.Equal("0", await cluster.AskAsync(cluster.Primary,
            "SELECT count(*) FROM secrets WHERE substr(sealed, 3, 4) <> '\\x00000002'"));
    }

    [Fact]
    public async Task A_disk_that_fills_up_during_a_rotation_holds_it_up_and_loses_nothing()
    {
        await using var disk = await SmallDisk.MountAsync("12m");
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", disk.Path]);
        for (var i = 0; i < Accounts; i++)
        {
            await StoreAsync(coffer, coffer.TestKey, i);
            using var client = new WireClient(coffer.Url, coffer.TestKey, $"acct_{i}");
            for (var more = 0; more < 9; more++)
                (await client.SetAsync($"k{more}", new string('p', 4_000))).Is(200);
        }

        disk.Fill();
        await Task.Delay(100, TestContext.Current.CancellationToken);
        using var operating = new WireClient(coffer.Url, coffer.AdminKey);
        for (var tries = 0; (await operating.PostAsync($"{Root}/rotate", [("app", await AppAsync(operating))])).Status
            != 200; tries++)
        {
            // Room for some of it only.
            Assert.InRange(tries, 0, 20);
            disk.Free();
            var answer = await operating.PostAsync($"{Root}/rotate", [("app", await AppAsync(operating))]);
            disk.Fill();
            if (answer.Status == 200)
                break;
        }

        await Task.Delay(3_000, TestContext.Current.CancellationToken);
        for (var i = 0; i < Accounts; i++)
        {
            using var client = new WireClient(coffer.Url, coffer.TestKey, $"acct_{i}");
            (await client.FindBareAsync("k")).Is(200);
        }

        disk.Free();
        await DoneAsync(coffer, coffer.AdminKey);
        await AssertWholeAsync(coffer, coffer.TestKey);

        // And that of a root key: it is refused while there is no room, or is finished when there is.
        disk.Fill();
        var status = (await operating.PostAsync(RootKeys + "/rotate", [])).Status;
        Assert.Contains(status, (int[])[200, 503]);
        using (var client = new WireClient(coffer.Url, coffer.TestKey, "acct_0"))
            (await client.FindBareAsync("k")).Is(200);
        disk.Free();
        if (status == 503)
            (await operating.PostAsync(RootKeys + "/rotate", [])).Is(200);
        await Until.SoAsync("the root key has rotated", async () =>
        {
            var answer = await operating.GetAsync(RootKeys);
            if (answer.Status == 503)
                return false; // it looks once a second whether there is room again
            var last = answer.Is(200).Body.GetProperty("keys").EnumerateArray().Last();
            return last.GetProperty("version").GetInt32() > 1 && last.GetProperty("state").GetString() == "done";
        });

        await AssertWholeAsync(coffer, coffer.TestKey);
    }

    [Fact]
    public async Task The_commands_rotate_and_show_tenant_keys()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        await StoreAsync(coffer, coffer.TestKey, 1);
        await StoreAsync(coffer, coffer.TestKey, 2);
        var cli = new AdminCli(coffer);
        using var operating = new WireClient(coffer.Url, coffer.AdminKey);
        var app = await AppAsync(operating);
        Assert.Matches($@"\ntkr_\S+ +{app} +all +both +done +no +2 of 2 +6 +0 ",
            await cli.OkAsync("tenant-keys", "rotate", "--app", app));
        Assert.Matches($@"\ntkr_\S+ +{app} +acct_1 +test +done +no +1 of 1 +3 +0 ",
            await cli.OkAsync("tenant-keys", "rotate", "--app", app, "--account", "acct_1", "--test"));
        Assert.Matches(
            @"^ID +APP +ACCOUNT +MODE +STATE +COMPROMISED +TENANTS +ROWS +DAMAGED +CREATED +ENDED *\n(tkr_.*\n){2}",
            await cli.OkAsync("tenant-keys", "status"));
        (await cli.RunAsync("tenant-keys", "rotate", "--app", app, "--account", "acct_1", "--live"))
            .EndedWith(1);
        (await cli.RunAsync("tenant-keys", "rotate", "--app", app, "--test", "--live")).Refused(64, "--live", "");
        (await cli.RunAsync("tenant-keys", "rotate")).Refused(64, "--app", "");
        await cli.OkAsync("tenant-keys", "rotate", "--app", app, "--no-wait");
        await DoneAsync(coffer, coffer.AdminKey);
    }

    // One of each kind that is sealed under a tenant's keys.
    private static async Task StoreAsync(CofferProcess coffer, string key, int account)
    {
        using var client = new WireClient(coffer.Url, key, $"acct_{account}");
        (await client.SetAsync("k", $"payload {account}", idempotencyKey: "set")).Is(200);
        (await client.PostAsync("/v1/ephemeral_keys", [("user", "usr_1")], "mint")).Is(200);
    }

    private static async Task AssertWholeAsync(CofferProcess coffer, string key)
    {
        for (var i = 0; i < Accounts; i++)
        {
            using var client = new WireClient(coffer.Url, key, $"acct_{i}");
            Assert.Equal($"payload {i}", (await client.FindAsync("k")).Is(200).Payload);
            await StoreAsync(coffer, key, i); // replayed
        }
    }

    private static async Task<string> AppAsync(WireClient operating) => (await operating.GetAsync("/admin/v1/apps"))
        .Is(200).Body.GetProperty("data").EnumerateArray().Last().GetProperty("id").GetString()!;

    private static async Task AskAsync(CofferProcess coffer, string admin)
    {
        using var operating = new WireClient(coffer.Url, admin);
        (await operating.PostAsync($"{Root}/rotate", [("app", await AppAsync(operating))])).Is(200);
    }

    private static async Task RotateAsync(CofferProcess coffer, string admin)
    {
        await AskAsync(coffer, admin);
        await DoneAsync(coffer, admin);
    }

    private static Task DoneAsync(CofferProcess coffer, string admin) =>
        Until.SoAsync("the rotations are done", () => AreDoneAsync(coffer, admin));

    private static async Task<bool> AreDoneAsync(CofferProcess coffer, string admin)
    {
        using var operating = new WireClient(coffer.Url, admin);
        return (await operating.GetAsync(Root)).Is(200).Body.GetProperty("rotations").EnumerateArray()
            .All(rotation => rotation.GetProperty("state").GetString() == "done");
    }
}
