namespace Coffer.Storage;

/// <summary>
/// What is stated of an account that was forgotten: when that was, when the statement was signed or null, and the
/// statement, sealed.
/// </summary>
internal sealed record ReceiptRow(string Id, long Created, long? Signed, byte[] Sealed)
{
    private const string Columns = "SELECT id, created, signed, sealed FROM receipts";

    public static readonly Table Table = new("receipts", "id:t created:n signed:n sealed:b", "id");

    public static readonly Query<ReceiptRow> ById = new($"{Columns} WHERE id = $1", From);

    public static readonly Query<ReceiptRow> Pending = new($"""
        {Columns} WHERE signed IS NULL AND (created > $1 OR (created = $1 AND id > $2))
        ORDER BY created, id LIMIT $3
        """, From);

    /// <summary>Those that are signed after an id, in the order of ids.</summary>
    public static readonly Query<ReceiptRow> SignedAfter = new(
        $"{Columns} WHERE signed IS NOT NULL AND id > $1 ORDER BY id LIMIT $2", From);

    /// <summary>In the order of ids, signed or not.</summary>
    public static readonly Query<ReceiptRow> AfterId = new($"{Columns} WHERE id > $1 ORDER BY id LIMIT $2", From);

    /// <summary>Seals one again, unless it is gone or is another by now.</summary>
    public const string Reseal = "UPDATE receipts SET sealed = $1 WHERE id = $2 AND sealed = $3";

    public const string Put = """
        INSERT INTO receipts (id, created, signed, sealed) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET signed = $3, sealed = $4
        """;

    public const string Prune = "DELETE FROM receipts WHERE signed <= $1";

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static ReceiptRow From(IRow row) => From(row, 0, row.Has("tnNb"));

    /// <param name="row">The row.</param>
    /// <param name="first">Its first column of a receipt.</param>
    /// <param name="isSound">Whether its columns have their types.</param>
    public static ReceiptRow From(IRow row, int first, bool isSound)
    {
        var (created, signed) = (row.Number(first + 1), row.NumberOrNull(first + 2));
        return new(row.Text(first), created, signed, row.Bytes(first + 3))
        {
            IsSound = isSound && UnixTime.IsStorable(created) && UnixTime.IsStorable(signed),
        };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds a receipt, or changes its statement and when that was signed.</summary>
    public sealed record PutReceipt(ReceiptRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(ReceiptRow.Put, Row.Id, Row.Created, Row.Signed, Row.Sealed)];

        public override string? Single => $"receipts {Row.Id}";
    }

    /// <summary>Seals a receipt by another pepper, if it is as it was.</summary>
    public sealed record ResealReceipt(string Id, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(ReceiptRow.Reseal, After, Id, Before)];
    }

    /// <summary>Removes the receipts that were signed at or before a Unix second.</summary>
    public sealed record PruneReceipts(long SignedBy) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(ReceiptRow.Prune, SignedBy)];
    }
}
