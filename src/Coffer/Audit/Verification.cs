using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Goes through audit rows in the order in which they were written and finds the first place of each node where a chain
/// is broken; then holds the checkpoints against what was found: what they say of the node that wrote them, and of all
/// others that they name. Of the rows it keeps what the checkpoints speak of, however long the log is.
/// </summary>
/// <remarks>
/// With the key it proves all entries. Without it only what a signed checkpoint has hashed is proven, and anybody may
/// have made the rest: <see cref="Unproven"/>.
/// </remarks>
/// <param name="proof">With the key, or without.</param>
/// <param name="checkpoints">The lines of the checkpoint file, read before the rows.</param>
internal sealed partial class Verification(LogProof proof, IReadOnlyList<string>? checkpoints = null)
{
    private readonly Dictionary<string, ChainPosition> positions = new();

    private static ReadOnlySpan<byte> Acceptance => "\"verb\":\"accept_rollback\""u8;

    // What the entries are that checkpoints and roll-backs speak of, once they are seen.
    private readonly Dictionary<(string Node, long Sequence), Seen?> seen = Watched(checkpoints ?? []);
    private readonly Dictionary<string, long> cuts = new();
    private IReadOnlyDictionary<string, ChainPosition>? heads;
    private byte[]? statedHeads;
    private readonly Dictionary<string, IReadOnlyList<Rollback>> rollbacks = [];
    private readonly List<(string Node, long Number, string At)> acceptances = [];
    private readonly List<Segment> segments = [];
    private readonly List<Run> runs = [];
    private readonly Dictionary<string, string> broken = [];
    private readonly List<string> problems = [];

    /// <summary>
    /// What is known of an entry: without the key the MAC of the last one of a row only, as the row says it.
    /// </summary>
    private sealed record Seen(byte[]? Mac, byte[]? Hash);

    /// <summary>Entries of a node that one checkpoint at their end proves, if there is one.</summary>
    private sealed record Run(string Node, long First)
    {
        public long Proven { get; set; } = First - 1;
    }

    /// <summary>What is wrong, in words that name the place; empty when all is well.</summary>
    public IReadOnlyList<string> Problems => problems;

    /// <summary>The first bad place of a node, in the same words; null while there is none.</summary>
    public string? ProblemOf(string node) => broken.GetValueOrDefault(node);

    public long Entries { get; private set; }

    public int Checkpoints { get; private set; }

    /// <summary>
    /// How many places that checkpoints name are of logs that were lost, and whose loss was accepted.
    /// </summary>
    public int Excused { get; private set; }

    public IReadOnlyCollection<string> Nodes => positions.Keys;

    /// <summary>The segments that do not begin with the first entry of their log, in the order of the rows.</summary>
    public IReadOnlyList<Segment> Segments => segments;

    /// <summary>The accepted roll-backs, by node.</summary>
    public IEnumerable<(string Node, Rollback Rollback)> AcceptedRollbacks =>
        rollbacks.OrderBy(node => node.Key, StringComparer.Ordinal)
        .SelectMany(node => node.Value.Select(rollback => (node.Key, rollback)));

    /// <summary>What checkpoints have proven to anybody: first and last entry of each part. After the end.</summary>
    public IEnumerable<(string Node, long First, long Last)> Proven =>
        runs.Where(run => run.Proven >= run.First).Select(run => (run.Node, run.First, run.Proven));

    /// <summary>What only the key proves, in the same way.</summary>
    public IEnumerable<(string Node, long First, long Last)> Unproven
    {
        get
        {
            foreach (var (node, last) in positions.OrderBy(node => node.Key, StringComparer.Ordinal))
            {
                var next = cuts.GetValueOrDefault(node) + 1;
                foreach (var (_, first, proven) in Proven.Where(part => part.Node == node))
                {
                    if (first > next)
                        yield return (node, next, first - 1);
                    next = proven + 1;
                }

                if (last.Sequence >= next)
                    yield return (node, next, last.Sequence);
            }
        }
    }

