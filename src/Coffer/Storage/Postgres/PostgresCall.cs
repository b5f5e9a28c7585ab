using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// A call to the database that is given up when it takes too long. Npgsql's own timeouts ask the server to cancel first
/// and wait for it without an end, which a network that hangs never gives; and a commit that is cancelled while it
/// waits for a standby is answered as if it were safe there. So they are off, and nothing that writes is ever asked to
/// be cancelled.
/// </summary>
internal static class PostgresCall
{
    /// <exception cref="TimeoutException">
    /// It was given up. What it does later nobody waits for; <paramref name="connection"/> is closed then, and is not
    /// to be used.
    /// </exception>
    public static async Task<T> BoundAsync<T>(
        Task<T> call, TimeSpan most, IDisposable? connection = null, CancellationToken ct = default)
    {
        try
        {
            return await call.WaitAsync(most, ct);
        }
        catch (Exception e) when (!call.IsCompleted && e is TimeoutException or OperationCanceledException)
        {
            _ = call.ContinueWith(ended =>
            {
                _ = ended.Exception; // observed
                (ended.Status == TaskStatus.RanToCompletion ? ended.Result as IDisposable : null)?.Dispose();
                connection?.Dispose();
            }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            throw;
        }
    }

    /// <summary>Opens a connection: the one place that does.</summary>
    /// <exception cref="NpgsqlException">None could be opened, whatever the driver ended with.</exception>
    public static async Task<NpgsqlConnection> OpenAsync(NpgsqlDataSource source, CancellationToken ct)
    {
        try
        {
            return await source.OpenConnectionAsync(ct);
        }
        catch (Exception e) when (e is not (NpgsqlException or OperationCanceledException))
        {
            throw new UnopenedException(e);
        }
    }
}
