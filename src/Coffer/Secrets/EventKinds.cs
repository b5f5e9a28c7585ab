namespace Coffer.Secrets;

/// <summary>What may happen, in words (docs/events.md, "Kinds").</summary>
internal static class EventKinds
{
    // Of a secret: with its name and user for those who asked for them.
    public const string SecretSet = "secret.set", SecretDeleted = "secret.deleted", SecretExpiring = "secret.expiring",
        SecretExpired = "secret.expired";

    public const string KeyCreated = "key.created", KeyRolled = "key.rolled", KeyRevoked = "key.revoked";

    public const string AccountForgotten = "account.forgotten";

    public const string InstallCreated = "apps.install.created", InstallUpdated = "apps.install.updated",
        InstallDeleted = "apps.install.deleted";

    // Of the store.
    public const string BackupFailed = "backup.failed", RootKeyRotated = "root_key.rotated";

    public static readonly IReadOnlyList<string> All =
    [
        SecretSet, SecretDeleted, SecretExpiring, SecretExpired, KeyCreated, KeyRolled, KeyRevoked, AccountForgotten,
        InstallCreated, InstallUpdated, InstallDeleted, BackupFailed, RootKeyRotated,
    ];
}
