namespace Coffer.Storage;

/// <summary>
/// An API key as stored. <paramref name="App"/> is null for an admin key. The token itself is nowhere.
/// </summary>
internal sealed record ApiKeyRow(
    byte[] Mac, string Id, string? App, string? Account, string Kind, bool Livemode, long Created, long? ExpiresAt,
    byte[] Proof)
{
    private const string Columns = """
        SELECT k.mac, k.id, k.app, a.account, k.kind, k.livemode, k.created, k.expires_at, k.proof, k.permissions,
            k.pinned_account, k.addresses, k.last_used, k.generation, k.role, k.apps, k.created_by, k.offline,
            e.ended, e.how
        FROM api_keys k LEFT JOIN apps a ON a.id = k.app LEFT JOIN ended_keys e ON e.mac = k.mac
        """;

    public static readonly Table Table = new("api_keys",
        "mac:b id:t app:t kind:t livemode:n created:n expires_at:n proof:b permissions:t pinned_account:t addresses:t "
        + "last_used:n generation:n role:t apps:t created_by:t offline:n", "mac", "id");

    public static readonly Query<ApiKeyRow> ByMac = new($"{Columns} WHERE k.mac = $1", From);
    public static readonly Query<ApiKeyRow> ById = new($"{Columns} WHERE k.id = $1", From);

    private const string OfApp = "(CAST($1 AS TEXT) IS NULL OR k.app = $1)";

    public static readonly Query<ApiKeyRow> Newest = new(
        $"{Columns} WHERE {OfApp} ORDER BY k.created DESC, k.id DESC LIMIT $2", From);

    public static readonly Query<ApiKeyRow> Older = new($"""
        {Columns} WHERE {OfApp} AND (k.created, k.id) < ($2, $3) ORDER BY k.created DESC, k.id DESC LIMIT $4
        """, From);

    public static readonly Query<ApiKeyRow> Newer = new($"""
        {Columns} WHERE {OfApp} AND (k.created, k.id) > ($2, $3) ORDER BY k.created, k.id LIMIT $4
        """, From);

    public static readonly Query<byte[]> Macs = new("SELECT mac FROM api_keys", static row => row.Bytes(0));

    // Those of an owner that are accepted from anywhere and for ever.
    public static readonly Query<long> OtherOwnerKeys = new("""
        SELECT count(*) FROM api_keys k WHERE kind = 'admin' AND (role IS NULL OR role = 'owner') AND expires_at IS NULL
            AND addresses IS NULL AND id <> $1 AND NOT EXISTS (SELECT 1 FROM ended_keys e WHERE e.mac = k.mac)
        """, static row => row.Number(0));

    // What is over by the node's clock and by the database's, in the order of ids. What was made beside the server is
    // left for a while, to be seen.
    private const string OverUntil = """
        SELECT k.id FROM api_keys k LEFT JOIN ended_keys e ON e.mac = k.mac
        WHERE (k.expires_at <= {0} OR e.ended <= {0}) AND (k.offline = 0 OR k.created <= $2) AND k.id > $3
        ORDER BY k.id LIMIT $4
        """;

    public static readonly Query<string> Over = new(
        new SqlText(
            OverUntil.Replace("{0}", "$1", StringComparison.Ordinal),
            OverUntil.Replace("{0}", "least($1, extract(epoch FROM now())::bigint)", StringComparison.Ordinal)),
        static row => row.Text(0));

    public static readonly Query<ApiKeyRow> MadeOffline = new(
        $"{Columns} WHERE k.offline = 1 AND k.created > $1 ORDER BY k.created, k.id", From);

    public const string Put = """
        INSERT INTO api_keys
            (mac, id, app, kind, livemode, created, expires_at, proof, permissions, pinned_account, addresses,
            generation, role, apps, created_by, offline)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        ON CONFLICT (mac) DO UPDATE SET
            expires_at = $7, proof = $8, generation = $12, role = $13, apps = $14, created_by = $15, offline = $16
        """;

    /// <summary>In the order of ids, whatever they are.</summary>
    public static readonly Query<ApiKeyRow> AfterId = new(
        $"{Columns} WHERE k.id > $1 ORDER BY k.id LIMIT $2", From);

    /// <summary>Proves a row again, unless it is gone or is proven as another one.</summary>
    public const string Reprove = "UPDATE api_keys SET proof = $1 WHERE id = $2 AND proof = $3";

    public const string Touch = "UPDATE api_keys SET last_used = $1 WHERE id = $2";
    public const string Delete = "DELETE FROM api_keys WHERE id = $1";

    /// <summary>What a restricted key may do, as words with commas between; null for other keys.</summary>
    public string? Permissions { get; init; }

    /// <summary>The one account of a restricted key, or null.</summary>
    public string? PinnedAccount { get; init; }

    /// <summary>The networks that the key is accepted from, in CIDR form with commas between; null is any.</summary>
    public string? Addresses { get; init; }

    /// <summary>The Unix second at which the hour of its last use began, or null.</summary>
    public long? LastUsed { get; init; }

    /// <summary>The number of the commit that ended all that it had minted, or null.</summary>
    public long? Generation { get; init; }

    /// <summary>What an admin key may do, in a word; null for other keys, and in the form of before.</summary>
    public string? Role { get; init; }

    /// <summary>The ids of the apps that an admin key is held to, with commas between; null is all.</summary>
    public string? Apps { get; init; }

    /// <summary>The id of the key that it was made with, or null.</summary>
    public string? CreatedBy { get; init; }

    /// <summary>Whether it was made beside the server, by someone with the root key.</summary>
    public bool IsOffline { get; init; }

    /// <summary>From this Unix second on it is refused because its end was noted (<see cref="EndedKeyRow"/>).</summary>
    public long? Ended { get; init; }

    /// <summary>How it ended or will, in one word.</summary>
    public string? How { get; init; }

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    /// <summary>From a row of <see cref="Table"/>, which has neither the account of the app nor the end.</summary>
    public static ApiKeyRow Alone(object?[] row, string? account) =>
        From(new ReadRow([.. row[..3], account, .. row[3..], null, null]));

    public static ApiKeyRow From(IRow row)
    {
        var isSound = row.Has("btTTtnnNbTTTNNTTTnNT") && row.Number(5) is 0 or 1 && UnixTime.IsStorable(row.Number(6))
            && UnixTime.IsStorable(row.NumberOrNull(7)) && UnixTime.IsStorable(row.NumberOrNull(12))
            && row.Number(17) is 0 or 1 && UnixTime.IsStorable(row.NumberOrNull(18));
        return new(
            row.Bytes(0), row.Text(1), row.TextOrNull(2), row.TextOrNull(3), row.Text(4), row.Number(5) != 0,
            row.Number(6), row.NumberOrNull(7), row.Bytes(8))
        {
            Permissions = row.TextOrNull(9),
            PinnedAccount = row.TextOrNull(10),
            Addresses = row.TextOrNull(11),
            LastUsed = row.NumberOrNull(12),
            Generation = row.NumberOrNull(13),
            Role = row.TextOrNull(14),
            Apps = row.TextOrNull(15),
            CreatedBy = row.TextOrNull(16),
            IsOffline = row.Number(17) != 0,
            Ended = row.NumberOrNull(18),
            How = row.TextOrNull(19),
            IsSound = isSound,
        };
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds a key, or changes when it expires, or the form of its proof.</summary>
    public sealed record PutApiKey(ApiKeyRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(ApiKeyRow.Put, Row.Mac, Row.Id, Row.App, Row.Kind, Row.Livemode, Row.Created, Row.ExpiresAt, Row.Proof,
                Row.Permissions, Row.PinnedAccount, Row.Addresses, Row.Generation, Row.Role, Row.Apps, Row.CreatedBy,
                Row.IsOffline),
        ];

        public override Sources Writes => Sources.ApiKeys;

        // In which form it is proven, the control row says.
        public override bool IsUnderRoot => true;
    }

    /// <summary>Proves a row of an API key by another pepper, if it is as it was.</summary>
    public sealed record ReproveApiKey(string Id, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(ApiKeyRow.Reprove, After, Id, Before)];

        public override Sources Writes => Sources.ApiKeys;
    }

    /// <summary>Notes the hour in which a key was used; one that is gone is left alone.</summary>
    public sealed record TouchApiKey(string Id, long LastUsed) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(ApiKeyRow.Touch, LastUsed, Id)];

        public override string? Single => $"api_keys {Id}";

        public override Sources Writes => Sources.ApiKeys;
    }

    public sealed record DeleteApiKey(string Id) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(ApiKeyRow.Delete, Id)];

        public override Sources Writes => Sources.ApiKeys;
    }
}
