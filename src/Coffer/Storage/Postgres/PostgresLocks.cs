namespace Coffer.Storage.Postgres;

/// <summary>Coffer's advisory locks: the first of their two numbers says of what, the second which.</summary>
internal static class PostgresLocks
{
    /// <summary>"COFR": a step that one node at a time takes.</summary>
    public const int Steps = 0x434F4652;

    /// <summary>"COFN": a name of a node of before; the second number is the one in the name.</summary>
    public const int Names = 0x434F464E;

    /// <summary>
    /// "COFP": of a session of the commit before that writes and reads in rows what other nodes have to know.
    /// </summary>
    public const int Marks = 0x434F4650;

    /// <summary>Takes the lock of two numbers until the transaction ends.</summary>
    public const string Take = "SELECT pg_advisory_xact_lock($1::int, $2::int)";

    /// <summary>The same, which many may hold beside each other and nobody beside who took it alone.</summary>
    public const string Share = "SELECT pg_advisory_xact_lock_shared($1::int, $2::int)";

    /// <summary>Of the rows of <c>pg_locks</c>, the locks of two numbers that are held in this database.</summary>
    public const string Held = """
        locktype = 'advisory' AND granted AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """;

    /// <summary>The steps.</summary>
    public const int Migration = 1, Start = 2, Management = 3, Naming = 4;

    /// <summary>
    /// Of the control row: whoever changes it takes it alone, and whoever commits by it shares it. To lock the row
    /// would write to it at each commit.
    /// </summary>
    public const int Control = 5;
}
