using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Writes entries as the next row of a node's log, in both chains. One thread uses it at a time.
/// </summary>
internal sealed class RowWriter : IDisposable
{
    private readonly AuditKeys keys;
    private readonly ArrayBufferWriter<byte> lines = new(64 * 1024);
    private readonly Utf8JsonWriter json;

    public RowWriter(AuditKeys keys)
    {
        this.keys = keys;
        json = new Utf8JsonWriter(lines,
            new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true });
    }

    public void Dispose() => json.Dispose();

    /// <summary>The row that follows a place, and where the log has come with it.</summary>
    /// <param name="before">Where it has come.</param>
    /// <param name="notes">The entries, in their order; at least one.</param>
    /// <param name="now">When.</param>
    /// <param name="last">The last roll-back of the node that was accepted, if there was one.</param>
    public (AuditRow Row, ChainPlace After) Write(
        ChainPlace before, IReadOnlyList<Note> notes, DateTimeOffset now, Rollback? last)
    {
        var written = now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        var (node, found, rollback) = before;
        var (sequence, mac) = found;
        var (hash, generation, opening) = Begin(before, notes, last);
        var key = keys.Log().Of(generation);
        Span<byte> salt = stackalloc byte[PublicChain.SaltSize];
        if (hash is not null)
        {
            RandomNumberGenerator.Fill(salt);
            PublicChain.AddRow(hash, salt);
        }

        lines.ResetWrittenCount();
        if (opening is not null)
            Add(opening);
        foreach (var note in notes)
            Add((AuditEntry)note);
        var place = hash is null ? null : new PublicPlace(hash, generation!);
        var row = new AuditRow(node, found.Sequence + 1, sequence, mac, lines.WrittenSpan.ToArray())
        {
            Public = place?.ToRow(salt),
        };
        return (row, new ChainPlace(node, new ChainPosition(sequence, mac) { Public = place }, rollback));

        void Add(AuditEntry entry)
        {
            var begin = lines.WrittenCount;
            json.Reset();
            entry.WriteLine(json, node, ++sequence, written);
            var line = lines.WrittenSpan[begin..];
            mac = AuditChain.Step(key, mac, line);
            if (hash is not null)
                PublicChain.AddEntry(hash, line);
            lines.Write("\n"u8);
            if (entry.Rollback is { } accepted && entry.Target == node)
                rollback = accepted;
        }
    }

    /// <summary>
    /// The hash that the row continues from: the last one, or that of a segment which begins with it, and then, unless
    /// its first entry says why, an entry that does. Null as long as the store has no generation.
    /// </summary>
    private (byte[]? Hash, StoreGeneration? Generation, AuditEntry? Opening) Begin(
        ChainPlace before, IReadOnlyList<Note> notes, Rollback? last)
    {
        var (found, known) = (before.Position, before.Position.Public);
        var generation = keys.Generation();
        foreach (var note in notes)
        {
            if (note is AuditEntry { Begins: { } begun })
                generation = begun;
        }

        // What this node knows of the store may be older than its log for a moment; a segment is never gone back to.
        if (generation is null || known?.Generation.Number > generation.Number)
            generation = known?.Generation;
        if (generation is null)
            return default;
        if (generation.Is(known?.Generation))
            return ((byte[])known!.Hash.Clone(), generation, null);
        var explains = found.Sequence == 0 || notes[0] is AuditEntry { Begins: not null };
        return (PublicChain.Begin(keys.Store, before.Node, generation, found), generation,
            explains ? null : Segments.Opening(before, generation, last));
    }
}
