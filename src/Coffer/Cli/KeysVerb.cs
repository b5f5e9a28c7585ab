using System.CommandLine;
using System.Text.Json;
using Coffer.Client;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer keys create|list|show|roll|revoke</c>, on the management plane; <c>mint|expire</c>, for ephemeral keys, with a
/// key of the app.
/// </summary>
internal static class KeysVerb
{
    private static readonly Listing Keys = new(
        ("ID", Listing.Text("id")),
        ("TYPE", key => Listing.Text("damaged")(key) == "true" ? "(damaged)" : Listing.Text("type")(key)),
        ("MODE", Listing.Mode),
        ("APP", Listing.Text("app")),
        ("PERMISSIONS", Listing.Text("permissions", "all")),
        ("ACCOUNT", Listing.Text("account", "any")),
        ("ADDRESSES", Listing.Text("addresses", "any")),
        ("CREATED", Listing.Time("created")),
        ("EXPIRES", Listing.Time("expires_at")),
        ("LAST USED", Listing.Time("last_used")));

    private static readonly Listing EphemeralKeys = new(
        ("ID", Listing.Text("id")),
        ("MODE", Listing.Mode),
        ("ACCOUNT", Listing.Text("account")),
        ("USER", Listing.Text("user")),
        ("PERMISSIONS", Listing.Text("permissions")),
        ("EXPIRES", Listing.Time("expires")));

    public static Command Command() => new("keys", "Make, list, roll and revoke API keys on a running server, with the admin key in COFFER_ADMIN_KEY. Mint ephemeral keys with the one in COFFER_API_KEY.")
    {
        Create(), List(), Show(), Roll(), Revoke(), Mint(), Expire(),
    };

