using System.Net.Http.Headers;
using static Coffer.Tests.Support.Operator;

namespace Coffer.Tests.Api;

/// <summary>
/// Whom a request is about, as this year's SDKs and Stripe's command line say it (docs/wire.md).
/// </summary>
[Trait("Reports from the field", "B")]
public sealed class ContextTests : ServerTests
{
    [Fact]
    public async Task A_context_may_be_a_path_from_the_apps_own_account()
    {
        var own = await OwnAsync();
        await Server.Client(account: "acct_1").Set("k", "one");
        foreach (var context in (string[])["acct_1", $"{own}/acct_1"])
        {
            var found = await AskAsync(Server.Keys.TestSecretKey, ("Stripe-Context", context));
            Assert.Equal(["k"], found.IsOk().Names);
            Assert.Equal("acct_1", found.Header("Stripe-Account"));
        }

        Assert.Empty((await AskAsync(Server.Keys.TestSecretKey, ("Stripe-Context", $"{own}/{own}"))).IsOk().Names);
    }

    [Theory]
    [InlineData("acct_another/acct_1")]
    [InlineData("acct_1/acct_1")]
    public async Task A_path_from_another_account_is_403(string context)
    {
        await Server.Client(account: "acct_1").Set("k", "one");
        (await AskAsync(Server.Keys.TestSecretKey, ("Stripe-Context", context))).IsError(403, "account_invalid", null);
        (await AskAsync(await Server.MintAsync("usr_1", "acct_1"), ("Stripe-Context", context)))
            .IsError(403, "account_invalid", null);
    }

    [Fact]
    public async Task A_key_of_one_account_takes_that_account_at_the_end_of_a_path_and_no_other()
    {
        var (own, token) = (await OwnAsync(), await Server.MintAsync("usr_1", "acct_1"));
        await Server.Client(account: "acct_1").Set("k", "one");
        Assert.Equal(["k"], (await AskAsync(token, ("Stripe-Context", $"{own}/acct_1"))).IsOk().Names);
        (await AskAsync(token, ("Stripe-Context", $"{own}/acct_2"))).IsError(403, "account_invalid", null);
        var pinned = (await Server.NewKeyAsync("restricted", await Server.AppIdAsync(),
            ("permissions[]", "secret_read"), ("account", "acct_1"))).Secret();
        Assert.Equal(["k"], (await AskAsync(pinned, ("Stripe-Context", $"{own}/acct_1"))).IsOk().Names);
        (await AskAsync(pinned, ("Stripe-Context", $"{own}/acct_2"))).IsError(403, "account_invalid", null);
    }

    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("acct_1/")]
    [InlineData("/acct_1")]
    [InlineData("{own}/acct_2/acct_1")]
    [InlineData("{own}//acct_1")]
    [InlineData("{own}/acct 1")]
    public async Task A_context_that_is_neither_an_account_nor_a_path_to_one_is_400(string context)
    {
        context = context.Replace("{own}", await OwnAsync(), StringComparison.Ordinal);
        (await AskAsync(Server.Keys.TestSecretKey, ("Stripe-Context", context))).IsError(400, null, "Stripe-Context");
    }

    [Fact]
    public async Task An_answer_names_the_account_that_the_request_named_and_otherwise_none()
    {
        var key = Server.Keys.TestSecretKey;
        Assert.Null((await AskAsync(key)).Header("Stripe-Account"));
        Assert.Equal("acct_2", (await AskAsync(key, ("Stripe-Account", "acct_2"))).Header("Stripe-Account"));
        Assert.Null((await AskAsync(key, ("Stripe-Context", "acct_x/acct_2"))).Header("Stripe-Account"));
    }

    [Fact]
    public async Task A_mode_that_is_not_the_keys_is_400_and_the_keys_own_changes_nothing()
    {
        await Server.Client().Set("k", "test");
        var (test, live) = (Server.Keys.TestSecretKey, Server.Keys.LiveSecretKey!);
        Assert.Equal(["k"], (await AskAsync(test, ("Stripe-Livemode", "false"))).IsOk().Names);
        Assert.Empty((await AskAsync(live, ("Stripe-Livemode", "true"))).IsOk().Names);
        var ephemeral = await Server.MintAsync("usr_1");
        (await AskAsync(ephemeral, ("Stripe-Livemode", "false"))).IsOk();
        foreach (var (key, mode) in ((string, string)[])[(test, "true"), (live, "false"), (ephemeral, "true"),
            (test, "False"), (test, "0"), (test, "")])
            (await AskAsync(key, ("Stripe-Livemode", mode))).IsError(400, null, "Stripe-Livemode");
        (await AskAsync(test, ("Stripe-Livemode", "false"), ("Stripe-Livemode", "false"))).IsError(400, null,
            "Stripe-Livemode");
    }

    [Fact]
    public async Task Dev_says_once_how_a_payload_is_asked_for_and_names_no_secret()
    {
        await using var dev = await TestServer.StartAsync(dev: new("sk_test_anything", SeedFixtures: false));
        var client = dev.Client("sk_test_anything");
        Assert.Null((await client.Set("k", "p")).Header("Stripe-Notice"));
        Assert.Null((await client.Find("k", null, ("expand[]", "payload"))).Header("Stripe-Notice"));
        Assert.Null((await client.List("usr_1")).Header("Stripe-Notice")); // nothing was left out
        Assert.Equal("Coffer: this secret's payload is left out. Ask for it with expand[]=payload, and in a list with "
            + "expand[]=data.payload.", (await client.Find("k")).Header("Stripe-Notice"));
        Assert.Null((await client.Find("k")).Header("Stripe-Notice"));
        Assert.Null((await client.List()).Header("Stripe-Notice"));

        await Server.Client().Set("k", "p");
        Assert.Null((await Server.Client().Find("k")).Header("Stripe-Notice")); // no dev mode
    }

    [Fact]
    public async Task An_answer_is_as_long_as_it_says_whatever_it_is()
    {
        var client = Server.Client();
        var payload = new string('\u00e9', 5_000);
        await client.Set("k", payload);
        foreach (var answer in (Answer[])[await client.Find("k", null, ("expand[]", "payload")), await client.List(),
            await client.Find("none"), await client.Set(""), await Server.Client("sk_test_x").Find("k"),
            await Server.Admin.Get(Apps), await Server.Admin.Get($"{Apps}/none"), await client.Delete("k")])
            Assert.Equal(System.Text.Encoding.UTF8.GetByteCount(answer.Text), answer.ContentHeaders.ContentLength);
    }

    private async Task<string> OwnAsync() =>
        (string)(await Server.Admin.Get($"{Apps}/{await Server.AppIdAsync()}")).IsOk().Json["account"]!;

    private Task<Answer> AskAsync(string key, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Get,
            new Uri("/v1/apps/secrets?scope[type]=account", UriKind.Relative));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        foreach (var (name, value) in headers)
            Assert.True(request.Headers.TryAddWithoutValidation(name, value));
        return Server.SendAsync(request);
    }
}
