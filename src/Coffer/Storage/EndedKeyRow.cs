namespace Coffer.Storage;

/// <summary>
/// A key that has ended, or whose end is decided: from then on a token with its MAC is refused, whatever stands in
/// <c>api_keys</c>. An old row of a key that is put back alone opens nothing.
/// </summary>
/// <param name="Mac">As of <see cref="ApiKeyRow"/>.</param>
/// <param name="Id">The key's.</param>
/// <param name="App">Its app, or null.</param>
/// <param name="Kind">What it was.</param>
/// <param name="Livemode">Its mode.</param>
/// <param name="Created">When it was made, in Unix seconds.</param>
/// <param name="Ended">From this Unix second on it is refused.</param>
/// <param name="How">In one word.</param>
/// <param name="Proof">Binds all of it.</param>
internal sealed record EndedKeyRow(
    byte[] Mac, string Id, string? App, string Kind, bool Livemode, long Created, long Ended, string How, byte[] Proof)
{
    /// <summary>How a key ended.</summary>
    public const string Revoked = "revoked", Rolled = "rolled", Expired = "expired";

    public static readonly Table Table = new("ended_keys",
        "mac:b id:t app:t kind:t livemode:n created:n ended:n how:t proof:b", "mac");

    private const string Columns =
        "SELECT mac, id, app, kind, livemode, created, ended, how, proof FROM ended_keys";

    public static readonly Query<EndedKeyRow> ByMac = new($"{Columns} WHERE mac = $1", From);

    public static readonly Query<EndedKeyRow> AfterMac = new(
        $"{Columns} WHERE mac > $1 ORDER BY mac LIMIT $2", From);

    // SQLite keeps text and numbers among bytes: they come before all that AfterMac gives, also the empty ones.
    public static readonly Query<EndedKeyRow> Misplaced = new(
        $"{Columns} WHERE mac <= $1 ORDER BY mac LIMIT $2", From);

    /// <inheritdoc cref="ApiKeyRow.Reprove"/>
    public const string Reprove = "UPDATE ended_keys SET proof = $1 WHERE mac = $2 AND proof = $3";

    // The sooner end counts.
    public const string Put = """
        INSERT INTO ended_keys (mac, id, app, kind, livemode, created, ended, how, proof)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (mac) DO UPDATE SET
            proof = CASE WHEN ended_keys.ended <= excluded.ended THEN ended_keys.proof ELSE excluded.proof END,
            how = CASE WHEN ended_keys.ended <= excluded.ended THEN ended_keys.how ELSE excluded.how END,
            ended = CASE WHEN ended_keys.ended <= excluded.ended THEN ended_keys.ended ELSE excluded.ended END
        """;

    public const string Delete = "DELETE FROM ended_keys WHERE mac = $1";

    // One that expired is refused by its own row too. One that was ended before would be good again if its old row came
    // back, so these stay. SQLite keeps a text among bytes: one after the empty bytes is what Delete finds.
    public static readonly Query<byte[]> LongExpired = new(
        "SELECT mac FROM ended_keys WHERE how = 'expired' AND ended <= $1 AND mac > $2 ORDER BY ended, mac LIMIT $3",
        static row => row.Bytes(0));

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    /// <summary>The row, if Coffer did not write it so.</summary>
    public DamagedRow Damage => new("ended_keys", Id, IsSound ? "its proof" : DamagedRow.Columns) { App = App };

    public static EndedKeyRow From(IRow row)
    {
        var isSound = row.Has("btTtnnntb") && row.Number(4) is 0 or 1 && UnixTime.IsStorable(row.Number(5))
            && UnixTime.IsStorable(row.Number(6));
        return new(row.Bytes(0), row.Text(1), row.TextOrNull(2), row.Text(3), row.Number(4) != 0, row.Number(5),
            row.Number(6), row.Text(7), row.Bytes(8))
        {
            IsSound = isSound,
        };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Notes that a key has ended, or when it will; an end that is noted already only comes sooner.</summary>
    public sealed record PutEndedKey(EndedKeyRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(EndedKeyRow.Put, Row.Mac, Row.Id, Row.App, Row.Kind, Row.Livemode, Row.Created, Row.Ended, Row.How,
                Row.Proof),
        ];

        public override Sources Writes => Sources.ApiKeys;
    }

    /// <summary>Proves a row of a key that has ended by another pepper, if it is as it was.</summary>
    public sealed record ReproveEndedKey(byte[] Mac, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(EndedKeyRow.Reprove, After, Mac, Before)];

        public override Sources Writes => Sources.ApiKeys;
    }

    /// <summary>
    /// Forgets that a key has ended: one that expired long ago, or one of <c>coffer dev</c>, where the developer
    /// chooses it.
    /// </summary>
    public sealed record DeleteEndedKey(byte[] Mac) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(EndedKeyRow.Delete, Mac)];

        public override Sources Writes => Sources.ApiKeys;
    }
}
