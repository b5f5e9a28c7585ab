namespace Coffer.EndToEnd;

/// <summary>
/// How <c>coffer secrets</c> ends when it does not end well: scripts rely on the number, people on the two lines.
/// </summary>
public sealed class CliExitCodeTests(ServedStore store) : IClassFixture<ServedStore>
{
    [Fact]
    public async Task An_absent_secret_is_1()
    {
        (await RunAsync("find", "nothing here")).Refused(1, "no such secret: 'nothing here'");
        (await RunAsync("delete", "nothing here")).Refused(1, "no such secret: 'nothing here'");
        (await RunAsync("find", "nothing here", "--raw")).Refused(1, "no such secret");
    }

    [Fact]
    public async Task A_wrong_command_line_is_64()
    {
        (await RunAsync("find")).Refused(64, "argument", "--help");
        (await RunAsync("get", "k")).Refused(64, "'get'", "--help");
        (await RunAsync("list", "--no-such-option")).Refused(64, "--no-such-option", "--help");
        (await RunAsync("set", "k", "--payload", "p", "--payload-file", "f")).Refused(64, "--payload or --payload-file",
            "--help");
        (await RunAsync("set", "k", "--payload", "p", "--expires-at", "soon")).Refused(64, "--expires-at 'soon'",
            "--help");
        (await Ran.CofferAsync()).Refused(64, "command", "--help");
    }

    [Theory]
    [InlineData("01/02/2100")] // January or February?
    [InlineData("12:00")] // of which day?
    public async Task A_time_that_could_be_read_in_two_ways_is_64(string time) =>
        (await RunAsync("set", "k", "--payload", "p", "--expires-at", time)).Refused(64, $"--expires-at '{time}'",
            "--help");

    [Fact]
    public async Task A_refusal_of_the_server_is_65_with_the_servers_words()
    {
        (await RunAsync("set", "k", "--payload", new string('p', 5_001))).Refused(65,
            "'payload' must be at most 5000 characters", "req_");
        (await RunAsync("set", "k", "--payload", "")).Refused(65, "empty string for 'payload'", "req_");
        (await RunAsync("set", "k", "--payload", "p", "--expires-at", "1700000000")).Refused(65,
            "Unix timestamp in the future", "req_");
        (await RunAsync("find", new string('n', 5_001))).Refused(65, "at most 5000 characters", "req_");
        (await RunAsync("find", "k", "--account", "not an account")).Refused(65, "Stripe-Account", "req_");
    }

    [Fact]
    public async Task The_longest_payload_is_taken_from_standard_input()
    {
        (await RunAsync(["set", "longest"],
            input: System.Text.Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("🔑", 5_000))))).EndedWith(0);
        (await RunAsync("delete", "longest")).EndedWith(0);
    }

    [Fact]
    public async Task An_eleventh_secret_is_65()
    {
        for (var number = 0; number < 10; number++)
            (await RunAsync("set", $"n{number}", "--payload", "p", "--user", "usr_full")).EndedWith(0);
        (await RunAsync("set", "one more", "--payload", "p", "--user", "usr_full")).Refused(65,
            "already holds 10 secrets");
        (await RunAsync("set", "n0", "--payload", "replaced", "--user", "usr_full")).EndedWith(0);
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_69() =>
        (await RunAsync("list", "--url", "http://127.0.0.1:1")).Refused(69, "http://127.0.0.1:1", "COFFER_URL");

    [Fact]
    public async Task A_payload_file_that_is_not_there_is_74() =>
        (await RunAsync("set", "k", "--payload-file", "/no/such/file")).Refused(74, "/no/such/file");

    [Fact]
    public async Task A_key_that_is_unknown_or_may_not_do_this_is_77()
    {
        var unknown = (await RunAsync(["list"], key: "sk_test_51NotOfThisStore")).Refused(77,
            "Invalid API Key provided", "COFFER_API_KEY");
        Assert.DoesNotContain("NotOfThis", unknown.Stderr, StringComparison.Ordinal);
        (await RunAsync(["list"], key: store.Coffer.AdminKey)).Refused(77, "admin key");
    }

    [Theory]
    [InlineData("")]
    [InlineData("  ")]
    public async Task A_missing_key_is_78(string key) =>
        (await RunAsync(["list"], key: key)).Refused(78, "COFFER_API_KEY is not set", "sk_test_");

    [Fact]
    public async Task An_address_that_is_none_is_78() =>
        (await RunAsync("list", "--url", "127.0.0.1")).Refused(78, "'127.0.0.1'", "COFFER_URL");

    [Theory]
    [InlineData("sk_test_one\nsk_test_two")] // as "$(cat keys)" gives it
    [InlineData("sk_test_ключ")]
    public async Task A_key_that_no_header_can_carry_is_no_crash_and_no_trouble_of_the_network(string key)
    {
        var ran = await RunAsync(["list"], key: key);
        Assert.Contains(ran.ExitCode, (int[])[77, 78]);
        ran.Refused(ran.ExitCode, "");
        Assert.DoesNotContain(key[8..], ran.Stderr, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("acct_1\nacct_2")]
    [InlineData("acct_é")]
    public async Task An_account_that_no_header_can_carry_is_no_crash_and_no_trouble_of_the_network(string account)
    {
        var ran = await RunAsync("list", "--account", account);
        Assert.Contains(ran.ExitCode, (int[])[64, 65]);
        ran.Refused(ran.ExitCode, "");
    }

    [Fact]
    public async Task Options_and_variables_name_the_server_and_the_option_wins()
    {
        (await RunAsync("list", "--url", store.Coffer.Url.ToString())).EndedWith(0);
        var elsewhere =
            new Dictionary<string, string>
            { ["COFFER_URL"] = "http://127.0.0.1:1", ["COFFER_API_KEY"] = store.Coffer.TestKey };
        (await Ran.ProgramAsync(Needs.Program, ["secrets", "list", "--url", store.Coffer.Url.ToString()],
            elsewhere)).EndedWith(0);
        (await Ran.ProgramAsync(Needs.Program, ["secrets", "list"], elsewhere)).Refused(69, "http://127.0.0.1:1");
    }

    [Fact]
    public async Task Help_is_no_error()
    {
        foreach (var arguments in (string[][])[["--help"], ["dev", "--help"], ["serve", "--help"],
            ["secrets", "--help"], ["secrets", "set", "--help"]])
            Assert.Contains("Usage:", (await Ran.CofferAsync(arguments)).EndedWith(0).Stdout, StringComparison.Ordinal);
    }

    private Task<Ran> RunAsync(params string[] arguments) => RunAsync(arguments, key: null);

    private Task<Ran> RunAsync(string[] arguments, string? key = null, byte[]? input = null) =>
        Ran.ProgramAsync(Needs.Program, ["secrets", .. arguments], new Dictionary<string, string>
        {
            ["COFFER_URL"] = store.Coffer.Url.ToString(),
            ["COFFER_API_KEY"] = key ?? store.Coffer.TestKey,
        }, input);
}
