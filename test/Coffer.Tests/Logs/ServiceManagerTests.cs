using System.Net.Sockets;
using Coffer.Hosting;
using Coffer.Shared;

namespace Coffer.Tests.Logs;

/// <summary>What a service manager learns, by the datagrams that arrive at a real socket.</summary>
[Trait("Telemetry", "2")]
public sealed class ServiceManagerTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();
    private readonly KeptLog<Server> log = new();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task It_learns_of_the_start_of_a_reload_and_of_the_stop(bool isAbstract)
    {
        var path = directory.File("notify");
        using var socket = new NotifySocket(isAbstract ? $"\0{path}" : path);
        using var manager = new ServiceManager(isAbstract ? $"@{path}" : path, null, TimeProvider.System);
        manager.Ready("It serves http://127.0.0.1:1/\nMAINPID=1");
        manager.Reloading();
        manager.Stopping();
        manager.Watch(static () => null, log); // of which it was not asked
        Assert.Equal("READY=1\nSTATUS=It serves http://127.0.0.1:1/\\u000aMAINPID=1", await socket.NextAsync());
        Assert.Matches("^RELOADING=1\nMONOTONIC_USEC=[0-9]+$", await socket.NextAsync());
        Assert.Equal("STOPPING=1\nSTATUS=It stops", await socket.NextAsync());
        Assert.False(socket.HasMore);
    }

    [Fact]
    public async Task It_learns_that_the_server_lives_until_something_has_died()
    {
        using var socket = new NotifySocket(directory.File("notify"));
        using var manager = new ServiceManager(
            directory.File("notify"), TimeSpan.FromMilliseconds(100), TimeProvider.System);
        string? dead = null;
        manager.Watch(() => Volatile.Read(ref dead), log);
        for (var times = 0; times < 3; times++)
            Assert.Equal("WATCHDOG=1", await socket.NextAsync());
        Volatile.Write(ref dead, "reaper");
        await Until.SoAsync("the log says so", () => log.Lines.Count == 1);
        while (socket.HasMore)
            await socket.NextAsync();
        await Task.Delay(300); // six times as long as it was silent before
        Assert.False(socket.HasMore);
        Assert.Contains("reaper", Assert.Single(log.Texts), StringComparison.Ordinal);
    }

    [Fact]
    public void Where_nobody_listens_nothing_fails()
    {
        Assert.Throws<SocketException>(() => new ServiceManager(directory.File("none"), null, TimeProvider.System));
        using var socket = new NotifySocket(directory.File("gone"));
        using var manager = new ServiceManager(directory.File("gone"), null, TimeProvider.System);
        socket.Dispose();
        manager.Ready("");
        manager.Stopping();
    }

    [Fact]
    public async Task A_loop_that_fails_lives_and_one_that_was_ended_has_not_died()
    {
        var tried = new SemaphoreSlim(0);
        var loop = new Loop("it", _ =>
        {
            tried.Release();
            throw new IOException("away");
        }, TimeProvider.System, log)
        {
            Pauses = (TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1)),
        };
        Assert.False(loop.HasDied);
        loop.Start();
        await tried.WaitAsync();
        await tried.WaitAsync();
        Assert.False(loop.HasDied);
        loop.Dispose();
        Assert.False(loop.HasDied);

        // What the loop itself does not foresee: a log that throws.
        using var dead = new Loop("dead", static _ => throw new IOException("away"), TimeProvider.System,
            new Throwing());
        dead.Start();
        await Until.SoAsync("it has died", () => dead.HasDied);
    }

    public void Dispose() => directory.Dispose();

    private sealed class Throwing : Microsoft.Extensions.Logging.ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel,
            Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter) => throw new InvalidOperationException("a bug");
    }
}
