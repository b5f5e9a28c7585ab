using System.Text;

namespace Coffer.Storage.Sqlite;

/// <summary>
/// Brings a file's schema up to date, and proves it: what is there is compared with what the same migrations make in
/// memory. Tables of others are left alone as long as nothing binds them to Coffer's.
/// </summary>
internal static class SqliteSchema
{
    /// <summary>"COFR": says that a SQLite file is a Coffer store.</summary>
    public const long ApplicationId = 0x434F4652;

    // Names that hardly another program has all of.
    private const string HasOurTables = """
        SELECT count(*) = 3 FROM sqlite_master WHERE type = 'table' AND name IN ('root_keys', 'tenants', 'idempotency')
        """;

    private static readonly Lazy<SchemaFacts> Made = new(() =>
    {
        using var scratch = new SqliteSession(":memory:");
        foreach (var migration in Migrations.Of("sqlite"))
            scratch.Execute(migration);
        return Read(scratch, ours: null);
    });

    /// <param name="session">Where to write.</param>
    /// <param name="file">Which file it is, for messages.</param>
    /// <param name="upTo">The schema to stop at, for rows of an earlier release; null is the newest.</param>
    /// <exception cref="ConfigurationException">
    /// The file is not a Coffer store, was written by a newer Coffer, or its schema was changed.
    /// </exception>
    public static void Migrate(SqliteSession session, string file, int? upTo = null)
    {
        var migrations = Migrations.Of("sqlite");
        var found = Find(session, file);
        session.Execute("PRAGMA journal_mode = WAL");
        session.Execute(found == migrations.Count ? "BEGIN" : "BEGIN IMMEDIATE");
        try
        {
            for (var number = (int)found + 1; number <= (upTo ?? migrations.Count); number++)
                session.Execute(
                    $"{migrations[number - 1]};PRAGMA application_id = {ApplicationId};PRAGMA user_version = {number}");
            if (upTo is null)
                Made.Value.Require(Read(session, [.. Made.Value.Names("table")]), $"the store {file}");
            session.Execute("COMMIT");
        }
        catch (ConfigurationException)
        {
            session.Execute("ROLLBACK");
            throw;
        }
    }

    /// <summary>Proves the schema of a file as it is, and changes nothing.</summary>
    /// <returns>Its version; one that is older than this program's is not looked at further.</returns>
    /// <inheritdoc cref="Migrate" path="/exception"/>
    public static long Prove(SqliteSession session, string file)
    {
        var found = Find(session, file);
        if (found == Migrations.Of("sqlite").Count)
            Made.Value.Require(Read(session, [.. Made.Value.Names("table")]), $"the store {file}");
        return found;
    }

    // Before anything is changed: what is not ours is left as it is.
    private static long Find(SqliteSession session, string file)
    {
        var found = session.Scalar("PRAGMA user_version");
        var tables = session.Scalar("SELECT count(*) FROM sqlite_master");
        var isOurs = found == 0 ? tables == 0 : session.Scalar("PRAGMA application_id") == ApplicationId;
        if (!isOurs && session.Scalar(HasOurTables) == 1)
            throw new ConfigurationException(
                $"the store {file} has Coffer's tables but not its marks, as after .dump, which leaves them out",
                "Restore the store from a copy that .backup or VACUUM INTO made. If there is none, say what it is: "
                    + $"PRAGMA application_id = {ApplicationId}; PRAGMA user_version = N; where N is the schema, "
                    + $"{Migrations.Of("sqlite").Count} if this release wrote it.");
        if (!isOurs)
            throw new ConfigurationException($"{file} is a SQLite database of another program",
                "Give Coffer a directory of its own.");

        var migrations = Migrations.Of("sqlite");
        if (found > migrations.Count)
        {
            throw new ConfigurationException(
                $"the store {file} was written by a newer Coffer "
                + $"(schema {found}; this program knows {migrations.Count})",
                "Run the Coffer that wrote it, or a newer one. Nothing was changed.");
        }

        return found;
    }

