using Npgsql;
using NpgsqlTypes;

namespace Coffer.Storage.Postgres;

/// <summary>How a server is set up and how it is doing, as far as the role may see it.</summary>
/// <param name="Version">Its release.</param>
/// <param name="Settings">Those of <see cref="Asked"/> that it has, by name.</param>
internal sealed record PostgresCondition(Version Version, IReadOnlyDictionary<string, string> Settings)
{
    private static readonly string[] Asked =
    [
        "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "data_checksums", "wal_level",
        "archive_mode", "max_connections", "superuser_reserved_connections", "reserved_connections",
        "default_transaction_read_only",
    ];

    /// <summary>What could not be asked, and why.</summary>
    public IReadOnlyList<string> Unseen { get; init; } = [];

    /// <summary>Whether it follows another server.</summary>
    public bool IsStandby { get; init; }

    /// <summary>Whether the session of this process is encrypted; null is not known.</summary>
    public bool? IsEncrypted { get; init; }

    /// <summary>Of the oldest transaction of any of its databases: at 2 billion nothing more is written.</summary>
    public long? Age { get; init; }

    /// <summary>How many connections the role may still open.</summary>
    public long? FreeConnections { get; init; }

    /// <summary>Bytes of the database.</summary>
    public long? Size { get; init; }

    /// <summary>Whether the last file of the write-ahead log could not be archived.</summary>
    public bool IsArchivingFailing { get; init; }

    /// <summary>How far its clock is behind this machine's; negative is ahead.</summary>
    public TimeSpan? Behind { get; init; }

    /// <summary>The servers that follow it.</summary>
    public IReadOnlyList<Follower> Followers { get; init; } = [];

    /// <summary>The processes that have, or had, a node's name.</summary>
    public IReadOnlyList<Node> Nodes { get; init; } = [];

    /// <summary>A setting that it has, or null.</summary>
    public string? this[string name] => Settings.GetValueOrDefault(name);

    /// <summary>A server that follows.</summary>
    /// <param name="Name">As it calls itself.</param>
    /// <param name="State">Null where the role may not see it.</param>
    /// <param name="IsWaitedFor">Whether commits wait for it.</param>
    /// <param name="Lag">How long a change takes until it is applied there; null is not known, or nothing.</param>
    public sealed record Follower(string Name, string? State, bool IsWaitedFor, TimeSpan? Lag);

    /// <summary>A process that has a node's name.</summary>
    /// <param name="Name">The name.</param>
    /// <param name="Version">The program's.</param>
    /// <param name="IsLive">Whether its lease lasts.</param>
    /// <param name="Until">When the lease ends, or ended.</param>
    /// <param name="Ahead">How far its clock is ahead of the database's.</param>
    public sealed record Node(string Name, string Version, bool IsLive, DateTimeOffset Until, TimeSpan Ahead);

    /// <param name="source">Where a connection comes from, which is used for nothing else.</param>
    /// <param name="time">The clock of this machine.</param>
    /// <param name="ct">Ends the wait.</param>
    public static async Task<PostgresCondition> FindAsync(
        NpgsqlDataSource source, TimeProvider time, CancellationToken ct)
    {
        await using var connection = await PostgresCall.OpenAsync(source, ct);
        var unseen = new List<string>();
        var settings = new Dictionary<string, string>();
        foreach (var (name, value) in await ListAsync("SELECT name, setting FROM pg_settings WHERE name = ANY ($1)",
            row => (row.GetString(0), row.GetString(1)), "settings"))
            settings[name] = value;
        var began = time.GetUtcNow();
        var clock = await NumberAsync($"SELECT {PostgresPoll.Clock}", "the clock");
        var middle = began + ((time.GetUtcNow() - began) / 2);
        return new PostgresCondition(connection.PostgreSqlVersion, settings)
        {
            Unseen = unseen,
            IsStandby = await IsAsync("SELECT pg_is_in_recovery()", "standby or primary") == true,
            IsEncrypted = await IsAsync("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "TLS"),
            Age = await NumberAsync("SELECT max(age(datfrozenxid))::bigint FROM pg_database", "the oldest transaction"),
            FreeConnections = await NumberAsync(Free, "free connections"),
            Size = await NumberAsync("SELECT pg_database_size(current_database())", "the size"),
            IsArchivingFailing = await IsAsync("""
                SELECT last_failed_time > coalesce(last_archived_time, '-infinity') FROM pg_stat_archiver
                """, "archiving") == true,
            Behind = clock is { } at ? middle - DateTimeOffset.FromUnixTimeMilliseconds(at) : null,
            Followers = await ListAsync("""
                SELECT coalesce(application_name, ''), state, sync_state IN ('sync', 'quorum'),
                    extract(epoch FROM replay_lag)::float8
                FROM pg_stat_replication ORDER BY 1
                """, row => new Follower(row.GetString(0), row.IsDBNull(1) ? null : row.GetString(1),
                    !row.IsDBNull(2) && row.GetBoolean(2),
                    row.IsDBNull(3) ? null : TimeSpan.FromSeconds(row.GetDouble(3))), "replicas"),
            Nodes = await ListAsync("""
                SELECT number, version, until > now(), extract(epoch FROM until)::bigint, clock_offset
                FROM nodes ORDER BY number
                """, row => new Node($"node_{row.GetInt64(0)}", row.GetString(1), row.GetBoolean(2),
                    DateTimeOffset.FromUnixTimeSeconds(row.GetInt64(3)), TimeSpan.FromMilliseconds(row.GetInt64(4))),
                "nodes"),
        };

        async Task<long?> NumberAsync(string sql, string what) =>
            await ListAsync(sql, row => row.IsDBNull(0) ? (long?)null : row.GetInt64(0), what) is [var number]
                ? number
                : null;

        async Task<bool?> IsAsync(string sql, string what) =>
            await ListAsync(sql, row => row.IsDBNull(0) ? (bool?)null : row.GetBoolean(0), what) is [var answer]
                ? answer
                : null;

        // What this server or role does not have is said, and the rest is asked all the same.
        async Task<IReadOnlyList<T>> ListAsync<T>(string sql, Func<NpgsqlDataReader, T> map, string what)
        {
            try
            {
                await using var command = new NpgsqlCommand(sql, connection);
                if (sql.Contains("$1", StringComparison.Ordinal))
                    command.Parameters.Add(new NpgsqlParameter
                    {
                        Value = Asked,
                        NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text,
                    });
                await using var reader = await command.ExecuteReaderAsync(ct);
                var rows = new List<T>();
                while (await reader.ReadAsync(ct))
                    rows.Add(map(reader));
                return rows;
            }
            catch (PostgresException e) when (e.SqlState != PostgresErrorCodes.AdminShutdown)
            {
                unseen.Add($"{what} ({e.MessageText})");
                return [];
            }
        }
    }

    // Rows of other roles' sessions are hidden from most roles, their number is not.
    private const string Free = """
        SELECT least(
            (SELECT sum(CASE WHEN name = 'max_connections' THEN setting::bigint ELSE -setting::bigint END)
                FROM pg_settings
                WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections'))
                - (SELECT sum(numbackends) FROM pg_stat_database),
            (SELECT nullif(datconnlimit, -1) - numbackends
                FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid WHERE d.datname = current_database()),
            (SELECT nullif(rolconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user)
                FROM pg_roles WHERE rolname = current_user))::bigint
        """;
}
