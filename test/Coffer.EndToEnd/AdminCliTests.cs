using System.Text.Json;
using System.Text.RegularExpressions;
using static Coffer.EndToEnd.AdminCli;

namespace Coffer.EndToEnd;

/// <summary>
/// <c>coffer apps</c>, <c>keys</c>, <c>accounts</c>, and what an operator sees of secrets and of the audit log. Each
/// test has an app of its own.
/// </summary>
public sealed class AdminCliTests(ServedStore store) : IClassFixture<ServedStore>
{
    private const string Once = "Keep it now: it is not shown again.";

    private AdminCli Cli => new(store.Coffer);

    private static int Signing(JsonElement app, string mode) =>
        app.GetProperty("signing_secrets").GetProperty(mode).GetInt32();

    [Fact]
    public async Task An_app_is_created_changed_shown_and_deleted()
    {
        var created = await Cli.JsonAsync("apps", "create", "Acme CRM", "--secrets-per-scope", "7", "--origin",
            "https://a.example", "--origin", "https://b.example");
        var app = Text(created, "id");
        Assert.StartsWith("app_", app, StringComparison.Ordinal);
        Assert.StartsWith("acct_", Text(created, "account"), StringComparison.Ordinal);
        Assert.StartsWith("absec_", Text(created, "signing_secret_test"), StringComparison.Ordinal);
        Assert.StartsWith("absec_", Text(created, "signing_secret_live"), StringComparison.Ordinal);
        Assert.Equal(("Acme CRM", 7), (Text(created, "name"), created.GetProperty("secrets_per_scope").GetInt32()));
        Assert.Equal((1, 1), (Signing(created, "test"), Signing(created, "live")));

        var shown = await Cli.JsonAsync("apps", "show", app);
        Assert.False(shown.TryGetProperty("signing_secret_test", out _));
        Assert.False(shown.TryGetProperty("signing_secret_live", out _));
        Assert.Equal(["https://a.example", "https://b.example"], Words(shown, "origins"));
        Assert.Equal("Acme 2", Text(await Cli.JsonAsync("apps", "rename", app, "Acme 2"), "name"));
        Assert.Equal(
            50,
            (await Cli.JsonAsync("apps", "set", app, "--secrets-per-scope", "50")).GetProperty("secrets_per_scope")
                .GetInt32());
        Assert.Equal(["https://c.example"],
            Words(await Cli.JsonAsync("apps", "set", app, "--origin", "https://c.example"), "origins"));
        var ruled = await Cli.JsonAsync("apps", "set", app, "--account-pattern", "acct_*", "--account-required", "yes");
        Assert.Equal(("acct_*", true),
            (Text(ruled, "account_pattern"), ruled.GetProperty("account_required").GetBoolean()));
        var back = await Cli.JsonAsync("apps", "set", app, "--secrets-per-scope", "default", "--any-origin",
            "--account-pattern", "*", "--account-required", "no");
        Assert.Equal(JsonValueKind.Null, back.GetProperty("account_pattern").ValueKind);
        Assert.False(back.GetProperty("account_required").GetBoolean());
        Assert.Equal(JsonValueKind.Null, back.GetProperty("secrets_per_scope").ValueKind);
        Assert.Empty(Words(back, "origins"));
        Assert.Equal("Acme 2", Text(back, "name"));

        Assert.Equal($"the app {app} (Acme 2) is deleted\n", await Cli.OkAsync("apps", "delete", app, "--yes"));
        (await Cli.RunAsync("apps", "show", app)).Refused(1, app, "list");
    }

