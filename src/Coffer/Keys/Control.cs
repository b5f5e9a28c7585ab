using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// The one row of a store that must not go back alone: which root keys there are, by whom they are wrapped, and the
/// secrets that make the store this one. It is sealed under the newest root key that seals; rows that say something
/// else of root keys are not believed. Each change has the next serial.
/// </summary>
internal sealed record Control : IDisposable
{
    /// <summary>Where it stands in <c>meta</c>, and where the store's id stands in clear, for wrappers.</summary>
    public const string MetaKey = MetaRow.Control, StoreMetaKey = "store id";

    public const int StoreIdSize = 16, PepperSize = 32;

    /// <summary>The level of stored forms that this program writes.</summary>
    public const long CurrentLevel = Engine.KnownLevel;

    /// <summary>
    /// The first level with this row; from which on rows of API keys are proven in their second form; from which on
    /// they are believed in no other; from which on tenants may have retired seeds, and apps rules for accounts; from
    /// which on it has settings; from which on there may be a second pepper; from which on accounts may be closed, apps
    /// have rules for installs, and keys permissions for them; and from which on there are events.
    /// </summary>
    public const long FirstLevel = 2, SecondKeyRows = 3, OnlySecondKeyRows = 4, RetiredSeeds = 5, AccountRules = 5,
        StoredSettings = 6, RenewedPeppers = 7, Installs = 8, Events = 9;

    private const byte SerialTag = 1, LevelTag = 2, GenerationTag = 3, HeldTag = 4, RootTag = 5, WrappingTag = 6,
        RemovedTag = 7, PepperTag = 8, SigningKeyTag = 9, SettingTag = 10, EraTag = 11, RenewalTag = 12, HeadsTag = 13,
        CompromiseTag = 14;

    private const int VersionSize = sizeof(uint), HashSize = SHA256.HashSizeInBytes,
        EraSize = 2 * VersionSize + StoreGeneration.Size;

    /// <summary>One more at each change; from 1.</summary>
    public required long Serial { get; init; }

    /// <summary>Which forms are written into the store (docs/envelope.md, "Levels").</summary>
    public long Level { get; init; } = CurrentLevel;

    /// <summary>Another one after each step back that was accepted.</summary>
    public required StoreGeneration Generation { get; init; }

    /// <summary>Whether the store was restored and does nothing by itself yet.</summary>
    public bool IsHeld { get; init; }

    /// <summary>The root keys, oldest first.</summary>
    public required IReadOnlyList<Root> Roots { get; init; }

    /// <summary>All that there is in <c>root_key_wrappings</c>.</summary>
    public required IReadOnlyList<Wrapping> Wrappings { get; init; }

    /// <summary>Root keys that are no more.</summary>
    public IReadOnlyList<Removed> RemovedRoots { get; init; } = [];

    /// <summary>Oldest first: the newest proves and seals, older ones find and verify.</summary>
    public required IReadOnlyList<Numbered> Peppers { get; init; }

    /// <summary>Oldest first, as PKCS #8: the newest signs.</summary>
    public required IReadOnlyList<Numbered> SigningKeys { get; init; }

    /// <summary>
    /// What concerns the store and not one node, by the names of the settings; what is not there has its default. Every
    /// node goes by it. Null until a server began to keep it, at <see cref="StoredSettings"/> or later.
    /// </summary>
    public IReadOnlyDictionary<string, string>? Settings { get; init; }

    /// <summary>What began with each pepper after the first, oldest first.</summary>
    public IReadOnlyList<Era> Eras { get; init; } = [];

    /// <summary>The renewal of the store that is under way, or null.</summary>
    public Renewal? Renewal { get; init; }

    /// <summary>
    /// SHA-256 of the row of <c>meta</c> that says how far each node's log had come before the oldest pepper that is
    /// believed: the newest one, or while a renewal proves rows again the one before; null if that is the first.
    /// </summary>
    public byte[]? Heads { get; init; }

    /// <summary>Rotations of tenants' keys for a compromise that a root key ends, or has ended of late.</summary>
    public IReadOnlyList<Compromise> Compromises { get; init; } = [];

