namespace Coffer.Storage;

/// <summary>Where an idempotency record stands: tenant number and the blind index of the key.</summary>
internal readonly record struct IdempotencyKey(long Tenant, byte[] Key);

/// <summary>
/// The kept outcome of a write: what it was asked for (fingerprint), when, and the sealed reply.
/// </summary>
internal sealed record IdempotencyRow(IdempotencyKey Key, byte[] Fingerprint, long Created, byte[] Sealed)
{
    private const string Columns = "SELECT tenant, key, fingerprint, created, sealed FROM idempotency";

    // PostgreSQL has its numbers in an index that is not unique: its key has the tenant in it
    // (0002-tenant-in-keys.sql).
    public static readonly Table Table = new("idempotency",
        "tenant:n key:b fingerprint:b created:n sealed:b seq:n", "tenant key", "seq")
    {
        Numbered = "seq",
    };

    public static readonly Query<IdempotencyRow> ByKey = new($"{Columns} WHERE tenant = $1 AND key = $2", From);

    /// <summary>
    /// Where those of a tenant stand, after a key, that are not under one of its keys, given as the 4 bytes of its
    /// version.
    /// </summary>
    public static readonly Query<IdempotencyKey> NotUnder = new("""
        SELECT tenant, key FROM idempotency WHERE tenant = $1 AND key > $2 AND substr(sealed, 3, 4) <> $3
        ORDER BY key LIMIT $4
        """, static row => new(row.Number(0), row.Bytes(1)));

    public const string Reseal = "UPDATE idempotency SET sealed = $1 WHERE tenant = $2 AND key = $3 AND sealed = $4";

    /// <summary>When the oldest was made.</summary>
    public static readonly Query<long> Oldest = new(
        "SELECT created FROM idempotency ORDER BY seq LIMIT 1", static row => row.Number(0));

    /// <summary>Adds what is not there.</summary>
    public const string Add = "INSERT INTO idempotency (tenant, key, fingerprint, created, sealed) "
        + "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

    // A key that is used again after its record is too old gets a new place in the order of time.
    public const string Put =
        "INSERT OR REPLACE INTO idempotency (tenant, key, fingerprint, created, sealed) VALUES ($1, $2, $3, $4, $5)";

    public static readonly string Prune = Table.DeleteOldest();

    public static readonly Query<long> CountPruned = Table.CountOldest();

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static IdempotencyRow From(IRow row)
    {
        var isSound = row.Has("nbbnb") && UnixTime.IsStorable(row.Number(3));
        return new(new IdempotencyKey(row.Number(0), row.Bytes(1)), row.Bytes(2), row.Number(3), row.Bytes(4))
        {
            IsSound = isSound,
        };
    }
}

internal abstract partial record RowWrite
{
    public sealed record PutIdempotency(IdempotencyRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(IdempotencyRow.Put, Row.Key.Tenant, Row.Key.Key, Row.Fingerprint, Row.Created, Row.Sealed)];

        public override Statement? Usual =>
            new(IdempotencyRow.Add, Row.Key.Tenant, Row.Key.Key, Row.Fingerprint, Row.Created, Row.Sealed);
    }

    /// <summary>Puts an outcome under another key of its tenant, unless it is another one by now.</summary>
    public sealed record ResealIdempotency(IdempotencyRow Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(IdempotencyRow.Reseal, After, Before.Key.Tenant, Before.Key.Key, Before.Sealed)];
    }

    /// <summary>
    /// Removes the records among the <paramref name="Limit"/> oldest that were made at or before a Unix second.
    /// </summary>
    public sealed record PruneIdempotency(long MadeBy, int Limit) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(IdempotencyRow.Prune, Limit, MadeBy) { Count = (IdempotencyRow.CountPruned, [Limit, MadeBy]) }];
    }
}
