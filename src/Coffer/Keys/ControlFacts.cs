using System.Security.Cryptography;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>What a control row says that is no secret, kept by a node that has opened it.</summary>
/// <param name="Serial">One more at each change.</param>
/// <param name="Generation">Which life of the store this is.</param>
/// <param name="Roots">The root keys, oldest first.</param>
internal sealed record ControlFacts(long Serial, StoreGeneration Generation, IReadOnlyList<ControlFacts.Root> Roots)
{
    /// <summary>A root key.</summary>
    /// <param name="Version">From 1.</param>
    /// <param name="State">How far its rotation has come.</param>
    /// <param name="Created">Unix seconds.</param>
    /// <param name="Wrappers">The names of those who wrap it.</param>
    public sealed record Root(uint Version, RootState State, long Created, IReadOnlyList<string> Wrappers);

    /// <summary>Which forms are written into the store (docs/envelope.md, "Levels").</summary>
    public required long Level { get; init; }

    /// <summary>The control row as it is stored.</summary>
    public required byte[] Row { get; init; }

    /// <summary>Whether the store was restored and does nothing by itself yet.</summary>
    public required bool IsHeld { get; init; }

    /// <summary>The marks of the peppers (<see cref="Anchor.MarkOf"/>), oldest first.</summary>
    public required IReadOnlyList<byte[]> Marks { get; init; }

    /// <summary>SHA-256 of each key that signs, oldest first.</summary>
    public required IReadOnlyList<byte[]> SigningKeys { get; init; }

    /// <summary>The renewal of the store that is under way, or null.</summary>
    public Renewal? Renewal { get; init; }

    /// <inheritdoc cref="Control.Compromises"/>
    public IReadOnlyList<Compromise> Compromises { get; init; } = [];

    /// <summary>The versions of root keys that are no more.</summary>
    public required IReadOnlyList<uint> RemovedRoots { get; init; }

    /// <summary>The version of the root key that seals.</summary>
    public uint Sealing => Roots.Last(root => root.State.Seals()).Version;

    /// <summary>The newest version that was ever given to a root key.</summary>
    public uint NewestVersion => Roots.Select(root => root.Version).Concat(RemovedRoots).Max();

    /// <summary>
    /// Refuses a control row before any key is asked for, by the root key that it is sealed under: one that seals no
    /// more, or that was removed, seals none. Who has an old root key can seal what he likes under it.
    /// </summary>
    /// <exception cref="ConfigurationException">It cannot have come after this one.</exception>
    public void RequireSealedAfter(uint version)
    {
        if (version < Sealing || RemovedRoots.Contains(version))
            throw NotAfter($"it is sealed under root key {version}, which seals no more");
    }

    /// <summary>
    /// Refuses a control row that has gone back, or lacks what each later one has: peppers, keys that sign and root
    /// keys that were removed are added, and never taken away.
    /// </summary>
    /// <param name="control">What it says.</param>
    /// <param name="row">As it is stored.</param>
    /// <inheritdoc cref="RequireSealedAfter" path="/exception"/>
    public void RequireBefore(Control control, ReadOnlySpan<byte> row)
    {
        if (control.Serial < Serial)
        {
            throw new ConfigurationException(
                $"the control row of the store went back from {Serial} to {control.Serial}",
                "An old copy of it was put back. Restore the store from a back-up.");
        }

        if (control.Serial == Serial && !row.SequenceEqual(Row))
            throw NotAfter($"its serial, {Serial}, is that of another one");
        if (control.Generation.Number < Generation.Number)
            throw NotAfter($"its generation, {control.Generation}, is older than {Generation}");
        if (!StartsWith(MarksOf(control), Marks))
            throw NotAfter("it lacks a pepper that this store has");
        if (!StartsWith(HashesOf(control), SigningKeys))
            throw NotAfter("it lacks a key that this store signs with");
        if (control.Roots.FirstOrDefault(root => RemovedRoots.Contains(root.Version)) is { } back)
            throw NotAfter($"it has root key {back.Version}, which was removed");
        RequireSealedAfter(control.Sealing);
    }

    /// <summary>
    /// The settings of the store that are not at their defaults; null while each node goes by its own.
    /// </summary>
    public required IReadOnlyDictionary<string, string>? Settings { get; init; }

    /// <summary>The root key whose rotation is under way, or null.</summary>
    public Root? Rotating => Roots[^1] is { State: not RootState.Done } root ? root : null;

    /// <param name="control">What it says.</param>
    /// <param name="row">As it is stored.</param>
    /// <param name="rows">The rows of its root keys.</param>
    public static ControlFacts Of(Control control, byte[] row, IReadOnlyList<RootKeyRow> rows) => new(
        control.Serial, control.Generation,
        [.. control.Roots.Select(root => new Root(root.Version, root.State,
            rows.FirstOrDefault(row => row.Version == root.Version)?.Created ?? 0,
            [.. control.Wrappings.Where(wrapping => wrapping.Version == root.Version)
                .Select(wrapping => wrapping.Wrapper)]))])
    {
        Level = control.Level,
        Row = row,
        IsHeld = control.IsHeld,
        Settings = control.Settings,
        Marks = MarksOf(control),
        Renewal = control.Renewal,
        Compromises = control.Compromises,
        SigningKeys = HashesOf(control),
        RemovedRoots = [.. control.RemovedRoots.Select(root => root.Version)],
    };

    /// <summary>What the control row holds of a row of wrappings.</summary>
    public static Control.Wrapping Of(WrappingRow row) =>
        new(row.Version, row.Wrapper, SHA256.HashData(row.Wrapped));

    private static byte[][] MarksOf(Control control) =>
        [.. control.Peppers.Select(pepper => Anchor.MarkOf(pepper.Secret.Span))];

    private static byte[][] HashesOf(Control control) =>
        [.. control.SigningKeys.Select(key => SHA256.HashData(key.Secret.Span))];

    private static bool StartsWith(byte[][] all, IReadOnlyList<byte[]> first) => all.Length >= first.Count
        && first.Zip(all).All(pair => CryptographicOperations.FixedTimeEquals(pair.First, pair.Second));

    private static ConfigurationException NotAfter(string why) => new(
        $"the control row of the store was not written by it: {why}",
        "Somebody who has an old root key has made it up, or it is another store's. Restore the store from a back-up, "
            + "and see to what wraps its root keys.");
}
