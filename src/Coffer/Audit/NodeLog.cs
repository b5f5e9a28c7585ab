using System.Security.Cryptography;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// What the store holds of a node's log, as what writes sees it: read before the committer runs, or in its loop.
/// </summary>
internal sealed class NodeLog
{
    private readonly Engine engine;
    private readonly ChainPosition? cut;

    private NodeLog(Engine engine, string node, ChainPosition last, ChainPosition? cut,
        IReadOnlyList<Rollback> rollbacks)
    {
        (this.engine, this.cut) = (engine, cut);
        (Node, Last, Rollbacks) = (node, last, rollbacks);
    }

    public string Node { get; }

    /// <summary>Where it has come: its last row, or where retention cut it if that has removed them all.</summary>
    public ChainPosition Last { get; }

    public IReadOnlyList<Rollback> Rollbacks { get; }

    public ChainPlace Place => new(Node, Last, Rollbacks.Newest());

    /// <param name="engine">Where the store is.</param>
    /// <param name="proof">With the key.</param>
    /// <param name="node">Whose log.</param>
    /// <exception cref="ApiError">A note about the log that is needed was not written by this store.</exception>
    public static NodeLog Read(Engine engine, LogProof proof, string node)
    {
        var last = engine.FindAudit(node, long.MaxValue);
        var stored = engine.FindMeta(AuditCut.MetaPrefix + node);
        var begin = stored is null ? null : AuditCut.Read(proof, node, stored);
        // Where there are rows the log continues from them; that the cut was edited is for the verification to find.
        if (last is null && stored is not null && begin is null)
            throw NotOurs($"the note of where the audit log of {node} begins");
        var rollbacks = Audit.Rollbacks.Read(proof, node, engine.FindMeta(Audit.Rollbacks.MetaPrefix + node))
            ?? throw NotOurs($"the list of accepted roll-backs of {node}");
        var end = last is null ? AuditChain.Start(proof.Keys!, proof.Store, node) : ChainPosition.Of(last);
        return new NodeLog(engine, node, begin?.Sequence > end.Sequence ? begin : end, begin, rollbacks);
    }

    /// <summary>
    /// Whether the log has come past a place that is known to have been durable. What is of a log whose loss was
    /// accepted is not missed.
    /// </summary>
    public bool Knows(ChainPlace place) =>
        Rollbacks.Excuse(place) || (place.Rollback <= Rollbacks.Newest() && Holds(place.Position));

    /// <summary>Whether the log came through a position. Of what retention has removed only the end is known.</summary>
    public bool Holds(ChainPosition position)
    {
        if (position.Sequence == 0)
            return true;
        if (position.Sequence >= Last.Sequence)
            return Is(position, Last.Sequence, Last.Mac);
        if (cut is not null && position.Sequence <= cut.Sequence)
            return position.Sequence < cut.Sequence || Is(position, cut.Sequence, cut.Mac);
        // What is known of a chain is always the end of a commit, which is the end of a row.
        return engine.FindAudit(Node, position.Sequence) is { } row && Is(position, row.Last, row.Mac);
    }

    // Without it nothing can be recorded: as if the storage were away.
    private static ApiError NotOurs(string what) => ApiError.StorageUnavailable(
        new InvalidDataException($"{what} was not written by this store"));

    private static bool Is(ChainPosition position, long sequence, byte[] mac) =>
        position.Sequence == sequence && CryptographicOperations.FixedTimeEquals(position.Mac, mac);
}
