
using System.Security.Cryptography;
using Coffer.Access;
using Coffer.Audit;
using Coffer.Keys;
using Coffer.Storage;

namespace Coffer.Management;

/// <summary>
/// Signs receipts once what they state is true, and keeps them for a time. What is missing is worked for in the
/// background, at once after an account was forgotten, and then more and more seldom; nobody who writes waits for it.
/// What a stopped process left unsigned is in the store, and is gone on with at the next start.
/// </summary>
internal sealed class Receipts : IDisposable
{
    /// <summary>How long a receipt is kept after it was signed. One that waits is kept until it is.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromDays(90);

    /// <summary>How long who forgets an account is kept waiting for the signature.</summary>
    private static readonly TimeSpan LongestSettling = TimeSpan.FromMilliseconds(250);

    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(100),
        LongestPause = TimeSpan.FromSeconds(10);

    /// <summary>What another node has left for so long is signed by this one.</summary>
    private static readonly TimeSpan Abandoned = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan PruneRest = TimeSpan.FromHours(1);

    private const int Batch = 100;

    /// <summary>More that wait are not looked at in a round: those that were, are signed first.</summary>
    private const int MostInARound = 10_000;

    private readonly Engine engine;
    private readonly Committer committer;
    private readonly Instance instance;
    private readonly Gate gate;
    private readonly TimeProvider time;
    private readonly Lock locking = new();
    private List<TaskCompletionSource> waiting = [];
    private readonly HashSet<string> mine = [];

    // When this process first saw a receipt: how long it has waited by no clock that may be wrong.
    private readonly Dictionary<string, long> seen = [];
    private bool isFirst = true;
    private long pruned;
    private TimeSpan pause = ShortestPause;

    public Receipts(Engine engine, Committer committer, Instance instance, Gate gate, TimeProvider time,
        ILogger<Receipts> log)
    {
        (this.engine, this.committer, this.instance) = (engine, committer, instance);
        (this.gate, this.time) = (gate, time);
        // Whoever forgets an account wakes it.
        Loop = new Loop("receipts", RoundAsync, TimeProvider.System, log) { Pauses = (ShortestPause, LongestPause) };
    }

    public Loop Loop { get; }

    /// <summary>The id of the store whose receipts these are.</summary>
    public byte[] Instance => instance.Id;

    /// <summary>What their signatures are verified with: a point of P-256.</summary>
    public ECPoint PublicKey => instance.AuditSigningKey.ExportParameters(includePrivateParameters: false).Q;

    /// <summary>What is known of the back-ups that this node makes by itself; null if it makes none.</summary>
    public Func<KnownBackups?> Backups { get; init; } = static () => null;

    /// <summary>Where receipts outlive the store, or null.</summary>
    public ReceiptFolder? Folder { get; init; }

    public void Start() => Loop.Start();

    /// <exception cref="ApiError">404: there is no such receipt. 500: it was changed outside Coffer.</exception>
    public async Task<Receipt> ShowAsync(Caller caller, string id, CancellationToken ct)
    {
        gate.Require(caller, Acts.ShowReceipt);
        var row = await engine.FindReceiptAsync(id, ct);
        var receipt = row is null ? null : Receipt.From(row, instance);
        if (!caller.Reaches(receipt?.App))
            (row, receipt) = (null, null);
        var outcome = (row, receipt) switch { (null, _) => "absent", (_, null) => "damaged", _ => "ok" };
        var (app, account) = (receipt?.App, receipt?.Account);
        await gate.PassAsync(caller.Entry("show_receipt", outcome) with { Target = id, App = app, Account = account });
        if (row is null)
            throw ApiError.NoSuch("receipt", id);
        return receipt ?? throw ApiError.RecordDamaged("receipt", Receipt.Damaged(row));
    }

    /// <summary>Has this node sign a receipt; nobody waits for it.</summary>
    public void Begin(string id)
    {
        lock (locking)
            mine.Add(id);
        Loop.Wake();
    }

    /// <summary>A receipt after one attempt at what it waits for; sooner if that takes long.</summary>
    /// <returns>Null if it is not there, or was changed outside Coffer.</returns>
    public async Task<Receipt?> SettleAsync(string id, CancellationToken ct)
    {
        var round = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (locking)
        {
            waiting.Add(round);
            Begin(id);
        }

        await Task.WhenAny(round.Task, Task.Delay(LongestSettling, time, ct));
        return await engine.FindReceiptAsync(id, ct) is { } row ? Receipt.From(row, instance) : null;
    }

