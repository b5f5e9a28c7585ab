using System.Collections.Concurrent;
using System.Reflection;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage;

/// <summary>
/// The embedded engine: one SQLite file in WAL mode, one writing session, a stack of reading ones. Its calls take
/// microseconds, so they run on the caller's thread.
/// </summary>
internal sealed partial class SqliteEngine : Engine
{
    /// <summary>"COFR": says that a SQLite file is a Coffer store.</summary>
    private const long ApplicationId = 0x434F4652;

    private const string SecretColumns = "SELECT tenant, name, scope, id, version, created, expires_at, sealed FROM secrets";
    private const string SecretByKey = $"{SecretColumns} WHERE tenant = $1 AND name = $2";

    private const string AuditColumns = "SELECT node, first, last, mac, entries, row FROM audit";

    private readonly string file;
    private readonly SqliteSession writer;
    private readonly ConcurrentBag<SqliteSession> readers = [];

    private SqliteEngine(string file, SqliteSession writer) => (this.file, this.writer) = (file, writer);

    /// <summary>Opens the file, or makes it, and brings its schema up to date.</summary>
    /// <exception cref="ConfigurationException">The file is not a Coffer store, or was written by a newer Coffer.</exception>
    public static SqliteEngine Open(string file)
    {
        SqliteSession? session = null;
        try
        {
            session = new SqliteSession(file);
            Migrate(session, file);
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

    public override ValueTask<byte[]?> FindMetaAsync(string key, CancellationToken ct) =>
        Find("SELECT value FROM meta WHERE key = $1", static row => row.Bytes(0), key);

    public override ValueTask<IReadOnlyList<(string Key, byte[] Value)>> ListMetaAsync(string prefix, CancellationToken ct) =>
        List("SELECT key, value FROM meta WHERE substr(key, 1, length($1)) = $1 ORDER BY key", static row => (row.Text(0), row.Bytes(1)), prefix);

    public override ValueTask<IReadOnlyList<RootKeyRow>> ListRootKeysAsync(CancellationToken ct) =>
        List("SELECT version, created, wrapped FROM root_keys ORDER BY version",
            static row => new RootKeyRow((uint)row.Number(0), row.Number(1), row.Bytes(2)));

    public override ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) =>
        Find("SELECT id, sealed_keys FROM tenants WHERE app = $1 AND livemode = $2 AND account = $3",
            static row => new TenantRow(row.Number(0), row.Bytes(1)), tenant.App, tenant.Livemode, tenant.Account);

    public override ValueTask<SecretRow?> FindSecretAsync(SecretKey key, CancellationToken ct) =>
        Find(SecretByKey, ToSecret, key.Tenant, key.Name);

    public override ValueTask<IReadOnlyList<SecretRow>> ListSecretsAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct)
    {
        const string Live = $"{SecretColumns} WHERE tenant = $1 AND scope = $2 AND (expires_at IS NULL OR expires_at > $3)";
        return (bound, newer) switch
        {
            (null, _) => List($"{Live} ORDER BY id DESC LIMIT $4", ToSecret, tenant, scope, now, limit),
            (_, false) => List($"{Live} AND id < $4 ORDER BY id DESC LIMIT $5", ToSecret, tenant, scope, now, bound, limit),
            (_, true) => List($"{Live} AND id > $4 ORDER BY id LIMIT $5", ToSecret, tenant, scope, now, bound, limit),
        };
    }

    public override ValueTask<IReadOnlyList<SecretKey>> ListExpiredAsync(long now, int limit, CancellationToken ct) =>
        List("SELECT tenant, name FROM secrets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
            static row => new SecretKey(row.Number(0), row.Bytes(1)), now, limit);

    public override async ValueTask<long?> FindOldestIdempotencyAsync(CancellationToken ct)
    {
        var oldest = await List("SELECT created FROM idempotency ORDER BY seq LIMIT 1", static row => row.Number(0));
        return oldest.Count > 0 ? oldest[0] : null;
    }

    public override ValueTask<IReadOnlyList<(long Number, AuditRow Row)>> ListAuditAsync(long bound, bool newestFirst, int limit, CancellationToken ct) => newestFirst
        ? List($"{AuditColumns} WHERE row < $1 ORDER BY row DESC LIMIT $2", static row => (row.Number(5), ToAudit(row)), bound, limit)
        : List($"{AuditColumns} WHERE row > $1 ORDER BY row LIMIT $2", static row => (row.Number(5), ToAudit(row)), bound, limit);

    public override ValueTask<AuditRow?> FindLastAuditAsync(string node, CancellationToken ct) =>
        Find($"{AuditColumns} WHERE node = $1 ORDER BY row DESC LIMIT 1", ToAudit, node);

    public override void Dispose()
    {
        writer.Dispose();
        while (readers.TryTake(out var session))
            session.Dispose();
    }

    private static void Migrate(SqliteSession session, string file)
    {
        // Looked at before anything is changed: what is not ours is left as it is.
        var found = session.Scalar("PRAGMA user_version");
        var tables = session.Scalar("SELECT count(*) FROM sqlite_master");
        if (found == 0 ? tables > 0 : session.Scalar("PRAGMA application_id") != ApplicationId)
            throw new ConfigurationException($"{file} is a SQLite database of another program", "Give Coffer a directory of its own.");

        var migrations = Migrations();
        if (found > migrations.Count)
            throw new ConfigurationException($"the store {file} was written by a newer Coffer (schema {found}; this program knows {migrations.Count})",
                "Run the Coffer that wrote it, or a newer one. Nothing was changed.");

        session.Execute("PRAGMA journal_mode = WAL");
        if (found == migrations.Count)
            return;
        session.Execute("BEGIN IMMEDIATE");
        for (var number = (int)found + 1; number <= migrations.Count; number++)
            session.Execute($"{migrations[number - 1]};PRAGMA application_id = {ApplicationId};PRAGMA user_version = {number}");
        session.Execute("COMMIT");
    }

    // Embedded as NNNN-subject.sql and numbered from 0001 without gaps: the name's order is the order they run in.
    private static List<string> Migrations()
    {
        var assembly = Assembly.GetExecutingAssembly();
        return [.. assembly.GetManifestResourceNames()
            .Where(name => name.EndsWith(".sql", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal)
            .Select(name =>
            {
                using var text = new StreamReader(assembly.GetManifestResourceStream(name)!);
                return text.ReadToEnd();
            })];
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

    private ValueTask<IReadOnlyList<T>> List<T>(string sql, RowMap<T> map, params ReadOnlySpan<SqliteValue> values)
    {
        var session = TakeReader();
        try
        {
            var rows = new List<T>();
            using var row = session.Query(sql, values);
            while (row.Read())
                rows.Add(map(row));
            return ValueTask.FromResult<IReadOnlyList<T>>(rows);
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

    private static SecretRow ToSecret(SqliteRow row) => new(
        new SecretKey(row.Number(0), row.Bytes(1)), row.Bytes(2), row.Text(3), row.Number(4), row.Number(5), row.NumberOrNull(6), row.Bytes(7));

    private static AuditRow ToAudit(SqliteRow row) => new(row.Text(0), row.Number(1), row.Number(2), row.Bytes(3), row.Bytes(4));

    private static IdempotencyRow ToIdempotency(SqliteRow row) =>
        new(new IdempotencyKey(row.Number(0), row.Bytes(1)), row.Bytes(2), row.Number(3), row.Bytes(4));

    private delegate T RowMap<out T>(SqliteRow row);
}
