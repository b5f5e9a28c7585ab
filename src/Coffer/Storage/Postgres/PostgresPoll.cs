using System.Diagnostics;
using System.Globalization;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// What a node asks and says once a second, in one round trip: what was sent since, whether nodes of a release run that
/// tells nothing in rows, and every few seconds its own row, in which it lives on.
/// </summary>
/// <param name="servers">Where the database is.</param>
/// <param name="settings">What each transaction sets.</param>
internal sealed class PostgresPoll(PostgresServers servers, PostgresSettings settings)
{
    private const int MostTold = 1_000;

    /// <summary>The database's clock, in milliseconds.</summary>
    public const string Clock = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

    private static readonly TimeSpan Tidying = TimeSpan.FromMinutes(1);

    // A session that holds a node's name and not the mark is one of a program that does not know these rows.
    private static readonly string State = string.Create(CultureInfo.InvariantCulture, $"""
        WITH held AS MATERIALIZED (
            SELECT classid::bigint AS class, pid FROM pg_locks WHERE {PostgresLocks.Held})
        SELECT {CommitOrder.Last}, {Clock},
            (SELECT count(*) FROM held h WHERE class = {PostgresLocks.Names}
                AND NOT EXISTS (SELECT FROM held m WHERE m.pid = h.pid AND m.class = {PostgresLocks.Marks})),
            ({PostgresNames.CountOlder})
        """);

    private static readonly string Told = $"SELECT n, what FROM told WHERE n > $1 ORDER BY n LIMIT {MostTold}";

    private const string PruneTold = "DELETE FROM told WHERE at < now() - interval '10 minutes'";
    private const string PruneNodes = "DELETE FROM nodes WHERE until < now() - interval '1 day'";

    private long last = -1;
    private long offset;
    private long renewed;
    private long tidied;

    /// <summary>
    /// By how much this machine's clock is ahead of the database's: the least that the last answer and the moments
    /// before and after it allow, so that an answer which was long under way does not count as a clock that is wrong.
    /// </summary>
    public TimeSpan ClockOffset => TimeSpan.FromMilliseconds(Volatile.Read(ref offset));

    /// <summary>What a poll found.</summary>
    /// <param name="News">What was changed since the one before, in the order of commits.</param>
    /// <param name="HasOlderNodes">Whether nodes run that tell nothing in rows.</param>
    /// <param name="HasName">Whether it still has the name that it had.</param>
    /// <param name="HasNodesOfFormatOne">Whether nodes run that do not read tenant keys of format 2.</param>
    public sealed record Answer(
        IReadOnlyList<News> News, bool HasOlderNodes, bool HasName, bool HasNodesOfFormatOne);

    /// <param name="connection">The node's own.</param>
    /// <param name="isFirst">Whether it is the first on this connection: then what was changed before is not
    /// known.</param>
    /// <param name="number">The number in the node's name.</param>
    /// <param name="holder">Who has it.</param>
    /// <param name="opened">The newest root key that it has opened.</param>
    public async Task<Answer> AskAsync(
        NpgsqlConnection connection, bool isFirst, long number, string holder, long opened)
    {
        var renews = isFirst || Stopwatch.GetElapsedTime(renewed) >= PostgresNames.Renewal;
        var tidies = Stopwatch.GetElapsedTime(tidied) >= Tidying;
        await using var batch = new NpgsqlBatch(connection);
        PostgresSettings.Add(batch, PostgresSettings.ToWrite);
        batch.BatchCommands.Add(PostgresSettings.Command(settings.OfNode, servers.Current));
        PostgresSettings.Add(batch, State);
        PostgresSettings.Add(batch, Told, isFirst ? long.MaxValue : last);
        if (renews)
            PostgresSettings.Add(batch, PostgresNames.Renew, number, holder, offset, opened);
        if (tidies)
        {
            PostgresSettings.Add(batch, PruneTold);
            PostgresSettings.Add(batch, PruneNodes);
        }

        PostgresSettings.Add(batch, "COMMIT");

        var (sent, before) = (Stopwatch.GetTimestamp(), Now());
        await using var reader = await batch.ExecuteReaderAsync();
        await reader.NextResultAsync();
        await reader.ReadAsync();
        var (epoch, clock, older) = (reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2));
        var ofFormatOne = reader.GetInt64(3);
        Volatile.Write(ref offset, OffsetOf(clock, before, Now()));
        await reader.NextResultAsync();
        var told = new List<(long Number, string What)>();
        while (await reader.ReadAsync())
            told.Add((reader.GetInt64(0), reader.GetString(1)));
        var hasName = !renews || (await reader.NextResultAsync() && await reader.ReadAsync());
        while (await reader.NextResultAsync())
        {
            // Statements without rows: what they have to say is whether they failed.
        }

        renewed = renews && hasName ? sent : renewed;
        tidied = tidies ? sent : tidied;
        return new Answer(isFirst ? Begin(epoch) : Read(epoch, told), older > 0, hasName, ofFormatOne > 0);
    }

    /// <summary>What is certain of an offset, in milliseconds.</summary>
    /// <param name="clock">What the database said.</param>
    /// <param name="before">What this machine's clock said before it was asked.</param>
    /// <param name="after">The same after it had answered.</param>
    public static long OffsetOf(long clock, long before, long after) =>
        clock < before ? before - clock : Math.Min(after - clock, 0);

    /// <summary>What this machine's clock says, in milliseconds.</summary>
    public static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    private IReadOnlyList<News> Begin(long epoch)
    {
        last = epoch;
        return [News.Everything];
    }

    /// <summary>
    /// Each number follows the one before. Where one is missing, it was removed before this node read it; where the
    /// last one is less than before, another server holds the database, which has not all that was committed.
    /// </summary>
    private IReadOnlyList<News> Read(long epoch, List<(long Number, string What)> told)
    {
        var news = new List<News>(told.Count);
        foreach (var (number, what) in told)
        {
            if (number != last + 1)
                return Begin(Math.Max(epoch, told[^1].Number));
            last = number;
            news.Add(News.Parse(what));
        }

        // Told and numbered in one commit, and read after the number was: what is not there is gone.
        return epoch != last && !(told.Count > 0 && epoch < last) ? Begin(epoch) : news;
    }
}
