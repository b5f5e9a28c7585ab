using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
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

    private const string ProxyVariable = "COFFER_PROXY", AuthoritiesVariable = "COFFER_CA";

    private static readonly Option<string?> Proxy = new("--proxy")
    {
        Description = $"The http proxy to the server, never used for one on this machine; also read from "
            + $"{ProxyVariable}. Nothing else sets one.",
        HelpName = "URL",
    };

    private static readonly Option<string?> Authorities = Parameters.Literal(new Option<string?>("--ca")
    {
        Description = "A PEM file with the certificates of the authority that the server's certificate is from, if the "
            + $"system does not trust it; also read from {AuthoritiesVariable}.",
        HelpName = "FILE",
    });

    /// <summary>What a command takes that speaks to a server.</summary>
    /// <param name="command">The command.</param>
    /// <param name="url">Where the server is: <see cref="Url"/> or <see cref="AdminUrl"/>.</param>
    public static void AddTo(Command command, Option<string> url)
    {
        foreach (var option in (Option[])[url, Proxy, Authorities])
            command.Add(option);
    }

    /// <summary>A client with the key of an app.</summary>
    public static CofferClient Client(ParseResult parsed, string? account) =>
        new(Server(parsed.GetRequiredValue(Url), "COFFER_URL"),
            Key("COFFER_API_KEY", "a secret key, sk_test_… or sk_live_…"), account, connection: Way(parsed));

    /// <summary>A client with an admin key.</summary>
    public static CofferAdmin Admin(ParseResult parsed) =>
        new(Server(parsed.GetRequiredValue(AdminUrl), "COFFER_ADMIN_URL"),
            Key("COFFER_ADMIN_KEY", "an admin key, ak_…"), connection: Way(parsed));

    /// <summary>Asks a server for what it says to everybody: no key is sent.</summary>
    public static Task<string> AuditKeyAsync(ParseResult parsed, CancellationToken ct) =>
        AuditKeyPage.FindAsync(
        Server(parsed.GetRequiredValue(AdminUrl), "COFFER_ADMIN_URL"), Way(parsed), ct);

    /// <summary>
    /// Makes a command one of the management plane: it takes <c>--url</c> and <c>--json</c>, and its action a client.
    /// </summary>
    public static Command OnAdmin(Command command, Func<CofferAdmin, ParseResult, CancellationToken, Task<int>> action)
    {
        AddTo(command, AdminUrl);
        command.Add(Parameters.Json);
        command.SetAction(async (parsed, ct) =>
        {
            using var admin = Admin(parsed);
            return await action(admin, parsed, ct);
        });
        return command;
    }

    private static CofferConnection Way(ParseResult parsed) => new()
    {
        Proxy = Given(parsed, Proxy, ProxyVariable) is { } proxy ? ProxyAt(proxy) : null,
        Authorities = Given(parsed, Authorities, AuthoritiesVariable) is { } file ? AuthoritiesIn(file) : null,
    };

    private static string? Given(ParseResult parsed, Option<string?> option, string variable)
    {
        if (parsed.GetValue(option) is { } given)
            return given;
        return Environment.GetEnvironmentVariable(variable) is { Length: > 0 } set ? Meant(set, variable) : null;
    }

    // What may hold a password is not shown.
    private static Uri ProxyAt(string text) => Uri.TryCreate(text, UriKind.Absolute, out var url)
        && url is { Scheme: "http" or "https", PathAndQuery: "/", Fragment.Length: 0 }
        ? url
        : throw new ConfigurationException("the proxy is not the URL of one",
            $"Give --proxy or {ProxyVariable} as http://HOST:PORT.");

    private static X509Certificate2Collection AuthoritiesIn(string file)
    {
        var found = new X509Certificate2Collection();
        try
        {
            found.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"the certificates in {file} cannot be read: {Cause.Of(e)}", Pem);
        }

        return found.Count > 0
            ? found
            : throw new ConfigurationException($"there is no certificate in {file}", Pem);
    }

    private const string Pem =
        $"Give --ca or {AuthoritiesVariable} a PEM file with the certificate of the authority.";

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
