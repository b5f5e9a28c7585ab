using System.Globalization;

namespace Coffer.Hosting;

/// <summary>
/// Whether the clock can be trusted with what cannot be undone: to remove what has expired. It is held against a
/// clock that nobody sets, which counts on while the machine sleeps. After a step, and after a start that is long
/// behind the last change or before it, nothing is removed for a while, so that somebody can set the clock right.
/// Reads do not ask: what has expired by the clock is absent at that second.
/// </summary>
internal sealed class ClockWatch
{
    /// <summary>The least step that counts. Clocks that are kept right by NTP move by less, or slowly.</summary>
    public static readonly TimeSpan LeastStep = TimeSpan.FromMinutes(1);

    /// <summary>How long nothing is removed after a step.</summary>
    public static readonly TimeSpan Hold = TimeSpan.FromHours(1);

    /// <summary>How long ago the last change may be at a start: longer may be a clock that is wrong.</summary>
    public static readonly TimeSpan LongestRest = TimeSpan.FromDays(1);

    /// <summary>
    /// By how much it may differ from the database's before that is said, and before the node is not ready.
    /// </summary>
    public static readonly TimeSpan LeastOffset = TimeSpan.FromSeconds(2), MostOffset = TimeSpan.FromSeconds(30);

    private readonly TimeProvider time;
    private readonly Func<TimeSpan?> ahead;
    private readonly Func<TimeSpan> steady;
    private readonly ILogger<ClockWatch> log;
    private readonly DateTimeOffset? lastCommit;
    private readonly Lock looking = new();
    private TimeSpan offset;
    private TimeSpan measured;
    private TimeSpan? heldUntil;
    private string? trouble;
    private TimeSpan said;

    /// <param name="time">The clock.</param>
    /// <param name="lastCommit">When the store was last changed before this start, or null.</param>
    /// <param name="log">Receives each trouble once.</param>
    /// <param name="ahead">By how much it is ahead of the clock of the database, where that has one.</param>
    public ClockWatch(TimeProvider time, DateTimeOffset? lastCommit, ILogger<ClockWatch> log,
        Func<TimeSpan?>? ahead = null)
    {
        (this.time, this.lastCommit, this.log, steady) = (time, lastCommit, log, SteadyClock.Of(time));
        this.ahead = ahead ?? (static () => null);
        Measure(time.GetUtcNow(), steady());
        if (lastCommit is { } last && time.GetUtcNow() - last > LongestRest)
            Suspect($"the clock says {Shown(time.GetUtcNow())}, and the last change of the store was at {Shown(last)}");
        Look();
    }

    /// <summary>
    /// Why this node is not ready: other nodes and the database go by another time. Null if they do not.
    /// </summary>
    public string? Trouble => Offset is var by && by.Duration() > MostOffset
        ? $"{Differs(by)}: nothing is removed, and this node is not ready until it is set right"
        : null;

    /// <summary>What is to be looked at although this node does its work, or null.</summary>
    public string? Warning
    {
        get
        {
            if (Look() is { } held)
                return Trouble is null ? held : null;
            return Offset is var by && by.Duration() > LeastOffset ? Differs(by) : null;
        }
    }

    /// <summary>The earlier of a moment by this clock and the same moment by the database's.</summary>
    public DateTimeOffset ByBoth(DateTimeOffset moment) => Offset is var by && by > TimeSpan.Zero
        ? moment - by
        : moment;

