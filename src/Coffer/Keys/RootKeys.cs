using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Keys;

/// <summary>
/// The root keys of a store: one that seals, others that still open. They seal tenant keys and the store's own secrets,
/// never a record. At rest they are wrapped (<see cref="KeyWrapper"/>).
/// </summary>
internal sealed class RootKeys
{
    private readonly SealingKey[] keys;
    private readonly SealingKey sealing;

    /// <summary>One that seals, and older ones.</summary>
    /// <param name="keys">At least one, oldest first: the last seals.</param>
    public RootKeys(params SealingKey[] keys) : this(keys, keys[^1].Version)
    {
    }

    /// <param name="keys">All that open.</param>
    /// <param name="sealing">The version of the one that seals.</param>
    public RootKeys(SealingKey[] keys, uint sealing)
    {
        this.keys = keys;
        this.sealing = Array.Find(keys, key => key.Version == sealing)
            ?? throw new ArgumentException("the key that seals is not among the keys", nameof(sealing));
    }

    public byte[] Seal(SealedKind kind, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> associatedData)
    {
        kind.RequireUnder(SealedKind.Key.Root);
        return Envelope.Seal(kind, sealing, plaintext, associatedData);
    }

    /// <returns>
    /// The plaintext, for the caller to dispose of; null when no key of this store opens it or anything was changed.
    /// </returns>
    public SecretBytes? Open(ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        var version = Envelope.KeyVersionOf(envelope);
        return Find(version) is { } key ? Envelope.Open(key, envelope, associatedData) : null;
    }

    /// <summary>What is under one of them, sealed again under the one that seals; null if it does not open.</summary>
    public byte[]? Reseal(SealedKind kind, ReadOnlySpan<byte> envelope, ReadOnlySpan<byte> associatedData)
    {
        using var plaintext = Open(envelope, associatedData);
        return plaintext is null ? null : Seal(kind, plaintext.Span, associatedData);
    }

    /// <summary>Whether the key that an envelope names is here, or it is no envelope.</summary>
    public bool MayOpen(ReadOnlySpan<byte> envelope) =>
        Envelope.KeyVersionOf(envelope) is not { } version || Find(version) is not null;

    /// <summary>The same keys, of which another seals.</summary>
    public RootKeys SealingBy(uint version) => new(keys, version);

    /// <summary>The same with another key, which does not seal.</summary>
    public RootKeys With(SealingKey key) => new([.. keys, key], sealing.Version);

    /// <summary>The same without some keys.</summary>
    public RootKeys Without(IEnumerable<uint> versions) =>
        new([.. keys.Where(key => !versions.Contains(key.Version))], sealing.Version);

    /// <summary>The newest version that opens.</summary>
    public uint Newest => keys.Max(key => key.Version);

    /// <summary>The key of a version, or null.</summary>
    public SealingKey? Find(uint? version) => Array.Find(keys, key => key.Version == version);

    /// <summary>A fresh root key.</summary>
    public static SealingKey Generate(uint version)
    {
        using var fresh = SecretBytes.Rent(SealingKey.Size);
        RandomNumberGenerator.Fill(fresh.Span);
        return new SealingKey(version, fresh.Span);
    }
}
