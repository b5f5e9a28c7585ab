using System.Globalization;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>The audit log as it is read, newest entry first.</summary>
internal sealed class AuditTrail(Engine engine, Gate gate)
{
    /// <summary>An entry and where it stands, <c>audit_ROW_SEQ</c>.</summary>
    public sealed record Entry(string Id, ReadOnlyMemory<byte> Line)
    {
        /// <summary>The entry as JSON, for the caller to dispose of; null if it is none any more.</summary>
        public System.Text.Json.JsonDocument? Json() => Verification.ParseWhole(Line);
    }

    private const int Batch = 500;

    /// <summary>A page, for the management plane; and one more, not recorded, if there are more.</summary>
    /// <exception cref="ApiError">403: not an admin key. 400: <paramref name="after"/> is no position.</exception>
    public async Task<IReadOnlyList<Entry>> ListAsync(Caller caller, AuditFilter filter, string? after, int limit,
        CancellationToken ct)
    {
        gate.RequireAdmin(caller);
        var entries = await ListAsync(engine, filter, after, limit + 1, ct);
        await gate.PassAsync(caller.Entry("list_audit", "ok") with { Count = Math.Min(entries.Count, limit) });
        await gate.ReportAsync([.. entries.Where(IsDamaged).Select(Damage)], caller.Origin.RequestId);
        return entries;

        static DamagedRow Damage(Entry entry) => new("audit", entry.Id, "the form of an entry");

        static bool IsDamaged(Entry entry)
        {
            using var json = entry.Json();
            return json is null;
        }
    }

    /// <summary>The newest entries that a filter takes.</summary>
    public static async Task<IReadOnlyList<Entry>> ListAsync(
        Engine engine, AuditFilter filter, string? after, int limit, CancellationToken ct)
    {
        var position = after is null
            ? (Row: long.MaxValue, Sequence: long.MaxValue)
            : Position(after) ?? throw ApiError.UnknownPosition("audit entry", after);
        var bound = after is null ? long.MaxValue : position.Row + 1; // the row of the position may have more
        var found = new List<Entry>();
        while (found.Count < limit
            && await engine.ListAuditAsync(bound, newestFirst: true, Batch, ct) is { Count: > 0 } rows)
        {
            foreach (var (number, row) in rows)
            {
                ct.ThrowIfCancellationRequested(); // a row may hold thousands of entries
                if (number >= bound)
                    throw ApiError.Contradictory("audit rows are not in the order of their numbers");
                var sequence = row.Last + 1;
                foreach (var line in Verification.Lines(row).Reverse())
                {
                    sequence--;
                    if ((number != position.Row || sequence < position.Sequence) && Takes(filter, line))
                        found.Add(new Entry($"audit_{number}_{sequence}", line));
                }

                bound = number;
            }

            // Rows are in the order of time: what follows is older still.
            if (filter.Since is { } since && Verification.TimeOf(rows[^1].Row) < since)
                break;
        }

        return [.. found.Take(limit)];
    }

    private static bool Takes(AuditFilter filter, ReadOnlyMemory<byte> line)
    {
        return Is("app", filter.App) && Is("account", filter.Account) && Is("verb", filter.Verb)
            && Is("outcome", filter.Outcome) && Is("key", filter.Key)
            && (filter.Since is null || Time() >= filter.Since) && (filter.Until is null || Time() < filter.Until);

        bool Is(string field, string? wanted) => wanted is null || Verification.Field(line, field) == wanted;

        DateTimeOffset? Time() =>
            Verification.Field(line, "time") is { } text
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
