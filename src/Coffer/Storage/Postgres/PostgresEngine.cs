using System.Data;
using System.Diagnostics;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// The engine for several nodes: one PostgreSQL database, from which each node reads through pools of connections and
/// to which it writes through one of its own. What one node does and what another does meet in the rows that they lock.
/// </summary>
internal sealed partial class PostgresEngine : Engine
{
    private const int MostTries = 4;

    /// <summary>
    /// After a pause this long the writer's connection is proven before it is used: a commit that finds it broken may
    /// or may not be stored.
    /// </summary>
    public static readonly TimeSpan LongestUnproven = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan SnapshotPatience = TimeSpan.FromSeconds(60);

    private readonly PostgresAddress address;
    private readonly PostgresServers servers;
    private readonly PostgresSettings settings;
    private readonly List<NpgsqlDataSource> retired = [];
    private NpgsqlDataSource lasting;
    private readonly NpgsqlConnection? snapshot;
    private PostgresPools pools;
    private NpgsqlConnection? writer;
    private string? warning;
    private bool hasWritten;
    private long lastWrite;
    private PostgresNode? node;

    private PostgresEngine(Database database, NpgsqlConnection? snapshot = null)
    {
        (address, servers, Connections, lasting) = database;
        this.snapshot = snapshot;
        pools = address.Pools();
        settings = new PostgresSettings(servers, address);
        (secrets, tenants) = (Secrets(), Tenants());
        servers.Moved = () =>
        {
            // What was opened to another server may be there still, and what was cached may be the other one's.
            GiveUp(Volatile.Read(ref pools));
            Changed(News.Everything);
        };
    }

    private sealed record Database(
        PostgresAddress Address, PostgresServers Servers, Connections Connections, NpgsqlDataSource Lasting);

    public override string Name => "postgresql";

    public override Loop? Loop => node?.Loop;

    public override string Node => node?.Name ?? base.Node;

    public override bool IsBehind => node is { IsBehind: true };

    public override TimeSpan Silence => node?.Silence ?? TimeSpan.Zero;

    public override TimeSpan? ClockOffset => node?.ClockOffset;

    public override bool HasOlderNodes => node is { HasOlderNodes: true };

    public override bool HasNodesOfFormatOne => node is { HasNodesOfFormatOne: true };

    public override long Failovers => servers.Moves;

    public override Connections? Connections { get; }

    /// <summary>Where it is, with what was found out of the way to it.</summary>
    public PostgresAddress Way => address;

    /// <summary>Opens the database, and brings its schema up to date unless another node is at it.</summary>
    /// <param name="store">An Npgsql connection string.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="upTo">The schema to stop at; null is the newest.</param>
    /// <param name="expected">Why there has to be a store already, in words; null is that it may be a new one.</param>
    /// <exception cref="ConfigurationException">
    /// It cannot be reached, is not Coffer's, was written by a newer Coffer, or is empty although it has to be there.
    /// </exception>
    public static Task<PostgresEngine> OpenAsync(
        string store, CancellationToken ct, int? upTo = null, string? expected = null) =>
        OpenAsync(store, async (connection, database) =>
        {
            await PostgresSchema.MigrateAsync(connection, database.Address.Shown, ct, upTo, expected);
            await connection.DisposeAsync();
            return new PostgresEngine(database);
        }, ct);

    /// <summary>
    /// Opens the database as it is at this moment, to be read by one at a time: beside running nodes, nothing that is
    /// read moves.
    /// </summary>
    /// <inheritdoc cref="OpenAsync(string, CancellationToken)"/>
    public static Task<PostgresEngine> OpenSnapshotAsync(string store, CancellationToken ct) =>
        OpenAsync(store, async (connection, database) =>
        {
            await PostgresSettings.BeginAsync(connection, PostgresSettings.ToRead, ct);
            await PostgresSchema.RequireAsync(connection, database.Address.Shown, ct);
            return new PostgresEngine(database, connection);
        }, ct);

    /// <summary>The same, whatever its schema is: <see cref="ProveSchemaAsync"/> tells.</summary>
    /// <inheritdoc cref="OpenAsync(string, CancellationToken)"/>
    public static Task<PostgresEngine> OpenToReadAsync(string store, CancellationToken ct) =>
        OpenAsync(store, async (connection, database) =>
        {
            await PostgresSettings.BeginAsync(connection, PostgresSettings.ToRead, ct);
            return new PostgresEngine(database, connection);
        }, ct);

