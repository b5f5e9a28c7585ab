namespace Coffer.Access;

/// <summary>
/// Something that is done on the management plane: a route names it, and <see cref="Gate"/> decides by it.
/// </summary>
/// <param name="Name">As the audit log has it.</param>
/// <param name="Least">The role that it needs; those above have it too.</param>
internal sealed record Act(string Name, Role Least)
{
    /// <summary>Whether it is about the store as a whole, and so not for a key that is held to apps.</summary>
    public bool IsOfStore { get; init; }
}

/// <summary>All acts (docs/management.md, "Roles").</summary>
internal static class Acts
{
    public static readonly Act
        ListApps = new("list_apps", Role.Viewer),
        ShowApp = new("show_app", Role.Viewer),
        CreateApp = new("create_app", Role.Operator) { IsOfStore = true },
        ChangeApp = new("change_app", Role.Operator),
        DeleteApp = new("delete_app", Role.Operator),
        RollSigningSecret = new("roll_signing_secret", Role.Operator),
        ListKeys = new("list_keys", Role.Viewer),
        ShowKey = new("show_key", Role.Viewer),
        CreateKey = new("create_key", Role.Operator),
        RollKey = new("roll_key", Role.Operator),
        RevokeKey = new("revoke_key", Role.Operator),
        ManageAdminKeys = new("manage_admin_keys", Role.Owner) { IsOfStore = true },
        ListAccounts = new("list_accounts", Role.Viewer),
        SearchSecrets = new("search_secrets", Role.Viewer),
        Reveal = new("reveal", Role.Operator),
        Export = new("export", Role.Owner),
        ForgetAccount = new("forget_account", Role.Owner),
        ListInstalls = new("list_installs", Role.Viewer),
        CreateInstall = new("create_install", Role.Operator),
        Uninstall = new("uninstall", Role.Owner),
        ShowReceipt = new("show_receipt", Role.Viewer),
        ListAudit = new("list_audit", Role.Viewer),
        ListEvents = new("list_events", Role.Viewer),
        ListEndpoints = new("list_webhook_endpoints", Role.Viewer),
        ShowEndpoint = new("show_webhook_endpoint", Role.Viewer),
        ListDeliveries = new("list_deliveries", Role.Viewer),
        CreateEndpoint = new("create_webhook_endpoint", Role.Operator),
        ChangeEndpoint = new("change_webhook_endpoint", Role.Operator),
        DeleteEndpoint = new("delete_webhook_endpoint", Role.Operator),
        RollEndpointSecret = new("roll_webhook_secret", Role.Operator),
        RetryDelivery = new("retry_delivery", Role.Operator),
        ManageStoreEndpoints = new("manage_store_endpoints", Role.Owner) { IsOfStore = true },
        ShowStatus = new("show_status", Role.Viewer),
        ShowSettings = new("show_settings", Role.Owner) { IsOfStore = true },
        ChangeSettings = new("change_settings", Role.Owner) { IsOfStore = true },
        ShowRootKeys = new("show_root_keys", Role.Owner) { IsOfStore = true },
        ChangeRootKeys = new("change_root_keys", Role.Owner) { IsOfStore = true },
        ShowTenantKeys = new("show_tenant_keys", Role.Owner) { IsOfStore = true },
        RotateTenantKeys = new("rotate_tenant_keys", Role.Owner) { IsOfStore = true };
}
