using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>
/// The key wrapper that people hold. Its public half wraps root keys; its private half is sealed under a random key
/// that is split into shares, and is there only while they are made or used. Its name is the hash of its public half,
/// so the control row, which names it, vouches for it (docs/envelope.md, "Recovery shares").
/// </summary>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
/// <param name="AnchorMark">Of the store that it was made for (<see cref="Instance.AnchorMark"/>).</param>
/// <param name="Set">Shows which shares are of it.</param>
/// <param name="Threshold">How many shares open it.</param>
/// <param name="Count">How many there are.</param>
/// <param name="SealedKey">The private half as PKCS #8, in an envelope under the key that is split.</param>
internal sealed record RecoveryShares(
    byte[] PublicKey, byte[] AnchorMark, int Set, int Threshold, int Count, byte[] SealedKey)
{
    /// <summary>Where <c>meta</c> has it.</summary>
    public const string MetaKey = "recovery shares";

    public const int LeastThreshold = 2, Most = Shamir.Most, WordsOfShare = 33;

    /// <summary>More bytes than any has.</summary>
    public const int LargestRow = 4096;

    private const string Scheme = "shares:";
    private const byte PublicKeyTag = 1, AnchorTag = 2, SetTag = 3, SealedKeyTag = 4;
    private const int ModulusBits = 3072, SetSize = 4;

    /// <summary>Its name among wrappers.</summary>
    public string Id { get; } = Scheme + Convert.ToHexStringLower(SHA256.HashData(PublicKey));

    /// <summary>What all its shares have in common.</summary>
    public Slip39Set SetOfShares => new(Set, IsExtendable: true, Exponent: 0, GroupThreshold: 1, Groups: 1);

    /// <summary>Whether a wrapper of this name is one that people hold: a start cannot ask it.</summary>
    public static bool IsName(string wrapper) => wrapper.StartsWith(Scheme, StringComparison.Ordinal);

    /// <summary>Makes a pair for a store, and splits the key that opens it.</summary>
    /// <param name="store">The store's id.</param>
    /// <param name="anchorMark">The store's.</param>
    /// <param name="threshold">How many shares open it.</param>
    /// <param name="count">How many there are.</param>
    /// <returns>What is stored, and the shares, for the caller to dispose of.</returns>
    public static (RecoveryShares Stored, IReadOnlyList<Slip39Share> Shares) Make(
        byte[] store, byte[] anchorMark, int threshold, int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threshold, LeastThreshold);
        using var key = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(key.Span);
        var shares = Slip39.Split(key.Span, threshold, count);
        using var pair = RSA.Create(ModulusBits);
        using var privateKey = SecretBytes.Rent(LargestRow);
        if (!pair.TryExportPkcs8PrivateKey(privateKey.Span, out var length))
            throw new InvalidOperationException("a private key is longer than any should be");
        privateKey.Shrink(length);
        var made = new RecoveryShares(
            pair.ExportSubjectPublicKeyInfo(), anchorMark, shares[0].Set.Identifier, threshold, count, []);
        using var sealing = new SealingKey(1, key.Span);
        using var bound = made.Bound(store);
        var half = Envelope.Seal(SealedKind.Shares, sealing, privateKey.Span, bound.Span);
        return (made with { SealedKey = half }, shares);
    }

    /// <summary>Reads what <c>meta</c> holds.</summary>
    /// <returns>Null if it is not what Coffer writes.</returns>
    public static RecoveryShares? Read(ReadOnlySpan<byte> row)
    {
        if (row.Length > LargestRow || !Tlv.AreSound(row, [PublicKeyTag, AnchorTag, SetTag, SealedKeyTag])
            || Tlv.Find(row, PublicKeyTag) is not { } publicKey || Tlv.Find(row, AnchorTag) is not { } anchor
            || Tlv.Find(row, SetTag) is not { } set || Tlv.Find(row, SealedKeyTag) is not { } sealedKey
            || row[anchor].Length != Anchor.MarkSize || row[set].Length != SetSize
            || Envelope.KeyVersionOf(row[sealedKey]) != 1 || !IsPublicKey(row[publicKey]))
            return null;
        var (number, threshold, count) = ((row[set][0] << 8) | row[set][1], row[set][2], row[set][3]);
        return number < Slip39Set.Identifiers && threshold >= LeastThreshold && threshold <= count && count <= Most
            ? new RecoveryShares(row[publicKey].ToArray(), row[anchor].ToArray(), number, threshold, count,
                row[sealedKey].ToArray())
            : null;
    }

    /// <summary>What <c>meta</c> is to hold.</summary>
    public byte[] ToRow()
    {
        var set = SetField();
        var row = new byte[Tlv.SizeOf(PublicKey) + Tlv.SizeOf(AnchorMark) + Tlv.SizeOf(set) + Tlv.SizeOf(SealedKey)];
        var rest = Tlv.Write(Tlv.Write(row, PublicKeyTag, PublicKey), AnchorTag, AnchorMark);
        Tlv.Write(Tlv.Write(rest, SetTag, set), SealedKeyTag, SealedKey);
        return row;
    }

    /// <summary>
    /// That of a store, whose public half is the one that its control row names; null if it has none.
    /// </summary>
    /// <param name="row">What its <c>meta</c> holds, or null.</param>
    /// <param name="wrappers">The names of what wraps its root keys, by the control row.</param>
    /// <exception cref="InvalidDataException">It is another, or damaged: nothing is to be wrapped by it.</exception>
    public static RecoveryShares? Of(byte[]? row, IEnumerable<string> wrappers)
    {
        var named = wrappers.Where(IsName).Distinct().ToList();
        if (row is null && named.Count == 0)
            return null;
        return Read(row) is { } shares && named is [var name] && name == shares.Id
            ? shares
            : throw new InvalidDataException(
                "the public key of the recovery shares in meta is not the one that wrapped the root keys");
    }

    /// <summary>Wraps, and unwraps nothing.</summary>
    public SharesWrapper Wrapper()
    {
        var key = RSA.Create();
        key.ImportSubjectPublicKeyInfo(PublicKey, out _);
        return new SharesWrapper(Id, key, hasPrivateKey: false);
    }

    /// <summary>Whether a key opens the private half, which stays closed.</summary>
    public bool Proves(byte[] store, SecretBytes key)
    {
        using var sealing = new SealingKey(1, key.Span);
        using var bound = Bound(store);
        return Envelope.Proves(sealing, SealedKey, bound.Span);
    }

    /// <summary>Opens the private half with the key that shares gave.</summary>
    /// <returns>What unwraps root keys, for the caller to dispose of; null if it is another key.</returns>
    public SharesWrapper? Open(byte[] store, SecretBytes key)
    {
        using var sealing = new SealingKey(1, key.Span);
        using var bound = Bound(store);
        using var privateKey = Envelope.Open(sealing, SealedKey, bound.Span);
        if (privateKey is null)
            return null;
        var pair = RSA.Create();
        pair.ImportPkcs8PrivateKey(privateKey.Span, out _);
        if (pair.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(PublicKey))
            return new SharesWrapper(Id, pair, hasPrivateKey: true);
        pair.Dispose();
        return null;
    }

    // One form of each key: its hash is its name.
    private static bool IsPublicKey(ReadOnlySpan<byte> der)
    {
        try
        {
            using var key = RSA.Create();
            key.ImportSubjectPublicKeyInfo(der, out _);
            return key.KeySize == ModulusBits && der.SequenceEqual(key.ExportSubjectPublicKeyInfo());
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private AssociatedData Bound(byte[] store)
    {
        var bound = SealedKind.Shares.Bind();
        bound.Add(store);
        bound.Add(Id);
        bound.Add(AnchorMark);
        bound.Add(SetField());
        return bound;
    }

    private byte[] SetField() => [(byte)(Set >> 8), (byte)Set, (byte)Threshold, (byte)Count];
}

/// <summary>The pair of recovery shares: RSA of 3072 bits, OAEP with SHA-256.</summary>
/// <param name="id">Its name.</param>
/// <param name="key">The pair, or its public half; it is disposed of with this.</param>
/// <param name="hasPrivateKey">Whether it can unwrap.</param>
internal sealed class SharesWrapper(string id, RSA key, bool hasPrivateKey) : KeyWrapper, IDisposable
{
    public override string Id => id;

    public override Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct) =>
        Task.FromResult(key.Encrypt(text.Span, RSAEncryptionPadding.OaepSHA256));

    public override Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct)
    {
        if (!hasPrivateKey)
            return Task.FromResult<SecretBytes?>(null);
        var text = SecretBytes.Rent(key.KeySize / 8);
        try
        {
            text.Shrink(key.Decrypt(wrapped, text.Span, RSAEncryptionPadding.OaepSHA256));
            return Task.FromResult<SecretBytes?>(text);
        }
        catch (CryptographicException)
        {
            text.Dispose();
            return Task.FromResult<SecretBytes?>(null);
        }
    }

    public void Dispose() => key.Dispose();
}
