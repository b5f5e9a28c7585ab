using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace Coffer.Shared;

/// <summary>
/// A pooler in transaction mode that is as unkind as one may be: each transaction of a client gets another session of
/// the server than the one before. Prepared statements it keeps for each client, as PgBouncer does since 1.21, by
/// giving the server their text again at each use. It knows no passwords and no TLS.
/// </summary>
internal sealed class SharedSessions : IAsyncDisposable
{
    private const int Kept = 6;

    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<string, Pool> pools = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<TcpClient, bool> open = [];
    private readonly CancellationTokenSource stop = new();
    private readonly Task accepting;
    private volatile int target;
    private long lingering;

    /// <param name="target">The port on loopback where PostgreSQL is.</param>
    public SharedSessions(int target)
    {
        this.target = target;
        listener.Start();
        accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>
    /// From now on new sessions are those of another server. Clients keep their connections, and learn nothing of it.
    /// </summary>
    /// <param name="to">Its port on loopback.</param>
    /// <param name="lingers">For how long sessions of the one before are lent too.</param>
    public void Switch(int to, TimeSpan lingers = default)
    {
        lingering = Environment.TickCount64 + (long)lingers.TotalMilliseconds;
        target = to;
    }

    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        listener.Dispose();
        foreach (var client in open.Keys)
            client.Dispose();
        await accepting;
        stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await listener.AcceptTcpClientAsync(stop.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // stopped
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        open[client] = true;
        client.NoDelay = true;
        Session? session = null;
        Pool? pool = null;
        try
        {
            var stream = client.GetStream();
            if (await StartupAsync(stream) is not { } startup)
                return;
            pool = pools.GetOrAdd(Encoding.Latin1.GetString(startup), _ => new Pool(startup));
            Interlocked.Increment(ref pool.Clients);
            session = await SessionAsync(pool, null);
            await stream.WriteAsync(session.Greeting);
            Release(session, pool);
            session = null;
            var statements = new Dictionary<string, byte[]>(StringComparer.Ordinal);
            Session? last = null;
            while (true)
            {
                var asked = new List<Message>();
                do
                    asked.Add(await Message.ReadAsync(stream));
                while (asked[^1].Type is not ('S' or 'Q' or 'X' or 'H'));
                if (asked[^1].Type == 'X')
                    return; // what is left of a transaction ends with its session
                session ??= await SessionAsync(pool, last);
                last = session;
                var status = await session.AskAsync(asked, statements, stream);
                if (status != 'I')
                    continue;
                Release(session, pool);
                session = null;
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException
            or InvalidOperationException)
        {
            // The end of one side is that of the other.
        }
        finally
        {
            session?.Dispose();
            if (pool is not null && Interlocked.Decrement(ref pool.Clients) == 0)
            {
                while (pool.Idle.TryDequeue(out var left))
                    left.Dispose();
            }

            open.TryRemove(client, out _);
            client.Dispose();
        }
    }

    // The one of the transaction before never.
    private async Task<Session> SessionAsync(Pool pool, Session? last)
    {
        for (var i = pool.Idle.Count; i > 0 && pool.Idle.TryDequeue(out var session); i--)
        {
            if (session != last && MayUse(session))
                return session;
            if (session == last && MayUse(session))
                pool.Idle.Enqueue(session);
            else
                session.Dispose();
        }

        return await Session.OpenAsync(target, pool.Startup);
    }

    private void Release(Session session, Pool pool)
    {
        if (MayUse(session) && pool.Idle.Count < Kept)
            pool.Idle.Enqueue(session);
        else
            session.Dispose();
    }

    private bool MayUse(Session session) => session.IsAlive
        && (session.Target == target || Environment.TickCount64 < Volatile.Read(ref lingering));

    // The sessions of those who began alike: same database, same role.
    private sealed class Pool(byte[] startup)
    {
        public int Clients;

        public byte[] Startup => startup;

        public ConcurrentQueue<Session> Idle { get; } = new();
    }

    private static async Task<byte[]?> StartupAsync(NetworkStream stream)
    {
        while (true)
        {
            var length = new byte[4];
            await stream.ReadExactlyAsync(length);
            var body = new byte[BinaryPrimitives.ReadInt32BigEndian(length) - 4];
            await stream.ReadExactlyAsync(body);
            switch (BinaryPrimitives.ReadInt32BigEndian(body))
            {
                case 80877103 or 80877104: // for TLS or GSS: no
                    await stream.WriteAsync("N"u8.ToArray());
                    continue;
                case 80877102: // to cancel: nobody's
                    return null;
                default:
                    return [.. length, .. body];
            }
        }
    }

    private readonly record struct Message(char Type, byte[] Body)
    {
        public static async Task<Message> ReadAsync(NetworkStream stream)
        {
            var head = new byte[5];
            await stream.ReadExactlyAsync(head);
            var body = new byte[BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(1)) - 4];
            await stream.ReadExactlyAsync(body);
            return new Message((char)head[0], body);
        }

        public byte[] Whole()
        {
            var whole = new byte[5 + Body.Length];
            whole[0] = (byte)Type;
            BinaryPrimitives.WriteInt32BigEndian(whole.AsSpan(1), Body.Length + 4);
            Body.CopyTo(whole, 5);
            return whole;
        }

        // A text up to its NUL, and where the next begins.
        public (string Text, int Next) TextAt(int from)
        {
            var end = Array.IndexOf(Body, (byte)0, from);
            return (Encoding.UTF8.GetString(Body, from, end - from), end + 1);
        }
    }

    private sealed class Session(TcpClient server, int target, byte[] greeting) : IDisposable
    {
        public int Target => target;

        /// <summary>What a client that begins here is to get, with the number of no session.</summary>
        public byte[] Greeting => greeting;

        /// <summary>A session that says something by itself says that it ends.</summary>
        public bool IsAlive => server.Connected && !server.Client.Poll(0, SelectMode.SelectRead);

        public static async Task<Session> OpenAsync(int target, byte[] startup)
        {
            var server = new TcpClient { NoDelay = true };
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, target);
                await server.GetStream().WriteAsync(startup);
                var greeting = new List<byte>();
                while (true)
                {
                    var message = await Message.ReadAsync(server.GetStream());
                    greeting.AddRange((message.Type == 'K'
                        ? new Message('K', RandomNumberGenerator.GetBytes(8))
                        : message).Whole());
                    if (message.Type == 'Z')
                        return new Session(server, target, [.. greeting]);
                    if (message.Type == 'E')
                        throw new IOException("the server refuses the session");
                }
            }
            catch
            {
                server.Dispose();
                throw;
            }
        }

