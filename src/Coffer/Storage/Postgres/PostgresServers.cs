using System.Diagnostics;
using System.Globalization;
using Npgsql;
using NpgsqlTypes;

namespace Coffer.Storage.Postgres;

/// <summary>A server that the database was found on.</summary>
/// <param name="Started">When it was started, by its own clock: another start, another server.</param>
/// <param name="Timeline">
/// Which history it writes: a standby that is promoted begins another. 0 is not known, -1 is a standby.
/// </param>
internal sealed record PostgresPrimary(DateTime Started, long Timeline)
{
    /// <summary>
    /// Whether it is after another: of two that take themselves for the primary, the one that was promoted last.
    /// </summary>
    public bool IsAfter(PostgresPrimary other) =>
        (Timeline, Started).CompareTo((other.Timeline, other.Started)) > 0;
}

/// <summary>
/// Which server the database is on, as far as this process knows. Behind a pooler a connection stays open when another
/// server takes over, so each transaction proves first that it is on the server that is known: what was read before a
/// failover is not given out after it, and nothing is added to a log that the new server may not have. It is proven by
/// the server, since the whole transaction may be on its way before the first answer comes.
/// </summary>
internal sealed class PostgresServers
{
    private const string Mark = "coffer: other server ";

    private const string Timeline = $"""
        CASE WHEN pg_is_in_recovery() THEN -1 ELSE
            ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END
        """;

    private readonly string timeline;
    private PostgresPrimary current;
    private long moves;
    private long confirmed = Stopwatch.GetTimestamp();

    private PostgresServers(PostgresPrimary current, string timeline) =>
        (this.current, this.timeline) = (current, timeline);

    /// <summary>Called, on any thread, when the database is found on another server.</summary>
    public Action Moved { get; set; } = static () => { };

    /// <summary>The server that is known.</summary>
    public PostgresPrimary Current => Volatile.Read(ref current);

    /// <summary>How often the database was, or may have been, found on another server.</summary>
    public long Moves => Volatile.Read(ref moves);

    /// <summary>Fails, naming its server, on another one than <see cref="Expected"/> names.</summary>
    public string Proof => $"""
        CASE WHEN pg_postmaster_start_time() = $1 THEN 0 ELSE ('{Mark}'
            || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint || ' ' || {timeline} || '.')::int END
        """;

    /// <summary>The parameter of <see cref="Proof"/>.</summary>
    public static NpgsqlParameter Expected(PostgresPrimary server) =>
        new NpgsqlParameter<DateTime> { TypedValue = server.Started, NpgsqlDbType = NpgsqlDbType.TimestampTz };

    /// <summary>Finds out which server answers.</summary>
    /// <param name="connection">Open, and in no transaction.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task<PostgresServers> FindAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        try
        {
            return await FindAsync(connection, Timeline, ct);
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.FeatureNotSupported
            or PostgresErrorCodes.InsufficientPrivilege or PostgresErrorCodes.UndefinedFunction)
        {
            // Some who build on PostgreSQL keep their log in another way. Then who started last is after the other.
            return await FindAsync(connection, "CASE WHEN pg_is_in_recovery() THEN -1 ELSE 0 END", ct);
        }
    }

    /// <summary>Which other server a failure names; null if the failure is another.</summary>
    public static PostgresPrimary? Named(NpgsqlException failure) =>
        PostgresProof.Said(failure, Mark)?.Split(' ') is [var started, var timeline]
            ? new PostgresPrimary(
                DateTime.UnixEpoch.AddMicroseconds(long.Parse(started, CultureInfo.InvariantCulture)),
                long.Parse(timeline, CultureInfo.InvariantCulture))
            : null;

    /// <summary>How long ago something was stored, or another server was followed.</summary>
    public TimeSpan SinceConfirmed => Stopwatch.GetElapsedTime(Volatile.Read(ref confirmed));

    /// <summary>Something was stored: the database is on the server that is known.</summary>
    public void Confirm() => Volatile.Write(ref confirmed, Stopwatch.GetTimestamp());

    /// <summary>Takes another server for the one that the database is on.</summary>
    public void Follow(PostgresPrimary other)
    {
        if (Interlocked.Exchange(ref current, other) != other)
            Suspect();
    }

    /// <summary>
    /// The database may be on another server, or another one on the same: nothing that is known holds.
    /// </summary>
    public void Suspect()
    {
        Confirm();
        // In this order: who has seen the new number asks the new server.
        Interlocked.Increment(ref moves);
        Moved();
    }

    /// <summary>
    /// The same if that one is after the one that is known. An older one that still answers is not the database's any
    /// more: a pooler may keep a connection to it for a while.
    /// </summary>
    /// <returns>Whether it is followed.</returns>
    public bool FollowIfNewer(PostgresPrimary other)
    {
        var known = Current;
        if (!other.IsAfter(known))
            return other == known;
        Follow(other);
        return true;
    }

    private static async Task<PostgresServers> FindAsync(
        NpgsqlConnection connection, string timeline, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand($"SELECT pg_postmaster_start_time(), {timeline}", connection);
        await using var reader = await command.ExecuteReaderAsync(ct);
        await reader.ReadAsync(ct);
        return new PostgresServers(new PostgresPrimary(reader.GetDateTime(0), reader.GetInt64(1)), timeline);
    }
}
