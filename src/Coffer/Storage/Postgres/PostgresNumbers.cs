using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// Where the database numbers rows by itself. Logical replication copies rows and not that, so a database that was made
/// by it begins at 1 again: new rows would clash with those that are there, or count as the oldest.
/// </summary>
internal static class PostgresNumbers
{
    // A role that may not see it did not create the tables: it is proven when one that did starts.
    private const string MaySee = "SELECT has_sequence_privilege('{0}_{1}_seq', 'SELECT')";

    private const string IsBehind = """
        SELECT coalesce((SELECT max({1}) FROM {0})
            > (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {0}_{1}_seq), false)
        """;

    // Held until the end of the transaction, so that no node takes a number meanwhile.
    private const string CatchUp = """
        LOCK TABLE {0} IN SHARE ROW EXCLUSIVE MODE;
        SELECT setval('{0}_{1}_seq', (SELECT max({1}) FROM {0}))
        """;

    /// <summary>Moves on what is behind the rows.</summary>
    /// <param name="connection">In a transaction.</param>
    /// <param name="shown">Which database it is, for messages.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">It is behind, and this role may not move it.</exception>
    public static async Task CatchUpAsync(NpgsqlConnection connection, string shown, CancellationToken ct)
    {
        foreach (var table in Tables.All.Where(table => table.Numbered is not null))
        {
            if (await PostgresSchema.ScalarAsync(connection, Of(MaySee, table), ct) is not true
                || await PostgresSchema.ScalarAsync(connection, Of(IsBehind, table), ct) is not true)
                continue;
            try
            {
                await PostgresSchema.ScalarAsync(connection, Of(CatchUp, table), ct);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
            {
                throw new ConfigurationException(
                    $"the numbers of new rows of {table.Name} in {shown} are behind those of its rows",
                    "A copy by logical replication is such. Start once as the role that owns the tables.");
            }
        }
    }

    private static string Of(string sql, Table table) =>
        sql.Replace("{0}", table.Name, StringComparison.Ordinal)
            .Replace("{1}", table.Numbered!, StringComparison.Ordinal);
}