    [Fact]
    public async Task A_table_has_a_line_for_each_app_and_signing_secrets_are_shown_once()
    {
        var created = await Cli.OkAsync("apps", "create", "Table");
        Assert.Matches("^ID +NAME +STATE +ACCOUNT +QUOTA +ORIGINS ", created);
        Assert.Matches(@"\n  signing secret test  absec_\w+\n  signing secret live  absec_\w+\n", created);
        Assert.EndsWith("\n\nKeep them now: they are not shown again.\n", created, StringComparison.Ordinal);
        Assert.Contains(" 1 test, 1 live ", created, StringComparison.Ordinal);
        var app = created.Split('\n')[1].Split(' ')[0];

        var table = (await Cli.OkAsync("apps", "list")).TrimEnd('\n').Split('\n');
        Assert.Single(table, line => Regex.IsMatch(line, $"^{app} +Table +enabled +acct_.* default +any "));
        var list = (await Cli.JsonAsync("apps", "list")).EnumerateArray().ToArray();
        Assert.Equal(table.Length - 1, list.Length);
        Assert.Single(list, each => Text(each, "name") == "default"); // the first start made it
        Assert.Matches($"^ID .*\n{app} +Table +disabled ", await Cli.OkAsync("apps", "disable", app));
        Assert.DoesNotContain("absec_", string.Concat(table) + await Cli.OkAsync("apps", "show", app),
            StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Firm ground", "4")]
    public async Task A_signing_secret_is_rolled_in_one_mode()
    {
        var app = await Cli.AppAsync("roll");
        var rolled = await Cli.JsonAsync("apps", "roll-signing-secret", app, "--grace", "15m");
        Assert.StartsWith("absec_", Text(rolled, "signing_secret_test"), StringComparison.Ordinal);
        Assert.False(rolled.TryGetProperty("signing_secret_live", out _));
        Assert.Equal((2, 1), (Signing(rolled, "test"), Signing(rolled, "live")));
        Assert.Equal(1, Signing(await Cli.JsonAsync("apps", "roll-signing-secret", app, "--grace", "0"), "test"));
        var live = await Cli.JsonAsync("apps", "roll-signing-secret", app, "--live", "--grace", "15m");
        Assert.StartsWith("absec_", Text(live, "signing_secret_live"), StringComparison.Ordinal);
        Assert.False(live.TryGetProperty("signing_secret_test", out _));
        Assert.Equal((1, 2), (Signing(live, "test"), Signing(live, "live")));
        Assert.Contains(Once, await Cli.OkAsync("apps", "roll-signing-secret", app, "--grace", "7d"),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_keys_of_a_disabled_app_are_refused_until_it_is_enabled()
    {
        var app = await Cli.AppAsync("switch");
        var key = await Cli.KeyAsync(app);
        (await Cli.WithKeyAsync(key, "secrets", "list")).EndedWith(0);
        Assert.True((await Cli.JsonAsync("apps", "disable", app)).GetProperty("disabled").GetBoolean());
        (await Cli.WithKeyAsync(key, "secrets", "list")).Refused(77, "");
        Assert.False((await Cli.JsonAsync("apps", "enable", app)).GetProperty("disabled").GetBoolean());
        (await Cli.WithKeyAsync(key, "secrets", "list")).EndedWith(0);
    }

    [Fact]
    public async Task Keys_of_each_type_do_what_they_may()
    {
        var app = await Cli.AppAsync("types");
        var test = await Cli.KeyAsync(app);
        var live = await Cli.KeyAsync(app, "--live");
        Assert.StartsWith("sk_test_cfr", test, StringComparison.Ordinal);
        Assert.StartsWith("sk_live_cfr", live, StringComparison.Ordinal);
        (await Cli.WithKeyAsync(live, "secrets", "set", "k", "--payload", "p")).EndedWith(0);
        (await Cli.WithKeyAsync(test, "secrets", "find", "k")).EndedWith(1);

        var reader = await Cli.KeyAsync(app, "--type", "restricted", "--live", "--permission", "secret_read");
        Assert.StartsWith("rk_live_cfr", reader, StringComparison.Ordinal);
        (await Cli.WithKeyAsync(reader, "secrets", "find", "k")).EndedWith(0);
        (await Cli.WithKeyAsync(reader, "secrets", "delete", "k")).Refused(77, "");
        var both = await Cli.KeyAsync(app, "--type", "restricted", "--permission", "secret_read", "--permission",
            "secret_write", "--account", "acct_1");
        (await Cli.WithKeyAsync(both, "secrets", "set", "k", "--payload", "p")).EndedWith(0);
        (await Cli.WithKeyAsync(test, "secrets", "find", "k", "--account", "acct_1")).EndedWith(0);
        (await Cli.WithKeyAsync(both, "secrets", "find", "k", "--account", "acct_2")).Refused(77, "");

        (await Cli.WithKeyAsync(await Cli.KeyAsync(app, "--address", "192.0.2.0/24"), "secrets",
            "list")).Refused(77, "");
        (await Cli.WithKeyAsync(await Cli.KeyAsync(app, "--address", "192.0.2.0/24", "--address", "127.0.0.0/8"),
            "secrets", "list")).EndedWith(0);

        var admin = await Cli.JsonAsync("keys", "create", "--type", "admin", "--expires-at", "2100-01-31T12:00:00Z");
        Assert.StartsWith("ak_cfr", Text(admin, "secret"), StringComparison.Ordinal);
        Assert.Equal(4105080000, admin.GetProperty("expires_at").GetInt64());
        (await Cli.RunAsync(["apps", "list"], Text(admin, "secret"))).EndedWith(0);
    }

    [Fact]
    public async Task A_key_is_shown_once_and_listed_without_itself()
    {
        var app = await Cli.AppAsync("listed");
        var created = await Cli.OkAsync("keys", "create", "--app", app, "--type", "restricted", "--permission",
            "secret_read", "--address", "192.0.2.0/24");
        Assert.Matches("^ID +TYPE +MODE +APP +PERMISSIONS +ACCOUNT +ADDRESSES +CREATED +EXPIRES +LAST USED", created);
        Assert.Matches($@"\nkey_\w+ +restricted +test +{app} +secret_read +any +192\.0\.2\.0/24 +\S+ \S+ "
            + @"+never +never *\n\n"
            + $@"  secret  rk_test_cfr\w+\n\n{Once}\n$", created);
        var second = await Cli.JsonAsync("keys", "create", "--app", app);

        var list = (await Cli.JsonAsync("keys", "list", "--app", app)).EnumerateArray().ToArray();
        Assert.Equal(2, list.Length);
        var listed = Assert.Single(list, key => Text(key, "id") == Text(second, "id"));
        var shown = await Cli.JsonAsync("keys", "show", Text(second, "id"));
        Assert.True(JsonElement.DeepEquals(listed, shown), $"{listed} and {shown}");
        Assert.False(shown.TryGetProperty("secret", out _));
        Assert.DoesNotContain("k_test_", await Cli.OkAsync("keys", "list"), StringComparison.Ordinal);
        Assert.Contains($"{Text(second, "id")} ", await Cli.OkAsync("keys", "list"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_key_is_rolled_with_grace_or_without_and_revoked()
    {
        var app = await Cli.AppAsync("rolled");
        var first = await Cli.JsonAsync("keys", "create", "--app", app);
        var second = await Cli.JsonAsync("keys", "roll", Text(first, "id"), "--grace", "1h");
        Assert.NotEqual(Text(first, "id"), Text(second, "id"));
        (await Cli.WithKeyAsync(Text(first, "secret"), "secrets", "list")).EndedWith(0);
        (await Cli.WithKeyAsync(Text(second, "secret"), "secrets", "list")).EndedWith(0);

        var third = await Cli.JsonAsync("keys", "roll", Text(second, "id"), "--grace", "0");
        (await Cli.WithKeyAsync(Text(second, "secret"), "secrets", "list")).Refused(77, "API Key", "COFFER_API_KEY");
        (await Cli.WithKeyAsync(Text(third, "secret"), "secrets", "list")).EndedWith(0);

        Assert.True((await Cli.JsonAsync("keys", "revoke", Text(third, "id"))).GetProperty("revoked").GetBoolean());
        (await Cli.WithKeyAsync(Text(third, "secret"), "secrets", "list")).Refused(77, "API Key", "COFFER_API_KEY");
        (await Cli.RunAsync("keys", "show", Text(third, "id"))).Refused(1, Text(third, "id"));
        Assert.Equal($"the key {Text(first, "id")} is revoked\n",
            await Cli.OkAsync("keys", "revoke", Text(first, "id")));
    }

    [Fact]
    public async Task An_ephemeral_key_is_minted_used_and_ended()
    {
        var key = await Cli.KeyAsync(await Cli.AppAsync("minted"));
        var minted = JsonElement.Parse((await Cli.WithKeyAsync(
            key, "keys", "mint", "--user", "usr_1", "--account", "acct_1", "--for", "15m", "--permission",
                "secret_read", "--permission", "secret_write", "--json")).EndedWith(0).Stdout);
        Assert.Equal(["id", "object", "account", "created", "expires", "livemode", "permissions", "secret", "user"],
            minted.EnumerateObject().Select(field => field.Name));
        var (id, ephemeral) = (Text(minted, "id"), Text(minted, "secret"));
        Assert.StartsWith("ephkey_", id, StringComparison.Ordinal);
        Assert.StartsWith("ek_test_", ephemeral, StringComparison.Ordinal);
        Assert.Equal(900, minted.GetProperty("expires").GetInt64() - minted.GetProperty("created").GetInt64());
        (await Cli.WithKeyAsync(ephemeral, "secrets", "set", "k", "--payload", "p", "--user", "usr_1")).EndedWith(0);
        (await Cli.WithKeyAsync(key, "secrets", "find", "k", "--account", "acct_1", "--user", "usr_1")).EndedWith(0);

        Assert.Equal($"the ephemeral key {id} is expired\n",
            (await Cli.WithKeyAsync(key, "keys", "expire", id, "--account", "acct_1")).EndedWith(0).Stdout);
        (await Cli.WithKeyAsync(ephemeral, "secrets", "find", "k", "--user", "usr_1")).Refused(77, "");

        var table = (await Cli.WithKeyAsync(key, "keys", "mint", "--user", "usr_1", "--account", "acct_1",
            "--permission", "secret_read")).EndedWith(0).Stdout;
        Assert.Matches(@"^ID +MODE +ACCOUNT +USER +PERMISSIONS +EXPIRES *\n"
            + $@"ephkey_\w+ +test +acct_1 +usr_1 +secret_read +\S+ \S+ *\n\n  secret  ek_test_\S+\n\n{Once}\n$", table);
    }

    [Fact]
    public async Task Accounts_are_listed_exported_page_by_page_and_forgotten()
    {
        var app = await Cli.AppAsync("accounts");
        await Cli.OkAsync("apps", "set", app, "--secrets-per-scope", "200");
        var (test, live) = (await Cli.KeyAsync(app), await Cli.KeyAsync(app, "--live"));
        using (var many = new WireClient(store.Coffer.Url, test, "acct_many"))
        {
            for (var number = 0; number < 103; number++)
                (await many.SetAsync($"n{number}", $"payload {number} é")).Is(200);
        }

        await FillAsync(live, "acct_many", "live", "of live mode");
        await FillAsync(test, "acct_other", "k", "p");

        var list = (await Cli.JsonAsync("accounts", "list", "--app", app)).EnumerateArray().ToArray();
        Assert.Equal(["acct_many 1 103", "acct_other 0 1"], list.Select(Counts));
        Assert.Matches(@"^ACCOUNT +LIVE SECRETS +TEST SECRETS +CREATED *\nacct_many +1 +103 .*\nacct_other +0 +1 ",
            await Cli.OkAsync("accounts", "list", "--app", app));

        var exported = await Cli.LinesAsync("accounts", "export", "acct_many", "--app", app, "--reason", "a request");
        Assert.Equal(
            Enumerable.Range(0, 103).Select(number => $"n{number}=payload {number} é").Order(StringComparer.Ordinal),
            exported.Select(
                secret => $"{Text(secret, "name")}={Text(secret, "payload")}").Order(StringComparer.Ordinal));
        Assert.Equal(
            "of live mode",
            Text(
                Assert.Single(
                    await Cli.LinesAsync("accounts", "export", "acct_many", "--app", app, "--reason", "a request",
                        "--live")),
                "payload"));
        Assert.Empty(await Cli.OkAsync("accounts", "export", "acct_none", "--app", app, "--reason", "a request"));
        Assert.Equal(102,
            (await Cli.LinesAsync("audit", "list", "--app", app, "--verb", "set", "--limit", "102", "--json")).Count);

        var forgotten = await Cli.JsonAsync("accounts", "forget", "acct_many", "--app", app, "--yes");
        Assert.Equal(("account.forgotten", "acct_many", app),
            (Text(forgotten, "object"), Text(forgotten, "account"), Text(forgotten, "app")));
        Assert.Equal("""{"live":1,"test":103}""", JsonSerializer.Serialize(forgotten.GetProperty("secrets")));
        Assert.Equal(3, Text(forgotten, "receipt").Split('.').Length);
        (await Cli.WithKeyAsync(test, "secrets", "find", "n1", "--account", "acct_many")).EndedWith(1);
        (await Cli.WithKeyAsync(test, "secrets", "find", "k", "--account", "acct_other")).EndedWith(0);
        Assert.Matches(
            @"^ACCOUNT +APP +LIVE SECRETS +TEST SECRETS +FORGOTTEN +RECEIPT *\nacct_many +"
                + @$"{app} +0 +0 +\S+ \S+ +rcpt_\w+ *\n\nThe receipt, for the person who asked:\n\n  [\w.-]+\n$",
            await Cli.OkAsync("accounts", "forget", "acct_many", "--app", app, "--yes"));
    }

    [Fact]
    [Trait("Keys", "S27")]
    public async Task Installs_are_created_listed_and_removed_as_the_app_is_set_to()
    {
        var app = await Cli.AppAsync("installs");
        var set = await Cli.JsonAsync("apps", "set", app, "--installs", "explicit", "--uninstall", "no");
        Assert.Equal(("explicit", true), (Text(set, "installs"), set.GetProperty("uninstall_disabled").GetBoolean()));
        var key = await Cli.KeyAsync(app);
        (await Cli.WithKeyAsync(key, "secrets", "find", "k", "--account", "acct_1"))
            .Refused(77, "not installed in this account");
        var id = Text(await Cli.JsonAsync("installs", "create", "acct_1", "--app", app), "id");
        await FillAsync(key, "acct_1", "k", "p");
        Assert.Matches($@"^INSTALL +ACCOUNT +MODE +STATUS +CHANNEL +CREATED *\n{id} +acct_1 +test +installed +public ",
            await Cli.OkAsync("installs", "list", "--app", app, "--account", "acct_1"));
        Assert.Empty((await Cli.JsonAsync("installs", "list", "--app", app, "--live")).EnumerateArray());
        (await Cli.RunAsync("installs", "uninstall", id, "--app", app)).Refused(64, "cannot be undone", "--yes");
        var gone = await Cli.JsonAsync("installs", "uninstall", id, "--app", app, "--yes");
        Assert.Equal((id, "uninstalling"), (Text(gone, "id"), Text(gone, "status")));
        var receipt = await Cli.JsonAsync("receipt", "show", Text(gone, "receipt_id"));
        Assert.Equal((id, "acct_1"), (Text(receipt, "install"), Text(receipt, "account")));
        (await Cli.WithKeyAsync(key, "secrets", "find", "k", "--account", "acct_1"))
            .Refused(77, "not installed in this account");
        await Cli.OkAsync("keys", "create", "--app", app, "--type", "restricted", "--permission", "app_install_read",
            "--permission", "app_install_write");
    }

    [Fact]
    public async Task An_app_with_accounts_is_deleted_once_they_are_forgotten()
    {
        var app = await Cli.AppAsync("full");
        var key = await Cli.KeyAsync(app);
        await FillAsync(key, "acct_1", "k", "p");
        await FillAsync(key, "acct_2", "k", "p");
        (await Cli.RunAsync("apps", "delete", app, "--yes")).Refused(65, "");
        Assert.Equal($"2 accounts forgotten; the app {app} (full) is deleted\n",
            await Cli.OkAsync("apps", "delete", app, "--forget-accounts", "--yes"));
        (await Cli.WithKeyAsync(key, "secrets", "list")).Refused(77, "API Key");

        var empty = await Cli.AppAsync("empty");
        Assert.True(
            (await Cli.JsonAsync("apps", "delete", empty, "--forget-accounts", "--yes")).GetProperty("deleted")
                .GetBoolean());
    }

    [Fact]
    public async Task What_cannot_be_undone_is_asked_about_at_a_terminal_and_needs_yes_without_one()
    {
        var app = await Cli.AppAsync("asked");
        var key = await Cli.KeyAsync(app);
        await FillAsync(key, "acct_1", "k", "p");
        string[] forget = ["accounts", "forget", "acct_1", "--app", app], delete = ["apps", "delete", app,
            "--forget-accounts"];
        (await Cli.RunAsync(forget)).Refused(64, "cannot be undone", "--yes");
        (await Cli.RunAsync(delete)).Refused(64, "cannot be undone", "--yes");
        foreach (var answer in (string[])["n\n", "\n", "maybe\n"])
            Assert.Contains("not confirmed", (await Cli.AtTerminalAsync(answer, forget)).EndedWith(64).Stdout,
                StringComparison.Ordinal);
        Assert.Contains("(asked) with its keys, and forget 1 account with",
            (await Cli.AtTerminalAsync("n\n", delete)).EndedWith(64).Stdout, StringComparison.Ordinal);
        (await Cli.WithKeyAsync(key, "secrets", "find", "k", "--account", "acct_1")).EndedWith(0);

        Assert.Contains("The receipt", (await Cli.AtTerminalAsync("y\n", forget)).EndedWith(0).Stdout,
            StringComparison.Ordinal);
        Assert.Contains("is deleted", (await Cli.AtTerminalAsync("y\n", delete)).EndedWith(0).Stdout,
            StringComparison.Ordinal);
        (await Cli.RunAsync("apps", "show", app)).Refused(1, app);
    }

    [Fact]
    public async Task Secrets_are_searched_without_payload_and_revealed_with_a_reason()
    {
        var app = await Cli.AppAsync("searched");
        var (test, live) = (await Cli.KeyAsync(app), await Cli.KeyAsync(app, "--live"));
        (await Cli.WithKeyAsync(test, "secrets", "set", "soon", "--payload", "the payload é", "--account", "acct_1",
            "--expires-at", "2100-01-31")).EndedWith(0);
        (await Cli.WithKeyAsync(live, "secrets", "set", "late", "--payload", "p", "--account", "acct_2", "--user",
            "usr_1", "--expires-at", "2100-03-31")).EndedWith(0);
        (await Cli.WithKeyAsync(test, "secrets", "set", "never", "--payload", "p", "--account", "acct_2")).EndedWith(0);

        Assert.Equal(["late", "never", "soon"], await FoundAsync());
        Assert.Equal(["late", "never"], await FoundAsync("--account", "acct_2"));
        Assert.Equal(["late"], await FoundAsync("--live"));
        Assert.Equal(["never", "soon"], await FoundAsync("--test"));
        Assert.Equal(["soon"], await FoundAsync("--expiring-before", "2100-02-01"));
        Assert.Equal(["late", "soon"], await FoundAsync("--expiring-before", "2100-04-01"));
        Assert.Empty(await FoundAsync("--account", "acct_3"));

        var table = await Cli.OkAsync("secrets", "search", "--app", app, "--live");
        Assert.Matches(@"^NAME +SCOPE +MODE +CREATED +EXPIRES +ID +VERSION +APP +ACCOUNT *\n"
            + $@"late +user usr_1 +live .* 2100-03-31 00:00:00Z +appsecret_\w+ +1 +{app} +acct_2 *\n$", table);

        var found = (await Cli.JsonAsync("secrets", "search", "--app", app, "--account", "acct_1"))[0];
        Assert.False(found.TryGetProperty("payload", out _));
        string[] reveal = ["secrets", "reveal", Text(found, "id"), "--app", app, "--account", "acct_1", "--reason",
            "ticket 4711"];
        Assert.Equal("the payload é", Text(await Cli.JsonAsync(reveal), "payload"));
        Assert.Equal("the payload é", await Cli.OkAsync([.. reveal, "--raw"]));
        Assert.Matches(@"^NAME .* PAYLOAD *\nsoon .* the payload é *\n$", await Cli.OkAsync(reveal));
        (await Cli.RunAsync("secrets", "reveal", Text(found, "id"), "--app", app, "--account", "acct_2", "--reason",
            "ticket 4711")).Refused(1, Text(found, "id"));
        var entries = await Cli.LinesAsync("audit", "list", "--app", app, "--verb", "reveal", "--outcome", "ok",
            "--json");
        Assert.Equal(3, entries.Count);
        Assert.All(entries, entry => Assert.Contains("ticket 4711", $"{entry}", StringComparison.Ordinal));

        async Task<IEnumerable<string>> FoundAsync(params string[] filter) =>
            (await Cli.JsonAsync(["secrets", "search", "--app", app, .. filter])).EnumerateArray()
                .Select(secret => Text(secret, "name")).Order(StringComparer.Ordinal);
    }

    [Fact]
    public async Task What_would_steer_a_terminal_is_written_out()
    {
        var app = await Cli.AppAsync("steered");
        await FillAsync(await Cli.KeyAsync(app), "acct_1", "\e[31mred", "\e]0;title\a");
        var found = (await Cli.JsonAsync("secrets", "search", "--app", app))[0];
        var shown = await Cli.OkAsync("secrets", "search", "--app", app)
            + await Cli.OkAsync("secrets", "reveal", Text(found, "id"), "--app", app, "--account", "acct_1", "--reason",
                "r")
            + await Cli.OkAsync("accounts", "export", "acct_1", "--app", app, "--reason", "r");
        Assert.Contains(@"\u001b[31mred", shown, StringComparison.Ordinal);
        Assert.Contains(@"\u001b]0;title\u0007", shown, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', shown);
        Assert.DoesNotContain('\a', shown);
    }

    [Fact]
    public async Task The_audit_log_is_listed_from_the_server_as_from_its_directory()
    {
        using var data = new TemporaryDirectory();
        await using var coffer = await CofferProcess.ServeAsync(data);
        var cli = new AdminCli(coffer);
        using (var clients = new AccountClients(coffer.Url, coffer.TestKey))
        {
            for (var number = 0; number < 3; number++)
                (await clients[$"acct_{number % 2}"].SetAsync($"n{number}", "p")).Is(200);
        }

        string[] sets = ["audit", "list", "--verb", "set", "--outcome", "ok"];
        var asked = await cli.LinesAsync([.. sets, "--json"]);
        var read = await AuditVerb.ListAsync(data, sets[2..]);
        Assert.Equal(3, asked.Count);
        Assert.All(asked, entry => Assert.Equal("audit_entry", Text(entry, "object")));
        foreach (var field in (string[])["time", "verb", "outcome", "request", "remote", "key", "app", "account",
            "scope", "name"])
            Assert.Equal(read.Select(entry => Text(entry, field)), asked.Select(entry => Text(entry, field)));

        Assert.Equal(2, (await cli.LinesAsync([.. sets, "--json", "--account", "acct_0"])).Count);
        Assert.Equal(Text(asked[0], "request"),
            Text(Assert.Single(await cli.LinesAsync([.. sets, "--json", "--limit", "1"])), "request"));
        Assert.Empty(await cli.OkAsync([.. sets, "--json", "--until", "2001-01-01T00:00:00Z"]));
        Assert.Equal(3, (await cli.LinesAsync([.. sets, "--json", "--since", "2001-01-01T00:00:00Z"])).Count);
        var table = (await cli.OkAsync(sets)).TrimEnd('\n').Split('\n');
        Assert.Equal(1 + 3, table.Length);
        Assert.Matches("^SEQ +TIME +VERB +OUTCOME +ACCOUNT", table[0]);
        Assert.Contains(" acct_0 ", table[1], StringComparison.Ordinal);
    }

    private static IEnumerable<string?> Words(JsonElement json, string field) =>
        json.GetProperty(field).EnumerateArray().Select(word => word.GetString());

    private static string Counts(JsonElement account) =>
        string.Join(' ', Text(account, "id"), account.GetProperty("secrets").GetProperty("live"),
            account.GetProperty("secrets").GetProperty("test"));

    private async Task FillAsync(string key, string account, string name, string payload)
    {
        using var client = new WireClient(store.Coffer.Url, key, account);
        (await client.SetAsync(name, payload)).Is(200);
    }
}
