using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Keys;

/// <summary>A root key that was made, and how it is stored.</summary>
/// <param name="Key">The key.</param>
/// <param name="Row">Its row.</param>
/// <param name="Wrappings">As it is wrapped.</param>
internal sealed record NewRoot(SealingKey Key, RootKeyRow Row, IReadOnlyList<WrappingRow> Wrappings)
{
    /// <summary>The rows that it is stored as, beside the control row.</summary>
    public RowWrite[] Writes =>
        [new RowWrite.PutRootKey(Row), .. Wrappings.Select(wrapping => new RowWrite.PutWrapping(wrapping))];

    /// <summary>A control row that has it.</summary>
    public Control AddTo(Control control) => control with
    {
        Roots = [.. control.Roots, new Control.Root(Key.Version, RootState.Made, Key.Hash())],
        Wrappings = [.. control.Wrappings, .. Wrappings.Select(ControlFacts.Of)],
    };

    public override string ToString() => $"root key {Key.Version} [redacted]";
}
