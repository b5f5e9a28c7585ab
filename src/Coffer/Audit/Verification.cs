using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Unicode;
using Coffer.Crypto;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Goes through audit rows in the order in which they were written and finds the first place of each node where the
/// chain is broken; then holds the checkpoints against what was found. Of the rows it keeps what the checkpoints speak of, however long the log is.
/// </summary>
/// <param name="key">K_audit.</param>
/// <param name="signingKey">What checkpoints are signed with.</param>
/// <param name="instance">The store's id.</param>
/// <param name="checkpoints">The lines of the checkpoint file, read before the rows.</param>
internal sealed class Verification(MacKey key, ECDsa signingKey, byte[] instance, IReadOnlyList<string>? checkpoints = null)
{
    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 4 };

    private readonly Dictionary<string, ChainPosition> positions = new();

    // The MACs of the entries that checkpoints speak of, once they are seen.
    private readonly Dictionary<(string Node, long Sequence), byte[]?> macs = Watched(checkpoints ?? []);
    private readonly Dictionary<string, long> cuts = new();
    private readonly HashSet<string> broken = [];
    private readonly List<string> problems = [];

    /// <summary>What is wrong, in words that name the place; empty when all is well.</summary>
    public IReadOnlyList<string> Problems => problems;

    public long Entries { get; private set; }

    public int Checkpoints { get; private set; }

    public IReadOnlyCollection<string> Nodes => positions.Keys;

    /// <summary>Where a node's log begins, if its oldest rows were removed by retention; call before the first row.</summary>
    public void AddCut(string node, byte[] value)
    {
        if (AuditCut.Read(key, instance, node, value) is { } position)
            positions[node] = position;
        else
            Break(node, $"the note of where the log of {node} begins was not written by this store");
        cuts[node] = positions.GetValueOrDefault(node)?.Sequence ?? 0;
    }

    /// <summary>The next row. After a node's first bad row its later ones cannot be judged and are passed over.</summary>
    public void Add(AuditRow row)
    {
        var at = positions.TryGetValue(row.Node, out var known) ? known : AuditChain.Start(key, instance, row.Node);
        if (broken.Contains(row.Node))
            return;
        if (row.First != at.Sequence + 1)
        {
            Break(row.Node, row.First > at.Sequence + 1
                ? $"entries {at.Sequence + 1} to {row.First - 1} of {row.Node} are missing"
                : $"entry {row.First} of {row.Node} stands where entry {at.Sequence + 1} should: rows were put in another order or in twice");
            return;
        }

        var (sequence, mac) = (at.Sequence, at.Mac);
        foreach (var line in Lines(row))
        {
            mac = AuditChain.Step(key, mac, line.Span);
            if (macs.ContainsKey((row.Node, ++sequence)))
                macs[(row.Node, sequence)] = mac;
        }

        if (sequence != row.Last || !CryptographicOperations.FixedTimeEquals(mac, row.Mac))
        {
            Break(row.Node, $"entries {row.First} to {row.Last} of {row.Node} were changed");
            return;
        }

        Entries += row.Last - row.First + 1;
        positions[row.Node] = new ChainPosition(row.Last, row.Mac);
    }

    /// <summary>Holds the checkpoints against the rows; call after the last one.</summary>
    public void Finish()
    {
        var number = 0;
        foreach (var line in checkpoints ?? [])
            Hold(line, ++number);
    }

    private static Dictionary<(string Node, long Sequence), byte[]?> Watched(IReadOnlyList<string> lines)
    {
        var watched = new Dictionary<(string Node, long Sequence), byte[]?>();
        foreach (var checkpoint in lines.Select(Checkpoint.Parse).OfType<Checkpoint>())
            watched.TryAdd((checkpoint.Node, checkpoint.Sequence), null);
        return watched;
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
        if (broken.Contains(checkpoint.Node))
            return;
        var last = positions.GetValueOrDefault(checkpoint.Node)?.Sequence ?? 0;
        if (checkpoint.Sequence > last)
            Break(checkpoint.Node, $"the log of {checkpoint.Node} ends at entry {last}, but at {checkpoint.Time:yyyy-MM-dd HH:mm:ss}Z it had {checkpoint.Sequence}: its tail was cut, or an old copy was put back");
        else if (checkpoint.Sequence > cuts.GetValueOrDefault(checkpoint.Node) && !CryptographicOperations.FixedTimeEquals(macs[(checkpoint.Node, checkpoint.Sequence)]!, checkpoint.Mac))
            Break(checkpoint.Node, $"entry {checkpoint.Sequence} of {checkpoint.Node} is not the one that the checkpoint of {checkpoint.Time:yyyy-MM-dd HH:mm:ss}Z saw: the log was written anew");
    }

    /// <summary>When a row's last entry was decided, from the entry itself; null if it does not say.</summary>
    public static DateTimeOffset? TimeOf(AuditRow row) =>
        Field(Lines(row).LastOrDefault(), "time") is { } text && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var time) ? time : null;

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

    /// <summary>The same, if all its fields are what a field of an entry is: text or a number.</summary>
    public static JsonDocument? ParseWhole(ReadOnlyMemory<byte> line)
    {
        var json = Parse(line);
        try
        {
            if (json?.RootElement.EnumerateObject().All(IsSimple) == true)
                return json;
        }
        catch (InvalidOperationException)
        {
            // as above
        }

        json?.Dispose();
        return null;
    }

    private static bool IsSimple(JsonProperty field) => field.Name.Length > 0 && field.Value.ValueKind switch
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
