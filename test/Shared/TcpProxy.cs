using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Coffer.Shared;

/// <summary>
/// A network between two programs that can be cut, so that both ends see it, and can hang, so that neither does.
/// </summary>
internal sealed class TcpProxy : IAsyncDisposable
{
    private readonly int target;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<TcpClient, bool> open = [];
    private readonly CancellationTokenSource stop = new();
    private readonly Task accepting;
    private TaskCompletionSource passing = Passing();
    private volatile bool isCut;
    private volatile byte[]? said;
    private volatile TaskCompletionSource saidPassing = Passing();

    /// <param name="target">The port on loopback that it leads to.</param>
    public TcpProxy(int target)
    {
        this.target = target;
        listener.Start();
        accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>
    /// From now on nothing arrives, and nothing says so: connections are accepted, and what is sent on them is kept
    /// back.
    /// </summary>
    public void Hang() => passing = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Notes the connections on which a client says a text from now on.</summary>
    public void Note(ReadOnlySpan<byte> text) => said = text.ToArray();

    /// <summary>From now on nothing arrives on the connections that were noted, and all others continue.</summary>
    public void HangNoted() => saidPassing = new TaskCompletionSource(
        TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>From now on connections are closed, those that are open too.</summary>
    public void Cut()
    {
        isCut = true;
        foreach (var client in open.Keys)
            client.Dispose();
    }

    /// <summary>All is well again, and what was kept back arrives late.</summary>
    public void Pass()
    {
        isCut = false;
        passing.TrySetResult();
        saidPassing.TrySetResult();
    }

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        listener.Dispose();
        Cut();
        passing.TrySetResult();
        saidPassing.TrySetResult();
        await accepting;
        stop.Dispose();
    }

    private static TaskCompletionSource Passing()
    {
        var source = new TaskCompletionSource();
        source.SetResult();
        return source;
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await listener.AcceptTcpClientAsync(stop.Token);
                if (isCut)
                    client.Dispose();
                else
                    _ = JoinAsync(client);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // stopped
        }
    }

    private async Task JoinAsync(TcpClient client)
    {
        using var server = new TcpClient();
        open[client] = open[server] = true;
        try
        {
            await passing.Task;
            await server.ConnectAsync(IPAddress.Loopback, target);
            client.NoDelay = server.NoDelay = true;
            var noted = new StrongBox<bool>();
            await Task.WhenAny(PumpAsync(client, server, noted, said), PumpAsync(server, client, noted, null));
        }
        catch (SocketException)
        {
            // Nobody listens there: the client learns it by the end of its connection.
        }
        finally
        {
            open.TryRemove(client, out _);
            open.TryRemove(server, out _);
            client.Dispose();
        }
    }

    private async Task PumpAsync(TcpClient from, TcpClient to, StrongBox<bool> noted, byte[]? text)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.GetStream().ReadAsync(buffer) is var read and > 0)
            {
                if (text is not null && buffer.AsSpan(0, read).IndexOf(text) >= 0)
                    noted.Value = true;
                if (noted.Value)
                    await saidPassing.Task;
                await passing.Task;
                await to.GetStream().WriteAsync(buffer.AsMemory(0, read));
            }
        }
        catch (Exception e)
            when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The end of one side is that of the other.
        }
    }
}