    /// <summary>How the server is set up, asked on a connection of its own.</summary>
    public ValueTask<PostgresCondition> FindConditionAsync(TimeProvider time, CancellationToken ct) =>
        TranslatedAsync(PostgresCondition.FindAsync(lasting, time, ct));

    public override async ValueTask<(long Found, long Known)> ProveSchemaAsync(CancellationToken ct)
    {
        await using var own = snapshot is null ? await PostgresCall.OpenAsync(lasting, ct) : null;
        return await TranslatedAsync(PostgresSchema.ProveAsync(own ?? snapshot!, address.Shown, ct));
    }

    public override async Task JoinAsync(CancellationToken ct) =>
        node = await TranslatedAsync(PostgresNode.JoinAsync(
            token => PostgresCall.OpenAsync(Volatile.Read(ref lasting), token), address.Patience, servers, settings,
            this, ct));

    public override async ValueTask<IAsyncDisposable?> HoldStartAsync(CancellationToken ct) =>
        await TranslatedAsync(PostgresHold.TakeAsync(lasting, PostgresLocks.Start, ct));

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        if (node is { HasName: false })
            throw ApiError.StorageUnavailable(new InvalidOperationException("another has this node's name"));
        for (var tries = 1; ; tries++)
        {
            PostgresTransaction? transaction = null;
            try
            {
                var begin = PostgresSettings.Command(settings.OfWrites, servers.Current);
                transaction = new PostgresTransaction(
                    Writer(), begin, address.Patience, KnownControl());
                warning = null;
                isInTransaction = true;
                var refusals = transaction.Run(changes, chain);
                if (warning is not null)
                    throw ApiError.StorageUncertain(
                        new NpgsqlException($"the commit is not known to be safe: {warning}"));
                if (!transaction.News.IsEmpty)
                    Changed(transaction.News);
                // A refusal is answered once its entry is durable, like everything else.
                foreach (var (change, refusal) in refusals)
                    change.Fail(refusal);
                lastWrite = Stopwatch.GetTimestamp();
                servers.Confirm();
                return;
            }
            catch (PostgresException e) when (PostgresProof.BrokenTable(e) is { } table)
            {
                // A statement that was prepared under a rule may stay what that made of it: the next batch has a
                // connection of its own.
                Rollback(e);
                Disconnect();
                throw WriteProof.Broken(table, e);
            }
            catch (NpgsqlException e)
            {
                Rollback(e);
                if (e.SqlState == PostgresErrorCodes.LockNotAvailable)
                    throw new LockedException(e);
                if (PostgresProof.IsOfControl(e))
                {
                    ControlMoved();
                    throw new LockedException(e) { IsOfControl = true };
                }

                var isElsewhere = Follows(e);
                var isUnprepared = PostgresFailures.IsUnprepared(e);
                if (isUnprepared)
                    Disconnect();
                var mayRepeat = isElsewhere || isUnprepared || PostgresFailures.IsCollision(e)
                    || (PostgresFailures.IsBroken(e) && transaction?.IsCommitting == false) || HasMovedOn(e);
                if (tries == MostTries || transaction is null || !mayRepeat)
                {
                    var isUncertain = transaction?.IsCommitting == true && PostgresFailures.IsSilent(e);
                    throw isUncertain ? ApiError.StorageUncertain(e) : Translated(e);
                }
            }
            catch (TimeoutException e)
            {
                writer = null; // it is closed when the call that hangs on it ends
                GiveUp(Volatile.Read(ref pools));
                throw transaction?.IsCommitting == true ? ApiError.StorageUncertain(e) : ApiError.StorageUnavailable(e);
            }
            catch
            {
                Rollback(null);
                throw;
            }
            finally
            {
                isInTransaction = false;
            }
        }
    }

    /// <summary>Has connections that are opened from now on say whose they are.</summary>
    public void Call(string name)
    {
        address.Call(name);
        retired.Add(Interlocked.Exchange(ref lasting, address.Lasting())); // somebody may be opening one by it
        GiveUp(Volatile.Read(ref pools));
    }

    public override void Dispose()
    {
        node?.Dispose();
        node = null;
        writer?.Dispose();
        snapshot?.Dispose();
        pools.Dispose();
        lasting.Dispose();
        retired.ForEach(static source => source.Dispose());
    }

    private static async Task<PostgresEngine> OpenAsync(
        string store, Func<NpgsqlConnection, Database, Task<PostgresEngine>> open, CancellationToken ct)
    {
        var at = PostgresAddress.Parse(store) ?? throw new ConfigurationException(
            "the store is not a connection string that names a host", PostgresAddress.Form);
        NpgsqlDataSource? source = null;
        NpgsqlConnection? connection = null;
        try
        {
            source = at.Lasting();
            connection = await PostgresCall.OpenAsync(source, ct);
            var found = await PostgresServers.FindAsync(connection, ct);
            var prepares = at.Prepares;
            var ways = await PostgresSessions.FindAsync(connection, at, ct);
            if (await PostgresSchema.ScalarAsync(connection, "SELECT quote_ident(current_schema())", ct) is string own)
                at.Pin(own, ways.ArePooled);
            var isWrong = at.Prepares != prepares;
            if (isWrong)
                await connection.DisposeAsync();
            await source.DisposeAsync(); // what it has opened stays open
            source = at.Lasting();
            if (isWrong)
                connection = await PostgresCall.OpenAsync(source, ct);
            return await open(connection, new Database(at, found, ways, source));
        }
        catch (Exception e)
        {
            if (connection is not null)
                await connection.DisposeAsync();
            if (source is not null)
                await source.DisposeAsync();
            if (e is ConfigurationException or ApiError or OperationCanceledException)
                throw;
            throw PostgresTrouble.OnOpening(e, at);
        }
    }

    private NpgsqlConnection Writer()
    {
        if (writer?.State == ConnectionState.Open && IsProven(writer))
            return writer;
        writer?.Dispose();
        writer = null;
        var connection = Wait(PostgresCall.OpenAsync(lasting, CancellationToken.None));
        // A commit that stopped waiting for the standby is a success with a warning, and is not one here.
        connection.Notice += (_, sent) =>
            warning = sent.Notice.InvariantSeverity == "WARNING" ? sent.Notice.MessageText : warning;
        // What ended the one before may have been the end of its server, or of what stands before it.
        if (hasWritten)
            servers.Suspect();
        hasWritten = true;
        return writer = connection;
    }

    // Writes go to wherever the address leads.
    private bool Follows(NpgsqlException failure)
    {
        if (PostgresServers.Named(failure) is not { } other)
            return false;
        servers.Follow(other);
        return true;
    }

    // Rows that clash with others of their number may be written once the numbering has come past those.
    private bool HasMovedOn(NpgsqlException failure)
    {
        if (failure is not PostgresException { SqlState: PostgresErrorCodes.UniqueViolation } clash)
            return false;
        try
        {
            var connection = Writer();
            return Wait(MoveOnAsync(connection), connection);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            Disconnect();
            return false;
        }

        async Task<bool> MoveOnAsync(NpgsqlConnection by)
        {
            await PostgresSettings.BeginAsync(by, PostgresSettings.ToWrite, CancellationToken.None, address);
            var hasMoved = await PostgresNumbers.MoveOnAsync(by, clash, CancellationToken.None);
            await PostgresSchema.ScalarAsync(by, "COMMIT", CancellationToken.None);
            return hasMoved;
        }
    }

    private bool IsProven(NpgsqlConnection connection)
    {
        if (Stopwatch.GetElapsedTime(lastWrite) < LongestUnproven)
            return true;
        try
        {
            using var proof = new NpgsqlCommand("SELECT 1", connection);
            Wait(proof.ExecuteNonQueryAsync(), connection);
            return true;
        }
        catch (NpgsqlException)
        {
            return false; // nothing was under way on it
        }
    }

    private void Rollback(NpgsqlException? reason)
    {
        try
        {
            if (writer?.State == ConnectionState.Open && reason?.SqlState != PostgresErrorCodes.ReadOnlySqlTransaction)
            {
                using var rollback = new NpgsqlCommand("ROLLBACK", writer);
                Wait(rollback.ExecuteNonQueryAsync(), writer);
                return;
            }
        }
        catch (TimeoutException)
        {
            writer = null;
        }
        catch (NpgsqlException)
        {
            // Whatever is left of the transaction ends with the connection.
        }

        Disconnect();
    }

    private void Disconnect()
    {
        writer?.Dispose();
        writer = null;
    }

    private T Wait<T>(Task<T> call, NpgsqlConnection? on = null) =>
        PostgresCall.BoundAsync(call, address.Patience, on).GetAwaiter().GetResult();

    // Whatever the database's trouble, nothing was stored or given out and the request may be tried again.
    private static ApiError Translated(NpgsqlException e) => ApiError.StorageUnavailable(e);
}
