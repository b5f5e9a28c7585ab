// Access: who may do what. This room turns a token into a caller and decides what the caller may do; it never
// touches a secret. It is also where the store's own identity is made once and proven at every start.

using System.Security.Cryptography;
using Coffer.Access;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// What makes a store this store: a random id that every sealed thing is bound to, the root keys, and the pepper of its
/// API keys. All of it is sealed: without the right key file a store does not open.
/// </summary>
internal sealed class Instance
{
    private const string MetaKey = "identity";
    private const string SigningMetaKey = "audit signing key";

    // What the identity is bound to says whether every app's settings are sealed: who writes the database could take
    // away a mark beside it, but cannot make this one, and without it no store opens.
    private const bool Sealed = true, BeforeSealed = false;

    /// <summary>
    /// Where <c>meta</c> says that the store is the target of a migration that is not finished; the value is the
    /// store's id.
    /// </summary>
    public const string MigrationMetaKey = "migration";

    private const int IdSize = 16;
    private const int PepperSize = 32;

    private Instance(RootKeys roots, ReadOnlySpan<byte> identity, ECDsa auditSigningKey, bool appsAreSealed)
    {
        AppsAreSealed = appsAreSealed;
        AuditSigningKey = auditSigningKey;
        Roots = roots;
        Id = identity[..IdSize].ToArray();
        TokenKey = MacKey.Derived(identity[IdSize..], "coffer v1 token"u8);
        ProofKey = MacKey.Derived(identity[IdSize..], "coffer v1 key row"u8);
        AuditKey = MacKey.Derived(identity[IdSize..], "coffer v1 audit"u8);
        ManagedIdKey = MacKey.Derived(identity[IdSize..], "coffer v1 managed id"u8);
        EphemeralIdKey = MacKey.Derived(identity[IdSize..], "coffer v1 ephemeral key id"u8);
        EphemeralKey = SealingKey.Derived(identity[IdSize..], "coffer v1 ephemeral key"u8);
        EphemeralKey2 = SealingKey.Derived(identity[IdSize..], "coffer v2 ephemeral key"u8, version: 2);
        ReplyKey = SealingKey.Derived(identity[IdSize..], "coffer v1 reply"u8);
    }

    /// <summary>
    /// Whether the settings of every app are sealed, so that an app without any is damaged. Only a store of schema 1
    /// had others, until its first start with a program that knows this.
    /// </summary>
    public bool AppsAreSealed { get; private set; }

    public RootKeys Roots { get; }

    /// <summary>16 random bytes; not a secret.</summary>
    public byte[] Id { get; }

    /// <summary>Key of the MAC under which a token is stored.</summary>
    public MacKey TokenKey { get; }

    /// <summary>Key of the MAC that binds an API key's row to its token.</summary>
    public MacKey ProofKey { get; }

    /// <summary>Key of the MACs that chain the audit log.</summary>
    public MacKey AuditKey { get; }

    /// <summary>Key of the MAC that shows an id to be of an app or API key of this store.</summary>
    public MacKey ManagedIdKey { get; }

    /// <summary>Key of the MAC that shows an id to be of an ephemeral key of an account.</summary>
    public MacKey EphemeralIdKey { get; }

    /// <summary>
    /// Seals the claims of ephemeral keys of format 1. It outlives a rotation of the root keys, as the pepper does.
    /// </summary>
    public SealingKey EphemeralKey { get; }

    /// <summary>The same of format 2, which a program that knows only format 1 has no key for.</summary>
    public SealingKey EphemeralKey2 { get; }

    /// <summary>Seals what idempotency keys have kept outside tenants.</summary>
    public SealingKey ReplyKey { get; }

    /// <summary>ECDSA P-256: signs the audit log's checkpoints and the receipts of what was forgotten.</summary>
    public ECDsa AuditSigningKey { get; }

    /// <summary>Whether the store has an identity yet. One that has is never given another.</summary>
    public static async Task<bool> ExistsAsync(Engine engine, CancellationToken ct) =>
        await engine.FindMetaAsync(MetaKey, ct) is not null;

    /// <summary>
    /// Refuses the target of a migration that is not finished: what is in it is a part, and not proven.
    /// </summary>
    /// <exception cref="ConfigurationException">It is one.</exception>
    public static async Task RequireWholeAsync(Engine engine, CancellationToken ct)
    {
        if (await engine.FindMetaAsync(MigrationMetaKey, ct) is not null)
            throw Unfinished();
    }

    public static ConfigurationException Unfinished() =>
        new("the store is the target of an unfinished migration and cannot be used",
        "Run the same coffer migrate command again: it continues where it stopped.");

