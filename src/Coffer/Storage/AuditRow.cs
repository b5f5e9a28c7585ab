namespace Coffer.Storage;

/// <summary>
/// The audit entries of one commit of one node: numbers <paramref name="First"/> to <paramref name="Last"/>, a line
/// each.
/// </summary>
internal sealed record AuditRow(string Node, long First, long Last, byte[] Mac, byte[] Entries)
{
    private const string Columns = "SELECT node, first, last, mac, entries, public, row FROM audit";

    public static readonly Table Table = new("audit",
        "node:t first:n last:n mac:b entries:b public:b row:n", "row", "node first")
    {
        Numbered = "row",
    };

    /// <summary>The number of the oldest row; 0 if there is none.</summary>
    public static readonly Query<long> Oldest = new(
        "SELECT coalesce(min(row), 0) FROM audit", static row => row.Number(0));

    /// <summary>How large rows are, which is read without them.</summary>
    public static readonly Query<(long Number, long Size)> SizesBackwards = new(
        "SELECT row, length(entries) FROM audit WHERE row < $1 ORDER BY row DESC LIMIT $2", SizeFrom);

    public static readonly Query<(long Number, long Size)> SizesForwards = new(
        "SELECT row, length(entries) FROM audit WHERE row > $1 ORDER BY row LIMIT $2", SizeFrom);

    public static readonly Query<(long Number, AuditRow Row)> Backwards = new(
        $"{Columns} WHERE row < $1 AND row >= $2 ORDER BY row DESC LIMIT $3", FromNumbered);

    public static readonly Query<(long Number, AuditRow Row)> Forwards = new(
        $"{Columns} WHERE row > $1 AND row <= $2 ORDER BY row LIMIT $3", FromNumbered);

    public static readonly Query<AuditRow> LastOfNode = new(
        $"{Columns} WHERE node = $1 ORDER BY row DESC LIMIT 1", From);

    // In PostgreSQL by (node, first), which is unique: however long the log is, a row is read.
    public static readonly Query<AuditRow> OfNodeUpTo = new(
        new SqlText(
            $"{Columns} WHERE node = $1 AND first <= $2 ORDER BY row DESC LIMIT 1",
            $"{Columns} WHERE node = $1 AND first <= $2 ORDER BY first DESC LIMIT 1"),
        From);

    public const string Put =
        "INSERT INTO audit (node, first, last, mac, entries, public) VALUES ($1, $2, $3, $4, $5, $6)";

    /// <summary>Before a node's name, under which <c>meta</c> has where retention has cut its log.</summary>
    public const string CutPrefix = "audit cut ";

    public const string Prune = "DELETE FROM audit WHERE row <= $1";

    /// <summary>What proves it without a key; null of a row of before.</summary>
    public byte[]? Public { get; init; }

    public static AuditRow From(IRow row) =>
        new(row.Text(0), row.Number(1), row.Number(2), row.Bytes(3), row.Bytes(4)) { Public = row.BytesOrNull(5) };

    private static (long Number, long Size) SizeFrom(IRow row) => (row.Number(0), row.Number(1));

    private static (long Number, AuditRow Row) FromNumbered(IRow row) => (row.Number(6), From(row));
}

/// <summary>How far a node's log has come, and what <c>meta</c> holds about the node.</summary>
internal sealed record AuditHeadRow(string Node, long Last, byte[] Mac, byte[]? Meta)
{
    /// <inheritdoc cref="AuditRow.Public"/>
    public byte[]? Public { get; init; }
}

/// <summary>
/// Something to be recorded in the audit log with a change. What it says is not this room's business.
/// </summary>
internal abstract record Note
{
    /// <summary>Who has it written, if it is an app's; no part of the record.</summary>
    public Payer? Payer { get; init; }

    /// <summary>About how many bytes it takes.</summary>
    public virtual int Size => Change.EntrySize;
}

/// <summary>The row that records notes, and what to do once it is durable.</summary>
internal sealed record AuditStep(RowWrite Row, Action Durable);

internal abstract partial record RowWrite
{
    public sealed record PutAudit(AuditRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(AuditRow.Put, Row.Node, Row.First, Row.Last, Row.Mac, Row.Entries, Row.Public)];
    }

    /// <summary>Removes the audit rows up to a number.</summary>
    public sealed record PruneAudit(long UpTo) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(AuditRow.Prune, UpTo)];

        public override Sources Writes => Sources.Audit;
    }
}
