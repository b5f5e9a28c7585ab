using System.Net;
using System.Security.Cryptography;
using System.Text;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// A stored API key. The store holds a keyed hash of the token, and a proof that binds the rest of the row to it, so
/// that someone who can write the database can neither mint a key, nor turn one into another app's, nor widen what it
/// may do.
/// </summary>
internal sealed record ApiKey(ApiKeyRow Row)
{
    /// <summary>
    /// What is wrong with the row, or null: if anything is, the key is refused, and what the row says may not be so.
    /// </summary>
    public string? Fault { get; private init; }

    public bool IsDamaged => Fault is not null;

    /// <summary>
    /// The number of the pepper that it was made under; 0 if that is believed no more, and another has proven it again.
    /// </summary>
    public uint MadeUnder { get; private init; }

    /// <summary>
    /// Whether it was made beside the server since the newest pepper began: by someone with a root key that nobody had
    /// before. Such a key alone says that a renewal of the store is done.
    /// </summary>
    public bool MayConfirm(Instance instance) =>
        !IsDamaged && IsOffline && Role == Access.Role.Owner && MadeUnder == instance.Peppers.Newest.Number;

    /// <summary>The row, if it is damaged.</summary>
    public DamagedRow? Damage => Fault is null ? null : new DamagedRow("api_keys", Id, Fault) { App = App };

    public const int MostAddresses = 20, MostApps = 20;

    public string Id => Row.Id;

    /// <summary>Null for an admin key.</summary>
    public string? App => Row.App;

    /// <summary>The one account of a restricted key, or null.</summary>
    public string? PinnedAccount => Row.PinnedAccount;

    public bool Livemode => Row.Livemode;

    /// <summary>Unix seconds.</summary>
    public long Created => Row.Created;

    /// <summary>From this Unix second on it is refused, or null.</summary>
    public long? ExpiresAt => Row.ExpiresAt;

    /// <summary>From this Unix second on it is refused, because it expires or its end was noted; or null.</summary>
    public long? EndsAt => Row.Ended is { } ended && !(ExpiresAt < ended) ? ended : ExpiresAt;

    /// <summary>What an admin key may do; null of another key, or if the row names none: then it is damaged.</summary>
    public Role? Role => Kind == KeyKind.Admin ? RoleWords.Parse(Row.Role ?? RoleWords.Owner) : null;

    /// <summary>The apps that an admin key is held to; null is all.</summary>
    public IReadOnlyList<string>? Apps => Row.Apps is null ? null : Split(Row.Apps);

    /// <summary>The id of the key that it was made with, or null.</summary>
    public string? CreatedBy => Row.CreatedBy;

    /// <summary>Whether it was made beside the server, by someone with the root key.</summary>
    public bool IsOffline => Row.IsOffline;

    /// <summary>
    /// The Unix second at which the hour of its last use began, or when it was made if that was later; null before it
    /// is used.
    /// </summary>
    public long? LastUsed => Row.LastUsed is { } at ? Math.Max(at, Row.Created) : null;

    /// <summary>Null if the row names none: then it is damaged.</summary>
    public KeyKind? Kind => Row.Kind switch
    {
        "admin" => KeyKind.Admin,
        "restricted" => KeyKind.Restricted,
        "secret" => KeyKind.Secret,
        _ => null,
    };

    /// <summary>What it may do with secrets.</summary>
    public Permissions Permissions => Kind switch
    {
        KeyKind.Restricted => PermissionWords.Parse(Split(Row.Permissions)) ?? Permissions.None,
        KeyKind.Secret => Permissions.Everything,
        _ => Permissions.None,
    };

    /// <summary>Where it may be used; empty is anywhere, of a key that is not damaged.</summary>
    public IReadOnlyList<IPNetwork> Networks => [.. NetworksOf(Row).OfType<IPNetwork>()];

    public static string Word(KeyKind kind) => kind switch
    {
        KeyKind.Admin => "admin",
        KeyKind.Restricted => "restricted",
        _ => "secret",
    };

