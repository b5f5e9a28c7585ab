using System.Net;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Http;

namespace Coffer.Tests.Http;

/// <summary>How often a key may ask, and that floods of bad keys are cheap and hurt no good one.</summary>
public sealed class RateLimitsTests
{
    private static readonly IPAddress Address = IPAddress.Parse("203.0.113.7");

    private readonly ManualTime time = new();

    [Fact]
    public void A_key_has_a_seconds_worth_and_gets_it_back_in_time()
    {
        using var limits = new RateLimits(perKey: 10, perAddress: 0, time);
        Assert.Equal(10, Take(limits, "key_1", 100));
        Assert.Equal(10, Take(limits, "key_2", 100)); // each its own
        time.Move(TimeSpan.FromMilliseconds(99));
        Assert.Equal(0, Take(limits, "key_1", 100));
        time.Move(TimeSpan.FromMilliseconds(1));
        Assert.Equal(1, Take(limits, "key_1", 100));
        time.Move(TimeSpan.FromMilliseconds(550));
        Assert.Equal(5, Take(limits, "key_1", 100));
        time.Move(TimeSpan.FromHours(1));
        Assert.Equal(10, Take(limits, "key_1", 100)); // no more than a second's worth is saved
    }

    [Fact]
    public void Steady_use_at_the_rate_is_never_refused()
    {
        using var limits = new RateLimits(perKey: 100, perAddress: 0, time);
        Take(limits, "key_1", 100);
        for (var i = 0; i < 5_000; i++)
        {
            time.Move(TimeSpan.FromMilliseconds(10));
            Assert.True(limits.TakeForKey("key_1"), $"{i}");
        }
    }

    [Fact]
    public void A_clock_that_is_set_back_neither_blocks_nor_gives()
    {
        using var limits = new RateLimits(perKey: 10, perAddress: 10, time);
        Take(limits, "key_1", 10);
        time.Move(TimeSpan.FromHours(-1));
        Assert.Equal(0, Take(limits, "key_1", 10));
        time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal(10, Take(limits, "key_1", 100));
    }

    [Fact]
    public void No_limit_is_no_limit()
    {
        using var limits = new RateLimits(perKey: 0, perAddress: 0, time);
        Assert.Equal(100_000, Take(limits, "key_1", 100_000));
        for (var i = 0; i < 1_000; i++)
            limits.CountRefused(Address);
        Assert.False(limits.IsFlooding(Address));
    }

    [Fact]
    public void An_address_floods_once_its_refusals_are_a_seconds_worth_and_for_as_long_as_they_go_on()
    {
        using var limits = new RateLimits(perKey: 0, perAddress: 3, time);
        for (var i = 0; i < 3; i++)
        {
            Assert.False(limits.IsFlooding(Address));
            limits.CountRefused(Address);
        }

        Assert.True(limits.IsFlooding(Address));
        Assert.False(limits.IsFlooding(IPAddress.Parse("203.0.113.8")));
        Assert.False(limits.IsFlooding(null));
        time.Move(TimeSpan.FromSeconds(0.4));
        Assert.False(limits.IsFlooding(Address));
        limits.CountRefused(Address);
        Assert.True(limits.IsFlooding(Address));
    }

    [Theory]
    [InlineData("::ffff:203.0.113.7", "203.0.113.7", true)]
    [InlineData("2001:db8::1", "2001:db8::ffff:0:1", true)]
    [InlineData("2001:db8:0:1::1", "2001:db8:0:2::1", false)]
    [InlineData("203.0.113.7", "203.0.113.8", false)]
    public void Of_IPv6_a_whole_64_counts_as_one_and_IPv4_is_IPv4_however_it_is_written(string one, string other,
        bool isSame)
    {
        using var limits = new RateLimits(perKey: 0, perAddress: 1, time);
        limits.CountRefused(IPAddress.Parse(one));
        Assert.Equal(isSame, limits.IsFlooding(IPAddress.Parse(other)));
    }

    [Fact]
    public async Task Beyond_its_bound_the_least_used_buckets_make_room()
    {
        using var limits = new RateLimits(perKey: 1, perAddress: 0, time);
        Assert.True(limits.TakeForKey("first"));
        Assert.False(limits.TakeForKey("first"));
        for (var i = 0; i < 3 * RateLimits.Kept; i++)
        {
            limits.TakeForKey($"key_{i}");
            if (i % (RateLimits.Kept / 10) == 0)
                await Task.Delay(5); // room is made in the background
        }

        // It was forgotten, with all that it had taken.
        Assert.True(limits.TakeForKey("first"));
    }

    [Fact]
    public void Many_threads_get_no_more_than_there_is()
    {
        using var limits = new RateLimits(perKey: 1_000, perAddress: 0, time);
        limits.TakeForKey("key_1");
        var taken = 0;
        Parallel.For(0, 20_000, _ => Interlocked.Add(ref taken, limits.TakeForKey("key_1") ? 1 : 0));
        Assert.Equal(999, taken);
    }

