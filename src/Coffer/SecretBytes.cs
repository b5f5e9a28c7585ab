// Memory for payloads and keys. Every room may use it; it is the only place that hands out such memory.
// Pinned, so that the garbage collector leaves no copies behind when it moves things, and cleared when given back.

using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Coffer;

/// <summary>
/// A pinned buffer that is cleared when it is disposed of, or else when it is finalised. Prints as <c>[redacted]</c>.
/// </summary>
internal sealed class SecretBytes : IDisposable
{
    private static readonly ConcurrentQueue<SecretBytes> Pool = new();
    private const int PooledSize = 8 * 1024;
    private const int PooledMost = 256;
    private static int pooledNow;

    // Keys come and go with the tenants that are in use. Each has a place in a block: pinned memory of its own would
    // cost a collection of all memory to get back.
    private static readonly ConcurrentQueue<(byte[] Block, int Start)> KeyPlaces = new();
    private const int KeyPlace = 128;
    private const int KeyPlacesOfBlock = 512;

    private readonly byte[] bytes;
    private readonly int start;
    private readonly bool isKey;
    private int rented = 1;
    private int used;

    private SecretBytes(byte[] bytes, int length) => (this.bytes, used, Length) = (bytes, length, length);

    private SecretBytes((byte[] Block, int Start) place, int length) : this(place.Block, length) =>
        (start, isKey) = (place.Start, true);

#pragma warning disable MA0055 // The finaliser is the point: what nobody disposed of is cleared all the same.
    ~SecretBytes() => GiveBack();
#pragma warning restore MA0055

    /// <summary>How many bytes are in use.</summary>
    public int Length { get; private set; }

    /// <summary>
    /// The bytes. Where nobody disposes of this, <see cref="GC.KeepAlive"/> has to come after the last use of the span:
    /// it does not keep this, and what is finalised is cleared and serves another.
    /// </summary>
    public Span<byte> Span => Held.AsSpan(start, Length);

    public Memory<byte> Memory => Held.AsMemory(start, Length);

    /// <summary>At least <paramref name="length"/> bytes, all zero.</summary>
    public static SecretBytes Rent(int length)
    {
        if (length <= PooledSize && Pool.TryDequeue(out var pooled))
        {
            Interlocked.Decrement(ref pooledNow);
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

    /// <summary>The same of bytes that nobody else needs: they are zero afterwards.</summary>
    public static SecretBytes Take(byte[] source)
    {
        var copy = Copy(source);
        CryptographicOperations.ZeroMemory(source);
        return copy;
    }

    /// <summary>
    /// Memory for keys that live as long as their owner, all zero: no larger than it has to be, and not of the pool.
    /// </summary>
    public static SecretBytes ForKeys(int length) =>
        length <= KeyPlace
            ? new SecretBytes(TakePlace(), length)
            : new SecretBytes(GC.AllocateArray<byte>(length, pinned: true), length);

    /// <summary>The same with a key in it.</summary>
    public static SecretBytes ForKey(ReadOnlySpan<byte> key)
    {
        var own = ForKeys(key.Length);
        key.CopyTo(own.Span);
        return own;
    }

    public void Dispose()
    {
        if (!GiveBack())
            return;
        if (!isKey && bytes.Length == PooledSize && Volatile.Read(ref pooledNow) < PooledMost)
        {
            Interlocked.Increment(ref pooledNow); // the pool's own count is slow
            Pool.Enqueue(this);
        }
        else
        {
            GC.SuppressFinalize(this);
        }
    }

    /// <summary>Uses more bytes from now on, if there is room where it is. What was never in use is zero.</summary>
    public bool TryGrow(int length)
    {
        if (isKey || length > Held.Length)
            return false;
        Length = Math.Max(Length, length);
        used = Math.Max(used, length);
        return true;
    }

    /// <summary>Uses fewer bytes from now on.</summary>
    public void Shrink(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        Length = length;
    }

    public override string ToString() => "[redacted]";

    private byte[] Held
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref rented) == 0, this);
            return bytes;
        }
    }

    private static (byte[] Block, int Start) TakePlace()
    {
        (byte[] Block, int Start) place;
        while (!KeyPlaces.TryDequeue(out place))
        {
            var block = GC.AllocateArray<byte>(KeyPlace * KeyPlacesOfBlock, pinned: true);
            for (var i = 0; i < KeyPlacesOfBlock; i++)
                KeyPlaces.Enqueue((block, i * KeyPlace));
        }

        return place;
    }

    private bool GiveBack()
    {
        if (Interlocked.Exchange(ref rented, 0) == 0)
            return false;
        CryptographicOperations.ZeroMemory(bytes.AsSpan(start, used)); // no more than that was ever handed out
        if (isKey)
            KeyPlaces.Enqueue((bytes, start));
        return true;
    }
}
