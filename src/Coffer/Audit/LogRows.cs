using System.Runtime.CompilerServices;
using Coffer.Storage;

namespace Coffer.Audit;

/// <summary>All rows of a store's logs, in the order in which they were written, a bounded size at a time.</summary>
internal static class LogRows
{
    /// <exception cref="ApiError">The storage contradicts itself.</exception>
    public static async IAsyncEnumerable<AuditRow> ReadAsync(
        Engine engine, [EnumeratorCancellation] CancellationToken ct)
    {
        var bound = 0L;
        while (await engine.ListAuditAsync(bound, newestFirst: false, Scans.StepSize, ct) is { Count: > 0 } rows)
        {
            foreach (var (number, row) in rows)
            {
                if (number <= bound)
                    throw ApiError.Contradictory("audit rows are not in the order of their numbers");
                bound = number;
                yield return row;
            }
        }
    }

    /// <summary>What <c>meta</c> has about logs: where those of nodes begin, where they went back, and how far
    /// they had come under peppers of before.</summary>
    public static async Task<IReadOnlyList<(string Key, byte[] Value)>> AboutAsync(Engine engine, CancellationToken ct)
    {
        var (cuts, heads) = (await engine.ListMetaAsync(AuditCut.MetaPrefix, ct),
            await engine.ListMetaAsync(LogHeads.MetaKey, ct));
        return [.. cuts, .. heads, .. await engine.ListMetaAsync(Rollbacks.MetaPrefix, ct)];
    }
}
