namespace Coffer.Storage;

/// <summary>A tenant as it is seen from outside: without its keys.</summary>
/// <param name="Number">The tenant's number: greater ones are newer.</param>
/// <param name="Tenant">App, mode and account.</param>
/// <param name="Created">When it was made, in Unix seconds.</param>
/// <param name="Install">The id by which it is found, or null: nobody was shown it.</param>
internal sealed record InstallRow(long Number, TenantId Tenant, long Created, string? Install)
{
    private const string Columns = "SELECT id, app, livemode, account, created, install FROM tenants";

    private const string Listed = "WHERE app = $1 AND livemode = $2 AND created BETWEEN $3 AND $4";

    public static readonly Query<InstallRow> ById = new($"{Columns} WHERE install = $1", From);

    public static readonly Query<InstallRow> ByOwner = new(
        $"{Columns} WHERE app = $1 AND livemode = $2 AND account = $3", From);

    /// <summary>Those of an app and mode that were made between two Unix seconds, below a number.</summary>
    public static readonly Query<InstallRow> Below = new(
        $"{Columns} {Listed} AND id < $5 ORDER BY id DESC LIMIT $6", From);

    /// <summary>The same above it, the least first.</summary>
    public static readonly Query<InstallRow> Above = new(
        $"{Columns} {Listed} AND id > $5 ORDER BY id LIMIT $6", From);

    public const string Give = "UPDATE tenants SET install = $1 WHERE id = $2";

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static InstallRow From(IRow row)
    {
        var isSound = row.Has("ntntnT") && row.Number(2) is 0 or 1 && UnixTime.IsStorable(row.Number(4));
        var tenant = new TenantId(row.Text(1), row.Number(2) != 0, row.Text(3));
        return new(row.Number(0), tenant, row.Number(4), row.TextOrNull(5)) { IsSound = isSound };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Has a tenant be found by the id of its install.</summary>
    public sealed record GiveInstall(long Number, string Install) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(InstallRow.Give, Install, Number)];
    }
}
