using System.Globalization;
using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// Who has which name, in the rows of <c>nodes</c>: a lease on the database's clock, so that no session has to last. A
/// name that was let go, or whose lease is over, belongs to whoever comes next, and its chain continues. That two
/// who both take themselves for its holder do not fork it is seen to by the log itself, where no two rows of a node
/// begin at the same entry.
/// </summary>
/// <param name="servers">Where the database is.</param>
/// <param name="settings">What each transaction sets.</param>
internal sealed class PostgresNames(PostgresServers servers, PostgresSettings settings)
{
    public const int Most = 1_000;

    public static readonly TimeSpan Lease = TimeSpan.FromSeconds(10), Renewal = TimeSpan.FromSeconds(3);

    // Nodes of earlier releases hold a name by a lock of their session, and some do not look at these rows.
    private static readonly string Locked = string.Create(CultureInfo.InvariantCulture, $"""
        SELECT objid::bigint FROM pg_locks WHERE {PostgresLocks.Held} AND classid::bigint = {PostgresLocks.Names}
        """);

    /// <summary>How many processes have a name.</summary>
    public static readonly string CountRunning = $"""
        SELECT count(*) FROM (SELECT number FROM nodes WHERE until > now() UNION {Locked}) AS running
        """;

    // The lowest of a range that is free. A node of before that takes it at the same moment leaves none.
    private static readonly string Take = string.Create(CultureInfo.InvariantCulture, $"""
        INSERT INTO nodes
            (number, holder, until, version, address, started, seen, clock_offset, draining, level, reads_format_2)
        SELECT n, $3, now() + interval '{Lease.TotalSeconds} s', $4, $5, now(), now(), 0, 0,
            {Engine.KnownLevel}, $3
        FROM generate_series($1, $2) AS n
        WHERE n NOT IN (SELECT number FROM nodes WHERE holder <> $3 AND until > now() UNION ALL {Locked})
        ORDER BY n LIMIT 1
        ON CONFLICT (number) DO UPDATE SET holder = $3, until = excluded.until, version = $4, address = $5,
            started = CASE WHEN nodes.holder = $3 THEN nodes.started ELSE excluded.started END,
            seen = excluded.seen, draining = 0, level = excluded.level, reads_format_2 = $3,
            opened = CASE WHEN nodes.holder = $3 THEN nodes.opened ELSE 0 END
        WHERE nodes.holder = $3 OR nodes.until <= now()
        RETURNING number
        """);

    /// <summary>Lives on as the holder of a name; gives a row if it still is.</summary>
    public static readonly string Renew = string.Create(CultureInfo.InvariantCulture, $"""
        UPDATE nodes SET until = now() + interval '{Lease.TotalSeconds} s', seen = now(), clock_offset = $3,
            opened = $4
        WHERE number = $1 AND holder = $2
            AND number NOT IN ({Locked})
        RETURNING number
        """);

    // What stands there of another holder says nothing of this one: a program of before leaves both columns alone.
    private const string ReadsFormatTwo = "coalesce(reads_format_2 = holder, false)";

    /// <summary>How many processes have a name and do not read tenant keys of format 2.</summary>
    public static readonly string CountOlder = $"""
        SELECT count(*) FROM (
            SELECT number FROM nodes WHERE until > now() AND NOT {ReadsFormatTwo}
            UNION SELECT l.objid FROM ({Locked}) AS l (objid)) AS older
        """;

    /// <summary>
    /// The names that are held, the newest root key that each holder has opened, the newest level that it reads, and
    /// whether it reads tenant keys of format 2.
    /// </summary>
    public static readonly string Live = $"""
        SELECT number, opened, CASE WHEN {ReadsFormatTwo} THEN level ELSE 0 END,
            CASE WHEN {ReadsFormatTwo} THEN 1 ELSE 0 END FROM nodes WHERE until > now()
        UNION SELECT l.objid, 0, 0, 0 FROM ({Locked}) AS l (objid)
            WHERE l.objid NOT IN (SELECT number FROM nodes WHERE until > now())
        ORDER BY number
        """;

    private const string LetGo = "DELETE FROM nodes WHERE holder = $1 AND number <> $2";

    /// <summary>Takes the name that it had, if it may.</summary>
    /// <param name="connection">Open, and in no transaction.</param>
    /// <param name="number">The number in it; 0 is none.</param>
    /// <param name="row">What it says of itself.</param>
    public async Task<bool> TakeAgainAsync(NpgsqlConnection connection, int number, NodeRow row) =>
        number > 0 && await TakeAsync(connection, number, number, row) is not null;

    /// <summary>Takes the lowest name that is free, and lets go of others.</summary>
    /// <returns>The number in it.</returns>
    /// <exception cref="InvalidOperationException">None is free.</exception>
    public async Task<int> TakeAsync(NpgsqlConnection connection, NodeRow row)
    {
        for (var tries = 0; tries < 10; tries++)
        {
            if (await TakeAsync(connection, 1, Most, row) is { } taken)
            {
                await LetGoAsync(connection, row.Holder, but: taken);
                return taken;
            }
        }

        throw new InvalidOperationException($"{Most} processes hold a node's name on this database");
    }

    /// <summary>So that nobody waits for a lease to end, which it does by itself if this cannot be said.</summary>
    /// <param name="connection">Open, and in no transaction.</param>
    /// <param name="holder">Whose names.</param>
    /// <param name="but">The number of the one that is kept; 0 is none.</param>
    public async Task<bool> LetGoAsync(NpgsqlConnection connection, string holder, int but = 0)
    {
        await using var batch = Begin(connection);
        PostgresSettings.Add(batch, LetGo, holder, (long)but);
        PostgresSettings.Add(batch, "COMMIT");
        return await batch.ExecuteNonQueryAsync() > 0;
    }

    private async Task<int?> TakeAsync(NpgsqlConnection connection, long lowest, long highest, NodeRow row)
    {
        await using var batch = Begin(connection);
        // One at a time, so that of many who start at once each gets one at its first try.
        PostgresSettings.Add(batch, PostgresLocks.Take, PostgresLocks.Steps, PostgresLocks.Naming);
        PostgresSettings.Add(batch, Take, lowest, highest, row.Holder, row.Version, row.Address);
        PostgresSettings.Add(batch, "COMMIT");
        await using var reader = await batch.ExecuteReaderAsync();
        await reader.NextResultAsync();
        await reader.NextResultAsync();
        var taken = await reader.ReadAsync() ? (int)reader.GetInt64(0) : (int?)null;
        while (await reader.NextResultAsync())
        {
            // The commit: what it has to say is whether it failed.
        }

        return taken;
    }

    private NpgsqlBatch Begin(NpgsqlConnection connection)
    {
        var batch = new NpgsqlBatch(connection);
        PostgresSettings.Add(batch, PostgresSettings.ToWrite);
        batch.BatchCommands.Add(PostgresSettings.Command(settings.OfNode, servers.Current));
        return batch;
    }
}

/// <summary>What a node says of itself.</summary>
/// <param name="Holder">Distinct for each process.</param>
/// <param name="Version">The program's.</param>
/// <param name="Address">Where it answers, or null.</param>
internal sealed record NodeRow(string Holder, string Version, string? Address);
