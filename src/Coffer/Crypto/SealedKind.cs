namespace Coffer.Crypto;

/// <summary>
/// The register of what is sealed: each kind once, with what it is bound to, by which key, and where it stands
/// (docs/envelope.md, "Associated data", is held equal to it). Nothing is sealed but as one of these, and a rotation
/// seals again all that stands in the store under the key that it replaces.
/// </summary>
internal sealed class SealedKind
{
    private const string Tenant = "instance id, app, livemode, account";

    private static readonly List<SealedKind> Registered = [];

    public static readonly SealedKind
        RootKey = new("root key", "root_key_wrappings.wrapped", Key.File, Owner.Store, "coffer v2 root key",
            "instance id (16 bytes), version of the root key"),
        Control = new("control row", "meta.value", Key.Root, Owner.Store, "coffer v2 control",
            "instance id (16 bytes)"),
        Shares = new("private half of shares", "meta.value", Key.Shares, Owner.Store, "coffer v1 recovery shares",
            "instance id (16 bytes), name of the wrapper, mark of the anchor (32 bytes), set (4 bytes)"),
        RootKeyOne = new("root key, level 1", "root_keys.wrapped", Key.File, Owner.Store, "coffer v1 root key",
            "version of the root key"),
        IdentityOne = new("identity, level 1", "meta.value", Key.Root, Owner.Store, "coffer v2 identity",
            "or `coffer v1 identity`; see below"),
        SigningKeyOne = new("audit signing key, level 1", "meta.value", Key.Root, Owner.Store,
            "coffer v1 audit signing key", "instance id (16 bytes)"),
        TenantKeysOne = new("tenant keys, format 1", "tenants.sealed_keys", Key.Root, Owner.Account,
            "coffer v1 tenant keys", "instance id (16 bytes), app, livemode, account"),
        TenantKeys = new("tenant keys, format 2", "tenants.sealed_keys", Key.Root, Owner.Account,
            "coffer v2 tenant keys", $"{Tenant}, counter, how many keys seal or open"),
        Secret = new("secret", "secrets.sealed", Key.Tenant, Owner.Account, "coffer v1 secret",
            $"{Tenant}, scope index (16), name index (16), secret id, version, created, expires_at or absent"),
        Outcome = new("kept outcome", "idempotency.sealed", Key.Tenant, Owner.Account, "coffer v1 kept outcome",
            $"{Tenant}, index of the key (16), fingerprint (16), created"),
        Reply = new("kept reply of a mint", "replies.sealed", Key.Tenant, Owner.Account, "coffer v2 kept reply",
            $"{Tenant}, index of the key (32), fingerprint (32), created"),
        App = new("app", "apps.sealed", Key.Root, Owner.App, "coffer v1 app", "instance id, app, account, created"),
        Event = new("event of an account", "events.sealed", Key.Tenant, Owner.Account, "coffer v1 event",
            $"{Tenant}, event id, kind, created"),
        StoreEvent = new("event of no account", "events.sealed", Key.Root, Owner.Store, "coffer v1 store event",
            "instance id, app or empty, livemode, account or empty, event id, kind, created"),
        Endpoint = new("webhook endpoint", "webhook_endpoints.sealed", Key.Root, Owner.App,
            "coffer v1 webhook endpoint", "instance id, endpoint id, app or empty, livemode, created"),
        EphemeralKeyOne = new("ephemeral key, format 1", "the token", Key.EphemeralOne, Owner.Account,
            "coffer v1 ephemeral key", "instance id, livemode"),
        EphemeralKey = new("ephemeral key, format 2", "the token", Key.EphemeralTwo, Owner.Account,
            "coffer v2 ephemeral key", "instance id, livemode"),
        Receipt = new("receipt", "receipts.sealed", Key.Replies, Owner.Store, "coffer v1 receipt",
            "instance id, id, created, signed"),
        OperatorReply = new("kept reply", "replies.sealed", Key.Replies, Owner.Store, "coffer v1 kept reply",
            "instance id, index of the key (32), fingerprint (32), created"),
        TenantRotations = new("rotations of tenant keys", "meta.value", Key.Replies, Owner.Store,
            "coffer v1 tenant rotations", "instance id"),
        BackupKey = new("key of a back-up", "the back-up", Key.Root, Owner.Store, "coffer v1 backup key",
            "instance id (16 bytes), id of the back-up (16 bytes), part"),
        BackupFrame = new("frame of a back-up", "the back-up", Key.Backup, Owner.Store, "coffer v1 backup frame",
            "id of the back-up (16 bytes), part, number, whether it is the last, hash of the header (32 bytes)"),
        Proof = new("proof of the root key", "nowhere", Key.Root, Owner.Store, "coffer v1 proof of the key", "");

    private readonly byte[] head;

    private SealedKind(string name, string place, Key under, Owner whose, string purpose, string fields)
    {
        (Name, Place, Under, Whose, Purpose, Fields) = (name, place, under, whose, purpose, fields);
        using var bound = new AssociatedData(System.Text.Encoding.ASCII.GetBytes(purpose));
        head = bound.Span.ToArray();
        Registered.Add(this);
    }

    /// <summary>By which key it is sealed.</summary>
    public enum Key
    {
        File,
        Root,
        Tenant,
        EphemeralOne,
        EphemeralTwo,
        Replies,
        Shares,
        Backup,
    }

    /// <summary>Whose it is.</summary>
    public enum Owner
    {
        Store,
        App,
        Account,
    }

    /// <summary>All kinds.</summary>
    public static IReadOnlyList<SealedKind> All => Registered;

    public string Name { get; }

    /// <summary>Table and column; or that it is outside the store.</summary>
    public string Place { get; }

    public Key Under { get; }

    public Owner Whose { get; }

    /// <summary>The first field of what it is bound to.</summary>
    public string Purpose { get; }

    /// <summary>The fields after the purpose, in words.</summary>
    public string Fields { get; }

    /// <summary>What it is bound to, up to the purpose.</summary>
    public AssociatedData Bind() => new(head.AsSpan(sizeof(int)));

    /// <summary>Has a key seal nothing that another one has to.</summary>
    public void RequireUnder(Key key)
    {
        if (Under != key)
            throw new InvalidOperationException($"a {Name} is sealed under {Under}, not under {key}");
    }

    /// <summary>Has nothing sealed as what it is not.</summary>
    public void RequireBound(ReadOnlySpan<byte> associatedData)
    {
        if (!associatedData.StartsWith(head))
            throw new InvalidOperationException($"what is to be sealed is not bound as a {Name}");
    }
}