    public static IReadOnlyDictionary<string, string> NoSettings { get; } = new Dictionary<string, string>();

    /// <summary>The version of the root key that seals.</summary>
    public uint Sealing => Roots.Last(root => root.State.Seals()).Version;

    /// <summary>A root key.</summary>
    /// <param name="Version">From 1.</param>
    /// <param name="State">How far its rotation has come.</param>
    /// <param name="Hash">SHA-256 of the key.</param>
    public sealed record Root(uint Version, RootState State, byte[] Hash);

    /// <summary>A root key as a wrapper has wrapped it.</summary>
    /// <param name="Version">The root key's.</param>
    /// <param name="Wrapper">The wrapper's name (<see cref="KeyWrapper.Id"/>).</param>
    /// <param name="Hash">SHA-256 of what it wrapped it to.</param>
    public sealed record Wrapping(uint Version, string Wrapper, byte[] Hash);

    /// <summary>A root key that is no more.</summary>
    /// <param name="Version">From 1.</param>
    /// <param name="Hash">SHA-256 of the key.</param>
    public sealed record Removed(uint Version, byte[] Hash);

    /// <summary>A secret of the store, one of several over time.</summary>
    /// <param name="Number">From 1.</param>
    /// <param name="Secret">The bytes.</param>
    public sealed record Numbered(uint Number, SecretBytes Secret);

    /// <summary>What began with a pepper after the first, in one change.</summary>
    /// <param name="Pepper">Its number.</param>
    /// <param name="SigningKey">The number of the key that signs since then.</param>
    /// <param name="Generation">Which life of the store began.</param>
    public sealed record Era(uint Pepper, uint SigningKey, StoreGeneration Generation);

    /// <summary>What began with a pepper; null of the first.</summary>
    public Era? EraOf(uint pepper) => Eras.FirstOrDefault(era => era.Pepper == pepper);

    /// <summary>Seals it under the root key that seals.</summary>
    public RowWrite.PutMeta Write(byte[] store, RootKeys roots)
    {
        using var text = ToText();
        using var bound = Bound(store);
        return new RowWrite.PutMeta(MetaKey, roots.Seal(SealedKind.Control, text.Span, bound.Span));
    }

    /// <summary>Opens one that is stored, with the root key that its envelope names.</summary>
    /// <returns>Null if it does not open, or is not what Coffer writes.</returns>
    public static Control? Open(byte[] store, ReadOnlySpan<byte> stored, RootKeys roots)
    {
        using var bound = Bound(store);
        using var text = roots.Open(stored, bound.Span);
        return text is null ? null : Parse(text.Span);
    }

    public void Dispose()
    {
        foreach (var secret in Peppers.Concat(SigningKeys))
            secret.Secret.Dispose();
    }

    public override string ToString() => $"control {Serial} [redacted]";

    private static AssociatedData Bound(byte[] store)
    {
        var bound = SealedKind.Control.Bind();
        bound.Add(store);
        return bound;
    }

