namespace Coffer.Storage;

/// <summary>A secret that a search found, and whose it is.</summary>
internal sealed record FoundSecretRow(TenantId Tenant, SecretRow Secret)
{
    private const string Columns = "SELECT t.app, t.livemode, t.account, s.tenant, s.name, s.scope, s.id, s.version, "
        + "s.created, s.expires_at, s.sealed";

    private const string Filter = "AND (CAST($4 AS TEXT) IS NULL OR t.app = $4) AND (CAST($5 AS TEXT) IS NULL "
        + "OR t.account = $5) AND (CAST($6 AS INTEGER) IS NULL OR t.livemode = $6) "
        + "AND (CAST($7 AS TEXT) IS NULL OR replace($7, ',' || t.app || ',', '') <> $7)";

    // Tenant by tenant, so that a page never sorts more than it gives.
    public static readonly Query<FoundSecretRow> Search = new($"""
        {Columns}
        FROM tenants t CROSS JOIN secrets s
        WHERE s.tenant = t.id AND t.id >= $1 AND (t.id > $1 OR s.name > $2)
        AND (s.expires_at IS NULL OR s.expires_at > $3)
        {Filter}
        ORDER BY t.id, s.name LIMIT $8
        """, From);

    public static readonly Query<FoundSecretRow> SearchByExpiry = new($"""
        {Columns}
        FROM secrets s JOIN tenants t ON t.id = s.tenant
        WHERE (s.tenant > $1 OR (s.tenant = $1 AND s.name > $2) OR s.expires_at > $3) AND s.expires_at >= $3
        {Filter}
        AND s.expires_at < $8
        ORDER BY s.expires_at, s.tenant, s.name LIMIT $9
        """, From);

    public static FoundSecretRow From(IRow row)
    {
        var isSound = row.Has("tntnbbtnnNb") && row.Number(1) is 0 or 1;
        var tenant = new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2));
        return new(tenant, SecretRow.From(row, 3, isSound));
    }
}

/// <summary>Which secrets a search finds; null finds all.</summary>
/// <param name="App">The app.</param>
/// <param name="Account">The account.</param>
/// <param name="Livemode">The mode.</param>
/// <param name="ExpiringBefore">
/// A Unix second before which a secret expires; with it the order is that of expiry.
/// </param>
internal sealed record SecretFilter(string? App, string? Account, bool? Livemode, long? ExpiringBefore)
{
    /// <summary>Only those of these apps: their ids, with a comma before and after each; null is all.</summary>
    public string? HeldTo { get; init; }

    /// <summary>
    /// The first three parameters of <see cref="FoundSecretRow.Search"/>, or of
    /// <see cref="FoundSecretRow.SearchByExpiry"/> if there is an order of expiry.
    /// </summary>
    public (long Tenant, byte[] Name, long From) Begin((long? ExpiresAt, SecretKey Key)? after, long now)
    {
        if (ExpiringBefore is not null && after?.ExpiresAt <= now)
            after = null; // all up to there has expired meanwhile, and so may have what comes next
        var (tenant, name) = after is { } bound ? (bound.Key.Tenant, bound.Key.Name) : (0, []);
        return (tenant, name, ExpiringBefore is null ? now : after?.ExpiresAt ?? now + 1);
    }
}
