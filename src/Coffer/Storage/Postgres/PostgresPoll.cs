using System.Globalization;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// What a node asks and says once a second, in one round trip: what was sent since, whether nodes of a release run that
/// tells nothing in rows, and its own row, in which it lives on.
/// </summary>
internal sealed class PostgresPoll
{
    private const int MostTold = 1_000;

    private const string Here = "(SELECT oid FROM pg_database WHERE datname = current_database())";

    // A session that holds a node's name and not the mark is one of a program that does not know these rows.
    private static readonly string State = string.Create(CultureInfo.InvariantCulture, $"""
        WITH held AS MATERIALIZED (
            SELECT classid::bigint AS class, pid FROM pg_locks
            WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND database = {Here})
        SELECT {CommitOrder.Last}, (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
            (SELECT count(*) FROM held h WHERE class = {PostgresLocks.Names}
                AND NOT EXISTS (SELECT FROM held m WHERE m.pid = h.pid AND m.class = {PostgresLocks.Marks}))
        """);

    private static readonly string Told = $"SELECT n, what FROM told WHERE n > $1 ORDER BY n LIMIT {MostTold}";

    // Nothing is lost with it but a second of a lease: no commit waits for a disk or a standby.
    private const string Lightly = "SELECT set_config('synchronous_commit', 'off', true)";

    private const string Renew = """
        INSERT INTO nodes (number, holder, until, version, address, started, seen, clock_offset, draining)
        VALUES ($1, $2, now() + interval '10 s', $3, $4, now(), now(), $5, 0)
        ON CONFLICT (number) DO UPDATE SET
            holder = $2, until = excluded.until, version = $3, address = $4, seen = now(), clock_offset = $5,
            started = CASE WHEN nodes.holder = $2 THEN nodes.started ELSE now() END
        """;

    public const string Leave = "DELETE FROM nodes WHERE number = $1 AND holder = $2";

    private const string PruneTold = "DELETE FROM told WHERE at < now() - interval '10 minutes'";
    private const string PruneNodes = "DELETE FROM nodes WHERE until < now() - interval '1 day'";

    private long last = -1;
    private long offset;
    private int polls;

    /// <summary>What a poll found.</summary>
    /// <param name="News">What was changed since the one before, in the order of commits.</param>
    /// <param name="HasOlderNodes">Whether nodes run that tell nothing in rows.</param>
    public sealed record Answer(IReadOnlyList<News> News, bool HasOlderNodes);

    /// <param name="connection">The node's own.</param>
    /// <param name="isFirst">Whether it is the first on this connection: then what was changed before is not
    /// known.</param>
    /// <param name="row">What the node says of itself.</param>
    public async Task<Answer> AskAsync(NpgsqlConnection connection, bool isFirst, NodeRow row)
    {
        var count = isFirst ? 0 : polls;
        polls = count + 1;
        await using var batch = new NpgsqlBatch(connection);
        Add(batch, State);
        Add(batch, Told, isFirst ? long.MaxValue : last);
        if (count % 3 == 0)
        {
            Add(batch, Lightly);
            Add(batch, Renew, row.Number, row.Holder, row.Version, row.Address, offset);
        }

        if (count % 60 == 1)
        {
            Add(batch, Lightly);
            Add(batch, PruneTold);
            Add(batch, PruneNodes);
        }

        await using var reader = await batch.ExecuteReaderAsync();
        await reader.ReadAsync();
        var (epoch, clock, older) = (reader.GetInt64(0), reader.GetInt64(1), reader.GetInt64(2));
        offset = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() - clock;
        await reader.NextResultAsync();
        var told = new List<(long Number, string What)>();
        while (await reader.ReadAsync())
            told.Add((reader.GetInt64(0), reader.GetString(1)));
        while (await reader.NextResultAsync())
        {
            // Statements without rows: what they have to say is whether they failed.
        }

        return new Answer(isFirst ? Begin(epoch) : Read(epoch, told), older > 0);
    }

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

    private static void Add(NpgsqlBatch batch, string sql, params ReadOnlySpan<SqlValue> values)
    {
        var command = new NpgsqlBatchCommand(sql);
        PostgresParameters.Add(command.Parameters, values);
        batch.BatchCommands.Add(command);
    }
}

/// <summary>What a node says of itself.</summary>
/// <param name="Number">The number in its name.</param>
/// <param name="Holder">Distinct for each process.</param>
/// <param name="Version">The program's.</param>
/// <param name="Address">Where it answers, or null.</param>
internal sealed record NodeRow(long Number, string Holder, string Version, string? Address);
