using System.Net.Http.Headers;
using System.Text;

namespace Coffer.Tests.Api;

/// <summary>
/// No caller reaches another tenant's secret by any id, name, cursor, header, parameter or idempotency key
/// (SECURITY.md, "Who reaches what").
/// </summary>
public sealed class IsolationTests : ServerTests
{
    private const string Secrets = "/v1/apps/secrets";

    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task More_accounts_than_are_kept_open_each_find_their_own()
    {
        await Server.StopAsync();
        await Server.StartAgainAsync(openTenants: 2);
        var accounts = Enumerable.Range(1, 30).Select(i => Server.Client(account: $"acct_{i}")).ToList();
        await Task.WhenAll(accounts.Select((account, i) => account.Set("k", $"payload {i}")));
        for (var round = 0; round < 3; round++)
        {
            var found = await Task.WhenAll(
                accounts.Select(account => account.Find("k", null, ("expand[]", "payload"))));
            Assert.Equal(Enumerable.Range(0, 30).Select(i => $"payload {i}"),
                found.Select(answer => answer.IsOk().Payload));
        }
    }

    [Fact]
    public async Task Apps_never_see_each_others_secrets()
    {
        var (mine, theirs) = (Client, Server.Client(Server.OtherAppKey));
        var id = (await mine.Set("k", "mine", "usr_1")).IsOk().Id;
        (await theirs.Find("k", "usr_1")).IsError(404, "resource_missing", "name");
        (await theirs.Find(id!, "usr_1")).IsError(404, "resource_missing", "name");
        (await theirs.Delete("k", "usr_1")).IsError(404, "resource_missing", "name");
        Assert.Empty((await theirs.List("usr_1")).IsOk().Names);
        (await theirs.List("usr_1", ("starting_after", id!))).IsError(400, "resource_missing", "starting_after");

        await theirs.Set("k", "theirs", "usr_1");
        Assert.Equal("mine", (await mine.Find("k", "usr_1", ("expand[]", "payload"))).Payload);
    }

    [Fact]
    public async Task Apps_in_the_same_account_never_see_each_others_secrets()
    {
        var (mine, theirs) = (Server.Client(account: "acct_1"), Server.Client(Server.OtherAppKey, "acct_1"));
        await mine.Set("k", "mine");
        (await theirs.Find("k")).IsError(404, "resource_missing", "name");
        Assert.Empty((await theirs.List()).IsOk().Names);
    }

    [Fact]
    public async Task Accounts_are_apart_and_no_header_means_the_apps_own()
    {
        await Client.Set("k", "own");
        await Server.Client(account: "acct_1").Set("k", "one");
        await Server.Client(account: "acct_2").Set("k", "two");
        Assert.Equal("own", (await Client.Find("k", null, ("expand[]", "payload"))).Payload);
        Assert.Equal("one", (await Server.Client(account: "acct_1").Find("k", null, ("expand[]", "payload"))).Payload);
        await Server.Client(account: "acct_1").Delete("k");
        (await Server.Client(account: "acct_2").Find("k")).IsOk();
        (await Server.Client(account: "acct_3").Find("k")).IsError(404, "resource_missing", "name");
        (await Server.Client(account: "ACCT_2").Find("k")).IsError(404, "resource_missing", "name");
    }