    /// <summary>What the text of an admin key begins with.</summary>
    public const string AdminPrefix = "ak_";

    public const string IdPrefix = "key_";

    /// <summary>A new key. The token is shown once, here, and is nowhere else.</summary>
    /// <param name="instance">Whose key it is.</param>
    /// <param name="app">The app that it is for; null for an admin key.</param>
    /// <param name="livemode">Live or test; an admin key has no mode.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="token">A token of the developer's choice, for dev mode; null makes one.</param>
    /// <param name="id">The key's id; null makes one.</param>
    public static (string Token, ApiKeyRow Row) Create(Instance instance, AppRow? app, bool livemode, long now,
        string? token = null, string? id = null) =>
        Create(
            instance,
            new ApiKeyRow([], id ?? NewId(instance, now), app?.Id, app?.Account,
                Word(app is null ? KeyKind.Admin : KeyKind.Secret), livemode, now, ExpiresAt: null, Proof: [])
            {
                Role = app is null ? RoleWords.Owner : null,
            },
            token);

    /// <summary>A new token for a row that says all but the token.</summary>
    public static (string Token, ApiKeyRow Row) Create(Instance instance, ApiKeyRow row, string? token = null)
    {
        token ??= Tokens.Generate(Prefix(new ApiKey(row).Kind!.Value, row.Livemode));
        return (token, Prove(instance, row with { Mac = Mac(instance, token) }));
    }

    /// <param name="instance">Whose key it is.</param>
    /// <param name="created">When it counts as made, in Unix seconds.</param>
    public static string NewId(Instance instance, long created) => ManagedId.New(instance, IdPrefix, created);

    /// <summary>By what the row of a token is found.</summary>
    public static byte[] Mac(Instance instance, string token) =>
        instance.TokenKey.Compute(Encoding.UTF8.GetBytes(token));

    /// <summary>The row with its proof, in the form that the store's level has.</summary>
    /// <param name="instance">Whose key it is.</param>
    /// <param name="row">What it says.</param>
    /// <param name="madeUnder">The pepper that the key was made under; null is the newest.</param>
    /// <exception cref="ApiError">400: nodes of the release before run, and do not know what it says.</exception>
    public static ApiKeyRow Prove(Instance instance, ApiKeyRow row, uint? madeUnder = null)
    {
        var newest = instance.Peppers.Newest;
        const Permissions OfInstalls = Permissions.Everything & ~Permissions.All;
        if (new ApiKey(row) is { Kind: KeyKind.Restricted, Permissions: var may }
            && (may & OfInstalls) != Permissions.None && instance.Level < Control.Installs)
            throw ApiError.OlderNodesRun("permissions for installs");
        if (instance.Level >= Control.SecondKeyRows)
            return row with { Proof = ProofOf(newest, row, madeUnder ?? newest.Number) };
        if (row is { Apps: not null } or { IsOffline: true } or { Role: not (null or RoleWords.Owner) })
            throw ApiError.OlderNodesRun("roles");
        row = row with { Role = null, CreatedBy = null };
        return row with { Proof = FirstProofOf(instance, row) };
    }

    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static ApiKey From(Instance instance, ApiKeyRow row)
    {
        var key = Inspect(instance, row);
        return key.Damage is { } damage ? throw ApiError.RecordDamaged("API key", damage) : key;
    }

    /// <summary>
    /// The key of a row that is looked up, or null. One that is not proven is looked up again: another node may have
    /// had it proven by a pepper that this one does not know yet.
    /// </summary>
    /// <exception cref="ApiError">The row was changed outside Coffer.</exception>
    public static async ValueTask<ApiKey?> FindAsync(
        Instance instance, Func<ValueTask<ApiKeyRow?>> find, CancellationToken ct)
    {
        if (await find() is not { } row)
            return null;
        if (Inspect(instance, row) is { IsDamaged: false } key)
            return key;
        await instance.Reload(ct);
        return await find() is { } again ? From(instance, again) : null;
    }

