using System.Collections.Concurrent;
using System.Reflection;
using Microsoft.Data.Sqlite;

namespace Coffer.Storage;

/// <summary>
/// The embedded engine: one SQLite file in WAL mode, one writing session, a stack of reading ones. Its calls take
/// microseconds, so they run on the caller's thread.
/// </summary>
internal sealed class SqliteEngine : Engine
{
    /// <summary>"COFR": says that a SQLite file is a Coffer store.</summary>
    private const long ApplicationId = 0x434F4652;

    private const string SecretColumns = "SELECT tenant, name, scope, id, version, created, expires_at, sealed FROM secrets";
    private const string SecretByKey = $"{SecretColumns} WHERE tenant = ?1 AND name = ?2";

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
        Find("SELECT value FROM meta WHERE key = ?1", static row => row.Bytes(0), key);

    public override ValueTask<IReadOnlyList<(string Key, byte[] Value)>> ListMetaAsync(string prefix, CancellationToken ct) =>
        List("SELECT key, value FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key", static row => (row.Text(0), row.Bytes(1)), prefix);

    public override ValueTask<IReadOnlyList<RootKeyRow>> ListRootKeysAsync(CancellationToken ct) =>
        List("SELECT version, created, wrapped FROM root_keys ORDER BY version",
            static row => new RootKeyRow((uint)row.Number(0), row.Number(1), row.Bytes(2)));

    public override ValueTask<AppRow?> FindAppAsync(string id, CancellationToken ct) =>
        Find("SELECT id, name, account, created FROM apps WHERE id = ?1",
            static row => new AppRow(row.Text(0), row.Text(1), row.Text(2), row.Number(3)), id);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(byte[] mac, CancellationToken ct) =>
        Find("""
            SELECT k.mac, k.id, k.app, a.account, k.kind, k.livemode, k.created, k.expires_at, k.proof
            FROM api_keys k LEFT JOIN apps a ON a.id = k.app WHERE k.mac = ?1
            """,
            static row => new ApiKeyRow(row.Bytes(0), row.Text(1), row.TextOrNull(2), row.TextOrNull(3), row.Text(4),
                row.Number(5) != 0, row.Number(6), row.NumberOrNull(7), row.Bytes(8)), mac);

    public override ValueTask<TenantRow?> FindTenantAsync(TenantId tenant, CancellationToken ct) =>
        Find("SELECT id, sealed_keys FROM tenants WHERE app = ?1 AND livemode = ?2 AND account = ?3",
            static row => new TenantRow(row.Number(0), row.Bytes(1)), tenant.App, tenant.Livemode, tenant.Account);

    public override ValueTask<SecretRow?> FindSecretAsync(SecretKey key, CancellationToken ct) =>
        Find(SecretByKey, ToSecret, key.Tenant, key.Name);

    public override ValueTask<IReadOnlyList<SecretRow>> ListSecretsAsync(
        long tenant, byte[] scope, string? bound, bool newer, long now, int limit, CancellationToken ct)
    {
        const string Live = $"{SecretColumns} WHERE tenant = ?1 AND scope = ?2 AND (expires_at IS NULL OR expires_at > ?3)";
        return (bound, newer) switch
        {
            (null, _) => List($"{Live} ORDER BY id DESC LIMIT ?4", ToSecret, tenant, scope, now, limit),
            (_, false) => List($"{Live} AND id < ?5 ORDER BY id DESC LIMIT ?4", ToSecret, tenant, scope, now, limit, bound),
            (_, true) => List($"{Live} AND id > ?5 ORDER BY id LIMIT ?4", ToSecret, tenant, scope, now, limit, bound),
        };
    }

    public override ValueTask<IReadOnlyList<SecretKey>> ListExpiredAsync(long now, int limit, CancellationToken ct) =>
        List("SELECT tenant, name FROM secrets WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
            static row => new SecretKey(row.Number(0), row.Bytes(1)), now, limit);

    public override async ValueTask<long?> FindOldestIdempotencyAsync(CancellationToken ct)
    {
        var oldest = await List("SELECT created FROM idempotency ORDER BY seq LIMIT 1", static row => row.Number(0));
        return oldest.Count > 0 ? oldest[0] : null;
    }

    public override ValueTask<IReadOnlyList<(long Number, AuditRow Row)>> ListAuditAsync(long bound, bool newestFirst, int limit, CancellationToken ct) => newestFirst
        ? List($"{AuditColumns} WHERE row < ?1 ORDER BY row DESC LIMIT ?2", static row => (row.Number(5), ToAudit(row)), bound, limit)
        : List($"{AuditColumns} WHERE row > ?1 ORDER BY row LIMIT ?2", static row => (row.Number(5), ToAudit(row)), bound, limit);

