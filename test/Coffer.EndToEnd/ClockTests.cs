using Coffer.Shared;

namespace Coffer.EndToEnd;

/// <summary>
/// The real program with a clock that is set under it, by faketime. What measures how long it runs is the machine's.
/// </summary>
[Trait("Firm ground", "16")]
public sealed class ClockTests
{
    [Fact]
    public async Task A_clock_that_jumps_400_days_removes_nothing_and_all_is_there_when_it_is_set_right()
    {
        using var data = new TemporaryDirectory();
        using var clock = new FakeClock();
        await using (var coffer = await ServeAsync(data, clock))
        {
            using var client = new WireClient(coffer.Url, coffer.TestKey);
            (await SetAsync(client, "lasting", expiresIn: null)).Is(200);
            (await SetAsync(client, "a day", TimeSpan.FromDays(1))).Is(200);
            clock.Set("+400d");
            await UntilClockAsync(client, "forward by 400 days");
            (await client.FindBareAsync("a day")).Is(404);
            // A sweep comes and goes.
            await Task.Delay(TimeSpan.FromSeconds(12), TestContext.Current.CancellationToken);

            clock.Set("+0");
            await UntilClockAsync(client, "back by 400 days");
            Assert.Equal("p", (await client.FindAsync("a day")).Is(200).Payload);
            Assert.Contains("the clock stepped forward by 400 days", coffer.Stderr, StringComparison.Ordinal);
            (await SetAsync(client, "after", expiresIn: null)).Is(200);
            Assert.Equal(["after", "a day", "lasting"], await NamesAsync(client));
            Assert.Equal(0, await coffer.StopAsync());
        }
    }

    [Fact]
    public async Task After_a_start_with_a_clock_that_went_back_a_day_the_list_is_in_order()
    {
        using var data = new TemporaryDirectory();
        using var clock = new FakeClock();
        string key;
        await using (var coffer = await ServeAsync(data, clock))
        {
            key = coffer.TestKey;
            using var client = new WireClient(coffer.Url, key);
            (await SetAsync(client, "1", expiresIn: null)).Is(200);
            clock.Set("+2d");
            (await SetAsync(client, "2", expiresIn: null)).Is(200);
            await coffer.CrashAsync();
        }

        clock.Set("-1d");
        await using (var coffer = await ServeAsync(data, clock))
        {
            using var client = new WireClient(coffer.Url, key);
            (await SetAsync(client, "3", expiresIn: null)).Is(200);
            Assert.Equal(["3", "2", "1"], await NamesAsync(client));
            await UntilClockAsync(client, "before the last change");
        }
    }

