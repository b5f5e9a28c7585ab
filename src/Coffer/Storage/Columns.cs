namespace Coffer.Storage;

/// <summary>The row that a query stands at, whichever driver it came from.</summary>
internal interface IRow
{
    long Number(int column);

    long? NumberOrNull(int column);

    string Text(int column);

    string? TextOrNull(int column);

    byte[] Bytes(int column);

    byte[]? BytesOrNull(int column);
}

/// <summary>What the columns of the statements in <see cref="Sql"/> become.</summary>
internal static class Columns
{
    public static (string Key, byte[] Value) ToMeta<TRow>(TRow row) where TRow : IRow, allows ref struct => (row.Text(0), row.Bytes(1));

    public static RootKeyRow ToRootKey<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new((uint)row.Number(0), row.Number(1), row.Bytes(2));

    public static AppRow ToApp<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Text(0), row.Text(1), row.Text(2), row.Number(3), row.BytesOrNull(4));

    public static ApiKeyRow ToApiKey<TRow>(TRow row) where TRow : IRow, allows ref struct => new(
        row.Bytes(0), row.Text(1), row.TextOrNull(2), row.TextOrNull(3), row.Text(4), row.Number(5) != 0, row.Number(6), row.NumberOrNull(7), row.Bytes(8))
    {
        Permissions = row.TextOrNull(9),
        PinnedAccount = row.TextOrNull(10),
        Addresses = row.TextOrNull(11),
        LastUsed = row.NumberOrNull(12),
        Generation = row.NumberOrNull(13),
    };

    public static RevocationRow ToRevocation<TRow>(TRow row) where TRow : IRow, allows ref struct => new(row.Text(0), row.Number(1), row.Number(2))
    {
        Number = row.Number(3),
        App = row.TextOrNull(4),
        OrderedUntil = row.NumberOrNull(5),
    };

    public static GenerationRow ToGeneration<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2)), row.Number(3), row.Number(4), row.Bytes(5));

    public static AccountRow ToAccount<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Text(0), row.Number(1), row.Number(2), row.Number(3));

    public static TenantRow ToTenant<TRow>(TRow row) where TRow : IRow, allows ref struct => new(row.Number(0), row.Bytes(1));

    public static CountedTenantRow ToCountedTenant<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Number(0), row.Number(1) != 0, row.Number(2));

    public static SecretRow ToSecret<TRow>(TRow row) where TRow : IRow, allows ref struct => new(
        new SecretKey(row.Number(0), row.Bytes(1)), row.Bytes(2), row.Text(3), row.Number(4), row.Number(5), row.NumberOrNull(6), row.Bytes(7));

    public static SecretKey ToSecretKey<TRow>(TRow row) where TRow : IRow, allows ref struct => new(row.Number(0), row.Bytes(1));

    public static FoundSecretRow ToFound<TRow>(TRow row) where TRow : IRow, allows ref struct => new(
        new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2)),
        new SecretRow(new SecretKey(row.Number(3), row.Bytes(4)), row.Bytes(5), row.Text(6), row.Number(7), row.Number(8), row.NumberOrNull(9), row.Bytes(10)));

    public static IdempotencyRow ToIdempotency<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(new IdempotencyKey(row.Number(0), row.Bytes(1)), row.Bytes(2), row.Number(3), row.Bytes(4));

    public static ReplyRow ToReply<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Bytes(0), row.BytesOrNull(1), row.Bytes(2), row.Number(3), row.Bytes(4));

    public static AuditRow ToAudit<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Text(0), row.Number(1), row.Number(2), row.Bytes(3), row.Bytes(4));

    public static (long Number, AuditRow Row) ToNumberedAudit<TRow>(TRow row) where TRow : IRow, allows ref struct => (row.Number(5), ToAudit(row));
}
