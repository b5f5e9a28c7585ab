using System.Collections.Concurrent;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// Grows whenever an app, a key or a revocation was changed, through this node or another that tells, and knows which:
/// what was cached before its own change is read again, and nothing else is. What another node could not tell is seen
/// when a cached entry is <see cref="Bound"/> old.
/// </summary>
internal sealed class Epoch
{
    /// <summary>
    /// How long anything about apps and keys is believed without asking the store: the bound on a revocation by another
    /// node.
    /// </summary>
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(5);

    /// <summary>How many changes are known one by one; more count as a change of everything.</summary>
    private const int Most = 10_000;

    private readonly Lock advancing = new();
    private readonly ConcurrentDictionary<string, long> changes = new(StringComparer.Ordinal);
    private long current;
    private long all;
    private long keys;

    /// <summary>To be kept with what is cached, from before it was read.</summary>
    public long Current => Volatile.Read(ref current);

    /// <summary>Another number whenever keys may have been added or removed.</summary>
    public long Keys => Volatile.Read(ref keys);

    /// <summary>Whether what an id names, a key or an app, is as it was in an epoch.</summary>
    public bool IsUnchanged(long since, string id) =>
        Volatile.Read(ref all) <= since && !(changes.TryGetValue(id, out var changed) && changed > since);

    /// <summary>Call when the change is committed, and before it is answered.</summary>
    public void Advance(News news)
    {
        if (!news.IsOfAccess)
            return;
        lock (advancing)
        {
            var at = Interlocked.Increment(ref current);
            foreach (var id in news.Keys.Concat(news.Apps))
                changes[id] = at;
            if (news.IsAllAccess || news.Keys.Count + news.Apps.Count > 0)
                Volatile.Write(ref keys, at);
            if (!news.IsAllAccess && changes.Count <= Most)
                return;
            Volatile.Write(ref all, at);
            changes.Clear();
        }
    }
}
