using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using Coffer.Hosting;
using Microsoft.AspNetCore.Connections;

namespace Coffer.Http;

/// <summary>
/// Gives on the heads of HTTP/2 requests when they are whole: HEADERS with all CONTINUATION after it. Other frames go
/// through as they come. What is not as RFC 9113 has it goes to the server's own reader at once, which refuses it.
/// </summary>
internal sealed class FrameReader(ConnectionContext connection, TimeProvider time)
    : HoldingReader(connection.Transport.Input, time)
{
    private const int Preface = 24;
    private const int FrameHead = 9;
    private const int LargestFrame = 16 * 1024; // what the server says it takes
    private const int LargestBlock = HttpLimits.LargestHead + LargestFrame;
    private const byte Headers = 1;
    private const byte Continuation = 9;
    private const byte EndHeaders = 4;

    private readonly byte[] head = new byte[FrameHead];
    private int headLength;
    private int preface = Preface;
    private int payload; // bytes of the frame that are still to come
    private long block; // bytes of the header block so far; 0 if none is open
    private bool endsBlock;
    private bool isBroken;

    protected override bool GivesUntilConsumed => true;

    protected override long Release(ref ReadOnlySequence<byte> bytes)
    {
        var (before, safe) = (HeldLength, 0L);
        var reader = new SequenceReader<byte>(bytes);
        while (!reader.End && !isBroken)
        {
            if (preface > 0)
                Skip(ref reader, ref preface);
            else if (payload > 0)
                Skip(ref reader, ref payload);
            else if (!TryReadHead(ref reader))
                break;
            if (payload == 0 && endsBlock)
                (block, endsBlock) = (0, false);
            if (preface == 0 && block == 0)
                safe = before + reader.Consumed;
        }

        return isBroken ? before + bytes.Length : safe;
    }

    // The server waits longer for what it has seen nothing of, so the connection is ended here.
    protected override ValueTask GiveUpAsync()
    {
        connection.Abort(new ConnectionAbortedException("The head of a request was not finished in time."));
        return default;
    }

    private static void Skip(ref SequenceReader<byte> reader, ref int left)
    {
        var count = (int)Math.Min(left, reader.Remaining);
        reader.Advance(count);
        left -= count;
    }

    private bool TryReadHead(ref SequenceReader<byte> reader)
    {
        var count = (int)Math.Min(FrameHead - headLength, reader.Remaining);
        reader.UnreadSequence.Slice(0, count).CopyTo(head.AsSpan(headLength));
        reader.Advance(count);
        headLength += count;
        if (headLength < FrameHead)
            return false;

        headLength = 0;
        payload = BinaryPrimitives.ReadInt32BigEndian(head) >>> 8;
        var (type, flags) = (head[3], head[4]);
        isBroken = payload > LargestFrame || (block > 0 && type != Continuation);
        if (type == Headers || block > 0)
        {
            block += FrameHead + payload;
            endsBlock = (flags & EndHeaders) != 0;
            isBroken |= block > LargestBlock;
        }

        return true;
    }
}
