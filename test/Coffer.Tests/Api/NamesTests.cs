namespace Coffer.Tests.Api;

/// <summary>Names, users and payloads are exact text (docs/wire.md, "Parameters").</summary>
public sealed class NamesTests() : ServerTests(secretsPerScope: 100)
{
    private const string Secrets = "/v1/apps/secrets";

    private TestServer.Caller Client => Server.Client();

    [Fact]
    public async Task Names_that_look_alike_stay_distinct()
    {
        string[] names =
        [
            "token", "Token", "TOKEN", "token ", " token", "token.", "token\t", "token\u200D", "to\u200Bken",
                "\u202Etoken",
            "caf\u00E9", "cafe\u0301", "ﬁ", "fi", "ß", "ss", "İ", "i", "ı", "k", "\u212A", "0", "00", "０",
        ];
        foreach (var name in names)
            (await Client.Set(name,
                $"payload of {Convert.ToHexString(System.Text.Encoding.UTF8.GetBytes(name))}")).IsOk();
        foreach (var name in names)
        {
            var found = (await Client.Find(name, null, ("expand[]", "payload"))).IsOk();
            Assert.Equal(name, (string?)found.Json["name"]);
            Assert.Equal($"payload of {Convert.ToHexString(System.Text.Encoding.UTF8.GetBytes(name))}", found.Payload);
        }

        Assert.Equal(names.Reverse(), (await Client.List(null, ("limit", "100"))).Names);
    }

    [Theory]
    [InlineData("..")]
    [InlineData("../../etc/passwd")]
    [InlineData("a/b")]
    [InlineData("%2f")]
    [InlineData("*")]
    [InlineData("'\"`")]
    [InlineData("a\nb\r\nc")]
    [InlineData("\u001b[31mred")]
    [InlineData("\u2028\u2029")]
    [InlineData("a\0b")]
    [InlineData("'; DROP TABLE secrets; --")]
    [InlineData("<script>&amp;")]
    [InlineData("a&b=c+d e%")]
    [InlineData("[type]")]
    [InlineData("🔑 ключ 鍵")]
    [InlineData("   ")]
    public async Task Whatever_a_name_holds_is_data(string text)
    {
        (await Client.Set(text, text, text)).IsOk();
        var found = (await Client.Find(text, text, ("expand[]", "payload"))).IsOk();
        Assert.Equal((text, text, text),
            ((string?)found.Json["name"], (string?)found.Json["scope"]!["user"], found.Payload));
        Assert.Equal([text], (await Client.List(text)).IsOk().Names);
        (await Client.Delete(text, text)).IsOk();
        (await Client.Delete(text, text)).IsError(404, "resource_missing", "name", $"No such secret: '{text}'");
    }

    [Theory]
    [InlineData("a")]
    [InlineData("é")]
    [InlineData("鍵")]
    [InlineData("🔑")]
    public async Task Five_thousand_characters_are_taken_whatever_their_size(string character)
    {
        var text = string.Concat(Enumerable.Repeat(character, 5_000));
        (await Client.Set("long payload", text)).IsOk();
        Assert.Equal(text, (await Client.Find("long payload", null, ("expand[]", "payload"))).IsOk().Payload);
        (await Client.Set(text, "long name")).IsOk();
        (await Client.Find(text)).IsOk();
        (await Client.Set("k", "long user", text)).IsOk();
        (await Client.Find("k", text)).IsOk();
    }

    [Fact]
    public async Task One_character_more_is_refused_and_a_payload_is_not_shown()
    {
        var text = new string('a', 4_995) + "zzzzzz";
        (await Client.Set(text)).IsError(400, null, "name",
            "Invalid string: aaaaaaaaaa...aaaazzzzzz; must be at most 5000 characters");
        (await Client.Find(text)).IsError(400, null, "name");
        (await Client.Set("k", "p", text)).IsError(400, null, "scope[user]");
        (await Client.Set("k", text)).IsError(400, null, "payload",
            "Invalid string: 'payload' must be at most 5000 characters");
        (await Client.Set("k", string.Concat(Enumerable.Repeat("🔑", 5_001)))).IsError(400, null, "payload");
    }

    [Theory]
    [InlineData("name")]
    [InlineData("payload")]
    [InlineData("expires_at")]
    public async Task Empty_values_are_refused(string param)
    {
        var form =
            new Dictionary<string, string>
            { ["scope[type]"] = "account", ["name"] = "k", ["payload"] = "p", [param] = "" };
        (await Client.Post(Secrets,
            [.. form.Select(field => (field.Key, field.Value))])).IsError(400, "parameter_invalid_empty", param,
            $"You passed an empty string for '{param}'. We assume empty values are an attempt to unset a parameter; "
                + $"however '{param}' cannot be unset. " +
            $"You should remove '{param}' from your request or supply a non-empty value.");
    }

    [Theory]
    [InlineData("%FF")]
    [InlineData("a%C3")]
    [InlineData("%C0%AF")] // an overlong slash
    [InlineData("%ED%A0%80")] // a lone surrogate
    [InlineData("%F5%80%80%80")] // beyond Unicode
    public async Task Invalid_UTF8_is_refused_with_the_param_named(string value)
    {
        (await Client.Raw(HttpMethod.Post, Secrets,
            $"scope[type]=account&payload=p&name={value}")).IsError(400, null, "name");
        (await Client.Raw(HttpMethod.Post, Secrets,
            $"scope[type]=account&name=k&payload={value}")).IsError(400, null, "payload");
        (await Client.Raw(HttpMethod.Post, Secrets,
            $"scope[type]=user&scope[user]={value}&name=k&payload=p")).IsError(400, null, "scope[user]");
        (await Client.Raw(HttpMethod.Get, $"{Secrets}/find?scope[type]=account&name={value}",
            null)).IsError(400, null, "name");
    }

    [Theory]
    [InlineData("%")]
    [InlineData("%4")]
    [InlineData("%zz")]
    [InlineData("100%")]
    public async Task A_broken_escape_is_refused_with_the_param_named(string value) =>
        (await Client.Raw(HttpMethod.Post, Secrets,
            $"scope[type]=account&name=k&payload={value}")).IsError(400, null, "payload");
}
