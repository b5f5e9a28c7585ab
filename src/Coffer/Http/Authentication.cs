using System.Buffers;
using System.Text;
using Coffer.Access;
using Microsoft.Extensions.Primitives;

namespace Coffer.Http;

/// <summary>
/// Reads who is asking from the headers. A key comes as Bearer, or as Basic with the key as user name (encoded, or as it
/// is, which Stripe tolerates). Two Authorization headers are refused: which of them counts is how authorization is confused.
/// </summary>
internal sealed class Authentication(ApiKeys keys)
{
    private const int LongestAccount = 255;
    private static readonly SearchValues<char> AccountCharacters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

    /// <returns>The caller, or the refusal: 401 for the key, 400 for the account.</returns>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(IHeaderDictionary headers, Origin origin, CancellationToken ct)
    {
        var (token, refusal) = Token(headers.Authorization);
        if (token is null)
            return (null, refusal);
        var (account, malformed) = Account(headers);
        var (caller, refused) = await keys.FindCallerAsync(token, account, origin, ct);
        return refused is not null ? (null, refused) : malformed is not null ? (null, malformed) : (caller, null);
    }

    private static (string? Token, ApiError? Refusal) Token(StringValues authorization)
    {
        if (authorization.Count > 1)
            return (null, ApiError.SeveralApiKeys());
        var value = authorization.ToString().AsSpan().Trim(' ');
        if (value.IsEmpty)
            return (null, ApiError.NoApiKey());

        var space = value.IndexOf(' ');
        if (space < 0)
            return (null, value.Equals("Bearer", StringComparison.OrdinalIgnoreCase) || value.Equals("Basic", StringComparison.OrdinalIgnoreCase)
                ? ApiError.NoApiKey()
                : ApiError.MalformedAuthorization());

        var scheme = value[..space];
        var credentials = value[space..].Trim(' ');
        if (scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase))
            return (credentials.ToString(), null);
        if (!scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase))
            return (null, ApiError.MalformedAuthorization());

        // A key holds '_', which Base64 does not: what decodes is an encoded user name and password.
        Span<byte> decoded = stackalloc byte[512];
        if (credentials.Contains('_'))
            return (credentials.TrimEnd(':').ToString(), null);
        if (credentials.Length > 512 || !Convert.TryFromBase64Chars(credentials, decoded, out var length))
            return (null, ApiError.MalformedAuthorization());
        var colon = decoded[..length].IndexOf((byte)':');
        var user = Encoding.UTF8.GetString(decoded[..(colon < 0 ? length : colon)]);
        return user.Length == 0 ? (null, ApiError.NoApiKey()) : (user, null);
    }

    private static (string? Account, ApiError? Malformed) Account(IHeaderDictionary headers)
    {
        var (account, context) = (headers["Stripe-Account"], headers["Stripe-Context"]);
        if (account.Count + context.Count == 0)
            return (null, null);
        if (account.Count > 1 || context.Count > 1)
            return (null, ApiError.RepeatedHeader(account.Count > 1 ? "Stripe-Account" : "Stripe-Context"));
        if (account.Count == 1 && context.Count == 1 && account.ToString() != context.ToString())
            return (null, ApiError.ConflictingAccounts());
        var id = (account.Count == 1 ? account : context).ToString();
        return id.Length is 0 or > LongestAccount || id.AsSpan().ContainsAnyExcept(AccountCharacters)
            ? (null, ApiError.MalformedAccount())
            : (id, null);
    }
}
