namespace Coffer.Storage;

/// <summary>How many unexpired secrets a tenant has, and how many of them expire soon.</summary>
/// <param name="Tenant">The number of the tenant.</param>
/// <param name="Livemode">Live or test.</param>
/// <param name="Secrets">All of them.</param>
/// <param name="Sooner">Those that expire at or before each of three times, in their order.</param>
internal sealed record SecretCount(long Tenant, bool Livemode, long Secrets, IReadOnlyList<long> Sooner)
{
    // What is asked of each tenant is read from one index. PostgreSQL might join in another way by old statistics.
    private const string Counts = """
        count(expires_at) FILTER (WHERE expires_at <= $1), count(expires_at) FILTER (WHERE expires_at <= $2),
        count(expires_at) FILTER (WHERE expires_at <= $3)
        """;

    private const string Some = "(SELECT id, livemode FROM tenants WHERE id > $4 ORDER BY id LIMIT $5) AS t";

    /// <summary>Of the tenants after a number. Three Unix seconds, the number, how many tenants, and now.</summary>
    public static readonly Query<SecretCount> After = new(
        new SqlText(
            $"""
            SELECT t.id, t.livemode, count(s.tenant), {Counts} FROM {Some}
            LEFT JOIN secrets AS s ON s.tenant = t.id AND (s.expires_at IS NULL OR s.expires_at > $6)
            GROUP BY t.id, t.livemode ORDER BY t.id
            """,
            $"""
            SELECT t.id, t.livemode, s.* FROM {Some} CROSS JOIN LATERAL (
                SELECT count(*), {Counts} FROM secrets
                WHERE tenant = t.id AND (expires_at IS NULL OR expires_at > $6) OFFSET 0) AS s
            ORDER BY t.id
            """),
        static row => new SecretCount(
            row.Number(0), row.Number(1) != 0, row.Number(2), [row.Number(3), row.Number(4), row.Number(5)]));
}
