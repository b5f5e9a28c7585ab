using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// One of Coffer's steps, held against all other processes by a transaction that is left open: it ends with this
/// process, whatever stands in between.
/// </summary>
internal sealed class PostgresHold : IAsyncDisposable, IDisposable
{
    private const int LongestWait = 60; // seconds

    private readonly NpgsqlConnection connection;
    private readonly NpgsqlTransaction transaction;

    private PostgresHold(NpgsqlConnection connection, NpgsqlTransaction transaction) =>
        (this.connection, this.transaction) = (connection, transaction);

    /// <summary>Waits for whoever holds it.</summary>
    /// <exception cref="NpgsqlException">It was not free within a minute, or the database cannot be used.</exception>
    public static async Task<PostgresHold> TakeAsync(NpgsqlDataSource source, int step, CancellationToken ct) =>
        (await AskAsync(source, PostgresLocks.Take, step, ct))!;

    /// <returns>Null if somebody else holds it.</returns>
    /// <exception cref="NpgsqlException">The database cannot be used.</exception>
    public static Task<PostgresHold?> TryTakeAsync(NpgsqlDataSource source, int step, CancellationToken ct) =>
        AskAsync(source, "SELECT pg_try_advisory_xact_lock($1::int, $2::int)", step, ct);

    public async ValueTask DisposeAsync()
    {
        try
        {
            await transaction.DisposeAsync();
        }
        catch (NpgsqlException)
        {
            // It ended by itself.
        }

        await connection.DisposeAsync();
    }

    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();

    private static async Task<PostgresHold?> AskAsync(
        NpgsqlDataSource source, string sql, int step, CancellationToken ct)
    {
        var opened = await PostgresCall.OpenAsync(source, ct);
        PostgresHold? hold = null;
        var isTaken = false;
        try
        {
            hold = new PostgresHold(opened, await opened.BeginTransactionAsync(ct));
            await PostgresSchema.ScalarAsync(opened, PostgresSettings.Long, ct);
            await using var command = new NpgsqlCommand(sql, opened) { CommandTimeout = LongestWait };
            PostgresParameters.Add(command.Parameters, PostgresLocks.Steps, step);
            isTaken = await command.ExecuteScalarAsync(ct) is not false;
            return isTaken ? hold : null;
        }
        finally
        {
            if (!isTaken)
                await (hold?.DisposeAsync() ?? opened.DisposeAsync());
        }
    }
}
