using System.Data;
using System.Diagnostics;
using System.Security.Cryptography;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// A process as a node of the store: one connection that is kept. It holds the node's name, the lowest that was free,
/// by an advisory lock that ends with it, and in a row; and once a second it reads what other nodes changed, sooner
/// when one of them rings. When it breaks, another takes its place, with the same name if that is still free. While
/// there is none, caches are bounded by their age alone.
/// </summary>
internal sealed class PostgresNode : IDisposable
{
    /// <summary>
    /// Rings at all nodes once the transaction commits; nodes of the release before learn what has changed by it alone.
    /// </summary>
    public const string Ring = $"SELECT pg_notify('{Channel}', $1)";

    /// <summary>Apps, keys or revocations. (Nodes before the release before tell of anything without a word.)</summary>
    public const string AccessChanged = "access";

    private const string Channel = "coffer", TenantGone = "tenant gone";

    public const int MostNodes = 1_000;

    private static readonly TimeSpan Period = TimeSpan.FromSeconds(1), Pause = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// How often at most it reads, however often others ring: who reads later reads of several changes at once.
    /// </summary>
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// After so long without a word it may have missed one; the same as the bound on what is cached by its age
    /// (<c>Epoch.Bound</c>).
    /// </summary>
    private static readonly TimeSpan LongestSilence = TimeSpan.FromSeconds(5);

    private readonly NpgsqlDataSource source;
    private readonly TimeSpan patience;
    private readonly Engine owner;
    private readonly string holder = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
    private readonly string version = typeof(PostgresNode).Assembly.GetName().Version!.ToString(3);
    private readonly PostgresPoll poll = new();
    private readonly List<string> bells = [];
    private readonly CancellationTokenSource stop = new();
    private int number;
    private long lastProven = Stopwatch.GetTimestamp();
    private bool hasOlderNodes;
    private Task running = Task.CompletedTask;

    private PostgresNode(NpgsqlDataSource source, TimeSpan patience, Engine owner) =>
        (this.source, this.patience, this.owner) = (source, patience, owner);

    public bool IsBehind => Stopwatch.GetElapsedTime(Volatile.Read(ref lastProven)) > LongestSilence;

    /// <summary>Whether nodes of the release before run, as of the last poll.</summary>
    public bool HasOlderNodes => Volatile.Read(ref hasOlderNodes);

    public string Name => $"node_{Volatile.Read(ref number)}";

    /// <param name="source">Where its connection comes from.</param>
    /// <param name="patience">How long a statement may take.</param>
    /// <param name="owner">Who is notified of what another node, or this one, has changed; and that something may have
    /// been missed.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task<PostgresNode> JoinAsync(NpgsqlDataSource source, TimeSpan patience, Engine owner,
        CancellationToken ct)
    {
        var node = new PostgresNode(source, patience, owner);
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
                    Volatile.Write(ref lastProven, Stopwatch.GetTimestamp());
                }

                // A bell that never rings, on a link that is gone for example, is not waited for: what is read, is read
                // all the same.
                await connection.WaitAsync(Period, stop.Token);
                await PostgresCall.BoundAsync(PollAsync(connection, isFirst: false), patience, connection, stop.Token);
                Volatile.Write(ref lastProven, Stopwatch.GetTimestamp());
                await Task.Delay(Pace, stop.Token);
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
            await LeaveAsync(connection);
    }

    private Task<NpgsqlConnection> ConnectAsync(CancellationToken ct) =>
        PostgresCall.BoundAsync(OpenAsync(), patience, ct: ct);

    private async Task<NpgsqlConnection> OpenAsync()
    {
        var ct = CancellationToken.None;
        var connection = await source.OpenConnectionAsync(ct);
        try
        {
            // Before it has a name, so that whoever sees the name sees the mark.
            await using var mark = new NpgsqlCommand("SELECT pg_advisory_lock_shared($1::int, 0)", connection);
            PostgresParameters.Add(mark.Parameters, PostgresLocks.Marks);
            await mark.ExecuteNonQueryAsync(ct);
            var mine = await TakeAsync(connection, number, number, ct) ?? await TakeAsync(connection, 1, MostNodes, ct)
                ?? throw new InvalidOperationException($"{MostNodes} processes hold a node's name on this database");
            Volatile.Write(ref number, mine);
            connection.Notification += (_, sent) => bells.Add(sent.Payload);
            await using var listen = new NpgsqlCommand($"LISTEN {Channel}", connection);
            await listen.ExecuteNonQueryAsync(ct);
            await PollAsync(connection, isFirst: true);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    private async Task<bool> PollAsync(NpgsqlConnection connection, bool isFirst)
    {
        var answer = await poll.AskAsync(connection, isFirst, new NodeRow(number, holder, version, owner.Address));
        // What older nodes change is in no row: it arrives as they send it. As long as they are there, this
        // node listens in their way too.
        var followsOlder = answer.HasOlderNodes || HasOlderNodes;
        var turned = answer.HasOlderNodes != HasOlderNodes;
        Volatile.Write(ref hasOlderNodes, answer.HasOlderNodes);
        foreach (var news in answer.News)
            owner.Changed(news);
        if (turned)
            owner.Changed(News.Everything);
        foreach (var payload in bells)
        {
            if (payload.Length == 0 || followsOlder)
                owner.Changed(NewsOf(payload));
        }

        bells.Clear();
        return true;
    }

    // So that nobody waits for the lease to end, which it does by itself if this cannot be said.
    private async Task LeaveAsync(NpgsqlConnection connection)
    {
        try
        {
            var leave = new NpgsqlCommand(PostgresPoll.Leave, connection);
            PostgresParameters.Add(leave.Parameters, number, holder);
            await PostgresCall.BoundAsync(leave.ExecuteNonQueryAsync(CancellationToken.None), Period, connection);
        }
        catch (TimeoutException)
        {
            return; // it is closed when the call that hangs on it ends
        }
        catch (Exception e) when (e is NpgsqlException or InvalidOperationException)
        {
            // It is closed all the same.
        }

        await connection.DisposeAsync();
    }

    /// <summary>That a tenant was removed. Ids hold no line breaks.</summary>
    public static string Gone(TenantId tenant) =>
        string.Join('\n', TenantGone, tenant.App, tenant.Livemode ? "live" : "test", tenant.Account);

    /// <summary>What a node of the release before tells: a word, or nothing, which is everything.</summary>
    private static News NewsOf(string payload) => payload.Split('\n') switch
    {
        [TenantGone, var app, var mode, var account] => News.Of(new TenantId(app, mode == "live", account)),
        [AccessChanged] => News.AllAccess,
        _ => News.Everything,
    };

    private static async Task<int?> TakeAsync(
        NpgsqlConnection connection, int lowest, int highest, CancellationToken ct)
    {
        if (lowest == 0)
            return null;
        await using var take = new NpgsqlCommand(
            "SELECT n FROM generate_series($1::int, $2::int) AS n WHERE pg_try_advisory_lock($3::int, n) LIMIT 1",
            connection);
        PostgresParameters.Add(take.Parameters, lowest, highest, PostgresLocks.Names);
        return (int?)await take.ExecuteScalarAsync(ct);
    }
}
