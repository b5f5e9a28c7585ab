using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Coffer.Crypto;

namespace Coffer.Access;

/// <summary>
/// A key that an app's backend shares with this store in one mode, <c>absec_…</c>, or that a receiver of webhooks does,
/// <c>whsec_…</c>: what is signed with it comes from here, and from that mode. Its text is the key, as with Stripe's.
/// Stored as expiry (8 bytes, big-endian, 0 for none) and text.
/// </summary>
internal sealed class SigningSecret
{
    /// <summary>The prefix of those of apps.</summary>
    public const string OfApps = "absec_";

    private readonly SecretBytes stored;

    private SigningSecret(ReadOnlySpan<byte> stored) => this.stored = SecretBytes.ForKey(stored);

    /// <summary>From this Unix second on it signs no more; null is never.</summary>
    public long? ExpiresAt => BinaryPrimitives.ReadInt64BigEndian(stored.Span) is var at and > 0 ? at : null;

    public ReadOnlyMemory<byte> Stored => stored.Memory;

    public static (SigningSecret Secret, string Text) Generate(string prefix = OfApps)
    {
        var text = Tokens.Generate(prefix);
        return (new SigningSecret([0, 0, 0, 0, 0, 0, 0, 0, .. Encoding.ASCII.GetBytes(text)]), text);
    }

    /// <returns>Null if the bytes are not in the stored form.</returns>
    public static SigningSecret? Parse(ReadOnlySpan<byte> stored, string prefix = OfApps)
    {
        if (stored.Length <= sizeof(long) || !UnixTime.IsStorable(BinaryPrimitives.ReadInt64BigEndian(stored)))
            return null;
        Span<char> text = stackalloc char[64];
        if (stored.Length - sizeof(long) > text.Length)
            return null;
        if (!Ascii.IsValid(stored[sizeof(long)..]))
            return null;
        var length = Encoding.ASCII.GetChars(stored[sizeof(long)..], text);
        var isToken = text.StartsWith(prefix) && Tokens.IsWellFormed(text[..length]);
        text.Clear();
        return isToken ? new SigningSecret(stored) : null;
    }

    public SigningSecret Until(long expiresAt)
    {
        var until = new SigningSecret(stored.Span);
        BinaryPrimitives.WriteInt64BigEndian(until.stored.Span, expiresAt);
        return until;
    }

    /// <summary>HMAC-SHA256 of a message.</summary>
    public byte[] Sign(ReadOnlySpan<byte> message)
    {
        var signature = HMACSHA256.HashData(stored.Span[sizeof(long)..], message);
        GC.KeepAlive(stored);
        return signature;
    }

    public override string ToString() => "[redacted]";
}

/// <summary>The texts of new signing secrets, to be shown once; null where none was made.</summary>
internal sealed record NewSigningSecrets(string? Test, string? Live)
{
    public override string ToString() => "[redacted]";
}
