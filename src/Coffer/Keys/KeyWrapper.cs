using System.Diagnostics;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;
using Coffer.Telemetry;

namespace Coffer.Keys;

/// <summary>
/// The second seam of Coffer: what keeps root keys from being read where they are stored. It wraps a few bytes and
/// unwraps them again; a key service is a network away, so both may take their time. It is asked at start and by the
/// commands that say so, never by a request.
/// </summary>
internal abstract class KeyWrapper
{
    /// <summary>
    /// Names the key that it wraps with. It stands in clear beside what was wrapped, so it holds no secret.
    /// </summary>
    public abstract string Id { get; }

    /// <summary>Whether what a wrapper of this name has wrapped is to be unwrapped by this one.</summary>
    public virtual bool Holds(string id) => id == Id;

    /// <summary>Wraps, for a root key of a store.</summary>
    /// <exception cref="KeyServiceException">It could not, or was not let.</exception>
    public abstract Task<byte[]> WrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct);

    /// <summary>Unwraps what it wrapped for a root key of a store.</summary>
    /// <returns>The text, for the caller to dispose of; null if it is not what this wrapper wrapped.</returns>
    /// <exception cref="KeyServiceException">It could not, or was not let.</exception>
    public abstract Task<SecretBytes?> UnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct);

    /// <summary>
    /// What an operator has to know of the key, as far as its service tells: that it is off, or about to be deleted.
    /// </summary>
    /// <exception cref="KeyServiceException">It does not tell.</exception>
    public virtual Task<IReadOnlyList<KeyTrouble>> FindTroublesAsync(CancellationToken ct) =>
        Task.FromResult<IReadOnlyList<KeyTrouble>>([]);

    /// <summary>Wraps, and measures how long that takes.</summary>
    /// <inheritdoc cref="WrapAsync"/>
    public Task<byte[]> AskWrapAsync(RootKeyName name, SecretBytes text, CancellationToken ct) =>
        MeasuredAsync("wrap", () => WrapAsync(name, text, ct));

    /// <summary>Unwraps, and measures how long that takes.</summary>
    /// <inheritdoc cref="UnwrapAsync"/>
    public Task<SecretBytes?> AskUnwrapAsync(RootKeyName name, byte[] wrapped, CancellationToken ct) =>
        MeasuredAsync("unwrap", () => UnwrapAsync(name, wrapped, ct));

    private async Task<T> MeasuredAsync<T>(string operation, Func<Task<T>> ask)
    {
        var (began, outcome) = (Stopwatch.GetTimestamp(), "failed");
        try
        {
            var answer = await ask();
            outcome = "ok";
            return answer;
        }
        finally
        {
            Metrics.WrapperTime.Of(WrapperUrl.KindOf(Id), operation, outcome).RecordSince(began);
        }
    }

    /// <summary>Wraps a root key and unwraps it at once: a service that only encrypts would lose the store.</summary>
    /// <exception cref="KeyServiceException">It could not, was not let, or gives back something else.</exception>
    public async Task<WrappingRow> WrapProvenAsync(byte[] store, SealingKey root, long now, CancellationToken ct)
    {
        var made = (await Instance.WrapAsync(store, root, [this], now, ct))[0];
        return await OpensAsync(store, made, root.Hash(), ct)
            ? made
            : throw new KeyServiceException($"{Id} does not give back what it wrapped", false);
    }

    /// <summary>Whether it gives the root key that was wrapped.</summary>
    /// <param name="store">The store's id.</param>
    /// <param name="row">What was wrapped.</param>
    /// <param name="hash">SHA-256 of the root key.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="KeyServiceException">It could not be asked.</exception>
    public async Task<bool> OpensAsync(byte[] store, WrappingRow row, byte[] hash, CancellationToken ct)
    {
        var name = new RootKeyName(store, row.Version);
        using var text = await AskUnwrapAsync(name, row.Wrapped, ct);
        using var key = text is null ? null : name.Read(text.Span);
        return key is not null && key.Hash().AsSpan().SequenceEqual(hash);
    }
}

/// <summary>Something about a key at its service.</summary>
/// <param name="Text">What is so, in lower case and without a full stop.</param>
/// <param name="Hint">What to do, as whole sentences.</param>
/// <param name="IsFatal">Whether nothing is unwrapped with it, or soon will not be.</param>
internal sealed record KeyTrouble(string Text, string Hint, bool IsFatal);

/// <summary>Which root key of which store.</summary>
/// <param name="Store">The store's id.</param>
/// <param name="Version">The version of the root key, from 1.</param>
internal readonly record struct RootKeyName(byte[] Store, uint Version)
{
    /// <summary>
    /// What a wrapper is given to wrap, whatever it can bind by itself: so one that was wrapped elsewhere, or for
    /// another version, does not count as this one.
    /// </summary>
    public SecretBytes Text(ReadOnlySpan<byte> key)
    {
        using var text = new AssociatedData("coffer v1 wrapped root key"u8);
        text.Add(Store);
        text.Add(Version);
        text.Add(key);
        return SecretBytes.Copy(text.Span);
    }

    /// <summary>The key in a text; null if the text is of another key, another store or nothing of the kind.</summary>
    public SealingKey? Read(ReadOnlySpan<byte> text)
    {
        if (text.Length < SealingKey.Size)
            return null;
        var key = text[^SealingKey.Size..];
        using var expected = Text(key);
        return CryptographicOperations.FixedTimeEquals(expected.Span, text) ? new SealingKey(Version, key) : null;
    }

    /// <summary>What a wrapper binds to what it wraps, where it can bind anything.</summary>
    public AssociatedData Bound()
    {
        var bound = SealedKind.RootKey.Bind();
        bound.Add(Store);
        bound.Add(Version);
        return bound;
    }
}