    [Fact]
    public async Task An_idempotency_key_replays_nothing_to_another_tenant()
    {
        var form = new[] { ("scope[type]", "account"), ("name", "k"), ("payload", "mine"), ("expand[]", "payload") };
        var mine = (await Client.Post(Secrets, form, "same-key")).IsOk();
        foreach (var other in (TestServer.Caller[])[Server.Client(Server.OtherAppKey), Server.Client(account: "acct_1"),
            Server.Client(Server.Keys.LiveSecretKey)])
        {
            var answer = (await other.Post(Secrets, [.. form[..2], ("payload", "other"), form[3]], "same-key")).IsOk();
            Assert.Null(answer.Header("Idempotent-Replayed"));
            Assert.Equal("other", answer.Payload);
            Assert.NotEqual(mine.Id, answer.Id);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("acct 1")]
    [InlineData("acct_1,acct_2")]
    [InlineData("acct_é")]
    [InlineData("../acct_1")]
    public async Task A_malformed_account_is_refused(string account) =>
        (await Ask(("Stripe-Account", account))).IsError(400, null, "Stripe-Account");

    [Fact]
    public async Task An_account_of_255_characters_is_taken_and_a_longer_one_refused()
    {
        (await Ask(("Stripe-Account", new string('a', 255)))).IsOk();
        (await Ask(("Stripe-Account", new string('a', 256)))).IsError(400, null, "Stripe-Account");
    }

    [Fact]
    public async Task Accounts_that_contradict_each_other_are_refused()
    {
        Assert.Contains(
            "more than once",
            (await Ask(("Stripe-Account", "acct_1"), ("Stripe-Account", "acct_2"))).IsError(400, null, null).Text,
            StringComparison.Ordinal);
        foreach (var context in (string[])["acct_2", ""])
            (await Ask(("Stripe-Account", "acct_1"), ("Stripe-Context", context))).IsError(400, null, "Stripe-Account");
        (await Ask(("Stripe-Account", "acct_1"), ("Stripe-Context", "acct_1"))).IsError(400, null, "Stripe-Account",
            "Received both Stripe-Account and Stripe-Context headers. Send one of them.");
    }

    [Fact]
    public async Task The_context_header_names_the_account_too()
    {
        await Server.Client(account: "acct_1").Set("k");
        Assert.Equal(["k"], (await Ask(("Stripe-Context", "acct_1"))).IsOk().Names);
    }

    [Fact]
    public async Task The_account_is_echoed() =>
        Assert.Equal("acct_1", (await Server.Client(account: "acct_1").List()).Header("Stripe-Account"));

    [Theory]
    [InlineData("scope[type]=user&scope[user]=usr_1&scope[user]=usr_2", "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=usr_1&scope%5Buser%5D=usr_2", "scope[user]")]
    [InlineData("scope[type]=user&scope[type]=account&scope[user]=usr_1", "scope[type]")]
    [InlineData("scope[type]=user&scope[user][]=usr_1", "scope[user]")]
    [InlineData("scope[type]=user&scope[user][x]=usr_1&scope[user]=usr_1", "scope[user]")]
    [InlineData("scope[type]=account&scope[user]=usr_1", "scope[user]")]
    [InlineData("scope[type]=user", "scope[user]")]
    [InlineData("scope[type]=user&scope[user]=", "scope[user]")]
    [InlineData("scope[type]=Account", "scope[type]")]
    [InlineData("scope[type]=USER&scope[user]=usr_1", "scope[type]")]
    [InlineData("scope[type]=user%20&scope[user]=usr_1", "scope[type]")]
    [InlineData("scope[type]=account%00", "scope[type]")]
    [InlineData("scope[type]=", "scope[type]")]
    [InlineData("scope[user]=usr_1", "scope[type]")]
    [InlineData("scope=account", "scope")]
    [InlineData("scope[]=account", "scope")]
    [InlineData("scope[type][]=account", "scope[type]")]
    [InlineData("name=k", "scope")]
    [InlineData("scope[type]=user&scope[Type]=account&scope[user]=usr_1", "scope[Type]")]
    public async Task A_scope_that_could_be_read_in_two_ways_is_refused(string form, string param)
    {
        var name = form.Contains("name=", StringComparison.Ordinal) ? "" : "&name=k";
        foreach (var answer in (Answer[])[
            await Client.Raw(HttpMethod.Get, $"{Secrets}/find?{form}{name}", null),
            await Client.Raw(HttpMethod.Post, Secrets, $"{form}{name}&payload=p"),
            await Client.Raw(HttpMethod.Post, $"{Secrets}/delete", $"{form}{name}"),
            await Client.Raw(HttpMethod.Post, $"{Secrets}/delete?{form}", name.TrimStart('&'))])
        {
            Assert.Equal(400, answer.Status);
            Assert.Equal(param, (string?)answer.Json["error"]!["param"]);
        }
    }

    [Fact]
    public async Task A_user_named_differently_in_query_and_body_is_refused()
    {
        (await Client.Raw(HttpMethod.Post, $"{Secrets}?scope[type]=user&scope[user]=usr_1",
            "name=k&payload=p&scope[user]=usr_2"))
            .IsError(400, null, "scope[user]");
        (await Client.Raw(HttpMethod.Post, $"{Secrets}?scope[type]=user&scope[user]=usr_1",
            "name=k&payload=p&scope[user]=usr_1")).IsOk();
    }

    [Theory]
    [InlineData("application/json", """{"name":"k","payload":"p","scope":{"type":"user","user":"usr_2"}}""")]
    [InlineData("multipart/form-data; boundary=x",
        "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nk\r\n--x--")]
    [InlineData("text/plain", "name=k")]
    public async Task Other_encodings_are_told_that_form_encoding_is_needed(string type, string body)
    {
        var request = new HttpRequestMessage(HttpMethod.Post,
            new Uri($"{Secrets}?scope[type]=account", UriKind.Relative))
        {
            Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)),
        };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(type);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Server.Keys.TestSecretKey);
        var answer = (await Server.SendAsync(request)).IsError(400, null, null);
        Assert.Contains("application/x-www-form-urlencoded", answer.Text, StringComparison.Ordinal);
    }

    private Task<Answer> Ask(params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Get,
            new Uri($"{Secrets}?scope[type]=account", UriKind.Relative));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Server.Keys.TestSecretKey);
        // One line a header, also where the client's own API would join them.
        foreach (var (name, value) in headers)
            Assert.True(request.Headers.TryAddWithoutValidation(name, value));
        return RawHttp.SendAsync(Server.Url, request, headers);
    }
}
