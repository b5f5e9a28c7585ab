using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>How far a node's chain has come: the last entry's number, and the MAC over it and all before it.</summary>
internal sealed record ChainPosition(long Sequence, byte[] Mac);

/// <summary>
/// The chain of one node: <c>mac_n = HMAC-SHA256(K_audit, mac_(n-1) || entry_n)</c>, where <c>mac_0</c> binds the store and
/// the node. Whoever has not the key can neither change, reorder, insert nor take away an entry unnoticed, but for the
/// newest ones: those are what checkpoints are for.
/// </summary>
internal sealed class AuditChain
{
    private readonly MacKey key;
    private readonly string node;
    private readonly TimeProvider time;
    private readonly ChainPosition start;
    private ChainPosition position;

    /// <param name="key">K_audit.</param>
    /// <param name="instance">The store's id.</param>
    /// <param name="node">Whose chain it is; the names of a store's nodes are distinct.</param>
    /// <param name="last">The node's last row, or null at the beginning.</param>
    /// <param name="time">For the entries' times.</param>
    public AuditChain(MacKey key, byte[] instance, string node, AuditRow? last, TimeProvider time)
    {
        (this.key, this.node, this.time) = (key, node, time);
        start = Start(key, instance, node);
        position = start;
        Resume(last);
    }

    public string Node => node;

    /// <summary>What is durable so far.</summary>
    public ChainPosition Position => Volatile.Read(ref position);

    /// <summary>Goes on from the node's last row, or from the beginning if there is none.</summary>
    public void Resume(AuditRow? last) => Volatile.Write(ref position, last is null ? start : new ChainPosition(last.Last, last.Mac));

    /// <summary>The committer's part of the audit, over this engine.</summary>
    public Committer.Chain InLoop(Engine engine) =>
        new(Append, () => Resume(engine.FindLastAuditAsync(node, CancellationToken.None).AsTask().GetAwaiter().GetResult()));

    /// <summary>The position before the first entry.</summary>
    public static ChainPosition Start(MacKey key, byte[] instance, string node)
    {
        using var bound = new AssociatedData("coffer v1 audit chain"u8);
        bound.Add(instance);
        bound.Add(node);
        return new ChainPosition(0, key.Compute(bound.Span));
    }

    /// <summary>The MAC of an entry that follows another.</summary>
    public static byte[] Step(MacKey key, byte[] previous, ReadOnlySpan<byte> line)
    {
        var mac = new byte[MacKey.Size];
        key.Compute(mac, previous, line);
        return mac;
    }

    /// <summary>The committer's chain step: the row that holds these entries, in their order. It counts once it is durable.</summary>
    private AuditStep? Append(IReadOnlyList<Note> notes)
    {
        if (notes.Count == 0)
            return null;

        var now = time.GetUtcNow();
        var (sequence, mac) = (Position.Sequence, Position.Mac);
        using var lines = new MemoryStream(notes.Count * 256);
        foreach (var entry in notes.Cast<AuditEntry>())
        {
            var line = entry.ToLine(node, ++sequence, now);
            mac = Step(key, mac, line);
            lines.Write(line);
            lines.WriteByte((byte)'\n');
        }

        var next = new ChainPosition(sequence, mac);
        var row = new AuditRow(node, sequence - notes.Count + 1, sequence, now.ToUnixTimeSeconds(), mac, lines.ToArray());
        return new AuditStep(new RowWrite.PutAudit(row), () => Volatile.Write(ref position, next));
    }
}
