using System.Text;

namespace Coffer.Storage;

/// <summary>
/// An app; <paramref name="Sealed"/> is what it is set to, null where a program of schema 1 made it and no later one
/// has sealed it yet.
/// </summary>
internal sealed record AppRow(string Id, string Name, string Account, long Created, byte[]? Sealed = null)
{
    private const string Own = "id, name, account, created, sealed", Columns = $"SELECT {Own} FROM apps";

    public static readonly Table Table = new("apps", "id:t name:t account:t created:n sealed:b", "id")
    {
        Below =
        [
            "DELETE FROM secrets WHERE tenant IN (SELECT id FROM tenants WHERE app = $1)",
            "DELETE FROM idempotency WHERE tenant IN (SELECT id FROM tenants WHERE app = $1)",
            "DELETE FROM tenants WHERE app = $1",
            UninstallRow.DeleteOfApp, DeleteKeys,
        ],
    };

    public static readonly Query<AppRow> ById = new($"{Columns} WHERE id = $1", From);

    // Whatever its time is: one that is damaged is shown too.
    public static readonly Query<AppRow> Newest = new($"{Columns} ORDER BY created DESC, id DESC LIMIT $1", From);

    public static readonly Query<AppRow> Older = new(
        $"{Columns} WHERE (created, id) < ($1, $2) ORDER BY created DESC, id DESC LIMIT $3", From);

    public static readonly Query<AppRow> Newer = new(
        $"{Columns} WHERE (created, id) > ($1, $2) ORDER BY created, id LIMIT $3", From);

    public static readonly Query<AppRow> Unsealed = new(
        $"{Columns} WHERE sealed IS NULL AND id > $1 ORDER BY id LIMIT $2", From);

    /// <summary>In the order of ids, whatever else they are.</summary>
    public static readonly Query<AppRow> AfterId = new($"{Columns} WHERE id > $1 ORDER BY id LIMIT $2", From);

    public const string Put = """
        INSERT INTO apps (id, name, account, created, sealed) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET name = $2, sealed = $5
        """;

    private const string OfNotUnder =
        "FROM apps WHERE sealed IS NOT NULL AND substr(sealed, 3, 4) <> $1 AND id > $2 ORDER BY id LIMIT $3";

    /// <summary>
    /// As <see cref="TenantRow.NotUnder"/>, of apps after an id. SQLite keeps ids that are read alike and are not.
    /// </summary>
    public static readonly Query<AppRow> NotUnder = new(new SqlText(
        $"SELECT {Own}, typeof(id) || ' ' || hex(id) {OfNotUnder}", $"SELECT {Own}, id {OfNotUnder}"), FromShown);

    /// <summary>How many these are.</summary>
    public static readonly Query<long> CountNotUnder = new(
        "SELECT count(*) FROM apps WHERE sealed IS NOT NULL AND substr(sealed, 3, 4) <> $1",
        static row => row.Number(0));

    public const string Rewrap = "UPDATE apps SET sealed = $1 WHERE id = $2 AND sealed = $3";

    public const string Delete = "DELETE FROM apps WHERE id = $1";
    public const string DeleteKeys = "DELETE FROM api_keys WHERE app = $1";

    /// <summary>Whether its columns hold what they may: if not, it was changed outside Coffer.</summary>
    public bool IsSound { get; init; } = true;

    /// <summary>What tells the row apart: its id, or what stands there instead of one.</summary>
    public string Shown { get => field ?? Id; init; }

    /// <summary>What is wrong with an app.</summary>
    public static DamagedRow Damage(string id, string fault, string? shown = null) =>
        new("apps", shown ?? id, fault) { App = id };

    private static AppRow FromShown(IRow row)
    {
        var (app, shown) = (From(row), row.Text(5));
        var isPlain = app.Id.All(static each => each is > ' ' and <= '~')
            && shown == $"text {Convert.ToHexString(Encoding.UTF8.GetBytes(app.Id))}";
        return isPlain ? app : app with { Shown = shown };
    }

    // What a column holds is looked at before it is read: reading it as text may make text of it.
    public static AppRow From(IRow row)
    {
        var isSound = row.Has("tttnB") && UnixTime.IsStorable(row.Number(3));
        return new(row.Text(0), row.Text(1), row.Text(2), row.Number(3), row.BytesOrNull(4)) { IsSound = isSound };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds an app, or changes its name and what it is set to.</summary>
    public sealed record PutApp(AppRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(AppRow.Put, Row.Id, Row.Name, Row.Account, Row.Created, Row.Sealed)];

        public override Sources Writes => Sources.Apps;

        public override bool IsUnderRoot => true;
    }

    /// <summary>
    /// Puts an app's settings under another root key, unless it is gone or they are not as they were.
    /// </summary>
    public sealed record RewrapApp(string Id, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(AppRow.Rewrap, After, Id, Before)];

        public override Sources Writes => Sources.Apps;

        public override bool IsUnderRoot => true;
    }

    /// <summary>
    /// Removes an app that has no tenants, with its keys, its events, where they are sent, and what is noted of closed
    /// accounts.
    /// </summary>
    public sealed record DeleteApp(string Id) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(AppRow.DeleteKeys, Id), new(DeliveryRow.DeleteOfApp, Id), new(EventRow.DeleteOfApp, Id),
            new(EndpointRow.DeleteOfApp, Id), new(UninstallRow.DeleteOfApp, Id), new(AppRow.Delete, Id),
        ];

        public override Sources Writes => Sources.Apps | Sources.ApiKeys | Sources.Uninstalls | Sources.Endpoints;
    }
}