    /// <summary>
    /// The rows that make an empty store this program's, to be committed with whatever else a first start writes.
    /// </summary>
    public static (Instance Instance, RowWrite[] Rows) Create(KeyFile wrapper, long now)
    {
        var (root, wrapped) = RootKeys.Generate(1, wrapper);
        var roots = new RootKeys(root);
        using var identity = SecretBytes.Rent(IdSize + PepperSize);
        RandomNumberGenerator.Fill(identity.Span);
        using var purpose = Purpose(Sealed);
        var signing = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var signingPurpose = SigningPurpose(identity.Span[..IdSize]);
        var pkcs8 = signing.ExportPkcs8PrivateKey();
        var sealedSigning = roots.Seal(pkcs8, signingPurpose.Span);
        CryptographicOperations.ZeroMemory(pkcs8);
        return (new Instance(roots, identity.Span, signing, Sealed),
        [
            new RowWrite.PutRootKey(new RootKeyRow(1, now, wrapped)),
            new RowWrite.PutMeta(MetaKey, roots.Seal(identity.Span, purpose.Span)),
            new RowWrite.PutMeta(SigningMetaKey, sealedSigning),
        ]);
    }

    /// <summary>Proves that the key file belongs to this store.</summary>
    /// <exception cref="ConfigurationException">It does not, or the store's own keys were changed.</exception>
    public static async Task<Instance> OpenAsync(Engine engine, KeyFile wrapper, CancellationToken ct)
    {
        await RequireWholeAsync(engine, ct);
        return Open(await engine.ListRootKeysAsync(ct), await StoredAsync(engine, ct), wrapper);
    }

    /// <summary>The row that says that every app's settings are sealed, and what to call once it is durable.</summary>
    /// <exception cref="ConfigurationException">The identity was changed since it was opened.</exception>
    public async Task<(RowWrite Row, Action Durable)> SayAppsAreSealedAsync(Engine engine, CancellationToken ct)
    {
        var stored = await engine.FindMetaAsync(MetaKey, ct);
        using var before = Purpose(BeforeSealed);
        using var after = Purpose(Sealed);
        using var identity = Roots.Open(stored, before.Span) ?? Roots.Open(stored, after.Span) ?? throw Changed();
        return (new RowWrite.PutMeta(MetaKey, Roots.Seal(identity.Span, after.Span)), () => AppsAreSealed = true);
    }

    /// <summary>
    /// What a store holds of its identity, sealed; with the root keys and the key file it opens elsewhere too.
    /// </summary>
    public static async Task<Dictionary<string, byte[]>> StoredAsync(Engine engine, CancellationToken ct)
    {
        var stored = new Dictionary<string, byte[]>();
        foreach (var name in (string[])[MetaKey, SigningMetaKey])
        {
            if (await engine.FindMetaAsync(name, ct) is { } value)
                stored.Add(name, value);
        }

        return stored;
    }

    /// <inheritdoc cref="OpenAsync"/>
    public static Instance Open(IReadOnlyList<RootKeyRow> roots, IReadOnlyDictionary<string, byte[]> stored,
        KeyFile wrapper)
    {
        var keys = roots.Select(row => RootKeys.Unwrap(row.Version, row.Wrapped,
            wrapper) ?? throw new ConfigurationException(
            $"the key file cannot open this store (root key {row.Version})",
            "Restore the key file that this store was created with; all nodes of a store need the same coffer.key. "
                + "Coffer never creates a new key for existing data.")).ToArray();
        return (keys.Length == 0 ? null : Parse(new RootKeys(keys), stored.GetValueOrDefault(MetaKey),
            stored.GetValueOrDefault(SigningMetaKey)))
            ?? throw Changed();
    }

    /// <summary>Whether the root key still opens what it seals: memory and cryptography work.</summary>
    public bool ProvesItself()
    {
        using var purpose = new AssociatedData("coffer v1 proof of the key"u8);
        using var opened = Roots.Open(Roots.Seal(Id, purpose.Span), purpose.Span);
        return opened is not null && opened.Span.SequenceEqual(Id);
    }

    private static Instance? Parse(RootKeys roots, byte[]? stored, byte[]? storedSigning)
    {
        using var purpose = Purpose(Sealed);
        using var before = Purpose(BeforeSealed);
        using var current = roots.Open(stored, purpose.Span);
        using var earlier = current is null ? roots.Open(stored, before.Span) : null;
        var identity = current ?? earlier;
        if (identity?.Length != IdSize + PepperSize)
            return null;
        using var signingPurpose = SigningPurpose(identity.Span[..IdSize]);
        using var pkcs8 = roots.Open(storedSigning, signingPurpose.Span);
        if (pkcs8 is null)
            return null;
        var signing = ECDsa.Create();
        signing.ImportPkcs8PrivateKey(pkcs8.Span, out var read);
        return read == pkcs8.Length ? new Instance(roots, identity.Span, signing, current is not null) : null;
    }

    private static ConfigurationException Changed() => new(
        "the store's identity cannot be opened: its root keys or its meta table were changed",
        "Restore the store from a backup. Nothing was changed.");

    private static AssociatedData SigningPurpose(ReadOnlySpan<byte> instance)
    {
        var purpose = new AssociatedData("coffer v1 audit signing key"u8);
        purpose.Add(instance);
        return purpose;
    }

    private static AssociatedData Purpose(bool appsAreSealed) =>
        new(appsAreSealed ? "coffer v2 identity"u8 : "coffer v1 identity"u8);
}
