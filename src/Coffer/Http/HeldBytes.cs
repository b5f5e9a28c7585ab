using System.Buffers;
using System.Security.Cryptography;

namespace Coffer.Http;

/// <summary>
/// Bytes of a client that are kept until what they begin is whole. They may arrive a byte at a time, so they are kept
/// in chunks of our own, filled to the last byte: they cost what they are and less than 4 KiB more. They are cleared
/// when they are let go, for a head has a key in it.
/// </summary>
internal sealed class HeldBytes
{
    private const int SmallestChunk = 128;
    private const int LargestChunk = 4 * 1024; // as large as a block of the server's pipes
    private const int MostWaste = 1024;

    private readonly List<byte[]> chunks = [];
    private int used; // of the last chunk

    public long Length { get; private set; }

    /// <summary>How many bytes of memory that takes.</summary>
    public long Cost { get; private set; }

    /// <summary>
    /// Whether bytes lie so close in the blocks of a pipe that keeping them there costs little more than they do.
    /// </summary>
    public static bool AreDense(in ReadOnlySequence<byte> bytes)
    {
        var blocks = 0;
        foreach (var memory in bytes)
            blocks += memory.Length > 0 ? 1 : 0;
        return (blocks * (long)LargestChunk) - bytes.Length <= MostWaste;
    }

    /// <summary>Copies what there is to the end of what is held.</summary>
    public void Add(in ReadOnlySequence<byte> more)
    {
        foreach (var memory in more)
        {
            for (var rest = memory.Span; rest.Length > 0;)
            {
                if (chunks.Count == 0 || used == chunks[^1].Length)
                {
                    chunks.Add(new byte[Math.Clamp(rest.Length, SmallestChunk, LargestChunk)]);
                    used = 0;
                    Cost += chunks[^1].Length;
                }

                var count = Math.Min(rest.Length, chunks[^1].Length - used);
                rest[..count].CopyTo(chunks[^1].AsSpan(used));
                rest = rest[count..];
                used += count;
                Length += count;
            }
        }
    }

    /// <summary>What is held and what comes after it, as one. It is good until the next change.</summary>
    public ReadOnlySequence<byte> Join(in ReadOnlySequence<byte> after)
    {
        if (Length == 0)
            return after;
        var first = new Piece(Chunk(0), null);
        var last = first;
        for (var at = 1; at < chunks.Count; at++)
            last = new Piece(Chunk(at), last);
        foreach (var memory in after)
        {
            if (memory.Length > 0)
                last = new Piece(memory, last);
        }

        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    /// <summary>Lets go of the first <paramref name="count"/> bytes.</summary>
    public void Drop(long count)
    {
        var kept = Join(default).Slice(count).ToArray();
        Clear();
        Add(new ReadOnlySequence<byte>(kept));
        CryptographicOperations.ZeroMemory(kept);
    }

    public void Clear()
    {
        foreach (var chunk in chunks)
            CryptographicOperations.ZeroMemory(chunk);
        chunks.Clear();
        (used, Length, Cost) = (0, 0, 0);
    }

    private ReadOnlyMemory<byte> Chunk(int at) => at == chunks.Count - 1 ? chunks[at].AsMemory(0, used) : chunks[at];

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(ReadOnlyMemory<byte> memory, Piece? before)
        {
            Memory = memory;
            if (before is null)
                return;
            RunningIndex = before.RunningIndex + before.Memory.Length;
            before.Next = this;
        }
    }
}
