using System.CommandLine;
using System.Text.Json;
using Coffer.Client;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer keys create|list|show|roll|revoke</c>, on the management plane; <c>mint|expire</c>, for ephemeral keys,
/// with a key of the app.
/// </summary>
internal static class KeysVerb
{
    private static readonly Listing Keys = new(
        ("ID", Listing.Text("id")),
        ("TYPE", key => Listing.Text("damaged")(key) == "true" ? "(damaged)" : Listing.Text("type")(key)),
        ("MODE", Listing.Mode),
        ("APP", key => Listing.Text("app")(key) is { Length: > 0 } app ? app : Listing.Text("apps")(key)),
        ("PERMISSIONS", key => Listing.Text("role", Listing.Text("permissions", "all")(key))(key)),
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

    /// <summary>Shows API keys as a server lists them.</summary>
    public static void Print(ParseResult parsed, IReadOnlyList<JsonElement> keys) => Keys.Print(parsed, keys);

    public static Command Command() =>
        new(
            "keys",
            "Create, list, roll and revoke API keys on a running server; the admin key is read from "
                + "COFFER_ADMIN_KEY. Mint and expire ephemeral keys; the app's key is read from COFFER_API_KEY.")
    {
        Create(), List(), Show(), Roll(), Revoke(), Mint(), Expire(),
    };

    private static Command Create()
    {
        var app = Parameters.Id("--app", "APP", "The app that the key is for. An admin key has none.");
        var type = new Option<string>("--type")
        {
            Description = "The type of the key.",
            DefaultValueFactory = _ => "secret",
        };
        type.AcceptOnlyFromAmong("secret", "restricted", "admin");
        var live = new Option<bool>("--live") { Description = "Create a key for live mode; the default is test mode." };
        var permissions = PermissionsOption("What a restricted key may do: find and list, or set and delete; list "
            + "installs, or create them. May be given several times.", "app_install_read", "app_install_write");
        var account = Parameters.Id("--account", "ACCT", "Pin a restricted key to this account.");
        var addresses = new Option<string[]>("--address")
        {
            Description =
                "A network from which the key is accepted, such as 192.0.2.0/24. May be given several times; the "
                    + "default is any address.",
            HelpName = "CIDR",
        };
        var expires = Parameters.Time("--expires-at", "When the key expires");
        var role = new Option<string?>("--role")
        {
            Description = "What an admin key may do: look, manage apps and their keys, or everything. The default is "
                + "owner.",
        };
        role.AcceptOnlyFromAmong("viewer", "operator", "owner");
        var apps = new Option<string[]>("--apps")
        {
            Description = "An app that an admin key of a viewer or operator is held to. May be given several times; "
                + "the default is all apps.",
            HelpName = "APP",
        };
        var command = new Command("create",
            "Create a key and show it once.\n\nExample: coffer keys create --app app_1 --type restricted --live "
                + "--permission secret_read --address 192.0.2.0/24")
        { app, type, live, permissions, account, addresses, expires, role, apps };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(OfflineKeyVerb.Offline) && parsed.GetValue(type) is not "admin")
                parsed.AddError("Give --type admin with --offline");
            // Another type is refused by itself, and that is the error to report.
            if (parsed.GetValue(app) is null && parsed.GetValue(type) is null or "secret" or "restricted"
                && !parsed.GetValue(OfflineKeyVerb.Offline))
                parsed.AddError("Give --app, or --type admin");
        });
        OfflineKeyVerb.AddTo(command, app, live, permissions, account, addresses, role, apps);
        Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var key = await admin.ChangeAsync("api_keys",
            [
                ("type", parsed.GetValue(type)), ("app", parsed.GetValue(app)),
                    ("livemode", parsed.GetValue(live) ? "true" : null), ("account", parsed.GetValue(account)),
                ("expires_at", Parameters.UnixSeconds(parsed.GetValue(expires))), ("role", parsed.GetValue(role)),
                .. Parameters.Elements("apps", parsed.GetValue(apps)),
                .. Parameters.Elements("permissions", parsed.GetValue(permissions)), .. Parameters.Elements("addresses",
                    parsed.GetValue(addresses)),
            ], ct);
            Keys.Print(parsed, key, shownOnce: "secret");
            return ExitCode.Ok;
        });
        var online = command.Action as System.CommandLine.Invocation.AsynchronousCommandLineAction;
        command.SetAction(async (parsed, ct) =>
        {
            if (!parsed.GetValue(OfflineKeyVerb.Offline))
                return await online!.InvokeAsync(parsed, ct);
            Keys.Print(parsed, await OfflineKeyVerb.CreateAsync(parsed, parsed.GetValue(expires), ct),
                shownOnce: "secret");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command List()
    {
        var app = Parameters.Id("--app", "APP", "Only keys of this app.");
        return Connection.OnAdmin(new Command(
            "list",
            "Show all keys by id, newest first, but never the keys themselves.\n\nExample: coffer keys list --app "
                + "app_1") { app }, async (admin, parsed, ct) =>
        {
            Keys.Print(parsed, await admin.ListAsync("api_keys", [("app", parsed.GetValue(app))], ct).ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Show()
    {
        var key = KeyArgument();
        return Connection.OnAdmin(new Command(
            "show",
            "Show one key by id, but never the key itself. The exit code is 1 if there is none.\n\nExample: coffer "
                + "keys show key_1") { key }, async (admin, parsed, ct) =>
        {
            Keys.Print(parsed, await admin.FindAsync($"api_keys/{parsed.GetValue(key)}", ct));
            return ExitCode.Ok;
        });
    }

    private static Command Roll()
    {
        var key = KeyArgument();
        var grace = Parameters.Duration("--grace",
            "How long the old key is accepted too, and what it minted, at most 7d; 0 ends both at once: use it if the "
                + "key may have leaked", required: true);
        var command = new Command(
            "roll",
            "Replace a key by a new one that may do the same, and show the new key once. One that was rolled already "
                + "is refused: roll the new one. The exit code is 1 if there is none.\n\n"
                + "Example: coffer keys roll key_1 --grace 24h") { key, grace };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            Keys.Print(
                parsed,
                await admin.ChangeAsync($"api_keys/{parsed.GetValue(key)}/roll",
                    [("grace_period", Parameters.Seconds(parsed.GetValue(grace)))], ct),
                shownOnce: "secret");
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
        return Connection.OnAdmin(new Command(
            "revoke",
            "Revoke a key now, and with it every ephemeral key that it minted. The exit code is 1 if there is "
                + "none.\n\nExample: coffer keys revoke key_1") { key }, async (admin, parsed, ct) =>
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
        var user = Parameters.Literal(new Option<string>("--user")
        {
            Description = "The user whom the key stands for.",
            HelpName = "USR",
            Required = true,
        });
        var account = AccountOption();
        var life = Parameters.Duration("--for", "How long the key is accepted, 1m to 24h; the default is 1h");
        var permissions = PermissionsOption(
            "What the key may do: find and list, or set and delete. May be given twice.");
        var command = new Command("mint",
            "Mint an ephemeral key for the browser of one user, and show it once. The app's key is read from "
                + "COFFER_API_KEY.\n\n" +
            "Example: coffer keys mint --user usr_1 --account acct_1 --for 15m")
        { user, account, life, permissions, Parameters.Json };
        Connection.AddTo(command, Connection.Url);
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connection.Client(parsed, parsed.GetValue(account));
            var minted = await client.MintAsync(parsed.GetRequiredValue(user), parsed.GetValue(life),
                parsed.GetValue(permissions), ct);
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
            "End an ephemeral key before it expires. The app's key is read from COFFER_API_KEY. The exit code is 1 "
                + "if there is none.\n\nExample: coffer keys expire ephkey_1 --account acct_1")
        { key, account };
        Connection.AddTo(command, Connection.Url);
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connection.Client(parsed, parsed.GetValue(account));
            var id = parsed.GetRequiredValue(key);
            if (!await client.ExpireAsync(id, ct))
                return new Failure(ExitCode.Absent, $"no such ephemeral key: '{id}'",
                    "Check the id, --account and the mode of the key. The key may also have expired already.").Report();
            Console.WriteLine($"the ephemeral key {id} is expired");
            return ExitCode.Ok;
        });
        return command;
    }

    private static Argument<string> KeyArgument() =>
        Parameters.IdArgument("key", "KEY_ID", "The key's id, key_…; not the key itself.");

    private static Option<string?> AccountOption() =>
        Parameters.Id("--account", "ACCT", "The account to act in; the default is the app's own.");

    private static Option<string[]> PermissionsOption(string description, params string[] more)
    {
        var permissions = new Option<string[]>("--permission") { Description = description };
        permissions.AcceptOnlyFromAmong(["secret_read", "secret_write", .. more]);
        return permissions;
    }

    // The fields of the API, under its names.
    internal static JsonElement Shape(EphemeralKey key) => JsonElement.Parse(Terminal.Json(json =>
    {
        json.WriteStartObject();
        json.WriteString("id"u8, key.Id);
        json.WriteString("object"u8, "ephemeral_key"u8);
        json.WriteString("account"u8, key.Account);
        json.WriteNumber("created"u8, key.Created.ToUnixTimeSeconds());
        json.WriteNumber("expires"u8, key.ExpiresSeconds);
        json.WriteBoolean("livemode"u8, key.Livemode);
        json.WriteStartArray("permissions"u8);
        foreach (var permission in key.Permissions)
            json.WriteStringValue(permission);
        json.WriteEndArray();
        json.WriteString("secret"u8, key.Secret);
        json.WriteString("user"u8, key.User);
        json.WriteEndObject();
    }));
}
