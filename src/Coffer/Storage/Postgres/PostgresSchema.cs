using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// Brings a database's schema up to date: one node does it, in one transaction, while the others wait.
/// </summary>
internal static class PostgresSchema
{
    private const int OldestServer = 14;

    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(5);

    /// <param name="connection">An open connection.</param>
    /// <param name="shown">Which database it is, for messages.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <param name="upTo">The schema to stop at, for rows of an earlier release; null is the newest.</param>
    /// <param name="expected">Why there has to be a store already, in words; null is that it may be a new one.</param>
    /// <exception cref="ConfigurationException">
    /// The database is another program's, too old, was written by a newer Coffer, or its schema was changed.
    /// </exception>
    public static async Task MigrateAsync(
        NpgsqlConnection connection, string shown, CancellationToken ct, int? upTo = null, string? expected = null)
    {
        await PostgresSettings.BeginAsync(connection, PostgresSettings.ToWrite, ct);
        const string Lock = "SELECT pg_advisory_xact_lock";
        await ExecuteAsync(connection, $"{Lock}({PostgresLocks.Steps}, {PostgresLocks.Migration})", ct);
        var migrations = Migrations.Of("postgres");
        var found = await FindAsync(connection, shown, migrations.Count, ct);
        if (found == migrations.Count)
        {
            await PostgresFacts.RequireAsync(connection, shown, ct);
            await PostgresNumbers.CatchUpAsync(connection, ct);
            await ExecuteAsync(connection, "COMMIT", ct);
            return;
        }

        if (found == 0)
        {
            await RequireNewAsync(connection, shown, expected, ct);
            await ExecuteAsync(connection,
                "CREATE TABLE coffer_schema (version BIGINT NOT NULL); INSERT INTO coffer_schema VALUES (0)", ct);
        }

        // While it waits for a table, all requests of other nodes that need that table wait behind it.
        var wait = (long)LongestWait.TotalMilliseconds;
        await ExecuteAsync(connection, $"SELECT set_config('lock_timeout', '{wait}', true)", ct);
        try
        {
            foreach (var migration in migrations.Take(upTo ?? migrations.Count).Skip((int)found))
                await ExecuteAsync(connection, migration, ct);
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable)
        {
            throw new ConfigurationException($"{shown} is to be brought up to date, and somebody else holds its tables",
                "Start again when that has ended: a back-up, for example. Nothing was changed.");
        }

        await ExecuteAsync(
            connection, $"UPDATE coffer_schema SET version = {Math.Max(found, upTo ?? migrations.Count)}", ct);
        if (upTo is null)
        {
            await PostgresFacts.RequireAsync(connection, shown, ct); // if it is refused, all of this is rolled back
            await PostgresNumbers.CatchUpAsync(connection, ct);
        }

        await ExecuteAsync(connection, "COMMIT", ct);
    }

    /// <summary>Takes a schema that is up to date, and changes nothing.</summary>
    /// <exception cref="ConfigurationException">It is not, or there is none, or it was changed.</exception>
    public static async Task RequireAsync(NpgsqlConnection connection, string shown, CancellationToken ct)
    {
        var known = Migrations.Of("postgres").Count;
        if (await FindAsync(connection, shown, known, ct) is var found && found < known)
        {
            throw new ConfigurationException(
                $"there is no store in {shown}, or one of an older Coffer (schema {found}; this program knows {known})",
                "Start a node on it first: coffer serve with the same --store.");
        }

        await PostgresFacts.RequireAsync(connection, shown, ct);
    }

    /// <summary>Proves a schema as it is, and changes nothing.</summary>
    /// <returns>Its version, 0 if there is none, and the one that this program knows.</returns>
    /// <inheritdoc cref="MigrateAsync" path="/exception"/>
    public static async Task<(long Found, long Known)> ProveAsync(
        NpgsqlConnection connection, string shown, CancellationToken ct)
    {
        var known = Migrations.Of("postgres").Count;
        var found = await FindAsync(connection, shown, known, ct);
        if (found == known)
            await PostgresFacts.RequireAsync(connection, shown, ct);
        return (found, known);
    }

    // Empty is not new: the store may stand in a schema that was first in the search path until another was made.
    private static async Task RequireNewAsync(
        NpgsqlConnection connection, string shown, string? expected, CancellationToken ct)
    {
        const string Elsewhere = """
            SELECT string_agg(n.nspname, ', ' ORDER BY n.nspname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relname = 'coffer_schema' AND n.nspname <> current_schema()
            AND ($1 = 1 OR n.nspname = ANY (current_schemas(false)))
            """;
        if (await ScalarAsync(connection, "SELECT current_schema()", ct) is not string schema)
            return; // there is none, as the database is about to say
        await using var command = new NpgsqlCommand(Elsewhere, connection);
        PostgresParameters.Add(command.Parameters, expected is null ? 0 : 1);
        var elsewhere = await command.ExecuteScalarAsync(ct) as string;
        if (expected is null && elsewhere is null)
            return;
        var found = $"the schema {schema} of {shown} is empty"
            + (elsewhere is null ? "" : $", and there is a store in the schema {elsewhere}");
        throw new ConfigurationException(expected is null ? found : $"{expected}, and {found}",
            elsewhere is null
                ? "Check --data and --store, or restore the store from a back-up. To create a new store, move that "
                    + "file away first. Nothing was changed."
                : $"Say which: Search Path={elsewhere} in the connection string, or for the role. "
                    + "Nothing was changed.");
    }

    /// <returns>The version of the schema; 0 if there is none yet.</returns>
    private static async Task<long> FindAsync(
        NpgsqlConnection connection, string shown, int known, CancellationToken ct)
    {
        if (connection.PostgreSqlVersion.Major < OldestServer)
        {
            throw new ConfigurationException($"{shown} is served by PostgreSQL {connection.PostgreSqlVersion}",
                $"Use PostgreSQL {OldestServer} or newer.");
        }

        if ((string?)await ScalarAsync(connection, "SHOW server_encoding", ct) != "UTF8")
        {
            throw new ConfigurationException($"{shown} is not encoded in UTF-8",
                "Create one with: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0");
        }

        const string Own = "SELECT to_regclass(quote_ident(current_schema()) || '.coffer_schema')::text";
        if (await ScalarAsync(connection, Own, ct) is not string)
        {
            const string Tables = """
                SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')
                """;
            return (long)(await ScalarAsync(connection, Tables, ct))! == 0
                ? 0
                : throw new ConfigurationException($"{shown} holds tables of another program",
                    "Give Coffer a database, or a schema, of its own.");
        }

        var found = (long)(await ScalarAsync(connection, "SELECT version FROM coffer_schema", ct))!;
        return found <= known ? found : throw new ConfigurationException(
            $"{shown} was written by a newer Coffer (schema {found}; this program knows {known})",
            "Run the Coffer that wrote it, or a newer one. Nothing was changed.");
    }

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 120 };
        await command.ExecuteNonQueryAsync(ct);
    }

    public static async Task<object?> ScalarAsync(NpgsqlConnection connection, string sql, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(ct);
    }
}
