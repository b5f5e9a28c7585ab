// Memory for payloads and keys. Every room may use it; it is the only place that hands out such memory.
// Pinned, so that the garbage collector leaves no copies behind when it moves things, and cleared when given back.

using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Coffer;

/// <summary>A pinned buffer that is cleared when it is disposed of, or else when it is finalised. Prints as <c>[redacted]</c>.</summary>
internal sealed class SecretBytes : IDisposable
{
    private static readonly ConcurrentQueue<SecretBytes> Pool = new();
    private const int PooledSize = 8 * 1024;
    private const int PooledMost = 256;

    private readonly byte[] bytes;
    private int rented = 1;
    private int used;

    private SecretBytes(byte[] bytes, int length) => (this.bytes, used, Length) = (bytes, length, length);

#pragma warning disable MA0055 // The finaliser is the point: what nobody disposed of is cleared all the same.
    ~SecretBytes() => CryptographicOperations.ZeroMemory(bytes);
#pragma warning restore MA0055

    /// <summary>How many bytes are in use.</summary>
    public int Length { get; private set; }

    public Span<byte> Span => bytes.AsSpan(0, Length);

    public Memory<byte> Memory => bytes.AsMemory(0, Length);

    /// <summary>At least <paramref name="length"/> bytes, all zero.</summary>
    public static SecretBytes Rent(int length)
    {
        if (length <= PooledSize && Pool.TryDequeue(out var pooled))
        {
            pooled.Length = pooled.used = length;
            pooled.rented = 1;
            return pooled;
        }

        return new(GC.AllocateArray<byte>(Math.Max(length, PooledSize), pinned: true), length);
    }

    public static SecretBytes Copy(ReadOnlySpan<byte> source)
    {
        var copy = Rent(source.Length);
        source.CopyTo(copy.Span);
        return copy;
    }

    /// <summary>Memory for a key that lives as long as its owner: exactly as large as the key, never pooled.</summary>
    public static SecretBytes ForKey(ReadOnlySpan<byte> key)
    {
        var own = new SecretBytes(GC.AllocateArray<byte>(key.Length, pinned: true), key.Length);
        key.CopyTo(own.Span);
        return own;
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref rented, 0) == 0)
            return;
        CryptographicOperations.ZeroMemory(bytes.AsSpan(0, used)); // no more than that was ever handed out
        if (bytes.Length == PooledSize && Pool.Count < PooledMost)
            Pool.Enqueue(this);
        else
            GC.SuppressFinalize(this);
    }

    /// <summary>Uses fewer bytes from now on.</summary>
    public void Shrink(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        Length = length;
    }

    public override string ToString() => "[redacted]";
}
