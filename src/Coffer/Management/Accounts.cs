
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The accounts of an app, for someone with an admin key: listed, exported and forgotten.</summary>
internal sealed class Accounts(Engine engine, Instance instance, Gate gate, ManagementWriter management,
    Tenants tenants, TimeProvider time)
{
    public const int LongestReason = 500;

    /// <inheritdoc cref="SecretStore.Room"/>
    public required Room Room { get; init; }

    /// <summary>How often something is read again because the database was changed for another meanwhile.</summary>
    private const int MostTries = 10;

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
        await gate.RequireAppAsync(caller, Acts.ListAccounts, app, ct);
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
    /// <exception cref="ApiError">
    /// 404: there is no such app. 503: there is no room for so many payloads.
    /// </exception>
    public async Task<(IReadOnlyList<Owned> Secrets, bool HasMore, IDisposable? Room)> ExportAsync(
        Caller caller, string app, string account, bool livemode, string reason, string? after, int limit,
            CancellationToken ct)
    {
        await gate.RequireAppAsync(caller, Acts.Export, app, ct);
        var id = new TenantId(app, livemode, account);
        if (await tenants.FindAsync(id, ct) is not { } tenant)
        {
            await gate.PassAsync(caller.Entry("export", "ok") with { Tenant = id, Reason = reason, Count = 0 });
            return ([], false, null);
        }

        return await Room.EnterAsync(
            await engine.SizeOfTenantListAsync(tenant.Number, after, Now(), limit, ct),
            room => ExportAsync(caller, tenant, reason, after, limit, room, ct), ct);
    }

    private async Task<(IReadOnlyList<Owned> Secrets, bool HasMore, IDisposable? Room)> ExportAsync(
        Caller caller, Tenant tenant, string reason, string? after, int limit, IDisposable room, CancellationToken ct)
    {
        for (var tries = 0; tries < MostTries; tries++)
        {
            // One more than is given, which is neither opened nor recorded.
            var failovers = engine.Failovers;
            var rows = await engine.ListTenantSecretsAsync(tenant.Number, after, Now(), limit + 1, ct);
            if (await tenants.MovedAsync(tenant, rows, ct) is { } now)
            {
                tenant = now;
                continue;
            }

            if (await RevealAsync(caller, "export", failovers, tenant, [.. rows.Take(limit)], reason) is { } secrets)
                return (secrets, rows.Count > limit, room);
        }

        throw ApiError.Contradictory(SecretStore.Moving);
    }

    /// <summary>One secret of an account with its payload; recorded with its reason before it is given.</summary>
    /// <exception cref="ApiError">404: there is no such secret of that account.</exception>
    public async Task<Owned> RevealAsync(Caller caller, string app, string account, string id, string reason,
        CancellationToken ct)
    {
        await gate.RequireAppAsync(caller, Acts.Reveal, app, ct);
        foreach (var livemode in (bool[])[false, true])
        {
            var failovers = engine.Failovers;
            for (var tries = 1;
                await tenants.FindAsync(new TenantId(app, livemode, account), ct) is { } tenant
                && await engine.FindSecretAsync(tenant.Number, id, Now(), ct) is { } row;
                tries++)
            {
                var isMoved = await tenants.MovedAsync(tenant, [row], ct) is not null;
                if (!isMoved
                    && await RevealAsync(caller, "reveal", failovers, tenant, [row], reason) is { } revealed)
                    return revealed[0].Secret is not null ? revealed[0] : throw SealedSecret.Damaged(tenant.Id, row);
                if (tries == MostTries)
                    throw ApiError.Contradictory(SecretStore.Moving);
                failovers = engine.Failovers;
            }
        }

        await gate.PassAsync(
            caller.Entry("reveal", "absent") with { App = app, Account = account, Target = id, Reason = reason });
        throw ApiError.NoSuch("secret", id);
    }

    /// <summary>
    /// Destroys the keys of an account's tenants and all that hangs under them, and ends the ephemeral keys that were
    /// made for it, in one transaction. An account for which nothing is stored is forgotten already. What is stated of
    /// it is in the same transaction, and is signed by <see cref="Receipts"/> when it is true.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<Reply> ForgetAsync(ManagementWriter.Request<Receipt> request, string app, string account)
    {
        gate.Require(request.Caller, Acts.ForgetAccount, app);
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
                .. ManagementWriter.DeleteReplies(instance, app, account),
                .. ((bool[])[false, true]).Select(livemode =>
                    Generations.Raise(instance, new TenantId(app, livemode, account), found.Number, now)),
                Endings.EndsFormatOne(app, Revocations.Of(app, account), now),
                receipt.ToRow(instance),
                .. App.Inspect(found.App, instance).HasEvents
                    ? found.Tenants.Select(tenant => Forgotten(receipt, tenant, request.Caller, now))
                    : [],
            ];
            return new(receipt, rows, entry with { Count = test + live });
        }

        static long Count(IReadOnlyList<CountedTenantRow> tenants, bool livemode) =>
            tenants.Where(tenant => tenant.Livemode == livemode).Sum(tenant => tenant.Secrets);
    }

    // Its keys are gone with it: what it had is not in the event.
    private RowWrite.PutEvent Forgotten(Receipt receipt, CountedTenantRow tenant, Caller caller, long now) => Event.Put(
        instance, new Event.Owner(receipt.App, tenant.Livemode, receipt.Account), EventKinds.AccountForgotten, json =>
        {
            json.WriteString("id"u8, receipt.Account);
            json.WriteString("object"u8, "account"u8);
            json.WriteString("receipt"u8, receipt.Id);
            json.WriteNumber("secrets"u8, tenant.Secrets);
        }, caller.Origin.RequestId, UnixTime.Date(now));

    // Null if they are to be read again. What is damaged is among them, and recorded as that.
    private async Task<IReadOnlyList<Owned>?> RevealAsync(Caller caller, string verb, long failovers, Tenant tenant,
        IReadOnlyList<SecretRow> rows, string reason)
    {
        var damaged = new List<DamagedRow>();
        var secrets = rows.Select(row => Owned.Open(instance, tenant, row, wantsPayload: true, damaged)).ToList();
        await gate.ReportAsync(damaged, caller.Origin.RequestId);
        var mayLeave = await gate.PassAsync(secrets, failovers, [.. secrets.Select(owned => Entry(owned, owned.Row))]);
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

    private long Now() => engine.SecondToRead(time);
}
