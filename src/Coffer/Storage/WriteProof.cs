namespace Coffer.Storage;

/// <summary>
/// What a statement that writes must have done, known from its text: a row that is put is one row, and of what is
/// deleted nothing is left. A statement that did something else (a trigger, a rule or a policy stands in its way) is a
/// fault of the storage.
/// </summary>
internal static class WriteProof
{
    /// <summary>What a statement is to have done.</summary>
    public enum Promise
    {
        /// <summary>It writes no rows, or how many is not known.</summary>
        None,

        /// <summary>Exactly one row was put.</summary>
        OneRow,

        /// <summary><see cref="CounterexampleTo"/> finds nothing.</summary>
        NothingLeft,
    }

    public static Promise Of(string sql) => sql switch
    {
        _ when CounterexampleTo(sql) is not null => Promise.NothingLeft,
        // One that adds only what is not there is proven by what queues it.
        _ when sql.StartsWith("INSERT ", StringComparison.Ordinal)
            && !sql.Contains("DO NOTHING", StringComparison.Ordinal) => Promise.OneRow,
        _ => Promise.None,
    };

    /// <summary>
    /// A query with the parameters of a statement, run after it, that finds a row if the statement did not do what it
    /// says; null if there is none. It names the parameters in the statement's order: SQLite goes by that.
    /// </summary>
    public static string? CounterexampleTo(string sql) => sql switch
    {
        ApiKeyRow.Touch => "SELECT 1 FROM api_keys WHERE (last_used IS NULL OR last_used <> $1) AND id = $2 LIMIT 1",
        ApiKeyRow.Reprove => "SELECT 1 FROM api_keys WHERE proof <> $1 AND id = $2 AND proof = $3 LIMIT 1",
        EndedKeyRow.Reprove => "SELECT 1 FROM ended_keys WHERE proof <> $1 AND mac = $2 AND proof = $3 LIMIT 1",
        GenerationRow.Reprove => """
            SELECT 1 FROM generations
            WHERE mac <> $1 AND app = $2 AND livemode = $3 AND account = $4 AND mac = $5 LIMIT 1
            """,
        ReceiptRow.Reseal => "SELECT 1 FROM receipts WHERE sealed <> $1 AND id = $2 AND sealed = $3 LIMIT 1",
        MetaRow.Replace => "SELECT 1 FROM meta WHERE value <> $1 AND key = $2 AND value = $3 LIMIT 1",
        RootKeyRow.Empty => "SELECT 1 FROM root_keys WHERE wrapped <> $1 AND version = $2 LIMIT 1",
        TenantRow.Rewrap =>
            "SELECT 1 FROM tenants WHERE sealed_keys <> $1 AND id = $2 AND sealed_keys = $3 LIMIT 1",
        TenantRow.PutKeys =>
            "SELECT 1 FROM tenants WHERE (sealed_keys <> $1 OR counter <> $2 OR keys <> $3) AND id = $4 LIMIT 1",
        InstallRow.Give =>
            "SELECT 1 FROM tenants WHERE (install IS NULL OR install <> $1) AND id = $2 LIMIT 1",
        IdempotencyRow.Reseal =>
            "SELECT 1 FROM idempotency WHERE sealed <> $1 AND tenant = $2 AND key = $3 AND sealed = $4 LIMIT 1",
        ReplyRow.Reseal => "SELECT 1 FROM replies WHERE sealed <> $1 AND key = $2 AND sealed = $3 LIMIT 1",
        AppRow.Rewrap => "SELECT 1 FROM apps WHERE sealed <> $1 AND id = $2 AND sealed = $3 LIMIT 1",
        EventRow.Reseal => "SELECT 1 FROM events WHERE sealed <> $1 AND seq = $2 AND sealed = $3 LIMIT 1",
        EndpointRow.Rewrap =>
            "SELECT 1 FROM webhook_endpoints WHERE sealed <> $1 AND id = $2 AND sealed = $3 LIMIT 1",
        EndpointRow.Move =>
            "SELECT 1 FROM webhook_endpoints WHERE (position <> $1 OR delivered <> $2) AND id = $3 LIMIT 1",
        GenerationRow.Keep =>
            "SELECT 1 FROM generations WHERE kept_until < $1 AND app = $2 AND livemode = $3 AND account = $4 LIMIT 1",
        // How many it removes depends on what others remove: who calls it sees whether it gets on.
        _ when sql != DeliveryRow.Prune && sql.Contains(" LIMIT ", StringComparison.Ordinal) => null,
        _ when sql.StartsWith("DELETE FROM ", StringComparison.Ordinal) =>
            $"SELECT 1 {sql["DELETE ".Length..]} LIMIT 1",
        _ => null,
    };

    /// <summary>Nothing of the batch is stored: its transaction is rolled back.</summary>
    public static ApiError Broken(string table, Exception? inner = null) =>
        ApiError.StorageUnavailable(new InvalidDataException(
        $"a write to {table} changed other rows than it had to: a trigger, a rule, a policy or a view may stand in "
        + "its way. Restart the server: it names what does not belong there", inner));

    /// <summary>The table that a statement writes to, or looks into.</summary>
    public static string TableOf(string sql)
    {
        foreach (var before in (string[])["INTO ", "FROM ", "UPDATE "])
        {
            if (sql.IndexOf(before, StringComparison.Ordinal) is var at and >= 0)
                return new string([.. sql[(at + before.Length)..].TakeWhile(c => char.IsAsciiLetter(c) || c == '_')]);
        }

        return "a table";
    }
}
