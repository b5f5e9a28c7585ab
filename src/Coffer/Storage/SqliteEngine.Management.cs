namespace Coffer.Storage;

/// <summary>The reads of the management plane.</summary>
internal sealed partial class SqliteEngine
{
    private const string AppColumns = "SELECT id, name, account, created, sealed FROM apps";
    private const string AppById = $"{AppColumns} WHERE id = $1";

    private const string ApiKeyColumns = """
        SELECT k.mac, k.id, k.app, a.account, k.kind, k.livemode, k.created, k.expires_at, k.proof, k.permissions, k.pinned_account, k.addresses, k.last_used
        FROM api_keys k LEFT JOIN apps a ON a.id = k.app
        """;

    private const string ApiKeyById = $"{ApiKeyColumns} WHERE k.id = $1";

    // Tenant by tenant, so that a page never sorts more than it gives.
    private const string Search = $"""
        SELECT t.app, t.livemode, t.account, s.tenant, s.name, s.scope, s.id, s.version, s.created, s.expires_at, s.sealed
        FROM tenants t CROSS JOIN secrets s
        WHERE s.tenant = t.id AND t.id >= $1 AND (t.id > $1 OR s.name > $2) AND (s.expires_at IS NULL OR s.expires_at > $3)
        {SearchFilter}
        ORDER BY t.id, s.name LIMIT $7
        """;

    private const string SearchByExpiry = $"""
        SELECT t.app, t.livemode, t.account, s.tenant, s.name, s.scope, s.id, s.version, s.created, s.expires_at, s.sealed
        FROM secrets s JOIN tenants t ON t.id = s.tenant
        WHERE (s.tenant > $1 OR (s.tenant = $1 AND s.name > $2) OR s.expires_at > $3) AND s.expires_at >= $3
        {SearchFilter}
        AND s.expires_at < $7
        ORDER BY s.expires_at, s.tenant, s.name LIMIT $8
        """;

    private const string SearchFilter =
        "AND (CAST($4 AS TEXT) IS NULL OR t.app = $4) AND (CAST($5 AS TEXT) IS NULL OR t.account = $5) AND (CAST($6 AS INTEGER) IS NULL OR t.livemode = $6)";

    public override ValueTask<AppRow?> FindAppAsync(string id, CancellationToken ct) => Find(AppById, ToApp, id);

    public override ValueTask<IReadOnlyList<AppRow>> ListAppsAsync(string? bound, int limit, CancellationToken ct) =>
        List($"""
            {AppColumns} WHERE CAST($1 AS TEXT) IS NULL OR (created, id) < (SELECT created, id FROM apps WHERE id = $1)
            ORDER BY created DESC, id DESC LIMIT $2
            """, ToApp, bound, limit);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(byte[] mac, CancellationToken ct) => Find($"{ApiKeyColumns} WHERE k.mac = $1", ToApiKey, mac);

    public override ValueTask<ApiKeyRow?> FindApiKeyAsync(string id, CancellationToken ct) => Find(ApiKeyById, ToApiKey, id);

    public override ValueTask<IReadOnlyList<ApiKeyRow>> ListApiKeysAsync(string? app, string? bound, int limit, CancellationToken ct) =>
        List($"""
            {ApiKeyColumns}
            WHERE (CAST($1 AS TEXT) IS NULL OR k.app = $1)
            AND (CAST($2 AS TEXT) IS NULL OR (k.created, k.id) < (SELECT created, id FROM api_keys WHERE id = $2))
            ORDER BY k.created DESC, k.id DESC LIMIT $3
            """, ToApiKey, app, bound, limit);

    public override ValueTask<IReadOnlyList<byte[]>> ListApiKeyMacsAsync(CancellationToken ct) => List("SELECT mac FROM api_keys", static row => row.Bytes(0));

    public override ValueTask<IReadOnlyList<RevocationRow>> ListRevocationsAsync(long now, CancellationToken ct) =>
        List("SELECT subject, made_until, kept_until FROM revocations WHERE kept_until > $1",
            static row => new RevocationRow(row.Text(0), row.Number(1), row.Number(2)), now);

    public override ValueTask<IReadOnlyList<AccountRow>> ListAccountsAsync(string app, string? bound, long now, int limit, CancellationToken ct) =>
        List("""
            SELECT account, min(created), sum(CASE WHEN livemode = 0 THEN n ELSE 0 END), sum(CASE WHEN livemode <> 0 THEN n ELSE 0 END)
            FROM (
                SELECT t.account, t.livemode, t.created,
                    (SELECT count(*) FROM secrets s WHERE s.tenant = t.id AND (s.expires_at IS NULL OR s.expires_at > $1)) AS n
                FROM tenants t WHERE t.app = $2 AND t.account > $3) AS counted
            GROUP BY account ORDER BY account LIMIT $4
            """, static row => new AccountRow(row.Text(0), row.Number(1), row.Number(2), row.Number(3)), now, app, bound ?? "", limit);

    public override ValueTask<IReadOnlyList<SecretRow>> ListTenantSecretsAsync(long tenant, string? bound, long now, int limit, CancellationToken ct) =>
        List($"""
            {SecretColumns} WHERE tenant = $1 AND (expires_at IS NULL OR expires_at > $2) AND (CAST($3 AS TEXT) IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4
            """, ToSecret, tenant, now, bound, limit);

    public override ValueTask<SecretRow?> FindSecretAsync(long tenant, string id, long now, CancellationToken ct) =>
        Find($"{SecretColumns} WHERE tenant = $1 AND id = $2 AND (expires_at IS NULL OR expires_at > $3)", ToSecret, tenant, id, now);

    public override ValueTask<IReadOnlyList<FoundSecretRow>> SearchSecretsAsync(
        SecretFilter filter, (long? ExpiresAt, SecretKey Key)? after, long now, int limit, CancellationToken ct)
    {
        if (filter.ExpiringBefore is not null && after?.ExpiresAt <= now)
            after = null; // all up to there has expired meanwhile, and so may have what comes next
        var (tenant, name) = after is { } bound ? (bound.Key.Tenant, bound.Key.Name) : (0, []);
        return filter.ExpiringBefore is { } before
            ? List(SearchByExpiry, ToFound, tenant, name, after?.ExpiresAt ?? now + 1, filter.App, filter.Account, filter.Livemode, before, limit)
            : List(Search, ToFound, tenant, name, now, filter.App, filter.Account, filter.Livemode, limit);

        static FoundSecretRow ToFound(SqliteRow row) => new(
            new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2)),
            new SecretRow(new SecretKey(row.Number(3), row.Bytes(4)), row.Bytes(5), row.Text(6), row.Number(7), row.Number(8), row.NumberOrNull(9), row.Bytes(10)));
    }

    private static AppRow ToApp(SqliteRow row) => new(row.Text(0), row.Text(1), row.Text(2), row.Number(3), row.BytesOrNull(4));

    private static ApiKeyRow ToApiKey(SqliteRow row) => new(
        row.Bytes(0), row.Text(1), row.TextOrNull(2), row.TextOrNull(3), row.Text(4), row.Number(5) != 0, row.Number(6), row.NumberOrNull(7), row.Bytes(8))
    {
        Permissions = row.TextOrNull(9),
        PinnedAccount = row.TextOrNull(10),
        Addresses = row.TextOrNull(11),
        LastUsed = row.NumberOrNull(12),
    };

    private static ReplyRow ToReply(SqliteRow row) => new(row.Bytes(0), row.BytesOrNull(1), row.Bytes(2), row.Number(3), row.Bytes(4));
}
