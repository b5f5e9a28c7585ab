using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// What each transaction sets for itself, in its own round trip, with the proof that it is on the right server. Nothing
/// is set on a session: a pooler lends it to somebody else after each transaction.
/// </summary>
internal sealed class PostgresSettings
{
    /// <summary>
    /// How long a batch waits for a lock that another node or program holds, before what is urgent gets its turn: of
    /// PostgreSQL's form.
    /// </summary>
    private const string LongestLockWait = "500ms";

    /// <summary>
    /// Of what looks up by key what it reads: a plan that was made when the tables were empty, and read them whole,
    /// would be kept as they grow.
    /// </summary>
    public const string ByKey = $"""
        {ByIndex}, set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
        set_config('jit', 'off', true)
        """;

    private const string ByIndex = "set_config('enable_seqscan', 'off', true)";

    // Of statements for which one plan is good whatever is asked for: it is made once, which takes longer than to carry
    // it out.
    private const string OnePlan = "set_config('plan_cache_mode', 'force_generic_plan', true)";

    // Releases before 17 do not have it.
    private const string NoEnd = """
        CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL
            THEN set_config('transaction_timeout', '0', true) END
        """;

    /// <summary>
    /// How a transaction begins that writes, or that only reads and sees one state: whatever is set for the role or the
    /// database.
    /// </summary>
    public const string ToWrite = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        ToRead = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ToCopy = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE";

    /// <summary>
    /// What a transaction sets that may last and rest: a start, a migration, a copy, an export. How definitions are
    /// written is compared with what a release knows.
    /// </summary>
    public const string Long = $"""
        SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true),
            set_config('idle_in_transaction_session_timeout', '0', true),
            set_config('quote_all_identifiers', 'off', true), {NoEnd}
        """;

    /// <param name="servers">What the proof is of.</param>
    /// <param name="address">How long a statement may take, and which schema has to be said.</param>
    public PostgresSettings(PostgresServers servers, PostgresAddress address)
    {
        // A read that is slow is ended by the server, a moment before it would be given up, and gives its connection
        // back. One that meets a lock waits as long.
        var timeouts = $"""
            set_config('statement_timeout', '{(long)address.Patience.TotalMilliseconds - 500}', true),
            set_config('lock_timeout', '0', true)
            """;
        var schema = SchemaOf(address);
        OfLookups = $"SELECT {schema}{ByIndex}, {OnePlan}, {timeouts}, {servers.Proof}";
        OfReads = $"SELECT {schema}{ByKey}, {timeouts}, {servers.Proof}";
        OfWrites = $"""
            SELECT {PostgresPoll.Clock}, {schema}{ByKey}, {OnePlan},
                set_config('idle_in_transaction_session_timeout', '5s', true),
                set_config('lock_timeout', '{LongestLockWait}', true), set_config('statement_timeout', '0', true),
                set_config('client_min_messages', 'warning', true), {NoEnd},
                CASE WHEN current_setting('synchronous_commit') = 'off'
                    THEN set_config('synchronous_commit', 'on', true) END,
                {servers.Proof}
            """;
        OfNode = $"""
            SELECT {schema}set_config('idle_in_transaction_session_timeout', '5s', true),
                set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true),
                set_config('synchronous_commit', 'off', true), {NoEnd}, {servers.Proof}
            """;
    }

    /// <summary>
    /// The first statement of what a node says of itself and asks of others. Nothing can be lost but some seconds of a
    /// lease: its commit waits for no disk and no standby.
    /// </summary>
    public string OfNode { get; }

    /// <summary>Begins a transaction that may last.</summary>
    /// <param name="connection">Open, and in no transaction.</param>
    /// <param name="how"><see cref="ToWrite"/> or another.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="address">Which schema has to be said; null is the session's own.</param>
    public static async Task BeginAsync(
        NpgsqlConnection connection, string how, CancellationToken ct, PostgresAddress? address = null)
    {
        await using var batch = new NpgsqlBatch(connection);
        Add(batch, how);
        Add(batch, Long);
        if (address?.Schema is not null)
            Add(batch, $"SELECT {SchemaOf(address)} 0");
        await batch.ExecuteNonQueryAsync(ct);
    }

    /// <summary>The first statement of a look-up that requests share.</summary>
    public string OfLookups { get; }

    /// <summary>The first statement of any other read.</summary>
    public string OfReads { get; }

    /// <summary>
    /// The first statement of a transaction that writes. Should this process stop in the middle of it, its locks end;
    /// and none waits for a lock for ever. A role that is set to answer before a commit is on the disk is overruled;
    /// one that waits for standbys is not.
    /// </summary>
    public string OfWrites { get; }

    private static string SchemaOf(PostgresAddress address) => address.Schema is { } own
        ? $"set_config('search_path', '{own.Replace("'", "''", StringComparison.Ordinal)}', true), "
        : "";

    /// <summary>One of these statements, to be sent before the others.</summary>
    /// <param name="statement">Its text.</param>
    /// <param name="server">Where it has to run.</param>
    public static NpgsqlBatchCommand Command(string statement, PostgresPrimary server)
    {
        var command = new NpgsqlBatchCommand(statement);
        command.Parameters.Add(PostgresServers.Expected(server));
        return command;
    }

    /// <summary>Adds a statement of a batch.</summary>
    public static void Add(NpgsqlBatch batch, string sql, params ReadOnlySpan<SqlValue> values)
    {
        var command = new NpgsqlBatchCommand(sql);
        PostgresParameters.Add(command.Parameters, values);
        batch.BatchCommands.Add(command);
    }
}