    /// <summary>S33.</summary>
    [Fact]
    [Trait("Firm edges", "22")]
    public async Task Of_two_nodes_one_with_a_wrong_clock_hides_early_and_changes_nothing_else()
    {
        await using var cluster = await PostgresCluster.StartAsync(hasStandby: false);
        using var clock = new FakeClock();
        using var own = new TemporaryDirectory();
        using var others = new TemporaryDirectory();
        await using var right = await CofferProcess.ServeAsync(own, Store());
        File.Copy(own.File("coffer.key"), others.File("coffer.key"));
        clock.Set("+2d");
        await using var wrong = await CofferProcess.StartAsync(
            ["serve", "--data", others.Path, .. Store()], environment: clock.Variables);
        using var client = new WireClient(right.Url, right.TestKey);
        using var ahead = new WireClient(wrong.Url, right.TestKey);
        using var admin = new WireClient(right.Url, right.AdminKey);
        using var adminAhead = new WireClient(wrong.Url, right.AdminKey);

        var first = (await SetAsync(client, "a day", TimeSpan.FromDays(1))).Is(200);
        (await ahead.FindBareAsync("a day")).Is(404);
        Assert.Empty(await NamesAsync(ahead));
        var second = (await SetAsync(ahead, "a day", TimeSpan.FromDays(1))).Is(200);
        Assert.Equal("2", second.Headers.GetValues("Coffer-Secret-Version").Single());
        foreach (var field in (string[])["id", "created"])
            Assert.Equal(first.Body.GetProperty(field).ToString(), second.Body.GetProperty(field).ToString());
        (await client.FindBareAsync("a day")).Is(200);
        Assert.Equal(await MakeAppAsync(admin), await MakeAppAsync(adminAhead));

        // Behind, it hides what has expired for the others, and removes nothing.
        clock.Set("-2d");
        (await SetAsync(client, "a moment", TimeSpan.FromSeconds(2))).Is(200);
        await Task.Delay(TimeSpan.FromSeconds(3), TestContext.Current.CancellationToken);
        (await ahead.FindBareAsync("a moment")).Is(404);
        Assert.Equal(["a day"], await NamesAsync(ahead));
        Assert.Single((await adminAhead.GetAsync("/admin/v1/secrets/search")).Is(200).Body.GetProperty("data")
            .EnumerateArray());
        Assert.Equal("1", (await SetAsync(ahead, "a moment", TimeSpan.FromHours(1))).Is(200)
            .Headers.GetValues("Coffer-Secret-Version").Single());
        (await SetAsync(ahead, "the day before yesterday's", TimeSpan.FromSeconds(-1))).Is(400);

        static async Task<string?> MakeAppAsync(WireClient by) =>
            (await by.PostAsync("/admin/v1/apps", [("name", "once")], "once")).Is(200).Body.GetProperty("id")
                .GetString();

        string[] Store() => ["--store", cluster.Store(cluster.Primary.Port)];
    }

    private static Task<CofferProcess> ServeAsync(TemporaryDirectory data, FakeClock clock) =>
        CofferProcess.StartAsync(["serve", "--data", data.Path], environment: clock.Variables);

    private static Task<Answer> SetAsync(WireClient client, string name, TimeSpan? expiresIn)
    {
        var at = TimeProvider.System.GetUtcNow() + (expiresIn ?? TimeSpan.Zero);
        (string, string)[] expiry = expiresIn is null ? [] : [("expires_at", $"{at.ToUnixTimeSeconds()}")];
        (string, string)[] secret = [("scope[type]", "account"), ("name", name), ("payload", "p")];
        return client.PostAsync("/v1/apps/secrets", [.. secret, .. expiry]);
    }

    private static async Task<string[]> NamesAsync(WireClient client)
    {
        var list = (await client.ListAsync()).Is(200).Body.GetProperty("data");
        return [.. list.EnumerateArray().Select(secret => secret.GetProperty("name").GetString()!)];
    }

    private static async Task UntilClockAsync(WireClient client, string says)
    {
        var shown = "";
        await Until.SoAsync($"readiness says '{says}'", async () =>
        {
            var ready = (await client.GetAsync("/readyz")).Is(200).Body;
            shown = ready.GetRawText();
            return ready.TryGetProperty("clock", out var said)
                && said.GetString()!.Contains(says, StringComparison.Ordinal);
        }, instead: () => shown);
    }

    /// <summary>
    /// A clock that is so much ahead of the machine's, or behind it, as a file says, which libfaketime reads at each
    /// look.
    /// </summary>
    private sealed class FakeClock : IDisposable
    {
        private readonly TemporaryDirectory directory = new();

        public FakeClock()
        {
            Set("+0");
            Variables = new Dictionary<string, string>
            {
                ["LD_PRELOAD"] = Needs.FakeTime(),
                ["FAKETIME_TIMESTAMP_FILE"] = directory.File("clock"),
                ["FAKETIME_NO_CACHE"] = "1",
                ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
            };
        }

        public IReadOnlyDictionary<string, string> Variables { get; }

        // Whole or not there: it is read at any moment.
        public void Set(string offset)
        {
            File.WriteAllText(directory.File("clock.new"), offset + "\n");
            File.Move(directory.File("clock.new"), directory.File("clock"), overwrite: true);
        }

        public void Dispose() => directory.Dispose();
    }
}
