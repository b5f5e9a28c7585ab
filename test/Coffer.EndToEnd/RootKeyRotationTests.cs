using System.Globalization;
using System.Text.Json;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// Root keys rotate in real processes that are killed on the way, at each step of it and at any moment: what was stored
/// opens, what is stored meanwhile is acknowledged, and the rotation is finished by whoever runs then.
/// </summary>
[Trait("Keys", "S31")]
public sealed class RootKeyRotationTests
{
    private const string Root = "/admin/v1/root_keys";
    private const int Accounts = 40;

    private static readonly int Rounds =
        int.Parse(Environment.GetEnvironmentVariable("ROTATION_ROUNDS") ?? "4", CultureInfo.InvariantCulture);

    /// <summary>A rotation syncs once for each of its steps and batches, and once for its answer's record.</summary>
    [Fact]
    public async Task Killed_at_each_sync_of_a_rotation_the_next_start_finishes_it()
    {
        using var data = new TemporaryDirectory();
        var (key, admin) = await FilledAsync(data);
        var kills = 0;
        for (var nth = 1; nth <= 8; nth++)
        {
            await using (var coffer = await CofferProcess.ServeAsync(data))
            {
                await DoneAsync(coffer, admin);
                await using var strace = await Strace.AttachAsync(coffer, "fdatasync,fsync",
                    $"signal=SIGKILL:when={nth}", data.File("coffer.db-wal"));
                using var operating = new WireClient(coffer.Url, admin);
                try
                {
                    (await operating.PostAsync($"{Root}/rotate", [])).Is(200);
                    await DoneAsync(coffer, admin);
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

        Assert.InRange(kills, 5, 8);
        await AuditVerb.VerifiedAsync(data);
    }

    /// <summary>
    /// At the first commit, at one that proves rows again, and at one of the last root key, of some 36.
    /// </summary>
    [Theory]
    [InlineData(1)]
    [InlineData(12)]
    [InlineData(30)]
    [Trait("Keys", "S36")]
    public async Task Killed_at_a_sync_of_a_renewal_the_next_start_goes_on_until_it_waits_for_an_owner(int nth)
    {
        using var data = new TemporaryDirectory();
        string key, admin, ended;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            (key, admin) = (coffer.TestKey, coffer.AdminKey);
            for (var i = 0; i < Accounts; i++)
                await SetAsync(coffer, key, i);
            using var operating = new WireClient(coffer.Url, admin);
            var made = (await operating.PostAsync("/admin/v1/api_keys", [("type", "admin")])).Is(200).Body;
            ended = made.GetProperty("secret").GetString()!;
            (await operating.PostAsync($"/admin/v1/api_keys/{made.GetProperty("id").GetString()}/revoke", [])).Is(200);
            await using var strace = await Strace.AttachAsync(coffer, "fdatasync,fsync",
                $"signal=SIGKILL:when={nth}", data.File("coffer.db-wal"));
            await Assert.ThrowsAsync<HttpRequestException>(async () =>
            {
                (await operating.PostAsync($"{Root}/rotate", [("compromised", "true")])).Is(200);
                await WaitingAsync(operating);
            });
            await coffer.ExitAsync();
        }

        await using (var again = await CofferProcess.ServeAsync(data))
        {
            using var operating = new WireClient(again.Url, admin);
            if (await RenewalAsync(operating) is null)
                (await operating.PostAsync($"{Root}/rotate", [("compromised", "true")])).Is(200);
            await WaitingAsync(operating);
            (await operating.PostAsync($"{Root}/rotate", [("compromised", "true")])).Is(400);
            await AssertWholeAsync(again, key);
            using var gone = new WireClient(again.Url, ended);
            (await gone.GetAsync(Root)).Is(401);
        }

        await AuditVerb.VerifiedAsync(data);
        Assert.Equal(["proving", "replacing_root_key", "rotating_tenant_keys", "waiting_for_owner"],
            (await AuditVerb.ListAsync(data, "--verb", "renew_store"))
                .Select(entry => entry.GetProperty("outcome").GetString()!).Where(outcome => outcome != "refused")
                .Order());
    }

    /// <summary>Each of these is one commit, and what it is about is asked for again until it is done.</summary>
    [Fact]
    public async Task Killed_at_a_sync_of_adding_rewrapping_or_removing_a_wrapper_all_of_it_is_done_or_nothing()
    {
        using var data = new TemporaryDirectory();
        var (own, program) = ($"file:{data.File("coffer.key")}", data.File("wrap"));
        await WriteProgramAsync(program);
        string[] settings = ["--root-key", $"{own} exec:{program}", "--root-key-exec-arguments", "77"];
        var (key, admin) = await FilledAsync(data);
        var kills = 0;
        foreach (var (path, wrappers) in ((string, int)[])[("wrappers", 2), ("rewrap", 2), ("wrappers/remove", 1)])
        {
            for (var nth = 1; nth <= 2; nth++)
            {
                await using (var coffer = await CofferProcess.ServeAsync(data, settings))
                {
                    await using var strace = await Strace.AttachAsync(coffer, "fdatasync,fsync",
                        $"signal=SIGKILL:when={nth}", data.File("coffer.db-wal"));
                    try
                    {
                        await AskAsync(coffer);
                        await SetAsync(coffer, key, 0);
                    }
                    catch (HttpRequestException)
                    {
                        kills++;
                        await coffer.ExitAsync();
                    }
                }

                await using var again = await CofferProcess.ServeAsync(data, settings);
                await AssertWholeAsync(again, key);
            }

            await using var asked = await CofferProcess.ServeAsync(data, settings);
            await AskAsync(asked);
            using var operating = new WireClient(asked.Url, admin);
            var root = (await operating.GetAsync(Root)).Is(200).Body.GetProperty("keys")[0];
            Assert.Equal(wrappers, root.GetProperty("wrappers").GetArrayLength());

            async Task AskAsync(CofferProcess coffer)
            {
                using var client = new WireClient(coffer.Url, admin);
                var answer = await client.PostAsync($"{Root}/{path}",
                    path == "rewrap" ? [] : [("wrapper", $"exec:{program}")]);
                Assert.Contains(answer.Status, (int[])[200, 404]); // it may be removed already
            }
        }

        Assert.Equal(6, kills);
        await AuditVerb.VerifiedAsync(data);
    }

    [Fact]
    public async Task Two_nodes_rotate_under_load_and_either_may_be_killed_at_any_moment()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        await using var store = await FailoverStore.StartAsync(cluster.Store(cluster.Primary.Port));
        var admin = store.Nodes[0].Process.AdminKey;
        await store.UntilAcknowledgedAsync();
        for (var round = 0; round < Rounds; round++)
        {
            var (asked, killed) = (store.Nodes[round % 2], store.Nodes[(round / 2) % 2]);
            using (var operating = new WireClient(asked.Process.Url, admin))
                (await operating.PostAsync($"{Root}/rotate", [])).Is(200);
            await store.RunAsync(0.7 * (round % 8));
            await killed.CrashAsync();
            store.Tally.Fault();
            await killed.StartAsync();
            await store.UntilRecoveredAsync();
            await DoneAsync(killed.Process, admin);
        }

        await store.AssertWholeAsync();
    }

    [Fact]
    public async Task A_node_that_slept_through_a_rotation_reads_and_writes_under_the_new_root_key_at_once()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        using var data = new TemporaryDirectory();
        await using var first = await CofferProcess.ServeAsync(data, "--store", cluster.Store(cluster.Primary.Port));
        for (var i = 0; i < Accounts; i++)
            await SetAsync(first, first.TestKey, i);
        using var copy = new TemporaryDirectory();
        File.Copy(data.File("coffer.key"), copy.File("coffer.key"));
        File.Copy(data.File("coffer.anchor"), copy.File("coffer.anchor"));
        await using var second = await CofferProcess.ServeAsync(copy, "--store", cluster.Store(cluster.Primary.Port));
        second.Suspend();
        using (var operating = new WireClient(first.Url, first.AdminKey))
            (await operating.PostAsync($"{Root}/rotate", [])).Is(200);
        await DoneAsync(first, first.AdminKey); // once the lease of the other has run out
        second.Resume();
        await AssertWholeAsync(second, first.TestKey);
        await SetAsync(second, first.TestKey, Accounts);
        Assert.Equal("0", await cluster.AskAsync(cluster.Primary,
            "SELECT count(*) FROM tenants WHERE substr(sealed_keys, 3, 4) <> '\\x00000002'"));
    }

