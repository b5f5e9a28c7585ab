using System.Net;
using Coffer.Hosting;
using Coffer.Storage.Postgres;

namespace Coffer.Settings;

/// <summary>
/// The settings of the server, as values. Where they come from, their names and their limits stand in <see
/// cref="SettingsTable"/>.
/// </summary>
internal sealed record CofferOptions
{
    /// <summary>By default: a year, and of this name alone.</summary>
    public const string DefaultStrictTransport = "max-age=31556926";

    /// <summary>Where Coffer listens unless told otherwise: loopback, so that nothing is open by accident.</summary>
    public const string DefaultListen = "http://127.0.0.1:26333";

    /// <summary>Stripe's limit, and the default.</summary>
    public const int DefaultSecretsPerScope = 10;

    /// <summary>The most that a scope may be allowed to hold.</summary>
    public const int MostSecretsPerScope = 10_000;

    /// <summary>How many changes may wait to be stored before further ones are answered 503.</summary>
    public const int WaitingChanges = 4_096;

    /// <summary>Far beyond a busy platform, and what a process with the usual limit on open files can hold.</summary>
    public const int DefaultConnections = 10_000;

    /// <summary>
    /// A tenth of all, and far beyond what a backend's pools or the browsers behind one NAT keep open; idle ones of an
    /// address make room for its new ones. A proxy that is not declared as trusted counts as an address, on loopback
    /// too.
    /// </summary>
    public const int DefaultConnectionsPerAddress = 1_000;

    /// <summary>
    /// Seconds: enough for a balancer that asks twice a second; and what is left of the 10 that containers get.
    /// </summary>
    public const int DefaultDrain = 2, DefaultStopWithin = 7;

    /// <summary>Requests a second that no honest app sends with one key.</summary>
    public const int DefaultRatePerKey = 5_000;

    /// <summary>
    /// Failed authentications a second: a misconfigured fleet behind one address gets through, guessing does not.
    /// </summary>
    public const int DefaultRatePerAddress = 20;

    /// <summary>
    /// A quarter of the queue for an app; more than a page in a browser has under way for an ephemeral key.
    /// </summary>
    public const int DefaultWaitingPerApp = 1_024, DefaultWaitingPerEphemeralKey = 64;

    /// <summary>
    /// KB a second: more than sets at the rate of three keys leave; and some sixty sets a second of a page.
    /// </summary>
    public const int DefaultKeptPerApp = 4_096, DefaultKeptPerEphemeralKey = 16;

    /// <summary>
    /// KB a second: more than finds with payload at the rate of four keys leave; and some two hundred a second of a
    /// page.
    /// </summary>
    public const int DefaultAuditPerApp = 8_192, DefaultAuditPerEphemeralKey = 64;

    /// <summary>New accounts a second: an app that moves in with 100,000 is done in a quarter of an hour.</summary>
    public const int DefaultTenantsPerApp = 100;

    /// <summary>Seconds: as long as a key service takes to be back after a restart.</summary>
    public const int DefaultRootKeyWait = 60;

    private static readonly KeySettings OfDataDirectory = new([])
    {
        Patience = TimeSpan.FromSeconds(DefaultRootKeyWait),
    };

    public const int MostOpenTenants = 10_000_000;

    /// <summary>The most that a tenant's opened keys take, in bytes: those whose payloads are in use.</summary>
    public const int LargestTenant = 4096;

    /// <summary>
    /// As many as a quarter of the memory holds, of the container's if it has a limit, when each takes the most it can.
    /// </summary>
    public static int DefaultOpenTenants { get; } = (int)Math.Clamp(
        GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4 / LargestTenant, 1, MostOpenTenants);

    /// <summary>The directory of the store and its key file. Made if it is not there.</summary>
    public required string Data { get; init; }

    /// <summary>
    /// The PostgreSQL database of the store, as an Npgsql connection string; null is a SQLite file in the data
    /// directory. It may hold a password: never show it.
    /// </summary>
    public string? Store { get; init; }

    /// <summary>What wraps the root keys, and how it is asked.</summary>
    public KeySettings RootKey { get; init; } = OfDataDirectory;

    /// <summary>One http or https URL: address and port. Port 0 takes a free one.</summary>
    public string Listen { get; init; } = DefaultListen;

