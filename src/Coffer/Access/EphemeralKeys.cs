using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Access;

/// <summary>Proves ephemeral keys: what a backend hands to a browser for one user of one account.</summary>
internal sealed class EphemeralKeys(Instance instance, Apps apps, Endings endings, Gate gate, TimeProvider time)
{
    /// <summary>Far more than a token with the longest user id has.</summary>
    private const int LongestToken = 8_000;

    /// <summary>Accepts no live keys.</summary>
    public bool IsDev { get; init; }

    /// <summary>Who holds a token.</summary>
    /// <param name="token">A token that begins with <see cref="EphemeralKey.Prefix"/>.</param>
    /// <param name="account">The account that the request names, or null; only the key's own is accepted.</param>
    /// <param name="origin">The request.</param>
    /// <param name="ct">Ends the wait.</param>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(
        string token, string? account, Origin origin, CancellationToken ct)
    {
        if (token.Length > LongestToken || EphemeralKey.Open(instance, token) is not { } key
            || (IsDev && key.Tenant.Livemode))
            return (null, gate.Refuse("unknown_key", null, origin, ApiError.InvalidApiKey(Tokens.Redact(token))));
        if (key.Expires <= time.GetUtcNow().ToUnixTimeSeconds())
            return (null, gate.Refuse("expired_key", key.Id, origin, ApiError.ExpiredApiKey(Tokens.Redact(token))));
        var app = await apps.FindAsync(key.Tenant.App, ct);
        if (await ReasonAsync(key, app, ct) is { } reason)
            return (null, gate.Refuse(reason, key.Id, origin, Refusal(reason, token)));
        if (account is not null && account != key.Tenant.Account)
            return (null, gate.Refuse("another_account", key.Id, origin, ApiError.AnotherAccount()));

        var caller = new Caller(key.Id, KeyKind.Ephemeral, key.Tenant, origin)
        {
            App = app,
            Permissions = key.Permissions,
            User = key.User,
        };
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
        ? ApiError.ExpiredApiKey(Tokens.Redact(token))
        : ApiError.InvalidApiKey(Tokens.Redact(token));
}
