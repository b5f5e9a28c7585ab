using System.Globalization;

namespace Coffer.Audit;

/// <summary>
/// That the store does not hold what a node's chain is known to have come to, and how an operator accepts it.
/// </summary>
/// <param name="Log">What the store holds.</param>
/// <param name="Known">What the chain had come to.</param>
/// <param name="Time">When it had, if a checkpoint says so.</param>
internal sealed record Loss(NodeLog Log, ChainPlace Known, DateTimeOffset? Time)
{
    /// <summary>Up to which entry both are known to be the same.</summary>
    public long Shared { get; init; } = Log.Last.Sequence;

    /// <summary>What accepts it: the node, and what its log has now.</summary>
    public AcceptedRollback Pair => new(Log.Node, Log.Last.Sequence);

    /// <summary>What was found, as the end of a sentence.</summary>
    public string Found => (Known.Position.Sequence > Log.Last.Sequence, Known.Rollback > Log.Rollbacks.Newest()) switch
    {
        (true, _) =>
            $"the audit log of {Log.Node} ends at entry {Log.Last.Sequence}, " +
            $"but {When}it had {Known.Position.Sequence}",
        (_, true) => $"the audit log of {Log.Node}, which ends at entry {Log.Last.Sequence}, " +
            $"has no roll-back {Known.Rollback}, but {When}one was accepted",
        _ => $"entry {Known.Position.Sequence} of {Log.Node} is not the one that {When}was there " +
            $"(the log ends at entry {Log.Last.Sequence})",
    };

    private string When => Time is { } time
        ? string.Create(CultureInfo.InvariantCulture, $"at {time.UtcDateTime:yyyy-MM-dd HH:mm:ss}Z ")
        : "";
}
