using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>
/// A change of the control row, decided against what is stored: it is carried out only if that is what this node goes
/// by, and is in force on this node before anybody is told of it.
/// </summary>
/// <param name="instance">Whose it is.</param>
/// <param name="next">What the row is to be; its serial is seen to. Null changes nothing.</param>
/// <param name="rows">What is written beside it.</param>
/// <param name="notes">What is recorded.</param>
internal sealed class ControlChange(
    Instance instance, Func<Control, Control?> next, IReadOnlyList<RowWrite> rows, IReadOnlyList<Note> notes) : Change
{
    private InForce? decided;

    /// <summary>The root key that the change makes, or null.</summary>
    public NewRoot? Made { get; init; }

    /// <summary>The keys that sign from the change on, or null.</summary>
    public SigningKeys? Signing { get; init; }

    // Not in one transaction with what is sealed under a root key, which the change may be about.
    public override Lane Lane => Lane.Urgent;

    public override ManagementKey ManagementAt { get; } = new() { Meta = Control.MetaKey };

    /// <summary>Whether it was changed.</summary>
    public bool HasChanged => decided is not null;

    public override IReadOnlyList<RowWrite> Decide(Found found)
    {
        decided = null;
        if (found.Management!.Meta is not { } stored || instance.Facts is not { } facts
            || !stored.AsSpan().SequenceEqual(facts.Row))
            return [];
        using var control = Control.Open(instance.Id, stored, instance.Roots)
            ?? throw new InvalidOperationException("the control row that is known does not open");
        if (next(control) is not { } changed)
            return [];
        var (row, now) = Write(instance, control, changed, facts, Made);
        decided = now;
        return [.. rows, row];
    }

    public override IReadOnlyList<Note> NotesOn(Exception? refusal) => HasChanged ? notes : [];

    public override void Durable()
    {
        if (decided is { } now)
            instance.Take(now, Signing);
    }

    /// <summary>What ends a start or a command that does not follow the control row, and meets another.</summary>
    public static ConfigurationException Refused() => new(
        "the root keys or settings of the store were changed at the same time, by a node that runs",
        "Run it again: what was being written then was not stored.");

    /// <summary>The row of a control that follows another, sealed under the root key that it says.</summary>
    /// <param name="instance">Whose it is.</param>
    /// <param name="before">What it follows.</param>
    /// <param name="changed">What it says.</param>
    /// <param name="facts">What is known of the one before.</param>
    /// <param name="made">The root key that comes with it, or null.</param>
    /// <returns>The row, and what is in force once it is durable.</returns>
    public static (RowWrite.PutMeta Row, InForce Now) Write(
        Instance instance, Control before, Control changed, ControlFacts facts, NewRoot? made = null)
    {
        var next = changed with { Serial = before.Serial + 1 };
        var roots = instance.Roots.SealingBy(next.Sealing).Without(
            next.Roots.Where(root => root.State == RootState.Unused).Select(root => root.Version));
        var row = next.Write(instance.Id, roots);
        var known = facts.Roots.Select(root => new RootKeyRow(root.Version, root.Created, []));
        var peppers = Peppers.Of(next, instance.Peppers);
        return (row, made is null
            ? new InForce(roots, ControlFacts.Of(next, row.Value, [.. known]), peppers)
            : new InForce(roots.With(made.Key), ControlFacts.Of(next, row.Value, [.. known, made.Row]), peppers));
    }
}

/// <summary>What a node goes by from a control row on.</summary>
/// <param name="Roots">The root keys.</param>
/// <param name="Facts">What it says.</param>
/// <param name="Peppers">The peppers.</param>
internal sealed record InForce(RootKeys Roots, ControlFacts Facts, Peppers Peppers);
