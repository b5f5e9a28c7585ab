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
    private readonly byte[] instance;
    private readonly TimeProvider time;

    // The committer's loop alone writes lines.
    private readonly ArrayBufferWriter<byte> lines = new(64 * 1024);
    private readonly Utf8JsonWriter json;
    private Place place;

    /// <param name="key">K_audit.</param>
    /// <param name="instance">The store's id.</param>
    /// <param name="node">Whose chain it is at first; the names of a store's nodes are distinct.</param>
    /// <param name="last">The node's last row, or null at the beginning.</param>
    /// <param name="time">For the entries' times.</param>
    public AuditChain(MacKey key, byte[] instance, string node, AuditRow? last, TimeProvider time)
    {
        (this.key, this.instance, this.time) = (key, instance, time);
        json = new Utf8JsonWriter(lines, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
        place = PlaceAfter(node, last);
    }

    /// <summary>A position in the chain of a node.</summary>
    public sealed record Place(string Node, ChainPosition Position);

    /// <summary>What is durable so far, and of which node.</summary>
    public Place At => Volatile.Read(ref place);

    /// <summary>What is durable so far.</summary>
    public ChainPosition Position => At.Position;

    /// <summary>The committer's part of the audit, over this engine: the chain is that of the node that the engine says this process is.</summary>
    public Committer.Chain InLoop(Engine engine) => new(Append, () => Resume(engine), () => engine.Node != At.Node);

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

    // From the node's last row, or from the beginning if there is none.
    private void Resume(Engine engine)
    {
        var node = engine.Node;
        Volatile.Write(ref place, PlaceAfter(node, engine.FindLastAuditAsync(node, CancellationToken.None).AsTask().GetAwaiter().GetResult()));
    }

    private Place PlaceAfter(string node, AuditRow? last) => new(node, last is null ? Start(key, instance, node) : new ChainPosition(last.Last, last.Mac));

    /// <summary>The committer's chain step: the row that holds these entries, in their order. It counts once it is durable.</summary>
    private AuditStep? Append(IReadOnlyList<Note> notes)
    {
        if (notes.Count == 0)
            return null;

        var now = time.GetUtcNow();
        var at = now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        var (node, (sequence, mac)) = At;
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
        return new AuditStep(new RowWrite.PutAudit(row), () => Volatile.Write(ref place, new Place(node, next)));
    }
}
