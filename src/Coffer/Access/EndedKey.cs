using System.Security.Cryptography;
using Coffer.Crypto;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Access;

/// <summary>
/// The end of an API key, noted in the transaction that ends it: the key's own row may be put back by someone who can
/// write the database, and opens nothing then.
/// </summary>
internal static class EndedKey
{
    /// <summary>How long one that expired is kept.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromDays(400);

    /// <summary>That a key ends.</summary>
    /// <param name="instance">Whose key it is.</param>
    /// <param name="key">The key.</param>
    /// <param name="at">From this Unix second on it is refused.</param>
    /// <param name="how">In one word: see <see cref="EndedKeyRow"/>.</param>
    public static RowWrite.PutEndedKey Put(Instance instance, ApiKeyRow key, long at, string how)
    {
        var row = new EndedKeyRow(key.Mac, key.Id, key.App, key.Kind, key.Livemode, key.Created, at, how, []);
        return new RowWrite.PutEndedKey(row with { Proof = ProofOf(instance.ProofKey, row) });
    }

    /// <summary>Whether Coffer wrote the row.</summary>
    public static bool IsWhole(Instance instance, EndedKeyRow row) =>
        IsOfItsForm(row) && instance.Peppers.Prove(row.Proof, key => ProofOf(key, row));

    /// <summary>
    /// What proves a row by the newest pepper, if another has proven it; null if nothing is to be done.
    /// </summary>
    public static RowWrite? ProveAnew(Instance instance, EndedKeyRow row) =>
        IsOfItsForm(row) && instance.Peppers.ProveAnew(row.Proof, key => ProofOf(key, row)) is { } proof
            ? new RowWrite.ReproveEndedKey(row.Mac, row.Proof, proof)
            : null;

    private static bool IsOfItsForm(EndedKeyRow row) =>
        row is { IsSound: true, How: EndedKeyRow.Revoked or EndedKeyRow.Rolled or EndedKeyRow.Expired };

    private static byte[] ProofOf(MacKey key, EndedKeyRow row)
    {
        using var bound = new AssociatedData("coffer v1 ended key"u8);
        bound.Add(row.Mac);
        bound.Add(row.Id);
        bound.Add(row.App ?? "");
        bound.Add(row.Kind);
        bound.Add(row.Livemode ? 1 : 0);
        bound.Add(row.Created);
        bound.Add(row.Ended);
        bound.Add(row.How);
        return key.Compute(bound.Span);
    }
}
