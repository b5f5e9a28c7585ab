using Coffer.Http;

namespace Coffer.Hosting;

/// <summary>What there is to be said of a server that has started.</summary>
/// <param name="Url">Where it listens: never port 0.</param>
/// <param name="AdminUrl">Where the management plane is reached, if it has an address of its own: never port 0.</param>
/// <param name="Store">Where the store is, in words that may be shown.</param>
/// <param name="StoreId">Which store it is, in hexadecimal digits.</param>
/// <param name="FirstKeys">
/// The keys that this start made; null if the store had its keys already. They are nowhere else.
/// </param>
internal sealed record Started(Uri Url, Uri? AdminUrl, string Store, string StoreId, FirstKeys? FirstKeys)
{
    /// <summary>Where the metrics are, if they have an address of their own: never port 0.</summary>
    public Uri? MetricsUrl { get; init; }

    public override string ToString() => Url.ToString();
}

/// <summary>What somebody outside does at the points of a start; what is thrown there ends it.</summary>
internal sealed record StartSteps
{
    /// <summary>The data directory is this process's alone.</summary>
    public Action DirectoryIsHeld { get; init; } = static () => { };

    /// <summary>
    /// There are new keys, and they are stored only once this returns: keys that nobody has would make the store
    /// useless. From then on the store may know them, whatever else fails.
    /// </summary>
    public Action<Started> KeysAreMade { get; init; } = static _ => { };

    /// <summary>Opens what the log is written to.</summary>
    public Func<Stream> OpenLog { get; init; } = Console.OpenStandardError;

    /// <summary>Who is told of requests, beside those that the settings name.</summary>
    public Observers Observers { get; init; } = new();
}
