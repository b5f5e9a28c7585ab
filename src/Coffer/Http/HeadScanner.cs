using System.Buffers;
using System.Buffers.Binary;
using Coffer.Hosting;

namespace Coffer.Http;

/// <summary>
/// Looks for the end of an HTTP/1.1 head. It decides nothing: what is no head, or a larger one than the server reads,
/// goes straight to the server's own parser, which refuses it.
/// </summary>
internal struct HeadScanner()
{
    // Token characters of RFC 9110, of which a method is made.
    private static readonly SearchValues<byte> Method =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    private long line; // bytes of the line so far, without its line feed
    private long headers; // bytes after the request line
    private bool isPastRequestLine;
    private bool hasBegun;
    private UInt128 tail; // the last 16 bytes of the line

    /// <summary>What comes before a request line may be empty lines, which count for nothing.</summary>
    public readonly ReadOnlySequence<byte> SkipEmptyLines(in ReadOnlySequence<byte> bytes)
    {
        if (hasBegun)
            return bytes;
        var reader = new SequenceReader<byte>(bytes);
        return reader.AdvancePastAny((byte)'\r', (byte)'\n') > 0 ? reader.UnreadSequence : bytes;
    }

    /// <summary>Looks at the next bytes. True if the head is whole, or must be refused.</summary>
    public bool Scan(in ReadOnlySequence<byte> bytes)
    {
        // Mostly a head comes whole, in one piece, and then an empty line in it is all that has to be found.
        if (!hasBegun && bytes.FirstSpan.IndexOf("\n\r\n"u8) >= 0)
            return hasBegun = true;
        foreach (var memory in bytes)
        {
            if (Scan(memory.Span))
                return true;
        }

        return isPastRequestLine ? headers > HttpLimits.LargestHead : line >= Pipeline.LargestBody;
    }

    private bool Scan(ReadOnlySpan<byte> bytes)
    {
        if (!hasBegun && bytes.Length > 0)
        {
            hasBegun = true;
            if (!Method.Contains(bytes[0]))
                return true;
        }

        while (bytes.Length > 0)
        {
            var end = bytes.IndexOf((byte)'\n');
            Count(end < 0 ? bytes : bytes[..end]);
            if (end < 0)
                return false;
            bytes = bytes[(end + 1)..];
            var isEmpty = line == 0 || (line == 1 && (byte)tail == '\r');
            if (isEmpty || (!isPastRequestLine && !EndsInVersion()))
                return true;
            headers += isPastRequestLine ? 1 : 0;
            (isPastRequestLine, line, tail) = (true, 0, 0);
        }

        return false;
    }

    private void Count(ReadOnlySpan<byte> bytes)
    {
        line += bytes.Length;
        headers += isPastRequestLine ? bytes.Length : 0;
        foreach (var b in bytes.Length > 16 ? bytes[^16..] : bytes)
            tail = (tail << 8) | b;
    }

    // " HTTP/1.0" or " HTTP/1.1": a line without it is refused whatever comes after it.
    private readonly bool EndsInVersion()
    {
        var text = (byte)tail == '\r' ? tail >> 8 : tail;
        return (byte)text is (byte)'0' or (byte)'1'
            && (ulong)(text >> 8) == BinaryPrimitives.ReadUInt64BigEndian(" HTTP/1."u8);
    }
}
