using System.Buffers;
using System.Text;
using Coffer.Access;
using Microsoft.Extensions.Primitives;

namespace Coffer.Http;

/// <summary>
/// Reads who is asking from the headers. A key comes as Bearer, or as Basic with the key as user name (encoded, or as
/// it is, which Stripe tolerates). Two Authorization headers are refused: which of them counts is how authorization is
/// confused. Whoever asks too fast is refused here, before anything is parsed.
/// </summary>
internal sealed class Authentication(Callers callers, RateLimits limits)
{
    private const int LongestAccount = 255;

    /// <summary>
    /// Base64 of more than the longest ephemeral key and a password; what headers may have anyway is twice as much.
    /// </summary>
    private const int LongestCredentials = 16 * 1024;

    private static readonly SearchValues<char> AccountCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

    /// <param name="context">The request.</param>
    /// <param name="requestId">The id that its answer carries.</param>
    /// <param name="readsAccount">Whether the headers may name an account.</param>
    /// <param name="isAgain">Whether the request was counted before.</param>
    /// <param name="isUrgent">Whether it is counted apart, as what takes rights away is.</param>
    /// <returns>
    /// The caller, or the refusal: 401 for the key, 403 for where it is used, 429 for how often, 400 for the account
    /// or the mode.
    /// </returns>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(
        HttpContext context, string requestId, bool readsAccount, bool isAgain = false, bool isUrgent = false)
    {
        // One spelling of it, by whichever way it came: for the audit log, networks of keys and limits alike.
        var (headers, address) = (context.Request.Headers, Networks.Plain(context.Connection.RemoteIpAddress));
        var (token, refusal) = Token(headers.Authorization);
        if (token is null)
            return (null, refusal);
        var (account, above, malformed) = readsAccount ? Account(headers) : default;
        var origin = new Origin(requestId, address?.ToString() ?? "",
            headers.Origin is { Count: > 0 } web ? web.ToString() : null);
        var isFlooding = limits.IsFlooding(address);
        var (caller, refused) = await callers.FindAsync(
            token, account, above, origin, isFlooding, context.RequestAborted);
        if (refused is not null)
        {
            if (refused.Status == StatusCodes.Status401Unauthorized)
                limits.CountRefused(address);
            return (null, refused);
        }

        malformed ??= readsAccount ? callers.RefusalOf(caller!, account) : null;
        if (!isAgain && !limits.TakeForKey(caller!.KeyId, isUrgent))
            return (null, ApiError.RateLimited(caller!.Livemode).Of(caller.KeyId));
        if (malformed is null && readsAccount && IsOfAnotherMode(caller!, headers["Stripe-Livemode"]))
            malformed = ApiError.AnotherMode();
        return malformed is not null ? (null, malformed.Of(caller!.KeyId)) : (caller, null);
    }

    /// <summary>
    /// Whether a text is what languages write for a variable that is empty. As an account it would be shared by all
    /// whose account was forgotten.
    /// </summary>
    public static bool IsAccident(string account) => account.AsSpan().Trim() is var text
        && (text.IsEmpty || text.Equals("undefined", StringComparison.OrdinalIgnoreCase)
            || text.Equals("null", StringComparison.OrdinalIgnoreCase)
            || text.Equals("none", StringComparison.OrdinalIgnoreCase)
            || text.Equals("nil", StringComparison.OrdinalIgnoreCase)
            || text.Equals("nan", StringComparison.OrdinalIgnoreCase)
            || text.StartsWith("[object ", StringComparison.Ordinal));

    /// <summary>Whether a text has the form of an account's id.</summary>
    public static bool IsAccount(string id) =>
        id.Length is > 0 and <= LongestAccount && !id.AsSpan().ContainsAnyExcept(AccountCharacters);

    private static (string? Token, ApiError? Refusal) Token(StringValues authorization)
    {
        if (authorization.Count > 1)
            return (null, ApiError.SeveralApiKeys());
        var value = authorization.ToString().AsSpan().Trim(' ');
        if (value.IsEmpty)
            return (null, ApiError.NoApiKey());

        var space = value.IndexOf(' ');
        if (space < 0)
            return (null, value.Equals("Bearer", StringComparison.OrdinalIgnoreCase) || value.Equals("Basic",
                StringComparison.OrdinalIgnoreCase)
                ? ApiError.NoApiKey()
                : ApiError.MalformedAuthorization());

        var scheme = value[..space];
        var credentials = value[space..].Trim(' ');
        if (scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase))
            return (credentials.ToString(), null);
        if (!scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase))
            return (null, ApiError.MalformedAuthorization());

        // A key holds '_', which Base64 does not: what decodes is an encoded user name and password.
        if (credentials.Contains('_'))
            return (credentials.TrimEnd(':').ToString(), null);
        if (credentials.Length > LongestCredentials)
            return (null, ApiError.MalformedAuthorization());
        using var decoded = SecretBytes.Rent(credentials.Length);
        if (!Convert.TryFromBase64Chars(credentials, decoded.Span, out var length))
            return (null, ApiError.MalformedAuthorization());
        var colon = decoded.Span[..length].IndexOf((byte)':');
        var user = Encoding.UTF8.GetString(decoded.Span[..(colon < 0 ? length : colon)]);
        return user.Length == 0 ? (null, ApiError.NoApiKey()) : (user, null);
    }

    // A context may be a path: the account that the key is of, and the one below it that is meant.
    private static (string? Account, string? Above, ApiError? Malformed) Account(IHeaderDictionary headers)
    {
        var (account, context) = (headers["Stripe-Account"], headers["Stripe-Context"]);
        if (account.Count > 1 || context.Count > 1)
            return Malformed(ApiError.RepeatedHeader(account.Count > 1 ? "Stripe-Account" : "Stripe-Context"));
        if (account.Count == 1 && context.Count == 1)
            return Malformed(account == context ? ApiError.TwoAccounts() : ApiError.ConflictingAccounts());
        if (account.Count == 1)
        {
            if (IsAccident(account.ToString()))
                return Malformed(ApiError.AccidentalAccount("Stripe-Account", account.ToString()));
            return IsAccount(account.ToString()) ? (account, null, null) : Malformed(ApiError.MalformedAccount());
        }

        if (context.Count == 0)
            return default;
        if (context.ToString().Split('/').Any(IsAccident))
            return Malformed(ApiError.AccidentalAccount("Stripe-Context", context.ToString()));
        return context.ToString().Split('/') switch
        {
            [var id] when IsAccount(id) => (id, null, null),
            [var above, var id] when IsAccount(above) && IsAccount(id) => (id, above, null),
            _ => Malformed(ApiError.MalformedContext()),
        };

        static (string?, string?, ApiError?) Malformed(ApiError error) => (null, null, error);
    }

    // The Stripe CLI says which mode it means. The key decides, and nothing is answered out of the other mode silently.
    private static bool IsOfAnotherMode(Caller caller, StringValues livemode) =>
        caller.Kind != KeyKind.Admin && livemode.Count > 0 && livemode != (caller.Livemode ? "true" : "false");
}
