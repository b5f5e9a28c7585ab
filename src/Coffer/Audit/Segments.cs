using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// The parts of a node's log, one for each generation of the store in which the node has written: after a step back,
/// which somebody has accepted, what follows is never joined to what was before in silence. The first entry of a
/// segment names its generation, as that of the acceptance does.
/// </summary>
internal static class Segments
{
    /// <summary>The verb of an entry that begins a segment, if no other does.</summary>
    public const string Verb = "begin_segment";

    /// <summary>
    /// The row by which a node's log continues in another generation, and what <see cref="AuditChain"/> continues from:
    /// for a store that is filled by something else than the committer, as a copy of it is.
    /// </summary>
    /// <param name="keys">The store's.</param>
    /// <param name="head">Whose log, and where it had come: what was found.</param>
    /// <param name="generation">The one that begins.</param>
    /// <param name="entry">What was lost, and who accepted it.</param>
    /// <param name="now">When.</param>
    public static AuditRow Row(
        AuditKeys keys, ChainPlace head, StoreGeneration generation, AuditEntry entry, DateTimeOffset now)
    {
        using var writer = new RowWriter(keys);
        return writer.Write(head, [entry with { Begins = generation }], now, last: null).Row;
    }

    /// <summary>
    /// The entry of a segment that begins with what is not about it. Of a log that has had no public chain it says that
    /// nobody has looked at what is before it.
    /// </summary>
    public static AuditEntry Opening(ChainPlace before, StoreGeneration generation, Rollback? last)
    {
        var lost = last?.To.Sequence == before.Position.Sequence ? last : null;
        return new AuditEntry(Verb, before.Position.Public is null ? "unverified" : "ok")
        {
            Begins = generation,
            Rollback = lost?.Number,
            From = lost?.Lost,
            To = lost?.To.Sequence,
        };
    }
}

/// <summary>A segment that a log has.</summary>
/// <param name="Node">Whose log.</param>
/// <param name="First">Its first entry.</param>
/// <param name="Generation">Of the store.</param>
/// <param name="IsFirst">Whether the log had no public chain before.</param>
/// <param name="Why">What its first entry is about: verb, outcome, and the reason if it has one.</param>
internal sealed record Segment(string Node, long First, StoreGeneration Generation, bool IsFirst, string Why)
{
    public override string ToString() => IsFirst
        ? $"from entry {First} on the log of {Node} is provable without the root key (generation {Generation}: {Why})"
        : $"from entry {First} on the log of {Node} is a new segment (generation {Generation}: {Why})";
}
