
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Hosting;

/// <summary>
/// Proves, and does not assume, that this node can do its work: a row is written durably, what a set writes is accepted
/// by the database, and the key opens what it sealed.
/// </summary>
/// <param name="committer">What writes.</param>
/// <param name="instance">Whose key it is.</param>
/// <param name="keys">What is wrong with the root keys, or is to be looked at.</param>
/// <param name="auditTrouble">What is wrong with the audit log, or null.</param>
/// <param name="time">How long a proof is believed.</param>
/// <param name="clock">
/// What is known of the clock: of one that was set the node stays ready, of one that is not the database's it does not.
/// </param>
internal sealed class Readiness(
    Committer committer, Instance instance, Func<(string? Trouble, string? Warning)> keys,
    Func<string?> auditTrouble, TimeProvider time, ClockWatch? clock = null)
    : IDisposable
{
    /// <summary>How long a proof is believed, so that asking often costs nothing.</summary>
    public static readonly TimeSpan Believed = TimeSpan.FromSeconds(1);

    /// <summary>The part that says whether requests can use the storage.</summary>
    public const string Storage = "storage";

    /// <summary>How long a write may take before the storage counts as away.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>As much as a change may take: a smaller proof would still fit where no secret does.</summary>
    private const int ProofSize = 32 * 1024;

    private const string Held = "the store was restored and is held: run coffer restore --finish";

    private readonly SemaphoreSlim proving = new(1);
    private IReadOnlyList<Check> last = [];
    private DateTimeOffset? proven;

    /// <summary>One thing that was proven, or the trouble with it.</summary>
    /// <param name="Part">What it is.</param>
    /// <param name="Trouble">Why this node cannot do its work, or null.</param>
    /// <param name="Warning">What is to be looked at although it can, or null.</param>
    public sealed record Check(string Part, string? Trouble, string? Warning = null);

    private Check KeyCheck()
    {
        var (trouble, warning) = keys();
        return new Check(
            "key", instance.ProvesItself() ? trouble : "the key cannot open what it sealed", warning);
    }

    public async ValueTask<IReadOnlyList<Check>> ProveAsync(CancellationToken ct)
    {
        await proving.WaitAsync(ct);
        try
        {
            var now = time.GetUtcNow();
            if (proven is null || now < proven || now - proven >= Believed)
            {
                var (wrong, warning) = (clock?.Trouble, clock?.Warning);
                last =
                [
                    new Check(Storage, await StorageTroubleAsync()),
                    KeyCheck(),
                    .. instance.IsHeld ? (Check[])[new Check("restore", Held)] : [],
                    new Check("audit", auditTrouble()),
                    .. (wrong ?? warning) is null ? [] : (Check[])[new Check("clock", wrong, warning)],
                    .. Behind(),
                ];
                proven = time.GetUtcNow(); // who waited while a proof took long does not wait for another
            }

            return last;
        }
        finally
        {
            proving.Release();
        }
    }

    /// <summary>Why the last back-up could not be made, or null: the node does its work, so it stays ready.</summary>
    public Func<string?> BackupTrouble { get; init; } = static () => null;

    /// <summary>Why receipts are not where they outlive the store, or null.</summary>
    public Func<string?> ReceiptTrouble { get; init; } = static () => null;

    /// <summary>That the certificate is soon not good any more, or another one cannot be used; null is well.</summary>
    public Func<string?> CertificateTrouble { get; init; } = static () => null;

    /// <summary>
    /// What is done beside requests. One that is behind is named, and the node stays ready: it does its work.
    /// </summary>
    public IReadOnlyList<Loop> Loops { get; init; } = [];

    /// <summary>The parts that are named only while something is wrong with them.</summary>
    public IEnumerable<string> Beside => Others.Select(each => each.Part).Distinct();

    private (string Part, string? Trouble)[] Others =>
    [
        .. Loops.Select(loop => (loop.Name, loop.Trouble)), ("backup", BackupTrouble()),
        ("receipts", ReceiptTrouble()), ("certificate", CertificateTrouble()),
    ];

    /// <summary>Tries, and undoes, a write to each table that a set writes.</summary>
    public Func<CancellationToken, ValueTask> TryWrites { get; init; } = static _ => ValueTask.CompletedTask;

    public void Dispose() => proving.Dispose();

    // Of a part that has two troubles both are said, under its one name.
    private IEnumerable<Check> Behind() => Others
        .Where(each => each.Trouble is not null).GroupBy(each => each.Part, each => each.Trouble)
        .Select(part => new Check(part.Key, null, string.Join(" and ", part)));

    private async Task<string?> StorageTroubleAsync()
    {
        try
        {
            await Task.WhenAll(
                committer.CommitAsync(new Change.Plain(new RowWrite.PutMeta("ready", new byte[ProofSize]))),
                TryWrites(CancellationToken.None).AsTask()).WaitAsync(Patience);
            return null;
        }
        catch (ApiError e)
        {
            return Cause.Of(e);
        }
        catch (TimeoutException)
        {
            return $"a write was not durable within {Patience.TotalSeconds:0} seconds";
        }
    }
}
