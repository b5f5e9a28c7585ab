using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Coffer.Tests.Support;

/// <summary>A connection from an address of our choice, of which a test says every byte.</summary>
internal sealed class RawConnection : IDisposable
{
    private const string Get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    private readonly Socket socket =
        new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

    public NetworkStream Stream { get; private set; } = null!;

    /// <param name="url">Where to connect to.</param>
    /// <param name="last">The last part of the address to connect from: 127.0.0.<paramref name="last"/>.</param>
    public static async Task<RawConnection> OpenAsync(Uri url, int last = 1)
    {
        var connection = new RawConnection();
        try
        {
            connection.socket.Bind(new IPEndPoint(IPAddress.Parse($"127.0.0.{last}"), 0));
            await connection.socket.ConnectAsync(IPAddress.Parse(url.Host), url.Port);
            connection.Stream = new NetworkStream(connection.socket);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Connects as often as it can; those that are closed while they are made are not among them.</summary>
    public static async Task<List<RawConnection>> OpenManyAsync(Uri url, int last, int count)
    {
        var connections = new List<RawConnection>();
        for (; count > 0; count--)
        {
            try
            {
                connections.Add(await OpenAsync(url, last));
            }
            catch (SocketException)
            {
                // closed as soon as it was accepted
            }
        }

        return connections;
    }

    /// <summary>Connects and asks once, so that the connection is known to be accepted.</summary>
    public static async Task<RawConnection> UsedAsync(Uri url, int last = 1)
    {
        var connection = await OpenAsync(url, last);
        Assert.Equal(200, await connection.AskAsync());
        return connection;
    }

    public async Task SendAsync(string text) => await Stream.WriteAsync(Encoding.Latin1.GetBytes(text));

    /// <summary>Sends a request and gives the status of its answer, or 0 if the connection was closed.</summary>
    public async Task<int> AskAsync(string request = Get)
    {
        try
        {
            await SendAsync(request);
            return await StatusAsync();
        }
        catch (IOException)
        {
            return 0;
        }
    }

    /// <summary>
    /// The status of the answer that comes, which is read with its body; 0 if the connection was closed.
    /// </summary>
    public async Task<int> StatusAsync()
    {
        var text = new StringBuilder();
        var buffer = new byte[4096];
        using var late = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (!IsWhole(text.ToString()))
        {
            var count = 0;
            try
            {
                count = await Stream.ReadAsync(buffer, late.Token);
            }
            catch (IOException)
            {
                // reset is closed too
            }

            if (count == 0)
                return 0;
            text.Append(Encoding.Latin1.GetString(buffer, 0, count));
        }

        return int.Parse(text.ToString(9, 3));
    }

    /// <summary>Whether the other end has closed it within a time.</summary>
    public async Task<bool> IsClosedAsync(TimeSpan within)
    {
        using var late = new CancellationTokenSource(within);
        try
        {
            return await Stream.ReadAsync(new byte[1], late.Token) == 0;
        }
        catch (IOException)
        {
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        Stream?.Dispose();
        socket.Dispose();
    }

    private static bool IsWhole(string text)
    {
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
            return false;
        var length = text[..end].Split("\r\n")
            .FirstOrDefault(line => line.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase));
        return text.Length - end - 4 >= (length is null ? 0 : int.Parse(length.Split(':')[1]));
    }
}
