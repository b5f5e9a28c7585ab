using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Coffer.Access;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>The accounts of an app, for who has an admin key: listed, exported, searched and forgotten.</summary>
internal sealed class Accounts(Engine engine, Instance instance, Gate gate, Management management, Tenants tenants, TimeProvider time)
{
    public const int LongestReason = 500;

    /// <summary>A secret with whose it is. Dispose of it to clear its payload.</summary>
    public sealed record Owned(string App, string Account, Secret Secret) : IDisposable
    {
        public void Dispose() => Secret.Dispose();

        public override string ToString() => Secret.ToString();
    }

    /// <summary>Where a search goes on: after a secret that stands there.</summary>
    public sealed record Position(long? ExpiresAt, long Tenant, byte[] Name);

    /// <summary>A page of a search, and where the next one begins; null if this is the last.</summary>
    public sealed record Found(IReadOnlyList<Owned> Secrets, Position? Next);

    /// <summary>An account: when something was first stored for it, and how many unexpired secrets it has in each mode.</summary>
    public sealed record Account(string Id, long Created, long Test, long Live);

    /// <summary>What was forgotten: how many unexpired secrets of each mode there were, when, and the signed statement of it.</summary>
    public sealed record Forgotten(string App, string Account, long Test, long Live, long At, string Receipt);

    /// <summary>A page of the accounts of an app in the order of their ids; and one more, not on record, if there are more.</summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<IReadOnlyList<Account>> ListAsync(Caller caller, string app, string? after, int limit, CancellationToken ct)
    {
        await RequireAppAsync(caller, "list_accounts", app, ct);
        var rows = await engine.ListAccountsAsync(app, after, Now(), limit + 1, ct);
        await gate.PassAsync(caller.Entry("list_accounts", "ok") with { App = app, Count = Math.Min(rows.Count, limit) });
        return [.. rows.Select(row => new Account(row.Account, row.Created, row.Test, row.Live))];
    }

