using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer apps create|list|show|rename|set|disable|enable|delete|roll-signing-secret</c>, on the management plane.
/// </summary>
internal static class AppsVerb
{
    private static readonly Listing Apps = new(
        ("ID", Listing.Text("id")),
        ("NAME", Listing.Text("name")),
        ("STATE", State),
        ("ACCOUNT", Listing.Text("account")),
        ("QUOTA", Listing.Text("secrets_per_scope", "default")),
        ("ORIGINS", Listing.Text("origins", "any")),
        ("SIGNING SECRETS", Secrets),
        ("CREATED", Listing.Time("created")));

    private static readonly string[] SigningSecrets = ["signing_secret_test", "signing_secret_live"];

    public static Command Command() =>
        new("apps", "Create, change and delete apps on a running server. The admin key is read from COFFER_ADMIN_KEY.")
    {
        Create(), List(), Show(), Rename(), Set(), Switch("disable", "Refuse every key of an app; nothing is deleted.",
            "true"),
        Switch("enable", "Accept the keys of an app again.", "false"), Delete(), RollSigningSecret(),
    };

    private static Command Create()
    {
        var (name, quota, origins) = (NameArgument(), QuotaOption("N"), OriginsOption());
        var command = new Command("create",
            "Create an app. Its signing secrets, one for each mode, are shown once. " +
            "Create keys for it with: coffer keys create.\n\n" +
            "Example: coffer apps create \"Acme CRM\" --origin https://app.example.com")
        { name, quota, origins };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var created = await admin.ChangeAsync("apps",
            [
                ("name", parsed.GetValue(name)), ("secrets_per_scope", parsed.GetValue(quota)),
                .. Parameters.Elements("origins", parsed.GetValue(origins)),
            ], ct);
            Apps.Print(parsed, created, SigningSecrets);
            return ExitCode.Ok;
        });
    }

    private static Command List() =>
        Connection.OnAdmin(new Command("list",
            "Show all apps, newest first.\n\nExample: coffer apps list"), async (admin, parsed, ct) =>
    {
        Apps.Print(parsed, await admin.ListAsync("apps", ct: ct).ToListAsync(ct));
        return ExitCode.Ok;
    });

    private static Command Show()
    {
        var app = AppArgument();
        return Connection.OnAdmin(new Command(
            "show",
            "Show one app. The exit code is 1 if there is none.\n\nExample: coffer apps show "
                + "app_1") { app }, async (admin, parsed, ct) =>
        {
            Apps.Print(parsed, await admin.FindAsync($"apps/{parsed.GetValue(app)}", ct));
            return ExitCode.Ok;
        });
    }

    private static Command Rename()
    {
        var (app, name) = (AppArgument(), NameArgument());
        return Change(
            new Command("rename",
                "Give an app another name.\n\nExample: coffer apps rename app_1 \"Acme CRM 2\"") { app, name },
            app, parsed => [("name", parsed.GetValue(name))]);
    }

    private static Command Set()
    {
        var (app, quota, origins) = (AppArgument(), QuotaOption("N|default"), OriginsOption());
        var any = new Option<bool>("--any-origin")
        {
            Description = "Accept the app's keys from pages of any origin again.",
        };
        var (pattern, required, events) = (PatternOption(), RequiredOption(), EventsOption());
        var (installs, uninstall) = (InstallsOption(), UninstallOption());
        var command = new Command("set",
            "Change the quota of an app, the accounts that its requests may name, whether events of it are kept, how "
                + "it is installed, or the web origins from which its keys are accepted: the given origins replace all "
                + "earlier ones.\n\n" +
            "Example: coffer apps set app_1 --account-pattern \"acct_*\" --account-required yes")
        { app, quota, origins, any, pattern, required, events, installs, uninstall };
        command.Validators.Add(parsed =>
        {
            if (((Option[])[quota, origins, pattern, required, events, installs, uninstall])
                .All(option => parsed.GetResult(option) is null) && !parsed.GetValue(any))
                parsed.AddError("Give --secrets-per-scope, --origin, --any-origin, --account-pattern, "
                    + "--account-required, --events, --installs or --uninstall");
            else if (parsed.GetResult(origins) is not null && parsed.GetValue(any))
                parsed.AddError("Give --origin or --any-origin, not both");
        });
        return Change(command, app, parsed =>
        [
            ("secrets_per_scope", parsed.GetValue(quota) is "default" ? "" : parsed.GetValue(quota)),
            ("origins", parsed.GetValue(any) ? "" : null), // an empty value clears
            .. Parameters.Elements("origins", parsed.GetValue(origins)),
            ("account_pattern", parsed.GetValue(pattern) is "*" ? "" : parsed.GetValue(pattern)),
            ("account_required", Parameters.Boolean(parsed.GetValue(required))),
            ("events", Parameters.Boolean(parsed.GetValue(events))),
            ("installs", parsed.GetValue(installs)),
            ("uninstall_disabled", parsed.GetValue(uninstall) switch { null => null, "no" => "true", _ => "false" }),
        ]);
    }

    private static Command Switch(string name, string description, string disabled)
    {
        var app = AppArgument();
        return Change(new Command(name, $"{description}\n\nExample: coffer apps {name} app_1") { app }, app,
            _ => [("disabled", disabled)]);
    }

    private static Command Delete()
    {
        var app = AppArgument();
        var forget = new Option<bool>("--forget-accounts")
        {
            Description =
                "Forget all its accounts first. This prints no receipts: use coffer accounts forget to get them.",
        };
        var command = new Command("delete",
            "Delete an app and revoke its keys. Its accounts must be forgotten before that, or with "
                + "--forget-accounts. The exit code is 1 if there is none.\n\n" +
            "Example: coffer apps delete app_1 --forget-accounts")
        { app, forget, Parameters.Yes };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var path = $"apps/{parsed.GetValue(app)}";
            var name = Listing.Text("name")(await admin.FindAsync(path, ct));
            List<JsonElement> accounts = parsed.GetValue(forget)
                ? await admin.ListAsync($"{path}/accounts", ct: ct).ToListAsync(ct)
                : [];
            var more = parsed.GetValue(forget)
                ? $", and forget {Count(accounts.Count, "account")} with all secrets"
                : "";
            if (!Terminal.Confirmed(parsed.GetValue(Parameters.Yes),
                $"Delete the app {parsed.GetValue(app)} ({name}) with its keys{more}?"))
                return ExitCode.Usage;
            foreach (var account in accounts)
                await admin.ChangeAsync($"{path}/accounts/{account.GetProperty("id").GetString()}/forget", ct: ct);
            var deleted = await admin.DeleteAsync(path, ct);
            if (parsed.GetValue(Parameters.Json))
                Terminal.WriteJson(deleted);
            else
            {
                var forgotten = parsed.GetValue(forget) ? $"{Count(accounts.Count, "account")} forgotten; " : "";
                Console.WriteLine($"{forgotten}the app {parsed.GetValue(app)} ({Terminal.Shown(name)}) is deleted");
            }

            return ExitCode.Ok;
        });
    }

    private static Command RollSigningSecret()
    {
        var app = AppArgument();
        var live = new Option<bool>("--live")
        {
            Description = "Roll the secret of live mode; the default is test mode.",
        };
        var grace = Parameters.Duration("--grace", "How long the old secret signs too, at most 7d", required: true);
        var command = new Command("roll-signing-secret",
            "Create a new signing secret for one mode, and show it once. The other mode keeps its own.\n\n" +
            "Example: coffer apps roll-signing-secret app_1 --live --grace 24h")
        { app, live, grace };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var path = $"apps/{parsed.GetValue(app)}/signing_secret/roll";
            var livemode = parsed.GetValue(live) ? "true" : "false";
            var rolled = await admin.ChangeAsync(path,
                [("grace_period", Parameters.Seconds(parsed.GetValue(grace))), ("livemode", livemode)], ct);
            Apps.Print(parsed, rolled, SigningSecrets);
            return ExitCode.Ok;
        });
    }

    private static string State(JsonElement app) => (Listing.Text("damaged")(app), Listing.Text("disabled")(app)) switch
    {
        ("true", _) => "damaged",
        (_, "true") => "disabled",
        _ => "enabled",
    };

    private static string Secrets(JsonElement app) => app.TryGetProperty("signing_secrets", out var counts)
        ? $"{Listing.Text("test")(counts)} test, {Listing.Text("live")(counts)} live"
        : "";

    private static Command Change(Command command, Argument<string> app,
        Func<ParseResult, IEnumerable<(string Name, string? Value)>> fields) =>
        Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            Apps.Print(parsed, await admin.ChangeAsync($"apps/{parsed.GetValue(app)}", fields(parsed), ct));
            return ExitCode.Ok;
        });

    private static Argument<string> AppArgument() => Parameters.IdArgument("app", "APP", "The app's id, app_….");

    private static Argument<string> NameArgument() =>
        new("name")
        {
            Description = "A name for people, 1 to 200 characters; it need not be unique.",
            HelpName = "NAME",
        };

    private static Option<string?> QuotaOption(string help)
    {
        var quota = new Option<string?>("--secrets-per-scope")
        {
            Description =
                $"How many secrets a scope may hold, 1 to {CofferOptions.MostSecretsPerScope}; the default is the "
                    + "server's setting.",
            HelpName = help,
        };
        quota.Validators.Add(result =>
        {
            if (result.Tokens is [var token]
                && !int.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out _)
                    && !(token.Value == "default" && help != "N"))
                result.AddError($"--secrets-per-scope '{token.Value}' is not a number");
        });
        return quota;
    }

    private static Option<string?> PatternOption() => new("--account-pattern")
    {
        Description = "What the accounts that requests name look like, such as acct_*: each * is any number of "
            + "letters, digits, _ and -. Others are refused; * alone is any account.",
        HelpName = "PATTERN",
    };

    private static Option<string?> RequiredOption() => Parameters.YesOrNo("--account-required",
        "Whether requests have to name an account: with yes one that forgets it is refused, and stores nothing in the "
            + "app's own account.");

    private static Option<string?> InstallsOption()
    {
        var installs = new Option<string?>("--installs")
        {
            Description = "Whether the app is installed in an account by the first secret that is stored there, or has "
                + "to be installed first.",
            HelpName = "implicit|explicit",
        };
        return installs.AcceptOnlyFromAmong("implicit", "explicit");
    }

    private static Option<string?> UninstallOption() => Parameters.YesOrNo("--uninstall",
        "Whether the app's own secret keys may uninstall it, which destroys an account's secrets.");

    private static Option<string?> EventsOption() => Parameters.YesOrNo("--events",
        "Whether what happens to its secrets, keys and accounts is kept as events, for 30 days.");

    private static Option<string[]> OriginsOption() => new("--origin")
    {
        Description =
            "A web origin whose pages may use the app's keys, such as https://app.example.com. May be given several "
                + "times; the default is any origin.",
        HelpName = "URL",
    };

    private static string Count(int number, string what) => $"{number} {what}{(number == 1 ? "" : "s")}";
}
