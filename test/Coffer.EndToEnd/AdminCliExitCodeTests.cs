namespace Coffer.EndToEnd;

/// <summary>How the management commands end when they do not end well.</summary>
public sealed class AdminCliExitCodeTests(ServedStore store) : IClassFixture<ServedStore>
{
    private AdminCli Cli => new(store.Coffer);

    public static TheoryData<string> Absences() =>
    [
        "apps show app_none", "apps rename app_none x", "apps set app_none "
            + "--any-origin", "apps disable app_none", "apps enable app_none",
        "apps delete app_none --yes", "apps roll-signing-secret app_none "
            + "--grace 0", "keys show key_none", "keys roll key_none --grace 0", "keys revoke key_none",
        "accounts list --app app_none", "accounts export acct_1 --app app_none --reason r",
            "accounts forget acct_1 --app app_none --yes", "receipt show rcpt_none",
        "installs uninstall appinst_none --app app_none --yes",
        "secrets reveal appsecret_none --app app_none --account acct_1 --reason r",
    ];

    public static TheoryData<string, string> Mistakes() => new()
    {
        { "apps", "command" },
        { "apps create", "argument" },
        { "apps show", "argument" },
        { "apps set app_1", "--secrets-per-scope, --origin, --any-origin, --account-pattern" },
        { "apps set app_1 --origin https://a.example --any-origin", "not both" },
        { "apps set app_1 --secrets-per-scope many", "'many'" },
        { "apps create x --secrets-per-scope default", "'default'" },
        { "apps roll-signing-secret app_1", "--grace" },
        { "apps show a/b", "'a/b' is not an id" },
        { "apps show ..", "'..' is not an id" },
        { "keys create", "--app, or --type admin" },
        { "keys create --app app_1 --type publishable", "'publishable'" },
        { "keys create --type publishable", "'publishable'" },
        { "keys create --app app_1 --permission everything", "'everything'" },
        { "keys create --app app_1 --expires-at soon", "--expires-at 'soon'" },
        { "keys roll key_1", "--grace" },
        { "keys roll key_1 --grace 90", "--grace '90'" },
        { "keys revoke ephkey_1", "coffer keys expire" },
        { "keys mint", "--user" },
        { "keys mint --user usr_1 --for long", "--for 'long'" },
        { "accounts list", "--app" },
        { "accounts export acct_1 --app app_1", "--reason" },
        { "secrets search --live --test", "not both" },
        { "secrets search --expiring-before soon", "--expiring-before 'soon'" },
        { "secrets search --user usr_1", "--user" },
        { "secrets reveal appsecret_1 --app app_1 --account acct_1", "--reason" },
        { "audit list --since yesterday", "'yesterday'" },
    };

    [Theory]
    [MemberData(nameof(Absences))]
    public async Task What_is_not_there_is_1(string line) =>
        (await Cli.RunAsync(line.Split(' '))).Refused(1, "_none", "list");

    [Theory]
    [MemberData(nameof(Mistakes))]
    public async Task A_wrong_command_line_is_64(string line, string error) =>
        (await Cli.RunAsync(line.Split(' '))).Refused(64, error, "--help");

    [Fact]
    public async Task An_empty_id_is_not_taken_for_none()
    {
        // As --account "$ACCOUNT" is where the variable is not set.
        (await Cli.RunAsync("apps", "show", "")).Refused(64, "APP '' is not an id", "--help");
        (await Cli.RunAsync("secrets", "search", "--account", "")).Refused(64, "--account '' is not an id", "--help");
        (await Cli.RunAsync("keys", "list", "--app", "")).Refused(64, "--app '' is not an id", "--help");
        (await Cli.RunAsync("keys", "mint", "--user", "usr_1", "--account", "")).Refused(64,
            "--account '' is not an id", "--help");
    }

