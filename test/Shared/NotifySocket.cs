using System.Net.Sockets;
using System.Text;

namespace Coffer.Shared;

/// <summary>The socket of a service manager, at which a service says how it is.</summary>
internal sealed class NotifySocket : IDisposable
{
    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);

    /// <param name="path">Where; after a NUL it is a name without a file.</param>
    public NotifySocket(string path) => socket.Bind(new UnixDomainSocketEndPoint(path));

    /// <summary>Whether a datagram is there already.</summary>
    public bool HasMore => socket.Available > 0;

    /// <summary>The next datagram, or the next that begins so.</summary>
    public async Task<string> NextAsync(string begin = "")
    {
        var bytes = new byte[1_024];
        using var late = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (true)
        {
            var text = Encoding.UTF8.GetString(bytes, 0, await socket.ReceiveAsync(bytes, late.Token));
            if (text.StartsWith(begin, StringComparison.Ordinal))
                return text;
        }
    }

    public void Dispose() => socket.Dispose();
}