    private SecretBytes ToText()
    {
        var fields = new List<(byte Tag, byte[] Value)>
        {
            (SerialTag, Tlv.Bytes(Serial)),
            (LevelTag, Tlv.Bytes(Level)),
            (GenerationTag, Generation.ToBytes()),
        };
        if (IsHeld)
            fields.Add((HeldTag, []));
        fields.AddRange(Roots.Select(root => (RootTag, (byte[])
            [.. Version(root.Version), (byte)root.State, .. root.Hash])));
        fields.AddRange(Wrappings.Select(wrapping => (WrappingTag, (byte[])
            [.. Version(wrapping.Version), .. wrapping.Hash, .. Encoding.UTF8.GetBytes(wrapping.Wrapper)])));
        fields.AddRange(RemovedRoots.Select(root => (RemovedTag, (byte[])[.. Version(root.Version), .. root.Hash])));
        // An empty one says that they are kept, although there may be none.
        if (Settings is not null)
            fields.Add((SettingTag, []));
        fields.AddRange((Settings ?? NoSettings).OrderBy(setting => setting.Key, StringComparer.Ordinal)
            .Select(setting => (SettingTag, Encoding.UTF8.GetBytes($"{setting.Key}={setting.Value}"))));
        fields.AddRange(Eras.Select(era => (EraTag, (byte[])
            [.. Version(era.Pepper), .. Version(era.SigningKey), .. era.Generation.ToBytes()])));
        if (Renewal is { } renewal)
        {
            fields.Add((RenewalTag, [(byte)renewal.State, .. Version(renewal.Root), .. Version(renewal.Pepper),
                .. Tlv.Bytes(renewal.Created)]));
        }

        if (Heads is not null)
            fields.Add((HeadsTag, Heads));
        fields.AddRange(Compromises.Select(each => (CompromiseTag, each.ToBytes())));
        var secrets = Peppers.Select(pepper => (Tag: PepperTag, Of: pepper))
            .Concat(SigningKeys.Select(key => (Tag: SigningKeyTag, Of: key))).ToList();
        var size = fields.Sum(field => Tlv.SizeOf(field.Value))
            + secrets.Sum(each => Tlv.SizeOf(each.Of.Secret.Span) + VersionSize);
        var text = SecretBytes.Rent(size);
        var rest = text.Span;
        foreach (var (tag, value) in fields)
            rest = Tlv.Write(rest, tag, value);
        foreach (var (tag, of) in secrets)
        {
            using var value = SecretBytes.Rent(VersionSize + of.Secret.Length);
            BinaryPrimitives.WriteUInt32BigEndian(value.Span, of.Number);
            of.Secret.Span.CopyTo(value.Span[VersionSize..]);
            rest = Tlv.Write(rest, tag, value.Span);
        }

        return text;
    }

    private static Control? Parse(ReadOnlySpan<byte> text)
    {
        if (!Tlv.AreSound(text, [SerialTag, LevelTag, GenerationTag, HeldTag, RenewalTag, HeadsTag],
            [RootTag, WrappingTag, RemovedTag, PepperTag, SigningKeyTag, SettingTag, EraTag, CompromiseTag]))
            return null;
        var (serial, level) = (Tlv.Number(text, SerialTag), Tlv.Number(text, LevelTag));
        if (serial is not > 0 || level is not (>= FirstLevel and <= CurrentLevel)
            || Tlv.Find(text, GenerationTag) is not { } generation
            || text[generation].Length != StoreGeneration.Size)
            return null;
        var (roots, wrappings, removed) = (new List<Root>(), new List<Wrapping>(), new List<Removed>());
        foreach (var at in Tlv.All(text, RootTag))
        {
            if (text[at].Length != VersionSize + 1 + HashSize || !Enum.IsDefined((RootState)text[at][VersionSize]))
                return null;
            roots.Add(new Root(VersionIn(text[at]), (RootState)text[at][VersionSize],
                text[at][(VersionSize + 1)..].ToArray()));
        }

        foreach (var at in Tlv.All(text, WrappingTag))
        {
            if (text[at].Length <= VersionSize + HashSize)
                return null;
            wrappings.Add(new Wrapping(VersionIn(text[at]), Encoding.UTF8.GetString(
                text[at][(VersionSize + HashSize)..]), text[at].Slice(VersionSize, HashSize).ToArray()));
        }

        foreach (var at in Tlv.All(text, RemovedTag))
        {
            if (text[at].Length != VersionSize + HashSize)
                return null;
            removed.Add(new Removed(VersionIn(text[at]), text[at][VersionSize..].ToArray()));
        }

        Dictionary<string, string>? settings = null;
        foreach (var at in Tlv.All(text, SettingTag))
        {
            if (settings is null && text[at].IsEmpty)
            {
                settings = [];
                continue;
            }

            if (settings is null || Encoding.UTF8.GetString(text[at]).Split('=', 2) is not [var name, var value]
                || !settings.TryAdd(name, value))
                return null;
        }

        if (!roots.Exists(root => root.State.Seals()) || Tlv.All(text, PepperTag) is not { Count: > 0 } peppers
            || Tlv.All(text, SigningKeyTag) is not { Count: > 0 } signing)
            return null;
        foreach (var at in peppers)
        {
            if (text[at].Length != VersionSize + PepperSize)
                return null;
        }

        foreach (var at in signing)
        {
            if (text[at].Length <= VersionSize)
                return null;
        }

        var compromises = new List<Compromise>();
        foreach (var at in Tlv.All(text, CompromiseTag))
        {
            if (Compromise.Read(text[at]) is not { } compromise)
                return null;
            compromises.Add(compromise);
        }

        if (!TryReadEras(text, peppers, out var eras) || !TryReadRenewal(text, out var renewal)
            || (Tlv.Find(text, HeadsTag) is { } of && text[of].Length != HashSize))
            return null;
        return new Control
        {
            Eras = eras,
            Renewal = renewal,
            Compromises = compromises,
            Heads = Tlv.Find(text, HeadsTag) is { } heads ? text[heads].ToArray() : null,
            Serial = serial.Value,
            Level = level.Value,
            Generation = StoreGeneration.Read(text[generation]),
            IsHeld = Tlv.Find(text, HeldTag) is not null,
            Roots = roots,
            Wrappings = wrappings,
            RemovedRoots = removed,
            Settings = settings,
            Peppers = Secrets(text, peppers),
            SigningKeys = Secrets(text, signing),
        };
    }