    /// <inheritdoc cref="Receipt.StateOn"/>
    public (IReadOnlyList<string> Done, IReadOnlyList<string> Pending,
        IReadOnlyList<string> NotReached) StateOf(Receipt receipt) =>
        receipt.StateOn(engine.Reach);

    /// <summary>One attempt at what all receipts wait for.</summary>
    /// <returns>Whether some still wait.</returns>
    public async Task<bool> SignAsync(CancellationToken ct)
    {
        if (instance.IsHeld)
            return true;
        var due = new List<Receipt>();
        var left = 0;
        foreach (var receipt in await PendingAsync(ct))
        {
            if (IsKnownToAll(receipt.Id))
                due.Add(receipt);
            else
                left++;
        }

        // What was removed before this call is gone after it: all that is due was.
        if (due.Count > 0 && !await engine.EraseAsync(ct))
            return true;
        var backups = due.Count > 0 ? Backups() : null;
        foreach (var receipt in due)
        {
            var signed = receipt;
            await committer.CommitAsync(new Change.Plain(() =>
            {
                signed = receipt.Signed(instance, engine.Reach, time.GetUtcNow().ToUnixTimeSeconds(), backups);
                return [signed.ToRow(instance)];
            })
            {
                Notes = [new AuditEntry("sign_receipt", "ok") { App = receipt.App, Account = receipt.Account,
                    Target = receipt.Id }],
            });
            Folder?.Write(signed);
            seen.Remove(receipt.Id);
            lock (locking)
                mine.Remove(receipt.Id);
        }

        await PruneAsync(ct);
        return left > 0;
    }

    public void Dispose() => Loop.Dispose();

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        List<TaskCompletionSource> round;
        lock (locking)
            (round, waiting) = (waiting, []);
        try
        {
            var isLeft = await SignAsync(ct);
            pause = (isLeft, round.Count) switch
            {
                (false, _) => LongestPause,
                (true, > 0) => ShortestPause,
                _ => pause * 2 < LongestPause ? pause * 2 : LongestPause,
            };
            return pause;
        }
        finally
        {
            foreach (var one in round)
                one.SetResult();
        }
    }

    // At the first look all that there are: who left them is gone, or was this store's one process.
    private async Task<List<Receipt>> PendingAsync(CancellationToken ct)
    {
        var old = time.GetUtcNow().ToUnixTimeSeconds() - (long)Abandoned.TotalSeconds;
        var (pending, damaged) = (new List<Receipt>(), new List<DamagedRow>());
        (long Created, string Id)? after = null;
        for (var looked = 0; looked < MostInARound;)
        {
            var rows = await engine.ListPendingReceiptsAsync(after, Batch, ct);
            foreach (var row in rows.Where(row => IsMine(row.Id, take: isFirst || row.Created <= old)))
            {
                if (Receipt.From(row, instance) is { } receipt)
                    pending.Add(receipt);
                else
                    damaged.Add(Receipt.Damaged(row));
            }

            looked += rows.Count;
            if (rows.Count < Batch || after is { } last && (rows[^1].Created, rows[^1].Id).CompareTo(last) <= 0)
                break;
            after = (rows[^1].Created, rows[^1].Id);
        }

        isFirst = false;
        await gate.ReportAsync(damaged, ""); // a row once in a while only
        return pending;
    }

    // Every node knows that the account's ephemeral keys have ended, or reads it again by now.
    private bool IsKnownToAll(string id)
    {
        if (engine.Reach == Reach.Files)
            return true;
        if (!seen.TryGetValue(id, out var first))
            seen.Add(id, first = time.GetTimestamp());
        return time.GetElapsedTime(first) >= Epoch.Bound;
    }

    private bool IsMine(string id, bool take)
    {
        lock (locking)
            return mine.Contains(id) || (take && mine.Add(id));
    }

    // One that is in no directory yet, where there is to be one, stays.
    private async Task PruneAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var isDue = now - pruned >= (long)PruneRest.TotalSeconds || now < pruned;
        if (Folder is not null && (isDue || Folder.IsBehind))
            await Folder.CatchUpAsync(engine, instance, ct);
        if (!isDue || Folder?.IsBehind == true)
            return;
        await committer
            .CommitAsync(
            new Change.Plain(new RowWrite.PruneReceipts(now - (long)KeptFor.TotalSeconds)) { In = Lane.Background });
        pruned = now;
    }
}
