namespace Coffer.EndToEnd;

/// <summary>
/// The very first start is killed, wherever it writes: the next one makes the store or continues with it, and is never
/// stuck.
/// </summary>
public sealed class FirstStartCrashTests
{
    private const int Killed = 128 + 9;

    [Theory]
    [InlineData("coffer.db", "pwrite64", 1)] // the file turns into a database
    [InlineData("coffer.db", "fdatasync,fsync", 1)]
    [InlineData("coffer.db-wal", "pwrite64", 1)] // the migration
    [InlineData("coffer.db-wal", "pwrite64", 12)]
    [InlineData("coffer.db-wal", "pwrite64", 30)]
    [InlineData("coffer.db-wal", "fdatasync,fsync", 1)]
    [InlineData("coffer.db-wal", "fdatasync,fsync", 2)]
    [InlineData("coffer.key.new", "fdatasync,fsync", 1)] // the key file is written, and does not have its name yet
    public async Task A_first_start_that_is_killed_leaves_nothing_that_the_next_is_stuck_with(string file, string calls,
        int nth)
    {
        using var data = new TemporaryDirectory();
        await KillStartAsync(data, file, calls, nth);
        await AssertGoesOnAsync(data);
    }

    [Fact]
    public async Task A_first_start_that_is_killed_before_its_key_file_is_written_leaves_nothing_in_the_way()
    {
        using var data = new TemporaryDirectory();
        await KillStartAsync(data, "coffer.key.new", "pwrite64", nth: 1);
        await AssertGoesOnAsync(data);
    }

    [Fact]
    public async Task Start_after_start_killed_a_write_later_each_time_ends_in_a_store_that_works()
    {
        using var data = new TemporaryDirectory();
        // the tables are there: what follows writes the first keys
        await KillStartAsync(data, "coffer.db-wal", "fdatasync,fsync", nth: 2);
        for (var nth = 1; nth <= 7; nth += 3)
            await KillStartAsync(data, "coffer.db-wal", "pwrite64", nth);
        await AssertGoesOnAsync(data);
    }

    private static async Task KillStartAsync(TemporaryDirectory data, string file, string calls, int nth)
    {
        var ended = await Strace.EndedAsync(data.Path, calls, $"signal=SIGKILL:when={nth}", data.File(file));
        Assert.True(ended.Exit == Killed, ended.Message);
    }

    private static async Task AssertGoesOnAsync(TemporaryDirectory data)
    {
        string? key = null;
        await using (var next = await CofferProcess.ServeAsync(data))
        {
            if (next.Ready.TryGetProperty("test_secret_key", out _))
                key = next.TestKey;
            // The store may have been made although nobody was shown its keys: then it works, and may as well be made
            // again.
            using var client = new WireClient(next.Url, key ?? "sk_test_none");
            (await client.GetAsync("/readyz")).Is(200);
            (await client.SetAsync("k", "p")).Is(key is null ? 401 : 200);
            await AuditVerb.VerifiedAsync(data);
            // a store is made once
            Assert.Equal(3, (await AuditVerb.ListAsync(data, "--verb", "create_key", "--outcome", "ok")).Count);
            Assert.Equal(0, await next.StopAsync());
        }

        await using var again = await CofferProcess.ServeAsync(data);
        Assert.False(again.Ready.TryGetProperty("test_secret_key", out _));
        if (key is null)
            return;
        using var afterwards = new WireClient(again.Url, key);
        Assert.Equal("p", (await afterwards.FindAsync("k")).Is(200).Payload);
    }
}
