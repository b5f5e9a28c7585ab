using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// Where the database numbers rows by itself. Logical replication copies rows and not that, and a dump of the rows
/// alone does not hold it, so such a database begins at 1 again: new rows would clash with those that are there, or
/// count as the oldest. A start moves the numbering on, and so does a node that meets the clash.
/// </summary>
internal static class PostgresNumbers
{
    private const int AtOnce = 50_000;

    // A role that may not see it finds out by a clash.
    private const string MaySee = "SELECT has_sequence_privilege('{0}_{1}_seq', 'SELECT')",
        MayMove = "SELECT has_sequence_privilege('{0}_{1}_seq', 'UPDATE')";

    private const string IsBehind = """
        SELECT coalesce((SELECT max({1}) FROM {0})
            > (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {0}_{1}_seq), false)
        """;

    // Held until the end of the transaction, so that no node takes a number meanwhile.
    private const string CatchUp = """
        LOCK TABLE {0} IN SHARE ROW EXCLUSIVE MODE;
        SELECT setval('{0}_{1}_seq', (SELECT max({1}) FROM {0}))
        """;

    private const string Last = "SELECT coalesce(max({1}), 0) FROM {0}";

    // A row that is there already is not added, and its number is used up: that needs no right but to add rows.
    private const string UseUp = """
        INSERT INTO {0} ({2}) SELECT {2} FROM (SELECT * FROM {0} LIMIT 1) AS one, generate_series(1, $1)
        ON CONFLICT DO NOTHING
        """;

    private const string IsOfNumber = """
        SELECT count(*) FROM pg_constraint k
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
        WHERE k.conname = $1 AND k.conrelid = to_regclass('{0}') AND a.attname = '{1}'
        """;

    private static IEnumerable<Table> Numbered => Tables.All.Where(table => table.Numbered is not null);

    /// <summary>Moves on what is behind the rows, as far as this role may see it.</summary>
    /// <param name="connection">In a transaction.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task CatchUpAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        foreach (var table in Numbered)
        {
            if (await IsAsync(connection, MaySee, table, ct) && await IsAsync(connection, IsBehind, table, ct))
                await MoveOnAsync(connection, table, ct);
        }
    }

    /// <summary>Moves all numbering on if a row clashed with another one of its number.</summary>
    /// <param name="connection">In a transaction, which is committed after it.</param>
    /// <param name="clash">What the database said of the row.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <returns>Whether that is what clashed.</returns>
    public static async Task<bool> MoveOnAsync(
        NpgsqlConnection connection, PostgresException clash, CancellationToken ct)
    {
        if (Numbered.FirstOrDefault(table => table.Name == clash.TableName) is not { } clashed)
            return false;
        await using var command = new NpgsqlCommand(Of(IsOfNumber, clashed), connection);
        PostgresParameters.Add(command.Parameters, clash.ConstraintName);
        if (await command.ExecuteScalarAsync(ct) is not 1L)
            return false;
        foreach (var table in Numbered)
            await MoveOnAsync(connection, table, ct);
        return true;
    }

    private static async Task MoveOnAsync(NpgsqlConnection connection, Table table, CancellationToken ct)
    {
        if (await IsAsync(connection, MaySee, table, ct) && await IsAsync(connection, MayMove, table, ct))
        {
            if (await IsAsync(connection, IsBehind, table, ct))
                await PostgresSchema.ScalarAsync(connection, Of(CatchUp, table), ct);
            return;
        }

        var left = (long)(await PostgresSchema.ScalarAsync(connection, Of(Last, table), ct))!;
        for (; left > 0; left -= AtOnce)
        {
            await using var command = new NpgsqlCommand(Of(UseUp, table), connection) { CommandTimeout = 0 };
            PostgresParameters.Add(command.Parameters, Math.Min(left, AtOnce));
            await command.ExecuteNonQueryAsync(ct);
        }
    }

    private static async Task<bool> IsAsync(
        NpgsqlConnection connection, string sql, Table table, CancellationToken ct) =>
        await PostgresSchema.ScalarAsync(connection, Of(sql, table), ct) is true;

    private static string Of(string sql, Table table) => sql
        .Replace("{0}", table.Name, StringComparison.Ordinal)
        .Replace("{1}", table.Numbered!, StringComparison.Ordinal)
        .Replace("{2}", table.Names(Enumerable.Range(0, table.Columns.Count)
            .Where(at => table.Columns[at].Name != table.Numbered)), StringComparison.Ordinal);
}
