using Coffer.Storage;

namespace Coffer.Tests.Support;

/// <summary>
/// A change that holds the committer's loop until it is let go, so that a test decides what waits behind it.
/// </summary>
internal sealed class BlockingChange(ManualResetEventSlim held) : Change
{
    public ManualResetEventSlim Running { get; } = new();

    public override IReadOnlyList<RowWrite> Decide(Found found)
    {
        Running.Set();
        held.Wait();
        return [];
    }
}
