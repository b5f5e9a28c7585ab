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

    /// <summary>
    /// How long a batch waits for a lock that another node or program holds, before what is urgent gets its turn: of
    /// PostgreSQL's form.
    /// </summary>
    private const string LongestLockWait = "500ms";

    private static readonly TimeSpan SnapshotPatience = TimeSpan.FromSeconds(60);

    private readonly PostgresAddress address;
    private readonly NpgsqlDataSource lasting;
    private readonly NpgsqlConnection? snapshot;
    private PostgresPools pools;
    private NpgsqlConnection? writer;
    private string? warning;
    private bool hasWritten;
    private long lastWrite;
    private long reconnects;
    private PostgresNode? node;

    private PostgresEngine(
        PostgresAddress address, PostgresPools pools, NpgsqlDataSource lasting, NpgsqlConnection? snapshot = null)
    {
        (this.address, this.pools, this.lasting, this.snapshot) = (address, pools, lasting, snapshot);
        (secrets, tenants) = (Secrets(), Tenants());
    }

    public override string Name => "postgresql";

    public override string Node => node?.Name ?? base.Node;

    public override bool IsBehind => node is { IsBehind: true };

    public override bool HasOlderNodes => node is { HasOlderNodes: true };

    public override long Reconnects => Volatile.Read(ref reconnects);

    /// <summary>Opens the database, and brings its schema up to date unless another node is at it.</summary>
    /// <param name="store">An Npgsql connection string.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">
    /// It cannot be reached, is not Coffer's, or was written by a newer Coffer.
    /// </exception>
    public static Task<PostgresEngine> OpenAsync(string store, CancellationToken ct) =>
        OpenAsync(store, async (address, pools, lasting) =>
        {
            await using var connection = await lasting.OpenConnectionAsync(ct);
            await PostgresSchema.MigrateAsync(connection, address.Shown, ct);
            return new PostgresEngine(address, pools, lasting);
        });

    /// <summary>
    /// Opens the database as it is at this moment, to be read by one at a time: beside running nodes, nothing that is
    /// read moves.
    /// </summary>
    /// <inheritdoc cref="OpenAsync(string, CancellationToken)"/>
    public static Task<PostgresEngine> OpenSnapshotAsync(string store, CancellationToken ct) =>
        OpenAsync(store, async (address, pools, lasting) =>
        {
            var connection = await lasting.OpenConnectionAsync(ct);
            await using var begin = new NpgsqlCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", connection);
            await begin.ExecuteNonQueryAsync(ct);
            await PostgresSchema.RequireAsync(connection, address.Shown, ct);
            return new PostgresEngine(address, pools, lasting, connection);
        });

    public override async Task JoinAsync(CancellationToken ct)
    {
        try
        {
            node = await PostgresNode.JoinAsync(lasting, address.Patience, this, ct);
        }
        catch (NpgsqlException e)
        {
            throw Translated(e);
        }
    }

    public override async ValueTask<IAsyncDisposable?> HoldStartAsync(CancellationToken ct)
    {
        NpgsqlConnection? connection = null;
        try
        {
            connection = await lasting.OpenConnectionAsync(ct);
            // Held until the connection is closed.
            const string Lock = "SELECT pg_advisory_lock($1::int, $2::int)";
            await using var hold = new NpgsqlCommand(Lock, connection) { CommandTimeout = 60 };
            PostgresParameters.Add(hold.Parameters, PostgresLocks.Steps, PostgresLocks.Start);
            await hold.ExecuteNonQueryAsync(ct);
            return connection;
        }
        catch (NpgsqlException e)
        {
            if (connection is not null)
                await connection.DisposeAsync();
            throw Translated(e);
        }
    }

    public override void Write(IReadOnlyList<Change> changes, Func<IReadOnlyList<Note>, RowWrite?> chain)
    {
        for (var tries = 1; ; tries++)
        {
            PostgresTransaction? transaction = null;
            try
            {
                transaction = new PostgresTransaction(Writer(), address.Patience);
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
                var isUnprepared = IsUnprepared(e);
                if (isUnprepared)
                    Disconnect();
                var mayRepeat = isUnprepared || IsCollision(e) || (IsBroken(e) && transaction?.IsCommitting == false);
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
        string store, Func<PostgresAddress, PostgresPools, NpgsqlDataSource, Task<PostgresEngine>> open)
    {
        var at = PostgresAddress.Parse(store) ?? throw new ConfigurationException(
            "the store is not a connection string that names a host", PostgresAddress.Form);
        var (pools, lasting) = (at.Pools(), at.Lasting());
        try
        {
            return await open(at, pools, lasting);
        }
        catch (Exception e)
        {
            pools.Dispose();
            await lasting.DisposeAsync();
            if (e is NpgsqlException)
            {
                var reason = e is PostgresException { SqlState: var state, MessageText: var text }
                    ? $"{text} ({state})"
                    : (e.InnerException ?? e).Message;
                throw new ConfigurationException($"{at.Shown} cannot be used: {reason}",
                    "Check that PostgreSQL runs there, and that the role may connect and may create tables in its "
                    + "schema.");
            }

            throw;
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
        try
        {
            // Should this process stop in the middle of a transaction, its locks end; and none waits for a lock for
            // ever. A role that is set to answer before a commit is on the disk is overruled; one that waits for
            // standbys is not.
            using var set = new NpgsqlCommand($"""
                SELECT {PostgresAddress.ReadsByOnePlan},
                    set_config('idle_in_transaction_session_timeout', '5s', false),
                    set_config('lock_timeout', '{LongestLockWait}', false),
                    set_config('statement_timeout', '0', false), set_config('client_min_messages', 'warning', false),
                    CASE WHEN current_setting('synchronous_commit') = 'off'
                        THEN set_config('synchronous_commit', 'on', false) END
                """, connection);
            Wait(set.ExecuteNonQueryAsync(), connection);
            // Reads follow to where writes go now: of two servers that take themselves for the primary, the other one
            // may be the old.
            if (hasWritten)
            {
                GiveUp(Volatile.Read(ref pools));
                Interlocked.Increment(ref reconnects);
                Changed(News.Everything); // what was cached may be the other one's
            }

            hasWritten = true;
            return writer = connection;
        }
        catch (Exception e) when (e is not TimeoutException)
        {
            connection.Dispose();
            throw;
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
    private static bool IsUnprepared(NpgsqlException e) =>
        e.SqlState is PostgresErrorCodes.InvalidSqlStatementName or PostgresErrorCodes.DuplicatePreparedStatement;

    /// <summary>What to do about a database that fails a start.</summary>
    public static string HintOn(Exception? failure) => failure is PostgresException e && IsUnprepared(e)
        ? "Something between Coffer and PostgreSQL shares sessions, a pooler in transaction mode for example. "
            + "Connect to PostgreSQL itself, or through a pooler in session mode."
        : "Check the database; if it is damaged, restore it from a back-up.";

    /// <summary>The connection ended without a word on the statement: a commit may have been carried out.</summary>
    private static bool IsSilent(NpgsqlException e) => e is not PostgresException { InvariantSeverity: "ERROR" };

    // Whatever the database's trouble, nothing was stored or given out and the request may be tried again.
    private static ApiError Translated(NpgsqlException e) => ApiError.StorageUnavailable(e);
}
