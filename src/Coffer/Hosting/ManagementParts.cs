using Coffer.Api;
using Coffer.Api.Admin;
using Coffer.Access;
using Coffer.Http;
using Coffer.Management;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>Writes of the management plane, with the routes that lead to them.</summary>
internal sealed record ManagementParts(Minting Minting, Installs Installs, IReadOnlyList<ApiRoute> AdminRoutes)
{
    /// <summary>What happened.</summary>
    public required EventList Events { get; init; }

    /// <summary>Where receipts outlive the store, or null.</summary>
    public ReceiptFolder? Folder { get; private init; }

    public static async Task<ManagementParts> OpenAsync(
        StorageParts storage, StorePolicy policy, KeyParts keys, AuditParts audit, AccessParts access,
        SecretsParts secrets, Surroundings around, CancellationToken ct)
    {
        var (instance, options) = (policy.Instance, policy.InForce);
        var (engine, gate, time) = (storage.Engine, access.Gate, around.Time);
        var order = await CreationOrder.OpenAsync(engine, instance, ct);
        var writer = new ManagementWriter(audit.Committer, secrets.Tenants, time, order, access.Budgets);
        var folder = options.Receipts is { } path ? new ReceiptFolder(path, around.Log<ReceiptFolder>()) : null;
        var plan = BackupSchedule.Plan.Of(options.Backups);
        var receipts = around.Parts.Add(
            new Receipts(engine, audit.Committer, instance, gate, time, around.Log<Receipts>())
            {
                Folder = folder,
                Backups = KnownBackups,
            });
        receipts.Start();
        around.Loops.Add(receipts.Loop);
        var rotation = new RootRotation(engine, audit.Committer, instance, keys.Wrappers, time);
        keys.Rotate(rotation);
        var tenantKeys = around.Parts.Add(new TenantKeyRotation(
            engine, audit.Committer, secrets.Tenants, gate, time, around.Log<TenantKeyRotation>())
        {
            Roots = rotation,
            Renewal = new StoreRenewal(engine, audit.Committer, instance, rotation, gate, time),
        });
        instance.WhenRenewed += tenantKeys.Wake;
        tenantKeys.Start();
        around.Loops.Add(tenantKeys.Loop);
        var events = new EventList(engine, secrets.Tenants, gate);
        var scans = around.Parts.Add(new Scans());
        var accounts = new Accounts(engine, instance, gate, writer, secrets.Tenants, time)
        {
            Room = secrets.Store.Room,
        };
        var installs = new Installs(engine, secrets.Tenants, gate, writer, receipts);
        return new ManagementParts(new Minting(instance, access.Endings, writer, gate, secrets.Tenants), installs,
        [
            .. new AppsApi(new ManagedApps(engine, instance, gate, writer, time)).Routes,
            .. new ApiKeysApi(new KeyRing(engine, instance, gate, writer)).Routes,
            .. new AccountsApi(accounts, receipts).Routes,
            .. new AppInstallsApi(installs).Routes,
            .. new SearchApi(new SecretSearch(engine, scans, instance, gate, secrets.Tenants, time)).Routes,
            .. new ReceiptsApi(receipts).Routes,
            .. new AuditApi(new AuditTrail(engine, scans, gate)).Routes,
            .. new SettingsApi(gate, receipts, new ManagedSettings(instance, gate, writer), policy.With).Routes,
            .. new RootKeysApi(
                new ManagedRootKeys(engine, instance, keys.Wrappers, rotation, gate, writer)
                {
                    Backups = KnownBackups,
                }).Routes,
            .. new TenantKeysApi(new ManagedTenantKeys(engine, instance, tenantKeys, gate, writer)).Routes,
            .. new ManagedEventsApi(events).Routes,
            .. new WebhookEndpointsApi(new ManagedEndpoints(
                engine, instance, gate, writer, new Destinations(options.WebhookNetworks))).Routes,
            .. new StatusApi(gate, new NodeStatus(engine, time), () => policy.InForce).Routes,
        ])
        {
            Folder = folder,
            Events = events,
        };

        KnownBackups? KnownBackups() => plan?.Known(instance.Id);
    }
}
