using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Coffer.Http;

/// <summary>A connection's place among those of its address to listen at.</summary>
internal sealed class Seat(Seats seats, ConnectionContext connection, IPAddress owner, bool isExempt)
{
    private static long uses;

    private readonly Lock free = new();
    private ITimer? timer;
    private bool isFree;
    private int underWay;
    private int count;
    private long lastUse = Interlocked.Increment(ref uses);

    /// <summary>Who is connected: an address, or of IPv6 a network of one client.</summary>
    public IPAddress Owner => owner;

    /// <summary>Whether it is a proxy's, behind which are many clients.</summary>
    public bool IsExempt => isExempt;

    /// <summary>Whether it is one of those that are kept for health and the management plane.</summary>
    public bool IsReserve => seats.IsReserve;

    /// <summary>Whether requests can be told from each other yet: not while TLS is agreed on.</summary>
    public bool IsOpen { get; set; }

    /// <summary>What reads the heads of an HTTP/1.1 connection; null on HTTP/2, and before it is known.</summary>
    public HeadReader? Heads { get; set; }

    /// <summary>Whether a request is being answered. Such a connection is never closed to make room.</summary>
    public bool IsUnderWay => Volatile.Read(ref underWay) > 0;

    /// <summary>Greater is later: when a request last began or ended here, or the connection was made.</summary>
    public long LastUse => Volatile.Read(ref lastUse);

    /// <summary>A request begins.</summary>
    /// <returns>How many have begun on the connection; on HTTP/2, where several may at once, about so many.</returns>
    public int Begin()
    {
        Interlocked.Increment(ref underWay);
        Volatile.Write(ref lastUse, Interlocked.Increment(ref uses));
        return ++count;
    }

    /// <summary>A request was answered.</summary>
    public void End()
    {
        Volatile.Write(ref lastUse, Interlocked.Increment(ref uses));
        Interlocked.Decrement(ref underWay);
    }

    /// <summary>
    /// Closes it to make room, as the server does when it stops: what has just begun is still answered. What has not
    /// gone after that is cut off by <see cref="CutOff"/>.
    /// </summary>
    public void Close()
    {
        if (IsOpen && connection.Features.Get<IConnectionLifetimeNotificationFeature>() is { } lifetime)
            lifetime.RequestClose();
        else
            CutOff("The connection was closed to make room.");
    }

    /// <summary>Ends it at once, whatever it does.</summary>
    public void CutOff(string reason) => connection.Abort(new ConnectionAbortedException(reason));

    /// <summary>Ends it after a while, if it is still there then and no request is under way.</summary>
    public void CutOffAfter(TimeSpan patience, TimeProvider time)
    {
        lock (free)
        {
            if (isFree)
                return;
            timer ??= time.CreateTimer(
                static state => ((Seat)state!).BeLate(), this, patience, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>
    /// Nothing is left to do on the connection: it frees its place when it is closed, which it is at once unless the
    /// other end does not read what is still to be sent.
    /// </summary>
    public void FreeWhenClosed(TimeProvider time, CancellationToken closed)
    {
        closed.UnsafeRegister(static state => ((Seat)state!).Free(), this);
        CutOffAfter(Seats.Patience, time);
    }

    private void BeLate()
    {
        if (!IsUnderWay)
        {
            CutOff("The connection did not end in time.");
            return;
        }

        lock (free)
            timer?.Change(Seats.Patience, Timeout.InfiniteTimeSpan);
    }

    private void Free()
    {
        lock (free)
        {
            if (isFree)
                return;
            isFree = true;
            timer?.Dispose();
        }

        seats.Free(this);
    }
}
