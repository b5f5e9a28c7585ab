namespace Coffer.Storage;

/// <summary>
/// The order of commits. A commit that changes what nodes keep in memory takes the next number, and holds the row of it
/// until it ends: who sees a number sees all that was committed under lesser ones. An identity or a sequence does not
/// do that, for its numbers are given out before the commits that use them, and these end in any order (decision 13).
/// </summary>
internal static class CommitOrder
{
    /// <summary>Takes the next number. Who asks while another holds it waits for that one's commit.</summary>
    public const string Advance =
        "INSERT INTO epoch (one, n) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET n = epoch.n + 1";

    /// <summary>The same, and gives it.</summary>
    public static readonly Query<long> Take = new($"{Advance} RETURNING n", static row => row.Number(0));

    /// <summary>The last number; in a transaction that took one, its own.</summary>
    public const string Last = "(SELECT coalesce(max(n), 0) FROM epoch)";

    /// <summary>The same as a statement.</summary>
    public static readonly Query<long> SelectLast = new($"SELECT {Last}", static row => row.Number(0));

    /// <summary>Says under the transaction's number what it changed: where there are several nodes.</summary>
    public const string Tell = $"INSERT INTO told (n, what) VALUES ({Last}, $1)";
}
