namespace Coffer;

/// <summary>What wraps root keys, as an operator writes it: <c>file:/etc/coffer/coffer.key</c>.</summary>
/// <param name="Scheme">What kind of wrapper, with the colon.</param>
/// <param name="Rest">What comes after it.</param>
internal sealed record WrapperUrl(string Scheme, string Rest)
{
    public const string KeyFile = "file:", Credential = "credential:", Exec = "exec:", Vault = "vault:",
        AwsKms = "awskms:", AzureKeyVault = "azurekv:", GoogleKms = "gcpkms:";

    /// <summary>What one may be, to end a sentence.</summary>
    public const string Forms = "file:/PATH, credential:NAME, exec:/PATH, "
        + "vault:https://HOST/MOUNT/KEY, awskms:KEY_ARN, azurekv:https://HOST/keys/NAME/VERSION or "
        + "gcpkms:projects/ID/locations/PLACE/keyRings/RING/cryptoKeys/KEY";

    private const string SystemdVariable = "CREDENTIALS_DIRECTORY", OfContainers = "/run/secrets";

    private static readonly string[] All = [KeyFile, Credential, Exec, Vault, AwsKms, AzureKeyVault, GoogleKms];

    /// <summary>The kind of a wrapper by its name, such as <c>vault</c>; <c>other</c> of recovery shares.</summary>
    public static string KindOf(string id) =>
        All.FirstOrDefault(known => id.StartsWith(known, StringComparison.Ordinal))?.TrimEnd(':') ?? "other";

    /// <returns>Null if the text is no such URL.</returns>
    public static WrapperUrl? Parse(string text)
    {
        if (All.FirstOrDefault(known => text.StartsWith(known, StringComparison.Ordinal)) is not { } scheme)
            return null;
        var rest = text[scheme.Length..];
        var isSound = scheme switch
        {
            Credential => rest.Length > 0 && !rest.Contains('/', StringComparison.Ordinal) && rest is not ("." or ".."),
            Vault => IsService(rest),
            AwsKms => rest.Split(':') is ["arn", { Length: > 0 }, "kms", { Length: > 0 }, { Length: > 0 }, var key]
                && (key.StartsWith("key/", StringComparison.Ordinal)
                    || key.StartsWith("alias/", StringComparison.Ordinal)),
            AzureKeyVault => IsService(rest) && Parts(rest) is ["keys", _, _] && !rest.EndsWith('/'),
            GoogleKms => rest.Split('/') is ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _]
                && rest.Split('/').All(IsPlain),
            _ => rest.StartsWith('/') && rest.Length > 1,
        };
        return isSound ? new WrapperUrl(scheme, rest) : null;
    }

    /// <summary>
    /// Whether it is the address of a key service: plain HTTP stays on this machine, and a password or a token has no
    /// place in it.
    /// </summary>
    public static bool IsSafe(string text) => Uri.TryCreate(text, UriKind.Absolute, out var url)
        && (url.Scheme == Uri.UriSchemeHttps || (url.Scheme == Uri.UriSchemeHttp && url.IsLoopback))
        && url is { UserInfo: "", Query: "", Fragment: "" };

    private static bool IsService(string rest) =>
        IsSafe(rest) && Parts(rest) is { Length: >= 2 } parts && parts.All(part => part.Length > 0);

    private static string[] Parts(string rest) => new Uri(rest).AbsolutePath.Trim('/').Split('/');

    // A colon is in the projects of a domain: example.com:project.
    private static bool IsPlain(string part) =>
        part.Any(char.IsAsciiLetterOrDigit) && part.All(c => char.IsAsciiLetterOrDigit(c) || "-_.:".Contains(c));

    /// <summary>A key file, by a path that may begin anywhere.</summary>
    public static WrapperUrl Of(string keyFile) => new(KeyFile, Path.GetFullPath(keyFile));

    /// <summary>
    /// The file that it names, or null if it names none. A credential is where systemd puts those of a unit, and else
    /// where containers have their secrets.
    /// </summary>
    public string? File => Scheme switch
    {
        KeyFile => Rest,
        Credential => Path.Combine(
            Environment.GetEnvironmentVariable(SystemdVariable) is { Length: > 0 } given ? given : OfContainers, Rest),
        _ => null,
    };

    public override string ToString() => Scheme + Rest;
}

/// <summary>What is set about wrappers.</summary>
/// <param name="Urls">Which, in their order; none is the key file of a data directory.</param>
internal sealed record KeySettings(IReadOnlyList<WrapperUrl> Urls)
{
    /// <summary>The key files among them.</summary>
    public IEnumerable<string> Files => Urls.Where(url => url.Scheme == WrapperUrl.KeyFile).Select(url => url.Rest);

    /// <summary>What each program is given as its arguments.</summary>
    public IReadOnlyList<string> ExecArguments { get; init; } = [];

    /// <summary>The variables that a program is given besides PATH and HOME.</summary>
    public IReadOnlyList<string> ExecEnvironment { get; init; } = [];

    /// <summary>A file that has the token for Vault; null is in VAULT_TOKEN.</summary>
    public string? VaultTokenFile { get; init; }

    /// <summary>The role id of an AppRole of Vault, which a token is asked with; null asks with no role.</summary>
    public string? VaultRole { get; init; }

    /// <summary>A file that has the role's secret id.</summary>
    public string? VaultSecretFile { get; init; }

    /// <summary>The namespace in Vault; null is the root's.</summary>
    public string? VaultNamespace { get; init; }

    /// <summary>The address of AWS KMS; null is that of the key's region.</summary>
    public string? AwsEndpoint { get; init; }

    /// <summary>The address of Google Cloud KMS; null is the public one.</summary>
    public string? GoogleEndpoint { get; init; }

    /// <summary>How long one call to a key service may take in all, signing in aside.</summary>
    public TimeSpan CallPatience { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a start waits for a wrapper that is away.</summary>
    public TimeSpan Patience { get; init; }

    /// <summary>The same with a key file where nothing else is set.</summary>
    public KeySettings Or(string keyFile) => Urls.Count > 0 ? this : this with { Urls = [WrapperUrl.Of(keyFile)] };
}
