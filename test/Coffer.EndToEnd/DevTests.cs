namespace Coffer.EndToEnd;

/// <summary><c>coffer dev</c>: a store for a laptop, which must not be mistaken for more.</summary>
public sealed class DevTests
{
    private const UnixFileMode OwnerReadsAndWrites = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    [Fact]
    public async Task It_prints_its_URL_its_key_and_how_to_use_them()
    {
        await using var coffer = await CofferProcess.DevAsync();
        var url = coffer.Url.GetLeftPart(UriPartial.Authority);
        var printed = await coffer.PrintedAsync("expand[]=payload");
        Assert.Contains($"export COFFER_URL={url}\n", printed, StringComparison.Ordinal);
        Assert.Contains($"export COFFER_API_KEY={coffer.TestKey}\n", printed, StringComparison.Ordinal);
        var signing = coffer.Ready.GetProperty("signing_secret_test").GetString();
        Assert.Contains($"export COFFER_SIGNING_SECRET={signing}\n", printed, StringComparison.Ordinal);
        Assert.Contains($"curl {url}/v1/apps/secrets -u {coffer.TestKey}: ", printed, StringComparison.Ordinal);
        Assert.Empty(coffer.Stderr);
    }

    [Fact]
    public async Task The_ready_file_is_the_owners_alone_and_names_the_test_key_and_the_admin_key()
    {
        await using var coffer = await CofferProcess.DevAsync();
        Assert.Equal(OwnerReadsAndWrites, File.GetUnixFileMode(coffer.ReadyFile));
        Assert.Equal(["url", "pid", "test_secret_key", "admin_key", "signing_secret_test"],
            coffer.Ready.EnumerateObject().Select(field => field.Name));
        Assert.Equal(coffer.Pid, coffer.Ready.GetProperty("pid").GetInt32());
        Assert.StartsWith("sk_test_", coffer.TestKey, StringComparison.Ordinal);
        Assert.NotEqual(0, coffer.Url.Port);

        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200); // ready means that requests are answered
    }

    [Fact]
    public async Task A_test_key_of_the_developers_choice_is_the_key()
    {
        await using var coffer = await CofferProcess.DevAsync("--key", "sk_test_anything");
        Assert.Equal("sk_test_anything", coffer.TestKey);
        using var client = new WireClient(coffer.Url, "sk_test_anything");
        Assert.False((await client.SetAsync("k", "p")).Is(200).Body.GetProperty("livemode").GetBoolean());
        using var stranger = new WireClient(coffer.Url, "sk_test_something_else");
        (await stranger.ListAsync()).Is(401);
    }

    [Theory]
    [InlineData("sk_live_anything")]
    [InlineData("rk_live_anything")]
    [InlineData("ak_anything")]
    [InlineData("sk_test_")]
    [InlineData("sk_test_two words")]
    public async Task A_key_that_is_no_test_key_is_refused(string key)
    {
        var ran = (await Ran.CofferAsync("dev", "--listen", "http://127.0.0.1:0", "--key", key)).Refused(78,
            "--key must be sk_test_");
        Assert.DoesNotContain(key.Length > 8 ? key : "\0", ran.Stderr, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://0.0.0.0:0")]
    [InlineData("http://[::]:0")]
    [InlineData("http://192.0.2.1:26333")]
    public async Task It_refuses_to_listen_beyond_this_machine(string listen) =>
        (await Ran.CofferAsync("dev", "--listen", listen)).Refused(78, $"--listen '{listen}'");

    [Fact]
    public async Task All_that_is_wrong_is_said_at_once()
    {
        var ran = (await Ran.CofferAsync("dev", "--listen", "http://0.0.0.0:0", "--key",
            "sk_live_anything")).Refused(78, "--listen");
        Assert.Contains("--key", ran.Stderr, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_unknown_option_is_a_usage_error() =>
        (await Ran.CofferAsync("dev", "--no-such-option")).Refused(64, "--no-such-option", "--help");

    [Fact]
    public async Task The_temporary_store_is_gone_after_SIGTERM()
    {
        await using var coffer = await CofferProcess.DevAsync();
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        (await client.SetAsync("k", "p")).Is(200);
        var store = Assert.Single(coffer.TemporaryStores);
        Assert.True(File.Exists(Path.Combine(store, "coffer.db")));

        Assert.Equal(0, await coffer.StopAsync());
        Assert.Empty(coffer.TemporaryStores);
    }

    [Fact]
    public async Task A_kept_store_has_its_secrets_after_a_restart_and_a_fresh_key()
    {
        using var data = new TemporaryDirectory();
        string first;
        await using (var coffer = await CofferProcess.DevAsync("--data", data.Path))
        {
            first = coffer.TestKey;
            using var client = new WireClient(coffer.Url, first);
            (await client.SetAsync("k", "kept")).Is(200);
            Assert.Equal(0, await coffer.StopAsync());
        }

        await using (var coffer = await CofferProcess.DevAsync("--data", data.Path))
        {
            Assert.NotEqual(first, coffer.TestKey);
            using var client = new WireClient(coffer.Url, coffer.TestKey);
            Assert.Equal("kept", (await client.FindAsync("k")).Is(200).Payload);
            using var old = new WireClient(coffer.Url, first);
            (await old.FindAsync("k")).Is(401);
            Assert.Equal(0, await coffer.StopAsync());
        }

        for (var start = 0; start < 2; start++) // one chosen key may be chosen again
        {
            await using var coffer = await CofferProcess.DevAsync("--data", data.Path, "--key", "sk_test_chosen");
            using var client = new WireClient(coffer.Url, "sk_test_chosen");
            Assert.Equal("kept", (await client.FindAsync("k")).Is(200).Payload);
            Assert.Equal(0, await coffer.StopAsync());
        }
    }

    [Fact]
    public async Task Seeded_fixtures_are_what_the_SDKs_own_suites_ask_for()
    {
        await using var coffer = await CofferProcess.DevAsync("--seed-fixtures");
        using var client = new WireClient(coffer.Url, coffer.TestKey);
        Assert.Equal("very secret string", (await client.FindAsync("sec_123")).Is(200).Payload);
        Assert.True((await client.DeleteAsync("my-api-key")).Is(200).Body.GetProperty("deleted").GetBoolean());
        Assert.NotEqual(0, (await client.ListAsync()).Is(200).Body.GetProperty("data").GetArrayLength());

        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        using var root = await http.GetAsync(coffer.Url, TestContext.Current.CancellationToken);
        Assert.Equal("master", Assert.Single(root.Headers.GetValues("Stripe-Mock-Version")));
    }

    [Theory]
    [InlineData("serve", "dev", "this store belongs to coffer serve")]
    [InlineData("dev", "serve", "this store was created by coffer dev")]
    [Trait("Firm ground", "17")]
    public async Task A_store_of_the_other_verb_is_refused_and_left_as_it_was(string maker, string other, string said)
    {
        using var data = new TemporaryDirectory();
        await using (var coffer = await CofferProcess.StartAsync([maker, "--data", data.Path]))
            Assert.Equal(0, await coffer.StopAsync());
        var before = data.Fingerprint();
        (await Ran.CofferAsync(other, "--data", data.Path, "--listen", "http://127.0.0.1:0"))
            .Refused(78, said, "Nothing was changed");
        Assert.Equal(before, data.Fingerprint());
        await using var again = await CofferProcess.StartAsync([maker, "--data", data.Path]);
    }
}
