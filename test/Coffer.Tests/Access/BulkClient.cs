using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Coffer.Tests.Access;

/// <summary>A request as it is put on the wire.</summary>
/// <param name="Method">The method.</param>
/// <param name="Target">Path and query, sent as they are.</param>
/// <param name="Headers">Whole lines, each with its line end.</param>
/// <param name="Body">A form, or null.</param>
internal sealed record BulkRequest(string Method, string Target, string Headers = "", string? Body = null);

/// <summary>What came back: the head without the lines that differ from answer to answer, and the body.</summary>
internal sealed record BulkAnswer(int Status, string Head, string Body);

/// <summary>
/// HTTP for very many small requests: bytes on a few sockets that stay open, because a client that does more takes more
/// time than the server. It reads only answers that say how long they are, which those of the API do.
/// </summary>
internal sealed class BulkClient(Uri url, IPAddress? from = null) : IDisposable
{
    private const int Connections = 24;

    private readonly Lock taking = new();
    private readonly Stack<Connection> idle = [];

    public async Task<BulkAnswer> AskAsync(BulkRequest request)
    {
        var connection = Take();
        var answer = await connection.AskAsync(request);
        Give(connection);
        return answer;
    }

    /// <summary>Makes requests 0 to <paramref name="count"/> - 1, many at a time, and hands on each answer.</summary>
    public Task AskAllAsync(int count, Func<int, BulkRequest> request, Action<int, BulkAnswer> answered)
    {
        var next = -1;
        return Task.WhenAll(Enumerable.Range(0, Math.Min(count, Connections)).Select(_ => Task.Run(async () =>
        {
            var connection = Take();
            while (Interlocked.Increment(ref next) is var i && i < count)
                answered(i, await connection.AskAsync(request(i)));
            Give(connection);
        })));
    }

    public void Dispose()
    {
        foreach (var connection in idle)
            connection.Dispose();
    }

    private Connection Take()
    {
        lock (taking)
            return idle.TryPop(out var connection) ? connection : new Connection(url, from);
    }

    private void Give(Connection connection)
    {
        lock (taking)
            idle.Push(connection);
    }

    private sealed class Connection(Uri url, IPAddress? from) : IDisposable
    {
        private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
        };
        private byte[] buffer = new byte[64 * 1024];
        private int filled;

        public async ValueTask<BulkAnswer> AskAsync(BulkRequest request)
        {
            if (!socket.Connected)
            {
                if (from is not null)
                    socket.Bind(new IPEndPoint(from, 0));
                await socket.ConnectAsync(IPAddress.Parse(url.Host), url.Port);
            }

            var form = request.Body is { } body
                ? "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
                    + $"{Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}"
                : "\r\n";
            await socket.SendAsync(
                Encoding.UTF8.GetBytes(
                    $"{request.Method} {request.Target} HTTP/1.1\r\nHost: {url.Authority}\r\n{request.Headers}{form}"));

            filled = 0;
            int end;
            while ((end = buffer.AsSpan(0, filled).IndexOf("\r\n\r\n"u8)) < 0)
                await ReceiveAsync(request);
            var lines = Encoding.ASCII.GetString(buffer, 0, end).Split("\r\n");
            var length = request.Method == "HEAD" ? 0 : int.Parse(
                lines.Single(line => line.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase))[
                    "Content-Length:".Length..], CultureInfo.InvariantCulture);
            while (filled < end + 4 + length)
                await ReceiveAsync(request);
            var head = string.Join(
                '\n',
                lines.Where(
                    line =>
                        !line.StartsWith("Date:", StringComparison.Ordinal)
                            && !line.StartsWith("Request-Id:", StringComparison.Ordinal)));
            var answer = new BulkAnswer(int.Parse(lines[0].AsSpan(9, 3), CultureInfo.InvariantCulture), head,
                Encoding.UTF8.GetString(buffer, end + 4, length));
            AnswerCheck.RequireOnce(request.Method, request.Target, answer.Status, answer.Body);
            return answer;
        }

        public void Dispose() => socket.Dispose();

        private async ValueTask ReceiveAsync(BulkRequest request)
        {
            if (filled == buffer.Length)
                Array.Resize(ref buffer, 2 * buffer.Length);
            var read = await socket.ReceiveAsync(buffer.AsMemory(filled));
            if (read == 0)
                throw new IOException(
                    $"The server closed the connection instead of answering {request.Method} {request.Target}");
            filled += read;
        }
    }
}
