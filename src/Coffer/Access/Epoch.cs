namespace Coffer.Access;

/// <summary>
/// Grows whenever an app, a key or a revocation was changed, through this node or another that tells: what was cached under an earlier
/// epoch is read anew. What another node could not tell is seen when a cached entry is <see cref="Bound"/> old.
/// </summary>
internal sealed class Epoch
{
    /// <summary>How long anything about apps and keys is believed without asking the store: the bound on a revocation by another node.</summary>
    public static readonly TimeSpan Bound = TimeSpan.FromSeconds(5);

    private long current;

    public long Current => Volatile.Read(ref current);

    public void Advance() => Interlocked.Increment(ref current);
}
