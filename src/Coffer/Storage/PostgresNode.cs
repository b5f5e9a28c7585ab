using System.Data;
using System.Diagnostics;
using Npgsql;

namespace Coffer.Storage;

/// <summary>
/// A process as a node of the store: one connection that is kept. It holds the node's name, the lowest that was free, by an
/// advisory lock that ends with it; and it hears what other nodes tell. When it breaks, another takes its place, with the
/// same name if that is still free. While there is none, caches are bounded by their age alone.
/// </summary>
internal sealed class PostgresNode : IDisposable
{
    /// <summary>Tells all nodes, once the transaction commits, what has changed.</summary>
    public const string Tell = $"SELECT pg_notify('{Channel}', $1)";

    /// <summary>Apps, keys or revocations. (Older nodes tell of anything without a word.)</summary>
    public const string AccessChanged = "access";

    private const string Channel = "coffer", TenantGone = "tenant gone";

    /// <summary>The first of the two numbers of the lock on a name, "COFN"; the second is the node's.</summary>
    public const int LockClass = 0x434F464E;

    public const int MostNodes = 1_000;

    private static readonly TimeSpan Proof = TimeSpan.FromSeconds(2), Pause = TimeSpan.FromMilliseconds(500);

    /// <summary>After so long without a word it may have missed one; the same as the bound on what is cached by its age (<c>Epoch.Bound</c>).</summary>
    private static readonly TimeSpan LongestSilence = TimeSpan.FromSeconds(5);

    private readonly NpgsqlDataSource source;
    private readonly TimeSpan patience;
    private readonly Engine told;
    private readonly CancellationTokenSource stop = new();
    private int number;
    private long lastProven = Stopwatch.GetTimestamp();
    private Task running = Task.CompletedTask;

    private PostgresNode(NpgsqlDataSource source, TimeSpan patience, Engine told) => (this.source, this.patience, this.told) = (source, patience, told);

    public bool IsDeaf => Stopwatch.GetElapsedTime(Volatile.Read(ref lastProven)) > LongestSilence;

    public string Name => $"node_{Volatile.Read(ref number)}";

    /// <param name="source">Where its connection comes from.</param>
    /// <param name="patience">How long a statement may take.</param>
    /// <param name="told">Who hears what another node, or this one, has told; and that something may have been missed.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task<PostgresNode> JoinAsync(NpgsqlDataSource source, TimeSpan patience, Engine told, CancellationToken ct)
    {
        var node = new PostgresNode(source, patience, told);
        var connection = await node.ConnectAsync(ct);
        node.running = Task.Run(() => node.RunAsync(connection), CancellationToken.None);
        return node;
    }

    public void Dispose()
    {
        stop.Cancel();
        running.Wait();
        stop.Dispose();
    }

    private async Task RunAsync(NpgsqlConnection? connection)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                if (connection is null)
                {
                    connection = await ConnectAsync(stop.Token);
                    Hear(""); // whatever was told in between
                    Volatile.Write(ref lastProven, Stopwatch.GetTimestamp());
                }

                // A link that is gone says nothing by itself: it is asked whenever it was silent for a while.
                if (!await connection.WaitAsync(Proof, stop.Token))
                {
                    await using var proof = new NpgsqlCommand("SELECT 1", connection);
                    await PostgresCall.BoundAsync(proof.ExecuteScalarAsync(CancellationToken.None), patience, connection, stop.Token);
                }

                Volatile.Write(ref lastProven, Stopwatch.GetTimestamp());
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                break;
            }
            catch (TimeoutException)
            {
                connection = null; // it is closed when the call that hangs on it ends
            }
            catch (Exception e) when (e is NpgsqlException or OperationCanceledException or InvalidOperationException)
            {
                if (connection is not null)
                    await connection.DisposeAsync();
                connection = null;
                await Task.Delay(Pause, stop.Token).ContinueWith(static _ => { }, TaskScheduler.Default);
            }
        }

        if (connection is { FullState: ConnectionState.Open })
            await connection.DisposeAsync();
    }

    private Task<NpgsqlConnection> ConnectAsync(CancellationToken ct) => PostgresCall.BoundAsync(OpenAsync(), patience, ct: ct);

    private async Task<NpgsqlConnection> OpenAsync()
    {
        var ct = CancellationToken.None;
        var connection = await source.OpenConnectionAsync(ct);
        try
        {
            var mine = await TakeAsync(connection, number, number, ct) ?? await TakeAsync(connection, 1, MostNodes, ct)
                ?? throw new InvalidOperationException($"{MostNodes} processes hold a node's name on this database");
            Volatile.Write(ref number, mine);
            connection.Notification += (_, told) => Hear(told.Payload);
            await using var listen = new NpgsqlCommand($"LISTEN {Channel}", connection);
            await listen.ExecuteNonQueryAsync(ct);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    /// <summary>That a tenant was removed. Ids hold no line breaks.</summary>
    public static string Gone(TenantId tenant) => string.Join('\n', TenantGone, tenant.App, tenant.Livemode ? "live" : "test", tenant.Account);

    private void Hear(string what)
    {
        if (what.Split('\n') is [TenantGone, var app, var mode, var account])
        {
            told.TenantGone(new TenantId(app, mode == "live", account));
            return;
        }

        told.Changed();
        if (what != AccessChanged)
            told.TenantGone(null);
    }

    private static async Task<int?> TakeAsync(NpgsqlConnection connection, int lowest, int highest, CancellationToken ct)
    {
        if (lowest == 0)
            return null;
        await using var take = new NpgsqlCommand("SELECT n FROM generate_series($1::int, $2::int) AS n WHERE pg_try_advisory_lock($3::int, n) LIMIT 1", connection);
        foreach (PostgresValue value in (PostgresValue[])[lowest, highest, LockClass])
            take.Parameters.Add(value.Parameter);
        return (int?)await take.ExecuteScalarAsync(ct);
    }
}
