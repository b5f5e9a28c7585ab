using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Coffer.Client;
using Spectre.Console;

namespace Coffer.Cli;

/// <summary><c>coffer secrets set|find|list|delete</c>: the four verbs against a running server.</summary>
internal static class SecretsVerb
{
    private static readonly Option<string> Url = new("--url")
    {
        Description = "The server. Also COFFER_URL.",
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable("COFFER_URL") is { Length: > 0 } url ? url : CofferOptions.DefaultListen,
        Recursive = true,
    };

    private static readonly Option<string?> Account = new("--account") { Description = "The account to act in; the app's own if it is left out.", HelpName = "ACCT", Recursive = true };
    private static readonly Option<string?> User = new("--user") { Description = "The user whose scope is meant; the account scope if it is left out.", HelpName = "USR", Recursive = true };
    private static readonly Option<bool> Json = new("--json") { Description = "Print JSON, for scripts.", Recursive = true };
    private static readonly string[] TimeFormats = ["yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK", "yyyy-MM-dd'T'HH:mmK", "yyyy-MM-dd"];
    private static readonly JsonSerializerOptions JsonOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static Command Command()
    {
        User.Validators.Add(result =>
        {
            // As in --user "$USER_ID" where the variable is not set: what is one person's must not become everybody's.
            if (result.Tokens is [{ Value: "" }])
                result.AddError("--user is empty. Leave it out for the account scope");
        });
        Account.Validators.Add(result =>
        {
            if (result.Tokens is [var account] && !IsHeaderText(account.Value))
                result.AddError("--account is empty or has characters that no account id has");
        });
        return new Command("secrets", "Set, find, list and delete secrets on a running server. The key is read from COFFER_API_KEY.")
        {
            Url, Account, User, Json, Set(), Find(), List(), Delete(),
        };
    }

