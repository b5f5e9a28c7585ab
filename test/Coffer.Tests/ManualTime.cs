namespace Coffer.Tests;

/// <summary>A clock that stands still until it is moved, and may be moved back.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long ticks = new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero).Ticks;

    public DateTimeOffset Now => new(Volatile.Read(ref ticks), TimeSpan.Zero);

    public long Seconds => Now.ToUnixTimeSeconds();

    public override DateTimeOffset GetUtcNow() => Now;

    public void Move(TimeSpan by) => Interlocked.Add(ref ticks, by.Ticks);
}
