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

    /// <summary>
    /// Whether the columns hold what their types say: SQLite keeps what it is given, and reads it as what is asked for.
    /// Each is a character: <c>n</c> a number, <c>t</c> text, <c>b</c> bytes; a capital may be null.
    /// </summary>
    bool Has(string types);
}

/// <summary>
/// What the columns of the statements in <see cref="Sql"/> become. A row whose columns hold what they may not is read
/// all the same, and says so (<c>IsSound</c>): one of many must not hide the others. Who would give it out refuses it.
/// </summary>
internal static class Columns
{
    public static (string Key, byte[] Value) ToMeta<TRow>(TRow row) where TRow : IRow, allows ref struct => (row.Text(0), row.Bytes(1));

    // No root key has the version 0: what is not a version opens nothing.
    public static RootKeyRow ToRootKey<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isVersion = row.Has("nnb") && row.Number(0) is > 0 and <= uint.MaxValue;
        return new RootKeyRow(isVersion ? (uint)row.Number(0) : 0, row.Number(1), row.Bytes(2));
    }

    // What a column holds is looked at before it is read: reading it as text may make text of it.
    public static AppRow ToApp<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("tttnB") && UnixTime.IsStorable(row.Number(3));
        return new(row.Text(0), row.Text(1), row.Text(2), row.Number(3), row.BytesOrNull(4)) { IsSound = isSound };
    }

    public static ApiKeyRow ToApiKey<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("btTTtnnNbTTTNN") && IsFlag(row.Number(5)) && UnixTime.IsStorable(row.Number(6))
            && UnixTime.IsStorable(row.NumberOrNull(7)) && UnixTime.IsStorable(row.NumberOrNull(12));
        return new(
            row.Bytes(0), row.Text(1), row.TextOrNull(2), row.TextOrNull(3), row.Text(4), row.Number(5) != 0,
            row.Number(6), row.NumberOrNull(7), row.Bytes(8))
        {
            Permissions = row.TextOrNull(9),
            PinnedAccount = row.TextOrNull(10),
            Addresses = row.TextOrNull(11),
            LastUsed = row.NumberOrNull(12),
            Generation = row.NumberOrNull(13),
            IsSound = isSound,
        };
    }

    // One that cannot be read ends all that it could be meant to end.
    public static RevocationRow ToRevocation<TRow>(TRow row) where TRow : IRow, allows ref struct
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

    // One that cannot be read proves nothing: see Generations.IsWhole.
    public static GenerationRow ToGeneration<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("tntnnb") && IsFlag(row.Number(1));
        var tenant = new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2));
        return new(tenant, row.Number(3), row.Number(4), isSound ? row.Bytes(5) : []);
    }

    public static AccountRow ToAccount<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("tnnnn") && row.Number(4) == 0 && UnixTime.IsStorable(row.Number(1));
        return new(row.Text(0), row.Number(1), row.Number(2), row.Number(3)) { IsSound = isSound };
    }

    public static TenantRow ToTenant<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("nb");
        return new(row.Number(0), row.Bytes(1)) { IsSound = isSound };
    }

    // Counted to be forgotten: that takes a damaged tenant too.
    public static CountedTenantRow ToCountedTenant<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Number(0), row.Number(1) != 0, row.Number(2));

    public static SecretRow ToSecret<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        ToSecret(row, 0, row.Has("nbbtnnNb"));

    public static SecretKey ToSecretKey<TRow>(TRow row) where TRow : IRow, allows ref struct => new(row.Number(0), row.Bytes(1));

    public static FoundSecretRow ToFound<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("tntnbbtnnNb") && IsFlag(row.Number(1));
        return new(new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2)), ToSecret(row, 3, isSound));
    }

    public static IdempotencyRow ToIdempotency<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("nbbnb") && UnixTime.IsStorable(row.Number(3));
        return new(new IdempotencyKey(row.Number(0), row.Bytes(1)), row.Bytes(2), row.Number(3), row.Bytes(4))
        {
            IsSound = isSound,
        };
    }

    public static ReplyRow ToReply<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("bBbnb") && UnixTime.IsStorable(row.Number(3));
        return new(row.Bytes(0), row.BytesOrNull(1), row.Bytes(2), row.Number(3), row.Bytes(4)) { IsSound = isSound };
    }

    public static ReceiptRow ToReceipt<TRow>(TRow row) where TRow : IRow, allows ref struct
    {
        var isSound = row.Has("tnNb") && UnixTime.IsStorable(row.Number(1)) && UnixTime.IsStorable(row.NumberOrNull(2));
        return new(row.Text(0), row.Number(1), row.NumberOrNull(2), row.Bytes(3)) { IsSound = isSound };
    }

    public static AuditRow ToAudit<TRow>(TRow row) where TRow : IRow, allows ref struct =>
        new(row.Text(0), row.Number(1), row.Number(2), row.Bytes(3), row.Bytes(4));

    public static (long Number, AuditRow Row) ToNumberedAudit<TRow>(TRow row) where TRow : IRow, allows ref struct => (row.Number(5), ToAudit(row));

    private static SecretRow ToSecret<TRow>(TRow row, int first, bool isSound) where TRow : IRow, allows ref struct
    {
        var (created, expires) = (row.Number(first + 5), row.NumberOrNull(first + 6));
        return new(
            new SecretKey(row.Number(first), row.Bytes(first + 1)), row.Bytes(first + 2), row.Text(first + 3),
            row.Number(first + 4), created, expires, row.Bytes(first + 7))
        {
            IsSound = isSound && UnixTime.IsStorable(created) && UnixTime.IsStorable(expires),
        };
    }

    private static bool IsFlag(long number) => number is 0 or 1;
}