    /// <summary>
    /// What <c>meta</c> says about the log: where a node's begins, if retention has removed its oldest rows, and where
    /// it went back. Skips everything else. Call before the first row.
    /// </summary>
    public void AddMeta(string name, byte[] value)
    {
        if (name.StartsWith(AuditCut.MetaPrefix, StringComparison.Ordinal))
            AddCut(name[AuditCut.MetaPrefix.Length..], value);
        else if (name.StartsWith(Rollbacks.MetaPrefix, StringComparison.Ordinal))
            AddRollbacks(name[Rollbacks.MetaPrefix.Length..], value);
        else if (name == LogHeads.MetaKey)
            statedHeads = value;
    }

    private void AddRollbacks(string node, byte[] value)
    {
        if (Rollbacks.Read(proof, node, value) is not { } accepted)
        {
            problems.Add(proof.Keys is null && !Rollbacks.IsSigned(value)
                ? $"the list of accepted roll-backs of {node} is not signed: only the root key proves it"
                : $"the list of accepted roll-backs of {node} was not written by this store");
            return;
        }

        rollbacks[node] = accepted;
        foreach (var rollback in accepted)
            seen.TryAdd((node, rollback.To.Sequence), null);
    }

    private void AddCut(string node, byte[] value)
    {
        if (AuditCut.Read(proof, node, value) is { } position)
        {
            positions[node] = position;
            if (position.Public is not null)
                runs.Add(new Run(node, position.Sequence + 1));
        }
        else
        {
            Break(node, proof.Keys is null && !AuditCut.IsSigned(value)
                ? $"the note of where the log of {node} begins is not signed: only the root key proves it"
                : $"the note of where the log of {node} begins was not written by this store");
        }

        cuts[node] = positions.GetValueOrDefault(node)?.Sequence ?? 0;
    }

    /// <summary>
    /// The next row. After a node's first bad row its later ones cannot be judged and are skipped.
    /// </summary>
    public void Add(AuditRow row)
    {
        var at = positions.TryGetValue(row.Node, out var known) ? known : Start(row.Node);
        if (broken.ContainsKey(row.Node))
            return;
        if (row.First != at.Sequence + 1)
        {
            Break(row.Node, row.First > at.Sequence + 1
                ? $"entries {at.Sequence + 1} to {row.First - 1} of {row.Node} are missing"
                : $"entry {row.First} of {row.Node} stands where entry {at.Sequence + 1} should: rows were put in "
                    + "another order or inserted twice");
            return;
        }

        var (hash, place, isFound) = Continue(at, row);
        if (proof.Keys is { } all && !IsOfItsPepper(at, row, place, all))
            return;
        var begins = place is not null && row.First > 1 && at.Public?.Generation.Is(place.Generation) != true;
        var (sequence, mac) = (at.Sequence, proof.Keys is null ? null : at.Mac);
        var key = proof.Keys?.Of(place?.Generation);
        foreach (var line in Lines(row))
        {
            sequence++;
            if (mac is not null)
                mac = AuditChain.Step(key!, mac, line.Span);
            if (hash is not null)
                PublicChain.AddEntry(hash, line.Span);
            if (seen.ContainsKey((row.Node, sequence)))
                seen[(row.Node, sequence)] = new Seen(mac ?? (sequence == row.Last ? row.Mac : null), Copy(hash));
            if (line.Span.IndexOf(Acceptance) >= 0)
                AddAcceptance(line, $"entry {sequence} of {row.Node}");
        }

        if (sequence != row.Last || (mac is not null && !CryptographicOperations.FixedTimeEquals(mac, row.Mac)))
        {
            Break(row.Node, $"entries {row.First} to {row.Last} of {row.Node} were changed");
            return;
        }

        if (!isFound || (place is not null && !place.Hash.AsSpan().SequenceEqual(hash)))
        {
            Break(row.Node, proof.Keys is null
                ? $"entries {row.First} to {row.Last} of {row.Node} were changed"
                : $"the public proof of entries {row.First} to {row.Last} of {row.Node} was changed");
            return;
        }

        Entries += row.Last - row.First + 1;
        positions[row.Node] = new ChainPosition(row.Last, row.Mac) { Public = place };
        if (begins)
            AddSegment(at, row, place!);
        if (place is not null && at.Public is null)
            runs.Add(new Run(row.Node, row.First));
    }

    // Without the key nobody knows the MAC that a chain begins with, nor has to.
    private ChainPosition Start(string node) => proof.Keys is { } keys
        ? AuditChain.Start(keys, proof.Store, node)
        : new ChainPosition(0, []);