    /// <param name="session">Where to read.</param>
    /// <param name="ours">Coffer's tables; null if all are. Of others only what reaches Coffer's counts.</param>
    internal static SchemaFacts Read(SqliteSession session, HashSet<string>? ours)
    {
        var facts = new SchemaFacts();
        foreach (var (kind, name, table, sql) in Objects(session))
        {
            var isOurs = ours is null || ours.Contains(table);
            switch (kind)
            {
                case "table" when isOurs:
                    facts.Add($"table {name}", "");
                    facts.Add($"{SchemaFacts.Definition} {name}", Plain(sql));
                    ReadTable(session, name, facts);
                    break;
                case "table" when sql.StartsWith("CREATE VIRTUAL", StringComparison.OrdinalIgnoreCase):
                    facts.Add($"virtual table {name}", "");
                    break;
                case "table":
                    foreach (var (to, how) in ForeignKeys(session, name).Where(key => ours!.Contains(key.To)))
                        facts.Add($"foreign key {how} of {name}", to);
                    break;
                case "index" when isOurs:
                    facts.Add($"index {name} of {table}", Plain(sql));
                    break;
                case "index":
                    break;
                default: // a trigger or a view, whosever table it is on
                    facts.Add(kind == "trigger" ? $"trigger {name} of {table}" : $"{kind} {name}", "");
                    break;
            }
        }

        return facts;
    }

    private static List<(string Kind, string Name, string Table, string Sql)> Objects(SqliteSession session)
    {
        var objects = new List<(string, string, string, string)>();
        // Statistics are the database's own, and may be there or not.
        using var row = session.Query("""
            SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master
            WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat2', 'sqlite_stat3', 'sqlite_stat4'))
            """);
        while (row.Read())
            objects.Add((row.Text(0), row.Text(1), row.Text(2), row.Text(3)));
        return objects;
    }

    // What the text of the table says too; here it has a name for each column and key.
    private static void ReadTable(SqliteSession session, string table, SchemaFacts facts)
    {
        const string Columns =
            "SELECT name, type, \"notnull\", coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo($1)";
        using (var row = session.Query(Columns, table))
        {
            while (row.Read())
            {
                var (isNullable, value, key, hidden) = (row.Number(2) == 0, row.Text(3), row.Number(4), row.Number(5));
                facts.Add($"column {table}.{row.Text(0)}", string.Join(' ', ((string[])
                [
                    row.Text(1), isNullable ? "NULL" : "NOT NULL", value.Length > 0 ? $"DEFAULT {value}" : "",
                    key > 0 ? $"KEY {key}" : "", hidden > 0 ? "GENERATED" : "",
                ]).Where(part => part.Length > 0)));
            }
        }

        foreach (var (to, how) in ForeignKeys(session, table))
            facts.Add($"foreign key {how} of {table}", to);
    }

    private static List<(string To, string How)> ForeignKeys(SqliteSession session, string table)
    {
        var keys = new List<(string, string)>();
        using var row = session.Query("""
            SELECT "table", "from", coalesce("to", ''), on_update, on_delete FROM pragma_foreign_key_list($1)
            """, table);
        while (row.Read())
            keys.Add((row.Text(0), $"({row.Text(1)}) to {row.Text(0)} ({row.Text(2)}), {row.Text(3)}, {row.Text(4)}"));
        return keys;
    }

    /// <summary>
    /// A definition without comments and white space that says nothing: it stays what it is however it is written.
    /// </summary>
    internal static string Plain(string sql)
    {
        var plain = new StringBuilder(sql.Length);
        for (var i = 0; i < sql.Length; i++)
        {
            var c = sql[i];
            if (c is '\'' or '"' or '`' or '[')
            {
                var end = sql.IndexOf(c == '[' ? ']' : c, i + 1);
                end = end < 0 ? sql.Length - 1 : end;
                plain.Append(sql, i, end - i + 1);
                i = end;
            }
            else if (c == '-' && i + 1 < sql.Length && sql[i + 1] == '-')
            {
                i = sql.IndexOf('\n', i) is var line and >= 0 ? line : sql.Length;
                Space();
            }
            else if (c == '/' && i + 1 < sql.Length && sql[i + 1] == '*')
            {
                i = sql.IndexOf("*/", i + 2, StringComparison.Ordinal) is var end and >= 0 ? end + 1 : sql.Length;
                Space();
            }
            else if (char.IsWhiteSpace(c))
            {
                Space();
            }
            else
            {
                if (c is '(' or ')' or ',' && plain.Length > 0 && plain[^1] == ' ')
                    plain.Length--;
                plain.Append(c);
            }
        }

        return plain.ToString().TrimEnd();

        void Space()
        {
            if (plain.Length > 0 && plain[^1] is not (' ' or '(' or ')' or ','))
                plain.Append(' ');
        }
    }
}
