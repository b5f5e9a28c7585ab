using System.Data;
using System.Diagnostics;
using System.Security.Cryptography;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// A process as a node of the store: it has a name, the lowest that was free, in a row; and once a second it reads from
/// rows what other nodes changed. Where its session is its own, it is rung at when there is something, and reads at
/// once. When its connection breaks, another takes its place, with the same name if that is still free. While there is
/// none, caches are bounded by their age alone.
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

    private static readonly TimeSpan Period = TimeSpan.FromSeconds(1), Pause = TimeSpan.FromMilliseconds(500),
        LongestFarewell = TimeSpan.FromSeconds(3);

    /// <summary>
    /// How often at most it reads, however often others ring: who reads later reads of several changes at once.
    /// </summary>
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// After so long without a word it may have missed one; the same as the bound on what is cached by its age
    /// (<c>Epoch.Bound</c>).
    /// </summary>
    private static readonly TimeSpan LongestSilence = TimeSpan.FromSeconds(5);

    private readonly Func<CancellationToken, Task<NpgsqlConnection>> connect;
    private readonly TimeSpan patience;
    private readonly PostgresServers servers;
    private readonly PostgresEngine owner;
    private readonly PostgresNames names;
    private readonly NodeRow row;
    private readonly PostgresPoll poll;
    private readonly List<string> bells = [];
    private NpgsqlConnection? connection;
    private int number;
    private bool hasName;
    private bool hasBell;
    private long lastProven = Stopwatch.GetTimestamp();
    private bool hasOlderNodes;
    private bool hasNodesOfFormatOne;
    private (PostgresPrimary Server, long Since)? elsewhere;

    private PostgresNode(Func<CancellationToken, Task<NpgsqlConnection>> connect, TimeSpan patience,
        PostgresServers servers, PostgresSettings settings, PostgresEngine owner)
    {
        (this.connect, this.patience, this.servers, this.owner) = (connect, patience, servers, owner);
        row = new NodeRow(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
            typeof(PostgresNode).Assembly.GetName().Version!.ToString(3), owner.Address);
        (poll, names) = (new PostgresPoll(servers, settings), new PostgresNames(servers, settings));
        Loop = new Loop("notifications", RoundAsync, TimeProvider.System, owner.Log) { Pauses = (Pause, Pause) };
    }

    public Loop Loop { get; }

    public bool IsBehind => Silence > LongestSilence;

    /// <summary>How long ago it was last read what others changed.</summary>
    public TimeSpan Silence => Stopwatch.GetElapsedTime(Volatile.Read(ref lastProven));

    /// <summary>Whether nodes of the release before run, as of the last poll.</summary>
    public bool HasOlderNodes => Volatile.Read(ref hasOlderNodes);

    /// <summary>By how much this machine's clock is ahead of the database's, as of the last poll.</summary>
    public TimeSpan ClockOffset => poll.ClockOffset;

    /// <summary>Whether nodes run that do not read tenant keys of format 2, as of the last poll.</summary>
    public bool HasNodesOfFormatOne => Volatile.Read(ref hasNodesOfFormatOne);

    public string Name => $"node_{Volatile.Read(ref number)}";

    /// <summary>False from when another process was found to have its name until it has another.</summary>
    public bool HasName => Volatile.Read(ref hasName);

    /// <param name="connect">Opens a connection.</param>
    /// <param name="patience">How long a statement may take.</param>
    /// <param name="servers">Where the database is.</param>
    /// <param name="settings">What each transaction sets.</param>
    /// <param name="owner">Who is notified of what another node, or this one, has changed; and that something may have
    /// been missed.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task<PostgresNode> JoinAsync(Func<CancellationToken, Task<NpgsqlConnection>> connect,
        TimeSpan patience, PostgresServers servers, PostgresSettings settings, PostgresEngine owner,
        CancellationToken ct)
    {
        var node = new PostgresNode(connect, patience, servers, settings, owner);
        node.connection = await node.ConnectAsync(ct);
        node.Loop.Start();
        return node;
    }

    public void Dispose()
    {
        Loop.Dispose();
        if (connection is { FullState: ConnectionState.Open })
            LeaveAsync(connection).Wait();
    }

    private async Task<TimeSpan> RoundAsync(CancellationToken ct)
    {
        try
        {
            if (connection is null)
            {
                connection = await ConnectAsync(ct);
                Volatile.Write(ref lastProven, Stopwatch.GetTimestamp());
            }

            // A bell that never rings, on a link that is gone for example, is not waited for: what is read, is read
            // all the same.
            await connection.WaitAsync(Period, ct);
            // At a stop what is being read is waited for, since the farewell goes by the same connection.
            using var end = new CancellationTokenSource();
            await using var ending = ct.Register(() => end.CancelAfter(LongestFarewell));
            await PostgresCall.BoundAsync(PollAsync(connection, isFirst: false), patience, connection, end.Token);
            Volatile.Write(ref lastProven, Stopwatch.GetTimestamp());
            await Task.Delay(Pace, ct);
            return TimeSpan.Zero;
        }
        catch (OperationCanceledException) when (ct.IsCancellationRequested)
        {
            throw;
        }
        catch (TimeoutException)
        {
            connection = null; // it is closed when the call that hangs on it ends
            throw;
        }
        catch (Exception e)
        {
            FollowIfLasting(e);
            var broken = connection;
            connection = null;
            if (broken is not null)
                await broken.DisposeAsync();
            throw;
        }
    }

    private Task<NpgsqlConnection> ConnectAsync(CancellationToken ct) =>
        PostgresCall.BoundAsync(OpenAsync(), patience, ct: ct);

    private async Task<NpgsqlConnection> OpenAsync()
    {
        var ct = CancellationToken.None;
        var opened = await connect(ct);
        try
        {
            if (await TakeNameAsync(opened))
            {
                // One that says its name.
                await opened.DisposeAsync();
                opened = await connect(ct);
            }

            hasBell = await PostgresSessions.IsOwnAsync(opened, ct);
            if (hasBell)
            {
                opened.Notification += (_, sent) => bells.Add(sent.Payload);
                await using var listen = new NpgsqlCommand($"LISTEN {Channel}", opened);
                await listen.ExecuteNonQueryAsync(ct);
            }

            await PollAsync(opened, isFirst: true);
            return opened;
        }
        catch
        {
            await opened.DisposeAsync();
            throw;
        }
    }

    private async Task<bool> PollAsync(NpgsqlConnection by, bool isFirst)
    {
        var answer = await poll.AskAsync(by, isFirst, number, row.Holder, owner.OpenedRoot);
        elsewhere = null;
        if (!answer.HasName)
            await TakeNameAsync(by);
        // What older nodes change is in no row: it arrives as they send it. As long as they are there, this
        // node listens in their way too.
        var followsOlder = answer.HasOlderNodes || HasOlderNodes;
        var turned = answer.HasOlderNodes != HasOlderNodes;
        Volatile.Write(ref hasOlderNodes, answer.HasOlderNodes);
        Volatile.Write(ref hasNodesOfFormatOne, answer.HasNodesOfFormatOne);
        foreach (var news in answer.News)
            owner.Changed(news);
        if (turned || (followsOlder && !hasBell))
            owner.Changed(News.Everything);
        foreach (var payload in bells)
        {
            if (payload.Length == 0 || followsOlder)
                owner.Changed(NewsOf(payload));
        }

        bells.Clear();
        return true;
    }

    // The one that it had if that can be: until it is known to be another's, it is this node's. True if it is another.
    private async Task<bool> TakeNameAsync(NpgsqlConnection by)
    {
        if (await names.TakeAgainAsync(by, number, row))
            return false;
        Volatile.Write(ref hasName, false);
        Volatile.Write(ref number, await names.TakeAsync(by, row));
        Volatile.Write(ref hasName, true);
        owner.Call(Name);
        return true;
    }

    // A server that is before the one that is known is the database's again if it is all that this node finds for a
    // while, and nothing is stored elsewhere: the other was given up.
    private void FollowIfLasting(Exception failure)
    {
        if (failure is not NpgsqlException e || PostgresServers.Named(e) is not { } other
            || servers.FollowIfNewer(other))
            return;
        if (elsewhere is not { } found || found.Server != other)
            elsewhere = (other, Stopwatch.GetTimestamp());
        else if (Stopwatch.GetElapsedTime(found.Since) > LongestSilence && servers.SinceConfirmed > LongestSilence)
            servers.Follow(other);
    }

    private async Task LeaveAsync(NpgsqlConnection by)
    {
        try
        {
            await PostgresCall.BoundAsync(names.LetGoAsync(by, row.Holder), LongestFarewell, by);
        }
        catch (TimeoutException)
        {
            return; // it is closed when the call that hangs on it ends
        }
        catch (Exception e) when (e is NpgsqlException or InvalidOperationException)
        {
            // It is closed all the same.
        }

        await by.DisposeAsync();
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
}