        /// <summary>Passes on what a client asks up to its end, and the answers.</summary>
        /// <returns>What the server says of the transaction: I, T or E.</returns>
        public async Task<char> AskAsync(
            List<Message> asked, Dictionary<string, byte[]> statements, NetworkStream client)
        {
            var (sent, hidden) = (new List<byte>(), new Queue<bool>());
            foreach (var message in asked)
                Add(message, statements, sent, hidden);
            await server.GetStream().WriteAsync(sent.ToArray());
            if (asked[^1].Type == 'H')
                throw new InvalidOperationException("a flush is not passed on: nothing of Coffer sends one");
            while (true)
            {
                var answer = await Message.ReadAsync(server.GetStream());
                // What was parsed again answers to nobody's question.
                if (answer.Type == '1' && hidden.Dequeue())
                    continue;
                await client.WriteAsync(answer.Whole());
                if (answer.Type == 'Z')
                    return (char)answer.Body[0];
            }
        }

        public void Dispose() => server.Dispose();

        // Each statement is the unnamed one of the server, and is parsed again before each use.
        private static void Add(
            Message message, Dictionary<string, byte[]> statements, List<byte> sent, Queue<bool> hidden)
        {
            switch (message.Type)
            {
                case 'P':
                    var (name, text) = message.TextAt(0);
                    statements[name] = message.Body[text..];
                    Parse(statements[name], sent);
                    hidden.Enqueue(false);
                    return;
                case 'B':
                    var (_, at) = message.TextAt(0);
                    var (used, rest) = message.TextAt(at);
                    Again(used, statements, sent, hidden);
                    sent.AddRange(new Message('B', [.. message.Body[..at], 0, .. message.Body[rest..]]).Whole());
                    return;
                case 'D' or 'C' when message.Body[0] == 'S':
                    if (message.Type == 'D')
                        Again(message.TextAt(1).Text, statements, sent, hidden);
                    else
                        statements.Remove(message.TextAt(1).Text);
                    sent.AddRange(new Message(message.Type, [(byte)'S', 0]).Whole());
                    return;
                default:
                    sent.AddRange(message.Whole());
                    return;
            }
        }

        private static void Again(
            string name, Dictionary<string, byte[]> statements, List<byte> sent, Queue<bool> hidden)
        {
            if (!statements.TryGetValue(name, out var statement))
                return;
            Parse(statement, sent);
            hidden.Enqueue(true);
        }

        private static void Parse(byte[] statement, List<byte> sent) =>
            sent.AddRange(new Message('P', [0, .. statement]).Whole());
    }
}
