using System.Collections.Concurrent;

namespace Coffer.Secrets;

/// <summary>
/// Keeps what was used lately, up to a bound, by second chance (CLOCK): what is used moves from the older to the
/// younger of two generations, and what makes room is what is left of the older one; when nothing is, the younger one
/// grows old. While it is full, one newcomer in eight is kept: who is used often gets in soon, and those who come once
/// push nobody out. To find, to keep and to let go take the same short time however much is kept. (The framework's
/// memory cache sorts all that it holds each time that it is full.) Nothing here refers to what was let go, so that its
/// keys can be cleared.
/// </summary>
internal sealed class RecentlyUsed<TKey, TValue>
    where TKey : notnull
    where TValue : class
{
    public const int OneIn = 8;

    // Held by all but the usual find: what is removed must not come back from where it is being read, moved or let go.
    private readonly Lock changing = new();
    private readonly int most;
    private ConcurrentDictionary<TKey, Entry> younger = new(), older = new();
    private IEnumerator<KeyValuePair<TKey, Entry>> hand; // over the older ones; it may refer to an entry that is gone
    private int count;
    private uint newcomers;
    private long removals;

    /// <param name="most">How much is kept.</param>
    public RecentlyUsed(int most) => (this.most, hand) = (most, older.GetEnumerator());

    /// <summary>Taken before a value is read, it tells <see cref="Keep"/> whether anything was removed since.</summary>
    public long Removals => Volatile.Read(ref removals);

    /// <summary>How much is kept at this moment, about.</summary>
    public int Count => Volatile.Read(ref count);

    public TValue? Find(TKey key)
    {
        if (Volatile.Read(ref younger).TryGetValue(key, out var entry))
            return entry.Value;
        if (!Volatile.Read(ref older).ContainsKey(key))
            return null;
        lock (changing)
        {
            if (!younger.TryGetValue(key, out entry) && older.TryGetValue(key, out entry))
            {
                younger[key] = entry; // first, so that who does not wait finds it all the time
                older.TryRemove(key, out _);
            }

            return entry?.Value;
        }
    }

    /// <summary>
    /// Keeps it, or not: never if it may be what was removed after it was read. What was kept under the key before is
    /// not found any more.
    /// </summary>
    /// <param name="key">Under what it is found.</param>
    /// <param name="value">What was read.</param>
    /// <param name="removalsBefore"><see cref="Removals"/>, from before it was read.</param>
    public void Keep(TKey key, TValue value, long removalsBefore)
    {
        lock (changing)
        {
            if (removals != removalsBefore)
                return;
            Drop(key);
            if (count >= most)
            {
                if (++newcomers % OneIn != 0 || !MakesRoom())
                    return;
            }

            younger[key] = new Entry { Value = value };
            count++;
        }
    }

    public void Remove(TKey key)
    {
        lock (changing)
        {
            removals++;
            Drop(key);
        }
    }

    public void Clear()
    {
        lock (changing)
        {
            removals++;
            Volatile.Write(ref younger, new());
            GrowOld(new());
            count = 0;
        }
    }

    private void Drop(TKey key)
    {
        if (!younger.TryRemove(key, out var entry) && !older.TryRemove(key, out entry))
            return;
        entry.Value = null;
        count--;
    }

    // False when the younger ones have just grown old: they are to have their chance to be used before one of them is
    // let go.
    private bool MakesRoom()
    {
        while (hand.MoveNext())
        {
            if (!older.TryRemove(hand.Current.Key, out var entry))
                continue;
            entry.Value = null;
            count--;
            return true;
        }

        var grown = younger;
        Volatile.Write(ref younger, new());
        GrowOld(grown);
        return false;
    }

    private void GrowOld(ConcurrentDictionary<TKey, Entry> generation)
    {
        hand.Dispose();
        Volatile.Write(ref older, generation);
        hand = generation.GetEnumerator();
    }

    /// <summary>What is kept, or null once it was let go.</summary>
    private sealed class Entry
    {
        public TValue? Value { get; set; }
    }
}
