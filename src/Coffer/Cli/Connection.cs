using System.CommandLine;
using Coffer.Client;
using Coffer.Hosting;
using Coffer.Settings;

namespace Coffer.Cli;

/// <summary>
/// Which server a command speaks to, and with which key. Keys come from the environment: command lines are not private.
/// </summary>
internal static class Connection
{
    public static readonly Option<string> Url = UrlOption("COFFER_URL");

    public static readonly Option<string> AdminUrl = UrlOption("COFFER_ADMIN_URL", "COFFER_URL");

    /// <summary>A client with the key of an app.</summary>
    public static CofferClient Client(ParseResult parsed, string? account) =>
        new(Server(parsed.GetRequiredValue(Url), "COFFER_URL"),
            Key("COFFER_API_KEY", "a secret key, sk_test_… or sk_live_…"), account);

    /// <summary>A client with an admin key.</summary>
    public static CofferAdmin Admin(ParseResult parsed) =>
        new(Server(parsed.GetRequiredValue(AdminUrl), "COFFER_ADMIN_URL"),
            Key("COFFER_ADMIN_KEY", "an admin key, ak_…"));

    /// <summary>Asks a server for what it says to everybody: no key is sent.</summary>
    public static Task<string> AuditKeyAsync(ParseResult parsed, CancellationToken ct) =>
        AuditKeyPage.FindAsync(Server(parsed.GetRequiredValue(AdminUrl), "COFFER_ADMIN_URL"), ct);

    /// <summary>
    /// Makes a command one of the management plane: it takes <c>--url</c> and <c>--json</c>, and its action a client.
    /// </summary>
    public static Command OnAdmin(Command command, Func<CofferAdmin, ParseResult, CancellationToken, Task<int>> action)
    {
        command.Add(AdminUrl);
        command.Add(Parameters.Json);
        command.SetAction(async (parsed, ct) =>
        {
            using var admin = Admin(parsed);
            return await action(admin, parsed, ct);
        });
        return command;
    }

    private static Option<string> UrlOption(params string[] variables) => new("--url")
    {
        Description = $"The URL of the server; also read from {string.Join(" or ", variables)}.",
        HelpName = "URL",
        DefaultValueFactory = _ =>
            variables.Select(Environment.GetEnvironmentVariable).FirstOrDefault(
                url => !string.IsNullOrEmpty(url)) ?? CofferOptions.DefaultListen,
    };

    // A text that is refused is shown without what may be a password in it.
    private static Uri Server(string text, string variable)
    {
        if (text.Contains('@', StringComparison.Ordinal))
            throw new ConfigurationException("the URL of the server has a user name or password in it",
                $"Give --url or {variable} without what stands before the @: the key is read from COFFER_API_KEY or "
                    + "COFFER_ADMIN_KEY.");
        var isServer = Uri.TryCreate(text, UriKind.Absolute, out var url)
            && Transport.WhyNotServer(url) is null;
        return isServer
            ? url!
            : throw new ConfigurationException($"'{text.Split('?', '#')[0]}' is not the URL of a server",
                $"Give --url or {variable} as http://ADDRESS:PORT, with nothing after it that begins with ? or #.");
    }

    /// <summary>The value of a variable, if it can be meant as it stands.</summary>
    /// <exception cref="ConfigurationException">It cannot: the message does not show it.</exception>
    public static string Meant(string value, string variable, bool isFree = false) =>
        LiteralText.Problem(value, isFree) is { } problem
            ? throw new ConfigurationException($"{variable} {problem}", $"Set {variable} again.")
            : value;

    private static string Key(string variable, string kind)
    {
        var key = Environment.GetEnvironmentVariable(variable)?.Trim();
        if (string.IsNullOrEmpty(key))
            throw new ConfigurationException($"{variable} is not set",
                $"Set it to {kind}; it is not an option because command lines are not private.");
        _ = Meant(key, variable);
        return Transport.IsHeaderText(key)
            ? key
            : throw new ConfigurationException($"{variable} has characters that a key cannot have",
                "Set it to one key, on one line.");
    }
}
