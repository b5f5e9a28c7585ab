using Npgsql;

namespace Coffer.Storage.Postgres;

/// <summary>
/// Reads what is so about a database's schema, to be compared with what the migrations make
/// (<c>Migrations/postgres-schema.txt</c>). Partitions by tenant are compared with their tables. What is an
/// extension's, grants, statistics, publications, tablespaces and storage parameters do not count, nor do tables of
/// others that reach none of Coffer's.
/// </summary>
internal static class PostgresFacts
{
    // relation, its root (itself if it is no partition), kind, key, how
    private const string Query = """
        WITH roots AS (
            SELECT oid, relname::text AS name FROM pg_class
            WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
            AND relkind IN ('r', 'p') AND NOT relispartition AND ($1::text[] IS NULL OR relname = ANY ($1))),
        ours AS (
            SELECT oid, name, name AS root FROM roots
            UNION ALL SELECT c.oid, c.relname::text, r.name
            FROM roots r JOIN pg_inherits i ON i.inhparent = r.oid JOIN pg_class c ON c.oid = i.inhrelid AND
                c.relispartition),
        extensions AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')

        SELECT o.name, o.root, 'table' AS kind, '' AS key, concat_ws(', ',
            CASE WHEN c.relkind = 'p' AND (c.relispartition OR pg_get_partkeydef(c.oid) <> 'HASH (tenant)')
                THEN 'partitioned by ' || pg_get_partkeydef(c.oid) END,
            CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'a foreign table' END,
            CASE WHEN c.relpersistence <> 'p' THEN 'unlogged' END,
            CASE WHEN c.relrowsecurity THEN 'under row security' END,
            CASE WHEN c.relforcerowsecurity THEN 'with row security forced' END) AS how
        FROM ours o JOIN pg_class c ON c.oid = o.oid

        UNION ALL SELECT o.name, o.root, 'column', a.attname::text, concat_ws(' ',
            format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || l.collname END,
            CASE WHEN a.attnotnull THEN 'NOT NULL' ELSE 'NULL' END,
            CASE WHEN a.attgenerated <> '' THEN 'GENERATED' END,
            CASE WHEN d.oid IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
            CASE WHEN a.attidentity <> '' THEN 'IDENTITY ' || a.attidentity::text END)
        FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum

        UNION ALL SELECT o.name, o.root, 'constraint', pg_get_constraintdef(k.oid),
            CASE WHEN NOT (i.indisvalid AND i.indisready) THEN 'not valid' ELSE '' END
        FROM ours o JOIN pg_constraint k ON k.conrelid = o.oid AND k.contype IN ('p', 'u', 'f', 'c', 'x')
        LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND i.indrelid = o.oid

        UNION ALL SELECT o.name, o.root, 'index', c.relname::text, CASE WHEN i.indisunique THEN 'unique ' ELSE '' END
            || regexp_replace(substring(pg_get_indexdef(i.indexrelid) FROM 'USING .*'), ' WITH \([^)]*\)', '')
            || CASE WHEN i.indisvalid AND i.indisready THEN '' ELSE ', not valid' END
        FROM ours o JOIN pg_index i ON i.indrelid = o.oid JOIN pg_class c ON c.oid = i.indexrelid
        WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))

        UNION ALL SELECT o.name, o.root, 'sequence', a.attname::text, concat_ws(' ', s.seqtypid::regtype, 'from',
            s.seqmin,
            'to', s.seqmax, 'by', s.seqincrement, CASE WHEN s.seqcycle THEN 'around' END)
        FROM ours o JOIN pg_depend d ON d.refobjid = o.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN
            ('i', 'a')
        AND d.classid = 'pg_class'::regclass JOIN pg_sequence s ON s.seqrelid = d.objid
        JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid

        UNION ALL SELECT o.name, o.root, 'bound', '', pg_get_expr(c.relpartbound, c.oid)
        FROM ours o JOIN pg_class c ON c.oid = o.oid AND c.relispartition
        WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = o.oid AND i.inhdetachpending)

        UNION ALL SELECT o.name, o.root, 'trigger', g.tgname::text, ''
        FROM ours o JOIN pg_trigger g ON g.tgrelid = o.oid AND NOT g.tgisinternal

        UNION ALL SELECT DISTINCT o.name, o.root, 'switched off check', k.conname::text, ''
        FROM ours o JOIN pg_trigger g ON g.tgrelid = o.oid AND g.tgisinternal AND g.tgenabled NOT IN ('O', 'A')
        JOIN pg_constraint k ON k.oid = g.tgconstraint

        UNION ALL SELECT o.name, o.root, 'rule', r.rulename::text, '' FROM ours o JOIN pg_rewrite r ON r.ev_class =
            o.oid

        UNION ALL SELECT o.name, o.root, 'policy', p.polname::text, '' FROM ours o JOIN pg_policy p ON p.polrelid =
            o.oid

        UNION ALL SELECT o.name, o.root, 'reference', k.conrelid::regclass || ' ' || k.conname, ''
        FROM ours o JOIN pg_constraint k ON k.confrelid = o.oid AND k.contype = 'f'
        WHERE k.conrelid NOT IN (SELECT oid FROM ours)

        UNION ALL SELECT o.name, o.root, 'heir', i.inhrelid::regclass::text, ''
        FROM ours o JOIN pg_inherits i ON i.inhparent = o.oid JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relkind IN ('r', 'p', 'f') AND (NOT c.relispartition OR o.name <> o.root)

        UNION ALL SELECT o.name, o.root, 'ancestor', i.inhparent::regclass::text, ''
        FROM roots r JOIN ours o ON o.oid = r.oid JOIN pg_inherits i ON i.inhrelid = o.oid

        UNION ALL SELECT NULL, NULL, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, c.relname::text,
            ''
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
        WHERE c.relkind IN ('v', 'm') AND ('pg_class'::regclass, c.oid) NOT IN (SELECT * FROM extensions)

        UNION ALL SELECT NULL, NULL, 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
            ''
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = current_schema()
        WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT * FROM extensions)

        UNION ALL SELECT NULL, NULL, 'operator', p.oid::regoperator::text, ''
        FROM pg_operator p JOIN pg_namespace n ON n.oid = p.oprnamespace AND n.nspname = current_schema()
        WHERE ('pg_operator'::regclass, p.oid) NOT IN (SELECT * FROM extensions)
        """;

