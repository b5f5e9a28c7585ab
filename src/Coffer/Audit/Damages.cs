using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>
/// Names stored rows that failed their proof, in the server's log and in the audit log: a row once in five minutes,
/// however often it is asked for, so that damage neither stays unseen nor fills a log.
/// </summary>
internal sealed class Damages(Recorder recorder, TimeProvider time, ILogger<Damages> log)
{
    public static readonly TimeSpan Quiet = TimeSpan.FromMinutes(5);

    /// <summary>When one is named again that could not be recorded.</summary>
    private static readonly TimeSpan Retry = TimeSpan.FromSeconds(10);

    /// <summary>How many rows are distinguished in that time; the rest are counted.</summary>
    private const int MostRows = 10_000;

    private readonly Lock writing = new();
    private readonly Dictionary<string, DateTimeOffset> reported = new(StringComparer.Ordinal);
    private DateTimeOffset overflowed;

    /// <summary>
    /// Returns once the rows are in the audit log; or cannot be recorded there, and are named again the next time.
    /// </summary>
    /// <param name="rows">The rows.</param>
    /// <param name="requestId">The request that met them; empty for none.</param>
    public async ValueTask ReportAsync(IReadOnlyCollection<DamagedRow> rows, string requestId)
    {
        List<DamagedRow> due;
        lock (writing)
            due = [.. rows.Where(IsDue)];
        if (due.Count == 0)
            return;

        foreach (var row in due)
        {
            log.LogError(
                "The stored row {Row} is damaged and is not used: {Fault} is not what Coffer wrote ({RequestId})",
                row.ToString(), row.Fault, requestId);
        }

        try
        {
            await recorder.PutAsync([.. due.Select(row => (Note)Entry(row, requestId))]);
        }
        catch (Exception e)
        {
            // The answer is an error already: that this one cannot be recorded must not become another.
            log.LogFailure(LogLevel.Warning, e, "A damaged stored row could not be recorded in the audit log");
            lock (writing)
            {
                foreach (var row in due)
                    reported[row.ToString()] = time.GetUtcNow() - Quiet + Retry;
            }
        }
    }

    private static AuditEntry Entry(DamagedRow row, string requestId) => new("check_row", "damaged")
    {
        Request = requestId,
        App = row.App,
        Account = row.Account,
        Target = row.ToString(),
        Reason = row.Fault,
    };

    private bool IsDue(DamagedRow row)
    {
        var (now, key) = (time.GetUtcNow(), row.ToString());
        if (reported.TryGetValue(key, out var at) && now - at < Quiet && now >= at)
            return false;
        if (reported.Count >= MostRows)
        {
            foreach (var (known, then) in reported)
            {
                if (now - then >= Quiet || now < then)
                    reported.Remove(known);
            }
        }

        if (reported.Count < MostRows)
        {
            reported[key] = now;
            return true;
        }

        if (now - overflowed >= Quiet || now < overflowed)
        {
            overflowed = now;
            log.LogError("More than {Count} stored rows are damaged: the others are not logged", MostRows);
        }

        return false;
    }
}
