using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// How fast an app, and an ephemeral key by itself, may have bytes kept under idempotency keys, the audit log written
/// and tenants made: on this node, ten seconds' worth at once. A request is refused before any work while what was
/// written before it is more than that; what it then writes is charged as it is, so one that turns out large makes the
/// next ones wait.
/// </summary>
internal sealed class Budgets(Budgets.Rates rates, TimeProvider time) : IDisposable
{
    /// <summary>How many seconds' worth may be used at once.</summary>
    public const int Depth = 10;

    private const double Kilobyte = 1024;

    private readonly Buckets keptByApp = Of(rates.KeptPerApp * Kilobyte, time);
    private readonly Buckets keptByKey = Of(rates.KeptPerKey * Kilobyte, time);
    private readonly Buckets auditByApp = Of(rates.AuditPerApp * Kilobyte, time);
    private readonly Buckets auditByKey = Of(rates.AuditPerKey * Kilobyte, time);
    private readonly Buckets tenantsByApp = Of(rates.TenantsPerApp, time);

    /// <summary>What there is each second; 0 is no limit.</summary>
    /// <param name="KeptPerApp">KB kept under the idempotency keys of an app.</param>
    /// <param name="KeptPerKey">KB kept under those of one ephemeral key.</param>
    /// <param name="AuditPerApp">KB of audit entries about what an app does.</param>
    /// <param name="AuditPerKey">KB of those about what one ephemeral key does.</param>
    /// <param name="TenantsPerApp">Tenants of an app that are made.</param>
    public sealed record Rates(int KeptPerApp, int KeptPerKey, int AuditPerApp, int AuditPerKey, int TenantsPerApp);

    /// <exception cref="ApiError">429: too much was written to the audit log.</exception>
    public void RequireAudit(Payer? payer)
    {
        if (Wait(payer, auditByApp, auditByKey) is { } wait)
            throw ApiError.TooMuchAudit(wait.OfKey, wait.For);
    }

    /// <exception cref="ApiError">429: too much was kept under idempotency keys.</exception>
    public void RequireKept(Payer? payer)
    {
        if (Wait(payer, keptByApp, keptByKey) is { } wait)
            throw ApiError.TooMuchKept(wait.OfKey, wait.For);
    }

    /// <exception cref="ApiError">429: too many tenants were made.</exception>
    public void TakeTenant(string app)
    {
        if (!tenantsByApp.TryTake(app))
            throw ApiError.TooManyNewAccounts(tenantsByApp.WaitFor(app) ?? TimeSpan.FromSeconds(1));
    }

    /// <summary>Counts audit entries, before or after they are written.</summary>
    public void ChargeAudit(Payer? payer, int bytes) => Charge(payer, bytes, auditByApp, auditByKey);

    /// <summary>Counts what was kept under an idempotency key.</summary>
    public void ChargeKept(Payer? payer, int bytes) => Charge(payer, bytes, keptByApp, keptByKey);

    public void Dispose()
    {
        foreach (var buckets in (Buckets[])[keptByApp, keptByKey, auditByApp, auditByKey, tenantsByApp])
            buckets.Dispose();
    }

    private static Buckets Of(double rate, TimeProvider time) => new(rate, rate * Depth, time);

    private static (bool OfKey, TimeSpan For)? Wait(Payer? payer, Buckets byApp, Buckets byKey)
    {
        if (payer?.Key is { } key && byKey.WaitFor(key) is { } wait)
            return (true, wait);
        return payer is not null && byApp.WaitFor(payer.App) is { } longer ? (false, longer) : null;
    }

    private static void Charge(Payer? payer, int bytes, Buckets byApp, Buckets byKey)
    {
        if (payer is null)
            return;
        byApp.Charge(payer.App, bytes);
        if (payer.Key is { } key)
            byKey.Charge(key, bytes);
    }
}
