using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using Coffer.Hosting;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Coffer.Http;

/// <summary>
/// What a connection passes before the server's own reader: a seat, and then, for each request, that its head is whole.
/// A reserve of seats stays for health and the management plane: who gets one of those has one request.
/// </summary>
/// <param name="seats">The seats of an address to listen at.</param>
/// <param name="reserve">What is kept beside them.</param>
/// <param name="mayUseReserve">Whether a request's path is one that the reserve is for.</param>
/// <param name="time">Measures how long heads and idle connections may take.</param>
/// <param name="observers">Who is told of what is refused here.</param>
internal sealed class ConnectionGate(
    Seats seats, Seats reserve, Func<string, bool> mayUseReserve, TimeProvider time, Observers observers)
{
    private const int LongestReservePath = 1024;

    /// <summary>
    /// After so many requests of a connection others have a turn: a client may send thousands at once, which one thread
    /// would answer in a row.
    /// </summary>
    private const int MostInARow = 16;

    private static readonly byte[] NoRoom =
    [
        .. "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"u8,
        .. "Retry-After: 1\r\nConnection: close\r\n\r\n"u8,
    ];

    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(5);

    /// <summary>First of all, before TLS: whether there is room.</summary>
    public ConnectionDelegate Admit(ConnectionDelegate next) => async connection =>
    {
        if ((seats.TryTake(connection) ?? reserve.TryTake(connection)) is not { } seat)
        {
            connection.Abort(new ConnectionAbortedException("There is no room for another connection."));
            Refuse(EarlyRefusal.NoRoom, connection);
            return;
        }

        connection.Features.Set(seat);
        observers.Connect(connection.ConnectionId, AddressOf(connection));
        try
        {
            await next(connection);
        }
        catch (Exception e) when (e is ConnectionAbortedException or ConnectionResetException)
        {
            // It was closed to make room, or is gone: nobody's fault, and no line of the log.
        }
        finally
        {
            if (!seat.IsOpen)
                Refuse(EarlyRefusal.TlsFailed, connection);
            observers.Disconnect(connection.ConnectionId);
            seat.FreeWhenClosed(time, connection.ConnectionClosed);
        }
    };

    /// <summary>After TLS: the first head is waited for before the server makes anything for the connection.</summary>
    public ConnectionDelegate Hold(ConnectionDelegate next) => async connection =>
    {
        var seat = connection.Features.Get<Seat>()!;
        var transport = connection.Transport;
        var isHttp2 = connection.Features.Get<ITlsApplicationProtocolFeature>()?.ApplicationProtocol
            .Span.SequenceEqual("h2"u8) is true;
        HoldingReader reader = isHttp2
            ? new FrameReader(connection, time)
            : seat.Heads = new HeadReader(transport.Input, transport.Output, time);
        seat.IsOpen = true;
        try
        {
            var first = await WaitAsync(connection, reader);
            if (first.IsEmpty)
                return;
            if (seat.IsReserve && !MayUseReserve(first))
            {
                await transport.Output.WriteAsync(NoRoom);
                Refuse(EarlyRefusal.NoRoom, connection);
                return;
            }

            connection.Transport = new Held(reader, transport.Output);
            await next(connection);
        }
        finally
        {
            if (reader.Refused is { } refused)
                Refuse(refused, connection);
            reader.End();
            connection.Transport = transport;
        }
    };

    /// <summary>Around each request: what is under way is known, and what follows a request is a head again.</summary>
    public static async Task RunAsync(HttpContext context, RequestDelegate next)
    {
        if (context.Features.Get<Seat>() is not { } seat)
        {
            await next(context);
            return;
        }

        if (seat.IsReserve)
            context.Response.Headers.Connection = "close";
        var count = seat.Begin();
        try
        {
            if (count % MostInARow == 0)
                await Task.Yield();
            await next(context);
        }
        finally
        {
            seat.End();
        }

        if (seat.Heads is { } heads && await IsReadToItsEndAsync(context))
            heads.BeginHead();
    }

    private void Refuse(EarlyRefusal kind, ConnectionContext connection) =>
        observers.Tell(kind, AddressOf(connection));

    private static IPAddress? AddressOf(ConnectionContext connection) =>
        (connection.RemoteEndPoint as IPEndPoint)?.Address;

    private static async Task<ReadOnlySequence<byte>> WaitAsync(ConnectionContext connection, HoldingReader reader)
    {
        var lifetime = connection.Features.Get<IConnectionLifetimeNotificationFeature>();
        await using var stops = (lifetime?.ConnectionClosedRequested ?? default)
            .UnsafeRegister(static state => ((PipeReader)state!).CancelPendingRead(), reader);
        return await reader.WaitAsync(HttpLimits.IdleTimeout);
    }

    // An answer may leave before the body was read: the rest of it is no head, and skipped as the server would do.
    private static async Task<bool> IsReadToItsEndAsync(HttpContext context)
    {
        if (!context.Features.GetRequiredFeature<IHttpRequestBodyDetectionFeature>().CanHaveBody)
            return true;
        var body = context.Request.BodyReader;
        try
        {
            if (body.TryRead(out var read))
            {
                body.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted)
                    return true;
            }

            await context.Response.CompleteAsync();
            using var late = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
            late.CancelAfter(DrainTimeout);
            while (!read.IsCompleted)
            {
                read = await body.ReadAsync(late.Token);
                body.AdvanceTo(read.Buffer.End);
            }

            return true;
        }
        catch (OperationCanceledException)
        {
            context.Abort(); // it comes too slowly
            return false;
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            return false; // it is too long, or not HTTP: the server ends the connection when the answer has left
        }
    }

    private bool MayUseReserve(in ReadOnlySequence<byte> head)
    {
        var reader = new SequenceReader<byte>(head);
        return reader.TryReadTo(out ReadOnlySequence<byte> _, (byte)' ')
            && reader.TryReadToAny(out ReadOnlySequence<byte> path, " ?\r\n"u8)
            && path.Length <= LongestReservePath
            && mayUseReserve(System.Text.Encoding.ASCII.GetString(path.ToArray()));
    }

    private sealed record Held(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
