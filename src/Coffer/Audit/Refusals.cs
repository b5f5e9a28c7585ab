using System.Collections.Concurrent;
using Coffer.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Coffer.Audit;

/// <summary>
/// Counts refusals at the door, where anyone may knock, and writes an entry a second for each kind with how many there
/// were: a flood of bad keys is recorded and cannot fill the disk.
/// </summary>
internal sealed class Refusals : IDisposable
{
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>How many kinds (known keys, mostly) are distinguished within a second; the rest count as one.</summary>
    private const int MostKinds = 1_000;

    private readonly ConcurrentDictionary<(string Outcome, string? Key),
        (AuditEntry First, long Count)> counted = new();
    private Committer? committer;

    public Refusals(TimeProvider time, ILogger<Refusals>? log = null) =>
        Loop = new Loop("refusals", RoundAsync, time, log ?? NullLogger<Refusals>.Instance);

    public Loop Loop { get; }

    public void Start(Committer to)
    {
        committer = to;
        Loop.Start(Interval);
    }

    /// <param name="outcome">Why, in one word.</param>
    /// <param name="key">The id of the key, if it is a known one.</param>
    /// <param name="request">The id of the request.</param>
    /// <param name="remote">Where it came from; of those that count as one, the first is kept.</param>
    public void Count(string outcome, string? key, string request, string remote)
    {
        if (counted.Count >= MostKinds)
            (outcome, key) = ("others", null);
        counted.AddOrUpdate(
            (outcome, key),
            _ => (new AuditEntry("authenticate", outcome) { Key = key, Request = request, Remote = remote }, 1),
            (_, known) => (known.First, known.Count + 1));
    }

    /// <summary>Writes what was counted since the last time.</summary>
    /// <exception cref="ApiError">The storage is away; what was counted is written the next time.</exception>
    public async Task FlushAsync()
    {
        foreach (var kind in counted.Keys)
        {
            if (!counted.TryRemove(kind, out var refused))
                continue;
            try
            {
                await committer!.CommitAsync(new Change.Noted(refused.First with { Count = refused.Count }));
            }
            catch
            {
                counted.AddOrUpdate(kind, refused, (_, later) => (refused.First, refused.Count + later.Count));
                throw;
            }
        }
    }

    public void Dispose()
    {
        Loop.Dispose();
        try
        {
            if (committer is not null)
                FlushAsync().GetAwaiter().GetResult();
        }
        catch (ApiError)
        {
            // The storage is away, and there is no next time.
        }
    }

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        await FlushAsync();
        return Interval;
    }
}
