using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>
/// The keys of a store of level 1, as they were before there was a control row: the identity and the key that signs are
/// rows of their own, and one key file wraps the root key. It is read, and never written.
/// </summary>
/// <param name="Roots">The root keys.</param>
/// <param name="Id">The store's id.</param>
/// <param name="Pepper">The store's pepper.</param>
/// <param name="SigningKey">As PKCS #8.</param>
internal sealed record LevelOne(RootKeys Roots, byte[] Id, SecretBytes Pepper, SecretBytes SigningKey) : IDisposable
{
    public const string IdentityMetaKey = "identity", SigningMetaKey = "audit signing key";

    // What the identity is bound to says whether every app's settings are sealed.
    private const bool Sealed = true, BeforeSealed = false;

    /// <summary>Whether the settings of every app are sealed.</summary>
    public bool AppsAreSealed { get; private init; }

    /// <exception cref="ConfigurationException">
    /// No key file among the wrappers is the store's, or its own keys were changed.
    /// </exception>
    public static LevelOne Open(StoredKeys stored, KeyWrappers wrappers)
    {
        if (stored.Roots.Count == 0)
            throw Instance.Changed();
        var keys = stored.Roots.Select(row => wrappers.Files
            .Select(file => Unwrap(row.Version, row.Wrapped, file))
            .FirstOrDefault(key => key is not null) ?? throw Instance.WrongKeyFile(row.Version)).ToArray();
        return Open(stored, new RootKeys(keys));
    }

    /// <exception cref="ConfigurationException">The store's own keys were changed.</exception>
    public static LevelOne Open(StoredKeys stored, RootKeys roots)
    {
        var value = stored.Meta.GetValueOrDefault(IdentityMetaKey);
        using var purpose = Purpose(Sealed);
        using var before = Purpose(BeforeSealed);
        using var current = roots.Open(value, purpose.Span);
        using var earlier = current is null ? roots.Open(value, before.Span) : null;
        var identity = current ?? earlier;
        if (identity?.Length != Control.StoreIdSize + Control.PepperSize)
            throw Instance.Changed();
        var id = identity.Span[..Control.StoreIdSize].ToArray();
        using var bound = SealedKind.SigningKeyOne.Bind();
        bound.Add(id);
        var signing = roots.Open(stored.Meta.GetValueOrDefault(SigningMetaKey), bound.Span) ?? throw Instance.Changed();
        return new LevelOne(roots, id, SecretBytes.Copy(identity.Span[Control.StoreIdSize..]), signing)
        {
            AppsAreSealed = current is not null,
        };
    }

    public void Dispose()
    {
        Pepper.Dispose();
        SigningKey.Dispose();
    }

    public override string ToString() => "[redacted]";

    private static SealingKey? Unwrap(uint version, ReadOnlySpan<byte> wrapped, KeyFile file)
    {
        using var purpose = SealedKind.RootKeyOne.Bind();
        purpose.Add(version);
        using var key = file.Unwrap(wrapped, purpose.Span);
        return key is null ? null : new SealingKey(version, key.Span);
    }

    private static AssociatedData Purpose(bool appsAreSealed) =>
        new(appsAreSealed ? "coffer v2 identity"u8 : "coffer v1 identity"u8);
}
