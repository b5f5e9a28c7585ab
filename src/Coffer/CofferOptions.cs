using System.Net;

namespace Coffer;

/// <summary>Every setting, with its default and its limits.</summary>
internal sealed class CofferOptions
{
    /// <summary>Where Coffer listens unless told otherwise: loopback, so that nothing is open by accident.</summary>
    public const string DefaultListen = "http://127.0.0.1:26333";

    /// <summary>Stripe's limit, and the default.</summary>
    public const int DefaultSecretsPerScope = 10;

    /// <summary>The most that a scope may be allowed to hold.</summary>
    public const int MostSecretsPerScope = 10_000;

    /// <summary>How many changes may wait to be stored before further ones are answered 503.</summary>
    public const int WaitingChanges = 4_096;

    /// <summary>The directory of the store and its key file. Made if it is not there.</summary>
    public required string Data { get; init; }

    /// <summary>One http URL: address and port. Port 0 takes a free one.</summary>
    public string Listen { get; init; } = DefaultListen;

    /// <summary>Whether plain HTTP may be spoken beyond this machine, because something in front of Coffer encrypts.</summary>
    public bool InsecureHttp { get; init; }

    /// <summary>A file that says, as JSON, where the server listens, once it answers.</summary>
    public string? ReadyFile { get; init; }

    /// <summary>The file that the audit log's checkpoints are appended to; null is in the data directory. Best on another medium.</summary>
    public string? Checkpoints { get; init; }

    /// <summary>How long audit entries are kept, in days; null keeps them all.</summary>
    public int? AuditRetentionDays { get; init; }

    /// <summary>How reads go on record: <c>durable</c> before they are answered, or <c>buffered</c> within one commit of it. Never off.</summary>
    public string Audit { get; init; } = "durable";

    /// <summary>Whether finds and lists without payload are on record too.</summary>
    public bool AuditMetadataReads { get; init; }

    /// <summary>How many secrets a scope may hold, 1 to 10,000.</summary>
    public int SecretsPerScope { get; init; } = DefaultSecretsPerScope;

    /// <summary>How many requests a second each key may make; 0 is no limit.</summary>
    public int RatePerKey { get; init; } = 5_000;

    /// <summary>How many refused keys a second one address may send before only known keys are looked up for it; 0 is no limit.</summary>
    public int RatePerAddress { get; init; } = 20;

    /// <summary>Dev mode; null serves.</summary>
    public DevOptions? Dev { get; init; }

    /// <summary>What <c>coffer dev</c> adds: loopback only, test keys only.</summary>
    /// <param name="Key">The test key, of the developer's choice; null makes one.</param>
    /// <param name="SeedFixtures">Whether to store what the official SDKs' own test suites expect to find.</param>
    public sealed record DevOptions(string? Key, bool SeedFixtures);

    /// <summary>The validated address to listen at.</summary>
    /// <exception cref="ConfigurationException">All that is wrong with the settings, at once.</exception>
    public Uri Validate()
    {
        var problems = new List<string>();
        if (string.IsNullOrWhiteSpace(Data))
            problems.Add("--data names no directory");
        if (!Uri.TryCreate(Listen, UriKind.Absolute, out var url) || url.Scheme != Uri.UriSchemeHttp || url.PathAndQuery != "/" || url.UserInfo.Length > 0
            || !(url.Host == "localhost" || IPAddress.TryParse(url.Host.Trim('[', ']'), out _)))
            problems.Add($"--listen '{Listen}' is not of the form http://IP-ADDRESS:PORT (for TLS, put a proxy in front)");
        else if (!url.IsLoopback && Dev is not null)
            problems.Add($"--listen '{Listen}' is not a loopback address: dev mode serves this machine only");
        else if (!url.IsLoopback && !InsecureHttp)
            problems.Add($"--listen '{Listen}' would send secrets in plain text over the network: listen on 127.0.0.1 behind a TLS proxy, or say --insecure-http");
        if (SecretsPerScope is < 1 or > MostSecretsPerScope)
            problems.Add($"--secrets-per-scope {SecretsPerScope} is not within 1 to {MostSecretsPerScope}");
        if (AuditRetentionDays is < 1)
            problems.Add($"--audit-retention-days {AuditRetentionDays} is not at least 1");
        if (Audit is not ("durable" or "buffered"))
            problems.Add($"--audit '{Audit}' is neither 'durable' nor 'buffered': there is no other mode, and it cannot be turned off");
        if (Dev?.Key is { } key && !(key.StartsWith("sk_test_", StringComparison.Ordinal) && key.Length is > 8 and <= 255 && key.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')))
            problems.Add("--key must be sk_test_ and then letters, digits or '_': dev mode takes test keys only");
        return problems.Count == 0 ? url! : throw new ConfigurationException(string.Join("; ", problems), "Run the command with --help to see what it takes.");
    }
}