    /// <summary>A page of all secrets of a tenant with their payloads, newest first; each is on record before it is given.</summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<(IReadOnlyList<Owned> Secrets, bool HasMore)> ExportAsync(
        Caller caller, string app, string account, bool livemode, string reason, string? after, int limit, CancellationToken ct)
    {
        await RequireAppAsync(caller, "export", app, ct);
        var id = new TenantId(app, livemode, account);
        if (await tenants.FindAsync(id, ct) is not { } tenant)
        {
            await gate.PassAsync(caller.Entry("export", "ok") with { Tenant = id, Reason = reason, Count = 0 });
            return ([], false);
        }

        while (true)
        {
            // One more than is given, which is neither opened nor on record.
            var session = engine.Session;
            var rows = await engine.ListTenantSecretsAsync(tenant.Number, after, Now(), limit + 1, ct);
            if (await RevealAsync(caller, "export", session, tenant, [.. rows.Take(limit)], reason) is { } secrets)
                return (secrets, rows.Count > limit);
        }
    }

    /// <summary>One secret of an account with its payload; on record with its reason before it is given.</summary>
    /// <exception cref="ApiError">404: there is no such secret of that account.</exception>
    public async Task<Owned> RevealAsync(Caller caller, string app, string account, string id, string reason, CancellationToken ct)
    {
        await RequireAppAsync(caller, "reveal", app, ct);
        foreach (var livemode in (bool[])[false, true])
        {
            var session = engine.Session;
            while (await tenants.FindAsync(new TenantId(app, livemode, account), ct) is { } tenant && await engine.FindSecretAsync(tenant.Number, id, Now(), ct) is { } row)
            {
                if (await RevealAsync(caller, "reveal", session, tenant, [row], reason) is { } revealed)
                    return revealed[0];
                session = engine.Session;
            }
        }

        await gate.PassAsync(caller.Entry("reveal", "absent") with { App = app, Account = account, Target = id, Reason = reason });
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
    public async Task<Found> SearchAsync(
        Caller caller, string? app, string? account, bool? livemode, long? expiringBefore, Position? after, int limit, CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        var rows = await engine.SearchSecretsAsync(new SecretFilter(app, account, livemode, expiringBefore),
            after is null ? null : (after.ExpiresAt, new SecretKey(after.Tenant, after.Name)), Now(), limit + 1, ct);
        var found = new List<Owned>();
        foreach (var (id, row) in rows.Take(limit))
        {
            // Shredded since it was found: it is gone.
            if (await tenants.FindAsync(id, ct) is { } tenant && tenant.Number == row.Key.Tenant)
                found.Add(new Owned(id.App, id.Account, SealedSecret.Open(instance, tenant, row, scope: null, wantsPayload: false)));
        }

        await gate.PassAsync(caller.Entry("search_secrets", "ok") with { App = app, Account = account, Count = found.Count });
        return new Found(found, rows.Count > limit ? PositionOf(rows[limit - 1].Secret) : null);

        static Position PositionOf(SecretRow row) => new(row.ExpiresAt, row.Key.Tenant, row.Key.Name);
    }

    /// <summary>
    /// Destroys the keys of an account's tenants and all that hangs under them, and ends the ephemeral keys that were made for it, in one
    /// transaction. An account for which nothing is stored is forgotten already.
    /// </summary>
    /// <exception cref="ApiError">404: there is no such app.</exception>
    public async Task<Reply> ForgetAsync(Management.Request<Forgotten> request, string app, string account)
    {
        gate.RequireAdmin(request.Caller);
        var entry = request.Caller.Entry("forget_account", "ok") with { App = app, Account = account };
        try
        {
            return await management.WriteAsync(request, new Change.ManagementKey(Now()) { App = app, Account = account, NeedsNumber = true }, entry, Forget);
        }
        finally
        {
            // Whatever became of the commit: a tenant that is still there is read again.
            tenants.Forget(new TenantId(app, Livemode: false, account));
            tenants.Forget(new TenantId(app, Livemode: true, account));
        }

        Management.Decision<Forgotten> Forget(Change.ManagementFound found, long now)
        {
            if (found.App is null)
                throw ApiError.NoSuch("app", app);
            var (test, live) = (Count(found.Tenants, livemode: false), Count(found.Tenants, livemode: true));
            RowWrite[] rows =
            [
                .. found.Tenants.Select(tenant => new RowWrite.ShredTenant(tenant.Id, new TenantId(app, tenant.Livemode, account))),
                new RowWrite.DeleteReplies(Management.OwnerOf(instance, app, account)),
                .. ((bool[])[false, true]).Select(livemode => Generations.Raise(instance, new TenantId(app, livemode, account), found.Number, now)),
                Endings.EndsFormatOne(app, Revocations.Of(app, account), now),
            ];
            return new(new Forgotten(app, account, test, live, now, Receipt(app, account, test, live, now)), rows, entry with { Count = test + live });
        }

        static long Count(IReadOnlyList<CountedTenantRow> tenants, bool livemode) => tenants.Where(tenant => tenant.Livemode == livemode).Sum(tenant => tenant.Secrets);
    }

    // Null if they are to be read anew.
    private async Task<IReadOnlyList<Owned>?> RevealAsync(Caller caller, string verb, long session, Tenant tenant, IReadOnlyList<SecretRow> rows, string reason)
    {
        var secrets = rows.Select(row => new Owned(tenant.Id.App, tenant.Id.Account, SealedSecret.Open(instance, tenant, row, scope: null, wantsPayload: true))).ToList();
        var mayLeave = await gate.PassAsync(secrets, session, [.. rows.Zip(secrets, (row, owned) => caller.Entry(verb, "ok") with
        {
            Tenant = tenant.Id, Scope = owned.Secret.Scope.Word, Name = row.Key.Name, Version = row.Version, Target = row.Id, Reason = reason,
        })]);
        return mayLeave ? secrets : null;
    }

    private async Task RequireAppAsync(Caller caller, string verb, string app, CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        if (await engine.FindAppAsync(app, ct) is not null)
            return;
        await gate.PassAsync(caller.Entry(verb, "absent") with { App = app });
        throw ApiError.NoSuch("app", app);
    }

    /// <summary>RFC 7515, compact serialisation, ES256: any JOSE library verifies it with the store's public key.</summary>
    private string Receipt(string app, string account, long test, long live, long now)
    {
        var payload = new JsonObject
        {
            ["account"] = account,
            ["app"] = app,
            ["forgotten_at"] = now,
            ["instance"] = Convert.ToHexStringLower(instance.Id),
            ["object"] = "account.forgotten",
            ["secrets"] = new JsonObject { ["live"] = live, ["test"] = test },
        };
        var said = $"{Base64Url("""{"alg":"ES256","typ":"JWT"}""")}.{Base64Url(payload.ToJsonString())}";
        var signature = instance.AuditSigningKey.SignData(System.Text.Encoding.ASCII.GetBytes(said), HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        return $"{said}.{System.Buffers.Text.Base64Url.EncodeToString(signature)}";

        static string Base64Url(string json) => System.Buffers.Text.Base64Url.EncodeToString(System.Text.Encoding.UTF8.GetBytes(json));
    }

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();
}
