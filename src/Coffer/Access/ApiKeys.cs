using System.Net;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Access;

/// <summary>Secret, restricted and admin keys: those that have a row.</summary>
/// <param name="engine">Where keys are read.</param>
/// <param name="instance">Whose keys they are.</param>
/// <param name="apps">Whose app a key is of.</param>
/// <param name="uses">Where their last use is noted.</param>
/// <param name="gate">Where refused keys are counted.</param>
/// <param name="time">For expires_at.</param>
internal sealed class ApiKeys(
    Engine engine, Instance instance, Apps apps, LastUses uses, Gate gate, TimeProvider time) : IDisposable
{
    private const int CachedKeys = 10_000;
    private const int LongestToken = 255;

    private readonly MemoryCache proven = new(new MemoryCacheOptions { SizeLimit = CachedKeys });

    /// <summary>
    /// Accepts keys without Coffer's marker and checksum (<c>sk_test_anything</c>), and no live key at all.
    /// </summary>
    public bool IsDev { get; init; }

    /// <summary>Whether a token has the form of a key that may be stored.</summary>
    public bool IsPossible(string token) => token.Length <= LongestToken && (Tokens.IsWellFormed(token) || IsDev);

    /// <summary>Who holds a token that has no prefix of another kind of key.</summary>
    public ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(
        string token, string? account, Origin origin, CancellationToken ct) => FindProven(token) is { } key
            ? new(CallerOf(key, token, account, origin))
            : LookUpCallerAsync(token, account, origin, ct);

    public void Dispose() => proven.Dispose();

    private async ValueTask<(Caller? Caller, ApiError? Refusal)> LookUpCallerAsync(
        string token, string? account, Origin origin, CancellationToken ct)
    {
        if (!IsPossible(token))
            return (null, gate.Refuse("unknown_key", null, origin, ApiError.InvalidApiKey(Tokens.Redact(token))));
        return await LookUpAsync(token, ct) is { } key
            ? CallerOf(key, token, account, origin)
            : await RefuseAbsentAsync(token, origin, ct);
    }

    private (Caller? Caller, ApiError? Refusal) CallerOf(Proven key, string token, string? account, Origin origin)
    {
        var (row, now) = (key.Row, time.GetUtcNow().ToUnixTimeSeconds());
        if (IsDev && row is { App: not null, Livemode: true })
            return Refuse("live_key_in_dev_mode", row.Id, ApiError.InvalidApiKey(Tokens.Redact(token)));
        if (row.Ended <= now)
            return RefuseEnded(token, row.Id, row.How, origin);
        if (row.ExpiresAt <= now)
            return Refuse("expired_key", row.Id, ApiError.ExpiredApiKey(Tokens.Redact(token)));
        if (instance.IsHeld && !row.IsOffline)
            return Refuse("store_held", row.Id, ApiError.StoreHeld());
        if (row.PinnedAccount is { } pinned && account is not null && account != pinned)
            return Refuse("another_account", row.Id, ApiError.AnotherAccount());

        var tenant = account is null ? key.Tenant : TenantOf(row, account);
        var caller = new Caller(row.Id, key.Kind, tenant, origin)
        {
            App = key.App,
            Permissions = key.Permissions,
            IsPinned = row.PinnedAccount is not null,
            Role = key.Role,
            Apps = key.Apps,
            MayConfirm = key.MayConfirm,
        };
        return gate.Admit(caller, key.Networks) is { } refusal ? (null, refusal) : (caller, null);

        (Caller?, ApiError?) Refuse(string outcome, string? id, ApiError error) =>
            (null, gate.Refuse(outcome, id, origin, error));
    }

    // Of a key that ended by itself, or was replaced, the answer says so; of one that was revoked it says nothing.
    private async ValueTask<(Caller?, ApiError?)> RefuseAbsentAsync(string token, Origin origin, CancellationToken ct)
    {
        var ended = await engine.FindEndedKeyAsync(ApiKey.Mac(instance, token), ct);
        return ended is not null && EndedKey.IsWhole(instance, ended)
            ? RefuseEnded(token, ended.Id, ended.How, origin)
            : (null, gate.Refuse("unknown_key", null, origin, ApiError.InvalidApiKey(Tokens.Redact(token))));
    }

    private (Caller?, ApiError?) RefuseEnded(string token, string id, string? how, Origin origin) =>
        (null, how == EndedKeyRow.Revoked
            ? gate.Refuse("revoked_key", id, origin, ApiError.InvalidApiKey(Tokens.Redact(token)))
            : gate.Refuse("expired_key", id, origin, ApiError.ExpiredApiKey(Tokens.Redact(token))));

    private static TenantId? TenantOf(ApiKeyRow row, string? account) =>
        row.App is null ? null : new TenantId(row.App, row.Livemode, account ?? row.PinnedAccount ?? row.Account!);

    // A key that was proven lately is compared with itself, which spares the MAC and the look-up. An unknown one always
    // costs both.
    private Proven? FindProven(string token) =>
        proven.TryGetValue(CacheKey(token), out Proven? cached) && IsUnchanged(cached!)
            && CryptographicOperations.FixedTimeEquals(cached!.Token.Span, Characters(token))
                ? cached
                : null;

    private async ValueTask<Proven?> LookUpAsync(string token, CancellationToken ct)
    {
        var epoch = apps.Epoch.Current;
        var mac = ApiKey.Mac(instance, token);
        if (await ApiKey.FindAsync(instance, () => engine.FindApiKeyAsync(mac, ct), ct) is not { Row: var row } key)
            return null;
        var app = row.App is null ? null : await apps.FindAsync(row.App, ct);
        if (row.App is not null && app is null)
            return null; // deleted between the two look-ups
        uses.Note(row);
        var kept = SecretBytes.ForKey(Characters(token));
        var fresh = new Proven(kept, row, app, key.Kind!.Value, key.Permissions, key.Networks, epoch)
        {
            Role = key.Role,
            Apps = key.Apps,
            MayConfirm = key.MayConfirm(instance),
        };
        return proven.Set(CacheKey(token), fresh,
            new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = Epoch.Bound });
    }

    private bool IsUnchanged(Proven key) =>
        apps.Epoch.IsUnchanged(key.Epoch, key.Row.Id)
            && (key.Row.App is null || apps.Epoch.IsUnchanged(key.Epoch, key.Row.App));

    private static ReadOnlySpan<byte> Characters(string token) => MemoryMarshal.AsBytes(token.AsSpan());

    // .NET's string hash is keyed with a random of the process; two tokens of one hash take turns.
#pragma warning disable CA1859 // MemoryCache takes objects
    private static object CacheKey(string token) => token.GetHashCode(StringComparison.Ordinal);
#pragma warning restore CA1859

    private sealed record Proven(
        SecretBytes Token, ApiKeyRow Row, App? App, KeyKind Kind, Permissions Permissions,
        IReadOnlyList<IPNetwork> Networks, long Epoch)
    {
        /// <summary>Where it acts without being told an account.</summary>
        public TenantId? Tenant { get; } = TenantOf(Row, account: null);

        public Role? Role { get; init; }

        public IReadOnlyList<string>? Apps { get; init; }

        public bool MayConfirm { get; init; }
    }
}
