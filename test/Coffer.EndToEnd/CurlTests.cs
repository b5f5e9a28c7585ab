using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary>curl, with the forms of request that Stripe's documentation and samples show.</summary>
public sealed class CurlTests(ServedStore store) : IClassFixture<ServedStore>
{
    private const string Secrets = "/v1/apps/secrets";

    [Fact]
    public async Task The_documentations_own_examples_work()
    {
        var set = await CurlAsync(Secrets, "-d", "scope[type]=account", "-d", "name=my-api-key", "-d",
            "payload=secret_key_xxxxxx");
        Assert.Equal("my-api-key", set.GetProperty("name").GetString());

        var found = await CurlAsync($"{Secrets}/find", "-G", "-d", "scope[type]=account", "-d", "name=my-api-key");
        Assert.True(JsonElement.DeepEquals(set, found), $"set: {set}, found: {found}");

        var withPayload = await CurlAsync($"{Secrets}/find", "-G", "-d", "scope[type]=account", "-d", "name=my-api-key",
            "-d", "expand[]=payload");
        Assert.Equal("secret_key_xxxxxx", withPayload.GetProperty("payload").GetString());

        var list = await CurlAsync(Secrets, "-G", "-d", "scope[type]=account", "-d", "limit=3");
        Assert.True(JsonElement.DeepEquals(set, Assert.Single(list.GetProperty("data").EnumerateArray())),
            $"set: {set}, listed: {list}");

        var deleted = await CurlAsync($"{Secrets}/delete", "-d", "scope[type]=account", "-d", "name=my-api-key");
        Assert.True(deleted.GetProperty("deleted").GetBoolean());
        Assert.Equal("my-api-key", deleted.GetProperty("name").GetString());
    }

    [Fact]
    public async Task A_user_scope_is_given_by_two_fields()
    {
        var set = await CurlAsync(Secrets, "-d", "scope[type]=user", "-d", "scope[user]=usr_123", "-d", "name=token",
            "-d", "payload=p", "-d", "expires_at=1956528000");
        Assert.Equal("usr_123", set.GetProperty("scope").GetProperty("user").GetString());
        Assert.Equal(1956528000, set.GetProperty("expires_at").GetInt64());
    }

    [Fact]
    public async Task Percent_encoded_brackets_are_brackets()
    {
        await CurlAsync(Secrets, "-H", "Stripe-Account: acct_encoded", "-d",
            "scope%5Btype%5D=account&name=an+encoded%20name&payload=100%25+%26");
        var found = await CurlAsync(
            $"{Secrets}/find?scope%5Btype%5D=account&name=an%20encoded+name&expand%5B%5D=payload", "-H",
            "Stripe-Account: acct_encoded");
        Assert.Equal("100% &", found.GetProperty("payload").GetString());
    }

    [Fact]
    public async Task Parameters_of_a_POST_may_stand_in_the_query()
    {
        // As Stripe's own older samples do; -g keeps curl from reading the brackets as a range.
        var set = await CurlAsync($"{Secrets}?scope[type]=user&scope[user]=usr_1&name=split", "-g", "-H",
            "Stripe-Account: acct_split", "-d", "payload=p");
        Assert.Equal("split", set.GetProperty("name").GetString());
    }

    [Fact]
    public async Task A_bearer_token_is_as_good_as_a_user_name()
    {
        var list = await RunAsync($"{Secrets}?scope%5Btype%5D=account", "-H",
            $"Authorization: Bearer {store.Coffer.TestKey}", "-H", "Stripe-Account: acct_bearer");
        Assert.Equal("list", Json(list).GetProperty("object").GetString());
    }

    [Fact]
    public async Task Without_a_key_it_says_how_to_send_one_and_gives_no_version()
    {
        var said = (await RunAsync($"{Secrets}?scope%5Btype%5D=account", "-i")).Stdout;
        Assert.StartsWith("HTTP/1.1 401 ", said, StringComparison.Ordinal);
        Assert.Contains("WWW-Authenticate: Bearer realm=\"Coffer\"\r\n", said, StringComparison.Ordinal);
        Assert.DoesNotContain("Stripe-Version:", said, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("You did not provide an API key.", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_error_is_laid_out_as_Stripe_lays_it_out()
    {
        var said = (await RunAsync($"{Secrets}/find", "-i", "-u", $"{store.Coffer.TestKey}:", "-G", "-d",
            "scope[type]=account", "--data-urlencode", "name=nothing here")).Stdout;
        Assert.StartsWith("HTTP/1.1 404 ", said, StringComparison.Ordinal);
        Assert.Contains("Content-Type: application/json\r\n", said, StringComparison.Ordinal);
        Assert.Matches(@"\r\nRequest-Id: req_[0-9A-Za-z]{14}\r\n", said);
        Assert.EndsWith($$"""
            {
              "error": {
                "code": "resource_missing",
                "doc_url": "{{store.Coffer.Url}}docs/errors#resource-missing",
                "message": "No such secret: 'nothing here'",
                "param": "name",
                "type": "invalid_request_error"
              }
            }

            """, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task JSON_is_refused_with_a_word_about_form_encoding()
    {
        var refused = await CurlAsync(Secrets, "-H", "Content-Type: application/json", "-d", """{"name":"k"}""");
        Assert.Contains("application/x-www-form-urlencoded",
            refused.GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_lines_that_dev_prints_work_as_pasted()
    {
        Needs.Curl();
        await using var coffer = await CofferProcess.DevAsync();
        var printed = await coffer.PrintedAsync("expand[]=payload");
        var lines = printed.Split('\n').Where(line => line.TrimStart().StartsWith("curl ", StringComparison.Ordinal))
            .ToList();
        Assert.Equal(2, lines.Count);

        Assert.Equal("my-api-key", Json(await Ran.ShellAsync(lines[0])).GetProperty("name").GetString());
        Assert.Equal("secret_key_xxxxxx", Json(await Ran.ShellAsync(lines[1])).GetProperty("payload").GetString());
    }

    private async Task<JsonElement> CurlAsync(string path, params string[] arguments) =>
        Json(await RunAsync(path, ["-u", $"{store.Coffer.TestKey}:", .. arguments]));

    private async Task<Ran> RunAsync(string path, params string[] arguments)
    {
        var ran = await Ran.ProgramAsync(Needs.Curl(),
            ["-sS", store.Coffer.Url.GetLeftPart(UriPartial.Authority) + path, .. arguments]);
        return ran.EndedWith(0); // curl does: what the server made of it is in the answer
    }

    private static JsonElement Json(Ran ran) => JsonElement.Parse(ran.EndedWith(0).Stdout);
}
