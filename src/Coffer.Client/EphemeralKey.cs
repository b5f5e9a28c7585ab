namespace Coffer.Client;

/// <summary>A key that stands for one user of one account for a short time. Prints without its secret.</summary>
/// <param name="Id"><c>ephkey_…</c>, by which it can be ended early.</param>
/// <param name="Account">The account that it acts in.</param>
/// <param name="User">The user whose scope it reaches, beside the account scope.</param>
/// <param name="Livemode">Whether it was minted with a live key.</param>
/// <param name="Permissions"><c>secret_read</c>, <c>secret_write</c> or both.</param>
/// <param name="Created">When it was minted.</param>
/// <param name="Expires">From when it is refused.</param>
/// <param name="Secret">The key itself, <c>ek_…</c>. The server does not give it again.</param>
public sealed record EphemeralKey(
    string Id, string Account, string User, bool Livemode, IReadOnlyList<string> Permissions, DateTimeOffset Created,
        DateTimeOffset Expires, string Secret)
{
    private readonly long? expiresSeconds;

    /// <summary><see cref="Expires"/> in Unix seconds, as the server sent it; that one is the nearest date.</summary>
    public long ExpiresSeconds
    {
        get => expiresSeconds ?? Expires.ToUnixTimeSeconds();
        init => expiresSeconds = value;
    }

    /// <summary>The id alone: neither the user nor the key enters a log by accident.</summary>
    public override string ToString() => $"{Id} [redacted]";
}
