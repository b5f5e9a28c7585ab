using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>What a key is for, told by its prefix.</summary>
internal enum KeyKind
{
    /// <summary>
    /// <c>sk_test_…</c>, <c>sk_live_…</c>: an app's backend; every scope of every account of its app and mode.
    /// </summary>
    Secret,

    /// <summary><c>rk_test_…</c>, <c>rk_live_…</c>: the same with fewer permissions, or in one account only.</summary>
    Restricted,

    /// <summary><c>ek_test_…</c>, <c>ek_live_…</c>: a browser; one account's own scope and one user's in it.</summary>
    Ephemeral,

    /// <summary><c>ak_…</c>: the management plane, never a secret.</summary>
    Admin,
}

/// <summary>What a key may do with secrets and installs.</summary>
[Flags]
internal enum Permissions
{
    None = 0,

    /// <summary>Find and list, and the payload of what is deleted.</summary>
    SecretRead = 1,

    /// <summary>Set and delete.</summary>
    SecretWrite = 2,

    /// <summary>All with secrets: the most that an ephemeral key may.</summary>
    All = SecretRead | SecretWrite,

    /// <summary>List and show installs.</summary>
    AppInstallRead = 4,

    /// <summary>Create installs, and update them.</summary>
    AppInstallWrite = 8,

    /// <summary>All that there is: what a secret key may.</summary>
    Everything = All | AppInstallRead | AppInstallWrite,
}

/// <summary>Permissions as words.</summary>
internal static class PermissionWords
{
    private static readonly (Permissions Permission, string Word)[] Known =
    [
        (Permissions.SecretRead, "secret_read"), (Permissions.SecretWrite, "secret_write"),
        (Permissions.AppInstallRead, "app_install_read"), (Permissions.AppInstallWrite, "app_install_write"),
    ];

    public static IEnumerable<string> Words(this Permissions permissions) =>
        Known.Where(known => permissions.HasFlag(known.Permission)).Select(static known => known.Word);

    /// <returns>Null if a word is none.</returns>
    public static Permissions? Parse(IEnumerable<string> words)
    {
        var permissions = Permissions.None;
        foreach (var word in words)
        {
            var known = Known.FirstOrDefault(each => each.Word == word);
            if (known.Word is null)
                return null;
            permissions |= known.Permission;
        }

        return permissions;
    }
}

/// <summary>Where a request came from.</summary>
/// <param name="RequestId">The id that its answer carries.</param>
/// <param name="Remote">The address at the other end of the connection.</param>
/// <param name="WebOrigin">The web origin of the page that asks, if a browser says so.</param>
internal sealed record Origin(string RequestId, string Remote, string? WebOrigin = null)
{
    /// <summary>The program itself.</summary>
    public static readonly Origin Internal = new("", "");
}

/// <summary>Who is asking: a proven API key, and the account that the request is about.</summary>
/// <param name="KeyId">The key's id, <c>key_…</c> or <c>ephkey_…</c>: safe to log, unlike the key.</param>
/// <param name="Kind">What the key is for.</param>
/// <param name="Tenant">App, mode and account; null for an admin key, which has none.</param>
/// <param name="Origin">The request that it asks with.</param>
internal sealed record Caller(string KeyId, KeyKind Kind, TenantId? Tenant, Origin Origin)
{
    /// <summary>The app; null for an admin key.</summary>
    public App? App { get; init; }

    public Permissions Permissions { get; init; } = Permissions.All;

    /// <summary>Whether the key is for one account, in which it acts without being told.</summary>
    public bool IsPinned { get; init; }

    /// <summary>Of an admin key: what it may do. Null of another key.</summary>
    public Role? Role { get; init; }

    /// <summary>Of an admin key: the apps that it is held to; null is all.</summary>
    public IReadOnlyList<string>? Apps { get; init; }

    /// <summary>Whether its key may say that a renewal is done (<see cref="ApiKey.MayConfirm"/>).</summary>
    public bool MayConfirm { get; init; }

    /// <summary>
    /// Whether an admin key is for what belongs to an app; null belongs to none, and is for those of all apps.
    /// </summary>
    public bool Reaches(string? app) => Apps is null || (app is not null && Apps.Contains(app, StringComparer.Ordinal));

    /// <summary>The mode of the key; an admin key has none, and counts as live.</summary>
    public bool Livemode => Tenant?.Livemode ?? true;

    /// <summary>The account that it acts in; null for an admin key.</summary>
    public string? Account => Tenant?.Account;

    /// <summary>Of an ephemeral key: the one user whose scope it reaches, as exact UTF-8 bytes.</summary>
    public ReadOnlyMemory<byte> User { get; init; }

    /// <summary>Whose turn and bounds its changes take; null for an admin key.</summary>
    public Payer? Payer => Tenant is null ? null : new Payer(Tenant.App, Kind == KeyKind.Ephemeral ? KeyId : null);

    /// <summary>Whether it acts in the same account of the same app and mode as another.</summary>
    public bool IsBeside(Caller other) => Tenant == other.Tenant;

    /// <summary>An audit entry about something that this caller asked for.</summary>
    /// <param name="verb">What.</param>
    /// <param name="outcome">What became of it.</param>
    /// <param name="scope">The word of the scope, if it is about one.</param>
    /// <param name="name">The blind index of the name, if it is about one.</param>
    /// <param name="version">The version, if it is about one.</param>
    public AuditEntry Entry(
        string verb, string outcome, string? scope = null, byte[]? name = null, long? version = null) =>
        new(verb, outcome)
        {
            Scope = scope,
            Name = name,
            Version = version,
            Request = Origin.RequestId,
            Remote = Origin.Remote,
            Key = KeyId,
            Tenant = Tenant,
            Payer = Payer,
        };
}