    private static Command Create()
    {
        var app = Parameters.Id("--app", "APP", "The app that it is for. An admin key has none.");
        var type = new Option<string>("--type") { Description = "What it may do.", DefaultValueFactory = _ => "secret" };
        type.AcceptOnlyFromAmong("secret", "restricted", "admin");
        var live = new Option<bool>("--live") { Description = "A key for live mode; without it, for test mode." };
        var permissions = PermissionsOption();
        var account = Parameters.Id("--account", "ACCT", "Pin a restricted key to this account.");
        var addresses = new Option<string[]>("--address") { Description = "A network from which it is taken, such as 192.0.2.0/24; may be given several times. None is any.", HelpName = "CIDR" };
        var expires = Parameters.Time("--expires-at", "From when it is refused");
        var command = new Command("create",
            "Make a key. It is shown once.\n\nExample: coffer keys create --app app_1 --type restricted --live --permission secret_read --address 192.0.2.0/24")
        { app, type, live, permissions, account, addresses, expires };
        command.Validators.Add(parsed =>
        {
            // Another type is refused by itself, and that is the error to report.
            if (parsed.GetValue(app) is null && parsed.GetValue(type) is null or "secret" or "restricted")
                parsed.AddError("Give --app, or --type admin");
        });
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var key = await admin.ChangeAsync("api_keys",
            [
                ("type", parsed.GetValue(type)), ("app", parsed.GetValue(app)), ("livemode", parsed.GetValue(live) ? "true" : null), ("account", parsed.GetValue(account)),
                ("expires_at", Parameters.UnixSeconds(parsed.GetValue(expires))),
                .. Parameters.Elements("permissions", parsed.GetValue(permissions)), .. Parameters.Elements("addresses", parsed.GetValue(addresses)),
            ], ct);
            Keys.Print(parsed, key, shownOnce: "secret");
            return ExitCode.Ok;
        });
    }

    private static Command List()
    {
        var app = Parameters.Id("--app", "APP", "Only keys of this app.");
        return Connection.OnAdmin(new Command("list", "Show keys, never the keys themselves, newest first.\n\nExample: coffer keys list --app app_1") { app }, async (admin, parsed, ct) =>
        {
            Keys.Print(parsed, await admin.ListAsync("api_keys", [("app", parsed.GetValue(app))], ct).ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Show()
    {
        var key = KeyArgument();
        return Connection.OnAdmin(new Command("show", "Show one key, never the key itself. Ends with 1 if there is none.\n\nExample: coffer keys show key_1") { key }, async (admin, parsed, ct) =>
        {
            Keys.Print(parsed, await admin.FindAsync($"api_keys/{parsed.GetValue(key)}", ct));
            return ExitCode.Ok;
        });
    }

    private static Command Roll()
    {
        var key = KeyArgument();
        var grace = Parameters.Duration("--grace", "How long the old one is taken too, at most 7d; 0 if it may have leaked", required: true);
        var command = new Command("roll", "Make a key that may do what this one may, and show it once. Ends with 1 if there is none.\n\nExample: coffer keys roll key_1 --grace 24h") { key, grace };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            Keys.Print(parsed, await admin.ChangeAsync($"api_keys/{parsed.GetValue(key)}/roll", [("grace_period", Parameters.Seconds(parsed.GetValue(grace)))], ct), shownOnce: "secret");
            return ExitCode.Ok;
        });
    }

    private static Command Revoke()
    {
        var key = KeyArgument();
        key.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && token.Value.StartsWith("ephkey_", StringComparison.Ordinal))
                result.AddError($"{token.Value} is an ephemeral key: end it with coffer keys expire");
        });
        return Connection.OnAdmin(new Command("revoke", "Make a key worthless now, and every ephemeral key that it minted. Ends with 1 if there is none.\n\nExample: coffer keys revoke key_1") { key }, async (admin, parsed, ct) =>
        {
            var revoked = await admin.ChangeAsync($"api_keys/{parsed.GetValue(key)}/revoke", ct: ct);
            if (parsed.GetValue(Parameters.Json))
                Terminal.WriteJson(revoked);
            else
                Console.WriteLine($"the key {parsed.GetValue(key)} is revoked");
            return ExitCode.Ok;
        });
    }

    private static Command Mint()
    {
        var user = new Option<string>("--user") { Description = "The user whom it stands for.", HelpName = "USR", Required = true };
        var account = AccountOption();
        var life = Parameters.Duration("--for", "How long it is taken, 1m to 24h; 1h if it is left out");
        var permissions = PermissionsOption();
        var command = new Command("mint",
            "Mint an ephemeral key for one user, to be given to that user's browser. It is shown once. The key in COFFER_API_KEY mints it.\n\n" +
            "Example: coffer keys mint --user usr_1 --account acct_1 --for 15m")
        { user, account, life, permissions, Connection.Url, Parameters.Json };
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connection.Client(parsed, parsed.GetValue(account));
            var minted = await client.MintAsync(parsed.GetRequiredValue(user), parsed.GetValue(life), parsed.GetValue(permissions), ct);
            EphemeralKeys.Print(parsed, Shape(minted), shownOnce: "secret");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Expire()
    {
        var key = Parameters.IdArgument("key", "EPHKEY_ID", "The ephemeral key's id, ephkey_….");
        var account = AccountOption();
        var command = new Command("expire",
            "End an ephemeral key before its time, with the key in COFFER_API_KEY. Ends with 1 if there is none.\n\nExample: coffer keys expire ephkey_1 --account acct_1")
        { key, account, Connection.Url };
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connection.Client(parsed, parsed.GetValue(account));
            var id = parsed.GetRequiredValue(key);
            if (!await client.ExpireAsync(id, ct))
                return new Failure(ExitCode.Absent, $"no such ephemeral key: '{id}'", "Check the id, --account and the mode of the key; or it has expired already.").Report();
            Console.WriteLine($"the ephemeral key {id} is expired");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Argument<string> KeyArgument() => Parameters.IdArgument("key", "KEY_ID", "The key's id, key_…; not the key itself.");

    private static Option<string?> AccountOption() => Parameters.Id("--account", "ACCT", "The account to act in; the app's own if it is left out.");

    private static Option<string[]> PermissionsOption()
    {
        var permissions = new Option<string[]>("--permission") { Description = "What it may do: find and list, or set and delete; may be given twice." };
        permissions.AcceptOnlyFromAmong("secret_read", "secret_write");
        return permissions;
    }

    // The fields of the API, under its names.
    private static JsonElement Shape(EphemeralKey key) => JsonSerializer.SerializeToElement(new Dictionary<string, object>
    {
        ["id"] = key.Id,
        ["object"] = "ephemeral_key",
        ["account"] = key.Account,
        ["created"] = key.Created.ToUnixTimeSeconds(),
        ["expires"] = key.ExpiresSeconds,
        ["livemode"] = key.Livemode,
        ["permissions"] = key.Permissions,
        ["secret"] = key.Secret,
        ["user"] = key.User,
    });
}
