using System.Collections.Concurrent;

namespace Coffer.Secrets;

/// <summary>
/// Keeps what was used lately, up to a bound, in two generations: what is used moves to the younger one, and when that holds half of what
/// is kept, the older one is let go. From then on one newcomer in eight is kept: who is used often gets in soon, and those
/// who come once push nobody out. To find, to keep and to let go take the same short time however much is kept. (The
/// framework's memory cache sorts all that it holds each time that it is full.)
/// </summary>
internal sealed class RecentlyUsed<TKey, TValue>(int kept)
    where TKey : notnull
    where TValue : class
{
    public const int OneIn = 8;

    private readonly Lock aging = new();
    private readonly int half = Math.Max(kept / 2, 1);
    private ConcurrentDictionary<TKey, TValue> younger = new();
    private ConcurrentDictionary<TKey, TValue>? older;
    private int count;
    private uint newcomers;
    private long removals;

    /// <summary>Taken before a value is read, it tells <see cref="Keep"/> whether anything was removed since.</summary>
    public long Removals => Volatile.Read(ref removals);

    public TValue? Find(TKey key)
    {
        if (Volatile.Read(ref younger).TryGetValue(key, out var value))
            return value;
        if (Volatile.Read(ref older)?.TryGetValue(key, out value) != true)
            return null;
        Put(key, value!);
        return value;
    }

    /// <summary>Keeps it, or not: never if it may be what was removed after it was read. What was kept under the key before is not found any more.</summary>
    /// <param name="key">Under what it is found.</param>
    /// <param name="value">What was read.</param>
    /// <param name="removalsBefore"><see cref="Removals"/>, from before it was read.</param>
    public void Keep(TKey key, TValue value, long removalsBefore)
    {
        if (Volatile.Read(ref older) is { } full && !full.ContainsKey(key) && !Volatile.Read(ref younger).ContainsKey(key)
            && Interlocked.Increment(ref newcomers) % OneIn != 0)
            return;
        Put(key, value);
        if (Removals != removalsBefore)
            Drop(key);
    }

    public void Remove(TKey key)
    {
        Interlocked.Increment(ref removals); // first: who keeps it meanwhile sees this, or is seen
        Drop(key);
    }

    public void Clear()
    {
        Interlocked.Increment(ref removals);
        lock (aging)
        {
            Volatile.Write(ref younger, new());
            Volatile.Write(ref older, null);
            Volatile.Write(ref count, 0);
        }
    }

    private void Drop(TKey key)
    {
        Volatile.Read(ref older)?.TryRemove(key, out _);
        Volatile.Read(ref younger).TryRemove(key, out _);
    }

    private void Put(TKey key, TValue value)
    {
        var generation = Volatile.Read(ref younger);
        if (!generation.TryAdd(key, value))
        {
            generation[key] = value;
            return;
        }

        if (Interlocked.Increment(ref count) < half)
            return;
        lock (aging)
        {
            if (generation != younger)
                return;
            Volatile.Write(ref older, younger);
            Volatile.Write(ref younger, new());
            Volatile.Write(ref count, 0);
        }
    }
}
