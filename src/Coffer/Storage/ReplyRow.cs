namespace Coffer.Storage;

/// <summary>
/// The kept reply to a write outside tenants: whose, what it was asked for, when, and the sealed body.
/// </summary>
internal sealed record ReplyRow(byte[] Key, byte[]? Owner, byte[] Fingerprint, long Created, byte[] Sealed)
{
    private const string Columns = "SELECT key, owner, fingerprint, created, sealed FROM replies";

    public static readonly Table Table = new("replies",
        "key:b owner:b fingerprint:b created:n sealed:b seq:n", "seq", "key")
    {
        Numbered = "seq",
    };

    public static readonly Query<ReplyRow> ByKey = new($"{Columns} WHERE key = $1", From);

    /// <summary>When the oldest was made.</summary>
    public static readonly Query<long> Oldest = new(
        "SELECT created FROM replies ORDER BY seq LIMIT 1", static row => row.Number(0));

    // A key that is used again after its reply is too old gets a new place in the order of time.
    public const string Put =
        "INSERT OR REPLACE INTO replies (key, owner, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)";

    public const string PutAgain = """
        INSERT INTO replies (key, owner, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, owner = $2, fingerprint = $3, created = $4, sealed = $5
        """;

    public const string Delete = "DELETE FROM replies WHERE owner = $1";

    public static readonly string Prune = Table.DeleteOldest();

    public static readonly Query<long> CountPruned = Table.CountOldest();

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static ReplyRow From(IRow row)
    {
        var isSound = row.Has("bBbnb") && UnixTime.IsStorable(row.Number(3));
        return new(row.Bytes(0), row.BytesOrNull(1), row.Bytes(2), row.Number(3), row.Bytes(4)) { IsSound = isSound };
    }
}

internal abstract partial record RowWrite
{
    public sealed record PutReply(ReplyRow Row) : RowWrite
    {
        private static readonly SqlText Text = new(ReplyRow.Put, ReplyRow.PutAgain);

        public override IReadOnlyList<Statement> Statements =>
            [new(Text, Row.Key, Row.Owner, Row.Fingerprint, Row.Created, Row.Sealed)];

        public override string? Single => $"replies {Convert.ToHexString(Row.Key)}";
    }

    /// <summary>Removes the replies about an account.</summary>
    public sealed record DeleteReplies(byte[] Owner) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(ReplyRow.Delete, Owner)];
    }

    /// <summary>
    /// Removes the replies among the <paramref name="Limit"/> oldest that were made at or before a Unix second.
    /// </summary>
    public sealed record PruneReplies(long MadeBy, int Limit) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(ReplyRow.Prune, Limit, MadeBy) { Count = (ReplyRow.CountPruned, [Limit, MadeBy]) }];
    }
}