    [Fact]
    public async Task A_refusal_of_the_server_is_65_with_the_servers_words()
    {
        var app = await Cli.AppAsync("refused");
        (await Cli.RunAsync("apps", "create", "")).Refused(65, "name", "req_");
        (await Cli.RunAsync("apps", "create", new string('n', 201))).Refused(65, "200", "req_");
        (await Cli.RunAsync("apps", "set", app, "--secrets-per-scope", "10001")).Refused(65, "", "req_");
        (await Cli.RunAsync("apps", "roll-signing-secret", app, "--grace", "8d")).Refused(65, "", "req_");
        (await Cli.RunAsync("keys", "create", "--app", app, "--type", "restricted")).Refused(65, "permissions", "req_");
        (await Cli.RunAsync("keys", "create", "--app", app, "--address", "nowhere")).Refused(65, "", "req_");
        (await Cli.RunAsync("accounts", "export", "acct_1", "--app", app, "--reason",
            "")).Refused(65, "reason", "req_");
        (await Cli.WithKeyAsync(store.Coffer.TestKey, "keys", "mint", "--user", "usr_1", "--for",
            "25h")).Refused(65, "", "req_");
    }

    [Fact]
    public async Task A_key_that_is_unknown_or_no_admin_key_is_77()
    {
        (await Cli.RunAsync(["apps", "list"], "ak_NotOfThisStore")).Refused(77, "Invalid API Key provided",
            "COFFER_ADMIN_KEY");
        (await Cli.RunAsync(["apps", "list"], store.Coffer.TestKey)).Refused(77, "admin key");
        (await Cli.WithKeyAsync(store.Coffer.AdminKey, "keys", "mint", "--user",
            "usr_1")).Refused(77, "needs a secret key");
    }

    [Fact]
    public async Task A_missing_key_is_78_and_the_right_one_is_named()
    {
        foreach (var line in (string[])["apps list", "keys list", "accounts list --app app_1", "secrets search",
            "audit list"])
            (await Cli.RunAsync(line.Split(' '), adminKey: " ", apiKey: store.Coffer.TestKey)).Refused(78,
                "COFFER_ADMIN_KEY is not set", "ak_");
        (await Cli.RunAsync("keys", "mint", "--user", "usr_1")).Refused(78, "COFFER_API_KEY is not set", "sk_test_");
    }

    [Fact]
    public async Task The_management_plane_may_have_an_address_of_its_own()
    {
        (await Cli.RunAsync("apps", "list", "--url", "http://127.0.0.1:1")).Refused(69, "http://127.0.0.1:1",
            "COFFER_ADMIN_URL");
        var elsewhere = new Dictionary<string, string>
        {
            ["COFFER_URL"] = "http://127.0.0.1:1",
            ["COFFER_ADMIN_URL"] = store.Coffer.Url.ToString(),
            ["COFFER_ADMIN_KEY"] = store.Coffer.AdminKey,
        };
        (await Ran.ProgramAsync(Needs.Program, ["apps", "list"], elsewhere)).EndedWith(0);
        elsewhere["COFFER_ADMIN_URL"] = "http://127.0.0.1:2";
        (await Ran.ProgramAsync(Needs.Program, ["apps", "list"], elsewhere)).Refused(69, "http://127.0.0.1:2");
        (await Ran.ProgramAsync(Needs.Program, ["apps", "list", "--url", store.Coffer.Url.ToString()],
            elsewhere)).EndedWith(0);
        (await Cli.RunAsync("apps", "list", "--url", "127.0.0.1")).Refused(78, "'127.0.0.1'", "COFFER_ADMIN_URL");
    }

    [Theory]
    [InlineData("apps", "create", "list", "show", "rename", "set", "disable", "enable", "delete",
        "roll-signing-secret")]
    [InlineData("keys", "create", "list", "show", "roll", "revoke", "mint", "expire")]
    [InlineData("accounts", "list", "export", "forget")]
    [InlineData("installs", "list", "create", "uninstall")]
    [InlineData("receipt", "show")]
    [InlineData("secrets", "search", "reveal")]
    [InlineData("audit", "list")]
    public async Task Each_has_help_with_an_example(string verb, params string[] commands)
    {
        foreach (var command in commands)
        {
            var help = (await Ran.CofferAsync(verb, command, "--help")).EndedWith(0).Stdout;
            Assert.Contains("Usage:", help, StringComparison.Ordinal);
            Assert.Contains(
                $"coffer {verb} {command}",
                help[
                    help.IndexOf("Example:", StringComparison.Ordinal)..help.IndexOf("Usage:",
                        StringComparison.Ordinal)],
                StringComparison.Ordinal);
        }
    }
}
