using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Secrets;

/// <summary>
/// Ids of secrets: <c>appsecret_</c> and 30 base62 characters, which are 11 of time (48 bits of Unix milliseconds, 16 of a
/// counter), 8 of randomness, and 11 of a MAC under the tenant's key over the scope and the rest. Text order is order of
/// creation, and an id of another tenant or scope is recognised without a look-up, even when its secret is long gone.
/// </summary>
internal sealed class SecretId(TimeProvider time)
{
    public const string Prefix = "appsecret_";
    private const int TimeLength = 11;
    private const int RandomLength = 8;
    private const int MacLength = 11;
    private const int Length = 10 + TimeLength + RandomLength + MacLength;

    private ulong last;

    /// <summary>A new id, greater than all that this instance made before. Not for use by several threads at once.</summary>
    public string Next(TenantKeys keys, ReadOnlySpan<byte> scope)
    {
        last = Math.Max(last + 1, (ulong)time.GetUtcNow().ToUnixTimeMilliseconds() << 16);

        Span<char> id = stackalloc char[Length];
        Prefix.CopyTo(id);
        var rest = id[Prefix.Length..];
        Base62.Write(last, rest[..TimeLength]);
        RandomNumberGenerator.GetItems(Base62.Alphabet, rest.Slice(TimeLength, RandomLength));
        Base62.Write(Mac(keys, scope, id[..^MacLength]), rest[^MacLength..]);
        return new string(id);
    }

    /// <summary>Whether an id was made for this scope of this tenant, by the id alone.</summary>
    public static bool BelongsTo(TenantKeys keys, ReadOnlySpan<byte> scope, string id)
    {
        if (id.Length != Length || !id.StartsWith(Prefix, StringComparison.Ordinal) || id.AsSpan(Prefix.Length).ContainsAnyExcept(Base62.Characters))
            return false;
        return Base62.FixedTimeIs(Mac(keys, scope, id.AsSpan(0, Length - MacLength)), id.AsSpan(Length - MacLength));
    }

    private static ulong Mac(TenantKeys keys, ReadOnlySpan<byte> scope, ReadOnlySpan<char> head)
    {
        using var bound = new AssociatedData("id"u8);
        bound.Add(scope);
        bound.Add(new string(head));
        return keys.CursorMac(bound.Span);
    }
}
