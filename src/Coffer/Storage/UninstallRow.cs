namespace Coffer.Storage;

/// <summary>Where it is noted that an account is closed: the account is a keyed hash.</summary>
internal sealed record UninstallKey(string App, bool Livemode, byte[] Account);

/// <summary>
/// An account that an app was uninstalled from: it is closed until the app is installed again. What it says besides is
/// shown as long as the receipt waits for its signature.
/// </summary>
/// <param name="Key">The account.</param>
/// <param name="Install">The id of the install, as <see cref="InstallRow.Install"/> has it.</param>
/// <param name="Number">The number of the tenant that was removed: its place in lists.</param>
/// <param name="Created">When that was made, in Unix seconds.</param>
/// <param name="Receipt">The id of the receipt.</param>
internal sealed record UninstallRow(UninstallKey Key, string Install, long Number, long Created, string Receipt)
{
    private const string Columns = "u.app, u.livemode, u.account, u.install, u.number, u.created, u.receipt";

    private const string Waiting = $"""
        SELECT {Columns}, r.id, r.created, r.signed, r.sealed
        FROM receipts r JOIN uninstalls u ON u.receipt = r.id
        WHERE r.signed IS NULL AND u.app = $1 AND u.livemode = $2
        """;

    public static readonly Table Table = new("uninstalls",
        "app:t livemode:n account:b install:t number:n created:n receipt:t", "app livemode account");

    public static readonly Query<UninstallRow> Of = new(
        $"SELECT {Columns} FROM uninstalls u WHERE u.app = $1 AND u.livemode = $2 AND u.account = $3", From);

    /// <summary>By the id of the install that was removed last, whether or not its receipt waits.</summary>
    public static readonly Query<UninstallRow> ByInstall = new(
        $"SELECT {Columns} FROM uninstalls u WHERE u.app = $1 AND u.livemode = $2 AND u.install = $3", From);

    /// <summary>One whose receipt waits, by the id of the install.</summary>
    public static readonly Query<GoingRow> Going = new($"{Waiting} AND u.install = $3", GoingRow.From);

    /// <summary>Of an account, if its receipt waits.</summary>
    public static readonly Query<GoingRow> GoingOf = new($"{Waiting} AND u.account = $3", GoingRow.From);

    /// <summary>Those whose receipts wait, as <see cref="InstallRow.Below"/> gives the others.</summary>
    public static readonly Query<GoingRow> GoingBelow = new(
        $"{Waiting} AND u.created BETWEEN $3 AND $4 AND u.number < $5 ORDER BY u.number DESC LIMIT $6", GoingRow.From);

    /// <inheritdoc cref="InstallRow.Above"/>
    public static readonly Query<GoingRow> GoingAbove = new(
        $"{Waiting} AND u.created BETWEEN $3 AND $4 AND u.number > $5 ORDER BY u.number LIMIT $6", GoingRow.From);

    public const string Delete = "DELETE FROM uninstalls WHERE app = $1 AND livemode = $2 AND account = $3";

    public const string DeleteOfApp = "DELETE FROM uninstalls WHERE app = $1";

    public static UninstallRow From(IRow row) => new(
        new UninstallKey(row.Text(0), row.Number(1) != 0, row.Bytes(2)), row.Text(3), row.Number(4), row.Number(5),
        row.Text(6));
}

/// <summary>An account that an app is being uninstalled from: its receipt says who it is.</summary>
internal sealed record GoingRow(UninstallRow Row, ReceiptRow Receipt)
{
    public static GoingRow From(IRow row) => new(
        UninstallRow.From(row), ReceiptRow.From(row, 7, row.Has("tnbtnnttnNb")));
}

internal abstract partial record RowWrite
{
    /// <summary>Closes an account, for whatever install of it was the last.</summary>
    public sealed record PutUninstall(UninstallRow Row) : RowWrite
    {
        private static readonly string Put = UninstallRow.Table.Upsert();

        public override IReadOnlyList<Statement> Statements =>
        [
            new(Put, Row.Key.App, Row.Key.Livemode, Row.Key.Account, Row.Install, Row.Number, Row.Created,
                Row.Receipt),
        ];

        public override Sources Writes => Sources.Uninstalls;
    }

    /// <summary>Opens an account again.</summary>
    public sealed record DeleteUninstall(UninstallKey Key) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(UninstallRow.Delete, Key.App, Key.Livemode, Key.Account)];

        public override Sources Writes => Sources.Uninstalls;
    }
}
