using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>What only a server of <c>coffer dev</c> does (docs/wire.md, "Authentication").</summary>
public sealed class DevTests
{
    private const string Key = "sk_test_anything";

    [Fact]
    public async Task Dev_mode_takes_the_developers_key_and_no_live_key()
    {
        await using var dev = await StartAsync();
        (await dev.Client(Key).List()).IsOk();
        (await dev.Client("sk_test_another").List()).IsError(401, null, null);
        (await dev.Client("sk_live_anything").List()).IsError(401, null, null);
    }

    [Fact]
    public async Task Dev_mode_refuses_a_live_key_that_was_made_in_it()
    {
        await using var dev = await StartAsync();
        var live = await dev.NewKeyAsync("secret", "app_dev", ("livemode", "true"));
        (await dev.Client(live.Secret()).List()).IsError(401, null, null);
        (await dev.Client(Key).List()).IsOk();
    }

    [Fact]
    [Trait("Firm edges", "31")]
    public async Task The_app_of_dev_was_made_when_its_store_was()
    {
        await using var dev = await StartAsync();
        var app = (await dev.Admin.Get($"{Apps}/app_dev")).IsOk().Json;
        Assert.Equal(dev.Time.Seconds, (long)app["created"]!);
        dev.Time.Move(TimeSpan.FromDays(1));
        await dev.StopAsync();
        await dev.StartAgainAsync(dev: new(Key, SeedFixtures: false));
        var again = (await dev.Client(dev.LastKeys!.AdminKey).Get($"{Apps}/app_dev")).IsOk().Json;
        Assert.Equal((long)app["created"]!, (long)again["created"]!);
    }

    [Fact]
    [Trait("Firm edges", "28")]
    public async Task A_scope_that_is_full_has_no_room_for_a_fixture_and_is_served()
    {
        await using var small = await StartAsync(seeds: true, secretsPerScope: 2);
        var client = small.Client(Key);
        (await client.Set("k")).IsError(400, null, null);
        (await client.Delete("sec_123")).IsOk();
        (await client.List()).IsOk();
        (await client.Set("k")).IsError(400, null, null);
    }

    private static Task<TestServer> StartAsync(bool seeds = false, int secretsPerScope = 10) =>
        TestServer.StartAsync(secretsPerScope, new(Key, seeds));
}
