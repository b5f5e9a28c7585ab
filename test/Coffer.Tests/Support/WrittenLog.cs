using System.Text;
using System.Text.Json;

namespace Coffer.Tests.Support;

/// <summary>What a server's log is written to: every byte of it.</summary>
internal class WrittenLog : Stream
{
    private readonly MemoryStream written = new();

    /// <summary>What is written so far; the end of a line may be missing yet.</summary>
    public string Text
    {
        get
        {
            lock (written)
                return Encoding.UTF8.GetString(written.ToArray());
        }
    }

    /// <summary>The whole lines.</summary>
    public string[] Lines => Text.Split('\n')[..^1];

    /// <summary>The whole lines, each of which is an object.</summary>
    public JsonElement[] Objects => [.. Lines.Select(line => JsonElement.Parse(line))];

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Write(byte[] buffer, int offset, int count)
    {
        lock (written)
            written.Write(buffer, offset, count);
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}