    [Fact]
    public async Task The_commands_show_rotate_and_move_root_keys()
    {
        using var data = new TemporaryDirectory();
        var own = $"file:{data.File("coffer.key")}";
        string admin;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            admin = coffer.AdminKey;
            var cli = new AdminCli(coffer);
            Assert.Matches($@"^VERSION +STATE +CREATED +WRAPPED BY *\n1 +done +\S+ \S+ +{own}\n$",
                await cli.OkAsync("root-keys", "status"));
            Assert.Matches(@"\n1 +unused .*\n2 +done ", await cli.OkAsync("root-keys", "rotate"));
            Assert.Matches(@"^VERSION.*\n2 +done ",
                await cli.OkAsync("root-keys", "remove", "--version", "1", "--yes"));
            (await cli.RunAsync("root-keys", "remove", "--version", "2", "--yes")).Refused(65, "in use", "");
            (await cli.RunAsync("root-keys", "remove", own, "--yes")).Refused(65, "unwraps root key 2", "");
            (await cli.RunAsync("root-keys", "remove", own)).Refused(64, "cannot be undone", "--yes");
            (await cli.RunAsync("root-keys", "add", "exec:/nowhere")).Refused(65, "not started with", "");
        }

        var program = data.File("wrap");
        await WriteProgramAsync(program);
        string[] arguments = ["--root-key-exec-arguments", "77"];
        await using (var coffer = await CofferProcess.ServeAsync(
            data, ["--root-key", $"{own} exec:{program}", .. arguments]))
        {
            var cli = new AdminCli(coffer, admin);
            Assert.Contains($"{own}, exec:{program}", await cli.OkAsync("root-keys", "add", $"exec:{program}"),
                StringComparison.Ordinal);
            Assert.DoesNotContain(own, await cli.OkAsync("root-keys", "remove", own, "--yes"),
                StringComparison.Ordinal);
            Assert.Contains("done", await cli.OkAsync("root-keys", "rewrap"), StringComparison.Ordinal);
        }

