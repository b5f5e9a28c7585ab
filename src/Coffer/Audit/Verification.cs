using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Unicode;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Goes through audit rows in the order in which they were written and finds the first place of each node where the
/// chain is broken; then holds the checkpoints against what was found: what they say of the node that wrote them, and
/// of all others that they name. Of the rows it keeps what the checkpoints speak of, however long the log is.
/// </summary>
/// <param name="key">K_audit.</param>
/// <param name="signingKey">What checkpoints are signed with.</param>
/// <param name="instance">The store's id.</param>
/// <param name="checkpoints">The lines of the checkpoint file, read before the rows.</param>
internal sealed class Verification(MacKey key, ECDsa signingKey, byte[] instance,
    IReadOnlyList<string>? checkpoints = null)
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 4 };

    private readonly Dictionary<string, ChainPosition> positions = new();

    private static ReadOnlySpan<byte> Acceptance => "\"verb\":\"accept_rollback\""u8;

    // The MACs of the entries that checkpoints and roll-backs speak of, once they are seen.
    private readonly Dictionary<(string Node, long Sequence), byte[]?> macs = Watched(checkpoints ?? []);
    private readonly Dictionary<string, long> cuts = new();
    private readonly Dictionary<string, IReadOnlyList<Rollback>> rollbacks = [];
    private readonly List<(string Node, long Number, string At)> acceptances = [];
    private readonly HashSet<string> broken = [];
    private readonly List<string> problems = [];

    /// <summary>What is wrong, in words that name the place; empty when all is well.</summary>
    public IReadOnlyList<string> Problems => problems;

    public long Entries { get; private set; }

    public int Checkpoints { get; private set; }

    /// <summary>
    /// How many places that checkpoints name are of logs that were lost, and whose loss was accepted.
    /// </summary>
    public int Excused { get; private set; }

    public IReadOnlyCollection<string> Nodes => positions.Keys;

    /// <summary>The accepted roll-backs, by node.</summary>
    public IEnumerable<(string Node, Rollback Rollback)> AcceptedRollbacks =>
        rollbacks.OrderBy(node => node.Key, StringComparer.Ordinal)
        .SelectMany(node => node.Value.Select(rollback => (node.Key, rollback)));

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
    }

    private void AddRollbacks(string node, byte[] value)
    {
        if (Rollbacks.Read(key, instance, node, value) is not { } accepted)
        {
            problems.Add($"the list of accepted roll-backs of {node} was not written by this store");
            return;
        }

        rollbacks[node] = accepted;
        foreach (var rollback in accepted)
            macs.TryAdd((node, rollback.To.Sequence), null);
    }

    private void AddCut(string node, byte[] value)
    {
        if (AuditCut.Read(key, instance, node, value) is { } position)
            positions[node] = position;
        else
            Break(node, $"the note of where the log of {node} begins was not written by this store");
        cuts[node] = positions.GetValueOrDefault(node)?.Sequence ?? 0;
    }

    /// <summary>
    /// The next row. After a node's first bad row its later ones cannot be judged and are skipped.
    /// </summary>
    public void Add(AuditRow row)
    {
        var at = positions.TryGetValue(row.Node, out var known) ? known : AuditChain.Start(key, instance, row.Node);
        if (broken.Contains(row.Node))
            return;
        if (row.First != at.Sequence + 1)
        {
            Break(row.Node, row.First > at.Sequence + 1
                ? $"entries {at.Sequence + 1} to {row.First - 1} of {row.Node} are missing"
                : $"entry {row.First} of {row.Node} stands where entry {at.Sequence + 1} should: rows were put in "
                    + "another order or inserted twice");
            return;
        }

        var (sequence, mac) = (at.Sequence, at.Mac);
        foreach (var line in Lines(row))
        {
            mac = AuditChain.Step(key, mac, line.Span);
            if (macs.ContainsKey((row.Node, ++sequence)))
                macs[(row.Node, sequence)] = mac;
            if (line.Span.IndexOf(Acceptance) >= 0)
                AddAcceptance(line, $"entry {sequence} of {row.Node}");
        }

        if (sequence != row.Last || !CryptographicOperations.FixedTimeEquals(mac, row.Mac))
        {
            Break(row.Node, $"entries {row.First} to {row.Last} of {row.Node} were changed");
            return;
        }

        Entries += row.Last - row.First + 1;
        positions[row.Node] = new ChainPosition(row.Last, row.Mac);
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

        foreach (var (node, rollback) in AcceptedRollbacks)
        {
            if (IsBefore(node, rollback.To.Sequence) || broken.Contains(node))
                continue;
            if (macs[(node, rollback.To.Sequence)] is not { } mac
                || !CryptographicOperations.FixedTimeEquals(mac, rollback.To.Mac))
                Break(node, $"roll-back {rollback.Number} of {node} was accepted of another log than this");
        }

        var count = 0;
        foreach (var line in checkpoints ?? [])
            Hold(line, ++count);
    }

    private static Dictionary<(string Node, long Sequence), byte[]?> Watched(IReadOnlyList<string> lines)
    {
        var watched = new Dictionary<(string Node, long Sequence), byte[]?>();
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
    private void Hold(string line, int number)
    {
        // A line that is no checkpoint, as one that a crash has torn, says nothing: like one that was taken out.
        if (Checkpoint.Parse(line) is not { } checkpoint)
            return;
        if (!checkpoint.IsSignedBy(signingKey, instance))
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
        if (broken.Contains(node))
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
        else if (!IsBefore(node, sequence) && !CryptographicOperations.FixedTimeEquals(macs[(node, sequence)]!, mac))
            Break(node, $"entry {sequence} of {node} is not the one that the checkpoint of {time} saw: the log was " +
                $"written again");
    }

    /// <summary>Whether retention has removed an entry: what was there cannot be proven any more.</summary>
    private bool IsBefore(string node, long sequence) => sequence <= cuts.GetValueOrDefault(node);

    /// <summary>When a row's last entry was decided, from the entry itself; null if it does not say.</summary>
    public static DateTimeOffset? TimeOf(AuditRow row) =>
        Field(Lines(row).LastOrDefault(), "time") is { } text
            && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var time)
            ? time
            : null;

    /// <summary>The entries of a row, a line each.</summary>
    public static IEnumerable<ReadOnlyMemory<byte>> Lines(AuditRow row)
    {
        for (var at = 0; at < row.Entries.Length;)
        {
            var end = row.Entries.AsSpan(at).IndexOf((byte)'\n') is var feed and >= 0 ? at + feed : row.Entries.Length;
            yield return row.Entries.AsMemory(at, end - at);
            at = end + 1;
        }
    }

    /// <summary>An entry's field as text; null if it has none, or is no entry any more.</summary>
    public static string? Field(ReadOnlyMemory<byte> line, string name)
    {
        using var json = Parse(line);
        return Field(json, name);
    }

    /// <summary>The same of an entry that was parsed; null is none.</summary>
    public static string? Field(JsonDocument? json, string name)
    {
        try
        {
            return json is not null && json.RootElement.TryGetProperty(name, out var value) ? value.ToString() : null;
        }
        catch (InvalidOperationException)
        {
            return null; // an escape that is half a character is no text
        }
    }

    /// <summary>An entry as JSON, for the caller to dispose of; null if it is none any more.</summary>
    public static JsonDocument? Parse(ReadOnlyMemory<byte> line)
    {
        try
        {
            var json = Utf8.IsValid(line.Span) ? JsonDocument.Parse(line, Strict) : null;
            if (json?.RootElement.ValueKind == JsonValueKind.Object)
                return json;
            json?.Dispose();
            return null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>
    /// The same, if all its fields are what a field of an entry is: text or a number, or what was changed.
    /// </summary>
    public static JsonDocument? ParseWhole(ReadOnlyMemory<byte> line)
    {
        var json = Parse(line);
        try
        {
            if (json?.RootElement.EnumerateObject().All(IsField) == true)
                return json;
        }
        catch (InvalidOperationException)
        {
            // as above
        }

        json?.Dispose();
        return null;
    }

    private static bool IsField(JsonProperty field) => field.Name == "changed"
        ? field.Value.EnumerateObject().All(Changes.IsOne)
        : field.Name.Length > 0 && field.Value.ValueKind switch
        {
            JsonValueKind.Number => true,
            JsonValueKind.String => field.Value.GetString() is not null,
            _ => false,
        };

    private void Break(string node, string problem)
    {
        broken.Add(node);
        problems.Add(problem);
    }
}
