using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Storage;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Access;

/// <summary>
/// API keys: made, proven and revoked here. The store holds a keyed hash of the token, and a proof that binds the rest
/// of its row to it, so that someone who can write the database can neither mint a key nor turn one into another app's.
/// </summary>
internal sealed class ApiKeys : IDisposable
{
    /// <summary>How long a proven key is believed without asking the store: the bound on a revocation by another node.</summary>
    public static readonly TimeSpan CachedFor = TimeSpan.FromSeconds(5);

    private const int CachedKeys = 10_000;
    private const int LongestToken = 255;

    private readonly Engine engine;
    private readonly Committer committer;
    private readonly Instance instance;
    private readonly Refusals refusals;
    private readonly TimeProvider time;
    private readonly bool devMode;
    private readonly MemoryCache proven = new(new MemoryCacheOptions { SizeLimit = CachedKeys });

    /// <param name="engine">Where keys are read.</param>
    /// <param name="committer">Through which keys are written.</param>
    /// <param name="instance">Whose keys they are.</param>
    /// <param name="refusals">Where refused keys are counted.</param>
    /// <param name="time">For created and expires_at.</param>
    /// <param name="devMode">Takes keys without Coffer's marker and checksum (<c>sk_test_anything</c>), and no live key at all.</param>
    public ApiKeys(Engine engine, Committer committer, Instance instance, Refusals refusals, TimeProvider time, bool devMode) =>
        (this.engine, this.committer, this.instance, this.refusals, this.time, this.devMode) = (engine, committer, instance, refusals, time, devMode);

    /// <summary>A new key. The token is shown once, here, and is nowhere else.</summary>
    /// <param name="app">The app that it is for; null for an admin key.</param>
    /// <param name="livemode">Live or test; an admin key has no mode.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="instance">Whose key it is.</param>
    /// <param name="token">A token of the developer's choice, for dev mode; null makes one.</param>
    /// <param name="id">The key's id; null makes one.</param>
    public static (string Token, ApiKeyRow Row) Create(Instance instance, AppRow? app, bool livemode, long now, string? token = null, string? id = null)
    {
        var kind = app is null ? KeyKind.Admin : KeyKind.Secret;
        token ??= Tokens.Generate(Prefix(kind, livemode));
        var row = new ApiKeyRow(Mac(instance, token), id ?? "key_" + RandomNumberGenerator.GetString(Base62.Alphabet, 24),
            app?.Id, app?.Account, Word(kind), livemode, now, ExpiresAt: null, Proof: []);
        return (token, row with { Proof = Proof(instance, row) });
    }

    /// <summary>The audit entry about a change of a key.</summary>
    public static AuditEntry Entry(string verb, ApiKeyRow key) => new(verb, "ok")
    {
        Key = key.Id,
        Tenant = key.App is null ? null : new TenantId(key.App, key.Livemode, key.Account!),
    };

    /// <summary>The id of a stored key, or null.</summary>
    public static async Task<string?> FindIdAsync(Engine engine, Instance instance, string token, CancellationToken ct) =>
        (await engine.FindApiKeyAsync(Mac(instance, token), ct))?.Id;

    /// <summary>Who holds <paramref name="token"/>, acting in <paramref name="account"/> (null: the app's own account).</summary>
    /// <returns>The caller, or the 401 that refuses the token. This is a hot path: nothing is thrown for a bad key.</returns>
    public async ValueTask<(Caller? Caller, ApiError? Refusal)> FindCallerAsync(string token, string? account, Origin origin, CancellationToken ct)
    {
        if (token.StartsWith("pk_", StringComparison.Ordinal))
            return (null, ApiError.PublishableKey());
        if (token.Length > LongestToken || !(Tokens.IsWellFormed(token) || devMode))
        {
            refusals.Count("unknown_key", null, origin.RequestId, origin.Remote);
            return (null, ApiError.InvalidApiKey(Redacted(token)));
        }

        var key = await FindAsync(token, ct);
        if (key is null || (devMode && key.Livemode))
        {
            refusals.Count(key is null ? "unknown_key" : "live_key_in_dev_mode", key?.Id, origin.RequestId, origin.Remote);
            return (null, ApiError.InvalidApiKey(Redacted(token)));
        }

        if (key.ExpiresAt <= time.GetUtcNow().ToUnixTimeSeconds())
        {
            refusals.Count("expired_key", key.Id, origin.RequestId, origin.Remote);
            return (null, ApiError.ExpiredApiKey(Redacted(token)));
        }

        return key.Kind == Word(KeyKind.Admin)
            ? (new Caller(key.Id, KeyKind.Admin, null, origin), null)
            : (new Caller(key.Id, KeyKind.Secret, new TenantId(key.App!, key.Livemode, account ?? key.Account!), origin), null);
    }

