namespace Coffer.Client;

/// <summary>Where a secret stands in an account: with the account itself, or with one user of it.</summary>
public sealed record SecretScope
{
    private SecretScope(string? user) => User = user;

    /// <summary>The account itself: every user of it and the app's backend may read it.</summary>
    public static SecretScope Account { get; } = new(user: null);

    /// <summary>The user's id, or null for the account scope.</summary>
    public string? User { get; }

    /// <summary>One user: that user and the app's backend may read it.</summary>
    /// <param name="user">An opaque id of the host platform, 1 to 5,000 characters.</param>
    public static SecretScope ForUser(string user)
    {
        ArgumentException.ThrowIfNullOrEmpty(user);
        return new(user);
    }
}

/// <summary>A secret as the server gave it. Prints without its payload.</summary>
/// <param name="Id"><c>appsecret_…</c>; stays when the secret is replaced.</param>
/// <param name="Name">The name it was set under.</param>
/// <param name="Scope">Where it stands.</param>
/// <param name="Livemode">Whether it was set with a live key.</param>
/// <param name="Created">When it was first set; the nearest date, should the server send one that .NET cannot
/// show.</param>
/// <param name="ExpiresAt">From when it is absent, or null; the nearest date likewise.</param>
/// <param name="Payload">The payload if it was asked for, or null.</param>
public sealed record StoredSecret(
    string Id, string Name, SecretScope Scope, bool Livemode, DateTimeOffset Created, DateTimeOffset? ExpiresAt,
        string? Payload)
{
    private readonly long? createdSeconds;

    private readonly long? expiresAtSeconds;

    /// <summary><see cref="Created"/> in Unix seconds, as the server sent it.</summary>
    public long CreatedSeconds
    {
        get => createdSeconds ?? Created.ToUnixTimeSeconds();
        init => createdSeconds = value;
    }

    /// <summary><see cref="ExpiresAt"/> in Unix seconds, as the server sent it.</summary>
    public long? ExpiresAtSeconds
    {
        get => expiresAtSeconds ?? ExpiresAt?.ToUnixTimeSeconds();
        init => expiresAtSeconds = value;
    }

    /// <summary>The id alone: neither name nor payload enters a log by accident.</summary>
    public override string ToString() => $"{Id} [redacted]";
}
