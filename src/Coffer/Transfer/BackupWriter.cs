using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;

namespace Coffer.Transfer;

/// <summary>
/// Writes a part of a back-up: the header's line, then frames, each an envelope with its length before it. A frame is
/// bound to its back-up, part, place, header, and whether it is the last.
/// </summary>
internal sealed class BackupWriter : IDisposable
{
    /// <summary>Bytes of plaintext in a frame, but for the last: what is held in memory.</summary>
    public const int FrameSize = 256 * 1024;

    /// <summary>The bit of a frame's length that says that no other comes.</summary>
    public const uint LastBit = 0x8000_0000;

    private readonly Stream to;
    private readonly SealingKey key;
    private readonly BackupHeader header;
    private readonly SecretBytes frame = SecretBytes.Rent(FrameSize);
    private long number;
    private int used;

    public BackupWriter(Stream to, BackupHeader header, SealingKey key)
    {
        (this.to, this.header, this.key) = (to, header, key);
        var line = header.ToLine();
        Hash = SHA256.HashData(line);
        to.Write(line);
        to.WriteByte((byte)'\n');
        Written = line.Length + 1;
    }

    /// <summary>SHA-256 of the header's line.</summary>
    public byte[] Hash { get; }

    /// <summary>Bytes that were written.</summary>
    public long Written { get; private set; }

    public void Write(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (used == FrameSize)
                Flush(isLast: false);
            var some = Math.Min(bytes.Length, FrameSize - used);
            bytes[..some].CopyTo(frame.Span[used..]);
            used += some;
            bytes = bytes[some..];
        }
    }

    /// <summary>What follows stands at the beginning of a frame, so that it is found without what is before.</summary>
    public void BeginFrame()
    {
        if (used > 0)
            Flush(isLast: false);
    }

    public void Finish() => Flush(isLast: true);

    public void Dispose()
    {
        frame.Dispose();
        key.Dispose();
    }

    /// <summary>What a frame is bound to.</summary>
    public static AssociatedData Bound(BackupHeader header, byte[] hash, long number, bool isLast)
    {
        var bound = SealedKind.BackupFrame.Bind();
        bound.Add(header.Backup);
        bound.Add(header.Part);
        bound.Add(number);
        bound.Add(isLast ? 1 : 0);
        bound.Add(hash);
        return bound;
    }

    private void Flush(bool isLast)
    {
        using var bound = Bound(header, Hash, number++, isLast);
        var envelope = Envelope.Seal(SealedKind.BackupFrame, key, frame.Span[..used], bound.Span);
        Span<byte> length = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(length, (uint)envelope.Length | (isLast ? LastBit : 0));
        to.Write(length);
        to.Write(envelope);
        Written += length.Length + envelope.Length;
        used = 0;
    }
}
