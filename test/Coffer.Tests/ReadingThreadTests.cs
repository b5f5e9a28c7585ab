namespace Coffer.Tests;

[Trait("Fast", "1")]
public sealed class ReadingThreadTests
{
    [Fact]
    public async Task Whoever_leaves_it_continues_on_the_pool_and_who_is_there_already_at_once()
    {
        var elsewhere = new TaskCompletionSource<bool>();
        new Thread(() => _ = LeaveAsync()).Start();
        Assert.True(await elsewhere.Task);
        Assert.True(await Task.Run(static () => ReadingThread.LeaveAsync().GetAwaiter().IsCompleted));

        async Task LeaveAsync()
        {
            await ReadingThread.LeaveAsync();
            elsewhere.SetResult(Thread.CurrentThread.IsThreadPoolThread);
        }
    }
}
