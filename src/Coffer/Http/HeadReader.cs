using System.Buffers;
using System.IO.Pipelines;
using System.Text;

namespace Coffer.Http;

/// <summary>
/// Gives on the heads of HTTP/1.1 requests when they are whole, and bodies as they come. A length that RFC 9110 does
/// not know is answered 400 here: the framework accepts a plus sign before it, and a proxy in front may not.
/// </summary>
/// <param name="inner">Where the bytes come from.</param>
/// <param name="output">Where an answer goes to a client that took too long.</param>
/// <param name="time">Measures how long a head is unfinished.</param>
internal sealed class HeadReader(PipeReader inner, PipeWriter output, TimeProvider time) : HoldingReader(inner, time)
{
    private HeadScanner scanner = new();
    private bool isChecked; // the head that was given last

    /// <summary>
    /// What comes next is a head: call it when a request was answered and its body was read to its end.
    /// </summary>
    public void BeginHead()
    {
        scanner = new HeadScanner();
        IsOpen = isChecked = false;
    }

    protected override long Release(ref ReadOnlySequence<byte> bytes)
    {
        if (!IsOpen)
        {
            bytes = scanner.SkipEmptyLines(bytes);
            IsOpen = scanner.Scan(bytes);
        }

        return IsOpen ? HeldLength + bytes.Length : 0;
    }

    protected override bool IsRefused(in ReadOnlySequence<byte> whole)
    {
        if (isChecked || !IsOpen)
            return false;
        isChecked = true;
        // Hardly a head has one at all.
        if (whole.PositionOf((byte)'+') is null || !HasSignedLength(whole))
            return false;
        output.Write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8);
        _ = output.FlushAsync().AsTask();
        return true;
    }

    private static bool HasSignedLength(in ReadOnlySequence<byte> head)
    {
        var reader = new SequenceReader<byte>(head);
        while (reader.TryReadTo(out ReadOnlySequence<byte> line, (byte)'\n') && line.Length > 1)
        {
            const int Longest = 256; // of a name, a colon, white space and a number
            if (line.Length > Longest)
                continue;
            var text = Encoding.ASCII.GetString(line);
            if (text.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)
                && text.Contains('+', StringComparison.Ordinal))
                return true;
        }

        return false;
    }

    // Who has sent nothing of a request gets no answer to it.
    protected override async ValueTask GiveUpAsync()
    {
        if (HeldLength > 0)
        {
            await output.WriteAsync(
                "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8.ToArray());
        }
    }
}
