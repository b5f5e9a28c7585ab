using System.Security.Cryptography;
using System.Text;
using Coffer.Audit;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>A rotation of the keys of tenants, as it was asked for and how far it has come.</summary>
/// <param name="Id"><c>tkr_…</c></param>
/// <param name="App">Whose tenants, or null for those of all apps.</param>
/// <param name="Account">Of this account, or null for all.</param>
/// <param name="Livemode">In this mode, or null for both.</param>
/// <param name="Created">When it was asked for, in Unix seconds.</param>
/// <param name="Tenants">How many tenants there were then.</param>
/// <param name="UpTo">
/// The greatest number of theirs: those that came later have fresh keys, and are gone through only after a compromise.
/// </param>
internal sealed record TenantRotation(
    string Id, string? App, string? Account, bool? Livemode, long Created, long Tenants, long UpTo)
{
    /// <summary>The tenants of numbers up to this one are done.</summary>
    public long Place { get; init; }

    /// <summary>How many tenants are done.</summary>
    public long Done { get; init; }

    /// <summary>How many rows were sealed again.</summary>
    public long Rows { get; init; }

    /// <summary>How many rows did not open, and were left as they are.</summary>
    public long Damaged { get; init; }

    /// <summary>Whether others may know the keys: seeds are renewed too, and root keys before and after.</summary>
    public bool IsCompromised { get; init; }

    /// <summary>
    /// The oldest root key that may be left when its first tenant is begun: who has one of those before it does not
    /// open what is renewed. Null until it is its turn, and of a rotation that is for no compromise.
    /// </summary>
    public long? FirstRoot { get; init; }

    /// <summary>
    /// The oldest root key that may be left at its end: under those before it are rows with keys of before. Null until
    /// all its tenants are done, and of a rotation that is for no compromise.
    /// </summary>
    public long? LastRoot { get; init; }

    /// <summary>
    /// The oldest key that may sign when its first tenant is begun; null of a rotation that is not of the whole store.
    /// </summary>
    public long? FirstSigningKey { get; init; }

    /// <summary>The pepper of the renewal of the store that it is part of, or null.</summary>
    public long? Pepper { get; init; }

    /// <summary>
    /// Whether all its tenants are done that there were, but no root key is named yet of which older rows are rid.
    /// </summary>
    public bool IsBeforeLastRoot => IsCompromised && Ended is null && LastRoot is null && Place >= UpTo;

    /// <summary>The oldest root key that may be left for its next step, or null.</summary>
    public long? Root => Place < UpTo ? FirstRoot : LastRoot;

    /// <summary>When nothing was left to do, in Unix seconds.</summary>
    public long? Ended { get; init; }

    /// <summary>One of all tenants that there are, because others may know their keys.</summary>
    /// <param name="engine">Where they are.</param>
    /// <param name="now">Unix seconds.</param>
    /// <param name="ct">Ends reading.</param>
    public static async Task<TenantRotation> OfAllAsync(Engine engine, long now, CancellationToken ct)
    {
        var (count, last) = (await engine.ListAsync(TenantRow.CountOfAll, ct))[0];
        return new(NewId(), null, null, null, now, count, Math.Max(last, LeastUpTo)) { IsCompromised = true };
    }

    /// <summary>What is recorded of one that the store asks for itself.</summary>
    public AuditEntry Asked =>
        new("rotate_tenant_keys", "ok") { Target = Id, Count = Tenants, Reason = "compromised" };

    /// <summary>
    /// What one for a compromise goes up to at least: so it has a first root key, whatever numbers tenants were given.
    /// </summary>
    public const long LeastUpTo = 1;

    /// <summary>The tenants whose keys it has rotate.</summary>
    public TenantChoice Chosen => new(App, Account, Livemode);

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
        PlaceTag = 8, DoneTag = 9, RowsTag = 10, DamagedTag = 11, EndedTag = 12, CompromisedTag = 13, FirstRootTag = 14,
        LastRootTag = 15, FirstSigningKeyTag = 16, PepperTag = 17;

    private static ReadOnlySpan<byte> Numbers =>
        [CreatedTag, TenantsTag, UpToTag, PlaceTag, DoneTag, RowsTag, DamagedTag];

    private static ReadOnlySpan<byte> NumbersOrNone =>
        [EndedTag, FirstRootTag, LastRootTag, FirstSigningKeyTag, PepperTag];

    /// <summary>The row, if it was changed outside Coffer.</summary>
    public static readonly DamagedRow Damage = new("meta", MetaKey, "its proof");

    /// <summary>
    /// The one whose turn it is, or null: first those whose tenants are not done, so that one root key at the end is
    /// enough for all of them.
    /// </summary>
    public TenantRotation? Current => All.FirstOrDefault(
            rotation => rotation.Ended is null && rotation.Place < rotation.UpTo)
        ?? All.FirstOrDefault(rotation => rotation.Ended is null);

    /// <summary>With one more. The oldest that are done make room.</summary>
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

    /// <summary>As if all were done, with one of all tenants that does what they had to do.</summary>
    public TenantRotations EndedBy(TenantRotation ofAll) => new TenantRotations([.. All.Select(
        rotation => rotation with { Place = rotation.UpTo, Ended = rotation.Ended ?? ofAll.Created })]).With(ofAll);

    /// <summary>
    /// With a root key for the next step of a rotation, and of those that are as far: one is enough for all.
    /// </summary>
    public TenantRotations With(TenantRotation waiting, long root) => new([.. All.Select(rotation =>
        (rotation is { IsCompromised: true, Ended: null, Root: null }, rotation.Place < rotation.UpTo) switch
        {
            (false, _) => rotation,
            (_, var hasTenants) when hasTenants != waiting.Place < waiting.UpTo => rotation,
            (_, true) => rotation with { FirstRoot = root },
            _ => rotation with { LastRoot = root },
        })]);

    /// <summary>The row that holds them.</summary>
    public RowWrite.PutMeta Write(Instance instance)
    {
        var text = Tlv.Of([.. All.Select(rotation => (RotationTag, ToText(rotation)))]);
        using var bound = Bound(instance);
        return new(MetaKey, Envelope.Seal(SealedKind.TenantRotations, instance.ReplyKey, text, bound.Span));
    }

    /// <param name="instance">The store.</param>
    /// <param name="stored">What the row holds, or null.</param>
    /// <exception cref="ApiError">500: it was changed outside Coffer.</exception>
    public static TenantRotations Read(Instance instance, byte[]? stored) =>
        Find(instance, stored) ?? throw ApiError.RecordDamaged("record of rotations", Damage);

    /// <returns>Null if it was changed outside Coffer.</returns>
    /// <inheritdoc cref="Read" path="/param"/>
    public static TenantRotations? Find(Instance instance, byte[]? stored)
    {
        if (stored is null)
            return new([]);
        using var bound = Bound(instance);
        using var text = instance.Peppers.Open(stored, bound.Span);
        if (text is null || !Tlv.AreSound(text.Span, [], [RotationTag]))
            return null;
        var all = new List<TenantRotation>();
        foreach (var at in Tlv.All(text.Span, RotationTag))
        {
            if (Parse(text.Span[at]) is not { } rotation)
                return null;
            all.Add(rotation);
        }

        return new(all);
    }

    /// <summary>
    /// What seals the row by the newest pepper, if another has sealed it; null if nothing is to be done.
    /// </summary>
    public static RowWrite? ProveAnew(Instance instance, byte[] stored)
    {
        using var bound = Bound(instance);
        return instance.Peppers.Reseal(SealedKind.TenantRotations, stored, bound.Span) is { } again
            ? new RowWrite.ReplaceMeta(MetaKey, stored, again)
            : null;
    }

    private static byte[] ToText(TenantRotation rotation) => Tlv.Of(
    [
        (IdTag, Encoding.UTF8.GetBytes(rotation.Id)),
        .. IfAny(AppTag, rotation.App), .. IfAny(AccountTag, rotation.Account),
        .. rotation.Livemode is { } mode ? ((byte, byte[])[])[(ModeTag, Tlv.Bytes(mode))] : [],
        (CreatedTag, Tlv.Bytes(rotation.Created)), (TenantsTag, Tlv.Bytes(rotation.Tenants)),
        (UpToTag, Tlv.Bytes(rotation.UpTo)), (PlaceTag, Tlv.Bytes(rotation.Place)),
        (DoneTag, Tlv.Bytes(rotation.Done)), (RowsTag, Tlv.Bytes(rotation.Rows)),
        (DamagedTag, Tlv.Bytes(rotation.Damaged)),
        .. IfAny(EndedTag, rotation.Ended),
        .. rotation.IsCompromised ? ((byte, byte[])[])[(CompromisedTag, [])] : [],
        .. IfAny(FirstRootTag, rotation.FirstRoot), .. IfAny(LastRootTag, rotation.LastRoot),
        .. IfAny(FirstSigningKeyTag, rotation.FirstSigningKey), .. IfAny(PepperTag, rotation.Pepper),
    ]);

    private static TenantRotation? Parse(ReadOnlySpan<byte> text)
    {
        if (!Tlv.AreSound(text, [IdTag, AppTag, AccountTag, ModeTag, CompromisedTag, .. Numbers, .. NumbersOrNone])
            || Tlv.Text(text, IdTag) is not { } id
            || !Tlv.IsTextOrNone(text, AppTag) || !Tlv.IsTextOrNone(text, AccountTag))
            return null;
        foreach (var tag in Numbers)
        {
            if (Tlv.Number(text, tag) is null)
                return null;
        }

        foreach (var tag in NumbersOrNone)
        {
            if (!Tlv.IsNumberOrNone(text, tag))
                return null;
        }

        bool? livemode = Tlv.Find(text, ModeTag) is { } mode ? text[mode] is [1] : null;
        return new(id, Tlv.Text(text, AppTag), Tlv.Text(text, AccountTag), livemode,
            Tlv.Number(text, CreatedTag)!.Value, Tlv.Number(text, TenantsTag)!.Value, Tlv.Number(text, UpToTag)!.Value)
        {
            Place = Tlv.Number(text, PlaceTag)!.Value,
            Done = Tlv.Number(text, DoneTag)!.Value,
            Rows = Tlv.Number(text, RowsTag)!.Value,
            Damaged = Tlv.Number(text, DamagedTag)!.Value,
            IsCompromised = Tlv.Find(text, CompromisedTag) is not null,
            FirstRoot = Tlv.Number(text, FirstRootTag),
            LastRoot = Tlv.Number(text, LastRootTag),
            FirstSigningKey = Tlv.Number(text, FirstSigningKeyTag),
            Pepper = Tlv.Number(text, PepperTag),
            Ended = Tlv.Number(text, EndedTag),
        };
    }

    private static AssociatedData Bound(Instance instance)
    {
        var bound = SealedKind.TenantRotations.Bind();
        bound.Add(instance.Id);
        return bound;
    }

    private static (byte, byte[])[] IfAny(byte tag, long? number) =>
        number is { } given ? [(tag, Tlv.Bytes(given))] : [];

    private static (byte, byte[])[] IfAny(byte tag, string? text) =>
        text is null ? [] : [(tag, Encoding.UTF8.GetBytes(text))];
}

/// <summary>A change of the record of rotations, decided against what is stored.</summary>
/// <param name="instance">Whose it is.</param>
/// <param name="next">What the record is to be; null changes nothing.</param>
/// <param name="notes">What is recorded.</param>
internal sealed class TenantRotationsChange(
    Instance instance, Func<TenantRotations, TenantRotations?> next, IReadOnlyList<Note> notes) : Change
{
    public bool HasChanged { get; private set; }

    /// <summary>
    /// Whether a record that was changed outside Coffer counts as none: of a change that has all tenants rotate,
    /// whatever it said.
    /// </summary>
    public bool ReplacesDamaged { get; init; }

    public override Lane Lane => Lane.Background;

    public override ManagementKey ManagementAt { get; } = new() { Meta = TenantRotations.MetaKey };

    public override IReadOnlyList<RowWrite> Decide(Found found)
    {
        var stored = found.Management!.Meta;
        var changed = next(ReplacesDamaged
            ? TenantRotations.Find(instance, stored) ?? new([])
            : TenantRotations.Read(instance, stored));
        HasChanged = changed is not null;
        return changed is null ? [] : [changed.Write(instance)];
    }

    public override IReadOnlyList<Note> NotesOn(Exception? refusal) => HasChanged ? notes : [];
}
