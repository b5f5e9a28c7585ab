namespace Coffer.Storage;

/// <summary>
/// Something that happened, as it is stored for those who want to know of it (docs/events.md).
/// </summary>
/// <param name="Id"><c>evt_…</c></param>
/// <param name="App">Whose it is; null is the store's.</param>
/// <param name="Livemode">The mode that it happened in; what has none is live.</param>
/// <param name="Account">The account that it is about, or null.</param>
/// <param name="Tenant">The number of the tenant under whose keys it is sealed; null is under a root key.</param>
/// <param name="Kind">What happened, such as <c>secret.set</c>.</param>
/// <param name="Created">When, in Unix seconds.</param>
/// <param name="Sealed">What it happened to.</param>
internal sealed record EventRow(string Id, string? App, bool Livemode, string? Account, long? Tenant, string Kind,
    long Created, byte[] Sealed)
{
    private const string Columns = "SELECT id, app, livemode, account, tenant, kind, created, sealed, seq FROM events";

    public static readonly Table Table = new("events",
        "id:t app:t livemode:n account:t tenant:n kind:t created:n sealed:b seq:n", "seq", "id")
    {
        Numbered = "seq",
    };

    public static readonly Query<EventRow> ById = new($"{Columns} WHERE id = $1", From);

    public static readonly Query<EventRow> ByNumber = new($"{Columns} WHERE seq = $1", From);

    /// <summary>The number of the last one whose id is not after another; ids are in order of time.</summary>
    public static readonly Query<long> NumberUpTo = new(
        "SELECT seq FROM events WHERE id <= $1 ORDER BY id DESC LIMIT 1", static row => row.Number(0));

    /// <summary>The number of the last one.</summary>
    public static readonly Query<long> Newest = new(
        "SELECT seq FROM events ORDER BY seq DESC LIMIT 1", static row => row.Number(0));

    /// <summary>Whose those after a number are, and the last number of each.</summary>
    public static readonly Query<(string? App, long Last)> OwnersAfter = new(
        "SELECT app, max(seq) FROM events WHERE seq > $1 GROUP BY app",
        static row => (row.TextOrNull(0), row.Number(1)));

    // Of an app in a mode.
    public static readonly Query<EventRow> OfAppOlder = new(
        $"{Columns} WHERE app = $1 AND livemode = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4", From);

    public static readonly Query<EventRow> OfAppNewer = new(
        $"{Columns} WHERE app = $1 AND livemode = $2 AND seq > $3 ORDER BY seq LIMIT $4", From);

    // Of a tenant.
    public static readonly Query<EventRow> OfTenantOlder = new(
        $"{Columns} WHERE tenant = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3", From);

    public static readonly Query<EventRow> OfTenantNewer = new(
        $"{Columns} WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3", From);

    // Of all.
    public static readonly Query<EventRow> Older = new($"{Columns} WHERE seq < $1 ORDER BY seq DESC LIMIT $2", From);

    public static readonly Query<EventRow> Newer = new($"{Columns} WHERE seq > $1 ORDER BY seq LIMIT $2", From);

    /// <summary>
    /// Those of a tenant after a number that are not under one of its keys, given as the 4 bytes of its version.
    /// </summary>
    public static readonly Query<EventRow> NotUnder = new(
        $"{Columns} WHERE tenant = $1 AND seq > $2 AND substr(sealed, 3, 4) <> $3 ORDER BY seq LIMIT $4", From);

    /// <summary>As <see cref="TenantRow.NotUnder"/>, of those that are under root keys.</summary>
    public static readonly Query<EventRow> NotUnderRoot = new($"""
        {Columns} WHERE tenant IS NULL AND substr(sealed, 3, 4) <> $1 AND seq > $2 ORDER BY seq LIMIT $3
        """, From);

    /// <summary>How many these are.</summary>
    public static readonly Query<long> CountNotUnderRoot = new(
        "SELECT count(*) FROM events WHERE tenant IS NULL AND substr(sealed, 3, 4) <> $1",
        static row => row.Number(0));

    /// <summary>When the oldest was made.</summary>
    public static readonly Query<long> Oldest = new(
        "SELECT created FROM events ORDER BY seq LIMIT 1", static row => row.Number(0));

    public const string Put = """
        INSERT INTO events (id, app, livemode, account, tenant, kind, created, sealed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """;

    public const string Reseal = "UPDATE events SET sealed = $1 WHERE seq = $2 AND sealed = $3";

    public const string DeleteOfTenant = "DELETE FROM events WHERE tenant = $1";

    /// <summary>What is about an account without being under its tenant's keys.</summary>
    public const string DeleteOfAccount =
        "DELETE FROM events WHERE tenant IS NULL AND app = $1 AND livemode = $2 AND account = $3";

    public const string DeleteOfApp = "DELETE FROM events WHERE app = $1";

    public static readonly string Prune = Table.DeleteOldest();

    public static readonly Query<long> CountPruned = Table.CountOldest();

    /// <summary>Its place in the order of commits; 0 of one that is not stored yet.</summary>
    public long Number { get; init; }

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    public static EventRow From(IRow row)
    {
        var isSound = row.Has("tTnTNtnbn") && row.Number(2) is 0 or 1 && UnixTime.IsStorable(row.Number(6));
        return new(row.Text(0), row.TextOrNull(1), row.Number(2) != 0, row.TextOrNull(3), row.NumberOrNull(4),
            row.Text(5), row.Number(6), row.Bytes(7))
        {
            Number = row.Number(8),
            IsSound = isSound,
        };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds an event: it gets its number while no other commit gets one.</summary>
    public sealed record PutEvent(EventRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(EventRow.Put, Row.Id, Row.App, Row.Livemode, Row.Account, Row.Tenant, Row.Kind, Row.Created,
                Row.Sealed),
        ];

        // Ids are in the order in which they were decided.
        public override string? Single => $"events {Row.Id}";

        public override bool IsNumbered => true;

        public override bool IsUnderRoot => Row.Tenant is null;
    }

    /// <summary>Puts an event under another key, unless it is gone or is not as it was.</summary>
    public sealed record ResealEvent(EventRow Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(EventRow.Reseal, After, Before.Number, Before.Sealed)];

        public override bool IsUnderRoot => Before.Tenant is null;
    }

    /// <summary>
    /// Removes the events among the <paramref name="Limit"/> oldest that were made at or before a Unix second, and what
    /// was to be sent of them.
    /// </summary>
    public sealed record PruneEvents(long MadeBy, int Limit) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(DeliveryRow.Prune, Limit, MadeBy),
            new(EventRow.Prune, Limit, MadeBy) { Count = (EventRow.CountPruned, [Limit, MadeBy]) },
        ];
    }
}
