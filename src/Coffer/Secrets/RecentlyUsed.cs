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

    // Held by all but the usual find: what is removed must not come back from where it is being read, moved or let go.
    private readonly Lock changing = new();
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
        if (Volatile.Read(ref older)?.ContainsKey(key) != true)
            return null;
        lock (changing)
        {
            if (!younger.TryGetValue(key, out value) && older?.TryGetValue(key, out value) == true)
                Put(key, value!);
            return value;
        }
    }

    /// <summary>Keeps it, or not: never if it may be what was removed after it was read. What was kept under the key before is not found any more.</summary>
    /// <param name="key">Under what it is found.</param>
    /// <param name="value">What was read.</param>
    /// <param name="removalsBefore"><see cref="Removals"/>, from before it was read.</param>
    public void Keep(TKey key, TValue value, long removalsBefore)
    {
        lock (changing)
        {
            if (removals == removalsBefore && (older is null || older.ContainsKey(key) || younger.ContainsKey(key) || ++newcomers % OneIn == 0))
                Put(key, value);
        }
    }

    public void Remove(TKey key)
    {
        lock (changing)
        {
            removals++;
            younger.TryRemove(key, out _);
            older?.TryRemove(key, out _);
        }
    }

    public void Clear()
    {
        lock (changing)
        {
            removals++;
            Volatile.Write(ref younger, new());
            Volatile.Write(ref older, null);
            count = 0;
        }
    }

    private void Put(TKey key, TValue value)
    {
        if (!younger.TryAdd(key, value))
        {
            younger[key] = value;
            return;
        }

        if (++count < half)
            return;
        Volatile.Write(ref older, younger);
        Volatile.Write(ref younger, new());
        count = 0;
    }
}
