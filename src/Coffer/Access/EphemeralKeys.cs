using System.Text;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>Mints, proves and revokes ephemeral keys: what a backend hands to a browser for one user of one account.</summary>
internal sealed class EphemeralKeys(
    Instance instance, Apps apps, Endings endings, Management management, Gate gate, TimeProvider time)
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

    /// <summary>A key for a user of the caller's account. It ends with the key that mints it.</summary>
    /// <param name="request">Who asks, and how it is answered.</param>
    /// <param name="user">The user's id, 1 to 500 characters.</param>
    /// <param name="life">How long it is accepted, in seconds, 60 to 86,400; no longer than the key that mints
    /// it.</param>
    /// <param name="permissions">What it may do.</param>
    /// <exception cref="ApiError">403: only a secret key mints. 400: the life is out of range. 401: the key has ended
    /// meanwhile.</exception>
    public Task<Reply> MintAsync(Management.Request<Minted> request, ReadOnlyMemory<byte> user, long life, Permissions permissions)
    {
        var caller = request.Caller;
        var (_, tenant) = gate.RequireKind(caller, KeyKind.Secret);
        if (life is < ShortestLife or > LongestLife)
            throw ApiError.OutOfRange("expires_in", ShortestLife, LongestLife);
        var (at, entry) = (new Change.ManagementKey(Now()) { Mint = (caller.KeyId, tenant) },
            caller.Entry("mint_key", "ok"));
        return management.WriteAsync(request, at, entry, (found, now) =>
        {
            var (parent, ties, rows) = endings.Tie(found.Mint!, now);
            var expires = Math.Min(now + life, parent.ExpiresAt ?? long.MaxValue);
            var id = EphemeralKey.NewId(instance, tenant, now, expires);
            var key = new EphemeralKey(id, tenant, user, permissions, caller.KeyId, now, expires) { Ties = ties };
            return new(new Minted(key, key.Seal(instance)), rows, entry with { Target = key.Id, Scope = "user" });
        });
    }

    /// <summary>Ends a key of the caller's account: at once on this node, within <see cref="Epoch.Bound"/> on the others. Again is no error.</summary>
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
        var app = await apps.FindAsync(key.Tenant.App, ct);
        if (await ReasonAsync(key, app, ct) is { } reason)
            return (null, gate.Refuse(reason, key.Id, origin, Refusal(reason, token)));
        if (account is not null && account != key.Tenant.Account)
            return (null, gate.Refuse("another_account", key.Id, origin, ApiError.AnotherAccount()));

        var caller = new Caller(key.Id, KeyKind.Ephemeral, key.Tenant, origin) { App = app, Permissions = key.Permissions, User = key.User };
        return gate.Admit(caller, []) is { } refusal ? (null, refusal) : (caller, null);
    }

    // Of a disabled app it is said that it is: that its keys have ended too is seen when it is enabled.
    private async ValueTask<string?> ReasonAsync(EphemeralKey key, App? app, CancellationToken ct) => app switch
    {
        null => "revoked_key",
        { IsDisabled: true } => null,
        _ => await endings.FindAsync(key, app, ct),
    };

    private static ApiError Refusal(string reason, string token) => reason == "expired_key"
        ? ApiError.ExpiredApiKey(ApiKeys.Redacted(token))
        : ApiError.InvalidApiKey(ApiKeys.Redacted(token));

    private long Now() => time.GetUtcNow().ToUnixTimeSeconds();
}
