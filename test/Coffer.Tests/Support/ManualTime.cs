namespace Coffer.Tests.Support;

/// <summary>A clock that stands still until it is moved, and may be moved back.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long ticks = new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero).Ticks;
    private long elapsed;

    public DateTimeOffset Now => new(Volatile.Read(ref ticks), TimeSpan.Zero);

    public long Seconds => Now.ToUnixTimeSeconds();

    public override DateTimeOffset GetUtcNow() => Now;

    // As a machine's: what measures how much time has passed never goes back.
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Volatile.Read(ref elapsed);

    /// <summary>Sets the clock while no time passes, as somebody or a time server does.</summary>
    public void Step(TimeSpan by) => Interlocked.Add(ref ticks, by.Ticks);

    public void Move(TimeSpan by)
    {
        Interlocked.Add(ref ticks, by.Ticks);
        Interlocked.Add(ref elapsed, Math.Max(by.Ticks, 0));
    }
}