    /// <summary>A second address of the same form, for the management plane; null has none.</summary>
    public string? AdminListen { get; init; }

    /// <summary>An address of the same form for the metrics alone; null is that of the management plane.</summary>
    public string? MetricsListen { get; init; }

    /// <summary>How many apps are counted by their ids, 0 to 1,000; the others together.</summary>
    public int MetricsApps { get; init; }

    /// <summary>Clients whose <c>traceparent</c> is continued; empty is nobody's.</summary>
    public IReadOnlyList<IPNetwork> TraceContextFrom { get; init; } = [];

    /// <summary>The address that clients have of it; null is where it listens.</summary>
    public Uri? PublicUrl { get; init; }

    /// <summary>
    /// PEM file of the certificate, first, and its chain; null serves no https. Goes with <see cref="TlsKey"/>.
    /// </summary>
    public string? TlsCert { get; init; }

    /// <summary>PEM file of the certificate's key, unencrypted: PKCS#8, PKCS#1 or SEC1.</summary>
    public string? TlsKey { get; init; }

    /// <summary>What answers over https say to browsers in Strict-Transport-Security; null is nothing.</summary>
    public string? StrictTransport { get; init; } = DefaultStrictTransport;

    /// <summary>
    /// Whether plain HTTP may be spoken beyond this machine, because something in front of Coffer encrypts.
    /// </summary>
    public bool InsecureHttp { get; init; }

    /// <summary>
    /// The most connections at once at each address to listen at, 1 to 1,000,000. One more has the idlest closed, or
    /// is closed if none is idle.
    /// </summary>
    public int Connections { get; init; } = DefaultConnections;

    /// <summary>
    /// How many of them one client's address may have, 0 to 1,000,000; 0 is no limit. Trusted proxies have none.
    /// </summary>
    public int ConnectionsPerAddress { get; init; } = DefaultConnectionsPerAddress;

    /// <summary>Whose <c>X-Forwarded-For</c> is believed; empty is nobody's.</summary>
    public IReadOnlyList<IPNetwork> TrustedProxies { get; init; } = [];

    /// <summary>Networks that webhooks may be sent to besides the public internet, and by http too.</summary>
    public IReadOnlyList<IPNetwork> WebhookNetworks { get; init; } = [];

    /// <summary>Requests a second that each key may send, 0 to 1,000,000; 0 is no limit.</summary>
    public int RatePerKey { get; init; } = DefaultRatePerKey;

    /// <summary>Failed authentications a second that one address may cause, 0 to 1,000,000; 0 is no limit.</summary>
    public int RatePerAddress { get; init; } = DefaultRatePerAddress;

    /// <summary>Changes of one app that may wait to be stored, 0 to 4,096; 0 is no limit but that of all.</summary>
    public int WaitingPerApp { get; init; } = DefaultWaitingPerApp;

    /// <summary>The same of one ephemeral key.</summary>
    public int WaitingPerEphemeralKey { get; init; } = DefaultWaitingPerEphemeralKey;

    /// <summary>
    /// KB a second that are kept under the idempotency keys of one app, 0 to 1,000,000; 0 is no limit.
    /// </summary>
    public int KeptPerApp { get; init; } = DefaultKeptPerApp;

    /// <summary>The same of one ephemeral key.</summary>
    public int KeptPerEphemeralKey { get; init; } = DefaultKeptPerEphemeralKey;

    /// <summary>KB a second of audit entries about what one app does, 0 to 1,000,000; 0 is no limit.</summary>
    public int AuditPerApp { get; init; } = DefaultAuditPerApp;

    /// <summary>The same of one ephemeral key.</summary>
    public int AuditPerEphemeralKey { get; init; } = DefaultAuditPerEphemeralKey;

    /// <summary>New accounts a second for which one app may store something, 0 to 1,000,000; 0 is no limit.</summary>
    public int TenantsPerApp { get; init; } = DefaultTenantsPerApp;

    /// <summary>A file that says, as JSON, where the server listens, once it answers.</summary>
    public string? ReadyFile { get; init; }

    /// <summary>
    /// The file that the audit log's checkpoints are appended to; null is in the data directory. Best on another
    /// medium.
    /// </summary>
    public string? Checkpoints { get; init; }

