namespace Coffer.Storage;

/// <summary>Where events are sent, as it is stored.</summary>
/// <param name="Id"><c>we_…</c></param>
/// <param name="App">Whose it is; null is the operator's.</param>
/// <param name="Livemode">The mode of what it is sent.</param>
/// <param name="Created">When it was made, in Unix seconds.</param>
/// <param name="Sealed">What it is set to.</param>
internal sealed record EndpointRow(string Id, string? App, bool Livemode, long Created, byte[] Sealed)
{
    private const string Columns =
        "SELECT id, app, livemode, created, position, delivered, sealed FROM webhook_endpoints";

    public static readonly Table Table = new("webhook_endpoints",
        "id:t app:t livemode:n created:n position:n delivered:n sealed:b", "id");

    public static readonly Query<EndpointRow> ById = new($"{Columns} WHERE id = $1", From);

    /// <summary>In the order of ids.</summary>
    public static readonly Query<EndpointRow> AfterId = new($"{Columns} WHERE id > $1 ORDER BY id LIMIT $2", From);

    // Whatever its time is: one that is damaged is shown too.
    public static readonly Query<EndpointRow> Older = new(
        $"{Columns} WHERE (created, id) < ($1, $2) ORDER BY created DESC, id DESC LIMIT $3", From);

    public static readonly Query<EndpointRow> Newer = new(
        $"{Columns} WHERE (created, id) > ($1, $2) ORDER BY created, id LIMIT $3", From);

    /// <summary>Those of an app, or of none with an empty text.</summary>
    public static readonly Query<EndpointRow> OfApp = new(
        $"{Columns} WHERE coalesce(app, '') = $1 ORDER BY id LIMIT $2", From);

    /// <summary>As <see cref="TenantRow.NotUnder"/>, of endpoints.</summary>
    public static readonly Query<EndpointRow> NotUnder = new(
        $"{Columns} WHERE substr(sealed, 3, 4) <> $1 AND id > $2 ORDER BY id LIMIT $3", From);

    /// <summary>How many these are.</summary>
    public static readonly Query<long> CountNotUnder = new(
        "SELECT count(*) FROM webhook_endpoints WHERE substr(sealed, 3, 4) <> $1", static row => row.Number(0));

    // What it is sent begins with what happens after it was made.
    public const string Put = """
        INSERT INTO webhook_endpoints (id, app, livemode, created, position, delivered, sealed)
        VALUES ($1, $2, $3, $4, (SELECT coalesce(max(seq), 0) FROM events), 0, $5)
        ON CONFLICT (id) DO UPDATE SET sealed = $5
        """;

    public const string Move = "UPDATE webhook_endpoints SET position = $1, delivered = $2 WHERE id = $3";

    public const string Rewrap = "UPDATE webhook_endpoints SET sealed = $1 WHERE id = $2 AND sealed = $3";

    public const string Delete = "DELETE FROM webhook_endpoints WHERE id = $1";

    public const string DeleteOfApp = "DELETE FROM webhook_endpoints WHERE app = $1";

    /// <summary>The number of the last event that it was sent, or that stands in <c>deliveries</c>.</summary>
    public long Position { get; init; }

    /// <summary>When it accepted something last, in Unix seconds; 0 is never.</summary>
    public long Delivered { get; init; }

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static EndpointRow From(IRow row)
    {
        var isSound = row.Has("tTnnnnb") && row.Number(2) is 0 or 1 && UnixTime.IsStorable(row.Number(3));
        return new(row.Text(0), row.TextOrNull(1), row.Number(2) != 0, row.Number(3), row.Bytes(6))
        {
            Position = row.Number(4),
            Delivered = row.Number(5),
            IsSound = isSound,
        };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds an endpoint, or changes what it is set to.</summary>
    public sealed record PutEndpoint(EndpointRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(EndpointRow.Put, Row.Id, Row.App, Row.Livemode, Row.Created, Row.Sealed)];

        public override Sources Writes => Sources.Endpoints;

        public override bool IsUnderRoot => true;
    }

    /// <summary>How far an endpoint has come.</summary>
    public sealed record MoveEndpoint(string Id, long Position, long Delivered) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(EndpointRow.Move, Position, Delivered, Id)];

        public override Sources Writes => Sources.Endpoints;
    }

    /// <summary>Puts what an endpoint is set to under another root key, unless it is not as it was.</summary>
    public sealed record RewrapEndpoint(string Id, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(EndpointRow.Rewrap, After, Id, Before)];

        public override Sources Writes => Sources.Endpoints;

        public override bool IsUnderRoot => true;
    }

    /// <summary>Removes an endpoint, with what it was to be sent.</summary>
    public sealed record DeleteEndpoint(string Id) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(DeliveryRow.DeleteOfEndpoint, Id), new(EndpointRow.Delete, Id)];

        public override Sources Writes => Sources.Endpoints;
    }
}
