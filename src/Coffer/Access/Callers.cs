using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Access;

/// <summary>Turns a token into a caller, or into the refusal that its sender gets.</summary>
/// <param name="keys">Keys that have a row.</param>
/// <param name="ephemeralKeys">Keys that have none.</param>
/// <param name="known">Which tokens could be a stored key's.</param>
/// <param name="gate">Where refused keys are counted.</param>
/// <param name="instance">Which may be held.</param>
internal sealed class Callers(
    ApiKeys keys, EphemeralKeys ephemeralKeys, KnownKeys known, Gate gate, Instance instance)
{
    /// <summary>
    /// Who holds <paramref name="token"/>, acting in <paramref name="account"/> (null: the key's own, or the app's).
    /// </summary>
    /// <param name="token">The key.</param>
    /// <param name="account">The account that the request names, or null.</param>
    /// <param name="above">The account that the request says <paramref name="account"/> is below, or null.</param>
    /// <param name="origin">The request.</param>
    /// <param name="isFlooding">
    /// Whether so many unknown keys come from there that only tokens that could be a stored key's are worth a look-up.
    /// </param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>
    /// The caller; or the 401 that refuses the token, or the 403 that refuses where it is used. This is a hot path:
    /// nothing is thrown for a bad key.
    /// </returns>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindAsync(
        string token, string? account, string? above, Origin origin, bool isFlooding, CancellationToken ct)
    {
        // What the back-up had of keys may have been ended since: only the one that came with the restoration counts.
        if (instance.IsHeld && !token.StartsWith(ApiKey.AdminPrefix, StringComparison.Ordinal))
            return (null, ApiError.StoreHeld());
        // An ephemeral key needs no look-up to be proven.
        var isEphemeral = token.StartsWith(EphemeralKey.Prefix, StringComparison.Ordinal);
        if (isFlooding && !isEphemeral && !(keys.IsPossible(token) && await known.ContainsAsync(token, ct)))
            return (null, gate.Refuse("unknown_key", null, origin, ApiError.TooManyBadKeys()));
        if (token.StartsWith("pk_", StringComparison.Ordinal))
            return (null, ApiError.PublishableKey());
        var found = isEphemeral
            ? await ephemeralKeys.FindCallerAsync(token, account, origin, ct)
            : await keys.FindCallerAsync(token, account, origin, ct);
        // Accounts that installed an app are below the app's own, and below no other.
        return above is not null && found.Caller is { App: { } app } caller && app.Account != above
            ? (null, gate.Refuse("another_account", caller.KeyId, origin, ApiError.AnotherAccount()))
            : found;
    }

    /// <summary>What the app's own rules for accounts refuse: 400, or null.</summary>
    /// <param name="caller">Who asks.</param>
    /// <param name="account">The account that the request names, or null.</param>
    public ApiError? RefusalOf(Caller caller, string? account)
    {
        if (caller is not { App: { } app, Kind: KeyKind.Secret or KeyKind.Restricted })
            return null; // of an ephemeral key the account was looked at when it was minted
        // A key that is pinned to an account acts there, which its maker has said.
        if (account is null && app.IsAccountRequired && !caller.IsPinned)
            return gate.Refuse("account_missing", caller.KeyId, caller.Origin, ApiError.AccountRequired());
        return account is not null && !app.Takes(account)
            ? gate.Refuse("account_not_of_pattern", caller.KeyId, caller.Origin,
                ApiError.AccountNotOfPattern(account, app.AccountPattern!))
            : null;
    }
}
