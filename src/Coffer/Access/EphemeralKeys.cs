using System.Text;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>Mints, proves and revokes ephemeral keys: what a backend hands to a browser for one user of one account.</summary>
internal sealed class EphemeralKeys(Instance instance, Apps apps, Revocations revocations, Management management, Gate gate, TimeProvider time)
{
    public const string Prefix = "ek_";

    /// <summary>The longest user id that a token holds, in characters: longer ones would not fit into a header.</summary>
    public const int LongestUser = 500;

    public const int ShortestLife = 60, LongestLife = 86_400, UsualLife = 3_600;

    /// <summary>Far more than a token with the longest user id has.</summary>
    private const int LongestToken = 8_000;

    /// <summary>What a mint gives: the key, and its token, which is nowhere else.</summary>
    public sealed record Minted(EphemeralKey Key, string Token)
    {
        public override string ToString() => $"{Key.Id} [redacted]";
    }

    /// <summary>A key for a user of the caller's account.</summary>
    /// <param name="request">Who asks, and how it is answered.</param>
    /// <param name="user">The user's id, 1 to 500 characters.</param>
    /// <param name="life">How long it is taken, in seconds, 60 to 86,400.</param>
    /// <param name="permissions">What it may do.</param>
    /// <exception cref="ApiError">403: only a secret key mints. 400: the life is out of range.</exception>
    public Task<Reply> MintAsync(Management.Request<Minted> request, ReadOnlyMemory<byte> user, long life, Permissions permissions)
    {
        var caller = request.Caller;
        var (_, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        if (life is < ShortestLife or > LongestLife)
            throw ApiError.OutOfRange("expires_in", ShortestLife, LongestLife);
        return management.WriteAsync(request, new Change.ManagementKey(Now()), caller.Entry("mint_key", "ok"), (_, now) =>
        {
            var key = new EphemeralKey(EphemeralKey.NewId(instance, tenant, now, now + life), tenant, user, permissions, caller.KeyId, now, now + life);
            return new(new Minted(key, key.Seal(instance)), [], caller.Entry("mint_key", "ok") with { Target = key.Id, Scope = "user" });
        });
    }

    /// <summary>Ends a key of the caller's account: at once on this node, within <see cref="Epoch.Bound"/> on the others. Again is no error.</summary>
    /// <exception cref="ApiError">404: it is no key of this app, mode and account.</exception>
    public async Task<EphemeralKey> RevokeAsync(Caller caller, string id)
    {
        var (_, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        if (EphemeralKey.Times(instance, tenant, id) is not { } times)
            throw ApiError.NoSuch("ephemeral key", id);
        await management.WriteAsync([Revocations.Write(id, times.Created, times.Expires)], caller.Entry("revoke_key", "ok") with { Target = id });
        return new EphemeralKey(id, tenant, default, Permissions.None, caller.KeyId, times.Created, times.Expires);
    }

    /// <summary>Who holds a token.</summary>
    /// <param name="token">A token that begins with <see cref="Prefix"/>.</param>
    /// <param name="account">The account that the request names, or null; only the key's own is taken.</param>
    /// <param name="origin">The request.</param>
    /// <param name="devMode">Takes no live keys.</param>
    /// <param name="ct">Ends the wait.</param>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(string token, string? account, Origin origin, bool devMode, CancellationToken ct)
    {
        if (token.Length > LongestToken || EphemeralKey.Open(instance, token) is not { } key || (devMode && key.Tenant.Livemode))
            return (null, gate.Refuse("unknown_key", null, origin, ApiError.InvalidApiKey(ApiKeys.Redacted(token))));
        if (key.Expires <= Now())
            return (null, gate.Refuse("expired_key", key.Id, origin, ApiError.ExpiredApiKey(ApiKeys.Redacted(token))));
        if (await apps.FindAsync(key.Tenant.App, ct) is not { } app || await revocations.IsRevokedAsync(key, ct))
            return (null, gate.Refuse("revoked_key", key.Id, origin, ApiError.InvalidApiKey(ApiKeys.Redacted(token))));
        if (account is not null && account != key.Tenant.Account)
            return (null, gate.Refuse("another_account", key.Id, origin, ApiError.AnotherAccount()));

        var caller = new Caller(key.Id, KeyKind.Ephemeral, key.Tenant, origin) { App = app, Permissions = key.Permissions, User = key.User };
        return gate.Admit(caller, []) is { } refusal ? (null, refusal) : (caller, null);
    }

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();
}
