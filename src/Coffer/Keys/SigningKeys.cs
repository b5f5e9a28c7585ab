using System.Security.Cryptography;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// The keys with which a store signs its checkpoints and receipts, ECDSA P-256. The newest signs, and each is signed
/// by the one before it.
/// </summary>
internal sealed class SigningKeys
{
    private readonly ECDsa newest;

    private SigningKeys(uint number, ECDsa newest, PublicKeys known) =>
        (Number, this.newest, Public) = (number, newest, known);

    /// <summary>The newest one's number, from 1.</summary>
    public uint Number { get; }

    /// <summary>What others prove with.</summary>
    public PublicKeys Public { get; }

    /// <summary>The newest, for what signs in a form of its own.</summary>
    public ECDsa Newest => newest;

    /// <inheritdoc cref="Open(byte[], IReadOnlyList{Control.Numbered}, IReadOnlyList{Control.Era}?)"/>
    public static SigningKeys Open(byte[] store, Control control) =>
        Open(store, control.SigningKeys, control.Eras);

    /// <param name="store">The store's id.</param>
    /// <param name="stored">The keys, oldest first.</param>
    /// <param name="eras">Which of them began with a generation of the store; null is none.</param>
    /// <exception cref="ConfigurationException">One is no key.</exception>
    public static SigningKeys Open(
        byte[] store, IReadOnlyList<Control.Numbered> stored, IReadOnlyList<Control.Era>? eras = null)
    {
        var (signer, words) = ((ECDsa?)null, new List<SignedKey>());
        foreach (var (number, secret) in stored)
        {
            var key = ECDsa.Create();
            key.ImportPkcs8PrivateKey(secret.Span, out var read);
            if (read != secret.Length)
                throw Keys.Instance.Changed();
            var since = eras?.FirstOrDefault(era => era.SigningKey == number)?.Generation;
            words.Add(Word(store, number, key, signer, since));
            signer = key;
        }

        return new SigningKeys(stored[^1].Number, signer!, new PublicKeys(words));
    }

    /// <summary>The same with one more, which signs from then on, and how the control row has that.</summary>
    /// <param name="store">The store's id.</param>
    /// <param name="since">
    /// The generation that begins with it: what names it or a later one, and was signed by a key before, counts no
    /// more. Null is none.
    /// </param>
    /// <returns>For the caller to dispose of.</returns>
    public NewSigningKey Next(byte[] store, StoreGeneration? since = null)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var pkcs8 = key.ExportPkcs8PrivateKey();
        try
        {
            var number = Number + 1;
            var word = Word(store, number, key, newest, since);
            // What was learned from elsewhere since is not the store's own.
            var known = new PublicKeys([.. Public.All.Where(each => each.Number < number), word]);
            return new NewSigningKey(
                new SigningKeys(number, key, known), new Control.Numbered(number, SecretBytes.ForKey(pkcs8)));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(pkcs8);
        }
    }

    public byte[] Sign(ReadOnlySpan<byte> text) => newest.SignData(text, HashAlgorithmName.SHA256);

    public override string ToString() => "[redacted]";

    private static SignedKey Word(byte[] store, uint number, ECDsa key, ECDsa? signer, StoreGeneration? since)
    {
        var known = key.ExportSubjectPublicKeyInfo();
        using var signed = SignedKey.ToBeSigned(store, number, known, since);
        return new SignedKey(number, known, signer?.SignData(signed.Span, HashAlgorithmName.SHA256) ?? [])
        {
            Since = since,
        };
    }
}

/// <summary>A key that signs from the change on that stores it.</summary>
/// <param name="Keys">It, with those before.</param>
/// <param name="Stored">As the control row has it.</param>
internal sealed record NewSigningKey(SigningKeys Keys, Control.Numbered Stored) : IDisposable
{
    /// <summary>The row that is written beside the control row.</summary>
    public RowWrite Write => new RowWrite.PutMeta(PublicKeys.MetaKey, Keys.Public.ToMeta());

    /// <summary>A control row that has it; null of one that does not end with the key before it.</summary>
    public Control? AddTo(Control control) => control.SigningKeys[^1].Number == Stored.Number - 1
        ? control with { SigningKeys = [.. control.SigningKeys, Stored] }
        : null;

    public void Dispose() => Stored.Secret.Dispose();

    public override string ToString() => $"signing key {Stored.Number} [redacted]";
}