    /// <summary>The key as it stands there, damaged or not: to be shown, or revoked.</summary>
    public static ApiKey Inspect(Instance instance, ApiKeyRow row)
    {
        var by = ProvenBy(instance, row);
        return new(row) { Fault = FaultOf(instance, row, by is not null), MadeUnder = by?.MadeUnder ?? 0 };
    }

    /// <summary>
    /// What proves a row by the newest pepper that another has proven, which is believed; null if nothing is to be
    /// done. From then on it counts as taken over.
    /// </summary>
    public static RowWrite? ProveAnew(Instance instance, ApiKeyRow row)
    {
        var newest = instance.Peppers.Newest;
        return row.IsSound && ProvenBy(instance, row) is { Pepper: var by } && by != newest
            ? new RowWrite.ReproveApiKey(row.Id, row.Proof, ProofOf(newest, row, madeUnder: 0))
            : null;
    }

    /// <summary>What a key may do that is made, for its audit entry; none of it changes while it lives.</summary>
    public static string? Made(ApiKeyRow row)
    {
        var key = new ApiKey(row);
        return new Changes()
            .Text("type", null, row.Kind)
            .Flag("livemode", null, row.App is null ? null : row.Livemode)
            .Texts("permissions", null, row.Permissions is null ? null : Split(row.Permissions))
            .Text("account", null, row.PinnedAccount)
            .Texts("addresses", null, row.Addresses is null ? null : Split(row.Addresses))
            .Text("role", null, key.Role?.Word())
            .Texts("apps", null, key.Apps)
            .Number("expires_at", null, row.ExpiresAt)
            .Flag("offline", null, row.IsOffline ? true : null).Json;
    }

    /// <summary>That a key ends, for the audit entry, and what replaces it.</summary>
    public static string? Ends(long at, string? successor = null) =>
        new Changes().Number("ended", null, at).Text("replaced_by", null, successor).Json;

    /// <summary>The audit entry about a change of a key.</summary>
    public static AuditEntry Entry(string verb, ApiKeyRow key) => new(verb, "ok")
    {
        Target = key.Id,
        Tenant = key.App is null ? null : new TenantId(key.App, key.Livemode, key.Account!),
    };

    /// <summary>The id of a stored key, or null.</summary>
    public static async Task<string?> FindIdAsync(Engine engine, Instance instance, string token,
        CancellationToken ct) =>
        (await engine.FindApiKeyAsync(Mac(instance, token), ct))?.Id;

    // The proof says who wrote the row. What it says is looked at too: nothing in it is read as more than it is.
    private static string? FaultOf(Instance instance, ApiKeyRow row, bool isProven)
    {
        if (!row.IsSound)
            return DamagedRow.Columns;
        var isFirst = IsInFirstForm(instance, row);
        if (!isFirst && !isProven)
            return "its proof";
        var kind = new ApiKey(row).Kind;
        if (kind is null || (kind == KeyKind.Admin) != (row.App is null) || (kind == KeyKind.Admin && !row.Livemode))
            return "its kind";
        if (kind == KeyKind.Restricted && !HasPermissions(row))
            return "its permissions";
        if (kind != KeyKind.Restricted && (row.Permissions is not null || row.PinnedAccount is not null))
            return "its restrictions";
        if (row.PinnedAccount is "")
            return "its account";
        if (!isFirst && (kind == KeyKind.Admin) != (RoleWords.Parse(row.Role) is not null))
            return "its role";
        if (row.Apps is not null && (row.Role is null or RoleWords.Owner || Split(row.Apps).Contains("")))
            return "its apps";
        return NetworksOf(row).Contains(null) ? "its networks" : null;
    }

    private static bool HasPermissions(ApiKeyRow row) =>
        PermissionWords.Parse(Split(row.Permissions)) is { } permissions && permissions != Permissions.None;

