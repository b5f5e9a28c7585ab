using System.Buffers;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Audit;

/// <summary>
/// The chain of a node that needs no key: each row's 16 random bytes and each entry are hashed onto all before them. It
/// proves nothing by itself; a checkpoint that has signed the hash proves all that was hashed into it, to anybody.
/// </summary>
/// <remarks>
/// The random bytes keep who has a checkpoint only from guessing what the entries before it are. A segment begins where
/// the log has had no such chain, and with each generation of the store: with the head that was found, so that it
/// proves what is before it too.
/// </remarks>
internal static class PublicChain
{
    public const int SaltSize = 16, HashSize = SHA256.HashSizeInBytes;

    private const int MostOnStack = 1024;

    /// <summary>The hash before the first row of a segment.</summary>
    /// <param name="store">The store's id.</param>
    /// <param name="node">Whose chain.</param>
    /// <param name="generation">Whose segment.</param>
    /// <param name="before">The head that was found; of an empty log, number 0.</param>
    public static byte[] Begin(byte[] store, string node, StoreGeneration generation, ChainPosition before)
    {
        using var bound = new AssociatedData("coffer v2 audit"u8);
        bound.Add(store);
        bound.Add(node);
        bound.Add(generation.ToBytes());
        bound.Add((byte[])(before.Sequence == 0 ? [] : [.. before.Mac, .. before.Public?.Hash ?? []]));
        return SHA256.HashData(bound.Span);
    }

    /// <summary>Takes it to a row.</summary>
    public static void AddRow(Span<byte> hash, ReadOnlySpan<byte> salt)
    {
        using var bound = new AssociatedData("coffer v2 audit row"u8);
        bound.Add(hash);
        bound.Add(salt);
        SHA256.HashData(bound.Span, hash);
    }

    /// <summary>Takes it over an entry.</summary>
    public static void AddEntry(Span<byte> hash, ReadOnlySpan<byte> entry)
    {
        var size = HashSize + entry.Length;
        var rented = size > MostOnStack ? ArrayPool<byte>.Shared.Rent(size) : null;
        Span<byte> text = rented is null ? stackalloc byte[MostOnStack] : rented;
        hash.CopyTo(text);
        entry.CopyTo(text[HashSize..]);
        SHA256.HashData(text[..size], hash);
        if (rented is not null)
            ArrayPool<byte>.Shared.Return(rented);
    }
}

/// <summary>How far a public chain has come.</summary>
/// <param name="Hash">Over the last entry and all before it.</param>
/// <param name="Generation">Whose segment it is in.</param>
internal sealed record PublicPlace(byte[] Hash, StoreGeneration Generation)
{
    /// <summary>Of a row: its random bytes, the hash, and the generation.</summary>
    private const int Size = PublicChain.SaltSize + PublicChain.HashSize + StoreGeneration.Size;

    /// <summary>As the row holds it.</summary>
    public byte[] ToRow(ReadOnlySpan<byte> salt) => [.. salt, .. Hash, .. Generation.ToBytes()];

    /// <returns>Null if a row holds none, or something else.</returns>
    public static (byte[] Salt, PublicPlace Place)? Read(byte[]? value)
    {
        if (value is not { Length: Size })
            return null;
        var (hash, generation) = (PublicChain.SaltSize, PublicChain.SaltSize + PublicChain.HashSize);
        return (value[..hash], new PublicPlace(value[hash..generation],
            StoreGeneration.Read(value.AsSpan(generation))));
    }
}