    /// <summary>What this one start accepts as lost of the audit log, and of the store with it.</summary>
    public IReadOnlyList<AcceptedRollback> AcceptedRollbacks { get; init; } = [];

    /// <summary>
    /// Whether whatever the log lost is accepted: a store that was restored is older than what was there.
    /// </summary>
    public bool IsRestored { get; init; }

    /// <summary>How long audit entries are kept, in days, 1 to 36,500; null keeps them all.</summary>
    public int? AuditRetentionDays { get; init; }

    /// <summary>Which back-ups a server makes by itself.</summary>
    public BackupOptions Backups { get; init; } = new(null, null);

    /// <summary>A directory in which receipts outlive the store; null has none.</summary>
    public string? Receipts { get; init; }

    /// <summary>
    /// How reads are recorded: <c>durable</c> before they are answered, or <c>buffered</c> within one commit of it.
    /// Never off.
    /// </summary>
    public string Audit { get; init; } = "durable";

    /// <summary>Whether finds and lists without payload are recorded too.</summary>
    public bool AuditMetadataReads { get; init; }

    /// <summary>How many secrets a scope may hold, 1 to 10,000.</summary>
    public int SecretsPerScope { get; init; } = DefaultSecretsPerScope;

    /// <summary>
    /// How many tenants' opened keys are kept in memory, 1 to 10,000,000, 1 KB each, or 4 where payloads are in
    /// use. A request to another one opens them first.
    /// </summary>
    public int OpenTenants { get; init; } = DefaultOpenTenants;

    /// <summary>How long a server that is told to stop still answers, so that others turn to another node.</summary>
    public TimeSpan Drain { get; init; } = TimeSpan.FromSeconds(DefaultDrain);

    /// <summary>How long the stop takes at most, after <see cref="Drain"/>.</summary>
    public TimeSpan StopWithin { get; init; } = TimeSpan.FromSeconds(DefaultStopWithin);

    /// <summary>How the log looks, and what of requests is in it.</summary>
    public LogOptions Log { get; init; } = new();

    /// <summary>Dev mode; null serves.</summary>
    public DevOptions? Dev { get; init; }

    /// <summary>
    /// Every setting with its value and where that is from, to be shown; empty when the options were not read by <see
    /// cref="Configuration"/>.
    /// </summary>
    public IReadOnlyList<SettingInForce> InForce { get; init; } = [];

    /// <summary>What <see cref="Configuration"/> could not make sense of; <see cref="Problems"/> names it.</summary>
    public IReadOnlyList<string> Misread { get; init; } = [];

    /// <summary>What <c>coffer dev</c> adds: loopback only, test keys only.</summary>
    /// <param name="Key">The test key, of the developer's choice; null makes one.</param>
    /// <param name="SeedFixtures">Whether to store what the official SDKs' own test suites expect to find.</param>
    public sealed record DevOptions(string? Key, bool SeedFixtures);

    /// <summary>Which back-ups a server makes by itself.</summary>
    /// <param name="Directory">Where they go; null makes none.</param>
    /// <param name="KeysDirectory">Where their keys of tenants go; null is beside them.</param>
    /// <param name="Hours">How long after the last one the next is made, 1 to 8,760.</param>
    /// <param name="Days">How long one is kept, 1 to 36,500.</param>
    public sealed record BackupOptions(
        string? Directory, string? KeysDirectory, int Hours = BackupOptions.DefaultHours,
        int Days = BackupOptions.DefaultDays)
    {
        public const int DefaultHours = 24, DefaultDays = 30;

        /// <summary>Whether something is set that does nothing without a directory.</summary>
        public bool LacksDirectory => Directory is null && this != new BackupOptions(null, null);
    }

    /// <summary>All that could not be read and that does not go together; empty if there is nothing.</summary>
    public IEnumerable<string> Problems() => [.. Misread, .. Contradictions()];

    /// <summary>The name of a setting as the operator wrote it: a flag, a variable, or a line of a file.</summary>
    public string Written(string name) =>
        InForce.FirstOrDefault(setting => setting.Name == name)?.Written ?? $"--{name}";

