using System.Diagnostics;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// What has to be counted row by row, for the metrics: tenants and secrets by mode, and which of them expire soon. It
/// walks through the tenants page by page and rests long between pages, so that it takes a fiftieth of a core however
/// large the store is; a count is of the time that a walk takes. Of several nodes the first does it.
/// </summary>
internal sealed class Census : IDisposable
{
    /// <summary>Within how many days secrets expire that are counted apart.</summary>
    public static readonly IReadOnlyList<int> Days = [1, 7, 30];

    /// <summary>How long it rests after a walk at least.</summary>
    public static readonly TimeSpan Rest = TimeSpan.FromSeconds(10);

    private const int Page = 500, RestOfWork = 50;

    private readonly Engine engine;
    private readonly TimeProvider time;
    private volatile Found? last;

    public Census(Engine engine, TimeProvider time, ILogger<Census> log)
    {
        (this.engine, this.time) = (engine, time);
        Loop = new Loop("census", RoundAsync, time, log);
    }

    public Loop Loop { get; }

    /// <summary>What was found last; null if nothing was yet.</summary>
    public Found? Last => last;

    /// <summary>Of one mode.</summary>
    /// <param name="Tenants">How many there are.</param>
    /// <param name="Secrets">How many unexpired secrets.</param>
    /// <param name="Expiring">How many of them expire within each of <see cref="Days"/>.</param>
    public sealed record Counted(long Tenants, long Secrets, IReadOnlyList<long> Expiring)
    {
        public Counted With(SecretCount more) =>
            new(Tenants + 1, Secrets + more.Secrets, [.. Expiring.Zip(more.Sooner, static (a, b) => a + b)]);
    }

    /// <summary>What was found.</summary>
    /// <param name="Nodes">How many nodes run.</param>
    /// <param name="Database">Bytes of the database, if known.</param>
    /// <param name="Log">Bytes of its write-ahead log, if known.</param>
    public sealed record Found(int Nodes, long? Database, long? Log)
    {
        /// <summary>Of test and of live mode; null of a node that does not count.</summary>
        public (Counted Test, Counted Live)? Counts { get; init; }
    }

    public void Start() => Loop.Start();

    public void Dispose() => Loop.Dispose();

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        var nodes = await engine.ListNodesAsync(ct);
        var (database, log) = await engine.FindSizesAsync(ct);
        last = new Found(Math.Max(nodes.Count, 1), database, log)
        {
            Counts = engine.Leads(nodes) ? await CountAsync(ct) : null,
        };
        return Rest;
    }

    private async Task<(Counted Test, Counted Live)> CountAsync(CancellationToken ct)
    {
        var none = new Counted(0, 0, [.. Days.Select(static _ => 0L)]);
        var (test, live, began) = (none, none, 0L);
        await foreach (var page in Engine.PagesAsync(
            Page, 0L, ListAsync, static tenant => tenant.Tenant, Comparer<long>.Default))
        {
            foreach (var tenant in page)
            {
                if (tenant.Livemode)
                    live = live.With(tenant);
                else
                    test = test.With(tenant);
            }

            if (page.Count == Page)
                await Task.Delay(Stopwatch.GetElapsedTime(began) * RestOfWork, time, ct);
        }

        return (test, live);

        ValueTask<IReadOnlyList<SecretCount>> ListAsync(long after, int most)
        {
            began = Stopwatch.GetTimestamp();
            var now = engine.SecondToRead(time);
            long Until(int days) => now + (long)TimeSpan.FromDays(days).TotalSeconds;
            return engine.ListAsync(
                SecretCount.After, ct, Until(Days[0]), Until(Days[1]), Until(Days[2]), after, most, now);
        }
    }
}
