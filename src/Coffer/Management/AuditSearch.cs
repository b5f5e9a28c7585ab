using System.Globalization;
using System.Text;
using System.Text.Json;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Looks for the newest entries that a filter takes, in steps. A step reads a bounded number of bytes, and of those
/// only what is found stays in memory.
/// </summary>
internal sealed class AuditSearch
{
    private static readonly AuditFilter All = new(null, null, null, null, null, null, null);

    private readonly Engine engine;
    private readonly AuditFilter filter;
    private readonly int limit;
    private readonly (long Row, long Sequence) position;
    private readonly byte[][] wanted;
    private readonly List<Entry> found = [];
    private long bound;

    /// <param name="engine">Where the log is.</param>
    /// <param name="filter">What is wanted.</param>
    /// <param name="after">The id of the entry that they come after; null begins with the newest.</param>
    /// <param name="limit">How many to find.</param>
    /// <exception cref="ApiError">400: <paramref name="after"/> is no position.</exception>
    public AuditSearch(Engine engine, AuditFilter filter, string? after, int limit)
    {
        (this.engine, this.filter, this.limit) = (engine, filter, limit);
        position = after is null
            ? (long.MaxValue, long.MaxValue)
            : Position(after) ?? throw ApiError.UnknownPosition("audit entry", after);
        bound = after is null ? long.MaxValue : position.Row + 1; // the row of the position may have more
        // They are ids and words, which are written as they are.
        wanted = [.. ((string?[])[filter.Account, filter.App, filter.Key, filter.Verb, filter.Outcome])
            .OfType<string>().Select(Encoding.UTF8.GetBytes)];
    }

    /// <summary>An entry and where it stands, <c>audit_ROW_SEQ</c>.</summary>
    public sealed record Entry(string Id, ReadOnlyMemory<byte> Line)
    {
        /// <summary>The entry as JSON, for the caller to dispose of; null if it is none any more.</summary>
        public JsonDocument? Json() => Verification.ParseWhole(Line);
    }

    /// <summary>What was found so far, newest first.</summary>
    public IReadOnlyList<Entry> Found => found;

    /// <summary>Reads on.</summary>
    /// <returns>Whether there may be more.</returns>
    public async ValueTask<bool> StepAsync(CancellationToken ct)
    {
        var rows = await engine.ListAuditAsync(bound, newestFirst: true, Scans.StepSize, ct);
        foreach (var (number, row) in rows)
        {
            ct.ThrowIfCancellationRequested();
            if (number >= bound)
                throw ApiError.Contradictory("audit rows are not in the order of their numbers");
            bound = number;
            // Most rows of a large log say nothing of an account: that is seen without reading each entry.
            if (wanted.All(text => row.Entries.AsSpan().IndexOf(text) >= 0) && !Add(number, row))
                return false;
        }

        // Rows are in the order of time: what follows is older still.
        return rows.Count > 0 && !(filter.Since is { } since && Verification.TimeOf(rows[^1].Row) < since);
    }

    // False if all that are wanted are found.
    private bool Add(long number, AuditRow row)
    {
        var sequence = row.Last + 1;
        foreach (var line in Verification.Lines(row).Reverse())
        {
            sequence--;
            if ((number == position.Row && sequence >= position.Sequence) || !Takes(line))
                continue;
            // A copy: what is found does not keep the whole row.
            found.Add(new Entry($"audit_{number}_{sequence}", line.ToArray()));
            if (found.Count == limit)
                return false;
        }

        return true;
    }

    private bool Takes(ReadOnlyMemory<byte> line)
    {
        if (filter == All)
            return true;
        if (!wanted.All(text => line.Span.IndexOf(text) >= 0))
            return false;
        using var json = Verification.Parse(line);
        if (filter.HeldTo is { } held && !held.Contains(Verification.Field(json, "app"), StringComparer.Ordinal))
            return false;
        return Is("app", filter.App) && Is("account", filter.Account) && Is("verb", filter.Verb)
            && Is("outcome", filter.Outcome) && Is("key", filter.Key)
            && (filter.Since is null || Time() >= filter.Since) && (filter.Until is null || Time() < filter.Until);

        bool Is(string field, string? text) => text is null || Verification.Field(json, field) == text;

        DateTimeOffset? Time() =>
            Verification.Field(json, "time") is { } text
                && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var time)
                ? time
                : null;
    }

    private static (long Row, long Sequence)? Position(string id) =>
        id.Split('_') is ["audit", var row, var sequence]
        && long.TryParse(row, NumberStyles.None, CultureInfo.InvariantCulture, out var r) && r < long.MaxValue
        && long.TryParse(sequence, NumberStyles.None, CultureInfo.InvariantCulture, out var s)
            ? (r, s)
            : null;
}