    [Fact]
    public async Task Who_asks_too_fast_is_told_when_to_come_again()
    {
        await using var server = await StartAsync(ratePerKey: 5);
        var token = await server.MintAsync("usr_1"); // one of the five
        for (var i = 0; i < 4; i++)
            (await server.Client().List()).IsOk();
        var refused = (await server.Client().List()).IsError(429, "rate_limit", null,
            "Testmode request rate limit exceeded. Slow down and try again shortly. See "
                + $"{server.Url}docs/errors#rate-limit.");
        Assert.Equal(("1", "true"), (refused.Header("Retry-After"), refused.Header("Stripe-Should-Retry")));
        Assert.Matches("^req_[0-9A-Za-z]{14}$", refused.Header("Request-Id"));
        (await server.Client().Get("/v1/apps/secrets", ("nothing", "of it is read"))).IsError(429, "rate_limit", null);
        (await server.Client().Get("/v1/none")).IsError(404, null, null); // a stranger learns no more

        for (var i = 0; i < 5; i++)
            (await server.Client(token).List()).IsOk(); // a bucket of its own
        (await server.Client(token).List()).IsError(429, "rate_limit", null);
        (await server.Client(server.OtherAppKey).List()).IsOk();
        for (var i = 0; i < 5; i++)
            (await server.Admin.Get(Operator.Apps)).IsOk();
        (await server.Admin.Get(Operator.Apps)).IsError(429, "rate_limit", null,
            $"Request rate limit exceeded. Slow down and try again shortly. See {server.Url}docs/errors#rate-limit.");

        server.Time.Move(TimeSpan.FromSeconds(1));
        for (var i = 0; i < 5; i++)
            (await server.Client().List()).IsOk();
        (await server.Client().List()).IsError(429, "rate_limit", null);
    }

    [Fact]
    public async Task A_flood_of_bad_keys_is_told_off_and_hurts_no_good_one_from_the_same_address()
    {
        await using var server = await StartAsync(ratePerAddress: 5);
        var token = await server.MintAsync("usr_1");
        var expiring = await server.NewKeyAsync("secret", await server.AppIdAsync(),
            ("expires_at", $"{server.Time.Seconds + 1}"));
        await FloodAsync();
        (await server.Client().List()).IsOk();
        (await server.Client(server.Keys.LiveSecretKey).List()).IsOk(); // never used before
        (await server.Client(server.OtherAppKey).List()).IsOk();
        (await server.Client(token).List()).IsOk();
        (await server.Client(expiring.Secret()).List()).IsOk();
        var admin = await server.NewKeyAsync("admin", null);
        (await server.Client(admin.Secret()).Get(Operator.Apps)).IsOk(); // made during the flood

        // What is wrong with a token that can be told without a look-up is still told.
        (await server.Client(token[..^1] + (token[^1] == 'A' ? 'B' : 'A')).List()).IsError(401, null, null);
        server.Time.Move(TimeSpan.FromSeconds(1));
        (await server.Client(Tokens.Generate("sk_test_")).List()).IsError(401, null, null);
        (await server.Client(expiring.Secret()).List()).IsError(401, "api_key_expired", null);

        async Task FloodAsync()
        {
            for (var i = 0; i < 5; i++)
                (await server.Client(Tokens.Generate("sk_test_")).List()).IsError(401, null, null);
            for (var i = 0; i < 20; i++)
            {
                string[] bad = ["sk_test_malformed", "pk_test_x", Tokens.Generate("ak_")];
                var refused = (await server.Client(bad[i % 3]).List()).IsError(429, "rate_limit", null);
                Assert.Equal("1", refused.Header("Retry-After"));
            }
        }
    }

    [Fact]
    public async Task A_flood_costs_no_look_up_a_request()
    {
        await using var server = await TestServer.StartAsync();
        await server.StopAsync();
        await server.OnStoreAsync(async (engine, committer, instance) =>
        {
            using var refusals = new Refusals(server.Time);
            var (epoch, gate) = (new Epoch(), new Gate(refusals, null!, null!));
            using var apps = new Apps(engine, instance, epoch);
            var uses = new LastUses(committer, server.Time);
            using var keys = new ApiKeys(engine, instance, apps, uses, gate, server.Time);
            var callers = new Callers(keys, null!, new KnownKeys(engine, instance, epoch, server.Time), gate,
                instance);
            Assert.Equal(429, (await AskAsync(Tokens.Generate("sk_test_"))).Refusal!.Status);

            // The store is gone: whatever is looked up from here on fails.
            engine.Dispose();
            File.Delete(server.StoreFile);
            for (var i = 0; i < 1_000; i++)
                Assert.Equal(429, (await AskAsync(Tokens.Generate("sk_test_"))).Refusal!.Status);
            Assert.Equal(503, (await Assert.ThrowsAsync<ApiError>(() => AskAsync(server.Keys.TestSecretKey))).Status);
            // Which keys there are is read again once in a while, whatever comes.
            server.Time.Move(Epoch.Bound);
            Assert.Equal(503, (await Assert.ThrowsAsync<ApiError>(() => AskAsync(Tokens.Generate("sk_test_")))).Status);
            return true;

            async Task<(Caller? Caller, ApiError? Refusal)> AskAsync(string token) =>
                await callers.FindAsync(token, null, null, Origin.Internal, isFlooding: true, default);
        });
    }

    private static async Task<TestServer> StartAsync(int ratePerKey = 0, int ratePerAddress = 0)
    {
        var server = await TestServer.StartAsync();
        await server.StopAsync();
        await server.StartAgainAsync(ratePerKey: ratePerKey, ratePerAddress: ratePerAddress);
        return server;
    }

    private static int Take(RateLimits limits, string key, int times) =>
        Enumerable.Range(0, times).Count(_ => limits.TakeForKey(key));
}
