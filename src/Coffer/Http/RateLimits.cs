using System.Net;

namespace Coffer.Http;

/// <summary>
/// Token buckets, a second's worth deep: one for each key, so that a client that runs away does not take the server
/// from the others; and one for the refused keys of each address (of IPv6 each /64), so that floods of them are cheap.
/// A good key is never refused for the bad ones that come from its address. What is urgent has a bucket of its own: who
/// has used up the rate of a key can still revoke with it.
/// </summary>
internal sealed class RateLimits(int perKey, int perAddress, TimeProvider time) : IDisposable
{
    /// <summary>How many buckets of each kind are kept.</summary>
    public const int Kept = Buckets.Kept;

    private readonly Buckets keys = new(perKey, perKey, time);
    private readonly Buckets urgent = new(perKey, perKey, time);
    private readonly Buckets addresses = new(perAddress, perAddress, time);

    /// <summary>Counts a request with a key; false if it comes too fast.</summary>
    /// <param name="keyId">The key's id.</param>
    /// <param name="isUrgent">Whether it takes rights away: such requests are counted apart.</param>
    public bool TakeForKey(string keyId, bool isUrgent = false) => (isUrgent ? urgent : keys).TryTake(keyId);

    /// <summary>Whether so many bad keys came from an address that only known ones are worth a look-up.</summary>
    public bool IsFlooding(IPAddress? address) =>
        addresses.IsLimited && addresses.WaitFor(Network(address)) is not null;

    /// <summary>Counts a refused key.</summary>
    public void CountRefused(IPAddress? address)
    {
        if (addresses.IsLimited)
            addresses.TryTake(Network(address));
    }

    public void Dispose()
    {
        keys.Dispose();
        urgent.Dispose();
        addresses.Dispose();
    }

    private static object Network(IPAddress? address) => address is null ? "" : Networks.Owner(address);
}
