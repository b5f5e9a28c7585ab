namespace Coffer.Storage;

/// <summary>Where a secret stands: tenant number and the blind index (16 bytes) of its name in its scope.</summary>
internal readonly record struct SecretKey(long Tenant, byte[] Name);

/// <summary>A scope: tenant number and the blind index (16 bytes) of the scope.</summary>
internal readonly record struct ScopeKey(long Tenant, byte[] Scope);

/// <summary>
/// A secret as stored. <paramref name="Scope"/> is the blind index (16 bytes) of its scope; times are Unix seconds.
/// </summary>
internal sealed record SecretRow(
    SecretKey Key, byte[] Scope, string Id, long Version, long Created, long? ExpiresAt, byte[] Sealed)
{
    private const string Columns =
        "SELECT tenant, name, scope, id, version, created, expires_at, sealed";

    private const string InScope =
        "FROM secrets WHERE tenant = $1 AND scope = $2 AND (expires_at IS NULL OR expires_at > $3)";

    private const string Size = "SELECT length(sealed)";

    public static readonly Table Table = new("secrets",
        "tenant:n name:b scope:b id:t version:n created:n expires_at:n sealed:b", "tenant name");

    public static readonly Query<SecretRow> ByKey = new(
        $"{Columns} FROM secrets WHERE tenant = $1 AND name = $2", From);

    /// <summary>The same, with the counter of its tenant's keys.</summary>
    public static readonly Query<SecretLookup> WithCounter = new($"""
        SELECT t.counter, {Table.Names(before: "s.")} FROM tenants t
        LEFT JOIN secrets s ON s.tenant = $1 AND s.name = $2 WHERE t.id = $1
        """, SecretLookup.From);

    /// <summary>
    /// Where those of a tenant stand, after a name, that are not under one of its keys, given as the 4 bytes of its
    /// version.
    /// </summary>
    public static readonly Query<SecretKey> NotUnder = new("""
        SELECT tenant, name FROM secrets WHERE tenant = $1 AND name > $2 AND substr(sealed, 3, 4) <> $3
        ORDER BY name LIMIT $4
        """, static row => new(row.Number(0), row.Bytes(1)));

    public static readonly Query<SecretRow> ById = new(
        $"{Columns} FROM secrets WHERE tenant = $1 AND id = $2 AND (expires_at IS NULL OR expires_at > $3)", From);

    private const string NewestInScope = $"{InScope} ORDER BY id DESC LIMIT $4";
    private const string OlderInScope = $"{InScope} AND id < $4 ORDER BY id DESC LIMIT $5";
    private const string NewerInScope = $"{InScope} AND id > $4 ORDER BY id LIMIT $5";

    private const string InTenant = """
        FROM secrets WHERE tenant = $1 AND (expires_at IS NULL OR expires_at > $2)
        AND (CAST($3 AS TEXT) IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """;

    // Each with the counter of the tenant's keys, of which there is a row if nothing else is found.
    public static readonly Query<SecretLookup> Newest = Page(NewestInScope, "DESC");
    public static readonly Query<SecretLookup> Older = Page(OlderInScope, "DESC");
    public static readonly Query<SecretLookup> Newer = Page(NewerInScope, "ASC");
    public static readonly Query<SecretRow> OfTenant = new($"{Columns} {InTenant}", From);

    /// <summary>The same rows: only how large what is sealed in them is.</summary>
    public static readonly Query<long> SizesOfNewest = new($"{Size} {NewestInScope}", SizeFrom);
    public static readonly Query<long> SizesOfOlder = new($"{Size} {OlderInScope}", SizeFrom);
    public static readonly Query<long> SizesOfNewer = new($"{Size} {NewerInScope}", SizeFrom);
    public static readonly Query<long> SizesOfTenant = new($"{Size} {InTenant}", SizeFrom);

    public static readonly Query<SecretKey> Expired = new(
        "SELECT tenant, name FROM secrets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
        static row => new(row.Number(0), row.Bytes(1)));

    public static readonly Query<long> LiveInScope = new(
        "SELECT count(*) FROM secrets WHERE tenant = $1 AND scope = $2 AND (expires_at IS NULL OR expires_at > $3)",
        static row => row.Number(0));

    /// <summary>Adds rows, or replaces what stands under their keys.</summary>
    public static readonly string Put = Table.Upsert();

    /// <summary>
    /// Replaces what is new in a row that was there before under the same id. SQLite needs a fifth of the time for it:
    /// an upsert prepares for both of its ends, and writes all that it sets into the indexes again.
    /// </summary>
    public const string Replace = "UPDATE secrets SET version = $1, expires_at = $2, sealed = $3 "
        + "WHERE tenant = $4 AND name = $5 AND scope = $6 AND id = $7 AND created = $8";

    public const string Delete = "DELETE FROM secrets WHERE tenant = $1 AND name = $2";

    /// <inheritdoc cref="AppRow.IsSound"/>
    public bool IsSound { get; init; } = true;

    /// <summary>
    /// Whether the secret is there at a Unix second: it is gone the second it expires, whether or not its row is.
    /// </summary>
    public bool IsLiveAt(long now) => ExpiresAt is null || ExpiresAt > now;

    private static Query<SecretLookup> Page(string found, string order) => new($"""
        SELECT t.counter, {Table.Names(before: "s.")} FROM tenants t
        LEFT JOIN ({Columns} {found}) s ON true WHERE t.id = $1 ORDER BY s.id {order}
        """, SecretLookup.From);

    private static long SizeFrom(IRow row) => row.Number(0);

    public static SecretRow From(IRow row) => From(row, 0, row.Has("nbbtnnNb"));

    /// <param name="row">The row.</param>
    /// <param name="first">Its first column of a secret.</param>
    /// <param name="isSound">Whether its columns have their types.</param>
    public static SecretRow From(IRow row, int first, bool isSound)
    {
        var (created, expires) = (row.Number(first + 5), row.NumberOrNull(first + 6));
        return new(
            new SecretKey(row.Number(first), row.Bytes(first + 1)), row.Bytes(first + 2), row.Text(first + 3),
            row.Number(first + 4), created, expires, row.Bytes(first + 7))
        {
            IsSound = isSound && UnixTime.IsStorable(created) && UnixTime.IsStorable(expires),
        };
    }
}

/// <summary>What is found under a secret's key, in a tenant that is there.</summary>
/// <param name="Counter">That of the tenant's keys, as of the same moment.</param>
/// <param name="Row">The row, expired or not, or null.</param>
internal sealed record SecretLookup(long Counter, SecretRow? Row)
{
    public static SecretLookup From(IRow row) => new(row.Number(0),
        row.NumberOrNull(1) is null ? null : SecretRow.From(row, 1, row.Has("nnbbtnnNb")));
}

internal abstract partial record RowWrite
{
    public sealed record PutSecret(SecretRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(SecretRow.Put, Row.Key.Tenant, Row.Key.Name, Row.Scope, Row.Id, Row.Version, Row.Created, Row.ExpiresAt,
                Row.Sealed),
        ];

        public override Statement? Usual => Row.Version == 1 ? null
            : new(SecretRow.Replace, Row.Version, Row.ExpiresAt, Row.Sealed, Row.Key.Tenant, Row.Key.Name, Row.Scope,
                Row.Id, Row.Created);

        public override Sources Writes => Sources.Secrets;
    }

    public sealed record DeleteSecret(SecretKey Key) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements => [new(SecretRow.Delete, Key.Tenant, Key.Name)];

        public override Sources Writes => Sources.Secrets;
    }
}
