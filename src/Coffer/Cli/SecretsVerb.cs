using System.CommandLine;
using System.Text;
using System.Text.Json;
using Coffer.Client;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary>
/// <c>coffer secrets set|find|list|delete</c>: the four verbs, with a key of the app. <c>search|reveal</c>: what an
/// operator may see of them, with an admin key.
/// </summary>
internal static class SecretsVerb
{
    private static readonly Option<string?> Account = new("--account")
    {
        Description = "The account to act in; the default is the app's own.",
        HelpName = "ACCT",
    };
    private static readonly Option<string?> User = new("--user")
    {
        Description = "The user whose scope is meant; the default is the account scope.",
        HelpName = "USR",
    };

    private static readonly Listing Secrets = new(
        ("NAME", Listing.Text("name")),
        ("SCOPE", ScopeOf),
        ("MODE", Listing.Mode),
        ("CREATED", Listing.Time("created")),
        ("EXPIRES", Listing.Time("expires_at")),
        ("ID", Listing.Text("id")));

    private static readonly Listing WithPayload = Secrets.With(("PAYLOAD", Listing.Text("payload")));

    // Of a damaged one neither name nor scope is known.
    private static string ScopeOf(JsonElement secret)
    {
        if (!secret.TryGetProperty("scope", out var scope) || scope.ValueKind != JsonValueKind.Object)
            return "(damaged)";
        return scope.TryGetProperty("user", out var user) ? $"user {user}" : "account";
    }

    public static Command Command()
    {
        User.Validators.Add(result =>
        {
            // As in --user "$USER_ID" where the variable is not set: what is one person's must not become everybody's.
            if (result.Tokens is [{ Value: "" }])
                result.AddError("--user is empty. Leave it out for the account scope");
        });
        Parameters.Literal(User);
        Parameters.Literal(Account);
        Account.Validators.Add(result =>
        {
            if (result.Tokens is [var account] && !Transport.IsHeaderText(account.Value))
                result.AddError("--account is empty or has characters that an account id cannot have");
        });
        return new Command(
            "secrets",
            "Set, find, list and delete secrets on a running server; the app's key is read from COFFER_API_KEY. "
                + "Search and reveal them; the admin key is read from COFFER_ADMIN_KEY.")
        {
            Set(), Find(), List(), Delete(), Search(), Reveal(),
        };
    }

