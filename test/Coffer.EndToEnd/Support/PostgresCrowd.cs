using Npgsql;

namespace Coffer.EndToEnd;

/// <summary>Somebody else who takes all connections of a server, until it is disposed of.</summary>
/// <param name="store">The server, as a node is given it.</param>
public sealed class PostgresCrowd(string store) : IAsyncDisposable
{
    private readonly Stack<NpgsqlConnection> held = [];

    /// <summary>Takes those that are free.</summary>
    public async Task TakeFreeAsync()
    {
        while (true)
        {
            var connection = new NpgsqlConnection($"{store};Pooling=false;Application Name=crowd");
            try
            {
                await connection.OpenAsync();
                held.Push(connection);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.TooManyConnections)
            {
                await connection.DisposeAsync();
                return;
            }
        }
    }

    /// <summary>Ends those of everybody else and takes them, until it has all.</summary>
    public async Task TakeAllAsync()
    {
        await using var most = new NpgsqlCommand("SELECT current_setting('max_connections')::int", held.Peek());
        await using var end = new NpgsqlCommand(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                + "application_name <> 'crowd'", held.Peek());
        for (var all = (int)(await most.ExecuteScalarAsync())!; held.Count < all; await TakeFreeAsync())
            await end.ExecuteScalarAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var connection in held)
            await connection.DisposeAsync();
    }
}
