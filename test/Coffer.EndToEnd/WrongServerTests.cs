using System.Text.RegularExpressions;

namespace Coffer.EndToEnd;

/// <summary>
/// A command at a wrong address: whatever is there, it ends with one line that says so and a code of the table, and
/// never says that something was done.
/// </summary>
[Trait("Reports from the field", "R2-01 R2-16 R2-31")]
public sealed partial class WrongServerTests(WrongServer server) : IClassFixture<WrongServer>
{
    private static readonly string[] Commands =
    [
        "status", "secrets set n --payload p", "secrets find n", "secrets list", "secrets delete n", "secrets search",
        "secrets reveal appsecret_1 --app app_1 --account acct_1 --reason r", "apps create x", "apps list",
        "apps show app_1", "apps rename app_1 x", "apps set app_1 --any-origin", "apps disable app_1",
        "apps enable app_1", "apps delete app_1 --yes", "apps delete app_1 --forget-accounts --yes",
        "apps roll-signing-secret app_1 --grace 0", "keys create --type admin", "keys list", "keys show key_1",
        "keys roll key_1 --grace 0", "keys revoke key_1", "keys mint --user usr_1", "keys expire ephkey_1",
        "accounts list --app app_1", "accounts export acct_1 --app app_1 --reason r",
        "accounts forget acct_1 --app app_1 --yes", "installs list --app app_1", "installs create acct_1 --app app_1",
        "installs uninstall appinst_test_1 --app app_1 --yes", "receipt show rcpt_1", "audit list",
        "root-keys status", "root-keys add exec:/w", "root-keys rotate", "root-keys confirm", "root-keys rewrap",
        "root-keys remove exec:/w --yes", "root-keys shares create --out .", "root-keys shares verify",
        "tenant-keys status", "tenant-keys rotate --app app_1", "audit public-key", "settings set audit durable",
        "webhooks create --test --to https://a.example", "webhooks list", "webhooks show we_1",
        "webhooks update we_1 --names no", "webhooks enable we_1", "webhooks disable we_1",
        "webhooks delete we_1 --yes", "webhooks roll-secret we_1 --grace 0", "webhooks deliveries we_1",
        "webhooks retry we_1 evt_1",
    ];

    public static TheoryData<string> All() => [.. Commands];

    [Theory]
    [MemberData(nameof(All))]
    public async Task No_command_believes_another_program(string command)
    {
        var ran = await Task.WhenAll(WrongServer.Answers.Keys.Select(answer => RunAsync(answer, command)));
        // A key that anybody may ask for is refused to nobody: any refusal is another program's.
        var refuses = command != "audit public-key";
        Assert.All(ran, each => each.Refused(
            refuses && each.Line.Contains("/gateway", StringComparison.Ordinal) ? 65 : 69, ""));
        Assert.Equal(0, server.Followed);
    }

    [Fact]
    public async Task Every_command_that_asks_a_server_has_a_row()
    {
        var found = new List<string>();
        await AddAsync([]);
        Assert.Equal(found.Order(), Commands.Select(command => command.Split(" --")[0])
            .Select(command => found.MaxBy(name => $"{command} ".StartsWith($"{name} ", StringComparison.Ordinal)
                ? name.Length : 0)!).Distinct().Order());

        async Task AddAsync(string[] path)
        {
            var help = (await Ran.CofferAsync([.. path, "--help"])).EndedWith(0).Stdout;
            if (help.Contains("\n  --url ", StringComparison.Ordinal))
                found.Add(string.Join(' ', path));
            var at = help.IndexOf("\nCommands:\n", StringComparison.Ordinal);
            if (at < 0)
                return;
            foreach (var name in Name().Matches(help[at..]).Select(match => match.Groups["name"].Value))
                await AddAsync([.. path, name]);
        }
    }

    [Theory]
    [InlineData("COFFER_URL", "http://ops:hunter2@127.0.0.1:1")]
    [InlineData("COFFER_URL", "http://hunter2@127.0.0.1:1")]
    [InlineData("COFFER_URL", "ops:hunter2@127.0.0.1:1")]
    [InlineData("COFFER_URL", "http://127.0.0.1:1/?token=hunter2")]
    [InlineData("COFFER_API_KEY", "\"hunter2\"")]
    public async Task No_password_of_a_URL_and_no_key_is_in_a_message(string variable, string value)
    {
        var variables = new Dictionary<string, string> { ["COFFER_API_KEY"] = "sk_test_x", [variable] = value };
        var ran = (await Ran.ProgramAsync(Needs.Program, ["secrets", "find", "n"], variables)).Refused(78, "");
        Assert.DoesNotContain("hunter2", ran.Stderr, StringComparison.Ordinal);
        Assert.Contains(variable, ran.Stderr, StringComparison.Ordinal);
    }

    private Task<Ran> RunAsync(string answer, string command) => Ran.ProgramAsync(Needs.Program,
        [.. command.Split(' '), "--url", server.Url(answer)],
        new Dictionary<string, string> { ["COFFER_API_KEY"] = "sk_test_x", ["COFFER_ADMIN_KEY"] = "ak_x" });

    [GeneratedRegex("^  (?<name>[a-z][a-z-]*)(?= )", RegexOptions.Multiline | RegexOptions.ExplicitCapture)]
    private static partial Regex Name();
}
