using System.Buffers.Binary;
using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;

namespace Coffer.Transfer;

/// <summary>Reads a part of a back-up, and gives nothing of a frame that was changed or moved.</summary>
internal sealed class BackupReader : IDisposable
{
    private const int LongestEnvelope = BackupWriter.FrameSize + 64 + Envelope.Overhead;

    private readonly Stream from;
    private readonly byte[] hash;
    private readonly string shown;
    private readonly bool isOwner = true;
    private SealingKey? key;
    private SecretBytes? frame;
    private long number, frameAt;
    private bool isLast;
    private int read;

    private BackupReader(Stream from, BackupHeader header, byte[] hash, string shown) =>
        (this.from, Header, this.hash, this.shown, Start) = (from, header, hash, shown, from.Position);

    private BackupReader(Stream from, BackupReader other) : this(from, other.Header, other.hash, other.shown) =>
        (key, isOwner, Start) = (other.key, false, other.Start);

    public BackupHeader Header { get; }

    /// <summary>SHA-256 of the header's line.</summary>
    public byte[] Hash => hash;

    /// <summary>Where the first frame begins.</summary>
    public long Start { get; }

    /// <summary>Where the frame that is being read begins.</summary>
    public (long Number, long At) Frame => (number - 1, frameAt);

    /// <summary>Opens a file and reads its header.</summary>
    /// <exception cref="ConfigurationException">It is not such a part of a back-up.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static BackupReader Open(string path, string part)
    {
        var file = OpenFile(path);
        try
        {
            var line = new MemoryStream();
            int next;
            while ((next = file.ReadByte()) is not (-1 or '\n') && line.Length < BackupHeader.MostBytes)
                line.WriteByte((byte)next);
            var bytes = line.ToArray();
            if (next != '\n' || BackupHeader.Parse(bytes) is not { } header)
                throw new ConfigurationException($"{path} is not a back-up, or its first line was changed",
                    "Give the two files that coffer backup create made.");
            if (header.Part != part)
            {
                throw new ConfigurationException($"{path} is the {header.Part} of a back-up, not its {part}",
                    "Give FILE first, and FILE.keys with --keys.");
            }

            return new BackupReader(file, header, SHA256.HashData(bytes), path);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Asks for the key; before it nothing is read.</summary>
    /// <inheritdoc cref="BackupHeader.OpenKeyAsync" path="/exception"/>
    public async Task UnlockAsync(KeyWrappers wrappers, CancellationToken ct)
    {
        try
        {
            key = await Header.OpenKeyAsync(wrappers, ct);
        }
        catch (BackupDamagedException e)
        {
            throw Damaged(e.Message);
        }
    }

    /// <summary>Another reader of the same file, with the same key; this one has to outlive it.</summary>
    public BackupReader Again() => new(OpenFile(shown), this);

    /// <summary>Continues at a frame that was read before.</summary>
    public void MoveTo((long Number, long At) place)
    {
        from.Position = place.At;
        (number, isLast) = (place.Number, false);
        frame?.Dispose();
        (frame, read) = (null, 0);
    }

    /// <summary>Reads bytes; they may stand in several frames.</summary>
    /// <returns>False at the end, if nothing was read.</returns>
    /// <exception cref="BackupDamagedException">A frame is not as it was written, or the end is missing.</exception>
    public bool TryRead(Span<byte> to)
    {
        var isFirst = true;
        while (!to.IsEmpty)
        {
            if (frame is null || read == frame.Length)
            {
                if (isLast)
                    return isFirst ? false : throw Damaged("it ends within a row");
                NextFrame();
                continue;
            }

            var some = Math.Min(to.Length, frame.Length - read);
            frame.Span.Slice(read, some).CopyTo(to);
            read += some;
            to = to[some..];
            isFirst = false;
        }

        return true;
    }

    public BackupDamagedException Damaged(string what) => new($"{shown} is damaged: {what}");

    public void Dispose()
    {
        frame?.Dispose();
        if (isOwner)
            key?.Dispose();
        from.Dispose();
    }

    private static FileStream OpenFile(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 1 << 16);

    private void NextFrame()
    {
        frameAt = from.Position;
        Span<byte> head = stackalloc byte[sizeof(uint)];
        if (from.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length)
            throw Damaged($"it ends after frame {number}, and that is not the last: it was cut off");
        var word = BinaryPrimitives.ReadUInt32BigEndian(head);
        var (length, ends) = (word & ~BackupWriter.LastBit, (word & BackupWriter.LastBit) != 0);
        if (length > LongestEnvelope)
            throw Damaged($"frame {number + 1} was changed");
        var envelope = new byte[length];
        if (from.ReadAtLeast(envelope, envelope.Length, throwOnEndOfStream: false) < envelope.Length)
            throw Damaged($"frame {number + 1} was cut off");
        using var bound = BackupWriter.Bound(Header, hash, number, ends);
        frame?.Dispose();
        frame = Envelope.Open(key!, envelope, bound.Span)
            ?? throw Damaged($"frame {number + 1} was changed, or stands where another one was");
        (read, isLast, number) = (0, ends, number + 1);
        if (ends && from.ReadByte() != -1)
            throw Damaged("something follows its last frame");
    }
}
