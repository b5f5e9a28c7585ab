using System.Net;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Access;

/// <summary>Turns a token into a caller, or into the refusal that its sender is told.</summary>
internal sealed class ApiKeys : IDisposable
{
    private const int CachedKeys = 10_000;
    private const int LongestToken = 255;

    private readonly Engine engine;
    private readonly Committer committer;
    private readonly Instance instance;
    private readonly Apps apps;
    private readonly EphemeralKeys ephemeralKeys;
    private readonly Gate gate;
    private readonly TimeProvider time;
    private readonly bool devMode;
    private readonly MemoryCache proven = new(new MemoryCacheOptions { SizeLimit = CachedKeys });
    private Known? known;

    /// <param name="engine">Where keys are read.</param>
    /// <param name="committer">Through which their last use is noted.</param>
    /// <param name="instance">Whose keys they are.</param>
    /// <param name="apps">Whose app a key is of.</param>
    /// <param name="ephemeralKeys">What proves ephemeral keys.</param>
    /// <param name="gate">Where refused keys are counted.</param>
    /// <param name="time">For expires_at.</param>
    /// <param name="devMode">Takes keys without Coffer's marker and checksum (<c>sk_test_anything</c>), and no live key at all.</param>
    public ApiKeys(Engine engine, Committer committer, Instance instance, Apps apps, EphemeralKeys ephemeralKeys, Gate gate, TimeProvider time, bool devMode)
    {
        (this.engine, this.committer, this.instance, this.apps) = (engine, committer, instance, apps);
        (this.ephemeralKeys, this.gate, this.time, this.devMode) = (ephemeralKeys, gate, time, devMode);
    }

    /// <summary>Who holds <paramref name="token"/>, acting in <paramref name="account"/> (null: the key's own, or the app's).</summary>
    /// <param name="token">The key.</param>
    /// <param name="account">The account that the request names, or null.</param>
    /// <param name="origin">The request.</param>
    /// <param name="isFlooding">Whether so many unknown keys come from there that only tokens that could be a stored key's are worth a look-up.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>The caller; or the 401 that refuses the token, or the 403 that refuses where it is used. This is a hot path: nothing is thrown for a bad key.</returns>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(string token, string? account, Origin origin, bool isFlooding, CancellationToken ct)
    {
        if (isFlooding && !await IsKnownAsync(token, ct))
            return (null, gate.Refuse("unknown_key", null, origin, ApiError.TooManyBadKeys()));
        if (token.StartsWith("pk_", StringComparison.Ordinal))
            return (null, ApiError.PublishableKey());
        if (token.StartsWith(EphemeralKeys.Prefix, StringComparison.Ordinal))
            return await ephemeralKeys.FindCallerAsync(token, account, origin, devMode, ct);
        if (token.Length > LongestToken || !(Tokens.IsWellFormed(token) || devMode))
            return (null, gate.Refuse("unknown_key", null, origin, ApiError.InvalidApiKey(Redacted(token))));

        var key = await FindAsync(token, ct);
        if (key is null || (devMode && key is { Row: { App: not null, Livemode: true } }))
            return (null, gate.Refuse(key is null ? "unknown_key" : "live_key_in_dev_mode", key?.Row.Id, origin, ApiError.InvalidApiKey(Redacted(token))));
        var row = key.Row;
        if (row.ExpiresAt <= time.GetUtcNow().ToUnixTimeSeconds())
            return (null, gate.Refuse("expired_key", row.Id, origin, ApiError.ExpiredApiKey(Redacted(token))));
        if (row.PinnedAccount is { } pinned && account is not null && account != pinned)
            return (null, gate.Refuse("another_account", row.Id, origin, ApiError.AnotherAccount()));

        var caller = new Caller(row.Id, key.Kind, row.App is null ? null : new TenantId(row.App, row.Livemode, account ?? row.PinnedAccount ?? row.Account!), origin)
        {
            App = key.App,
            Permissions = key.Permissions,
        };
        return gate.Admit(caller, key.Networks) is { } refusal ? (null, refusal) : (caller, null);
    }

    public void Dispose() => proven.Dispose();

