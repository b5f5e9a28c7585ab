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
    /// they are believed in no other; from which on tenants may have retired seeds, and apps rules for accounts; and
    /// from which on it has settings.
    /// </summary>
    public const long FirstLevel = 2, SecondKeyRows = 3, OnlySecondKeyRows = 4, RetiredSeeds = 5, AccountRules = 5,
        StoredSettings = 6;

    private const byte SerialTag = 1, LevelTag = 2, GenerationTag = 3, HeldTag = 4, RootTag = 5, WrappingTag = 6,
        RemovedTag = 7, PepperTag = 8, SigningKeyTag = 9, SettingTag = 10;

    private const int VersionSize = sizeof(uint), HashSize = SHA256.HashSizeInBytes;

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
            (SerialTag, Number(Serial)),
            (LevelTag, Number(Level)),
            (GenerationTag, [.. Number(Generation.Number), .. Generation.Mark]),
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
        if (!Tlv.AreSound(text, [SerialTag, LevelTag, GenerationTag, HeldTag],
            [RootTag, WrappingTag, RemovedTag, PepperTag, SigningKeyTag, SettingTag]))
            return null;
        var (serial, level) = (NumberIn(text, SerialTag), NumberIn(text, LevelTag));
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

        return new Control
        {
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

    private static List<Numbered> Secrets(ReadOnlySpan<byte> text, IReadOnlyList<Range> all)
    {
        var secrets = new List<Numbered>();
        foreach (var at in all)
            secrets.Add(new Numbered(VersionIn(text[at]), SecretBytes.ForKey(text[at][VersionSize..])));
        return secrets;
    }

    private static long? NumberIn(ReadOnlySpan<byte> text, byte tag) =>
        Tlv.Find(text, tag) is { } at && text[at].Length == sizeof(long)
            ? BinaryPrimitives.ReadInt64BigEndian(text[at])
            : null;

    private static uint VersionIn(ReadOnlySpan<byte> value) => BinaryPrimitives.ReadUInt32BigEndian(value);

    private static byte[] Number(long number)
    {
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(bytes, number);
        return bytes;
    }

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

/// <summary>Which life of the store this is: another one after each step back that was accepted.</summary>
/// <param name="Number">Greater than that of any before, and not less than Unix time when it began.</param>
/// <param name="Mark">8 random bytes: two that were restored from one back-up differ.</param>
internal sealed record StoreGeneration(long Number, byte[] Mark)
{
    private const int MarkSize = 8;

    public const int Size = sizeof(long) + MarkSize;

    /// <summary>One that begins now, after another.</summary>
    /// <param name="now">Unix seconds.</param>
    /// <param name="last">The greatest number that is known to have been given; 0 if there is none.</param>
    public static StoreGeneration After(long last, long now) =>
        new(Math.Max(now, last + 1), RandomNumberGenerator.GetBytes(MarkSize));

    /// <summary>As it is stored, and as what is given out names it.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteInt64BigEndian(bytes, Number);
        Mark.CopyTo(bytes, sizeof(long));
        return bytes;
    }

    /// <summary>Whether it is the same: of two numbers that are equal the marks tell.</summary>
    public bool Is(StoreGeneration? other) =>
        other is not null && Number == other.Number && Mark.AsSpan().SequenceEqual(other.Mark);

    /// <summary>Its bytes in hexadecimal.</summary>
    public override string ToString() => Convert.ToHexStringLower(ToBytes());

    public static StoreGeneration Read(ReadOnlySpan<byte> value) =>
        new(BinaryPrimitives.ReadInt64BigEndian(value), value[sizeof(long)..].ToArray());
}