    // What each node had written under the peppers that are believed no more; null if there are none, or without the
    // key. After all of meta.
    private IReadOnlyDictionary<string, ChainPosition>? ReadHeads()
    {
        if (heads is not null || proof.Keys?.Heads is not { } hash)
            return heads;
        heads = LogHeads.Read(statedHeads, hash);
        if (heads is null)
        {
            problems.Add("what meta says of how far each log had come before the pepper was renewed is gone, or was "
                + "changed");
        }

        return heads ??= new Dictionary<string, ChainPosition>();
    }

    // Who has a pepper of before writes what it proves: only what was there when it was believed for the last time.
    private bool IsOfItsPepper(ChainPosition at, AuditRow row, PublicPlace? place, LogKeys all)
    {
        var (last, generation) = (at.Public?.Generation, place?.Generation);
        var (before, now) = (all.IndexOf(last), all.IndexOf(generation));
        if (now < before)
        {
            Break(row.Node, $"entries {row.First} to {row.Last} of {row.Node} are of a generation before that of entry "
                + $"{at.Sequence}, whose pepper is believed no more");
            return false;
        }

        return all.Heads is null || before >= all.OldestBelieved || now < all.OldestBelieved
            || RequireHead(row.Node, at);
    }

    private bool RequireHead(string node, ChainPosition at)
    {
        var head = ReadHeads()!.GetValueOrDefault(node);
        if (at.Sequence == (head?.Sequence ?? 0)
            && (head is null || CryptographicOperations.FixedTimeEquals(head.Mac, at.Mac)))
            return true;
        Break(node, head is null
            ? $"the log of {node} has {at.Sequence} entries under a pepper of before, and had none when it was renewed"
            : $"the log of {node} had come to entry {head.Sequence} when the pepper was renewed: what it has under the "
                + $"one before, up to entry {at.Sequence}, is not that");
        return false;
    }

    private static byte[]? Copy(byte[]? hash) => (byte[]?)hash?.Clone();

    // The hash at the beginning of a row, after its random bytes, and what the row says that it is at its end.
    private (byte[]? Hash, PublicPlace? Place, bool IsFound) Continue(ChainPosition at, AuditRow row)
    {
        if (row.Public is null)
            return (null, null, true);
        if (PublicPlace.Read(row.Public) is not var (salt, place))
            return (null, null, false);
        var isSame = at.Public?.Generation.Is(place.Generation) == true;
        var hash = isSame ? Copy(at.Public!.Hash)! : PublicChain.Begin(proof.Store, row.Node, place.Generation, at);
        PublicChain.AddRow(hash, salt);
        return (hash, place, true);
    }

    // What begins a segment says so in its first entry: nothing else may part one from what was before.
    private void AddSegment(ChainPosition at, AuditRow row, PublicPlace place)
    {
        var first = Lines(row).FirstOrDefault();
        string?[] words = [Field(first, "verb"), Field(first, "outcome"), Field(first, "reason")];
        segments.Add(new Segment(row.Node, row.First, place.Generation, at.Public is null,
            string.Join(", ", words.OfType<string>())));
        if (Field(first, "generation") != place.Generation.ToString())
            problems.Add($"entry {row.First} of {row.Node} begins a segment, and does not say why");
    }

    /// <summary>Holds the checkpoints and the accepted roll-backs against the rows; call after the last one.</summary>
    public void Finish()
    {
        foreach (var (node, number, at) in acceptances)
        {
            if (!rollbacks.GetValueOrDefault(node, []).Any(rollback => rollback.Number == number))
                problems.Add($"{at} accepts roll-back {number} of {node}, which is not in the list of accepted " +
                    $"roll-backs: the list was changed");
        }

        var known = positions.Keys.Concat(ReadHeads()?.Keys ?? []).Distinct();
        foreach (var node in known.Order(StringComparer.Ordinal).ToList())
        {
            var last = positions.GetValueOrDefault(node) ?? Start(node);
            if (proof.Keys is { Heads: not null } all && !broken.ContainsKey(node)
                && all.IndexOf(last.Public?.Generation) < all.OldestBelieved)
                RequireHead(node, last);
        }

        foreach (var (node, rollback) in AcceptedRollbacks)
        {
            if (IsBefore(node, rollback.To.Sequence) || broken.ContainsKey(node))
                continue;
            if (seen[(node, rollback.To.Sequence)]?.Mac is not { } mac
                || !CryptographicOperations.FixedTimeEquals(mac, rollback.To.Mac))
                Break(node, $"roll-back {rollback.Number} of {node} was accepted of another log than this");
        }

        var parsed = (checkpoints ?? []).Select(Checkpoint.Parse).ToList();
        proof.Signers.Learn(proof.Store, parsed.OfType<Checkpoint>().SelectMany(checkpoint => checkpoint.Keys));
        var count = 0;
        foreach (var checkpoint in parsed)
            Hold(checkpoint, ++count);
    }