    private static Command Set()
    {
        var name = NameArgument();
        var payload = new Option<string?>("--payload")
        {
            Description =
                "The payload. Other users of this machine may see it while the command runs: prefer a file or "
                    + "standard input.",
        };
        var file = Parameters.Literal(new Option<string?>("--payload-file")
        {
            Description = "A file whose whole content, UTF-8, is the payload.",
            HelpName = "FILE",
        });
        var expires = Parameters.Time("--expires-at", "When the secret expires");
        var command = new Command("set",
            "Create a secret, or replace the one of that name. Without --payload or --payload-file the payload is "
                + "read from standard input, to the last byte.\n\n" +
            "Example: printf %s \"$TOKEN\" | coffer secrets set my-api-key")
        { name, payload, file, expires };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(payload) is not null && parsed.GetValue(file) is not null)
                parsed.AddError("Give --payload or --payload-file, not both.");
        });
        return OnSecrets(command, async (client, parsed, ct) =>
        {
            var text = parsed.GetValue(payload) ?? await ReadPayloadAsync(parsed.GetValue(file), ct);
            // echo adds one, and a token that ends in it is mostly not the token that was meant.
            if (text.Length > 1 && text.IndexOf('\n', StringComparison.Ordinal) == text.Length - 1)
                Console.Error.WriteLine("coffer: note: the payload ends in a line break, which is stored too");
            Secrets.Print(
                parsed,
                Shape(
                    await client.SetAsync(Scope(parsed), parsed.GetRequiredValue(name), text, parsed.GetValue(expires),
                        ct)));
            return ExitCode.Ok;
        });
    }

    private static Command Find()
    {
        var name = NameArgument();
        var withPayload = new Option<bool>("--with-payload") { Description = "Show the payload too." };
        var raw = RawOption();
        var command = new Command(
            "find",
            "Show one secret. Its payload is shown only with --with-payload or --raw. The exit code is 1 if there is "
                + "none.\n\nExample: coffer secrets find my-api-key --raw")
        { name, withPayload, raw };
        return OnSecrets(command, async (client, parsed, ct) =>
        {
            var (payloadOnly, payloadToo) = (parsed.GetValue(raw), parsed.GetValue(withPayload));
            var secret = await client.FindAsync(Scope(parsed), parsed.GetRequiredValue(name), payloadOnly || payloadToo,
                ct);
            if (secret is null)
                return Absent(parsed.GetRequiredValue(name));
            if (payloadOnly)
                Terminal.WriteRaw(secret.Payload!);
            else
                (payloadToo ? WithPayload : Secrets).Print(parsed, Shape(secret));
            return ExitCode.Ok;
        });
    }

    private static Command List()
    {
        var withPayload = new Option<bool>("--with-payload") { Description = "Show the payloads too." };
        var command = new Command(
            "list",
            "Show all secrets of a scope, newest first.\n\nExample: coffer secrets list --account acct_1 --user "
                + "usr_1") { withPayload };
        return OnSecrets(command, async (client, parsed, ct) =>
        {
            var payloadToo = parsed.GetValue(withPayload);
            (payloadToo ? WithPayload : Secrets).Print(parsed,
                await client.ListAsync(Scope(parsed), payloadToo, ct).Select(Shape).ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Delete()
    {
        var name = NameArgument();
        var command = new Command(
            "delete",
            "Delete one secret. The exit code is 1 if there is none.\n\nExample: coffer secrets delete "
                + "my-api-key") { name };
        return OnSecrets(command, async (client, parsed, ct) =>
        {
            if (await client.DeleteAsync(Scope(parsed), parsed.GetRequiredValue(name), ct) is not { } secret)
                return Absent(parsed.GetRequiredValue(name));
            Secrets.Print(parsed, Shape(secret));
            return ExitCode.Ok;
        });
    }

    private static Command Search()
    {
        var app = Parameters.Id("--app", "APP", "Only secrets of this app.");
        var account = Parameters.Id("--account", "ACCT", "Only secrets of this account.");
        var live = new Option<bool>("--live") { Description = "Only live mode." };
        var test = new Option<bool>("--test") { Description = "Only test mode." };
        var expiring = Parameters.Time("--expiring-before", "Only secrets that expire before then, soonest first");
        var command = new Command("search",
            "Show secrets of all apps and accounts, but never their payloads. The admin key is read from "
                + "COFFER_ADMIN_KEY.\n\n" +
            "Example: coffer secrets search --live --expiring-before 2030-01-31")
        { app, account, live, test, expiring };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(live) && parsed.GetValue(test))
                parsed.AddError("Give --live or --test, not both.");
        });
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var livemode = parsed.GetValue(live) ? "true" : null;
            if (parsed.GetValue(test))
                livemode = "false";
            var found = admin.ListAsync("secrets/search",
            [
                ("app", parsed.GetValue(app)), ("account", parsed.GetValue(account)),
                ("livemode", livemode),
                ("expiring_before", Parameters.UnixSeconds(parsed.GetValue(expiring))),
            ], ct);
            Secrets.With(("VERSION", Listing.Text("version")), ("APP", Listing.Text("app")),
                ("ACCOUNT", Listing.Text("account")))
                .Print(parsed, await found.ToListAsync(ct));
            return ExitCode.Ok;
        });
    }

    private static Command Reveal()
    {
        var id = Parameters.IdArgument("secret", "SECRET_ID", "The secret's id, appsecret_….");
        var app = Parameters.Id("--app", "APP", "The app that it belongs to.", required: true);
        var account = Parameters.Id("--account", "ACCT", "The account that it belongs to.", required: true);
        var (reason, raw) = (Parameters.Reason(), RawOption());
        var command = new Command("reveal",
            "Show one secret with its payload. The audit log first records who did it and why. The admin key is read "
                + "from COFFER_ADMIN_KEY. The exit code is 1 if there is none.\n\n" +
            "Example: coffer secrets reveal appsecret_1 --app app_1 --account acct_1 --reason \"ticket 4711\"")
        { id, app, account, reason, raw };
        return Connection.OnAdmin(command, async (admin, parsed, ct) =>
        {
            var path =
                $"apps/{parsed.GetValue(app)}/accounts/{parsed.GetValue(account)}/secrets/{parsed.GetValue(id)}/reveal";
            var secret = await admin.ChangeAsync(path, [("reason", parsed.GetValue(reason))], ct);
            if (parsed.GetValue(raw))
                Terminal.WriteRaw(secret.GetProperty("payload").GetString()!);
            else
                WithPayload.Print(parsed, secret);
            return ExitCode.Ok;
        });
    }

    private static Argument<string> NameArgument() =>
        new("name") { Description = "The secret's name, compared exactly.", HelpName = "NAME" };

    private static Option<bool> RawOption() =>
        new("--raw") { Description = "Print the payload and nothing else, to the last byte." };

    private static SecretScope Scope(ParseResult parsed) =>
        parsed.GetValue(User) is { } user ? SecretScope.ForUser(user) : SecretScope.Account;

    private static Command OnSecrets(Command command,
        Func<CofferClient, ParseResult, CancellationToken, Task<int>> action)
    {
        Connection.AddTo(command, Connection.Url);
        foreach (var option in (Option[])[Account, User, Parameters.Json])
            command.Add(option);
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connection.Client(parsed, parsed.GetValue(Account));
            return await action(client, parsed, ct);
        });
        return command;
    }

    private static async Task<string> ReadPayloadAsync(string? file, CancellationToken ct)
    {
        if (file is not null)
            return Decode(await File.ReadAllBytesAsync(file, ct));
        if (!Console.IsInputRedirected)
            return await Terminal.AskAsync("Payload:", "use --payload-file or standard input", ct);
        using var all = new MemoryStream();
        await using var input = StandardStream.OpenInput();
        await input.CopyToAsync(all, ct);
        return Decode(all.ToArray());
    }

    private static string Decode(byte[] utf8)
    {
        try
        {
            return new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true).GetString(utf8);
        }
        catch (DecoderFallbackException e)
        {
            throw new InvalidDataException(
                "the payload is not UTF-8 text: encode binary payloads, for example as Base64", e);
        }
    }

    private static int Absent(string name) =>
        new Failure(
            ExitCode.Absent, $"no such secret: '{name}'",
            "Check the mode of the key, --account, --user and the exact spelling. The secret may also have "
                + "expired.").Report();

    // The fields of the API, under its names.
    internal static JsonElement Shape(StoredSecret secret) => JsonElement.Parse(Terminal.Json(json =>
    {
        json.WriteStartObject();
        json.WriteString("id"u8, secret.Id);
        json.WriteNumber("created"u8, secret.CreatedSeconds);
        json.WriteNumberOrNull("expires_at"u8, secret.ExpiresAtSeconds);
        json.WriteBoolean("livemode"u8, secret.Livemode);
        json.WriteString("name"u8, secret.Name);
        json.WriteStartObject("scope"u8);
        json.WriteString("type"u8, secret.Scope.User is null ? "account"u8 : "user"u8);
        if (secret.Scope.User is { } user)
            json.WriteString("user"u8, user);
        json.WriteEndObject();
        if (secret.Payload is not null)
            json.WriteString("payload"u8, secret.Payload);
        json.WriteEndObject();
    }));
}
