namespace Coffer.Storage;

/// <summary>
/// The kept reply to a write outside tenants: whose, what it was asked for, when, and the sealed body.
/// </summary>
internal sealed record ReplyRow(byte[] Key, byte[]? Owner, byte[] Fingerprint, long Created, byte[] Sealed)
{
    private const string Columns = "SELECT key, owner, fingerprint, created, sealed, tenant FROM replies";

    public static readonly Table Table = new("replies",
        "key:b owner:b fingerprint:b created:n sealed:b seq:n tenant:n", "seq", "key")
    {
        Numbered = "seq",
    };

    public static readonly Query<ReplyRow> ByKey = new($"{Columns} WHERE key = $1", From);

    /// <summary>When the oldest was made.</summary>
    public static readonly Query<long> Oldest = new(
        "SELECT created FROM replies ORDER BY seq LIMIT 1", static row => row.Number(0));

    // A key that is used again after its reply is too old gets a new place in the order of time.
    public const string Put = """
        INSERT OR REPLACE INTO replies (key, owner, fingerprint, created, sealed, tenant)
        VALUES ($1, $2, $3, $4, $5, $6)
        """;

    public const string PutAgain = """
        INSERT INTO replies (key, owner, fingerprint, created, sealed, tenant) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, owner = $2, fingerprint = $3, created = $4, sealed = $5,
            tenant = $6
        """;

    /// <summary>
    /// Where those of a tenant stand, after a key, that are not under one of its keys, given as the 4 bytes of its
    /// version.
    /// </summary>
    public static readonly Query<byte[]> NotUnder = new("""
        SELECT key FROM replies WHERE tenant = $1 AND key > $2 AND substr(sealed, 3, 4) <> $3 ORDER BY key LIMIT $4
        """, static row => row.Bytes(0));

    public const string Reseal = "UPDATE replies SET sealed = $1 WHERE key = $2 AND sealed = $3";

    /// <summary>
    /// The number of the tenant under whose keys it is, with which it goes; null under those of the store: an
    /// operator's, or a mint's of before, which goes with its owner.
    /// </summary>
    public long? Tenant { get; init; }

    public const string Delete = "DELETE FROM replies WHERE owner = $1";

    public static readonly string Prune = Table.DeleteOldest();

    public static readonly Query<long> CountPruned = Table.CountOldest();

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static ReplyRow From(IRow row)
    {
        var isSound = row.Has("bBbnbN") && UnixTime.IsStorable(row.Number(3));
        return new(row.Bytes(0), row.BytesOrNull(1), row.Bytes(2), row.Number(3), row.Bytes(4))
        {
            Tenant = row.NumberOrNull(5),
            IsSound = isSound,
        };
    }
}

internal abstract partial record RowWrite
{
    public sealed record PutReply(ReplyRow Row) : RowWrite
    {
        private static readonly SqlText Text = new(ReplyRow.Put, ReplyRow.PutAgain);

        public override IReadOnlyList<Statement> Statements =>
            [new(Text, Row.Key, Row.Owner, Row.Fingerprint, Row.Created, Row.Sealed, Row.Tenant)];

        public override string? Single => $"replies {Convert.ToHexString(Row.Key)}";
    }

    /// <summary>Puts a reply under another key of its tenant, unless it is another one by now.</summary>
    public sealed record ResealReply(ReplyRow Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(ReplyRow.Reseal, After, Before.Key, Before.Sealed)];
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