    // A key that was proven lately is compared with itself, which spares the MAC and the look-up. An unknown one always costs both.
    private async ValueTask<Proven?> FindAsync(string token, CancellationToken ct)
    {
        var epoch = apps.Epoch.Current;
        if (proven.TryGetValue(CacheKey(token), out Proven? cached) && IsUnchanged(cached!)
            && CryptographicOperations.FixedTimeEquals(cached!.Token.Span, Characters(token)))
            return cached;

        var row = await engine.FindApiKeyAsync(ApiKey.Mac(instance, token), ct);
        if (row is null)
            return null;
        var key = ApiKey.From(instance, row);
        var app = row.App is null ? null : await apps.FindAsync(row.App, ct);
        if (row.App is not null && app is null)
            return null; // deleted between the two look-ups
        NoteUse(row);
        var kept = SecretBytes.ForKey(Characters(token));
        var fresh = new Proven(kept, row, app, key.Kind!.Value, key.Permissions, key.Networks, epoch);
        return proven.Set(CacheKey(token), fresh,
            new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = Epoch.Bound });
    }

    private bool IsUnchanged(Proven key) =>
        apps.Epoch.IsUnchanged(key.Epoch, key.Row.Id)
            && (key.Row.App is null || apps.Epoch.IsUnchanged(key.Epoch, key.Row.App));

    // Whether a token could be a stored key's, as far as this node knows: by the MACs of all keys, which are read once in a while.
    private async ValueTask<bool> IsKnownAsync(string token, CancellationToken ct)
    {
        if (token.StartsWith(EphemeralKeys.Prefix, StringComparison.Ordinal))
            return true; // no look-up is needed to tell
        if (token.Length > LongestToken || !(Tokens.IsWellFormed(token) || devMode))
            return false;
        var now = time.GetUtcNow();
        var (stored, epoch) = (known, apps.Epoch.Keys);
        if (stored is null || stored.Epoch != epoch || now < stored.At || now - stored.At >= Epoch.Bound)
            known = stored = new Known([.. (await engine.ListApiKeyMacsAsync(ct)).Select(Short)], epoch, now);
        return stored.Macs.Contains(Short(ApiKey.Mac(instance, token)));

        static Guid Short(byte[] mac) => new(mac.AsSpan(0, 16));
    }

    /// <summary>A token as it may be shown: its prefix and last four characters, as Stripe shows it.</summary>
    public static string Redacted(string token)
    {
        const int Head = 8, Tail = 4, MostStars = 32;
        return token.Length <= Head + Tail
            ? new string('*', token.Length)
            : Plain(token[..Head]) + new string('*', Math.Min(token.Length - Head - Tail, MostStars)) + Plain(token[^Tail..]);

        static string Plain(string part) => string.Concat(part.Select(c => char.IsAsciiLetterOrDigit(c) || c == '_' ? c : '*'));
    }

    // Once an hour for each key; that it was used is of no use to a request, so none waits for it or fails with it.
    private void NoteUse(ApiKeyRow row)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var hour = now - now % 3_600;
        if (row.LastUsed >= hour || row.ExpiresAt <= now)
            return;
        try
        {
            _ = committer.CommitAsync(new Change.Plain(new RowWrite.TouchApiKey(row.Id, hour)) { In = Lane.Background })
                .ContinueWith(static failed => _ = failed.Exception, TaskScheduler.Default);
        }
        catch (ApiError)
        {
            // The store is busy or stopping: it is noted at the next look-up.
        }
    }

    private static ReadOnlySpan<byte> Characters(string token) => MemoryMarshal.AsBytes(token.AsSpan());

    // .NET's string hash is keyed with a random of the process; two tokens of one hash take turns.
#pragma warning disable CA1859 // MemoryCache takes objects
    private static object CacheKey(string token) => token.GetHashCode(StringComparison.Ordinal);
#pragma warning restore CA1859

    private sealed record Known(HashSet<Guid> Macs, long Epoch, DateTimeOffset At);

    private sealed record Proven(
        SecretBytes Token, ApiKeyRow Row, App? App, KeyKind Kind, Permissions Permissions, IReadOnlyList<IPNetwork> Networks, long Epoch);
}