    /// <summary>The URL of an address to listen at; null if the text is none.</summary>
    public static Uri? Address(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
            && url.PathAndQuery == "/" && url.Fragment.Length == 0
            && url.UserInfo.Length == 0
                && (url.Host == "localhost" || IPAddress.TryParse(url.Host.Trim('[', ']'), out _))
                ? url
                : null;

    /// <summary>The addresses that it listens at, each with its setting.</summary>
    public IReadOnlyList<(string Setting, string Text)> Addresses =>
    [
        ("listen", Listen), .. If("admin-listen", AdminListen), .. If("metrics-listen", MetricsListen),
    ];

    private static (string Setting, string Text)[] If(string setting, string? text) =>
        text is null ? [] : [(setting, text)];

    /// <summary>Where a validated URL listens; <c>localhost</c> is 127.0.0.1.</summary>
    public static IPEndPoint EndPoint(Uri url) =>
        new(url.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(url.Host.Trim('[', ']')), url.Port);

    public override string ToString() => SettingsTable.Redacted;

    // What does not go together, each by the name that the operator wrote. What a setting may be on its own is in the
    // table.
    private IEnumerable<string> Contradictions()
    {
        var (listen, admin) = (Address(Listen), AdminListen is null ? null : Address(AdminListen));
        var metrics = MetricsListen is null ? null : Address(MetricsListen);
        foreach (var problem in Addresses.SelectMany(each => AddressProblems(each.Setting, each.Text)))
            yield return problem;
        if (AreSame(listen, admin))
        {
            yield return $"{Written("admin-listen")} '{AdminListen}' is also the address of {Written("listen")}: "
                + "give the management plane an address of its own, or none";
        }

        if (AreSame(listen, metrics))
        {
            yield return $"{Written("metrics-listen")} '{MetricsListen}' is also the address of {Written("listen")}: "
                + "give the metrics an address of their own, for they need no key";
        }

        if (AreSame(admin, metrics))
        {
            yield return $"{Written("metrics-listen")} '{MetricsListen}' is also the address of "
                + $"{Written("admin-listen")}: leave it out, for the metrics are there without it";
        }

        if (Backups.LacksDirectory)
            yield return "backup-keys-directory, backup-every and backup-keep need --backup-directory with them";

        if ((TlsCert is null) != (TlsKey is null))
            yield return TlsKey is null
                ? $"{Written("tls-cert")} needs --tls-key with it"
                : $"{Written("tls-key")} needs --tls-cert with it";
        else if (TlsCert is null && FirstHttps is { } https)
            yield return Written(https) + " is https, which needs --tls-cert and --tls-key";
        else if (TlsCert is not null && FirstHttps is null)
            yield return $"{Written("tls-cert")} and {Written("tls-key")} are given, but no listening address is https";
    }

    private static bool AreSame(Uri? one, Uri? other) =>
        one is not null && other is not null && one.Port != 0 && EndPoint(one).Equals(EndPoint(other));

    // The first setting whose address is https.
    private string? FirstHttps => Addresses.FirstOrDefault(each => IsTls(Address(each.Text))).Setting;

    private static bool IsTls(Uri? url) => url?.Scheme == Uri.UriSchemeHttps;

    private IEnumerable<string> AddressProblems(string name, string text)
    {
        var url = Address(text);
        if (url is null)
            yield return $"{Written(name)} '{text}' is not of the form http://IP-ADDRESS:PORT or "
                + "https://IP-ADDRESS:PORT";
        else if (!url.IsLoopback && Dev is not null)
            yield return $"{Written(name)} '{text}' is not a loopback address: dev mode serves this machine only";
        else if (!url.IsLoopback && !IsTls(url) && !InsecureHttp)
            yield return $"{Written(name)} '{text}' would send secrets in plain text over the network: give an "
                + "https:// address with --tls-cert and --tls-key, or listen on 127.0.0.1 behind a TLS proxy, or "
                    + "give --insecure-http";
    }
}

/// <summary>The log of a server.</summary>
/// <param name="IsJson">Whether each line is an object of JSON; else it is text.</param>
/// <param name="Access">Which requests have a line.</param>
internal sealed record LogOptions(bool IsJson = false, AccessLogged Access = AccessLogged.Off);

/// <summary>Which requests have a line in the log.</summary>
internal enum AccessLogged
{
    /// <summary>None.</summary>
    Off,

    /// <summary>Those that did not succeed.</summary>
    Failures,

    /// <summary>All.</summary>
    All,
}