        var refused = await Assert.ThrowsAsync<EndedException>(() => CofferProcess.ServeAsync(data));
        Assert.Equal(78, refused.Exit);
        File.Move(program, program + ".away");
        var away = await Assert.ThrowsAsync<EndedException>(() => CofferProcess.ServeAsync(
            data, "--root-key", $"exec:{program}", "--root-key-wait", "1"));
        Assert.Equal(75, away.Exit);
        File.Move(program + ".away", program);
        await using (var coffer = await CofferProcess.ServeAsync(data, ["--root-key", $"exec:{program}", .. arguments]))
            Assert.Contains($"exec:{program}", await new AdminCli(coffer, admin).OkAsync("root-keys", "status"),
                StringComparison.Ordinal);
        var environment = new Dictionary<string, string>
        {
            ["COFFER_ROOT_KEY"] = $"exec:{program}",
            ["COFFER_ROOT_KEY_EXEC_ARGUMENTS"] = "77",
        };
        string[] verify = ["audit", "verify", "--data", data.Path];
        (await Ran.ProgramAsync(Needs.Program, verify, environment)).EndedWith(0);
        (await Ran.CofferAsync([.. verify, "--root-key", $"exec:{program}"])).EndedWith(75);
        using var copy = new TemporaryDirectory();
        (await Ran.ProgramAsync(
            Needs.Program, ["migrate", "--from", data.Path, "--to", copy.File("copy")], environment)).EndedWith(0);
        (await Ran.CofferAsync(["audit", "verify", "--data", copy.File("copy")])).EndedWith(0);
    }

    // A wrapper that turns bits by the number that it is started with.
    private static async Task WriteProgramAsync(string program)
    {
        await File.WriteAllTextAsync(program, """
            #!/usr/bin/python3
            import base64, json, sys
            asked = json.loads(sys.stdin.readline())
            data = bytes(byte ^ int(sys.argv[1]) for byte in base64.b64decode(asked["data"]))
            print(json.dumps({"data": base64.b64encode(data).decode()}))
            """);
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    // The keys of a store with something in each account.
    private static async Task<(string Test, string Admin)> FilledAsync(TemporaryDirectory data)
    {
        await using var coffer = await CofferProcess.ServeAsync(data);
        for (var i = 0; i < Accounts; i++)
            await SetAsync(coffer, coffer.TestKey, i);
        return (coffer.TestKey, coffer.AdminKey);
    }

    private static async Task SetAsync(CofferProcess coffer, string key, int account)
    {
        using var client = new WireClient(coffer.Url, key, $"acct_{account}");
        (await client.SetAsync("k", $"payload {account}")).Is(200);
    }

    private static async Task AssertWholeAsync(CofferProcess coffer, string key)
    {
        for (var i = 0; i < Accounts; i++)
        {
            using var client = new WireClient(coffer.Url, key, $"acct_{i}");
            Assert.Equal($"payload {i}", (await client.FindAsync("k")).Is(200).Payload);
        }
    }

    private static async Task<string?> RenewalAsync(WireClient operating)
    {
        var renewal = (await operating.GetAsync(Root)).Is(200).Body.GetProperty("renewal");
        return renewal.ValueKind == JsonValueKind.Object ? renewal.GetProperty("state").GetString() : null;
    }

    private static async Task WaitingAsync(WireClient operating)
    {
        for (var tries = 0; await RenewalAsync(operating) != "waiting_for_owner"; tries++)
        {
            Assert.InRange(tries, 0, 300);
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
    }

    private static async Task DoneAsync(CofferProcess coffer, string admin)
    {
        using var operating = new WireClient(coffer.Url, admin);
        await Until.SoAsync("the rotation is done", async () => (await operating.GetAsync(Root)).Is(200).Body
            .GetProperty("keys").EnumerateArray().Last().GetProperty("state").GetString() == "done");
    }
}
