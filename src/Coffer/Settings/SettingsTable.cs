// The one table of settings. Flags, environment, file, `coffer settings` and what the management plane shows are made
// of it.

using System.Globalization;
using System.Net;

namespace Coffer.Settings;

/// <summary>A setting, under one name wherever it is written.</summary>
/// <param name="Name">As in the file, and after <c>--</c>: <c>secrets-per-scope</c>.</param>
/// <param name="Value">What kind of value it takes, in capitals.</param>
/// <param name="Default">What is in force without it, in words if it is no value.</param>
/// <param name="Help">What it is for and what it may be, as sentences.</param>
/// <param name="Apply">
/// The options with this text as the value. Throws <see cref="FormatException"/> with the end of a sentence that begins
/// with name and value.
/// </param>
internal sealed record Setting(string Name, string Value, string Default, string Help,
    Func<CofferOptions, string, CofferOptions> Apply)
{
    /// <summary>Whether <c>coffer serve</c> takes it: as a flag, from the environment and from the file.</summary>
    public bool InServe { get; init; } = true;

    /// <summary>Whether <c>coffer dev</c> takes it, as a flag.</summary>
    public bool InDev { get; init; }

    /// <summary>
    /// Its value in options, as it is kept in the store: it concerns the store and not a node. Null if it is a node's.
    /// </summary>
    public Func<CofferOptions, string>? OfStore { get; init; }

    /// <summary>
    /// Whether the value could hold a password or a key: then it is never shown, in messages neither.
    /// </summary>
    public bool IsPrivate { get; init; }

    /// <summary>
    /// Whether a log may have the value: what is for a program of the operator's may be anything.
    /// </summary>
    public bool IsLogged { get; init; } = true;

    /// <summary>Whether the flag may stand alone, and then means true.</summary>
    public bool IsSwitch => Value == SettingsTable.SwitchValue;

    /// <summary>The name in the environment: <c>COFFER_SECRETS_PER_SCOPE</c>.</summary>
    public string Environment => SettingsTable.EnvironmentPrefix + Name.ToUpperInvariant().Replace('-', '_');
}

/// <summary>A setting as it is in force, to be shown.</summary>
/// <param name="Name">Its name in <see cref="SettingsTable"/>.</param>
/// <param name="Value">The text that was written, the default, or <c>[redacted]</c>.</param>
/// <param name="Source"><c>flag</c>, <c>environment</c>, <c>file</c> or <c>default</c>.</param>
internal sealed record SettingInForce(string Name, string Value, string Source)
{
    /// <summary>
    /// How the operator wrote it: <c>--listen</c>, <c>COFFER_LISTEN</c>, <c>/etc/coffer.conf line 3: listen</c>.
    /// </summary>
    public string Written { get; init; } = $"--{Name}";

    /// <summary>Whether nobody wrote it.</summary>
    public bool IsDefault => Source == "default";
}

/// <summary>Every setting, once.</summary>
internal static class SettingsTable
{
    public const string EnvironmentPrefix = "COFFER_";
    public const string SwitchValue = "true|false";
    public const string Redacted = "[redacted]";

    // A date that many days ago must still be a date.
    private const int LongestRetentionDays = 36_500;
    private const string ForEver = "for ever";
    private const int MostConnections = 1_000_000;
    private const int HighestRate = 1_000_000;

