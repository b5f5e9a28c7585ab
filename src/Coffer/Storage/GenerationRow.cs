namespace Coffer.Storage;

/// <summary>
/// The number of the commit that ended all minted keys of a tenant; kept until the last key that it could concern has
/// expired.
/// </summary>
internal sealed record GenerationRow(TenantId Tenant, long Number, long KeptUntil, byte[] Mac)
{
    private const string Columns = "SELECT app, livemode, account, n, kept_until, mac FROM generations";

    public static readonly Table Table = new("generations",
        "app:t livemode:n account:t n:n kept_until:n mac:b", "app livemode account");

    public static readonly Query<GenerationRow> After = new(
        $"{Columns} WHERE n > $1 ORDER BY n, app, livemode, account", From);

    public static readonly Query<GenerationRow> OfTenant = new(
        $"{Columns} WHERE app = $1 AND livemode = $2 AND account = $3", From);

    public const string Put = """
        INSERT INTO generations (app, livemode, account, n, kept_until, mac) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (app, livemode, account) DO UPDATE SET
            n = CASE WHEN generations.n > $4 THEN generations.n ELSE $4 END,
            mac = CASE WHEN generations.n > $4 THEN generations.mac ELSE $6 END,
            kept_until = CASE WHEN generations.kept_until > $5 THEN generations.kept_until ELSE $5 END
        """;

    public const string Keep = """
        UPDATE generations SET kept_until = $1 WHERE app = $2 AND livemode = $3 AND account = $4 AND kept_until < $1
        """;

    /// <inheritdoc cref="ApiKeyRow.Reprove"/>
    public const string Reprove =
        "UPDATE generations SET mac = $1 WHERE app = $2 AND livemode = $3 AND account = $4 AND mac = $5";

    public const string Delete = """
        DELETE FROM generations WHERE app = $1 AND livemode = $2 AND account = $3 AND n = $4 AND kept_until <= $5
        """;

    // One that cannot be read proves nothing: see Generations.IsWhole.
    public static GenerationRow From(IRow row)
    {
        var isSound = row.Has("tntnnb") && row.Number(1) is 0 or 1;
        var tenant = new TenantId(row.Text(0), row.Number(1) != 0, row.Text(2));
        return new(tenant, row.Number(3), row.Number(4), isSound ? row.Bytes(5) : []);
    }
}

internal abstract partial record RowWrite
{
    /// <summary>Adds the generation of a tenant, or raises it: it never goes back.</summary>
    public sealed record PutGeneration(GenerationRow Row) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
        [
            new(GenerationRow.Put, Row.Tenant.App, Row.Tenant.Livemode, Row.Tenant.Account, Row.Number, Row.KeptUntil,
                Row.Mac),
        ];

        public override string? Single => $"generations {Row.Tenant}";

        public override Sources Writes => Sources.Generations;
    }

    /// <summary>Keeps the generation of a tenant, if it has one, until a Unix second at least.</summary>
    public sealed record KeepGeneration(TenantId Tenant, long KeptUntil) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(GenerationRow.Keep, KeptUntil, Tenant.App, Tenant.Livemode, Tenant.Account)];

        public override string? Single => $"generations {Tenant}";

        public override Sources Writes => Sources.Generations;
    }

    /// <summary>Proves the generation of a tenant by another pepper, if it is as it was.</summary>
    public sealed record ReproveGeneration(TenantId Tenant, byte[] Before, byte[] After) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(GenerationRow.Reprove, After, Tenant.App, Tenant.Livemode, Tenant.Account, Before)];

        public override Sources Writes => Sources.Generations;
    }

    /// <summary>Removes the generation of a tenant, if it is this one and need not be kept at a Unix second.</summary>
    public sealed record DeleteGeneration(TenantId Tenant, long Number, long Now) : RowWrite
    {
        public override IReadOnlyList<Statement> Statements =>
            [new(GenerationRow.Delete, Tenant.App, Tenant.Livemode, Tenant.Account, Number, Now)];

        public override Sources Writes => Sources.Generations;
    }
}
