using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Secrets;

/// <summary>
/// Ids of secrets: <c>appsecret_</c> and 30 base62 characters, which are 11 of time (48 bits of Unix milliseconds, 16
/// of a counter), 8 of randomness, and 11 of a MAC under the tenant's seed over the scope and the rest. Text order is
/// order of creation, and an id of another tenant or scope is recognised without a look-up, even when its secret is
/// long gone.
/// </summary>
/// <param name="time">The clock.</param>
/// <param name="mark">
/// What keeps the order over restarts and steps of the clock; without it ids are in order within this process.
/// </param>
internal sealed class SecretId(TimeProvider time, IdMark? mark = null)
{
    public const string Prefix = "appsecret_";
    private const int TimeLength = 11;
    private const int RandomLength = 8;
    private const int MacLength = 11;
    private const int Length = 10 + TimeLength + RandomLength + MacLength;

    private ulong last = mark?.Highest ?? 0;

    /// <summary>
    /// A new id, greater than all that this instance made before, and all that were in the store when it started. Not
    /// for use by several threads at once.
    /// </summary>
    /// <returns>The id, and the row that has to be committed with it, if any.</returns>
    public (string Id, RowWrite.PutMeta? Mark) Next(TenantSeed seed, ReadOnlySpan<byte> scope)
    {
        last = Math.Max(last + 1, TimeOf(time.GetUtcNow()));

        Span<char> id = stackalloc char[Length];
        Prefix.CopyTo(id);
        var rest = id[Prefix.Length..];
        Base62.Write(last, rest[..TimeLength]);
        RandomNumberGenerator.GetItems(Base62.Alphabet, rest.Slice(TimeLength, RandomLength));
        Base62.Write(Mac(seed, scope, id[..^MacLength]), rest[^MacLength..]);
        return (new string(id), mark?.Cover(last));
    }

    /// <summary>The row that came with an id was committed.</summary>
    public void Keep(RowWrite.PutMeta row) => mark?.Keep(row);

    /// <summary>
    /// The lowest time of an id that is made at a moment. Before 1970 there is none: a clock may say so.
    /// </summary>
    public static ulong TimeOf(DateTimeOffset moment) => (ulong)Math.Max(moment.ToUnixTimeMilliseconds(), 0) << 16;

    /// <summary>Whether an id was made for this scope under this seed, by the id alone.</summary>
    public static bool BelongsTo(TenantSeed seed, ReadOnlySpan<byte> scope, string id)
    {
        if (id.Length != Length || !id.StartsWith(Prefix, StringComparison.Ordinal)
            || id.AsSpan(Prefix.Length).ContainsAnyExcept(Base62.Characters))
            return false;
        return Base62.FixedTimeIs(Mac(seed, scope, id.AsSpan(0, Length - MacLength)), id.AsSpan(Length - MacLength));
    }

    private static ulong Mac(TenantSeed seed, ReadOnlySpan<byte> scope, ReadOnlySpan<char> head)
    {
        using var bound = new AssociatedData("id"u8);
        bound.Add(scope);
        bound.Add(new string(head));
        return seed.CursorMac(bound.Span);
    }
}
