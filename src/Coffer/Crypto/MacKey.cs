using System.Security.Cryptography;

namespace Coffer.Crypto;

/// <summary>
/// A key for HMAC-SHA256 (RFC 2104). Safe for use from several threads at once. While it is used often it keeps one
/// prepared context to spare, which makes a MAC of a short message more than twice as fast as setting the key up each
/// time.
/// </summary>
internal sealed class MacKey : IDisposable
{
    public const int Size = HMACSHA256.HashSizeInBytes;

    /// <summary>Bytes of a message that is short.</summary>
    private const int MostAtOnce = 512;

    private readonly SecretBytes memory;
    private readonly int start;
    private readonly bool isOwner;
    private IncrementalHash? spare;
    private Heat heat; // not readonly: it counts

    private MacKey(ReadOnlySpan<byte> from, ReadOnlySpan<byte> label, SecretBytes memory, int start, bool isOwner)
    {
        (this.memory, this.start, this.isOwner) = (memory, start, isOwner);
        HKDF.Expand(HashAlgorithmName.SHA256, from, memory.Span.Slice(start, Size), label);
    }

    /// <summary>
    /// The key for the use that <paramref name="label"/> names, derived from another (HKDF-Expand, RFC 5869).
    /// </summary>
    public static MacKey Derived(ReadOnlySpan<byte> from, ReadOnlySpan<byte> label) =>
        new(from, label, SecretBytes.ForKeys(Size), 0, isOwner: true);

    /// <summary>The same in a place of memory that is another's, who disposes of it.</summary>
    public static MacKey Derived(ReadOnlySpan<byte> from, ReadOnlySpan<byte> label, SecretBytes memory, int start) =>
        new(from, label, memory, start, isOwner: false);

    /// <summary>Writes the 32 bytes of the MAC.</summary>
    public void Compute(Span<byte> destination, ReadOnlySpan<byte> message) => Compute(destination, message, default);

    /// <summary>The same, over a head and a tail that follow each other.</summary>
    public void Compute(Span<byte> destination, scoped ReadOnlySpan<byte> head, scoped ReadOnlySpan<byte> tail)
    {
        var length = head.Length + tail.Length;
        var isShort = length <= MostAtOnce;
        if (isShort && !tail.IsEmpty)
        {
            // To copy so little takes less than another call into OpenSSL.
            Span<byte> message = stackalloc byte[MostAtOnce];
            head.CopyTo(message);
            tail.CopyTo(message[head.Length..]);
            head = message[..length];
            tail = default;
        }

        var isHot = heat.Use();
        var context = Interlocked.Exchange(ref spare, null);
        if (!isHot && isShort)
        {
            context?.Dispose();
            HMACSHA256.HashData(memory.Span.Slice(start, Size), head, destination);
            GC.KeepAlive(memory);
            return;
        }

        if (context is null)
        {
            context = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, memory.Span.Slice(start, Size));
            GC.KeepAlive(memory);
        }

        context.AppendData(head);
        context.AppendData(tail);
        context.GetHashAndReset(destination);
        (isHot ? Interlocked.Exchange(ref spare, context) : context)?.Dispose();
    }

    /// <summary>The first <paramref name="length"/> bytes of the MAC, 32 at the most.</summary>
    public byte[] Compute(ReadOnlySpan<byte> message, int length = Size)
    {
        Span<byte> mac = stackalloc byte[Size];
        Compute(mac, message);
        return mac[..length].ToArray();
    }

    public void Dispose()
    {
        Interlocked.Exchange(ref spare, null)?.Dispose();
        if (isOwner)
            memory.Dispose();
    }

    public override string ToString() => "[redacted]";
}