    /// <summary>Why nothing is removed now, or null if it may be.</summary>
    public string? Look()
    {
        lock (looking)
        {
            SayOffset();
            if (Trouble is { } away)
                return away;
            var (now, ticks) = (time.GetUtcNow(), steady());
            var step = now.UtcDateTime - DateTime.UnixEpoch - ticks - offset;
            if (step.Duration() >= LeastStep)
            {
                Measure(now, ticks);
                var way = step > TimeSpan.Zero ? "forward" : "back";
                Suspect($"the clock stepped {way} by {Shown(step.Duration())}, to {Shown(now)}");
            }
            else if (ticks - measured >= Hold)
            {
                Measure(now, ticks); // what a clock drifts in an hour is no step
            }

            if (ticks < heldUntil)
                return trouble;
            heldUntil = null;
            // Two nodes' clocks are never quite the same.
            if (lastCommit is not { } last || now > last - LeastStep)
                return trouble = null;
            if (trouble?.StartsWith(Behind, StringComparison.Ordinal) is not true)
            {
                trouble = $"{Behind}, at {Shown(last)}: expired data is not removed until the clock is right";
                log.LogWarning("{Trouble}. Check the clock of this machine", trouble);
            }

            return trouble;
        }
    }

    private const string Behind = "the clock is before the last change of the store";

    private TimeSpan Offset => ahead() ?? TimeSpan.Zero;

    private static string Differs(TimeSpan by) => string.Create(CultureInfo.InvariantCulture,
        $"the clock is {by.Duration().TotalSeconds:0} seconds {(by > TimeSpan.Zero ? "ahead of" : "behind")} ")
        + "that of the database";

    // Each time that it becomes worse, and again after it was right.
    private void SayOffset()
    {
        var by = Offset.Duration();
        var grade = new[] { MostOffset, LeastOffset }.FirstOrDefault(bound => by > bound);
        if (grade > said)
            log.LogWarning("{Trouble}. Check the clock of this machine", Trouble ?? Differs(Offset));
        said = grade;
    }

    private void Suspect(string what)
    {
        heldUntil = steady() + Hold;
        trouble = $"{what}: expired data is not removed for {Shown(Hold)}";
        log.LogWarning("{Trouble}. Check the clock of this machine", trouble);
    }

    private void Measure(DateTimeOffset now, TimeSpan ticks) =>
        (offset, measured) = (now.UtcDateTime - DateTime.UnixEpoch - ticks, ticks);

    private static string Shown(DateTimeOffset moment) => UnixTime.Shown(moment.ToUnixTimeSeconds());

    private static string Shown(TimeSpan span)
    {
        var (number, unit) = span switch
        {
            { TotalDays: >= 2 } => (span.TotalDays, "days"),
            { TotalHours: >= 2 } => (span.TotalHours, "hours"),
            _ => (span.TotalMinutes, "minutes"),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{number:0} {unit}");
    }
}

/// <summary>
/// A clock that nobody sets. On Linux it counts on while the machine sleeps, which the clock behind
/// <see cref="TimeProvider.GetTimestamp"/> does not there: after a night's sleep that one would show a step where
/// there was none.
/// </summary>
internal static class SteadyClock
{
    // Its first number is CLOCK_BOOTTIME in seconds.
    private const string UpTime = "/proc/uptime";

    /// <summary>What measures how much time has passed beside a clock.</summary>
    public static Func<TimeSpan> Of(TimeProvider time) =>
        time == TimeProvider.System && OperatingSystem.IsLinux() && SinceBoot() is not null
            ? Guarded(time)
            : () => time.GetElapsedTime(0);

    // Out of file handles, say: then the last time it was known, and since then what the other clock counts.
    private static Func<TimeSpan> Guarded(TimeProvider time)
    {
        var (last, at) = (SinceBoot()!.Value, time.GetTimestamp());
        return () =>
        {
            if (SinceBoot() is not { } now)
                return last + time.GetElapsedTime(at);
            (last, at) = (now, time.GetTimestamp());
            return now;
        };
    }

    private static TimeSpan? SinceBoot()
    {
        try
        {
            var text = File.ReadAllText(UpTime);
            var end = text.IndexOf(' ', StringComparison.Ordinal);
            var first = text.AsSpan(0, Math.Max(end, 0));
            return double.TryParse(first, NumberStyles.Float, CultureInfo.InvariantCulture, out var seconds)
                ? TimeSpan.FromSeconds(seconds)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