    /// <summary>Ends a key's life at a time of choice: a rolled key's grace period.</summary>
    /// <param name="token">The key; one that is not stored is left alone.</param>
    /// <param name="at">From this Unix second on the key is refused with <c>api_key_expired</c>.</param>
    /// <param name="ct">Ends the wait, not the change.</param>
    public async Task ExpireAsync(string token, long at, CancellationToken ct)
    {
        var mac = Mac(instance, token);
        if (await engine.FindApiKeyAsync(mac, ct) is not { } row)
            return;
        row = row with { ExpiresAt = at };
        await committer.CommitAsync(new Change.Plain(new RowWrite.PutApiKey(row with { Proof = Proof(instance, row) })) { Notes = [Entry("expire_key", row)] });
        Forget(token);
    }

    /// <summary>Makes a key worthless: at once on this node, within <see cref="CachedFor"/> on the others.</summary>
    public async Task RevokeAsync(string token, CancellationToken ct)
    {
        var mac = Mac(instance, token);
        if (await engine.FindApiKeyAsync(mac, ct) is not { } row)
            return;
        await committer.CommitAsync(new Change.Plain(new RowWrite.DeleteApiKey(row.Id)) { Notes = [Entry("revoke_key", row)] });
        Forget(token);
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

    public void Dispose() => proven.Dispose();

    // A key that was proven lately is compared with itself, which spares the MAC and the look-up. An unknown one always costs both.
    private async ValueTask<ApiKeyRow?> FindAsync(string token, CancellationToken ct)
    {
        if (proven.TryGetValue(CacheKey(token), out Proven? known) && CryptographicOperations.FixedTimeEquals(known!.Token.Span, Characters(token)))
            return known.Row;

        var row = await engine.FindApiKeyAsync(Mac(instance, token), ct);
        if (row is null)
            return null;
        if (!CryptographicOperations.FixedTimeEquals(row.Proof, Proof(instance, row)))
            throw ApiError.RecordDamaged("API key");
        proven.Set(CacheKey(token), new Proven(SecretBytes.ForKey(Characters(token)), row),
            new MemoryCacheEntryOptions { Size = 1, AbsoluteExpirationRelativeToNow = CachedFor });
        return row;
    }

    private static ReadOnlySpan<byte> Characters(string token) => MemoryMarshal.AsBytes(token.AsSpan());

    private void Forget(string token) => proven.Remove(CacheKey(token));

    // .NET's string hash is keyed with a random of the process; two tokens of one hash take turns.
#pragma warning disable CA1859 // MemoryCache takes objects
    private static object CacheKey(string token) => token.GetHashCode(StringComparison.Ordinal);
#pragma warning restore CA1859

    private static byte[] Mac(Instance instance, string token) => instance.TokenKey.Compute(Encoding.UTF8.GetBytes(token));

    private static byte[] Proof(Instance instance, ApiKeyRow row)
    {
        using var bound = new AssociatedData("coffer v1 key row"u8);
        bound.Add(row.Mac);
        bound.Add(row.Id);
        bound.Add(row.App ?? "");
        bound.Add(row.Account ?? "");
        bound.Add(row.Kind);
        bound.Add(row.Livemode ? 1 : 0);
        bound.Add(row.Created);
        bound.Add(row.ExpiresAt);
        return instance.ProofKey.Compute(bound.Span);
    }

    private sealed record Proven(SecretBytes Token, ApiKeyRow Row);

    private static string Prefix(KeyKind kind, bool livemode) => kind switch
    {
        KeyKind.Admin => "ak_",
        _ => livemode ? "sk_live_" : "sk_test_",
    };

    private static string Word(KeyKind kind) => kind == KeyKind.Admin ? "admin" : "secret";
}
