namespace Coffer.Storage.Postgres;

/// <summary>The statements of a transaction that are PostgreSQL's own.</summary>
internal sealed partial class PostgresTransaction
{
    private static readonly Query<(long Number, long Counter)> LockTenants = new(
        "SELECT id, counter FROM tenants WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        static row => (row.Number(0), row.Number(1)));

    private static readonly Query<(long Number, long Counter)> LockTenantsOfAccounts = new("""
        SELECT id, counter FROM tenants
        WHERE id = ANY($1 || ARRAY(
            SELECT t.id FROM unnest($2, $3) AS asked (app, account)
            JOIN tenants t ON t.app = asked.app AND t.account = asked.account))
        ORDER BY id FOR UPDATE
        """, static row => (row.Number(0), row.Number(1)));

    private static readonly Query<IdempotencyRow> IdempotencyByKey = new($"""
        SELECT {IdempotencyRow.Table.Names(before: "i.")} FROM unnest($1, $2) AS asked (tenant, key)
        JOIN idempotency i ON i.tenant = asked.tenant AND i.key = asked.key
        """, IdempotencyRow.From);

    /// <summary>
    /// The secrets of arrays of keys, and how many there are in a scope for each expiry: of scopes to which something
    /// may be added, or that are wanted whatever is found. To replace what is there and never expires adds nothing.
    /// Each place has a row at least. What is asked of each place by itself is joined in no other way, whatever the
    /// tables hold when it is planned.
    /// </summary>
    public static readonly Query<(long Place, SecretRow? Row, long? ExpiresAt, long? Count)> SecretsInScopes = new($"""
        SELECT {SecretRow.Table.Names(before: "s.")}, asked.place, live.expires_at, live.secrets
        FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS asked (tenant, name, scope, always, place)
        LEFT JOIN LATERAL (
            SELECT * FROM secrets WHERE tenant = asked.tenant AND name = asked.name OFFSET 0) AS s ON true
        LEFT JOIN LATERAL (
            SELECT expires_at, count(*) AS secrets FROM secrets
            WHERE (asked.always = 1 OR s.tenant IS NULL OR s.expires_at IS NOT NULL)
                AND tenant = asked.tenant AND scope = asked.scope
            GROUP BY expires_at OFFSET 0) AS live ON true
        """, static row =>
        {
            var after = SecretRow.Table.Columns.Count;
            return (row.Number(after), row.NumberOrNull(0) is null ? null : SecretRow.From(row),
                row.NumberOrNull(after + 1), row.NumberOrNull(after + 2));
        });

    private static readonly string PutSecrets = $"{AddRows(SecretRow.Table)} {SecretRow.Table.OnConflict}";

    private const string DeleteSecrets =
        "DELETE FROM secrets s USING unnest($1, $2) AS gone (tenant, name) "
        + "WHERE s.tenant = gone.tenant AND s.name = gone.name";

    // Of keys that were read under their tenant's lock, and are not there: half as dear as an upsert.
    private static readonly string AddIdempotency = AddRows(IdempotencyRow.Table);

    // A key that is used again after its record is too old gets a new place in the order of time.
    private static readonly string PutIdempotency = $"{AddIdempotency} {IdempotencyRow.Table.OnConflict}";

    private const string DeleteRevocations = "DELETE FROM revocations WHERE subject = ANY($1) AND kept_until <= $2";

    // Rows from an array for each column but the one that the database numbers by itself.
    private static string AddRows(Table table)
    {
        var given = Enumerable.Range(0, table.Columns.Count)
            .Where(at => table.Columns[at].Name != table.Numbered).ToList();
        return $"INSERT INTO {table.Name} ({table.Names(given)}) "
            + $"SELECT * FROM unnest({Table.Parameters(given.Count)})";
    }
}
