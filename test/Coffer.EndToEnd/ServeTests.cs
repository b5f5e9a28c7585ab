namespace Coffer.EndToEnd;

/// <summary><c>coffer serve</c>: a store that lasts.</summary>
[Trait("Build", "both")]
public sealed class ServeTests
{
    private const UnixFileMode OwnerReadsAndWrites = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    [Fact]
    public async Task The_first_start_makes_store_key_file_and_three_keys()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        Assert.True(File.Exists(data.File("coffer.db")));
        Assert.Equal(OwnerReadsAndWrites, File.GetUnixFileMode(data.File("coffer.key")));
        Assert.Equal(OwnerReadsAndWrites, File.GetUnixFileMode(coffer.ReadyFile));
        Assert.Equal(
            [
                "url", "pid", "test_secret_key", "live_secret_key", "admin_key",
                "signing_secret_test", "signing_secret_live",
            ],
            coffer.Ready.EnumerateObject().Select(field => field.Name));
        Assert.Equal(coffer.Pid, coffer.Ready.GetProperty("pid").GetInt32());
        Assert.StartsWith("sk_test_", coffer.TestKey, StringComparison.Ordinal);
        Assert.StartsWith("sk_live_", coffer.LiveKey, StringComparison.Ordinal);
        Assert.StartsWith("ak_", coffer.AdminKey, StringComparison.Ordinal);

        // Once is enough: what is printed is often kept where others read it.
        var printed = await coffer.PrintedAsync("Its keys are in");
        var signing = coffer.Ready.GetProperty("signing_secret_test").GetString()!;
        var liveSigning = coffer.Ready.GetProperty("signing_secret_live").GetString()!;
        Assert.NotEqual(signing, liveSigning);
        foreach (var key in (string[])[coffer.TestKey, coffer.LiveKey, coffer.AdminKey, signing, liveSigning])
            Assert.DoesNotContain(key, printed, StringComparison.Ordinal);
        Assert.Empty(coffer.Complaints);
    }

    [Fact]
    public async Task A_directory_that_it_makes_is_the_owners_alone()
    {
        using var parent = new TemporaryDirectory();
        var made = parent.File("made");
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", made]);
        Assert.Equal(OwnerReadsAndWrites | UnixFileMode.UserExecute, File.GetUnixFileMode(made));
    }

    [Fact]
    public async Task A_relative_directory_is_relative_to_where_the_command_runs()
    {
        using var folder = new TemporaryDirectory();
        await using var coffer = await CofferProcess.StartAsync(["serve", "--data", "store"], folder.Path);
        Assert.True(File.Exists(Path.Combine(folder.Path, "store", "coffer.db")));
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
    }

    [Fact]
    public async Task The_second_start_shows_no_keys_and_all_old_keys_and_secrets_work()
    {
        using var data = new TemporaryDirectory();
        string test, live, admin;
        await using (var first = await CofferProcess.ServeAsync(data))
        {
            (test, live, admin) = (first.TestKey, first.LiveKey, first.AdminKey);
            using var asTest = new WireClient(first.Url, test);
            using var asLive = new WireClient(first.Url, live, "acct_1");
            (await asTest.SetAsync("k", "of test")).Is(200);
            (await asLive.SetAsync("k", "of live", user: "usr_1", idempotencyKey: "once")).Is(200);
            Assert.Equal(0, await first.StopAsync());
        }

        await using var second = await CofferProcess.ServeAsync(data);
        await second.PrintedAsync("Coffer serves");
        Assert.Equal(["url", "pid"], second.Ready.EnumerateObject().Select(field => field.Name));
        using (var asTest = new WireClient(second.Url, test))
            Assert.Equal("of test", (await asTest.FindAsync("k")).Is(200).Payload);
        using (var asLive = new WireClient(second.Url, live, "acct_1"))
        {
            Assert.Equal("of live", (await asLive.FindAsync("k", user: "usr_1")).Is(200).Payload);
            var replayed = (await asLive.SetAsync("k", "of live", user: "usr_1", idempotencyKey: "once")).Is(200);
            Assert.Equal("true", Assert.Single(replayed.Headers.GetValues("Idempotent-Replayed")));
        }

        using (var asAdmin = new WireClient(second.Url, admin))
            (await asAdmin.FindAsync("k")).Is(403); // known, and told so

        Assert.Equal(0, await second.StopAsync());
        foreach (var key in (string[])[test, live, admin, "sk_", "ak_"])
            Assert.DoesNotContain(key, second.Stdout + second.Stderr, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Test_and_live_mode_are_two_stores()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        using var test = new WireClient(coffer.Url, coffer.TestKey, "acct_1");
        using var live = new WireClient(coffer.Url, coffer.LiveKey, "acct_1");

        var id = (await test.SetAsync("k", "of test")).Is(200).Body.GetProperty("id").GetString()!;
        Assert.Equal("resource_missing", (await live.FindAsync("k")).Is(404).ErrorCode);
        Assert.Equal(0, (await live.ListAsync()).Is(200).Body.GetProperty("data").GetArrayLength());
        var cursor = await live.GetAsync("/v1/apps/secrets", ("scope[type]", "account"), ("starting_after", id));
        Assert.Equal("resource_missing", cursor.Is(400).ErrorCode);

        Assert.True(
            (await live.SetAsync("k", "of live", idempotencyKey: "same")).Is(200).Body.GetProperty("livemode")
                .GetBoolean());
        (await test.SetAsync("other", "p", idempotencyKey: "same")).Is(200); // not a replay: the key is the mode's own
        (await live.DeleteAsync("k")).Is(200);
        Assert.Equal("of test", (await test.FindAsync("k")).Is(200).Payload);
    }

    [Fact]
    public async Task The_quota_is_what_the_operator_says()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data, "--secrets-per-scope", "2");
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("one", "p")).Is(200);
        (await client.SetAsync("two", "p")).Is(200);
        var refused = (await client.SetAsync("three", "p")).Is(400);
        Assert.Contains("already holds 2 secrets", refused.Body.GetProperty("error").GetProperty("message").GetString(),
            StringComparison.Ordinal);
    }
}
