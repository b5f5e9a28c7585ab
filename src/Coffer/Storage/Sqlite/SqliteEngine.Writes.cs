using System.Diagnostics;
using Coffer.Telemetry;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage.Sqlite;

/// <summary>The committer's part: what a change decides by, and how rows are written.</summary>
internal sealed partial class SqliteEngine
{
    // Held by a writer and, for a moment, by what empties the log.
    private readonly Lock writing = new();

    private static readonly Distribution.Series SyncTime = Metrics.SyncTime.Of();

    private News news = new();
    private bool isUnderRoot;
    private long? number;

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        lock (writing)
        {
            using var released = mark?.Release();
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
                throw new LockedException(new InvalidOperationException("the root keys were changed meanwhile"))
                {
                    IsOfControl = true,
                };
            }

            if (chain(notes) is { } audit)
                Apply(audit);
            if (!news.IsEmpty)
                TakeNumber();
            Sync();
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

    private void Sync()
    {
        using var span = StatementSpan.Begin(Name, "COMMIT");
        var began = Stopwatch.GetTimestamp();
        writer.Run("COMMIT");
        SyncTime.RecordSince(began);
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
            ? Number(TenantRow.CountNotUnderNewest, of, version, Array.Empty<byte>())
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
        Endpoint = at.Endpoint is { } endpoint ? First(writer, EndpointRow.ById, endpoint) : null,
        Number = at.NeedsNumber ? TakeNumber() : 0,
        Mint = at.Mint is { } mint ? FindFor(mint.Key, mint.Tenant) : null,
        Uninstalled = at.Closed is { } closed
            ? First(writer, UninstallRow.Of, closed.App, closed.Livemode, closed.Account)
            : null,
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
        if (write.Usual is { } usual && writer.RunsOne(usual.Text.Sqlite, usual.Values))
            return;
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
