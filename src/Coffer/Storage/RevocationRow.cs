namespace Coffer.Storage;

/// <summary>
/// What ends ephemeral keys early: those of a subject that were made at or before a Unix second. Kept until the last of
/// them has expired.
/// </summary>
internal sealed record RevocationRow(string Subject, long MadeUntil, long KeptUntil)
{
    public static readonly Table Table = new("revocations",
        "subject:t made_until:n kept_until:n n:n app:t ordered_until:n", "subject");

    public static readonly Query<RevocationRow> Page = new("""
        SELECT subject, made_until, kept_until, n, app, ordered_until FROM revocations
        WHERE (n, subject) > ($1, $2) ORDER BY n, subject LIMIT $3
        """, From);

    // Only what the database's clock calls over too: a node whose clock is fast ends no revocation before its time.
    public static readonly Query<string> Ended = new(
        new SqlText(
            "SELECT subject FROM revocations WHERE kept_until <= $1 ORDER BY kept_until LIMIT $2",
            """
            SELECT subject FROM revocations WHERE kept_until <= least($1, extract(epoch FROM now())::bigint)
            ORDER BY kept_until LIMIT $2
            """),
        static row => row.Text(0));

    // Its number is the transaction's.
    public const string Put = $"""
        INSERT INTO revocations (subject, made_until, kept_until, n, app, ordered_until)
        VALUES ($1, $2, $3, {CommitOrder.Last}, $4, $2)
        ON CONFLICT (subject) DO UPDATE SET
            made_until = CASE WHEN revocations.made_until > $2 THEN revocations.made_until ELSE $2 END,
            kept_until = CASE WHEN revocations.kept_until > $3 THEN revocations.kept_until ELSE $3 END,
            ordered_until = CASE WHEN revocations.ordered_until > $2 THEN revocations.ordered_until ELSE $2 END,
            n = excluded.n, app = $4
        """;

    public const string Delete = "DELETE FROM revocations WHERE subject = $1 AND kept_until <= $2";

    /// <summary>
    /// The number of the commit that wrote it last, which the engine gives; 0 if a node of the release before made it.
    /// </summary>
    public long Number { get; init; }

    /// <summary>The app whose keys it ends, or null if a node of the release before made it.</summary>
    public string? App { get; init; }

    /// <summary>
    /// What <see cref="MadeUntil"/> was when a commit with a number wrote it, which the engine keeps.
    /// </summary>
    public long? OrderedUntil { get; init; }

    /// <summary>
    /// Whether a node of the release before wrote it since: then what it ends is known by its times alone.
    /// </summary>
    public bool IsUnordered => OrderedUntil is not { } ordered || ordered < MadeUntil;

    // One that cannot be read ends all that it could be meant to end.
    public static RevocationRow From(IRow row)
    {
        if (!row.Has("tnnnTN"))
            return new(row.Text(0), long.MaxValue, long.MaxValue) { Number = row.Number(3) };
        return new(row.Text(0), row.Number(1), row.Number(2))
        {
            Number = row.Number(3),
            App = row.TextOrNull(4),
            OrderedUntil = row.NumberOrNull(5),
        };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>
    /// Adds a revocation, or extends the one of its subject: neither of its times ever goes back, even if a clock does.
    /// </summary>
    public sealed record PutRevocation(RevocationRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(RevocationRow.Put, Row.Subject, Row.MadeUntil, Row.KeptUntil, Row.App)];

        public override string? Single => $"revocations {Row.Subject}";

        public override bool IsNumbered => true;
    }

    /// <summary>Removes the revocations of subjects, unless they are to be kept at a Unix second.</summary>
    public sealed record DeleteRevocations(IReadOnlyList<string> Subjects, long Now) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [.. Subjects.Select(subject => new Statement(RevocationRow.Delete, subject, Now))];
    }
}
