using Microsoft.Extensions.Caching.Memory;

namespace Coffer;

/// <summary>
/// Token buckets, one for each key that is used, all of one size: an unused one is full. Memory is bounded: beyond
/// <see cref="Kept"/> of them the least used make room, and while there is none, new ones are full each time.
/// </summary>
/// <param name="rate">How much comes into a bucket each second; 0 is no limit.</param>
/// <param name="depth">How much it holds, at least 1.</param>
/// <param name="time">By which it fills.</param>
internal sealed class Buckets(double rate, double depth, TimeProvider time) : IDisposable
{
    /// <summary>How many are kept: some 20 MB at the most.</summary>
    public const int Kept = 100_000;

    private static readonly MemoryCacheEntryOptions Entry = new()
    {
        Size = 1,
        SlidingExpiration = TimeSpan.FromMinutes(5),
    };

    private readonly MemoryCache buckets = new(new MemoryCacheOptions { SizeLimit = Kept });

    /// <summary>Whether these buckets bound anything.</summary>
    public bool IsLimited => rate > 0;

    /// <summary>Takes from a bucket what it still holds at the least.</summary>
    /// <returns>False if it holds less; then it stays as it is.</returns>
    public bool TryTake(object key, double amount = 1)
    {
        if (!IsLimited)
            return true;
        var bucket = FindOrAdd(key);
        lock (bucket)
        {
            Fill(bucket);
            if (bucket.Tokens < amount)
                return false;
            bucket.Tokens -= amount;
            return true;
        }
    }

    /// <summary>
    /// Takes what was used, even if the bucket does not hold that much: then it is empty until the debt is paid.
    /// </summary>
    public void Charge(object key, double amount)
    {
        if (!IsLimited)
            return;
        var bucket = FindOrAdd(key);
        lock (bucket)
        {
            Fill(bucket);
            bucket.Tokens -= amount;
        }
    }

    /// <summary>How long until a bucket holds something: null if it does now. At least a second.</summary>
    /// <param name="key">Which bucket.</param>
    /// <param name="least">What it is to hold.</param>
    public TimeSpan? WaitFor(object key, double least = 1)
    {
        if (!IsLimited || !buckets.TryGetValue(key, out Bucket? bucket))
            return null;
        lock (bucket!)
        {
            Fill(bucket);
            if (bucket.Tokens >= least)
                return null;
            return TimeSpan.FromSeconds(Math.Max(1, Math.Ceiling((least - bucket.Tokens) / rate)));
        }
    }

    public void Dispose() => buckets.Dispose();

    private Bucket FindOrAdd(object key) => buckets.TryGetValue(key, out Bucket? bucket)
        ? bucket!
        : buckets.Set(key, new Bucket { Tokens = depth, Filled = time.GetTimestamp() }, Entry);

    private void Fill(Bucket bucket)
    {
        var now = time.GetTimestamp();
        bucket.Tokens = Math.Min(depth, bucket.Tokens + time.GetElapsedTime(bucket.Filled, now).TotalSeconds * rate);
        bucket.Filled = now;
    }

    private sealed class Bucket
    {
        public double Tokens { get; set; }

        public long Filled { get; set; }
    }
}
