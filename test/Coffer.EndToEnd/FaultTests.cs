using System.Diagnostics;
using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The medium fails under a running server: it says so, gives out nothing wrong, loses nothing, and needs no restart.
/// </summary>
public sealed class FaultTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(8);

    [Fact]
    public async Task A_disk_that_sets_have_filled_refuses_them_until_it_grows_and_loses_nothing()
    {
        await using var disk = await SmallDisk.MountAsync("3m");
        var kept = new Dictionary<(string Account, string Name), string>();
        string key;
        await using (var coffer = await ServeAsync(disk.Path))
        {
            key = coffer.TestKey;
            using var clients = new AccountClients(coffer.Url, key);
            var (refusal, refused) = await SetUntilRefusedAsync(clients, kept);
            AssertUnavailable(refusal);
            Assert.True(kept.Count >= 20, $"the disk was full after {kept.Count} sets");
            (await clients[refused.Account].FindBareAsync(refused.Name)).Is(404);
            foreach (var (account, name) in kept.Keys)
                (await clients[account].FindBareAsync(name)).Is(200);

            await disk.ResizeAsync("32m");
            kept[refused] = Payload(refused.Name);
            await UntilAsync(
                async () => (await clients[refused.Account].SetAsync(refused.Name, kept[refused])).Status == 200,
                "sets work again without a restart");
            await AssertKeptAsync(clients, kept);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await using var again = await ServeAsync(disk.Path);
        using var afterwards = new AccountClients(again.Url, key);
        await AssertKeptAsync(afterwards, kept);
    }

    [Fact]
    public async Task Readiness_names_the_storage_while_no_byte_is_free_and_is_well_again_afterwards()
    {
        await using var disk = await SmallDisk.MountAsync("3m");
        await using var coffer = await ServeAsync(disk.Path);
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        var payload = Payload("before");
        (await client.SetAsync("before", payload)).Is(200);
        disk.Fill();

        // The first proof at once: what it takes does not fit into the little of the log that is on the disk already.
        var unready = (await client.GetAsync("/readyz")).Is(503);
        await UntilAsync(async () => (await client.SetAsync("before", payload)).Status == 503,
            "a full disk refuses sets");
        Assert.Equal("unavailable", unready.Body.GetProperty("status").GetString());
        Assert.NotEqual("ok", unready.Body.GetProperty("storage").GetString());
        Assert.Equal("ok", unready.Body.GetProperty("key").GetString());
        Assert.Equal("ok", unready.Body.GetProperty("audit").GetString());
        (await client.GetAsync("/healthz")).Is(200);
        AssertUnavailable(await client.SetAsync("during", payload));
        (await client.FindBareAsync("before")).Is(200);
        // no payload leaves unless that is recorded
        AssertUnavailable(await UntilUnavailableAsync(() => client.FindAsync("before")));

        disk.Free();
        await UntilAsync(async () => (await client.GetAsync("/readyz")).Status == 200, "readiness is well again");
        (await client.FindAsync("during")).Is(404);
        (await client.SetAsync("during", "x")).Is(200);
        Assert.Equal(payload, (await client.FindAsync("before")).Is(200).Payload);
    }

    [Fact]
    [Trait("Firm edges", "14")]
    public async Task On_a_full_disk_rights_are_taken_away_while_nothing_else_is_stored_and_the_log_stays_short()
    {
        const int Many = 120; // more than fit into what is kept, were the log not emptied
        await using var disk = await SmallDisk.MountAsync("64m");
        string adminKey, key, app;
        var keys = new Queue<string>();
        await using (var coffer = await ServeAsync(disk.Path))
        {
            (adminKey, key) = (coffer.AdminKey, coffer.TestKey);
            using var admin = new WireClient(coffer.Url, adminKey);
            using var client = new WireClient(coffer.Url, key);
            app = (await admin.GetAsync("/admin/v1/apps")).Is(200).Body.GetProperty("data")[0].GetProperty("id")
                .GetString()!;
            for (var i = 0; i < Many; i++)
            {
                var made = await admin.PostAsync("/admin/v1/api_keys", [("type", "secret"), ("app", app)]);
                keys.Enqueue(made.Is(200).Body.GetProperty("id").GetString()!);
            }

            disk.Fill();
            await UntilUnavailableAsync(() => client.SetAsync("during", Payload("during")));
            for (var i = 0; i < 200; i++)
                AssertUnavailable(await client.SetAsync("during", Payload("during")));
            while (keys.Count > 10)
                (await RevokeAsync(admin, keys.Dequeue())).Is(200);
            (await admin.PostAsync($"/admin/v1/apps/{app}", [("disabled", "true")])).Is(200);
            (await client.FindBareAsync("before")).Is(403);
            // What was freed for that is nobody else's.
            AssertUnavailable(await admin.PostAsync("/admin/v1/apps", [("name", "another")]));
            var unready = (await admin.GetAsync("/readyz")).Is(503).Body.GetProperty("storage").GetString();
            Assert.Contains("disk is full", unready, StringComparison.Ordinal);
            Assert.Equal(0, await coffer.StopAsync());
            AssertShort(coffer.Complaints);
        }

        // A restart on the full disk changes nothing of that.
        await using var again = await ServeAsync(disk.Path);
        using var owner = new WireClient(again.Url, adminKey);
        while (keys.TryDequeue(out var id))
            (await RevokeAsync(owner, id)).Is(200);
        AssertUnavailable(await owner.PostAsync("/admin/v1/apps", [("name", "another")]));
        disk.Free();
        await UntilAsync(async () => (await owner.PostAsync("/admin/v1/apps", [("name", "another")])).Status == 200,
            "changes are stored again");
        (await owner.PostAsync($"/admin/v1/apps/{app}", [("disabled", "false")])).Is(200);
        await UntilAsync(() => Task.FromResult(again.Stderr.Contains("again, after", StringComparison.Ordinal)),
            "the log says that the storage is back");
        AssertShort(again.Complaints);
    }

    private static Task<Answer> RevokeAsync(WireClient admin, string id) =>
        admin.PostAsync($"/admin/v1/api_keys/{id}/revoke", []);

    private static void AssertShort(string log)
    {
        Assert.Equal(1, log.Split("The storage cannot be used").Length - 1);
        Assert.DoesNotContain("   at ", log, StringComparison.Ordinal);
        Assert.True(log.Length < 2_000, log);
    }

    [Fact]
    public async Task A_store_that_another_process_holds_refuses_what_must_be_written_in_time_and_the_rest_goes_on()
    {
        const string Hold = """
            import pathlib, sqlite3, sys, time
            db = sqlite3.connect(sys.argv[1], isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            pathlib.Path(sys.argv[2]).touch()
            time.sleep(7)
            db.execute("ROLLBACK")
            """;
        using var data = new TemporaryDirectory();
        await using var coffer = await ServeAsync(data.Path);
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("before", "p")).Is(200);
        var held = data.File("held");
        var holder = Ran.ProgramAsync(Needs.Python(), ["-c", Hold, data.File("coffer.db"), held]);
        await UntilAsync(() => Task.FromResult(File.Exists(held)), "the other process holds the store");

        // They come one after another, so that not all of them can share one wait; the client gives up after 30
        // seconds.
        var waited = Stopwatch.StartNew();
        var (sets, reads) = (new List<Task<Answer>>(), new List<Task<Answer>>());
        while (!holder.IsCompleted)
        {
            sets.Add(client.SetAsync($"during {sets.Count}", $"p{sets.Count}"));
            reads.Add(client.FindAsync("before"));
            var asked = Stopwatch.StartNew();
            (await client.FindBareAsync("before")).Is(200);
            Assert.True(asked.Elapsed < TimeSpan.FromSeconds(2), $"a find took {asked.Elapsed}");
            await Task.Delay(500, TestContext.Current.CancellationToken);
        }

        (await holder).EndedWith(0);
        var answers = await Task.WhenAll(sets);
        foreach (var read in await Task.WhenAll(reads))
        {
            if (read.Status == 503)
                AssertUnavailable(read);
            else
                Assert.Equal("p", read.Is(200).Payload);
        }

        Assert.True(waited.Elapsed < TimeSpan.FromSeconds(20), $"the last request was answered after {waited.Elapsed}");
        Assert.Contains(answers, answer => answer.Status == 503); // it is held for longer than a set waits
        for (var number = 0; number < answers.Length; number++)
        {
            var found = await client.FindAsync($"during {number}");
            if (answers[number].Status != 503)
            {
                answers[number].Is(200);
                Assert.Equal($"p{number}", found.Is(200).Payload);
                continue;
            }

            AssertUnavailable(answers[number]);
            found.Is(404);
        }

        (await client.SetAsync("after", "p")).Is(200);
    }

    private static Task<CofferProcess> ServeAsync(string data) =>
        CofferProcess.StartAsync(["serve", "--data", data, "--secrets-per-scope", "10000"]);

    private static async Task<(Answer Refusal, (string Account, string Name) Refused)> SetUntilRefusedAsync(
        AccountClients clients, Dictionary<(string Account, string Name), string> kept)
    {
        for (var number = 0; ; number++)
        {
            var place = (Account: $"acct_{number % 10}", Name: $"secret {number}");
            var answer = await clients[place.Account].SetAsync(place.Name, Payload(place.Name));
            if (answer.Status == 503)
                return (answer, place);
            answer.Is(200);
            kept.Add(place, Payload(place.Name));
        }
    }

    private static async Task AssertKeptAsync(AccountClients clients,
        Dictionary<(string Account, string Name), string> kept)
    {
        foreach (var ((account, name), payload) in kept)
            Assert.Equal(payload, (await clients[account].FindAsync(name)).Is(200).Payload);
    }

    private static void AssertUnavailable(Answer answer)
    {
        Assert.Equal("api_error", answer.Is(503).Body.GetProperty("error").GetProperty("type").GetString());
        Assert.Equal("true", Assert.Single(answer.Headers.GetValues("Stripe-Should-Retry")));
        Assert.InRange(int.Parse(Assert.Single(answer.Headers.GetValues("Retry-After"))), 1, 60);
    }

    /// <summary>As long as a payload may be, and unlike any other.</summary>
    private static string Payload(string name) => name.PadRight(5_000, 'x');

    private static async Task<Answer> UntilUnavailableAsync(Func<Task<Answer>> ask)
    {
        var answer = await ask();
        await UntilAsync(async () => (answer = await ask()).Status == 503, "it is refused");
        return answer;
    }

    private static Task UntilAsync(Func<Task<bool>> isSo, string what) => Until.SoAsync(what, isSo, Soon);
}
