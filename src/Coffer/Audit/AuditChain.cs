using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;
using Coffer.Telemetry;

namespace Coffer.Audit;

/// <summary>
/// The chain of one node: <c>mac_n = HMAC-SHA256(K_audit, mac_(n-1) || entry_n)</c>, where <c>mac_0</c> binds the
/// store and the node, and <c>K_audit</c> is that of the pepper of the row's generation. Whoever has not the key can
/// neither change, reorder, insert nor take away an entry unnoticed, but for the newest ones: those are what
/// checkpoints are for.
/// </summary>
/// <remarks>
/// A database that went back behind the node, as after a failover that lost commits, is noticed before anything is
/// appended: the chain neither forks nor gets a gap, and all changes are refused until the loss is accepted. So is a
/// second process that writes an embedded store, where no lock has kept it away: of two that do, one continues.
/// </remarks>
internal sealed class AuditChain : IDisposable
{
    private static readonly Counter.Count Entries = Metrics.AuditEntries.Of(), Bytes = Metrics.AuditBytes.Of();

    private readonly AuditKeys keys;
    private readonly TimeProvider time;

    // The committer's loop alone writes rows.
    private readonly RowWriter writer;
    private Rollback? accepted;

    // Where the next row goes. The committer's loop alone reads and writes these.
    private ChainPlace next;
    private long failovers = -1;
    private long? foreign;
    private bool isUncertain;

    // What this process knows to be durable: what was there when it started, and then its own commits.
    private ChainPlace at;
    private string? trouble;

    /// <param name="keys">The store's.</param>
    /// <param name="node">Whose chain it is at first; the names of a store's nodes are distinct.</param>
    /// <param name="last">The node's last row, or null at the beginning.</param>
    /// <param name="time">For the entries' times.</param>
    public AuditChain(AuditKeys keys, string node, AuditRow? last, TimeProvider time)
    {
        (this.keys, this.time, writer) = (keys, time, new RowWriter(keys));
        var position = last is null ? Start(keys.Log(), keys.Store, node) : ChainPosition.Of(last);
        at = next = new ChainPlace(node, position, Rollback: 0);
    }

    /// <summary>What is durable so far, and of which node.</summary>
    public ChainPlace At => Volatile.Read(ref at);

    /// <summary>What is durable so far.</summary>
    public ChainPosition Position => At.Position;

    /// <summary>
    /// What the database has lost of what is durable, and what to do; null while it has lost nothing.
    /// </summary>
    public string? Trouble => Volatile.Read(ref trouble);

    /// <summary>Called in the committer's loop when the database is found to have lost something.</summary>
    public Action WhenLost { get; set; } = static () => { };

    /// <summary>
    /// The committer's part of the audit, over this engine: the chain is that of the node that the engine says this
    /// process is.
    /// </summary>
    public Committer.Chain InLoop(Engine engine)
    {
        Locate(engine);
        at = next;
        return new Committer.Chain(notes => Append(engine, notes), () => isUncertain = true);
    }

    /// <summary>The position before the first entry.</summary>
    public static ChainPosition Start(LogKeys keys, byte[] instance, string node)
    {
        using var bound = new AssociatedData("coffer v1 audit chain"u8);
        bound.Add(instance);
        bound.Add(node);
        return new ChainPosition(0, keys.First.Compute(bound.Span));
    }

    /// <summary>The MAC of an entry that follows another.</summary>
    public static byte[] Step(MacKey key, byte[] previous, ReadOnlySpan<byte> line)
    {
        var mac = new byte[MacKey.Size];
        key.Compute(mac, previous, line);
        return mac;
    }

    public void Dispose() => writer.Dispose();

    // On what writes, within the transaction: whatever it is connected to by now is what has to hold what is durable.
    private void Locate(Engine engine)
    {
        var (current, others, node) = (engine.Failovers, engine.ForeignCommits, engine.Node);
        var log = NodeLog.Read(engine, keys.Proof, at.Node);
        if (!log.Knows(at))
        {
            var loss = new Loss(log, at, Time: null);
            var isNew = Trouble is null;
            Volatile.Write(ref trouble, $"{loss.Found}: the database has lost what was stored. Nothing is stored " +
                $"until that is accepted: restart this node with {AcceptedRollback.Flag} {loss.Pair}");
            if (isNew)
                WhenLost();
            throw ApiError.EntriesLost();
        }

        var isOthers = others is not null && failovers >= 0 && !isUncertain;
        if (isOthers && log.Last.Sequence > at.Position.Sequence)
        {
            const string Second = "another process has written to the store since this one did. Stop it, and start "
                + "this one again: what each knows is not what the other did";
            Volatile.Write(ref trouble, Second);
            engine.GiveUp(Second);
            throw ApiError.StorageUnavailable(new InvalidDataException(Second));
        }

        Volatile.Write(ref trouble, null);
        var own = node == log.Node ? log : NodeLog.Read(engine, keys.Proof, node);
        (next, accepted) = (own.Place, own.Rollbacks is [.., var newest] ? newest : null);
        (failovers, foreign, isUncertain) = (current, others, false);
    }

    /// <summary>
    /// The committer's chain step: the row that holds these entries, in their order. It counts once it is durable.
    /// </summary>
    private AuditStep? Append(Engine engine, IReadOnlyList<Note> notes)
    {
        if (isUncertain || failovers != engine.Failovers || foreign != engine.ForeignCommits
            || next.Node != engine.Node)
            Locate(engine);
        if (notes.Count == 0)
            return null;

        var (row, after) = writer.Write(next, notes, time.GetUtcNow(), accepted);
        return new AuditStep(new RowWrite.PutAudit(row), () =>
        {
            next = after;
            Volatile.Write(ref at, after);
            Entries.Add(row.Last - row.First + 1);
            Bytes.Add(row.Entries.Length);
        });
    }
}
