using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Secrets;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>Mints and revokes ephemeral keys, for the backend of an app.</summary>
internal sealed class Minting(
    Instance instance, Endings endings, ManagementWriter management, Gate gate, Tenants tenants)
{
    /// <summary>What a mint gives: the key, and its token, which is nowhere else.</summary>
    public sealed record Minted(EphemeralKey Key, string Token)
    {
        public override string ToString() => $"{Key.Id} [redacted]";
    }

    /// <summary>A key for a user of the caller's account. It ends with the key that mints it.</summary>
    /// <param name="request">Who asks, and how it is answered.</param>
    /// <param name="user">The user's id, 1 to 500 characters.</param>
    /// <param name="life">How long it is accepted, in seconds, 60 to 86,400; no longer than the key that mints
    /// it.</param>
    /// <param name="permissions">What it may do.</param>
    /// <exception cref="ApiError">403: only a secret key mints, for an account that is not closed. 400: the life is out
    /// of range. 401: the key has ended meanwhile.</exception>
    public async Task<Reply> MintAsync(
        ManagementWriter.Request<Minted> request, ReadOnlyMemory<byte> user, long life, Permissions permissions)
    {
        var caller = request.Caller;
        var (app, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        if (life is < EphemeralKey.ShortestLife or > EphemeralKey.LongestLife)
            throw ApiError.OutOfRange("expires_in", EphemeralKey.ShortestLife, EphemeralKey.LongestLife);
        if (await tenants.FindAsync(tenant, CancellationToken.None) is null
            && await tenants.IsClosedAsync(tenant, app, CancellationToken.None))
            throw gate.NotInstalled(caller);
        var entry = caller.Entry("mint_key", "ok");
        var at = new Change.ManagementKey
        {
            Mint = (caller.KeyId, tenant),
            Closed = InstallId.Closed(instance, tenant),
        };
        return await management.WriteAsync(request, at, entry, (found, now) =>
        {
            if (found.Uninstalled is not null)
                throw ApiError.NotInstalled();
            var (parent, ties, rows) = endings.Tie(found.Mint!, now);
            var expires = Math.Min(now + life, parent.ExpiresAt ?? long.MaxValue);
            var id = EphemeralKey.NewId(instance, tenant, now, expires);
            var key = new EphemeralKey(id, tenant, user, permissions, caller.KeyId, now, expires) { Ties = ties };
            return new(new Minted(key, key.Seal(instance)), rows, entry with { Target = key.Id, Scope = "user" });
        });
    }

    /// <summary>
    /// Ends a key of the caller's account: at once on this node, within <see cref="Epoch.Bound"/> on the others. Again
    /// is no error.
    /// </summary>
    /// <exception cref="ApiError">404: it is no key of this app, mode and account.</exception>
    public async Task<EphemeralKey> RevokeAsync(Caller caller, string id)
    {
        var (_, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        if (EphemeralKey.Times(instance, tenant, id) is not { } times)
            throw ApiError.NoSuch("ephemeral key", id);
        var (at, rows) = endings.End(tenant, id, times.Created, times.Expires);
        await management.WriteAsync(at, rows, caller.Entry("revoke_key", "ok") with { Target = id });
        return new EphemeralKey(id, tenant, default, Permissions.None, caller.KeyId, times.Created, times.Expires);
    }
}