    public static IReadOnlyList<Setting> All { get; } =
    [
        Text("data", "DIR", "a temporary one, in dev only", "Directory of the store and its key file. It is created "
            + "if it does not exist.",
            (options, text) => options with { Data = text }) with { InDev = true },
        Text("store", "CONNECTION", "a SQLite file in the data directory",
            "The PostgreSQL database of the store, as Host=HOST;Database=NAME;Username=ROLE.",
            (options, text) => options with { Store = text }) with { IsPrivate = true },
        new("root-key", "URLS", "file:coffer.key in the data directory", "What wraps the root keys: "
            + $"{WrapperUrl.Forms}. Several are separated by spaces; the first that opens the store is used.",
            (options, text) =>
                options with { RootKey = options.RootKey with { Urls = [.. Words(text).Select(Wrapper)] } }),
        new("root-key-exec-arguments", "WORDS", "none", "Arguments of the program of exec:, separated by spaces.",
            (options, text) => options with { RootKey = options.RootKey with { ExecArguments = Words(text) } })
            { IsLogged = false },
        new("root-key-exec-environment", "NAMES", "none", "Variables that the program of exec: is given besides PATH "
            + "and HOME, separated by spaces.",
            (options, text) => options with { RootKey = options.RootKey with { ExecEnvironment = Words(text) } }),
        Text("root-key-vault-token-file", "FILE", "none", "File with the token for Vault or OpenBao; without it and "
            + "without a role the token is in VAULT_TOKEN.",
            (options, text) => options with { RootKey = options.RootKey with { VaultTokenFile = text } }),
        Text("root-key-vault-role", "ID", "none", "Role id of the AppRole that a token is asked with.",
            (options, text) => options with { RootKey = options.RootKey with { VaultRole = text } }),
        Text("root-key-vault-secret-file", "FILE", "none", "File with the secret id of that AppRole.",
            (options, text) => options with { RootKey = options.RootKey with { VaultSecretFile = text } }),
        Text("root-key-vault-namespace", "NAME", "none", "Namespace in Vault or OpenBao.",
            (options, text) => options with { RootKey = options.RootKey with { VaultNamespace = text } }),
        new("root-key-aws-endpoint", "URL", "that of the key's region", "Address of AWS KMS, https, or http on "
            + "loopback.",
            (options, text) => options with { RootKey = options.RootKey with { AwsEndpoint = Endpoint(text) } }),
        new("root-key-gcp-endpoint", "URL", "the public one", "Address of Google Cloud KMS, https, or http on "
            + "loopback.",
            (options, text) => options with { RootKey = options.RootKey with { GoogleEndpoint = Endpoint(text) } }),
        Number("root-key-wait", CofferOptions.DefaultRootKeyWait, 0, 3_600, "Seconds for which a start waits for what "
            + "wraps the root keys if it is away.",
            (options, number) =>
                options with { RootKey = options.RootKey with { Patience = TimeSpan.FromSeconds(number) } }),
        Text("listen", "URL", CofferOptions.DefaultListen, "Address and port to listen on, http or https. Port 0 "
            + "chooses a free port.",
            (options, text) => options with { Listen = text }) with { InDev = true },
        Text("admin-listen", "URL", "none", "A second address, http or https, only for the management plane.",
            (options, text) => options with { AdminListen = text }),
        Text("metrics-listen", "URL", "none", "An address, http or https, only for /metrics, which needs no key. "
            + "Without it /metrics is at that of admin-listen, or nowhere.",
            (options, text) => options with { MetricsListen = text }),
        Number("metrics-apps", 0, 0, 1_000, "How many apps the metrics count by their ids, those that come first; the "
            + "others together.",
            (options, number) => options with { MetricsApps = number }),
        new("trace-context-from", "NETWORKS", "none", "Clients whose traces (traceparent) are continued: their "
            + "addresses, or networks such as 10.0.0.8/29, with commas between them.",
            (options, text) => options with { TraceContextFrom = [.. text.Split(',').Select(Network)] }),
        new("public-url", "URL", "the address that it listens at", "Address that clients have of it, http or https, "
            + "with a name or an address and no path: links in errors begin with it.",
            (options, text) => options with { PublicUrl = PublicUrl(text) }),
        Text("tls-cert", "FILE", "none", "PEM file with the certificate and then its chain; https needs it. It is "
            + "read again when it changes.",
            (options, text) => options with { TlsCert = text }) with { InDev = true },
        Text("tls-key", "FILE", "none", "PEM file with the certificate's private key, not encrypted and readable "
            + "only by its owner.",
            (options, text) => options with { TlsKey = text }) with { InDev = true },
        new("strict-transport", "HEADER", CofferOptions.DefaultStrictTransport, "The Strict-Transport-Security header "
            + "of answers over https, or none. Browsers then use https for this name, on all its ports.",
            (options, text) => options with { StrictTransport = StrictTransport(text) }),
        Switch("insecure-http", "Allow plain HTTP from other machines, because a proxy in front of Coffer encrypts.",
            (options, on) => options with { InsecureHttp = on }),
        Number("connections", CofferOptions.DefaultConnections, 1, MostConnections,
            "How many connections may be open at once on each address. At the limit a new connection replaces an "
                + "idle one, or is closed if none is idle.",
            (options, number) => options with { Connections = number }),
        Number("connections-per-address", CofferOptions.DefaultConnectionsPerAddress, 0, MostConnections,
            "How many of them may come from one client's address, except from trusted proxies; 0 means no limit.",
            (options, number) => options with { ConnectionsPerAddress = number }),
        new("trusted-proxies", "NETWORKS", "none", "Proxies whose X-Forwarded-For header is trusted: their addresses, "
            + "or networks such as 10.0.0.8/29, with commas between them. Whoever has one can name any address.",
            (options, text) => options with { TrustedProxies = [.. text.Split(',').Select(Network)] }),
        Number("rate-per-key", CofferOptions.DefaultRatePerKey, 0, HighestRate, "Requests a second that each key may "
            + "send; 0 means no limit.",
            (options, number) => options with { RatePerKey = number }),
        Number("rate-per-address", CofferOptions.DefaultRatePerAddress, 0, HighestRate, "Failed authentications a "
            + "second that one address may cause; 0 means no limit.",
            (options, number) => options with { RatePerAddress = number }),
        Number("waiting-per-app", CofferOptions.DefaultWaitingPerApp, 0, CofferOptions.WaitingChanges,
            "Changes of one app that may wait to be stored; 0 means only the limit of all apps together.",
            (options, number) => options with { WaitingPerApp = number }),
        Number("waiting-per-ephemeral-key",
            CofferOptions.DefaultWaitingPerEphemeralKey, 0, CofferOptions.WaitingChanges,
            "Changes of one ephemeral key that may wait to be stored; 0 means only the limit of its app.",
            (options, number) => options with { WaitingPerEphemeralKey = number }),
        Number("kept-per-app", CofferOptions.DefaultKeptPerApp, 0, HighestRate,
            "KB a second that one app may store under idempotency keys; 0 means no limit.",
            (options, number) => options with { KeptPerApp = number }),
        Number("kept-per-ephemeral-key", CofferOptions.DefaultKeptPerEphemeralKey, 0, HighestRate,
            "KB a second that one ephemeral key may store under idempotency keys; 0 means no limit.",
            (options, number) => options with { KeptPerEphemeralKey = number }),
        Number("audit-per-app", CofferOptions.DefaultAuditPerApp, 0, HighestRate,
            "KB a second of audit entries that one app may cause; 0 means no limit.",
            (options, number) => options with { AuditPerApp = number }),
        Number("audit-per-ephemeral-key", CofferOptions.DefaultAuditPerEphemeralKey, 0, HighestRate,
            "KB a second of audit entries that one ephemeral key may cause; 0 means no limit.",
            (options, number) => options with { AuditPerEphemeralKey = number }),
        Number("tenants-per-app", CofferOptions.DefaultTenantsPerApp, 0, HighestRate,
            "New accounts a second that one app may store something for; 0 means no limit.",
            (options, number) => options with { TenantsPerApp = number }),
        Number("secrets-per-scope", CofferOptions.DefaultSecretsPerScope, 1, CofferOptions.MostSecretsPerScope,
            "How many secrets a scope may hold. Lowering it deletes nothing. Kept in the store.",
            (options, number) => options with { SecretsPerScope = number })
            with { OfStore = static options => Shown(options.SecretsPerScope) },
        Number("open-tenants", CofferOptions.DefaultOpenTenants, 1, CofferOptions.MostOpenTenants,
            "How many tenants' keys to keep in memory, 1 KB each, or 4 KB where payloads are in use. The keys of "
                + "other tenants are opened when a request needs them.",
            (options, number) => options with { OpenTenants = number }),
        new("audit", "durable|buffered", "durable",
            "durable: a payload is sent after its audit entry is on the disk. buffered: the entry is stored within "
                + "one commit after it, and is lost if the process stops before that. Kept in the store.",
            (options, text) => text is "durable" or "buffered" ? options with { Audit = text }
                : throw new FormatException(
                    "is neither 'durable' nor 'buffered': the audit log has no other mode and cannot be turned off"))
            { OfStore = static options => options.Audit },
        Switch("audit-metadata-reads", "Record finds and lists without payload in the audit log too. Kept in "
            + "the store.",
            (options, on) => options with { AuditMetadataReads = on })
            with { OfStore = static options => options.AuditMetadataReads ? "true" : "false" },
        Retention(),
        Text("audit-checkpoints", "FILE", "audit-checkpoints.jsonl in the data directory", "File for the checkpoints "
            + "of the audit log, best on another disk. Its directory must exist.",
            (options, text) => options with { Checkpoints = text }),
        Text("receipts", "DIR", "none", "Directory in which a signed receipt of each forgotten account is kept too, "
            + "best on another disk. It must exist.",
            (options, text) => options with { Receipts = text }),
        Text("backup-directory", "DIR", "none", "Directory for back-ups that the server makes by itself; it is created "
            + "if it does not exist.",
            (options, text) => options with { Backups = options.Backups with { Directory = text } }),
        Text("backup-keys-directory", "DIR", "that of the back-ups", "Directory for the keys of tenants of these "
            + "back-ups, best on another medium.",
            (options, text) => options with { Backups = options.Backups with { KeysDirectory = text } }),
        Number("backup-every", CofferOptions.BackupOptions.DefaultHours, 1, 8_760,
            "Hours after a back-up at which the next is made.",
            (options, number) => options with { Backups = options.Backups with { Hours = number } }),
        Number("backup-keep", CofferOptions.BackupOptions.DefaultDays, 1, LongestRetentionDays,
            "Days for which a back-up is kept. The newest is kept in any case.",
            (options, number) => options with { Backups = options.Backups with { Days = number } }),
        new("webhook-networks", "NETWORKS", "none", "Networks that webhooks may be sent to, by http too, besides the "
            + "public internet by https: addresses, or networks such as 10.0.0.8/29, with commas between them.",
            (options, text) => options with { WebhookNetworks = [.. text.Split(',').Select(Network)] }),
        Text("ready-file", "FILE", "none", "JSON file to write (mode 0600) once the server answers requests: url, "
            + "pid, and the keys if they were just created.",
            (options, text) => options with { ReadyFile = text }) with { InDev = true },
        new("log-format", "text|json", "text", "How each line of the log looks: text for people, or json for programs, "
            + "with the names of OpenTelemetry.",
            (options, text) => text is "text" or "json"
                ? options with { Log = options.Log with { IsJson = text == "json" } }
                : throw new FormatException("is neither 'text' nor 'json'")) { InDev = true },
        new("access-log", "off|failures|all", "off", "Which requests have a line in the log. Of refusals there are a "
            + "few lines a second for each kind.",
            (options, text) => options with { Log = options.Log with { Access = Accesses(text) } }) { InDev = true },
        Number("drain", CofferOptions.DefaultDrain, 0, 3_600, "Seconds for which a server that is told to stop "
            + "(SIGTERM) still answers requests, while /readyz says 503.",
            (options, number) => options with { Drain = TimeSpan.FromSeconds(number) }),
        Number("stop-within", CofferOptions.DefaultStopWithin, 1, 3_600, "Seconds that the stop takes at most, after "
            + "drain: what runs longer is cut off.",
            (options, number) => options with { StopWithin = TimeSpan.FromSeconds(number) }) with { InDev = true },
        new("key", "KEY", "a new one at each start", "The test key, such as sk_test_anything: letters, digits or "
            + "'_', at most 255 characters.",
            (options, text) => IsTestKey(text) ? options with { Dev = options.Dev! with { Key = text } }
                : throw new FormatException(
                    "must be sk_test_ and then letters, digits or '_': dev mode accepts only test keys"))
            { InServe = false, InDev = true, IsPrivate = true },
        Switch("seed-fixtures", "Store the secrets that the official SDKs' own test suites expect: sec_123 and "
            + "my-api-key.",
            (options, on) =>
                options with { Dev = options.Dev! with { SeedFixtures = on } }) with { InServe = false, InDev = true },
    ];

