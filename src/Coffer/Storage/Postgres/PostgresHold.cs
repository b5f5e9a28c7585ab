using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// One of Coffer's steps, held against all other processes by a transaction that is left open: it ends with this
/// process, whatever stands in between.
/// </summary>
internal sealed class PostgresHold : IAsyncDisposable, IDisposable
{
    // However long the step takes, the transaction does nothing meanwhile.
    private const string Rest = "SELECT set_config('idle_in_transaction_session_timeout', '0', true)";

    private const int LongestWait = 60; // seconds

    private readonly NpgsqlConnection connection;
    private readonly NpgsqlTransaction transaction;

    private PostgresHold(NpgsqlConnection connection, NpgsqlTransaction transaction) =>
        (this.connection, this.transaction) = (connection, transaction);

    /// <summary>Waits for whoever holds it.</summary>
    /// <exception cref="NpgsqlException">It was not free within a minute, or the database cannot be used.</exception>
    public static async Task<PostgresHold> TakeAsync(NpgsqlDataSource source, int step, CancellationToken ct)
    {
        var hold = await BeginAsync(source, ct);
        try
        {
            await hold.AskAsync("SELECT pg_advisory_xact_lock($1::int, $2::int)", step, ct);
            return hold;
        }
        catch
        {
            await hold.DisposeAsync();
            throw;
        }
    }

    /// <returns>Null if somebody else holds it.</returns>
    /// <exception cref="NpgsqlException">The database cannot be used.</exception>
    public static async Task<PostgresHold?> TryTakeAsync(NpgsqlDataSource source, int step, CancellationToken ct)
    {
        var hold = await BeginAsync(source, ct);
        var isMine = false;
        try
        {
            isMine = await hold.AskAsync("SELECT pg_try_advisory_xact_lock($1::int, $2::int)", step, ct) is true;
            return isMine ? hold : null;
        }
        finally
        {
            if (!isMine)
                await hold.DisposeAsync();
        }
    }

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

    private static async Task<PostgresHold> BeginAsync(NpgsqlDataSource source, CancellationToken ct)
    {
        var opened = await source.OpenConnectionAsync(ct);
        try
        {
            var hold = new PostgresHold(opened, await opened.BeginTransactionAsync(ct));
            await PostgresSchema.ScalarAsync(opened, Rest, ct);
            return hold;
        }
        catch
        {
            await opened.DisposeAsync();
            throw;
        }
    }

    private async Task<object?> AskAsync(string sql, int step, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = LongestWait };
        PostgresParameters.Add(command.Parameters, PostgresLocks.Steps, step);
        return await command.ExecuteScalarAsync(ct);
    }
}
