using System.Diagnostics;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>The committer's part: what a change decides by, and how rows are written.</summary>
internal sealed partial class SqliteEngine
{
    // Held by a writer and, for a moment, by what empties the log.
    private readonly Lock writing = new();

    private const int Full = 28; // ENOSPC

    /// <summary>The share of its longest at which a log that cannot be emptied is told of.</summary>
    private const int Share = 4;

    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromSeconds(1);
    private long emptied;
    private bool isLogHeld;

    /// <summary>
    /// The most that the write-ahead log may come to, in bytes, while somebody reads an old state of the store; or as
    /// much as the store, if that is more.
    /// </summary>
    public long LongestLog { get; set; } = 256 * 1024 * 1024;

    /// <summary>From then on room is kept for a full disk.</summary>
    public override bool IsServing
    {
        get => base.IsServing;
        set
        {
            lock (writing)
            {
                base.IsServing = value;
                reserve?.Refill();
            }
        }
    }

    private News news = new();
    private bool isUnderRoot;
    private long? number;

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        lock (writing)
        {
            RequireOwn();
            var isUrgent = !IsServing || changes.Any(static change => change.Lane == Lane.Urgent);
            if (!isUrgent)
            {
                RequireReserve();
                RequireShortLog();
            }

            try
            {
                WriteAlone(changes, chain);
            }
            catch (SqliteException e)
            {
                if (isUrgent && MakeRoom(e))
                    throw new LockedException(e);
                throw Translated(e);
            }
        }
    }

    // What is not urgent would use up what was given up for what is.
    private void RequireReserve()
    {
        reserve?.Refill();
        if (reserve is { IsGivenUp: true })
            throw ApiError.StorageUnavailable(new IOException("the disk is full, and the little that is left of it "
                + "is kept for what takes rights away", Full));
    }

    // What somebody reads since long ago keeps the log from being emptied, however often it is tried.
    private void RequireShortLog()
    {
        var length = LogLength;
        // Mostly it is short whatever the store has.
        var most = length <= LongestLog / Share ? LongestLog : Math.Max(LongestLog, new FileInfo(file).Length);
        var isShort = length <= most / Share;
        var isDue = !isShort && Stopwatch.GetElapsedTime(emptied) >= BetweenAttempts;
        if (isShort || (isDue && TryEmptyLog()))
            SayLogIsShort();
        else if (isDue)
            SayLogIsHeld(length, most);
        if (isLogHeld && length > most)
            throw ApiError.StorageUnavailable(new IOException("a program reads the store since so long ago that the "
                + "write-ahead log cannot be emptied: it has reached its limit"));
    }

    private long LogLength => new FileInfo(file + "-wal") is { Exists: true, Length: var length } ? length : 0;

    private void SayLogIsHeld(long length, long most)
    {
        emptied = Stopwatch.GetTimestamp();
        if (!isLogHeld)
            Log.LogWarning("The write-ahead log has {Size} MB and cannot be emptied: a program reads {File} since "
                + "long ago. Find and end it. At {Most} MB only what takes rights away is stored",
                length >> 20, file, most >> 20);
        isLogHeld = true;
    }

    private void SayLogIsShort()
    {
        if (isLogHeld)
            Log.LogInformation("The write-ahead log could be emptied");
        isLogHeld = false;
    }

    private bool TryEmptyLog()
    {
        try
        {
            using var session = new SqliteSession(file);
            session.Execute("PRAGMA busy_timeout = 0");
            return Beside(session, () => Run(session, Empty) is (0, _, _));
        }
        catch (SqliteException)
        {
            return false;
        }
    }

    private bool Beside(SqliteSession session, Func<bool> work) =>
        guard is null ? work() : guard.Beside(session, work);

    private bool MakeRoom(SqliteException e)
    {
        // Beyond a quota is reported as any failure to write.
        if (reserve is null || !(e.SqliteErrorCode == SQLitePCL.raw.SQLITE_FULL
            || e.SqliteExtendedErrorCode is SQLitePCL.raw.SQLITE_IOERR_WRITE or SQLitePCL.raw.SQLITE_IOERR_SHMSIZE))
            return false;
        // To empty the log into the store gives all of it back, and may first take as much: where there is not as much,
        // what there is goes further without. Without anything left the attempt costs nothing.
        var freed = reserve.GiveUp();
        if (freed > 0 && new FileInfo(file + "-wal") is { Exists: true, Length: var log } && log > freed)
            return true;
        TryEmptyLog(); // what was given up may be enough without it
        return true;
    }

    private void WriteAlone(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        var refusals = new List<(Change Change, Exception Refusal)>();
        (news, number, isUnderRoot) = (new News(), null, false);
        try
        {
            writer.Run("BEGIN IMMEDIATE");
            guard?.SeeCommits();
            var notes = new List<Note>();
            foreach (var change in changes)
            {
                IReadOnlyList<RowWrite> rows = [];
                Exception? refused = null;
                try
                {
                    rows = change.Decide(FindFor(change));
                }
                catch (Exception refusal) when (refusal is not SqliteException)
                {
                    refused = refusal;
                    refusals.Add((change, refusal));
                }

                foreach (var row in rows)
                    Apply(row);
                notes.AddRange(change.NotesOn(refused));
            }

            if ((isUnderRoot || !news.HasControl) && KnownControl() is { } known
                && First(writer, MetaRow.ByKey, MetaRow.Control) is { } control
                && !control.AsSpan().SequenceEqual(known))
            {
                Rollback();
                ControlMoved();
                throw new LockedException(new InvalidOperationException("the root keys were changed meanwhile"));
            }

            if (chain(notes) is { } audit)
                Apply(audit);
            if (!news.IsEmpty)
                TakeNumber();
            writer.Run("COMMIT");
        }
        catch
        {
            Rollback();
            throw;
        }

        guard?.Remember();
        if (!news.IsEmpty)
            Changed(news);
        // A refusal is answered once its entry is durable, like everything else.
        foreach (var (change, refusal) in refusals)
            change.Fail(refusal);
    }

    private Change.Found FindFor(Change change) => new(
        change.TenantAt is { } tenant && All(writer, TenantRow.CounterByNumber, tenant) is [var counter]
            ? counter
            : null,
        change.SecretAt is { } secret ? First(writer, SecretRow.ByKey, secret.Tenant, secret.Name) : null,
        change.IdempotencyAt is { } key ? First(writer, IdempotencyRow.ByKey, key.Tenant, key.Key) : null,
        now => change.ScopeAt is { } at
            ? CountLive(at, now) + change.OlderAt.Sum(older => older.Scope is { } scope ? CountLive(scope, now) : 0)
            : throw new InvalidOperationException("a change counts in the scope that it names in ScopeAt"),
        change.ManagementAt is { } management ? FindFor(management) : null)
    {
        NotUnder = change is { TenantAt: { } of, CountsNotUnder: { } version }
            ? Number(TenantRow.CountNotUnderNewest, of, version)
            : 0,
        Older = change.OlderAt.Count == 0 ? [] : [.. change.OlderAt.Select(FindFor)],
    };

    private Change.OlderRows FindFor(Change.OlderPlace at) => new(
        at.Secret is { } secret ? First(writer, SecretRow.ByKey, secret.Tenant, secret.Name) : null,
        at.Idempotency is { } key ? First(writer, IdempotencyRow.ByKey, key.Tenant, key.Key) : null);

    private int CountLive(ScopeKey at, long now) => (int)Number(SecretRow.LiveInScope, at.Tenant, at.Scope, now);

    private Change.ManagementFound FindFor(Change.ManagementKey at) => new(
        at.App is { } app ? First(writer, AppRow.ById, app) : null,
        at.App is not null && All(writer, TenantRow.OfApp, at.App).Count > 0,
        at.ApiKey is { } key ? First(writer, ApiKeyRow.ById, key) : null,
        at.ApiKey is null ? 0 : Number(ApiKeyRow.OtherOwnerKeys, at.ApiKey),
        at is { App: { } of, Account: var (account, now) }
            ? All(writer, CountedTenantRow.OfAccount, now, of, account)
            : [],
        at.Reply is { } reply ? First(writer, ReplyRow.ByKey, reply) : null)
    {
        OldestAudit = at.AsksOldestAudit ? Number(AuditRow.Oldest) : 0,
        Meta = at.Meta is { } meta ? First(writer, MetaRow.ByKey, meta) : null,
        Number = at.NeedsNumber ? TakeNumber() : 0,
        Mint = at.Mint is { } mint ? FindFor(mint.Key, mint.Tenant) : null,
    };

    private Change.MintFound FindFor(string key, TenantId tenant) => new(
        First(writer, ApiKeyRow.ById, key),
        First(writer, AppRow.ById, tenant.App),
        First(writer, GenerationRow.OfTenant, tenant.App, tenant.Livemode, tenant.Account),
        Number(CommitOrder.SelectLast));

    // One for all changes of a transaction.
    private long TakeNumber()
    {
        if (number is null)
            writer.Run(CommitOrder.Advance);
        return number ??= Number(CommitOrder.SelectLast);
    }

    private long Number(Query<long> query, params ReadOnlySpan<SqlValue> values)
    {
        using var row = writer.Query(query.Text.Sqlite, values);
        row.Read();
        return query.Map(row);
    }

    private void Apply(RowWrite write)
    {
        news.Add(write);
        isUnderRoot |= write.IsUnderRoot;
        if (write.IsNumbered)
            TakeNumber();
        foreach (var statement in write.Statements)
        {
            if (statement.Count is not { } count)
                writer.Run(statement.Text.Sqlite, statement.Values);
            else
                writer.Run(Number(count.Query, count.Values), statement.Text.Sqlite, statement.Values);
        }
    }

    private void Rollback()
    {
        try
        {
            writer.Run("ROLLBACK");
        }
        catch (SqliteException)
        {
            // SQLite has rolled back by itself: the failure that led here is the one to report.
        }
    }
}
