using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Access;

/// <summary>
/// Ids of apps and API keys: a prefix and 27 base62 characters, which are 7 of the Unix second at which it counts as
/// made, 9 of randomness, and 11 of a MAC under the store's key over the rest. A list continues from an id alone, so
/// also when what had it is gone; an id of another store is recognised. Ids of before say nothing: a list continues
/// from one as long as what has it is there (decision 24).
/// </summary>
internal static class ManagedId
{
    private const int TimeLength = 7;
    private const int RandomLength = 9;
    private const int MacLength = 11;
    private const int Length = TimeLength + RandomLength + MacLength;

    /// <summary>A new id.</summary>
    /// <param name="instance">Whose id it is.</param>
    /// <param name="prefix">What it is an id of, such as <c>app_</c>.</param>
    /// <param name="created">Unix seconds.</param>
    public static string New(Instance instance, string prefix, long created)
    {
        Span<char> id = stackalloc char[prefix.Length + Length];
        prefix.CopyTo(id);
        var rest = id[prefix.Length..];
        Base62.Write((ulong)created, rest[..TimeLength]);
        RandomNumberGenerator.GetItems(Base62.Alphabet, rest.Slice(TimeLength, RandomLength));
        Base62.Write(Mac(instance, id[..^MacLength]), rest[^MacLength..]);
        return new string(id);
    }

    /// <summary>When what has or had an id was made, by the id alone; null if it says nothing of this store.</summary>
    public static long? Created(Instance instance, string prefix, string id) =>
        id.Length == prefix.Length + Length && id.StartsWith(prefix, StringComparison.Ordinal)
        && Base62.Read(id.AsSpan(prefix.Length, TimeLength)) is { } created
        && Base62.FixedTimeIs(Mac(instance, id.AsSpan(..^MacLength)), id.AsSpan(^MacLength..))
            ? (long)created
            : null;

    private static ulong Mac(Instance instance, ReadOnlySpan<char> head)
    {
        using var bound = new AssociatedData("coffer v1 managed id"u8);
        bound.Add(new string(head));
        return BinaryPrimitives.ReadUInt64BigEndian(instance.ManagedIdKey.Compute(bound.Span));
    }
}
