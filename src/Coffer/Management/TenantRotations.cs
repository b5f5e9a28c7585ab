using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>A rotation of the keys of tenants, as it was asked for and how far it has come.</summary>
/// <param name="Id"><c>tkr_…</c></param>
/// <param name="App">Whose tenants.</param>
/// <param name="Account">Of this account, or null for all.</param>
/// <param name="Livemode">In this mode, or null for both.</param>
/// <param name="Created">When it was asked for, in Unix seconds.</param>
/// <param name="Tenants">How many tenants there were then.</param>
/// <param name="UpTo">The greatest number of theirs: those that came later have fresh keys.</param>
internal sealed record TenantRotation(
    string Id, string App, string? Account, bool? Livemode, long Created, long Tenants, long UpTo)
{
    /// <summary>The tenants of numbers up to this one are done.</summary>
    public long Place { get; init; }

    /// <summary>How many tenants are done.</summary>
    public long Done { get; init; }

    /// <summary>How many rows were sealed again.</summary>
    public long Rows { get; init; }

    /// <summary>How many rows did not open, and were left as they are.</summary>
    public long Damaged { get; init; }

    /// <summary>When nothing was left to do, in Unix seconds.</summary>
    public long? Ended { get; init; }

    /// <summary>A mode as it stands in a tenant's row; null is both.</summary>
    public static long? ModeOf(bool? livemode) => livemode switch
    {
        null => null,
        true => 1,
        false => 0,
    };

    public static string NewId() => "tkr_" + RandomNumberGenerator.GetString(Base62.Alphabet, 24);
}

/// <summary>
/// The rotations that were asked for, oldest first, in one row of <c>meta</c>: who can write the database only makes up
/// none, and says of none that it is done.
/// </summary>
internal sealed record TenantRotations(IReadOnlyList<TenantRotation> All)
{
    public const string MetaKey = "tenant rotations";

    /// <summary>How many are kept, those that are done among them; and how many may wait.</summary>
    public const int Most = 20;

    private const byte RotationTag = 1;

    private const byte IdTag = 1, AppTag = 2, AccountTag = 3, ModeTag = 4, CreatedTag = 5, TenantsTag = 6, UpToTag = 7,
        PlaceTag = 8, DoneTag = 9, RowsTag = 10, DamagedTag = 11, EndedTag = 12;

    /// <summary>The one whose turn it is, or null.</summary>
    public TenantRotation? Current => All.FirstOrDefault(rotation => rotation.Ended is null);

    /// <summary>With one more; the oldest that are done make room.</summary>
    /// <exception cref="ApiError">400: too many wait.</exception>
    public TenantRotations With(TenantRotation added)
    {
        if (All.Count(rotation => rotation.Ended is null) >= Most)
            throw ApiError.TooManyRotations(Most);
        var old = All.Where(rotation => rotation.Ended is not null).Take(All.Count + 1 - Most);
        return new([.. All.Except(old), added]);
    }

    /// <summary>With one of them as it is now.</summary>
    public TenantRotations Replacing(TenantRotation changed) =>
        new([.. All.Select(rotation => rotation.Id == changed.Id ? changed : rotation)]);

    /// <summary>The row that holds them.</summary>
    public RowWrite.PutMeta Write(Instance instance)
    {
        var rotations = All.Select(ToText).ToList();
        var text = new byte[rotations.Sum(each => Tlv.SizeOf(each))];
        var rest = text.AsSpan();
        foreach (var each in rotations)
            rest = Tlv.Write(rest, RotationTag, each);
        using var bound = Bound(instance);
        return new(MetaKey, Envelope.Seal(SealedKind.TenantRotations, instance.ReplyKey, text, bound.Span));
    }

    /// <param name="instance">The store.</param>
    /// <param name="stored">What the row holds, or null.</param>
    /// <exception cref="ApiError">500: it was changed outside Coffer.</exception>
    public static TenantRotations Read(Instance instance, byte[]? stored)
    {
        if (stored is null)
            return new([]);
        using var bound = Bound(instance);
        using var text = Envelope.Open(instance.ReplyKey, stored, bound.Span);
        if (text is null || !Tlv.AreSound(text.Span, [], [RotationTag]))
            throw Damaged();
        var all = new List<TenantRotation>();
        foreach (var at in Tlv.All(text.Span, RotationTag))
            all.Add(Parse(text.Span[at]));
        return new(all);
    }

    private static byte[] ToText(TenantRotation rotation)
    {
        List<(byte Tag, byte[] Value)> fields =
        [
            (IdTag, Utf8(rotation.Id)), (AppTag, Utf8(rotation.App)),
            .. rotation.Account is { } account ? ((byte, byte[])[])[(AccountTag, Utf8(account))] : [],
            .. rotation.Livemode is { } mode ? ((byte, byte[])[])[(ModeTag, [mode ? (byte)1 : (byte)0])] : [],
            (CreatedTag, Number(rotation.Created)), (TenantsTag, Number(rotation.Tenants)),
            (UpToTag, Number(rotation.UpTo)), (PlaceTag, Number(rotation.Place)), (DoneTag, Number(rotation.Done)),
            (RowsTag, Number(rotation.Rows)), (DamagedTag, Number(rotation.Damaged)),
            .. rotation.Ended is { } ended ? ((byte, byte[])[])[(EndedTag, Number(ended))] : [],
        ];
        var text = new byte[fields.Sum(field => Tlv.SizeOf(field.Value))];
        var rest = text.AsSpan();
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value);
        return text;
    }

    private static TenantRotation Parse(ReadOnlySpan<byte> text)
    {
        if (!Tlv.AreSound(text, [IdTag, AppTag, AccountTag, ModeTag, CreatedTag, TenantsTag, UpToTag, PlaceTag, DoneTag,
            RowsTag, DamagedTag, EndedTag]) || Tlv.Text(text, IdTag) is not { } id
            || Tlv.Text(text, AppTag) is not { } app || !Tlv.IsTextOrNone(text, AccountTag))
            throw Damaged();
        bool? livemode = Tlv.Find(text, ModeTag) is { } mode ? text[mode] is [1] : null;
        return new(id, app, Tlv.Text(text, AccountTag), livemode, NumberIn(text, CreatedTag),
            NumberIn(text, TenantsTag), NumberIn(text, UpToTag))
        {
            Place = NumberIn(text, PlaceTag),
            Done = NumberIn(text, DoneTag),
            Rows = NumberIn(text, RowsTag),
            Damaged = NumberIn(text, DamagedTag),
            Ended = Tlv.Find(text, EndedTag) is null ? null : NumberIn(text, EndedTag),
        };
    }

    private static AssociatedData Bound(Instance instance)
    {
        var bound = SealedKind.TenantRotations.Bind();
        bound.Add(instance.Id);
        return bound;
    }

    private static ApiError Damaged() => ApiError.RecordDamaged(
        "record of rotations", new DamagedRow("meta", MetaKey, "its proof"));

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Number(long number)
    {
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }

    private static long NumberIn(ReadOnlySpan<byte> text, byte tag) =>
        Tlv.Find(text, tag) is { } at && text[at].Length == sizeof(long)
            ? BinaryPrimitives.ReadInt64BigEndian(text[at])
            : throw Damaged();
}
