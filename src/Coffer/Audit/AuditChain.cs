using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
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
internal sealed class AuditChain : IDisposable
{
    private readonly MacKey key;
    private readonly string node;
    private readonly TimeProvider time;
    private readonly ChainPosition start;

    // The committer's loop alone writes lines.
    private readonly ArrayBufferWriter<byte> lines = new(64 * 1024);
    private readonly Utf8JsonWriter json;
    private ChainPosition position;

    /// <param name="key">K_audit.</param>
    /// <param name="instance">The store's id.</param>
    /// <param name="node">Whose chain it is; the names of a store's nodes are distinct.</param>
    /// <param name="last">The node's last row, or null at the beginning.</param>
    /// <param name="time">For the entries' times.</param>
    public AuditChain(MacKey key, byte[] instance, string node, AuditRow? last, TimeProvider time)
    {
        (this.key, this.node, this.time) = (key, node, time);
        json = new Utf8JsonWriter(lines, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
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

    public void Dispose() => json.Dispose();

    /// <summary>The committer's chain step: the row that holds these entries, in their order. It counts once it is durable.</summary>
    private AuditStep? Append(IReadOnlyList<Note> notes)
    {
        if (notes.Count == 0)
            return null;

        var now = time.GetUtcNow();
        var at = now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        var (sequence, mac) = (Position.Sequence, Position.Mac);
        lines.ResetWrittenCount();
        foreach (var entry in notes)
        {
            var begin = lines.WrittenCount;
            json.Reset();
            ((AuditEntry)entry).WriteLine(json, node, ++sequence, at);
            mac = Step(key, mac, lines.WrittenSpan[begin..]);
            lines.Write("\n"u8);
        }

        var next = new ChainPosition(sequence, mac);
        var row = new AuditRow(node, sequence - notes.Count + 1, sequence, mac, lines.WrittenSpan.ToArray());
        return new AuditStep(new RowWrite.PutAudit(row), () => Volatile.Write(ref position, next));
    }
}
