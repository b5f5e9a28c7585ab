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
    private readonly NpgsqlDataSource lasting;
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
        settings = new PostgresSettings(servers, address.Patience);
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

    public override string Node => node?.Name ?? base.Node;

    public override bool IsBehind => node is { IsBehind: true };

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
    /// <exception cref="ConfigurationException">
    /// It cannot be reached, is not Coffer's, or was written by a newer Coffer.
    /// </exception>
    public static Task<PostgresEngine> OpenAsync(string store, CancellationToken ct, int? upTo = null) =>
        OpenAsync(store, async (connection, database) =>
        {
            await PostgresSchema.MigrateAsync(connection, database.Address.Shown, ct, upTo);
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
            await using var begin = new NpgsqlCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", connection);
            await begin.ExecuteNonQueryAsync(ct);
            await PostgresSchema.RequireAsync(connection, database.Address.Shown, ct);
            return new PostgresEngine(database, connection);
        }, ct);

    /// <summary>The same, whatever its schema is: <see cref="ProveSchemaAsync"/> tells.</summary>
    /// <inheritdoc cref="OpenAsync(string, CancellationToken)"/>
    public static Task<PostgresEngine> OpenToReadAsync(string store, CancellationToken ct) =>
        OpenAsync(store, async (connection, database) =>
        {
            await using var begin = new NpgsqlCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", connection);
            await begin.ExecuteNonQueryAsync(ct);
            return new PostgresEngine(database, connection);
        }, ct);

    /// <summary>How the server is set up, asked on a connection of its own.</summary>
    public ValueTask<PostgresCondition> FindConditionAsync(TimeProvider time, CancellationToken ct) =>
        TranslatedAsync(PostgresCondition.FindAsync(lasting, time, ct));

    public override async ValueTask<(long Found, long Known)> ProveSchemaAsync(CancellationToken ct)
    {
        await using var own = snapshot is null ? await lasting.OpenConnectionAsync(ct) : null;
        return await TranslatedAsync(PostgresSchema.ProveAsync(own ?? snapshot!, address.Shown, ct));
    }

    public override async Task JoinAsync(CancellationToken ct) =>
        node = await TranslatedAsync(PostgresNode.JoinAsync(lasting, address.Patience, servers, this, ct));

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
                    throw new LockedException(e);
                }

                var isElsewhere = Follows(e);
                var isUnprepared = IsUnprepared(e);
                if (isUnprepared)
                    Disconnect();
                var mayRepeat = isElsewhere || isUnprepared || IsCollision(e)
                    || (IsBroken(e) && transaction?.IsCommitting == false);
                if (tries == MostTries || transaction is null || !mayRepeat)
                {
                    var isUncertain = transaction?.IsCommitting == true && IsSilent(e);
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

    public override void Dispose()
    {
        node?.Dispose();
        node = null;
        writer?.Dispose();
        snapshot?.Dispose();
        pools.Dispose();
        lasting.Dispose();
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
            connection = await source.OpenConnectionAsync(ct);
            var found = await PostgresServers.FindAsync(connection, ct);
            var prepares = at.Prepares;
            var ways = await PostgresSessions.FindAsync(connection, at, ct);
            if (at.Prepares != prepares)
            {
                await connection.DisposeAsync();
                await source.DisposeAsync();
                source = at.Lasting();
                connection = await source.OpenConnectionAsync(ct);
            }

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
        var connection = Wait(lasting.OpenConnectionAsync().AsTask());
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

    /// <summary>Two transactions were in each other's way, and this one was to give in.</summary>
    private static bool IsCollision(NpgsqlException e) =>
        e.SqlState is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected;

    /// <summary>The connection is gone, or the server ends it: another one may reach it, or its successor.</summary>
    private static bool IsBroken(NpgsqlException e) => e is PostgresException { SqlState: var state }
        ? state is PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown
            or PostgresErrorCodes.ReadOnlySqlTransaction
        : e.InnerException is not TimeoutException;

    /// <summary>
    /// The server does not have a statement that the driver takes for prepared, as after a batch that ended before it
    /// came to preparing it: nothing was carried out, and on this connection nothing will be.
    /// </summary>
    public static bool IsUnprepared(Exception e) => e is PostgresException
    {
        SqlState: PostgresErrorCodes.InvalidSqlStatementName or PostgresErrorCodes.DuplicatePreparedStatement,
    };

    /// <summary>The connection ended without a word on the statement: a commit may have been carried out.</summary>
    private static bool IsSilent(NpgsqlException e) => e is not PostgresException { InvariantSeverity: "ERROR" };

    // Whatever the database's trouble, nothing was stored or given out and the request may be tried again.
    private static ApiError Translated(NpgsqlException e) => ApiError.StorageUnavailable(e);
}
