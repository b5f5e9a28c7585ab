namespace Coffer.Storage;

/// <summary>An event that an endpoint has not accepted yet, or that waits behind one.</summary>
/// <param name="Endpoint">The endpoint's id.</param>
/// <param name="Event">The event's number.</param>
/// <param name="Account">Whose order it keeps; empty is what is no account's.</param>
/// <param name="Created">Since when it is tried, in Unix seconds.</param>
/// <param name="Attempts">How often it was sent.</param>
/// <param name="Due">When it is sent next, in Unix seconds.</param>
/// <param name="Status">The last answer; 0 is none.</param>
internal sealed record DeliveryRow(
    string Endpoint, long Event, string Account, long Created, long Attempts, long Due, long Status)
{
    private const string Columns =
        "SELECT endpoint, event, account, created, attempts, due, status, overtaken, failed FROM deliveries";

    public static readonly Table Table = new("deliveries",
        "endpoint:t event:n account:t created:n attempts:n due:n status:n overtaken:n failed:n", "endpoint event");

    /// <summary>Those of an endpoint that are due at a Unix second, in the order of events.</summary>
    public static readonly Query<DeliveryRow> AreDue = new(
        $"{Columns} WHERE endpoint = $1 AND failed IS NULL AND due <= $2 ORDER BY event LIMIT $3", From);

    /// <summary>The endpoints of which some are due at a Unix second.</summary>
    public static readonly Query<string> DueAt = new(
        "SELECT DISTINCT endpoint FROM deliveries WHERE failed IS NULL AND due <= $1", static row => row.Text(0));

    /// <summary>Those of an account that an endpoint has not accepted yet, in the order of events.</summary>
    public static readonly Query<DeliveryRow> OfAccount = new(
        $"{Columns} WHERE endpoint = $1 AND account = $2 AND failed IS NULL ORDER BY event LIMIT $3", From);

    /// <summary>That of an event, given up or not.</summary>
    public static readonly Query<DeliveryRow> Of = new($"{Columns} WHERE endpoint = $1 AND event = $2", From);

    /// <summary>Those of an endpoint after an event, given up or not.</summary>
    public static readonly Query<DeliveryRow> After = new(
        $"{Columns} WHERE endpoint = $1 AND event > $2 ORDER BY event LIMIT $3", From);

    /// <summary>How many wait, and how many were given up.</summary>
    public static readonly Query<(long Waiting, long Failed)> Count = new(
        "SELECT count(*) - count(failed), count(failed) FROM deliveries WHERE endpoint = $1",
        static row => (row.Number(0), row.Number(1)));

    public static readonly string Put = Table.Upsert();

    public const string Delete = "DELETE FROM deliveries WHERE endpoint = $1 AND event = $2";

    public const string DeleteOfEndpoint = "DELETE FROM deliveries WHERE endpoint = $1";

    // What goes with its event: they name the account.
    public const string DeleteOfTenant =
        "DELETE FROM deliveries WHERE event IN (SELECT seq FROM events WHERE tenant = $1)";

    public const string DeleteOfAccount = """
        DELETE FROM deliveries WHERE event IN
            (SELECT seq FROM events WHERE tenant IS NULL AND app = $1 AND livemode = $2 AND account = $3)
        """;

    /// <summary>Those of events that <see cref="EventRow.Prune"/> removes with the same parameters.</summary>
    public static readonly string Prune =
        $"DELETE FROM deliveries WHERE event IN ({EventRow.Table.SelectOldest()})";

    public const string DeleteOfApp = "DELETE FROM deliveries WHERE event IN (SELECT seq FROM events WHERE app = $1)";

    /// <summary>Whether a later event of the account was sent before it.</summary>
    public bool IsOvertaken { get; init; }

    /// <summary>When it was given up, in Unix seconds; null is tried yet.</summary>
    public long? Failed { get; init; }

    public static DeliveryRow From(IRow row) => new(row.Text(0), row.Number(1), row.Text(2), row.Number(3),
        row.Number(4), row.Number(5), row.Number(6))
    {
        IsOvertaken = row.Number(7) != 0,
        Failed = row.NumberOrNull(8),
    };
}

internal abstract partial record RowWrite
{
    /// <summary>Adds a delivery, or changes how far it has come.</summary>
    public sealed record PutDelivery(DeliveryRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(DeliveryRow.Put, Row.Endpoint, Row.Event, Row.Account, Row.Created, Row.Attempts, Row.Due, Row.Status,
                Row.IsOvertaken, Row.Failed),
        ];
    }

    /// <summary>Removes a delivery: it was accepted, or its event is gone.</summary>
    public sealed record DeleteDelivery(string Endpoint, long Event) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(DeliveryRow.Delete, Endpoint, Event)];
    }
}
