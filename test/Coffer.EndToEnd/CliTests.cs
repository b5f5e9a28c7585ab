using System.Text;
using System.Text.Json;

namespace Coffer.EndToEnd;

/// <summary><c>coffer secrets</c> against a running server: the four verbs and what they print.</summary>
public sealed class CliTests(ServedStore store) : IClassFixture<ServedStore>
{
    [Fact]
    public async Task A_secret_is_set_found_listed_and_deleted()
    {
        var set = await OkAsync("acct_tour", "set", "my-api-key", "--payload", "secret_key_xxxxxx");
        Assert.Contains("my-api-key", set, StringComparison.Ordinal);
        Assert.DoesNotContain("secret_key_xxxxxx", set, StringComparison.Ordinal);

        var found = await OkAsync("acct_tour", "find", "my-api-key");
        Assert.Contains("my-api-key", found, StringComparison.Ordinal);
        Assert.DoesNotContain("secret_key_xxxxxx", found, StringComparison.Ordinal);
        Assert.Contains("secret_key_xxxxxx", await OkAsync("acct_tour", "find", "my-api-key", "--with-payload"),
            StringComparison.Ordinal);
        Assert.Equal("secret_key_xxxxxx", await OkAsync("acct_tour", "find", "my-api-key", "--raw"));

        Assert.Contains("my-api-key", await OkAsync("acct_tour", "delete", "my-api-key"), StringComparison.Ordinal);
        Assert.DoesNotContain("my-api-key", await OkAsync("acct_tour", "list"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_payload_from_standard_input_is_taken_to_the_last_byte()
    {
        var payload = Encoding.UTF8.GetBytes("-----BEGIN KEY-----\r\nłódź 🔑\n\n");
        (await RunAsync("acct_stdin", payload, null, "set", "k")).EndedWith(0);
        Assert.Equal(payload, (await RunAsync("acct_stdin", null, null, "find", "k", "--raw")).EndedWith(0).Output);
    }

    [Fact]
    public async Task A_payload_from_a_file_is_taken_to_the_last_byte()
    {
        using var folder = new TemporaryDirectory();
        // what marks a file as UTF-8 is content too
        byte[] payload = [0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes("{\"a\": 1}\n")];
        await File.WriteAllBytesAsync(folder.File("payload"), payload, TestContext.Current.CancellationToken);
        (await RunAsync("acct_file", null, null, "set", "k", "--payload-file", folder.File("payload"))).EndedWith(0);
        Assert.Equal(payload, (await RunAsync("acct_file", null, null, "find", "k", "--raw")).EndedWith(0).Output);
    }

    [Fact]
    public async Task A_raw_payload_is_its_bytes_whatever_the_locale()
    {
        var payload = Encoding.UTF8.GetBytes("né 漢");
        (await RunAsync("acct_locale", payload, null, "set", "k")).EndedWith(0);
        var latin1 = new Dictionary<string, string> { ["LC_ALL"] = "en_US.ISO-8859-1" };
        Assert.Equal(payload, (await RunAsync("acct_locale", null, latin1, "find", "k", "--raw")).EndedWith(0).Output);
    }

    [Fact]
    public async Task JSON_has_the_fields_of_the_API()
    {
        var set = JsonElement.Parse(
            await OkAsync("acct_json", "set", "k", "--payload", "p", "--user", "usr_1", "--expires-at",
                "2100-01-31T12:00:00Z", "--json"));
        Assert.Equal(["id", "created", "expires_at", "livemode", "name", "scope"],
            set.EnumerateObject().Select(field => field.Name));
        Assert.StartsWith("appsecret_", set.GetProperty("id").GetString(), StringComparison.Ordinal);
        Assert.Equal(4105080000, set.GetProperty("expires_at").GetInt64());
        Assert.False(set.GetProperty("livemode").GetBoolean());
        Assert.Equal("""{"type":"user","user":"usr_1"}""", set.GetProperty("scope").ToString());

        var found = JsonElement.Parse(
            await OkAsync("acct_json", "find", "k", "--user", "usr_1", "--with-payload", "--json"));
        Assert.Equal("p", found.GetProperty("payload").GetString());
        Assert.Equal(set.GetProperty("id").GetString(), found.GetProperty("id").GetString());

        var list = JsonElement.Parse(await OkAsync("acct_json", "list", "--user", "usr_1", "--json"));
        Assert.True(JsonElement.DeepEquals(set, Assert.Single(list.EnumerateArray())), $"set: {set}, listed: {list}");
        Assert.Equal("[]", (await OkAsync("acct_json", "list", "--json")).TrimEnd());
    }

    [Fact]
    public async Task An_expiry_is_Unix_seconds_or_ISO_8601()
    {
        foreach (var time in (string[])["4105080000", "2100-01-31T12:00:00Z", "2100-01-31T14:00:00+02:00"])
        {
            var set = JsonElement.Parse(
                await OkAsync("acct_expiry", "set", "k", "--payload", "p", "--expires-at", time, "--json"));
            Assert.Equal(4105080000, set.GetProperty("expires_at").GetInt64());
        }

        Assert.Contains("2100-01-31 12:00:00Z", await OkAsync("acct_expiry", "find", "k"), StringComparison.Ordinal);
        await OkAsync("acct_expiry", "set", "k", "--payload", "p");
        Assert.Contains("never", await OkAsync("acct_expiry", "find", "k"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Accounts_and_users_are_apart()
    {
        await OkAsync("acct_apart", "set", "k", "--payload", "of the account");
        await OkAsync("acct_apart", "set", "k", "--payload", "of Ann", "--user", "usr_ann");
        await OkAsync("acct_apart_too", "set", "k", "--payload", "of another account");
        Assert.Equal("of the account", await OkAsync("acct_apart", "find", "k", "--raw"));
        Assert.Equal("of Ann", await OkAsync("acct_apart", "find", "k", "--raw", "--user", "usr_ann"));
        Assert.Equal("of another account", await OkAsync("acct_apart_too", "find", "k", "--raw"));
        (await RunAsync("acct_apart_too", null, null, "find", "k", "--user", "usr_ann")).EndedWith(1);
    }

    [Fact]
    public async Task An_empty_user_is_not_taken_for_the_account()
    {
        // As --user "$USER_ID" is where the variable is not set: what is one person's must not become everybody's.
        var ran = await RunAsync("acct_empty_user", null, null, "set", "k", "--payload", "p", "--user", "");
        Assert.NotEqual(0, ran.ExitCode);
        Assert.Equal("[]", (await OkAsync("acct_empty_user", "list", "--json")).TrimEnd());
    }

    [Fact]
    public async Task A_list_shows_all_names_and_payloads_only_when_asked()
    {
        string[] names = ["one", "two with a space", "--three", "ключ"];
        foreach (var name in names)
            await OkAsync("acct_list", "set", "--payload", $"payload of {name}", "--", name);
        var plain = await OkAsync("acct_list", "list");
        var full = await OkAsync("acct_list", "list", "--with-payload");
        foreach (var name in names)
        {
            Assert.Contains(name, plain, StringComparison.Ordinal);
            Assert.Contains($"payload of {name}", full, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("payload of", plain, StringComparison.Ordinal);
        Assert.Equal(1 + names.Length, plain.TrimEnd('\n').Split('\n').Length);
    }

    [Fact]
    public async Task What_would_steer_a_terminal_is_written_out()
    {
        const string Name = "\e[31mred\r\n\u202Eback", Written = @"\u001b[31mred\u000d\u000a\u202eback";
        var shown = await OkAsync("acct_ansi", "set", Name, "--payload", "\e]0;title\a");
        shown += await OkAsync("acct_ansi", "find", Name, "--with-payload");
        shown += await OkAsync("acct_ansi", "list", "--with-payload");
        Assert.Contains(Written, shown, StringComparison.Ordinal);
        Assert.Contains(@"\u001b]0;title\u0007", shown, StringComparison.Ordinal);
        var absent = (await RunAsync("acct_ansi", null, null, "find", Name + "!")).EndedWith(1).Stderr;
        Assert.Contains(Written + "!", absent, StringComparison.Ordinal);
        foreach (var steering in "\e\a\r\u202E")
            Assert.DoesNotContain(steering, shown + absent);
    }

    private async Task<string> OkAsync(string account, params string[] arguments) =>
        (await RunAsync(account, null, null, arguments)).EndedWith(0).Stdout;

    private Task<Ran> RunAsync(string account, byte[]? input, Dictionary<string, string>? environment,
        params string[] arguments) =>
        Ran.ProgramAsync(Needs.Program, ["secrets", .. arguments[..1], "--account", account,
            .. arguments[1..]], new Dictionary<string, string>(environment ?? [])
            {
                ["COFFER_URL"] = store.Coffer.Url.ToString(),
                ["COFFER_API_KEY"] = store.Coffer.TestKey,
            }, input);
}