    private static readonly Lazy<string> Described = new(() => Migrations.Text("postgres-schema.txt"));

    private readonly record struct Fact(string? Relation, string? Root, string Kind, string Key, string How)
    {
        public bool IsOfPartition => Relation != Root;
    }

    /// <summary>Refuses a schema that is not what the migrations make.</summary>
    /// <exception cref="ConfigurationException">It differs; what differs is named.</exception>
    public static async Task RequireAsync(NpgsqlConnection connection, string shown, CancellationToken ct)
    {
        var expected = SchemaFacts.Parse(Described.Value);
        var rows = await ReadAsync(connection, [.. expected.Names("table")], ct);
        var found = Whole(rows);
        foreach (var partition in rows.Where(row => row.IsOfPartition).GroupBy(row => (row.Relation, row.Root)))
            AddPartition(partition.Key.Relation!, partition,
                [.. rows.Where(row => row.Relation == partition.Key.Root)], expected, found);
        foreach (var table in rows.Where(row => row is { IsOfPartition: true, Kind: "bound" }).GroupBy(row => row.Root))
            AddCover(table.Key!, [.. table.Select(row => row.How)], expected, found);
        expected.Require(found, shown);
    }

    /// <summary>
    /// What <c>Migrations/postgres-schema.txt</c> is to say of a database that has no partitions and nothing of others.
    /// </summary>
    public static async Task<string> DescribeAsync(NpgsqlConnection connection, CancellationToken ct) =>
        Whole(await ReadAsync(connection, ours: null, ct)).ToString();

    private static async Task<List<Fact>> ReadAsync(NpgsqlConnection connection, string[]? ours, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(Query, connection) { CommandTimeout = 60 };
        command.Parameters.Add(new NpgsqlParameter
        {
            Value = (object?)ours ?? DBNull.Value,
            NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Array | NpgsqlTypes.NpgsqlDbType.Text,
        });
        await using var reader = await command.ExecuteReaderAsync(ct);
        var rows = new List<Fact>();
        while (await reader.ReadAsync(ct))
        {
            rows.Add(new Fact(Text(0), Text(1), Text(2)!, Text(3)!, Text(4) ?? ""));
            string? Text(int column) => reader.IsDBNull(column) ? null : reader.GetString(column);
        }

        return rows;
    }

    private static SchemaFacts Whole(IReadOnlyList<Fact> rows)
    {
        var facts = new SchemaFacts();
        foreach (var row in rows.Where(row => !row.IsOfPartition))
            facts.Add(Name(row, row.Relation), row.How);
        return facts;
    }

    /// <summary>
    /// Holds a partition against its table: only names of indexes may differ, and the numbering is the table's.
    /// </summary>
    private static void AddPartition(
        string partition, IEnumerable<Fact> rows, IReadOnlyList<Fact> table, SchemaFacts expected, SchemaFacts found)
    {
        foreach (var row in table.Where(row => row.Kind is "column" or "constraint" or "index"))
            Add(expected, row);
        expected.Add($"partition {partition}", "");
        foreach (var row in rows.Where(row => row.Kind is not ("bound" or "sequence")))
            Add(found, row);

        void Add(SchemaFacts to, Fact row)
        {
            var (what, how) = row.Kind switch
            {
                "table" => ($"partition {partition}", row.How),
                "index" => ($"index {row.How} of {partition}", ""),
                "column" => (Name(row, partition), row.How.Split(" IDENTITY")[0]),
                _ => (Name(row, partition), row.How),
            };
            to.Add(what, how);
        }
    }

    /// <summary>A tenant whose partition is not there is not found, nor can anything be set for it.</summary>
    private static void AddCover(string table, IReadOnlyList<string> bounds, SchemaFacts expected, SchemaFacts found)
    {
        // FOR VALUES WITH (modulus 16, remainder 3)
        List<long> moduli =
            [.. bounds.Select(bound => bound.Split("modulus ") is [_, var rest]
            && long.TryParse(rest.Split(',')[0], out var m) ? m : 0)];
        var most = moduli.Max();
        var isWhole = !moduli.Contains(0) && moduli.Sum(modulus => most / modulus) == most;
        expected.Add($"cover of {table}", "for all tenants");
        found.Add($"cover of {table}", isWhole ? "for all tenants" : "with partitions missing");
    }

    private static string Name(Fact fact, string? relation) => (fact.Kind, relation) switch
    {
        (_, null) => $"{fact.Kind} {fact.Key}",
        ("table", _) => $"table {relation}",
        ("column", _) => $"column {relation}.{fact.Key}",
        ("sequence", _) => $"sequence of {relation}.{fact.Key}",
        ("reference", _) => $"foreign key of another table ({fact.Key}) to the rows of {relation}",
        ("heir", _) => $"table {fact.Key} that inherits the columns of {relation}",
        ("ancestor", _) => $"table {fact.Key} above the rows of {relation}",
        _ => $"{fact.Kind} {fact.Key} of {relation}",
    };
}