    // Each pepper after the first has one, in their order, and each is of a later generation.
    private static bool TryReadEras(ReadOnlySpan<byte> text, IReadOnlyList<Range> peppers, out List<Era> eras)
    {
        eras = [];
        foreach (var at in Tlv.All(text, EraTag))
        {
            if (text[at].Length != EraSize || eras.Count + 1 >= peppers.Count)
                return false;
            var era = new Era(VersionIn(text[at]), VersionIn(text[at][VersionSize..]),
                StoreGeneration.Read(text[at][(2 * VersionSize)..]));
            if (era.Pepper != VersionIn(text[peppers[eras.Count + 1]])
                || (eras.Count > 0 && era.Generation.Number <= eras[^1].Generation.Number))
                return false;
            eras.Add(era);
        }

        return eras.Count == peppers.Count - 1;
    }

    private static bool TryReadRenewal(ReadOnlySpan<byte> text, out Renewal? renewal)
    {
        renewal = null;
        if (Tlv.Find(text, RenewalTag) is not { } at)
            return true;
        var value = text[at];
        if (value.Length != 1 + 2 * VersionSize + sizeof(long) || !Enum.IsDefined((RenewalState)value[0]))
            return false;
        renewal = new Renewal((RenewalState)value[0], VersionIn(value[1..]), VersionIn(value[(1 + VersionSize)..]),
            BinaryPrimitives.ReadInt64BigEndian(value[(1 + 2 * VersionSize)..]));
        return true;
    }

    private static List<Numbered> Secrets(ReadOnlySpan<byte> text, IReadOnlyList<Range> all)
    {
        var secrets = new List<Numbered>();
        foreach (var at in all)
            secrets.Add(new Numbered(VersionIn(text[at]), SecretBytes.ForKey(text[at][VersionSize..])));
        return secrets;
    }

    private static uint VersionIn(ReadOnlySpan<byte> value) => BinaryPrimitives.ReadUInt32BigEndian(value);

    private static byte[] Version(uint version)
    {
        var bytes = new byte[VersionSize];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, version);
        return bytes;
    }
}

/// <summary>
/// How far the rotation of a root key has come. Of a new one: made, opened by every node, seals what is written, has
/// what is stored sealed again, done. Of the one before: it still opens, then nothing is under it.
/// </summary>
internal enum RootState : byte
{
    Made = 1,
    Opened = 2,
    Sealing = 3,
    Rewrapping = 4,
    Done = 5,
    Opening = 6,
    Unused = 7,
}

internal static class RootStates
{
    /// <summary>Whether a root key in this state may seal; the newest of them does.</summary>
    public static bool Seals(this RootState state) =>
        state is RootState.Sealing or RootState.Rewrapping or RootState.Done;
}
