using System.Buffers;
using System.IO.Pipelines;

namespace Coffer.Http;

/// <summary>Gives on the heads of HTTP/1.1 requests when they are whole, and bodies as they come.</summary>
/// <param name="inner">Where the bytes come from.</param>
/// <param name="output">Where an answer goes to a client that took too long.</param>
/// <param name="time">Measures how long a head is unfinished.</param>
internal sealed class HeadReader(PipeReader inner, PipeWriter output, TimeProvider time) : HoldingReader(inner, time)
{
    private HeadScanner scanner = new();

    /// <summary>
    /// What comes next is a head: call it when a request was answered and its body was read to its end.
    /// </summary>
    public void BeginHead()
    {
        scanner = new HeadScanner();
        IsOpen = false;
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
