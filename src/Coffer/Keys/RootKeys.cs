using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>
/// The root keys of a store: one newest that seals, older ones that still open. They seal tenant keys and the store's
/// identity, never a record. At rest they are wrapped by the key file.
/// </summary>
internal sealed class RootKeys
{
    private readonly SealingKey[] keys;

    /// <param name="keys">At least one, oldest first.</param>
    public RootKeys(params SealingKey[] keys)
    {
        ArgumentOutOfRangeException.ThrowIfZero(keys.Length);
        this.keys = keys;
    }

    public byte[] Seal(ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData) =>
        Envelope.Seal(keys[^1], plaintext, associatedData);

    /// <returns>
    /// The plaintext, for the caller to dispose of; null when no key of this store opens it or anything was changed.
    /// </returns>
    public SecretBytes? Open(ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        var version = Envelope.KeyVersionOf(envelope);
        return Array.Find(keys, key => key.Version == version) is { } key
            ? Envelope.Open(key, envelope, associatedData)
            : null;
    }

    /// <summary>A fresh root key and the form in which it is stored, wrapped by <paramref name="wrapper"/>.</summary>
    public static (SealingKey Key, byte[] Wrapped) Generate(uint version, KeyFile wrapper)
    {
        using var fresh = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(fresh.Span);
        using var purpose = Purpose(version);
        return (new SealingKey(version, fresh.Span), wrapper.Wrap(fresh.Span, purpose.Span));
    }

    /// <returns>Null when the key file has not the key that the root key is wrapped with.</returns>
    public static SealingKey? Unwrap(uint version, ReadOnlySpan<byte> wrapped, KeyFile wrapper)
    {
        using var purpose = Purpose(version);
        using var key = wrapper.Unwrap(wrapped, purpose.Span);
        return key is null ? null : new SealingKey(version, key.Span);
    }

    /// <summary>The stored form of a root key for another key file.</summary>
    /// <returns>Null when <paramref name="wrapper"/> has not the key that the root key is wrapped with.</returns>
    public static byte[]? Rewrap(uint version, ReadOnlySpan<byte> wrapped, KeyFile wrapper, KeyFile other)
    {
        using var purpose = Purpose(version);
        using var key = wrapper.Unwrap(wrapped, purpose.Span);
        return key is null ? null : other.Wrap(key.Span, purpose.Span);
    }

    private static AssociatedData Purpose(uint version)
    {
        var purpose = new AssociatedData("coffer v1 root key"u8);
        purpose.Add(version);
        return purpose;
    }
}
