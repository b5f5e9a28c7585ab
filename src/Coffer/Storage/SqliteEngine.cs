using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage;

/// <summary>
/// The embedded engine: one SQLite file in WAL mode, one writing session, a stack of reading ones. Its calls take
/// microseconds, so they run on the caller's thread.
/// </summary>
internal sealed partial class SqliteEngine : Engine
{
    private readonly string file;
    private readonly SqliteSession writer;
    private readonly ConcurrentBag<SqliteSession> readers = [];

    private SqliteEngine(string file, SqliteSession writer) => (this.file, this.writer) = (file, writer);

    /// <summary>Opens the file, or makes it, and brings its schema up to date.</summary>
    /// <exception cref="ConfigurationException">
    /// The file is no Coffer store, a newer Coffer's, or its schema was changed.
    /// </exception>
    public static SqliteEngine Open(string file)
    {
        SqliteSession? session = null;
        try
        {
            session = new SqliteSession(file);
            SqliteSchema.Migrate(session, file);
            return new SqliteEngine(file, session);
        }
        catch (SqliteException e)
        {
            session?.Dispose();
            throw new ConfigurationException($"the store {file} cannot be opened: SQLite error {e.SqliteErrorCode} ({e.SqliteExtendedErrorCode})",
                "Check that it is a Coffer store, that it is whole, and that this user may read and write it and its directory.");
        }
        catch
        {
            session?.Dispose();
            throw;
        }
    }

    public override string Name => "sqlite";

    public override ValueTask<string> FindReleaseAsync(CancellationToken ct) =>
        ValueTask.FromResult(SqliteNative.Release);

    public override ValueTask<byte[]?> FindMetaAsync(string key, CancellationToken ct) =>
        Find(Sql.MetaByKey, static row => row.Bytes(0), key);

    public override ValueTask<IReadOnlyList<(string Key, byte[] Value)>> ListMetaAsync(string prefix, CancellationToken ct) =>
        List(Sql.MetaByPrefix, Columns.ToMeta, ct, prefix);

    public override ValueTask<IReadOnlyList<RootKeyRow>> ListRootKeysAsync(CancellationToken ct) =>
        List(Sql.RootKeys, Columns.ToRootKey, ct);

    public override ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) =>
        Find(Sql.TenantByOwner, Columns.ToTenant, tenant.App, tenant.Livemode, tenant.Account);

    public override ValueTask<SecretRow?> FindSecretAsync(SecretKey key, CancellationToken ct) =>
        Find(Sql.SecretByKey, Columns.ToSecret, key.Tenant, key.Name);

    public override ValueTask<IReadOnlyList<SecretRow>> ListSecretsAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct) => (bound, newer) switch
        {
            (null, _) => List(Sql.NewestSecrets, Columns.ToSecret, ct, tenant, scope, now, limit),
            (_, false) => List(Sql.OlderSecrets, Columns.ToSecret, ct, tenant, scope, now, bound, limit),
            (_, true) => List(Sql.NewerSecrets, Columns.ToSecret, ct, tenant, scope, now, bound, limit),
        };

    public override ValueTask<IReadOnlyList<SecretKey>> ListExpiredAsync(long now, int limit, CancellationToken ct) =>
        List(Sql.Expired, Columns.ToSecretKey, ct, now, limit);

    public override async ValueTask<long?> FindOldestIdempotencyAsync(CancellationToken ct)
    {
        var oldest = await List(Sql.OldestIdempotency, static row => row.Number(0), ct);
        return oldest.Count > 0 ? oldest[0] : null;
    }

    public override async ValueTask<long?> FindOldestReplyAsync(CancellationToken ct)
    {
        var oldest = await List(Sql.OldestReply, static row => row.Number(0), ct);
        return oldest.Count > 0 ? oldest[0] : null;
    }

    public override ValueTask<IReadOnlyList<(long Number, AuditRow Row)>> ListAuditAsync(long bound, bool newestFirst, int limit, CancellationToken ct) => newestFirst
        ? List(Sql.AuditBackwards, Columns.ToNumberedAudit, ct, bound, limit)
        : List(Sql.AuditForwards, Columns.ToNumberedAudit, ct, bound, limit);

    public override ValueTask<AuditRow?> FindLastAuditAsync(string node, CancellationToken ct) =>
        Find(Sql.LastAudit, Columns.ToAudit, node);

    public override AuditRow? FindAudit(string node, long atMost) =>
        FindByWriter($"{Sql.AuditOfNode} ORDER BY row DESC LIMIT 1", Columns.ToAudit, node, atMost);

    public override byte[]? FindMeta(string key) => FindByWriter(Sql.MetaByKey, static row => row.Bytes(0), key);

    public override void Dispose()
    {
        writer.Dispose();
        while (readers.TryTake(out var session))
            session.Dispose();
        pages?.Dispose(); // last: to close it ends the locks that SQLite has on the file in this process
    }

    private T? FindByWriter<T>(string sql, RowMap<T> map, params ReadOnlySpan<SqliteValue> values) where T : class
    {
        try
        {
            return First(writer, sql, map, values);
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
    }

    private ValueTask<T?> Find<T>(string sql, RowMap<T> map, params ReadOnlySpan<SqliteValue> values) where T : class
    {
        var session = TakeReader();
        try
        {
            return ValueTask.FromResult(First(session, sql, map, values));
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
        finally
        {
            readers.Add(session);
        }
    }

    private ValueTask<IReadOnlyList<T>> List<T>(
        string sql, RowMap<T> map, CancellationToken ct, params ReadOnlySpan<SqliteValue> values)
    {
        var session = TakeReader();
        try
        {
            // A scan may step over many rows before it gives one: who hangs up ends it wherever it is.
            using var hangsUp = ct.UnsafeRegister(static state => ((SqliteSession)state!).Interrupt(), session);
            ct.ThrowIfCancellationRequested();
            var rows = new List<T>();
            using var row = session.Query(sql, values);
            while (row.Read())
                rows.Add(map(row));
            return ValueTask.FromResult<IReadOnlyList<T>>(rows);
        }
        catch (SqliteException e) when (ct.IsCancellationRequested && e.SqliteErrorCode == SQLitePCL.raw.SQLITE_INTERRUPT)
        {
            throw new OperationCanceledException(e.Message, e, ct);
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
        finally
        {
            readers.Add(session);
        }
    }

    private SqliteSession TakeReader()
    {
        try
        {
            return readers.TryTake(out var session) ? session : new SqliteSession(file);
        }
        catch (SqliteException e)
        {
            throw Translated(e);
        }
    }

    private static T? First<T>(SqliteSession session, string sql, RowMap<T> map, params ReadOnlySpan<SqliteValue> values) where T : class
    {
        using var row = session.Query(sql, values);
        return row.Read() ? map(row) : null;
    }

    // Whatever the medium's trouble, nothing was stored or given out and the request may be tried again.
    private static ApiError Translated(SqliteException e) => ApiError.StorageUnavailable(e);

    private delegate T RowMap<out T>(SqliteRow row);
}
