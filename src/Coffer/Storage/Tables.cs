namespace Coffer.Storage;

/// <summary>All tables of a store that move with it.</summary>
internal static class Tables
{
    // Numbers continue in the copy where they were: none is given twice.
    public static readonly Table Epoch = new("epoch", "one:n n:n", "one");

    /// <summary>Those first that others refer to.</summary>
    public static readonly IReadOnlyList<Table> All =
    [
        MetaRow.Table, RootKeyRow.Table, WrappingRow.Table, AppRow.Table, ApiKeyRow.Table, EndedKeyRow.Table,
        TenantRow.Table, SecretRow.Table, IdempotencyRow.Table, RevocationRow.Table, GenerationRow.Table, Epoch,
        ReplyRow.Table, ReceiptRow.Table, UninstallRow.Table, EventRow.Table, EndpointRow.Table, DeliveryRow.Table,
        AuditRow.Table,
    ];
}

/// <summary>A row that was read whole, for the maps of queries.</summary>
internal sealed class ReadRow(object?[] values) : IRow
{
    public long Number(int column) => (long)values[column]!;

    public long? NumberOrNull(int column) => (long?)values[column];

    public string Text(int column) => (string)values[column]!;

    public string? TextOrNull(int column) => (string?)values[column];

    public byte[] Bytes(int column) => (byte[])values[column]!;

    public byte[]? BytesOrNull(int column) => (byte[]?)values[column];

    /// <summary>It was proven when the row was read.</summary>
    public bool Has(string types) => true;
}
