using Coffer.Access;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Telemetry;

namespace Coffer.Secrets;

/// <summary>A tenant with its keys opened.</summary>
internal sealed record Tenant(long Number, TenantId Id, TenantKeys Keys)
{
    /// <summary>Which keys these are: one more at each change of them.</summary>
    public long Counter => Keys.Counter;
}

/// <summary>
/// Opens tenants and keeps the opened ones, up to a bound. A tenant is made by the first thing that is stored for it.
/// Other nodes tell when its keys are others; nothing depends on it: who writes compares the counter of the keys that
/// it used with the one that is stored, under the lock of the tenant's row, and who reads compares it with what it
/// read.
/// </summary>
/// <param name="engine">Where they are read.</param>
/// <param name="committer">Through which they are made.</param>
/// <param name="instance">Whose store it is.</param>
/// <param name="time">For when they were made.</param>
/// <param name="kept">How many opened ones are kept.</param>
/// <param name="budgets">How many an app may make; null bounds nothing.</param>
internal sealed class Tenants(
    Engine engine, Committer committer, Instance instance, TimeProvider time, int kept, Budgets? budgets = null)
{
    /// <summary>How often an account may be forgotten while something is stored for it.</summary>
    private const int MostTries = 100;

    private static readonly Counter.Count Hits = Metrics.TenantLookups.Of("hit"),
        Misses = Metrics.TenantLookups.Of("miss");

    private readonly RecentlyUsed<TenantId, Tenant> opened = new(kept);
    private readonly TenantMarks marks = new(engine, kept);
    private readonly Engine engine = engine;
    private readonly TimeProvider time = time;

    /// <summary>
    /// Refuses a change whose tenant was shredded, or was given other keys, after it was looked up: it is to be looked
    /// up again.
    /// </summary>
    public sealed class MovedException : Exception;

    /// <summary>Whose store it is.</summary>
    public Instance Instance => instance;

    /// <inheritdoc cref="Engine.HasNodesOfFormatOne"/>
    public bool HasNodesOfFormatOne => engine.HasNodesOfFormatOne;

    /// <summary>Has a change decide only by the keys that are stored.</summary>
    /// <exception cref="MovedException">These are not.</exception>
    public static void RequireCurrent(Tenant tenant, Change.Found found)
    {
        if (found.Counter != tenant.Counter)
            throw new MovedException();
    }

    /// <summary>The tenant, or null if nothing was ever stored for it.</summary>
    /// <exception cref="ApiError">Its keys were changed outside Coffer.</exception>
    public ValueTask<Tenant?> FindAsync(TenantId id, CancellationToken ct)
    {
        var known = engine.IsBehind ? null : opened.Find(id);
        (known is null ? Misses : Hits).Add();
        return known is null ? ReadAsync(id, ct) : new(known);
    }

    /// <summary>How many are kept open.</summary>
    public int Count => opened.Count;

    /// <summary>The same as it is stored now, whatever was kept.</summary>
    /// <exception cref="ApiError">Its keys were changed outside Coffer, or an old row was put back.</exception>
    public ValueTask<Tenant?> RereadAsync(TenantId id, CancellationToken ct)
    {
        opened.Remove(id);
        return ReadAsync(id, ct);
    }

    /// <summary>The same as it is stored now; null also if its keys do not open.</summary>
    public async ValueTask<Tenant?> RereadOrNullAsync(TenantId id, CancellationToken ct)
    {
        try
        {
            return await RereadAsync(id, ct);
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            return null;
        }
    }

    /// <summary>
    /// The tenant as it is stored now, if rows that were read are under keys that it has not and those are others by
    /// now: the rows are to be read again. Else null.
    /// </summary>
    public async ValueTask<Tenant?> MovedAsync(Tenant tenant, IReadOnlyList<SecretRow> rows, CancellationToken ct)
    {
        if (rows.All(row => tenant.Keys.MayOpen(row.Sealed)) || await RereadAsync(tenant.Id, ct) is not { } now)
            return null;
        return (now.Number, now.Counter) != (tenant.Number, tenant.Counter) ? now : null;
    }

    private async ValueTask<Tenant?> ReadAsync(TenantId id, CancellationToken ct)
    {
        for (var isAgain = false; ; isAgain = true)
        {
            var removals = opened.Removals;
            if (await instance.FindUnderRootAsync(
                () => engine.FindTenantAsync(id, ct), static row => row.SealedKeys, ct) is not { } row)
                return null;
            // What is no longer kept may still be in use by a request: its keys are cleared when they are finalised.
            var tenant = Open(instance, id, row);
            if (marks.IsBehind(tenant))
            {
                // One that was read before another saw a later one is read again; then it was put back.
                if (isAgain)
                    throw Damaged(id, row, "its counter, which went back");
                continue;
            }

            opened.Keep(id, tenant, removals);
            return tenant;
        }
    }

    /// <summary>A tenant with its keys, for the caller to keep.</summary>
    /// <exception cref="ApiError">Its keys were changed outside Coffer.</exception>
    public static Tenant Open(Instance instance, TenantId id, TenantRow row)
    {
        using var stored = OpenKeys(instance, id, row);
        return stored is not null && TenantKeys.Parse(stored.Span) is { } keys
            && (keys.Counter, keys.Count) == (row.Counter, row.Keys)
            ? new Tenant(row.Id, id, keys)
            : throw Damaged(id, row, "its proof");
    }

    /// <summary>The tenant, which is made if it is not there; null if only an install makes one.</summary>
    /// <param name="id">Whose it is.</param>
    /// <param name="app">Its app; null is one that sets nothing.</param>
    /// <param name="ct">Ends reading.</param>
    /// <exception cref="ApiError">
    /// 403: the app was deleted. 429: it has made too many of late. 503: the storage does not give back what it stored.
    /// </exception>
    public async ValueTask<Tenant?> FindOrAddAsync(TenantId id, App? app, CancellationToken ct)
    {
        if (await FindAsync(id, ct) is { } known)
            return known;
        if (await IsClosedAsync(id, app, ct))
            return null;

        Charge(id.App);
        for (var tries = 0; tries < MostTries; tries++)
        {
            // Whoever commits first, on whichever node, decides the keys; all read them back.
            var adding = new Adding(this, id);
            await committer.CommitAsync(adding);
            if (adding.IsClosed)
                return null;
            if (await FindAsync(id, ct) is { } added)
                return added;
            // Not there: its app is not either, or its account was forgotten in between.
            if (await engine.FindAppAsync(id.App, ct) is null)
                throw ApiError.AppDeleted();
        }

        throw ApiError.Contradictory("a tenant that was stored is not there");
    }

    /// <summary>
    /// Whether an account without a tenant is closed: the app was uninstalled from it, or has to be installed first.
    /// </summary>
    public async ValueTask<bool> IsClosedAsync(TenantId id, App? app, CancellationToken ct) =>
        app is { AreInstallsExplicit: true }
        || await engine.FindUninstallAsync(InstallId.Closed(instance, id), ct) is not null;

    /// <summary>Counts a tenant that is to be made.</summary>
    /// <exception cref="ApiError">429: the app has made too many of late.</exception>
    public void Charge(string app) => budgets?.TakeTenant(app);

    /// <summary>The row of a new tenant with keys of its own, sealed under the root key that seals now.</summary>
    /// <param name="id">Whose it is.</param>
    /// <param name="created">When it counts as made, in Unix seconds.</param>
    public RowWrite.AddTenant New(TenantId id, long created)
    {
        using var fresh = TenantKeys.Generate(instance.Facts?.Sealing ?? 1, isFormatOne: HasNodesOfFormatOne);
        using var keys = TenantKeys.Parse(fresh.Span)!;
        return new RowWrite.AddTenant(id, created, Seal(instance, id, fresh.Span, keys.Counter, keys.Count))
        {
            Counter = keys.Counter,
            Keys = keys.Count,
            Install = InstallId.Of(instance, id, created),
        };
    }

    /// <summary>Has a tenant read again that is gone or has other keys, or may.</summary>
    public void Forget(TenantId id) => opened.Remove(id);

    /// <summary>The same for all that a commit has removed or given other keys.</summary>
    public void Forget(News news)
    {
        if (news.IsAllTenants)
            opened.Clear();
        foreach (var id in news.Tenants)
            opened.Remove(id);
    }

    /// <summary>
    /// A tenant's keys under the root key that seals, in their format. Not such as do not open, nor such as were there
    /// before a compromise that a root key has ended or ends: whoever knows those has put them back.
    /// </summary>
    /// <returns>Null, with what is wrong, if it is to stay as it is.</returns>
    public static byte[]? Rewrap(Instance instance, OwnedTenantRow owned, out DamagedRow? damage)
    {
        using var stored = OpenKeys(instance, owned.Tenant, owned.Row);
        damage = stored switch
        {
            null => Damage(owned.Tenant, owned.Row, owned.Row.IsSound ? "its proof" : DamagedRow.Columns),
            _ when !AreSinceCompromises(instance, owned.Tenant, stored.Span) =>
                Damage(owned.Tenant, owned.Row, "its keys, which are of before a compromise"),
            _ => null,
        };
        return damage is null
            ? Seal(instance, owned.Tenant, stored!.Span, owned.Row.Counter, owned.Row.Keys)
            : null;
    }

    private static bool AreSinceCompromises(Instance instance, TenantId id, ReadOnlySpan<byte> stored)
    {
        if (instance.Facts?.Compromises.Where(of => of.Tenants.Has(id)).ToList() is not { Count: > 0 } compromises)
            return true;
        using var keys = TenantKeys.Parse(stored);
        return keys is not null && compromises.TrueForAll(of => keys.AreSince(of.First));
    }

    /// <summary>The row that gives a tenant other keys, sealed under the root key that seals.</summary>
    /// <param name="tenant">With the keys that it has.</param>
    /// <param name="keys">The next ones, as they are stored; they are cleared.</param>
    public RowWrite.PutTenantKeys Next(Tenant tenant, SecretBytes keys)
    {
        using var stored = keys;
        using var next = TenantKeys.Parse(stored.Span)!;
        return new(tenant.Number, tenant.Id, Seal(instance, tenant.Id, stored.Span, next.Counter, next.Count),
            next.Counter, next.Count);
    }

    /// <summary>The beginning of all that is bound to a tenant: what for, the store, and whose it is.</summary>
    public static AssociatedData Bound(SealedKind kind, Instance instance, TenantId id)
    {
        var bound = kind.Bind();
        bound.Add(instance.Id);
        bound.Add(id.App);
        bound.Add(id.Livemode ? 1 : 0);
        bound.Add(id.Account);
        return bound;
    }

    private static SecretBytes? OpenKeys(Instance instance, TenantId id, TenantRow row)
    {
        using var bound = BoundKeys(instance, id, row.Counter, row.Keys);
        // Nobody has sealed keys under a root key that was none when they were made.
        return row.IsSound && TenantKeys.SeedRootOf(row.Counter) <= Envelope.KeyVersionOf(row.SealedKeys)
            ? instance.Roots.Open(row.SealedKeys, bound.Span)
            : null;
    }

    private static byte[] Seal(Instance instance, TenantId id, ReadOnlySpan<byte> keys, long counter, long count)
    {
        using var bound = BoundKeys(instance, id, counter, count);
        return instance.Roots.Seal(KindOf(counter), keys, bound.Span);
    }

    private static SealedKind KindOf(long counter) => counter == 0 ? SealedKind.TenantKeysOne : SealedKind.TenantKeys;

    private static AssociatedData BoundKeys(Instance instance, TenantId id, long counter, long count)
    {
        var bound = Bound(KindOf(counter), instance, id);
        if (counter == 0)
            return bound;
        bound.Add(counter);
        bound.Add(count);
        return bound;
    }

    private static DamagedRow Damage(TenantId id, TenantRow row, string what) =>
        new("tenants", $"{row.Id}", what) { App = id.App, Account = id.Account };

    private static ApiError Damaged(TenantId id, TenantRow row, string what) =>
        ApiError.RecordDamaged("tenant", Damage(id, row, what));

    // Sealed when it is decided: under the root key that seals then.
    private sealed class Adding(Tenants own, TenantId id) : Change
    {
        /// <summary>Whether it made none, because the account is closed.</summary>
        public bool IsClosed { get; private set; }

        public override Payer? Payer { get; } = new(id.App);

        public override ManagementKey ManagementAt { get; } = new() { Closed = InstallId.Closed(own.Instance, id) };

        // Asked in the transaction: what comes late does not open again what was closed before it.
        public override IReadOnlyList<RowWrite> Decide(Found found)
        {
            IsClosed = found.Management!.Uninstalled is not null;
            return IsClosed ? [] : [own.New(id, own.time.GetUtcNow().ToUnixTimeSeconds())];
        }
    }
}
