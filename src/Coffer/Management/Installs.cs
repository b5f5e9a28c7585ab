using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Installs of apps: listed, created and removed, by the app's backend or by someone with an admin key. To uninstall
/// destroys the tenant's keys and all that hangs under them, ends what was minted for it, and closes the account, in
/// one transaction.
/// </summary>
internal sealed partial class Installs(
    Engine engine, Tenants tenants, Gate gate, ManagementWriter management, Receipts receipts)
{
    private readonly Instance instance = tenants.Instance;

    /// <summary>What of an app a caller reaches.</summary>
    /// <param name="App">The app.</param>
    /// <param name="Livemode">The mode.</param>
    /// <param name="Account">The one account; null is all.</param>
    private sealed record Reach(App App, bool Livemode, string? Account);

    /// <summary>One install, for the app's backend.</summary>
    /// <exception cref="ApiError">404: there is none that the key reaches.</exception>
    public async Task<Install> ShowAsync(Caller caller, string id, CancellationToken ct)
    {
        var (app, tenant) = gate.RequireInstalls(caller, Permissions.AppInstallRead);
        var install = await FindAsync(ReachOf(caller, app, tenant), id, caller.Origin.RequestId, ct);
        if (gate.TakesMetadata)
        {
            await gate.PassAsync(caller.Entry("show_install", install is null ? "absent" : "ok") with { Target = id });
        }

        return install ?? throw ApiError.NoSuch("install", id);
    }

    /// <summary>
    /// Installs the app in the caller's account; one that is there is given as it is, whoever made it.
    /// </summary>
    /// <param name="request">Who asks, and how it is answered.</param>
    /// <param name="app">What the request says of the app.</param>
    /// <param name="channel">What it says of the channel.</param>
    /// <exception cref="ApiError">400: it is another app, or a channel that such an account has not.</exception>
    public Task<Reply> CreateAsync(ManagementWriter.Request<Install> request, string app, string channel)
    {
        var (own, tenant) = gate.RequireInstalls(request.Caller, Permissions.AppInstallWrite);
        RequireOwn(own, app);
        if (channel != Install.ChannelOf(own, tenant))
        {
            throw ApiError.Unusable("channel", tenant.Account == own.Account
                ? $"the app's own account installs it with {Install.PrivateChannel(tenant.Livemode)}; name another "
                    + "account in the Stripe-Account header to install it there"
                : "in an account that the Stripe-Account header names an app is installed with public");
        }

        return AddAsync(request, own, tenant);
    }

    /// <summary>The same for someone with an admin key.</summary>
    /// <exception cref="ApiError">404: there is no such app. 400: the app has no such accounts.</exception>
    public async Task<Reply> CreateAsync(
        ManagementWriter.Request<Install> request, string app, bool livemode, string account, CancellationToken ct)
    {
        var of = await RequireAppAsync(request.Caller, Acts.CreateInstall, app, ct);
        return of.Takes(account)
            ? await AddAsync(request, of, new TenantId(app, livemode, account))
            : throw ApiError.Unusable("account", $"accounts of this app look like '{of.AccountPattern}'");
    }

    /// <summary>
    /// Asks the account again what it allows, which is what it always does: gives the install as it is.
    /// </summary>
    /// <exception cref="ApiError">404: there is none that the key reaches.</exception>
    public async Task<Reply> UpdateAsync(ManagementWriter.Request<Install> request, string id)
    {
        var (app, tenant) = gate.RequireInstalls(request.Caller, Permissions.AppInstallWrite);
        var install = await FindAsync(
            ReachOf(request.Caller, app, tenant), id, request.Caller.Origin.RequestId, CancellationToken.None);
        var entry = EntryOf(request.Caller, "update_install", install, id);
        return await management.WriteAsync(request with { IsKeptByStore = true }, new Change.ManagementKey(), entry,
            (_, _) => new(install ?? throw ApiError.NoSuch("install", id), [], entry) { Owner = install.Tenant });
    }

    /// <summary>Removes an install, for the app's backend. Again is no error while it is under way.</summary>
    /// <exception cref="ApiError">
    /// 403: the key is restricted, or the app may not uninstall itself. 404: there is none that the key reaches.
    /// </exception>
    public Task<Reply> UninstallAsync(ManagementWriter.Request<Install> request, string id)
    {
        var (app, tenant) = gate.RequireUninstall(request.Caller);
        return RemoveAsync(request, ReachOf(request.Caller, app, tenant), id);
    }

    /// <summary>The same for someone with an admin key, whether or not the app may.</summary>
    /// <exception cref="ApiError">404: there is no such app, or no such install of it.</exception>
    public async Task<Reply> UninstallAsync(
        ManagementWriter.Request<Install> request, string app, string id, CancellationToken ct)
    {
        var of = await RequireAppAsync(request.Caller, Acts.Uninstall, app, ct);
        return await RemoveAsync(request, new Reach(of, InstallId.IsLive(id), Account: null), id);
    }

    private async Task<Reply> AddAsync(ManagementWriter.Request<Install> request, App app, TenantId id)
    {
        request = request with { IsKeptByStore = true };
        var entry = request.Caller.Entry("create_install", "ok") with { Tenant = id };
        if (await FindRowAsync(id, CancellationToken.None) is { } there)
            return await management.WriteAsync(request, new Change.ManagementKey(), entry,
                (_, _) => Unchanged(there.Number, there.Created, there.Install));
        if (request.Caller.Payer is not null)
            tenants.Charge(id.App);
        var closed = InstallId.Closed(instance, id);
        var at = new Change.ManagementKey { App = id.App, Account = (id.Account, management.Now), Closed = closed };
        return await management.WriteAsync(request, at, entry, (found, now) =>
        {
            if (found.App is null)
                throw ApiError.AppDeleted();
            if (found.Tenants.FirstOrDefault(tenant => tenant.Livemode == id.Livemode) is { } tenant)
                return Unchanged(tenant.Id, tenant.Created, known: null);
            // Another second than that of the install before: so it has another id.
            var created = Math.Max(now, found.Uninstalled?.Created + 1 ?? 0);
            RowWrite[] opened = found.Uninstalled is null ? [] : [new RowWrite.DeleteUninstall(closed)];
            var made = Of(app, id, created);
            return new(made,
                [.. opened, tenants.New(id, created), .. InstallEvents.Of(instance, made, request.Caller, now)], entry)
            {
                Owner = id,
            };
        });

        ManagementWriter.Decision<Install> Unchanged(long number, long created, string? known)
        {
            var install = Of(app, id, created) with { Number = number };
            RowWrite[] rows = known == install.Stored ? [] : [new RowWrite.GiveInstall(number, install.Stored)];
            return new(install, rows, entry with { Outcome = "unchanged" }) { Owner = id };
        }
    }

    private async Task<Reply> RemoveAsync(ManagementWriter.Request<Install> request, Reach reach, string id)
    {
        // To older nodes no account is closed.
        if (instance.Level < Control.Installs)
            throw ApiError.OlderNodesRun("accounts that an app was uninstalled from");
        var install = await FindAsync(reach, id, request.Caller.Origin.RequestId, CancellationToken.None);
        var entry = EntryOf(request.Caller, "uninstall", install, id) with { App = reach.App.Id };
        var at = install is null ? new Change.ManagementKey() : new Change.ManagementKey
        {
            App = install.Tenant.App,
            Account = (install.Tenant.Account, management.Now),
            Closed = InstallId.Closed(instance, install.Tenant),
            NeedsNumber = true,
        };
        string? receipt = null;
        try
        {
            // A repetition with the same idempotency key is answered also when nothing is there any more.
            var reply = await management.WriteAsync(request with { IsKeptByStore = true }, at, entry, (found, now) =>
            {
                var decision = Remove(
                    install ?? throw ApiError.NoSuch("install", id), found, now, request.Caller, entry);
                receipt = decision.Outcome.Receipt;
                return decision;
            });
            if (receipt is not null)
                receipts.Begin(receipt);
            return reply;
        }
        finally
        {
            // Whatever became of the commit: a tenant that is still there is read again.
            if (install is not null)
                tenants.Forget(install.Tenant);
        }
    }

    private ManagementWriter.Decision<Install> Remove(
        Install install, Change.ManagementFound found, long now, Caller caller, AuditEntry entry)
    {
        var tenant = install.Tenant;
        if (found.Tenants.FirstOrDefault(each => each.Id == install.Number) is not { } there)
        {
            return found.Uninstalled is { } gone && gone.Install == install.Stored
                ? new(install with { Receipt = gone.Receipt }, [], entry with { Outcome = "unchanged" })
                {
                    Owner = tenant,
                }
                : throw ApiError.NoSuch("install", install.Id);
        }

        var (test, live) = tenant.Livemode ? (0L, there.Secrets) : (there.Secrets, 0L);
        var receipt = Receipt.New(tenant.App, tenant.Account, test, live, now) with
        {
            Install = new Receipt.OfInstall(install.Id, tenant.Livemode),
        };
        var removed = install with { Receipt = receipt.Id };
        RowWrite[] rows =
        [
            new RowWrite.ShredTenant(there.Id, tenant),
            .. ManagementWriter.DeleteReplies(instance, tenant),
            Generations.Raise(instance, tenant, found.Number, now),
            Endings.EndsFormatOne(tenant.App, Revocations.Of(tenant), now),
            receipt.ToRow(instance),
            new RowWrite.PutUninstall(new UninstallRow(
                InstallId.Closed(instance, tenant), install.Stored, there.Id, there.Created, receipt.Id)),
            .. InstallEvents.Of(instance, removed, caller, now),
        ];
        return new(removed, rows, entry with { Count = there.Secrets })
        {
            Owner = tenant,
        };
    }

    // An app's backend acts on all its installs unless its key or a header is for one account.
    private static Reach ReachOf(Caller caller, App app, TenantId tenant) => new(app, tenant.Livemode,
        tenant.Account == app.Account && !caller.IsPinned ? null : tenant.Account);

    private static void RequireOwn(App own, string app)
    {
        if (own.Id != app)
            throw ApiError.UnknownPosition("app", app, "app");
    }

    private static AuditEntry EntryOf(Caller caller, string verb, Install? install, string id) =>
        caller.Entry(verb, "ok") with { Target = id, Tenant = install?.Tenant ?? caller.Tenant };

    private async Task<App> RequireAppAsync(Caller caller, Act act, string app, CancellationToken ct) =>
        App.From(await gate.RequireAppAsync(caller, act, app, ct), instance);

    private Install Of(App app, TenantId tenant, long created) => new(
        InstallId.Shown(tenant.Livemode, InstallId.Of(instance, tenant, created)), app, tenant, created);
}
