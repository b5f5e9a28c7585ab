using System.Globalization;

namespace Coffer.EndToEnd;

/// <summary>An operator puts yesterday's copy back, with the program as it is run.</summary>
[Trait("Firm ground", "12")]
public sealed class RollbackTests
{
    [Fact]
    public async Task Yesterdays_copy_beside_todays_checkpoints_starts_once_its_loss_is_accepted_by_name()
    {
        using var data = new TemporaryDirectory();
        string key;
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            key = coffer.TestKey;
            await SetAsync(coffer, key, "yesterday", 4);
            Assert.Equal(0, await coffer.StopAsync());
        }

        File.Copy(data.File("coffer.db"), data.File("yesterday"));
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            await SetAsync(coffer, key, "today", 3);
            Assert.Equal(0, await coffer.StopAsync());
        }

        File.Move(data.File("yesterday"), data.File("coffer.db"), overwrite: true);
        var before = data.Fingerprint();
        var refused = (await ServeAsync(data)).Refused(78, "the audit log of node_1 ends at entry 7, but at ",
            "start once with --accept-rollback node_1:7:");
        Assert.Contains("it had 10", refused.Stderr, StringComparison.Ordinal);
        (await ServeAsync(data, "--accept-rollback", "node_1:8"))
            .Refused(78, "--accept-rollback node_1:8 is not what was found", "node_1:7");
        (await ServeAsync(data, "--accept-rollback", "node_1")).Refused(64, "needs NODE:SEQUENCE", "--help");
        (await ServeAsync(data, "--accept-rollback", "node_1:-7")).Refused(64, "needs NODE:SEQUENCE", "--help");
        Assert.Equal(before, data.Fingerprint());

        // It is of one start: no setting has it.
        var variable = new Dictionary<string, string> { ["COFFER_ACCEPT_ROLLBACK"] = "node_1:7" };
        (await Ran.ProgramAsync(Needs.Program, ["serve", "--data", data.Path, "--listen", "http://127.0.0.1:0"],
            variable)).EndedWith(78);
        await File.WriteAllTextAsync(data.File("conf"), "accept-rollback = node_1:7\n",
            TestContext.Current.CancellationToken);
        (await ServeAsync(data, "--config", data.File("conf"))).EndedWith(78);

        await using (var coffer = await CofferProcess.ServeAsync(data, "--accept-rollback", "node_1:7"))
        {
            using var clients = new AccountClients(coffer.Url, key);
            Assert.Equal("yesterday", (await clients[""].FindAsync("k0")).Is(200).Body.GetProperty("payload")
                .GetString());
            await SetAsync(coffer, key, "the day after", 2);
            Assert.Equal(128 + 9, await coffer.CrashAsync());
        }

        (await ServeAsync(data, "--accept-rollback", "node_1:7"))
            .Refused(78, "there is no roll-back to accept", "Start without it");
        await using (var coffer = await CofferProcess.ServeAsync(data))
            Assert.Equal(0, await coffer.StopAsync());
        var verified = (await Ran.CofferAsync("audit", "verify", "--data", data.Path)).EndedWith(0);
        Assert.Contains("the log of node_1 went back from entry 10 to entry 7: accepted at ", verified.Stdout,
            StringComparison.Ordinal);
        Assert.Contains(" 0 problems\n", verified.Stdout, StringComparison.Ordinal);
        Assert.Equal(["accept_rollback"], (await AuditVerb.ListAsync(data, "--verb", "accept_rollback"))
            .Select(entry => entry.GetProperty("verb").GetString()));
    }

    [Theory]
    [InlineData("DELETE FROM audit WHERE first = 7", "ends at entry 6, but")]
    [InlineData("DELETE FROM audit", "ends at entry 0, but")]
    public async Task A_log_whose_tail_was_cut_is_refused_and_named(string sql, string found)
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.ServeAsync(data))
        {
            await SetAsync(coffer, coffer.TestKey, "payload", 4);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await data.SqlAsync(sql);
        (await ServeAsync(data)).Refused(78, found, "--accept-rollback node_1:");
    }

    private static async Task SetAsync(CofferProcess coffer, string key, string payload, int count)
    {
        using var clients = new AccountClients(coffer.Url, key);
        for (var i = 0; i < count; i++)
            (await clients[""].SetAsync(string.Create(CultureInfo.InvariantCulture, $"k{i}"), payload)).Is(200);
    }

    private static Task<Ran> ServeAsync(TemporaryDirectory data, params string[] more) =>
        Ran.CofferAsync(["serve", "--data", data.Path, "--listen", "http://127.0.0.1:0", .. more]);
}