    private static Dictionary<(string Node, long Sequence), Seen?> Watched(IReadOnlyList<string> lines)
    {
        var watched = new Dictionary<(string Node, long Sequence), Seen?>();
        foreach (var place in lines.Select(Checkpoint.Parse).OfType<Checkpoint>()
            .SelectMany(checkpoint => checkpoint.Places))
            watched.TryAdd((string.Intern(place.Node), place.Position.Sequence), null);
        return watched;
    }

    // Only who has the key writes an entry; who has not can take the list of roll-backs away, and the entry shows that.
    private void AddAcceptance(ReadOnlyMemory<byte> line, string at)
    {
        if (Field(line, "verb") == Rollbacks.Verb && Field(line, "target") is { } node
            && long.TryParse(Field(line, "rollback"), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            acceptances.Add((node, number, at));
    }

    // number is that of the line in the file, from 1.
    private void Hold(Checkpoint? checkpoint, int number)
    {
        // A line that is no checkpoint, as one that a crash has torn, says nothing: like one that was taken out.
        if (checkpoint is null)
            return;
        if (!checkpoint.IsSignedBy(proof.Signers, proof.Store))
        {
            problems.Add($"line {number} of the checkpoints is not a checkpoint that this store signed");
            return;
        }

        Checkpoints++;
        var time = $"{checkpoint.Time:yyyy-MM-dd HH:mm:ss}Z";
        Hold(checkpoint.At, time, $"at {time} it had");
        foreach (var head in checkpoint.Heads)
            Hold(head, time, $"at {time}, as {checkpoint.At.Node} saw, it had");
    }

    private void Hold(ChainPlace place, string time, string had)
    {
        var (node, (sequence, mac), rollback) = place;
        if (broken.ContainsKey(node))
            return;
        var accepted = rollbacks.GetValueOrDefault(node, []);
        if (accepted.Excuse(place))
        {
            Excused++;
            return;
        }

        var last = positions.GetValueOrDefault(node)?.Sequence ?? 0;
        if (sequence > last)
            Break(node, $"the log of {node} {(last == 0 ? "is gone" : $"ends at entry {last}")}, but {had} " +
                $"{sequence}: its tail was cut, or an old copy was put back");
        else if (rollback > accepted.Newest())
            Break(node, $"roll-back {rollback} of {node} was accepted before {time}, but the store has no record of " +
                $"it: an old copy was put back");
        else if (!IsBefore(node, sequence) && seen[(node, sequence)] is { } entry)
            Compare(place, entry, time);
    }

    private void Compare(ChainPlace place, Seen entry, string time)
    {
        var (node, (sequence, mac), _) = place;
        var hash = place.Position.Public?.Hash;
        var run = runs.FindLast(run => run.Node == node && run.First <= sequence);
        if ((entry.Mac is { } found && !CryptographicOperations.FixedTimeEquals(found, mac))
            || (hash is not null && entry.Hash is not null && !hash.AsSpan().SequenceEqual(entry.Hash)))
            Break(node, $"entry {sequence} of {node} is not the one that the checkpoint of {time} saw: the log was " +
                $"written again, after entry {run?.Proven ?? cuts.GetValueOrDefault(node)}");
        else if (hash is not null && entry.Hash is null)
            Break(node, $"entry {sequence} of {node} has lost the public proof that the checkpoint of {time} saw");
        else if (hash is not null && run is not null)
            run.Proven = Math.Max(run.Proven, sequence);
    }

    /// <summary>Whether retention has removed an entry: what was there cannot be proven any more.</summary>
    private bool IsBefore(string node, long sequence) => sequence <= cuts.GetValueOrDefault(node);

    private void Break(string node, string problem)
    {
        broken.TryAdd(node, problem);
        problems.Add(problem);
    }
}