    private static Command Set()
    {
        var name = NameArgument();
        var payload = new Option<string?>("--payload") { Description = "The payload. Other users of this machine may see it while the command runs: prefer a file or standard input." };
        var file = new Option<string?>("--payload-file") { Description = "A file whose whole content, UTF-8, is the payload.", HelpName = "FILE" };
        var expires = new Option<string?>("--expires-at") { Description = "When it is gone by itself: Unix seconds or ISO 8601.", HelpName = "TIME" };
        var command = new Command("set",
            "Create a secret, or replace the one of that name. Without --payload or --payload-file the payload is standard input, to the last byte.\n\n" +
            "Example: printf %s \"$TOKEN\" | coffer secrets set my-api-key")
        { name, payload, file, expires };
        command.Validators.Add(parsed =>
        {
            if (parsed.GetValue(payload) is not null && parsed.GetValue(file) is not null)
                parsed.AddError("Give --payload or --payload-file, not both.");
            if (parsed.GetValue(expires) is { } text && ParseTime(text) is null)
                parsed.AddError($"--expires-at '{text}' is neither Unix seconds nor an ISO 8601 time such as 2030-01-31T12:00:00Z.");
        });
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connect(parsed);
            var text = parsed.GetValue(payload) ?? await ReadPayloadAsync(parsed.GetValue(file), ct);
            Print(parsed, await client.SetAsync(Scope(parsed), parsed.GetRequiredValue(name), text, parsed.GetValue(expires) is { } at ? ParseTime(at) : null, ct));
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Find()
    {
        var name = NameArgument();
        var withPayload = new Option<bool>("--with-payload") { Description = "Show the payload too." };
        var raw = new Option<bool>("--raw") { Description = "Print the payload and nothing else, to the last byte." };
        var command = new Command("find", "Show one secret, without its payload unless it is asked for. Ends with 1 if there is none.\n\nExample: coffer secrets find my-api-key --raw")
        { name, withPayload, raw };
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connect(parsed);
            var onlyPayload = parsed.GetValue(raw);
            var secret = await client.FindAsync(Scope(parsed), parsed.GetRequiredValue(name), onlyPayload || parsed.GetValue(withPayload), ct);
            if (secret is null)
                return ReportAbsent(parsed.GetRequiredValue(name));
            if (onlyPayload)
                await WriteRawAsync(secret.Payload!, ct);
            else
                Print(parsed, secret);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command List()
    {
        var withPayload = new Option<bool>("--with-payload") { Description = "Show the payloads too." };
        var command = new Command("list", "Show all secrets of a scope, newest first.\n\nExample: coffer secrets list --account acct_1 --user usr_1") { withPayload };
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connect(parsed);
            var secrets = new List<StoredSecret>();
            await foreach (var secret in client.ListAsync(Scope(parsed), parsed.GetValue(withPayload), ct))
                secrets.Add(secret);
            if (parsed.GetValue(Json))
                Console.WriteLine(JsonSerializer.Serialize(secrets.Select(Shape), JsonOptions));
            else
                Terminal.WriteTable(secrets);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Delete()
    {
        var name = NameArgument();
        var command = new Command("delete", "Delete one secret. Ends with 1 if there is none.\n\nExample: coffer secrets delete my-api-key") { name };
        command.SetAction(async (parsed, ct) =>
        {
            using var client = Connect(parsed);
            if (await client.DeleteAsync(Scope(parsed), parsed.GetRequiredValue(name), ct) is not { } secret)
                return ReportAbsent(parsed.GetRequiredValue(name));
            Print(parsed, secret);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Argument<string> NameArgument() => new("name") { Description = "The secret's name, compared exactly.", HelpName = "NAME" };

    private static SecretScope Scope(ParseResult parsed) => parsed.GetValue(User) is { } user ? SecretScope.ForUser(user) : SecretScope.Account;

    private static CofferClient Connect(ParseResult parsed)
    {
        if (!Uri.TryCreate(parsed.GetRequiredValue(Url), UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
            throw new ConfigurationException($"'{parsed.GetRequiredValue(Url)}' is not the URL of a server", "Give --url or COFFER_URL as http://ADDRESS:PORT.");
        var key = Environment.GetEnvironmentVariable("COFFER_API_KEY")?.Trim();
        if (string.IsNullOrEmpty(key))
            throw new ConfigurationException("COFFER_API_KEY is not set", "Set it to a secret key, sk_test_… or sk_live_…; it is not an option because command lines are not private.");
        if (!IsHeaderText(key))
            throw new ConfigurationException("COFFER_API_KEY has characters that no key has", "Set it to one key, on one line.");
        return new CofferClient(url, key, parsed.GetValue(Account));
    }

    private static bool IsHeaderText(string text) => text.Length > 0 && !text.AsSpan().ContainsAnyExceptInRange(' ', '~');

    // Past Console.Out, which would write it in the locale's encoding.
    private static async Task WriteRawAsync(string payload, CancellationToken ct)
    {
        await using var output = Console.OpenStandardOutput();
        await output.WriteAsync(Encoding.UTF8.GetBytes(payload), ct);
    }

    private static async Task<string> ReadPayloadAsync(string? file, CancellationToken ct)
    {
        if (file is not null)
            return Decode(await File.ReadAllBytesAsync(file, ct));
        if (!Console.IsInputRedirected)
            return await new TextPrompt<string>("Payload:").Secret(null).ShowAsync(AnsiConsole.Console, ct);
        using var all = new MemoryStream();
        await using var input = Console.OpenStandardInput();
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
            throw new InvalidDataException("the payload is not UTF-8 text: encode binary payloads, for example as Base64", e);
        }
    }

    /// <summary>Unix seconds or ISO 8601; null if it is neither.</summary>
    internal static DateTimeOffset? ParseTime(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds <= DateTimeOffset.MaxValue.ToUnixTimeSeconds()
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : DateTimeOffset.TryParseExact(text, TimeFormats, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;

    private static int ReportAbsent(string name)
    {
        Console.Error.WriteLine($"coffer: error: no such secret: '{Terminal.Shown(name)}'");
        Console.Error.WriteLine("coffer: hint: Check the mode of the key, --account, --user and the exact spelling; or it has expired.");
        return ExitCode.Absent;
    }

    private static void Print(ParseResult parsed, StoredSecret secret)
    {
        if (parsed.GetValue(Json))
            Console.WriteLine(JsonSerializer.Serialize(Shape(secret), JsonOptions));
        else
            Terminal.WriteTable([secret]);
    }

    // The fields of the API, under its names.
    private static Dictionary<string, object?> Shape(StoredSecret secret)
    {
        var shape = new Dictionary<string, object?>
        {
            ["id"] = secret.Id,
            ["created"] = secret.Created.ToUnixTimeSeconds(),
            ["expires_at"] = secret.ExpiresAt?.ToUnixTimeSeconds(),
            ["livemode"] = secret.Livemode,
            ["name"] = secret.Name,
            ["scope"] = secret.Scope.User is { } user ? new Dictionary<string, string> { ["type"] = "user", ["user"] = user } : new() { ["type"] = "account" },
        };
        if (secret.Payload is not null)
            shape["payload"] = secret.Payload;
        return shape;
    }
}
