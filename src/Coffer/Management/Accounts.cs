
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The accounts of an app, for someone with an admin key: listed, exported, searched and forgotten.</summary>
internal sealed class Accounts(Engine engine, Instance instance, Gate gate, ManagementWriter management,
    Tenants tenants, TimeProvider time)
{
    public const int LongestReason = 500;

    /// <summary>How often something is read again because the database was changed for another meanwhile.</summary>
    private const int MostTries = 10;

    /// <summary>
    /// A secret with whose it is; null if its row was changed outside Coffer. Dispose of it to clear its payload.
    /// </summary>
    /// <param name="Tenant">Whose it is.</param>
    /// <param name="Row">What is stored: unproven where there is no secret.</param>
    /// <param name="Secret">What was opened.</param>
    public sealed record Owned(TenantId Tenant, SecretRow Row, Secret? Secret) : IDisposable
    {
        public string Id => Row.Id;

        public long Created => Row.Created;

        public long? ExpiresAt => Row.ExpiresAt;

        public long Version => Row.Version;

        public string App => Tenant.App;

        public string Account => Tenant.Account;

        public bool Livemode => Tenant.Livemode;

        public void Dispose() => Secret?.Dispose();

        public override string ToString() => $"{Row.Id} [redacted]";
    }

    /// <summary>Where a search continues: after a secret that stands there.</summary>
    public sealed record Position(long? ExpiresAt, long Tenant, byte[] Name);

    /// <summary>A page of a search, and where the next one begins; null if this is the last.</summary>
    public sealed record SearchPage(IReadOnlyList<Owned> Secrets, Position? Next);

    /// <summary>
    /// An account: when something was first stored for it, and how many unexpired secrets it has in each mode.
    /// </summary>
    public sealed record Account(string Id, long Created, long Test, long Live, bool IsDamaged);

    /// <summary>
    /// A page of the accounts of an app in the order of their ids; and one more, not recorded, if there are more.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<IReadOnlyList<Account>> ListAsync(Caller caller, string app, Cursor? cursor, int limit,
        CancellationToken ct)
    {
        await RequireAppAsync(caller, "list_accounts", app, ct);
        var rows = await engine.ListAccountsAsync(
            app, cursor?.Id ?? "", cursor is { IsBefore: true }, Now(), limit + 1, ct);
        await gate.PassAsync(
            caller.Entry("list_accounts", "ok") with { App = app, Count = Math.Min(rows.Count, limit) });
        var damaged = rows.Where(row => !row.IsSound).Select(row => Damaged(app, row));
        await gate.ReportAsync([.. damaged], caller.Origin.RequestId);
        return [.. rows.Select(row => new Account(row.Account, row.Created, row.Test, row.Live, !row.IsSound))];

        static DamagedRow Damaged(string app, AccountRow row) =>
            new("tenants", $"of {row.Account}", "a mode or a time") { App = app, Account = row.Account };
    }

    /// <summary>
    /// A page of all secrets of a tenant with their payloads, newest first; each is recorded before it is given.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<(IReadOnlyList<Owned> Secrets, bool HasMore)> ExportAsync(
        Caller caller, string app, string account, bool livemode, string reason, string? after, int limit,
            CancellationToken ct)
    {
        await RequireAppAsync(caller, "export", app, ct);
        var id = new TenantId(app, livemode, account);
        if (await tenants.FindAsync(id, ct) is not { } tenant)
        {
            await gate.PassAsync(caller.Entry("export", "ok") with { Tenant = id, Reason = reason, Count = 0 });
            return ([], false);
        }

        for (var tries = 0; tries < MostTries; tries++)
        {
            // One more than is given, which is neither opened nor recorded.
            var reconnects = engine.Reconnects;
            var rows = await engine.ListTenantSecretsAsync(tenant.Number, after, Now(), limit + 1, ct);
            if (await RevealAsync(caller, "export", reconnects, tenant, [.. rows.Take(limit)], reason) is { } secrets)
                return (secrets, rows.Count > limit);
        }

        throw ApiError.Contradictory(SecretStore.Moving);
    }

    /// <summary>One secret of an account with its payload; recorded with its reason before it is given.</summary>
    /// <exception cref="ApiError">404: there is no such secret of that account.</exception>
    public async Task<Owned> RevealAsync(Caller caller, string app, string account, string id, string reason,
        CancellationToken ct)
    {
        await RequireAppAsync(caller, "reveal", app, ct);
        foreach (var livemode in (bool[])[false, true])
        {
            var reconnects = engine.Reconnects;
            for (var tries = 1;
                await tenants.FindAsync(new TenantId(app, livemode, account), ct) is { } tenant
                && await engine.FindSecretAsync(tenant.Number, id, Now(), ct) is { } row;
                tries++)
            {
                if (await RevealAsync(caller, "reveal", reconnects, tenant, [row], reason) is { } revealed)
                    return revealed[0].Secret is not null ? revealed[0] : throw SealedSecret.Damaged(tenant.Id, row);
                if (tries == MostTries)
                    throw ApiError.Contradictory(SecretStore.Moving);
                reconnects = engine.Reconnects;
            }
        }

        await gate.PassAsync(
            caller.Entry("reveal", "absent") with { App = app, Account = account, Target = id, Reason = reason });
        throw ApiError.NoSuch("secret", id);
    }

    /// <summary>Unexpired secrets across accounts, without payloads.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="app">Of this app, or null.</param>
    /// <param name="account">Of this account, or null.</param>
    /// <param name="livemode">Of this mode, or null.</param>
    /// <param name="expiringBefore">What expires before this Unix second, soonest first; or null.</param>
    /// <param name="after">Where the page before ended, or null.</param>
    /// <param name="limit">The most secrets to give.</param>
    /// <param name="ct">Ends the wait.</param>
    public async Task<SearchPage> SearchAsync(
        Caller caller, string? app, string? account, bool? livemode, long? expiringBefore, Position? after, int limit,
            CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        var rows = await engine.SearchSecretsAsync(new SecretFilter(app, account, livemode, expiringBefore),
            after is null ? null : (after.ExpiresAt, new SecretKey(after.Tenant, after.Name)), Now(), limit + 1, ct);
        var (found, opened) = (new List<Owned>(), new Dictionary<TenantId, (Tenant? Tenant, DamagedRow? Damage)>());
        var damaged = new List<DamagedRow>();
        foreach (var (id, row) in rows.Take(limit))
        {
            // One that is damaged fails all of its secrets, and is asked for once.
            if (!opened.TryGetValue(id, out var owner))
                opened.Add(id, owner = await FindOrDamageAsync(id, ct));
            if (owner.Damage is { } damage)
            {
                damaged.Add(damage);
                found.Add(new Owned(id, row, null));
            }
            else if (!row.IsSound)
            {
                damaged.Add(SealedSecret.Damaged(id, row).Damage!);
                found.Add(new Owned(id, row, null));
            }

            // Shredded since it was found: it is gone.
            else if (owner.Tenant is { } tenant && tenant.Number == row.Key.Tenant)
                found.Add(Open(tenant, row, wantsPayload: false, damaged));
        }

        await gate.ReportAsync(damaged, caller.Origin.RequestId);
        await gate.PassAsync(
            caller.Entry("search_secrets", "ok") with { App = app, Account = account, Count = found.Count });
        return new SearchPage(found, rows.Count > limit ? PositionOf(rows[limit - 1].Secret) : null);

        static Position PositionOf(SecretRow row) => new(row.ExpiresAt, row.Key.Tenant, row.Key.Name);
    }

    /// <summary>
    /// Destroys the keys of an account's tenants and all that hangs under them, and ends the ephemeral keys that were
    /// made for it, in one transaction. An account for which nothing is stored is forgotten already. What is stated of
    /// it is in the same transaction, and is signed by <see cref="Receipts"/> when it is true.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<Reply> ForgetAsync(ManagementWriter.Request<Receipt> request, string app, string account)
    {
        gate.RequireAdmin(request.Caller);
        var entry = request.Caller.Entry("forget_account", "ok") with { App = app, Account = account };
        try
        {
            return await management.WriteAsync(request,
                new Change.ManagementKey { App = app, Account = (account, Now()), NeedsNumber = true }, entry, Forget);
        }
        finally
        {
            // Whatever became of the commit: a tenant that is still there is read again.
            tenants.Forget(new TenantId(app, Livemode: false, account));
            tenants.Forget(new TenantId(app, Livemode: true, account));
        }

        ManagementWriter.Decision<Receipt> Forget(Change.ManagementFound found, long now)
        {
            if (found.App is null)
                throw ApiError.NoSuch("app", app);
            var (test, live) = (Count(found.Tenants, livemode: false), Count(found.Tenants, livemode: true));
            var receipt = Receipt.New(app, account, test, live, now);
            RowWrite[] rows =
            [
                .. found.Tenants.Select(
                    tenant => new RowWrite.ShredTenant(tenant.Id, new TenantId(app, tenant.Livemode, account))),
                new RowWrite.DeleteReplies(ManagementWriter.OwnerOf(instance, app, account)),
                .. ((bool[])[false, true]).Select(livemode =>
                    Generations.Raise(instance, new TenantId(app, livemode, account), found.Number, now)),
                Endings.EndsFormatOne(app, Revocations.Of(app, account), now),
                receipt.ToRow(instance),
            ];
            return new(receipt, rows, entry with { Count = test + live });
        }

        static long Count(IReadOnlyList<CountedTenantRow> tenants, bool livemode) =>
            tenants.Where(tenant => tenant.Livemode == livemode).Sum(tenant => tenant.Secrets);
    }

    // Null if they are to be read again. What is damaged is among them, and recorded as that.
    private async Task<IReadOnlyList<Owned>?> RevealAsync(Caller caller, string verb, long reconnects, Tenant tenant,
        IReadOnlyList<SecretRow> rows, string reason)
    {
        var damaged = new List<DamagedRow>();
        var secrets = rows.Select(row => Open(tenant, row, wantsPayload: true, damaged)).ToList();
        await gate.ReportAsync(damaged, caller.Origin.RequestId);
        var mayLeave = await gate.PassAsync(secrets, reconnects, [.. secrets.Select(owned => Entry(owned, owned.Row))]);
        return mayLeave ? secrets : null;

        AuditEntry Entry(Owned owned, SecretRow row) => caller.Entry(verb, owned.Secret is null ? "damaged" : "ok") with
        {
            Tenant = tenant.Id,
            Scope = owned.Secret?.Scope.Word,
            Name = row.Key.Name,
            Version = row.Version,
            Target = row.Id,
            Reason = reason,
        };
    }

    private Owned Open(Tenant tenant, SecretRow row, bool wantsPayload, List<DamagedRow> damaged)
    {
        try
        {
            return new Owned(tenant.Id, row, SealedSecret.Open(instance, tenant, row, scope: null, wantsPayload));
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            damaged.Add(e.Damage);
            return new Owned(tenant.Id, row, null);
        }
    }

    private async ValueTask<(Tenant? Tenant, DamagedRow? Damage)> FindOrDamageAsync(TenantId id, CancellationToken ct)
    {
        try
        {
            return (await tenants.FindAsync(id, ct), null);
        }
        catch (ApiError e) when (e.Damage is not null)
        {
            return (null, e.Damage);
        }
    }

    private async Task RequireAppAsync(Caller caller, string verb, string app, CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        if (await engine.FindAppAsync(app, ct) is not null)
            return;
        await gate.PassAsync(caller.Entry(verb, "absent") with { App = app });
        throw ApiError.NoSuch("app", app);
    }

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();
}
