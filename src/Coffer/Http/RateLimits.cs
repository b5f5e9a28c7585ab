using System.Net;
using Microsoft.Extensions.Caching.Memory;

namespace Coffer.Http;

/// <summary>
/// Token buckets, a second's worth deep at the least: one for each key, so that a client that runs away does not take the server from the others;
/// and one for the refused keys of each address (of IPv6 each /64), so that floods of them are cheap. A good key is never refused for the bad
/// ones that come from its address. Memory is bounded: beyond <see cref="Kept"/> buckets the least used make room.
/// </summary>
internal sealed class RateLimits(int perKey, int perAddress, TimeProvider time) : IDisposable
{
    /// <summary>How many buckets of each kind are kept: some 20 MB at the most.</summary>
    public const int Kept = 100_000;

    private static readonly MemoryCacheEntryOptions Entry = new() { Size = 1, SlidingExpiration = TimeSpan.FromMinutes(1) };

    private readonly MemoryCache keys = new(new MemoryCacheOptions { SizeLimit = Kept });
    private readonly MemoryCache addresses = new(new MemoryCacheOptions { SizeLimit = Kept });

    /// <summary>Counts a request with a key; false if it comes too fast.</summary>
    public bool TakeForKey(string keyId) => perKey == 0 || Find(keys, keyId, perKey).TryTake(time.GetTimestamp());

    /// <summary>Whether so many bad keys came from an address that only known ones are worth a look-up.</summary>
    public bool IsFlooding(IPAddress? address) =>
        perAddress > 0 && addresses.TryGetValue(Network(address), out Bucket? bucket) && bucket!.IsEmpty(time.GetTimestamp());

    /// <summary>Counts a refused key.</summary>
    public void CountRefused(IPAddress? address)
    {
        if (perAddress > 0)
            Find(addresses, Network(address), perAddress).TryTake(time.GetTimestamp());
    }

    public void Dispose()
    {
        keys.Dispose();
        addresses.Dispose();
    }

    private Bucket Find(MemoryCache buckets, object key, int rate) =>
        buckets.TryGetValue(key, out Bucket? bucket) ? bucket! : buckets.Set(key, new Bucket(rate, time), Entry);

    private static object Network(IPAddress? address) => address is null ? "" : Networks.Owner(address);

    private sealed class Bucket(int rate, TimeProvider time)
    {
        private readonly Lock taking = new();
        private double tokens = rate;
        private long filled = time.GetTimestamp();

        public bool TryTake(long now)
        {
            lock (taking)
            {
                Fill(now);
                if (tokens < 1)
                    return false;
                tokens--;
                return true;
            }
        }

        public bool IsEmpty(long now)
        {
            lock (taking)
            {
                Fill(now);
                return tokens < 1;
            }
        }

        private void Fill(long now)
        {
            tokens = Math.Min(rate, tokens + time.GetElapsedTime(filled, now).TotalSeconds * rate);
            filled = now;
        }
    }
}
