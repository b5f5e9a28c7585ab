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

    /// <summary>The newest version that was ever given to a root key.</summary>
    public required uint NewestVersion { get; init; }

    /// <summary>
    /// The settings of the store that are not at their defaults; null while each node goes by its own.
    /// </summary>
    public required IReadOnlyDictionary<string, string>? Settings { get; init; }

    /// <summary>The same with a root key that is made.</summary>
    public ControlFacts With(RootKeyRow row) =>
        this with { Roots = [.. Roots, new Root(row.Version, RootState.Made, row.Created, [])] };

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
        NewestVersion = control.Roots.Select(root => root.Version)
            .Concat(control.RemovedRoots.Select(root => root.Version)).Max(),
    };

    /// <summary>What the control row holds of a row of wrappings.</summary>
    public static Control.Wrapping Of(WrappingRow row) =>
        new(row.Version, row.Wrapper, SHA256.HashData(row.Wrapped));
}