    public override ValueTask<AuditRow?> FindLastAuditAsync(string node, CancellationToken ct) =>
        Find($"{AuditColumns} WHERE node = ?1 ORDER BY row DESC LIMIT 1", ToAudit, node);

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        var refusals = new List<(Change Change, Exception Refusal)>();
        try
        {
            writer.Run("BEGIN IMMEDIATE");
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

            if (chain(notes) is { } audit)
                Apply(audit);
            writer.Run("COMMIT");
            // A refusal is answered once its entry is durable, like everything else.
            foreach (var (change, refusal) in refusals)
                change.Fail(refusal);
        }
        catch (SqliteException e)
        {
            Rollback();
            throw Translated(e);
        }
        catch
        {
            Rollback();
            throw;
        }
    }

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

    private Change.Found FindFor(Change change) => new(
        change.SecretAt is { } secret ? First(writer, SecretByKey, ToSecret, secret.Tenant, secret.Name) : null,
        change.IdempotencyAt is { } key
            ? First(writer, "SELECT tenant, key, fingerprint, created, sealed FROM idempotency WHERE tenant = ?1 AND key = ?2", ToIdempotency, key.Tenant, key.Key)
            : null,
        (scope, now) => change.SecretAt is { } at ? CountLive(at.Tenant, scope, now) : 0);

    private int CountLive(long tenant, byte[] scope, long now)
    {
        using var row = writer.Query(
            "SELECT count(*) FROM secrets WHERE tenant = ?1 AND scope = ?2 AND (expires_at IS NULL OR expires_at > ?3)", tenant, scope, now);
        row.Read();
        return (int)row.Number(0);
    }

    private void Apply(RowWrite write)
    {
        switch (write)
        {
            case RowWrite.PutSecret { Row: var r }:
                writer.Run("""
                    INSERT INTO secrets (tenant, name, scope, id, version, created, expires_at, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                    ON CONFLICT (tenant, name) DO UPDATE SET id = ?4, version = ?5, created = ?6, expires_at = ?7, sealed = ?8
                    """, r.Key.Tenant, r.Key.Name, r.Scope, r.Id, r.Version, r.Created, r.ExpiresAt, r.Sealed);
                break;
            case RowWrite.DeleteSecret { Key: var k }:
                writer.Run("DELETE FROM secrets WHERE tenant = ?1 AND name = ?2", k.Tenant, k.Name);
                break;
            case RowWrite.PutIdempotency { Row: var r }:
                // A key that is used again after its record is too old gets a new place in the order of time.
                writer.Run("INSERT OR REPLACE INTO idempotency (tenant, key, fingerprint, created, sealed) VALUES (?1, ?2, ?3, ?4, ?5)",
                    r.Key.Tenant, r.Key.Key, r.Fingerprint, r.Created, r.Sealed);
                break;
            case RowWrite.PutAudit { Row: var r }:
                writer.Run("INSERT INTO audit (node, first, last, mac, entries) VALUES (?1, ?2, ?3, ?4, ?5)", r.Node, r.First, r.Last, r.Mac, r.Entries);
                break;
            case RowWrite.PruneAudit p:
                writer.Run("DELETE FROM audit WHERE row <= ?1", p.UpTo);
                break;
            case RowWrite.PruneIdempotency p:
                writer.Run("""
                    DELETE FROM idempotency
                    WHERE seq IN (SELECT seq FROM (SELECT seq, created FROM idempotency ORDER BY seq LIMIT ?2) WHERE created <= ?1)
                    """, p.MadeBy, p.Limit);
                break;
            case RowWrite.AddTenant t:
                writer.Run("""
                    INSERT INTO tenants (app, livemode, account, created, sealed_keys) VALUES (?1, ?2, ?3, ?4, ?5)
                    ON CONFLICT (app, livemode, account) DO NOTHING
                    """, t.Tenant.App, t.Tenant.Livemode, t.Tenant.Account, t.Created, t.SealedKeys);
                break;
            case RowWrite.PutApiKey { Row: var r }:
                writer.Run("""
                    INSERT INTO api_keys (mac, id, app, kind, livemode, created, expires_at, proof) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                    ON CONFLICT (mac) DO UPDATE SET expires_at = ?7, proof = ?8
                    """, r.Mac, r.Id, r.App, r.Kind, r.Livemode, r.Created, r.ExpiresAt, r.Proof);
                break;
            case RowWrite.DeleteApiKey { Id: var id }:
                writer.Run("DELETE FROM api_keys WHERE id = ?1", id);
                break;
            case RowWrite.PutApp { Row: var r }:
                writer.Run("INSERT INTO apps (id, name, account, created) VALUES (?1, ?2, ?3, ?4)", r.Id, r.Name, r.Account, r.Created);
                break;
            case RowWrite.PutRootKey { Row: var r }:
                writer.Run("INSERT INTO root_keys (version, created, wrapped) VALUES (?1, ?2, ?3)", r.Version, r.Created, r.Wrapped);
                break;
            case RowWrite.PutMeta m:
                writer.Run("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", m.Key, m.Value);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(write));
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