    private static IEnumerable<IPNetwork?> NetworksOf(ApiKeyRow row) =>
        Split(row.Addresses).Select(text => Coffer.Networks.Parse(text));

    /// <summary>
    /// Whether a row is proven in the form of before, and is believed in it: while the store is being raised only.
    /// </summary>
    public static bool IsInFirstForm(Instance instance, ApiKeyRow row) =>
        instance.Level < Control.OnlySecondKeyRows
        && row is { Role: null, Apps: null, CreatedBy: null, IsOffline: false }
        && CryptographicOperations.FixedTimeEquals(row.Proof, FirstProofOf(instance, row));

    // By a pepper that is believed: under each a key was made, or taken over from the one before.
    private static (Pepper Pepper, uint MadeUnder)? ProvenBy(Instance instance, ApiKeyRow row)
    {
        foreach (var pepper in instance.Peppers.Believed)
        {
            foreach (var made in (ReadOnlySpan<uint>)(pepper.Number == 1 ? [1] : [pepper.Number, 0]))
            {
                if (CryptographicOperations.FixedTimeEquals(row.Proof, ProofOf(pepper, row, made)))
                    return (pepper, made);
            }
        }

        return null;
    }

    /// <summary>The proof of a row: whatever it may say is there, so that nothing of it can be dropped.</summary>
    /// <param name="pepper">Which proves.</param>
    /// <param name="row">What it says.</param>
    /// <param name="madeUnder">The pepper that the key was made under; 0 of one that is of before.</param>
    public static byte[] ProofOf(Pepper pepper, ApiKeyRow row, uint madeUnder)
    {
        // Under the first one each key was made, and no row of before says so.
        using var bound = Begin(pepper.Number == 1 ? "coffer v2 key row"u8 : "coffer v3 key row"u8, row);
        bound.Add(row.Permissions ?? "");
        bound.Add(row.PinnedAccount ?? "");
        bound.Add(row.Addresses ?? "");
        bound.Add(row.Generation);
        bound.Add(row.Role ?? "");
        bound.Add(row.Apps ?? "");
        bound.Add(row.CreatedBy ?? "");
        bound.Add(row.IsOffline ? 1 : 0);
        if (pepper.Number > 1)
            bound.Add((long)madeUnder);
        return pepper.Proof.Compute(bound.Span);
    }

    private static AssociatedData Begin(ReadOnlySpan<byte> label, ApiKeyRow row)
    {
        var bound = new AssociatedData(label);
        bound.Add(row.Mac);
        bound.Add(row.Id);
        bound.Add(row.App ?? "");
        bound.Add(row.Account ?? "");
        bound.Add(row.Kind);
        bound.Add(row.Livemode ? 1 : 0);
        bound.Add(row.Created);
        bound.Add(row.ExpiresAt);
        return bound;
    }

    /// <summary>The same in the form of before.</summary>
    public static byte[] FirstProofOf(Instance instance, ApiKeyRow row)
    {
        using var bound = Begin("coffer v1 key row"u8, row);
        // Keys that were made before there were restrictions have none, and their proofs end here. So do those of keys
        // that never ended what they had minted.
        if (row.Permissions is not null || row.PinnedAccount is not null || row.Addresses is not null
            || row.Generation is not null)
        {
            bound.Add(row.Permissions ?? "");
            bound.Add(row.PinnedAccount ?? "");
            bound.Add(row.Addresses ?? "");
        }

        if (row.Generation is { } generation)
            bound.Add(generation);

        return instance.ProofKey.Compute(bound.Span);
    }

    private static string[] Split(string? words) => words?.Split(',') ?? [];

    private static string Prefix(KeyKind kind, bool livemode) => kind switch
    {
        KeyKind.Admin => AdminPrefix,
        KeyKind.Restricted => livemode ? "rk_live_" : "rk_test_",
        _ => livemode ? "sk_live_" : "sk_test_",
    };
}
