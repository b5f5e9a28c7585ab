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
    /// The first statement where nothing can be lost but some seconds of a lease: its commit waits for no disk and no
    /// standby.
    /// </summary>
    public const string Lightly = "SELECT set_config('synchronous_commit', 'off', true)";

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

    /// <param name="servers">What the proof is of.</param>
    /// <param name="patience">How long a statement may take.</param>
    public PostgresSettings(PostgresServers servers, TimeSpan patience)
    {
        // A read that is slow is ended by the server, a moment before it would be given up, and gives its connection
        // back.
        var timeout = $"set_config('statement_timeout', '{(long)patience.TotalMilliseconds - 500}', true)";
        OfLookups = $"SELECT {ByIndex}, {OnePlan}, {timeout}, {servers.Proof}";
        OfReads = $"SELECT {ByKey}, {timeout}, {servers.Proof}";
        OfWrites = $"""
            SELECT {ByKey}, {OnePlan},
                set_config('idle_in_transaction_session_timeout', '5s', true),
                set_config('lock_timeout', '{LongestLockWait}', true), set_config('statement_timeout', '0', true),
                set_config('client_min_messages', 'warning', true),
                CASE WHEN current_setting('synchronous_commit') = 'off'
                    THEN set_config('synchronous_commit', 'on', true) END,
                {servers.Proof}
            """;
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