    private static Setting Retention()
    {
        var days = Number("audit-retention-days", null, 1, LongestRetentionDays, "How long audit entries are kept. "
            + "Kept in the store.",
            (options, number) => options with { AuditRetentionDays = number });
        return days with
        {
            Default = ForEver,
            Apply = (options, text) =>
                text == ForEver ? options with { AuditRetentionDays = null } : days.Apply(options, text),
            OfStore = static options => options.AuditRetentionDays is { } kept ? Shown(kept) : ForEver,
        };
    }

    private static Setting Text(string name, string value, string @default, string help,
        Func<CofferOptions, string, CofferOptions> apply) =>
        new(name, value, @default, help, apply);

    private static Setting Switch(string name, string help, Func<CofferOptions, bool, CofferOptions> apply) =>
        new(name, SwitchValue, "false", help, (options, text) =>
        text is "true" or "false"
            ? apply(options, text == "true")
            : throw new FormatException("is neither 'true' nor 'false'"));

    private static Setting Number(string name, int? @default, int least, int most, string help,
        Func<CofferOptions, int, CofferOptions> apply) =>
        new(name, "N", @default?.ToString(CultureInfo.InvariantCulture) ?? "",
            $"{help} From {least} to {most:N0}.", (options, text) =>
        {
            if (!int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
                throw new FormatException("is not a whole number");
            if (number < least || number > most)
                throw new FormatException($"is not between {least} and {most}");
            return apply(options, number);
        });

    private static AccessLogged Accesses(string text) => text switch
    {
        "off" => AccessLogged.Off,
        "failures" => AccessLogged.Failures,
        "all" => AccessLogged.All,
        _ => throw new FormatException("is none of 'off', 'failures' and 'all'"),
    };

    private static string Shown(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static string[] Words(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static string Endpoint(string text) => WrapperUrl.IsSafe(text) ? text
        : throw new FormatException("is not an https URL, or an http URL of this machine, without user and query");

    private static Uri PublicUrl(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is "http" or "https" && url.Host.Length > 0
            && url.PathAndQuery == "/" && url.Fragment.Length == 0 && url.UserInfo.Length == 0
            ? url
            : throw new FormatException("is not of the form https://NAME or https://NAME:PORT, without a path");

    private static WrapperUrl Wrapper(string word)
    {
        var url = WrapperUrl.Parse(word)
            ?? throw new FormatException($"is not a list of wrappers: '{word}' is not {WrapperUrl.Forms}");
        return Product.Lacks.Contains(url.Scheme)
            ? throw new FormatException(
                $"names a wrapper that the native build lacks, {url.Scheme}: run the .NET build of Coffer instead")
            : url;
    }

    private static IPNetwork Network(string item) => Networks.Parse(item.Trim())
        ?? throw new FormatException(
            $"is not a list of addresses and networks: '{item.Trim()}' is neither an address nor a network such as "
                + "10.0.0.8/29, with zeros after its prefix");

    private static string? StrictTransport(string text)
    {
        if (text == "none")
            return null;
        var isHeader = text.Split(';', StringSplitOptions.TrimEntries) is [var first, .. var more]
            && first.StartsWith("max-age=", StringComparison.Ordinal)
            && int.TryParse(first["max-age=".Length..], NumberStyles.None, CultureInfo.InvariantCulture, out _)
            && more.All(word => word is "includeSubDomains" or "preload");
        return isHeader
            ? text
            : throw new FormatException(
                "is neither none nor max-age=SECONDS, which '; includeSubDomains' and '; preload' may follow");
    }

    private static bool IsTestKey(string key) =>
        key.StartsWith("sk_test_", StringComparison.Ordinal) && key.Length is > 8 and <= 255
            && key.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');
}
