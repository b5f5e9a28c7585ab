using System.Diagnostics;
using Coffer.Telemetry;

namespace Coffer.Storage;

/// <summary>What is measured of a batch: how long its changes waited, how many they are, what became of it.</summary>
internal readonly struct CommitMeter
{
    /// <summary>How a batch ends: nothing of it is stored, or it is tried again later.</summary>
    public const string Stored = "stored", Failed = "failed", Locked = "locked";

    private static readonly string[] Lanes = [.. Enum.GetValues<Lane>().Select(NameOf)];

    private static readonly Distribution.Series[] Waits = [.. Lanes.Select(lane => Metrics.CommitWait.Of(lane))];

    private static readonly Distribution.Series[] Sizes = [.. Lanes.Select(lane => Metrics.BatchSize.Of(lane))];

    private static readonly Distribution.Series[] Times =
        [.. Lanes.Select(lane => Metrics.CommitTime.Of(lane, Stored))];

    private readonly Lane lane;
    private readonly long began = Stopwatch.GetTimestamp();
    private readonly Activity? span;

    /// <summary>The batch begins.</summary>
    public CommitMeter(Lane lane, List<Change> batch)
    {
        this.lane = lane;
        span = Traces.BeginFor("commit", batch.Select(static change => change.Arrival.Span));
        span?.SetTag("coffer.lane", NameOf(lane)).SetTag("coffer.commit.batch.size", batch.Count);
        if (!Metrics.AreOn)
            return;
        foreach (var change in batch)
            Waits[(int)lane].Record(Stopwatch.GetElapsedTime(change.Arrival.At, began).TotalSeconds);
        Sizes[(int)lane].Record(batch.Count);
    }

    /// <summary>As it is written in attributes.</summary>
    public static string NameOf(Lane lane) => lane switch
    {
        Lane.Urgent => "urgent",
        Lane.Background => "background",
        _ => "ordinary",
    };

    /// <summary>The batch has ended so.</summary>
    /// <returns>How long it took.</returns>
    public TimeSpan Ended(string outcome)
    {
        var took = Stopwatch.GetElapsedTime(began);
        var times = outcome == Stored ? Times[(int)lane] : Metrics.CommitTime.Of(NameOf(lane), outcome);
        times.Record(took.TotalSeconds);
        if (outcome != Stored)
            span?.SetStatus(ActivityStatusCode.Error, outcome);
        span?.Dispose();
        return took;
    }
}
