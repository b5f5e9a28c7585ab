using Coffer.Storage;

namespace Coffer.Tests.Storage;

/// <summary>The memory of lists with payloads is bounded: who finds no room waits.</summary>
[Trait("Reports from the field", "R2-26")]
public sealed class RoomTests
{
    // Six bytes of it are for each that is stored.
    private readonly Room room = new(60, TimeSpan.FromMinutes(1));

    [Fact]
    public async Task Who_finds_room_enters_and_the_others_wait_in_their_order()
    {
        var first = await Enter(6);
        var second = Enter(6);
        var third = Enter(1); // which would fit, and came later
        Assert.False(second.IsCompleted || third.IsCompleted);
        first.Dispose();
        (await second).Dispose();
        (await third).Dispose();
        first.Dispose(); // once is enough: it gives back nothing more
        var all = await Enter(10);
        Assert.False(Enter(1).IsCompleted);
        all.Dispose();
    }

    [Fact]
    public async Task What_is_larger_than_all_of_it_enters_alone()
    {
        var small = await Enter(1);
        var large = Enter(1_000_000);
        Assert.False(large.IsCompleted);
        small.Dispose();
        var entered = await large;
        var next = Enter(1);
        Assert.False(next.IsCompleted);
        entered.Dispose();
        await next;
    }

    [Fact]
    public async Task Who_leaves_while_waiting_holds_nothing_and_nobody_up()
    {
        var first = await Enter(6);
        using var leaves = new CancellationTokenSource();
        var large = room.EnterAsync(10, leaves.Token).AsTask();
        var small = Enter(4);
        Assert.False(small.IsCompleted);
        await leaves.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => large);
        (await small).Dispose();
        first.Dispose();
        (await Enter(10)).Dispose();
    }

    [Fact]
    public async Task Who_waits_for_too_long_is_answered_503()
    {
        var impatient = new Room(60, TimeSpan.FromMilliseconds(10));
        var first = await impatient.EnterAsync(10, default);
        var refused = await Assert.ThrowsAsync<ApiError>(async () => await impatient.EnterAsync(1, default));
        Assert.Equal((503, true, 1), (refused.Status, refused.ShouldRetry, refused.RetryAfter?.Seconds));
        first.Dispose();
        (await impatient.EnterAsync(10, default)).Dispose();
    }

    [Fact]
    public void It_is_a_part_of_what_the_process_may_use()
    {
        var available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        Assert.InRange(Room.OfThisMachine().Size, 8 << 20, Math.Max(available / 6, 8 << 20));
    }

    private Task<IDisposable> Enter(long stored) => room.EnterAsync(stored, default).AsTask();
}
