using System.Collections.Concurrent;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// What a transaction's statements prove of themselves. All of a batch is on its way, with the commit at its end,
/// before the first answer comes: so a statement that did other than it had to is made to fail by the server, and the
/// commit after it is not carried out. It fails by reading a word as a number: the word comes back in the error.
/// </summary>
internal static class PostgresProof
{
    private const string Mark = "coffer: other rows in ", MovedMark = "coffer: another control row";

    /// <summary>Runs after a tenant was to be added: it is there, or its app is not.</summary>
    public static readonly string TenantIsThere =
        $"SELECT ({TenantRow.MayAdd.Text.Postgres}) = 0 OR (SELECT '{Mark}tenants.' || count(*) FROM tenants)::int > 0";

    private static readonly ConcurrentDictionary<string, string> Counted = new(StringComparer.Ordinal),
        Refuted = new(StringComparer.Ordinal);

    /// <summary>A statement that writes as many rows as a further parameter says.</summary>
    public static string Rows(string sql, int parameter) => Counted.GetOrAdd(sql, static (sql, parameter) => $"""
        WITH written AS ({sql} RETURNING 1)
        SELECT CASE WHEN count(*) = ${parameter} THEN 1 ELSE ('{Mark}{WriteProof.TableOf(sql)}.' || count(*))::int END
            FROM written
        """, parameter);

    /// <summary>
    /// A statement that a query finds nothing. What it would fail by is no constant: that would fail when it is
    /// planned.
    /// </summary>
    public static string None(string query) => Refuted.GetOrAdd(query, static query =>
        $"SELECT ('{Mark}{WriteProof.TableOf(query)}.' || pg_backend_pid())::int WHERE EXISTS ({query})");

    /// <summary>Fails, in a way of its own, if another control row is stored than the one that is known.</summary>
    public const string ControlIsKnown =
        $"SELECT ('{MovedMark}.' || pg_backend_pid())::int WHERE EXISTS ({MetaRow.OtherControl})";

    /// <summary>
    /// Adds a row of a node's log. Fails if it was not added, or if the last row before its first entry does not end
    /// where that begins: the database went back under the connection, as when a copy is restored in its place. Of a
    /// log that retention has cut away there is none.
    /// </summary>
    public const string PutAudit = $"""
        WITH written AS ({AuditRow.Put} RETURNING 1)
        SELECT CASE WHEN count(*) <> 1 OR ($2 > 1 AND coalesce(
                (SELECT last FROM audit WHERE node = $1 AND first < $2 ORDER BY first DESC LIMIT 1) <> $2 - 1,
                NOT EXISTS (SELECT 1 FROM meta WHERE key = '{AuditRow.CutPrefix}' || $1)))
            THEN ('{Mark}audit.' || count(*))::int END
        FROM written
        """;

    /// <summary>Whether a failure is that of <see cref="ControlIsKnown"/>.</summary>
    public static bool IsOfControl(NpgsqlException failure) => Said(failure, MovedMark) is not null;

    /// <summary>The table of a statement that did other than it had to; null if the failure is another.</summary>
    public static string? BrokenTable(PostgresException failure) => Said(failure, Mark);

    /// <summary>
    /// What a word that was read as a number says between a mark and the next full stop; null if the failure is
    /// another. What stands around the word is in the language of the server.
    /// </summary>
    public static string? Said(NpgsqlException failure, string mark) =>
        failure is PostgresException { SqlState: PostgresErrorCodes.InvalidTextRepresentation, MessageText: var text }
            && text.Split(mark) is [_, var rest] ? rest.Split('.')[0] : null;
}
