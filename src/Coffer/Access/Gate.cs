using System.Net;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// The one place that decides what a caller may do, and records refusals. Every verb asks it first.
/// </summary>
/// <param name="refusals">Where refusals are counted.</param>
/// <param name="recorder">What records reads.</param>
/// <param name="engine">The store.</param>
/// <param name="damages">What is told of damaged rows; null is nobody.</param>
/// <param name="budgets">How much apps and ephemeral keys may write; null bounds nothing.</param>
internal sealed class Gate(
    Refusals refusals, Recorder recorder, Engine engine, Damages? damages = null, Budgets? budgets = null)
{
    /// <summary>Whether reads of metadata are recorded too.</summary>
    public bool TakesMetadata => recorder.TakesMetadata;

    /// <summary>Records what a caller reads; what was read may leave when this returns.</summary>
    /// <exception cref="ApiError">503: it cannot be recorded, so it must not leave. 429: too much was.</exception>
    public ValueTask PassAsync(params AuditEntry[] read)
    {
        if (read.Length > 0 && read[0].Payer is { } payer && budgets is not null)
        {
            budgets.RequireAudit(payer);
            budgets.ChargeAudit(payer, read.Sum(entry => entry.Size));
        }

        return recorder.PutAsync(read);
    }

    /// <summary>Asked before any work for what will be recorded, or kept under an idempotency key.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="keeps">Whether an outcome will be kept.</param>
    /// <exception cref="ApiError">429: the app or the ephemeral key has written too much.</exception>
    public void RequireBudget(Caller caller, bool keeps = false)
    {
        budgets?.RequireAudit(caller.Payer);
        if (keeps)
            budgets?.RequireKept(caller.Payer);
    }

    /// <summary>
    /// Counts what a write leaves, in bytes: its audit entry, and what was kept under its idempotency key.
    /// </summary>
    public void Charge(Payer? payer, int recorded, int kept)
    {
        budgets?.ChargeAudit(payer, recorded);
        if (kept > 0)
            budgets?.ChargeKept(payer, kept);
    }

    /// <summary>The same for what was opened: it is cleared if it must not leave.</summary>
    /// <returns>
    /// False: it may be older than what the database holds that it is recorded in, and is to be read again.
    /// </returns>
    /// <param name="opened">Secrets with their payloads.</param>
    /// <param name="failovers"><see cref="Engine.Failovers"/> before they were read.</param>
    /// <param name="read">The entries about them.</param>
    /// <exception cref="ApiError">503: they cannot be recorded, so they must not leave.</exception>
    public async ValueTask<bool> PassAsync(IEnumerable<IDisposable> opened, long failovers, params AuditEntry[] read)
    {
        var mayLeave = false;
        try
        {
            await PassAsync(read);
            return mayLeave = engine.Failovers == failovers;
        }
        finally
        {
            if (!mayLeave)
            {
                foreach (var each in opened)
                    each.Dispose();
            }
        }
    }

    /// <summary>
    /// Names stored rows that failed their proof, in the server's log and in the audit log; a row once in a while only.
    /// </summary>
    /// <param name="rows">What was not given out.</param>
    /// <param name="requestId">The request that met them.</param>
    public ValueTask ReportAsync(IReadOnlyCollection<DamagedRow> rows, string requestId) =>
        damages is null || rows.Count == 0 ? ValueTask.CompletedTask : damages.ReportAsync(rows, requestId);

    /// <summary>Counts a refusal and gives it back.</summary>
    /// <param name="outcome">Why, in one word, for the audit log.</param>
    /// <param name="keyId">The id of the key, if it is a known one.</param>
    /// <param name="origin">The request.</param>
    /// <param name="error">What the client receives.</param>
    public ApiError Refuse(string outcome, string? keyId, Origin origin, ApiError error)
    {
        refusals.Count(outcome, keyId, origin.RequestId, origin.Remote);
        return error.Of(keyId, outcome);
    }

    /// <summary>Whether a proven key may be used at all, from where it is used.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="networks">Where the key may be used; empty is anywhere.</param>
    public ApiError? Admit(Caller caller, IReadOnlyList<IPNetwork> networks)
    {
        if (networks.Count > 0
            && !(IPAddress.TryParse(caller.Origin.Remote, out var remote) && Networks.HaveIn(networks, remote)))
            return Refuse("address_not_allowed", caller, ApiError.AddressNotAllowed());
        if (caller.App is { IsDisabled: true })
            return Refuse("app_disabled", caller, ApiError.AppDisabled());
        if (caller is { App.Origins: { Count: > 0 } origins, Origin.WebOrigin: { } web }
            && !origins.Contains(web, StringComparer.Ordinal))
            return Refuse("web_origin_not_allowed", caller, ApiError.WebOriginNotAllowed());
        return null;
    }

    /// <param name="caller">Who asks.</param>
    /// <param name="needed">What the verb does.</param>
    /// <param name="user">Whose scope is meant, as exact UTF-8 bytes; empty is the account's own scope.</param>
    /// <returns>The tenant that the caller acts in.</returns>
    /// <exception cref="ApiError">403: the key does not reach that, whether or not anything is there.</exception>
    public TenantId RequireScope(Caller caller, Permissions needed, ReadOnlySpan<byte> user)
    {
        if (caller.Tenant is not { } tenant)
            throw Refuse("admin_key_on_secrets", caller, ApiError.AdminKeyOnSecrets());
        RequirePermissions(caller, needed);
        if (caller.Kind == KeyKind.Ephemeral && !user.IsEmpty && !user.SequenceEqual(caller.User.Span))
            throw Refuse("another_user", caller, ApiError.AnotherUser());
        return tenant;
    }

    /// <param name="caller">Who asks.</param>
    /// <param name="needed">What it does with installs.</param>
    /// <returns>The app and the tenant.</returns>
    /// <exception cref="ApiError">403: the key is none of an app's backend, or lacks the permission.</exception>
    public (App App, TenantId Tenant) RequireInstalls(Caller caller, Permissions needed)
    {
        if (caller.Kind != KeyKind.Restricted)
            return RequireKind(caller, KeyKind.Secret);
        RequirePermissions(caller, needed);
        return (caller.App!, caller.Tenant!);
    }

    /// <returns>The app and the tenant.</returns>
    /// <exception cref="ApiError">403: the key is restricted, or the app may not uninstall itself.</exception>
    public (App App, TenantId Tenant) RequireUninstall(Caller caller)
    {
        var reached = RequireKind(caller, KeyKind.Secret);
        return reached.App.IsUninstallDisabled
            ? throw Refuse("uninstall_disabled", caller, ApiError.UninstallDisabled())
            : reached;
    }

    /// <summary>The refusal of someone who acts in an account that is closed.</summary>
    public ApiError NotInstalled(Caller caller) => Refuse("not_installed", caller, ApiError.NotInstalled());

    /// <summary>Whether a caller may do something on the management plane.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="act">What for.</param>
    /// <param name="app">The app that it is done to, whether or not it is there; null is none in particular.</param>
    /// <exception cref="ApiError">
    /// 403: the key is not an admin key, or its role does not do that, or it is held to apps. 404: it is held to
    /// others.
    /// </exception>
    public void Require(Caller caller, Act act, string? app = null)
    {
        if (caller.Kind != KeyKind.Admin)
            throw Refuse("not_an_admin_key", caller, ApiError.AdminKeyRequired());
        if (!May(caller, act))
            throw Refuse("role_missing", caller, ApiError.RoleRequired(act.Least.Word(), caller.Role?.Word()));
        if (act.IsOfStore && caller.Apps is not null)
            throw Refuse("held_to_apps", caller, ApiError.KeyHeldToApps());
        if (app is not null && !caller.Reaches(app))
            throw Refuse("another_app", caller, ApiError.NoSuch("app", app));
    }

    /// <summary>Records a read that is about nothing in particular; it may be answered when this returns.</summary>
    public ValueTask RecordAsync(Caller caller, string verb) => PassAsync(caller.Entry(verb, "ok"));

    /// <summary>Whether the caller's role does that.</summary>
    public static bool May(Caller caller, Act act) => caller.Role >= act.Least;

    /// <returns>The app and the tenant.</returns>
    /// <exception cref="ApiError">403: the key is not one of the kind.</exception>
    public (App App, TenantId Tenant) RequireKind(Caller caller, KeyKind kind)
    {
        if (caller.Kind == kind && caller is { App: { } app, Tenant: { } tenant })
            return (app, tenant);
        throw Refuse("wrong_kind_of_key", caller,
            kind == KeyKind.Ephemeral ? ApiError.EphemeralKeyRequired() : ApiError.SecretKeyRequired());
    }

    /// <summary>Whether a caller may do something to an app that is there; that it is not is recorded.</summary>
    /// <inheritdoc cref="Require"/>
    public async Task<AppRow> RequireAppAsync(Caller caller, Act act, string app, CancellationToken ct)
    {
        Require(caller, act, app);
        if (await engine.FindAppAsync(app, ct) is { } row)
            return row;
        await PassAsync(caller.Entry(act.Name, "absent") with { App = app });
        throw ApiError.NoSuch("app", app);
    }

    private void RequirePermissions(Caller caller, Permissions needed)
    {
        if ((needed & ~caller.Permissions) is not Permissions.None and var missing)
        {
            throw Refuse("permission_missing", caller,
                ApiError.PermissionMissing(missing.Words().First(), caller.Kind == KeyKind.Ephemeral));
        }
    }

    private ApiError Refuse(string outcome, Caller caller, ApiError error) =>
        Refuse(outcome, caller.KeyId, caller.Origin, error);
}
