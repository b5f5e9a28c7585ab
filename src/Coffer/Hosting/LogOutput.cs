namespace Coffer.Hosting;

/// <summary>
/// Where lines of the log wait to be written, in their order, by a thread of their own. Nobody waits for whoever reads
/// the log: what does not fit is left out, and a line says how many were. What cannot be written is lost.
/// </summary>
internal sealed class LogOutput : IDisposable
{
    /// <summary>
    /// Bytes that may wait, and how many of them lines about requests may use: the others are worth more.
    /// </summary>
    public const int Most = 256 * 1024, MostOfRequests = Most / 4 * 3;

    private const int LargestWrite = 64 * 1024;

    /// <summary>How long a server that ends waits for whoever reads.</summary>
    private static readonly TimeSpan Farewell = TimeSpan.FromMilliseconds(1_500);

    private readonly Stream to;
    private readonly Func<long, byte[]> leftOut;
    private readonly object changing = new();
    private readonly byte[] waiting = new byte[Most];
    private readonly Thread writer;
    private int length;
    private long missing;
    private bool isEnding;

    /// <param name="to">Where they go.</param>
    /// <param name="leftOut">The line that says how many were left out.</param>
    public LogOutput(Stream to, Func<long, byte[]> leftOut)
    {
        (this.to, this.leftOut) = (to, leftOut);
        writer = new Thread(Run) { IsBackground = true, Name = "log" };
        writer.Start();
    }

    /// <param name="line">A line with its end.</param>
    /// <param name="isOfRequest">Whether it is about a request, of which there may be many.</param>
    public void Write(ReadOnlySpan<byte> line, bool isOfRequest)
    {
        lock (changing)
        {
            if (isEnding)
                return;
            if (length + line.Length > (isOfRequest ? MostOfRequests : Most))
            {
                missing++;
                return;
            }

            if (missing > 0 && !TryCount(line.Length))
            {
                missing++;
                return;
            }

            Add(line);
            Monitor.Pulse(changing);
        }
    }

    /// <summary>What waits is written, unless nobody reads it.</summary>
    public void Dispose()
    {
        lock (changing)
        {
            isEnding = true;
            Monitor.Pulse(changing);
        }

        writer.Join(Farewell);
    }

    private void Run()
    {
        var batch = new byte[LargestWrite];
        while (Take(batch) is > 0 and var count)
        {
            try
            {
                to.Write(batch, 0, count);
                to.Flush();
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or UnauthorizedAccessException)
            {
                // A full disk, or nobody there: the server serves on.
            }
        }
    }

    // As many bytes as are there; none when it is over.
    private int Take(byte[] batch)
    {
        lock (changing)
        {
            if (length == 0 && missing > 0)
                TryCount(0);
            while (length == 0 && !isEnding)
                Monitor.Wait(changing);
            var count = Math.Min(length, batch.Length);
            waiting.AsSpan(0, count).CopyTo(batch);
            waiting.AsSpan(count, length - count).CopyTo(waiting);
            length -= count;
            return count;
        }
    }

    private bool TryCount(int after)
    {
        var line = leftOut(missing);
        if (length + line.Length + after > Most)
            return false;
        Add(line);
        missing = 0;
        return true;
    }

    private void Add(ReadOnlySpan<byte> line)
    {
        line.CopyTo(waiting.AsSpan(length));
        length += line.Length;
    }
}
