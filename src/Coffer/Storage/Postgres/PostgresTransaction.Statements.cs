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

    // Of scopes to which something may be added: to replace what is there and never expires adds nothing.
    private static readonly Query<(long Place, long? ExpiresAt, long Count)> LiveInScopes = new("""
        SELECT asked.place, s.expires_at, count(*)
        FROM unnest($1, $2, $3) WITH ORDINALITY AS asked (tenant, scope, name, place)
        JOIN secrets s ON s.tenant = asked.tenant AND s.scope = asked.scope
        WHERE NOT EXISTS (
            SELECT FROM secrets r WHERE r.tenant = asked.tenant AND r.name = asked.name AND r.expires_at IS NULL)
        GROUP BY asked.place, s.expires_at
        """, static row => (row.Number(0), row.NumberOrNull(1), row.Number(2)));

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
