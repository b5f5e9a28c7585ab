using System.Text;

namespace Coffer.Secrets;

/// <summary>
/// The name of a secret: 1 to 5,000 characters, compared as exact UTF-8 bytes. Nothing is folded, trimmed or
/// normalised.
/// </summary>
internal sealed class SecretName
{
    public const int LongestName = 5_000;

    /// <param name="utf8">
    /// Valid UTF-8 of 1 to 5,000 characters, as the wire's grammar has checked; the bytes are copied.
    /// </param>
    public SecretName(ReadOnlySpan<byte> utf8)
    {
        if (utf8.IsEmpty || !System.Text.Unicode.Utf8.IsValid(utf8))
            throw new ArgumentException("A name is non-empty valid UTF-8.", nameof(utf8));
        Utf8 = utf8.ToArray();
    }

    public ReadOnlyMemory<byte> Utf8 { get; }

    /// <summary>For the answer to the client that sent it, never for a log.</summary>
    public string Text => Encoding.UTF8.GetString(Utf8.Span);

    public override string ToString() => "[redacted]";
}

/// <summary>Where in a tenant a secret stands: with the account, or with one user of it.</summary>
internal sealed class Scope
{
    public const int LongestUser = 5_000;

    public static readonly Scope Account = new(default);

    private Scope(ReadOnlyMemory<byte> user) => User = user;

    /// <summary>The user's id as exact UTF-8 bytes; empty in the account scope.</summary>
    public ReadOnlyMemory<byte> User { get; }

    public bool IsUser => !User.IsEmpty;

    /// <summary>The same as text.</summary>
    public string Word => IsUser ? "user" : "account";

    /// <summary>The word on the wire and in blind indexes.</summary>
    public ReadOnlySpan<byte> Type => IsUser ? "user"u8 : "account"u8;

    /// <param name="user">
    /// An opaque id of the host platform: valid UTF-8 of 1 to 5,000 characters; the bytes are copied.
    /// </param>
    public static Scope ForUser(ReadOnlySpan<byte> user) => user.IsEmpty || !System.Text.Unicode.Utf8.IsValid(user)
        ? throw new ArgumentException("A user id is non-empty valid UTF-8.", nameof(user))
        : new Scope(user.ToArray());

    public override string ToString() => IsUser ? "user [redacted]" : "account";
}

/// <summary>A secret as it is given to a caller. Dispose of it to clear its payload.</summary>
/// <param name="Id"><c>appsecret_…</c></param>
/// <param name="Name">The name it was set under.</param>
/// <param name="Scope">The scope it stands in.</param>
/// <param name="Livemode">The mode of the key that set it.</param>
/// <param name="Created">Unix seconds of the first set under this name.</param>
/// <param name="ExpiresAt">Unix seconds from which it is absent, or null.</param>
/// <param name="Version">1 on creation, one more on each set.</param>
/// <param name="Payload">The payload, or null: it is only there when it was asked for.</param>
/// <param name="Owner">The buffer that holds the payload, if it is this secret's to clear.</param>
internal sealed record Secret(
    string Id, SecretName Name, Scope Scope, bool Livemode, long Created, long? ExpiresAt, long Version,
    ReadOnlyMemory<byte>? Payload = null, SecretBytes? Owner = null) : IDisposable
{
    public const int LongestPayload = 5_000;

    public void Dispose() => Owner?.Dispose();

    public override string ToString() => $"{Id} [redacted]";
}
