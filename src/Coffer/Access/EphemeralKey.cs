using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// A key for a browser. It has no row: the token is its claims, sealed, so that it is proven without a look-up. Its id,
/// <c>ephkey_…</c>, says when it was made and when it expires, and a MAC in it shows whose it is. Of the two formats,
/// the first says nothing of what was ended when it was made, and is minted only while nodes run that know no other.
/// </summary>
/// <param name="Id"><c>ephkey_</c> and 33 base62 characters.</param>
/// <param name="Tenant">App, mode and account.</param>
/// <param name="User">The one user, as exact UTF-8 bytes.</param>
/// <param name="Permissions">What it may do.</param>
/// <param name="MintedBy">The id of the secret key that minted it.</param>
/// <param name="Created">Unix seconds.</param>
/// <param name="Expires">From this Unix second on it is refused.</param>
internal sealed record EphemeralKey(string Id, TenantId Tenant, ReadOnlyMemory<byte> User, Permissions Permissions,
    string MintedBy, long Created, long Expires)
{
    public const string Prefix = "ek_";

    /// <summary>
    /// The longest user id that a token holds, in characters: longer ones would not fit into a header.
    /// </summary>
    public const int LongestUser = 500;

    /// <summary>How long one may live, in seconds, and does unless told otherwise.</summary>
    public const int ShortestLife = 60, LongestLife = 86_400, UsualLife = 3_600;

    public const int PartLength = 11;
    private const string IdPrefix = "ephkey_";
    private const int IdLength = 7 + 3 * PartLength;
    private const byte IdTag = 1, AppTag = 2, AccountTag = 3, UserTag = 4, PermissionsTag = 5, MintedByTag = 6;

    /// <summary>Of format 2; the last one is not in a key of a release before.</summary>
    private const byte KeyGenerationTag = 7, AppGenerationTag = 8, TenantGenerationTag = 9, LastTag = 10,
        StoreGenerationTag = 11;

    /// <summary>What it was minted under; null of format 1.</summary>
    public Ties? Ties { get; init; }

    public string Account => Tenant.Account;

    public bool Livemode => Tenant.Livemode;

    /// <summary>Whether a text has the form of an id.</summary>
    public static bool IsId(string text) =>
        text.Length == IdLength && text.StartsWith(IdPrefix, StringComparison.Ordinal);

    public static string NewId(Instance instance, TenantId tenant, long created, long expires)
    {
        Span<char> id = stackalloc char[IdLength];
        IdPrefix.CopyTo(id);
        var rest = id[IdPrefix.Length..];
        Base62.Write(((ulong)created << 32) | (uint)expires, rest[..PartLength]);
        RandomNumberGenerator.GetItems(Base62.Alphabet, rest.Slice(PartLength, PartLength));
        Base62.Write(Mac(instance, tenant, id[..^PartLength]), rest[^PartLength..]);
        return new string(id);
    }

    /// <summary>
    /// When a key of this tenant was made and expires, by its id alone; null if the id is not one of this tenant.
    /// </summary>
    public static (long Created, long Expires)? Times(Instance instance, TenantId tenant, string id)
    {
        if (!IsId(id) || Base62.Read(id.AsSpan(IdPrefix.Length, PartLength)) is not { } times)
            return null;
        return Base62.FixedTimeIs(Mac(instance, tenant, id.AsSpan(0, IdLength - PartLength)),
            id.AsSpan(IdLength - PartLength))
            ? ((long)(times >> 32), (long)(times & uint.MaxValue))
            : null;
    }

    /// <summary>The token.</summary>
    public string Seal(Instance instance)
    {
        (byte Tag, byte[] Value)[] fields =
        [
            (IdTag, Utf8(Id)), (AppTag, Utf8(Tenant.App)), (AccountTag, Utf8(Tenant.Account)),
                (UserTag, User.ToArray()),
            (PermissionsTag, [(byte)Permissions]), (MintedByTag, Utf8(MintedBy)),
            .. Ties is { } ties ? Fields(ties) : [],
        ];
        using var claims = SecretBytes.Rent(fields.Sum(field => Tlv.SizeOf(field.Value)));
        var rest = claims.Span;
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value);
        using var bound = Bind(instance, Tenant.Livemode, isFirst: Ties is null);
        var isFirst = Ties is null;
        return Tokens.Seal(PrefixOf(Tenant.Livemode),
            Envelope.Seal(KindOf(isFirst), KeyOf(instance, isFirst), claims.Span, bound.Span));
    }

    /// <summary>The key that a token is; null if it was not made here, or was changed.</summary>
    public static EphemeralKey? Open(Instance instance, string token)
    {
        var livemode = token.StartsWith(PrefixOf(livemode: true), StringComparison.Ordinal);
        if (Tokens.Unseal(PrefixOf(livemode), token) is not { } envelope)
            return null;
        var isFirst = Envelope.KeyVersionOf(envelope) == instance.EphemeralKey.Version;
        using var bound = Bind(instance, livemode, isFirst);
        using var claims = Envelope.Open(KeyOf(instance, isFirst), envelope, bound.Span);
        return claims is null ? null : Read(instance, livemode, claims.Span, isFirst);
    }

    // A claim that this program does not know may take away what the others allow: such a key does not pass for less.
    private static EphemeralKey? Read(Instance instance, bool livemode, ReadOnlySpan<byte> claims, bool isFirst)
    {
        ReadOnlySpan<byte> first = [IdTag, AppTag, AccountTag, UserTag, PermissionsTag, MintedByTag];
        ReadOnlySpan<byte> second =
            [.. first, KeyGenerationTag, AppGenerationTag, TenantGenerationTag, LastTag, StoreGenerationTag];
        if (!Tlv.AreSound(claims, isFirst ? first : second)
            || Tlv.Text(claims, IdTag) is not { } id
            || Tlv.Text(claims, AppTag) is not { } app
            || Tlv.Text(claims, AccountTag) is not { } account
            || Tlv.Text(claims, UserTag) is not { Length: > 0 } user
            || Tlv.Text(claims, MintedByTag) is not { } mintedBy
            || Tlv.Find(claims, PermissionsTag) is not { } at || claims[at] is not [var permissions]
            || permissions is 0 or > (byte)Permissions.All)
            return null;
        var ties = isFirst ? null : ReadTies(claims);
        if (ties is null && !isFirst)
            return null;
        var tenant = new TenantId(app, livemode, account);
        return Times(instance, tenant, id) is var (created, expires)
            ? new(id, tenant, Utf8(user), (Permissions)permissions, mintedBy, created, expires) { Ties = ties }
            : null;
    }

    private static Ties? ReadTies(ReadOnlySpan<byte> claims)
    {
        Span<long> numbers = stackalloc long[4];
        ReadOnlySpan<byte> tags = [KeyGenerationTag, AppGenerationTag, TenantGenerationTag, LastTag];
        for (var i = 0; i < tags.Length; i++)
        {
            if (Tlv.Find(claims, tags[i]) is not { } at || claims[at].Length != sizeof(long))
                return null;
            numbers[i] = BinaryPrimitives.ReadInt64BigEndian(claims[at]);
        }

        var ties = new Ties(numbers[0], numbers[1], numbers[2], numbers[3]);
        if (Tlv.Find(claims, StoreGenerationTag) is not { } of)
            return ties;
        return claims[of].Length == StoreGeneration.Size
            ? ties with { Store = StoreGeneration.Read(claims[of]) }
            : null;
    }

    public override string ToString() => $"{Id} [redacted]";

    private static string PrefixOf(bool livemode) => livemode ? "ek_live_" : "ek_test_";

    private static ulong Mac(Instance instance, TenantId tenant, ReadOnlySpan<char> head)
    {
        using var bound = new AssociatedData("coffer v1 ephemeral key id"u8);
        bound.Add(tenant.App);
        bound.Add(tenant.Livemode ? 1 : 0);
        bound.Add(tenant.Account);
        bound.Add(new string(head));
        return BinaryPrimitives.ReadUInt64BigEndian(instance.EphemeralIdKey.Compute(bound.Span));
    }

    private static SealedKind KindOf(bool isFirst) =>
        isFirst ? SealedKind.EphemeralKeyOne : SealedKind.EphemeralKey;

    private static SealingKey KeyOf(Instance instance, bool isFirst) =>
        isFirst ? instance.EphemeralKey : instance.EphemeralKey2;

    private static (byte Tag, byte[] Value)[] Fields(Ties ties)
    {
        return [(KeyGenerationTag, Bytes(ties.Key)), (AppGenerationTag, Bytes(ties.App)),
            (TenantGenerationTag, Bytes(ties.Tenant)), (LastTag, Bytes(ties.Last)),
            .. ties.Store is { } store ? [(StoreGenerationTag, store.ToBytes())] : ((byte, byte[])[])[]];

        static byte[] Bytes(long number)
        {
            var bytes = new byte[sizeof(long)];
            BinaryPrimitives.WriteInt64BigEndian(bytes, number);
            return bytes;
        }
    }

    private static AssociatedData Bind(Instance instance, bool livemode, bool isFirst)
    {
        var bound = KindOf(isFirst).Bind();
        bound.Add(instance.Id);
        bound.Add(livemode ? 1 : 0);
        return bound;
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);
}

/// <summary>
/// What a key was minted under: the generations of the key that minted it, of its app and of its tenant, 0 where there
/// was none, and the number of the last commit that its minting saw (<see cref="CommitOrder"/>). It is good as long as
/// they are the same.
/// </summary>
internal sealed record Ties(long Key, long App, long Tenant, long Last)
{
    /// <summary>The generation of the store; null of a key that a release before has minted.</summary>
    public StoreGeneration? Store { get; init; }
}
