using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>Finds out what stands between this process and a database.</summary>
internal static class PostgresSessions
{
    // A pooler that carries prepared statements from session to session gives them names of its own.
    private const string KeepsName = """
        SELECT count(*) FROM pg_prepared_statements
        WHERE name LIKE '\_p%' AND statement LIKE '%whether this keeps its name%'
        """;

    /// <param name="connection">Open, and in no transaction.</param>
    /// <param name="address">Where it leads; whether to prepare is set there, unless it says so itself.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task<Connections> FindAsync(
        NpgsqlConnection connection, PostgresAddress address, CancellationToken ct)
    {
        var isPooled = !await IsOwnAsync(connection, ct);
        if (isPooled && !address.SaysWhetherToPrepare && !await IsCarriedAsync(connection, ct))
            address.PrepareNothing();
        return new Connections(isPooled, address.Prepares);
    }

    /// <summary>
    /// Whether a connection's session is its own. A pooler gives its clients the number of none: what it tells them is
    /// its own, by which it knows whose statement is to be cancelled.
    /// </summary>
    public static async Task<bool> IsOwnAsync(NpgsqlConnection connection, CancellationToken ct) =>
        await PostgresSchema.ScalarAsync(connection, "SELECT pg_backend_pid()", ct) is int number
            && number == connection.ProcessID;

    // In one transaction, so in one session, from which it is removed again.
    private static async Task<bool> IsCarriedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var transaction = await connection.BeginTransactionAsync(ct);
        await using var command = new NpgsqlCommand(KeepsName, connection);
        try
        {
            await command.PrepareAsync(ct);
            var isKept = await command.ExecuteScalarAsync(ct) is > 0L;
            await command.UnprepareAsync(ct);
            await transaction.CommitAsync(ct);
            return !isKept;
        }
        catch (PostgresException e) when (PostgresFailures.IsUnprepared(e))
        {
            return false; // somebody else has one of this name in this session
        }
    }
}
